// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "gateway/control/table_set.h"
#include "gateway/ipc/table_client.h"
#include "platform/base/ids.h"
#include "platform/base/result.h"

namespace simplon::control {

/// An operation that the forwarder refused, and its reason.
struct Refusal {
  ipc::Operation operation;
  std::string what;
};

/// Keeps the forwarder's tables equal to the wanted ones: first a synchronization with everything, then what changes,
/// one Update in flight at a time, everything that changes meanwhile in the next one.
///
/// A connection that is lost needs no care: the next one starts with everything. What the forwarder holds and nobody
/// wants is removed (SyncEnd) only when `may_sweep` says that what is wanted is known completely. Threads: one
/// io_context thread.
class TableProgrammer {
 public:
  struct Status {
    bool connected = false;
    /// Everything wanted was sent since the connection came up.
    bool synchronized = false;
    /// And what is not wanted was removed.
    bool swept = false;
    /// The number of the Update that brings everything wanted now; equal to `confirmed` when nothing is under way.
    std::uint64_t wanted = 0;
    std::uint64_t confirmed = 0;
    std::size_t waiting_operations = 0;
    /// By key, with the forwarder's reason.
    std::map<std::string, std::string> refused;
    /// Why the forwarder does not have everything; empty when it has.
    std::string problem;

    [[nodiscard]] bool current() const noexcept { return synchronized && swept && wanted == confirmed; }
  };

  /// `wanted` and `client` outlive the programmer. `first_epoch` must differ between lives of the daemon.
  TableProgrammer(boost::asio::io_context& io, ipc::TableClient& client, std::uint64_t first_epoch,
                  std::function<const TableSet&()> wanted, std::function<bool()> may_sweep);
  ~TableProgrammer();
  TableProgrammer(const TableProgrammer&) = delete;
  TableProgrammer& operator=(const TableProgrammer&) = delete;

  /// Connects; from now on the forwarder gets what is wanted.
  void start();
  [[nodiscard]] bool started() const noexcept { return started_; }

  /// Sends soon, together with what else is enqueued until then; the latest operation on a route replaces earlier ones.
  /// `wanted` has them already.
  void enqueue(std::vector<ipc::Operation> operations);
  /// Sends and waits for the confirmation. The refused ones of `operations`, empty if all is well.
  /// Errors: kUnavailable if the forwarder is away or goes away; the next synchronization brings them then.
  [[nodiscard]] boost::asio::awaitable<Result<std::vector<Refusal>>> program(std::vector<ipc::Operation> operations);
  /// Begins a synchronization of its own, as after a new connection: what was sent until now is what the forwarder
  /// happens to hold, not what is wanted.
  void start_over();
  /// Sends the refused objects again that are still wanted.
  void retry_refused();
  /// `may_sweep` may have changed its mind.
  void poke();

  [[nodiscard]] Status status() const;

 private:
  struct Waiter;
  struct RouteKey {
    DomainId domain;
    IpPrefix prefix;
    friend bool operator==(const RouteKey&, const RouteKey&) = default;
  };
  struct RouteKeyHash {
    std::size_t operator()(const RouteKey& key) const noexcept {
      return std::hash<IpPrefix>{}(key.prefix) ^ (std::hash<DomainId>{}(key.domain) << 1);
    }
  };
  struct Batch {
    std::vector<std::optional<ipc::Operation>> operations;
    std::unordered_map<RouteKey, std::size_t, RouteKeyHash> routes;
    std::shared_ptr<Waiter> waiter;

    void add(ipc::Operation operation);
    [[nodiscard]] std::vector<ipc::Operation> take();
  };

  boost::asio::awaitable<void> run();
  boost::asio::awaitable<void> synchronize();
  boost::asio::awaitable<void> send_next();
  boost::asio::awaitable<void> sweep();
  boost::asio::awaitable<void> pause(std::chrono::milliseconds at_most);
  void lost(const Error& why);
  std::vector<Refusal> note(const std::vector<ipc::Operation>& operations, const ipc::Ack& ack);

  boost::asio::io_context& io_;
  ipc::TableClient& client_;
  std::uint64_t epoch_;
  std::function<const TableSet&()> wanted_;
  std::function<bool()> may_sweep_;
  boost::asio::steady_timer wake_;
  // Kept by the coroutine too: tells it that we are gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  bool started_ = false;
  bool woken_ = false;
  bool in_flight_ = false;
  bool connected_ = false;
  bool synchronized_ = false;
  bool swept_ = false;
  std::uint64_t connection_ = 0;
  std::deque<Batch> queue_;
  std::map<std::string, Refusal> refused_;
  std::string problem_ = "the forwarder is not connected yet";
};

}  // namespace simplon::control
