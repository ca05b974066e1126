// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "ipsec/src/charon_messages.h"
#include "ipsec/vici/connection.h"
#include "platform/base/result.h"

namespace simplon::ipsec {

/// What we ask of charon, over two connections to its VICI socket: one for commands, one for what it tells by itself.
///
/// Lifetime: outlives the coroutines it returns. Any number of them may be under way, also while it connects or disconnects.
/// Errors of all: kUnavailable if there is no connection, or it broke; kPeer with charon's words if it refuses.
/// Threads: the io_context's.
class CharonSession {
 public:
  struct Handlers {
    std::function<void(const std::string& event, const vici::Section& message)> on_event;
    /// Of either connection, from the event loop.
    std::function<void()> on_close;
  };
  /// By connection, which is the tunnel.
  using Observed = std::map<std::string, std::vector<ObservedIke>>;

  CharonSession(boost::asio::io_context& io, std::string path);

  [[nodiscard]] bool connected() const;
  [[nodiscard]] boost::asio::awaitable<Result<void>> connect(Handlers handlers);
  /// True if there was a connection.
  bool disconnect();

  /// `message` as made by load_shared_message.
  [[nodiscard]] boost::asio::awaitable<Result<void>> load_secret(vici::Section message);
  /// `message` as made by load_conn_message.
  [[nodiscard]] boost::asio::awaitable<Result<void>> load_connection(vici::Section message);
  /// Only begins it; what becomes of it comes as events.
  [[nodiscard]] boost::asio::awaitable<Result<void>> initiate(std::string connection, std::string child);
  /// `child` empty: the IKE_SA.
  [[nodiscard]] boost::asio::awaitable<Result<void>> rekey(std::string connection, std::string child);
  /// `connection` empty: of all.
  [[nodiscard]] boost::asio::awaitable<Result<Observed>> list_sas(std::string connection);
  /// Names of those that are ours.
  [[nodiscard]] boost::asio::awaitable<Result<std::vector<std::string>>> list_connections();
  /// Names of all.
  [[nodiscard]] boost::asio::awaitable<Result<std::vector<std::string>>> list_secrets();

  // A refusal means that there is nothing of that name. False if there is no connection, or it broke.

  [[nodiscard]] boost::asio::awaitable<bool> unload_connection(std::string connection);
  [[nodiscard]] boost::asio::awaitable<bool> unload_secret(std::string secret);
  [[nodiscard]] boost::asio::awaitable<bool> terminate(std::uint32_t ike_id);

 private:
  [[nodiscard]] boost::asio::awaitable<Result<vici::Section>> command(std::string name, vici::Section message);
  [[nodiscard]] boost::asio::awaitable<Result<std::vector<vici::Section>>> stream(std::string name, std::string event,
                                                                                 vici::Section message);
  [[nodiscard]] boost::asio::awaitable<Result<void>> succeed(std::string name, vici::Section message);
  [[nodiscard]] boost::asio::awaitable<bool> tell(std::string name, vici::Section message);

  boost::asio::io_context& io_;
  std::string path_;
  std::shared_ptr<vici::Connection> commands_;
  std::shared_ptr<vici::Connection> events_;
};

}  // namespace simplon::ipsec
