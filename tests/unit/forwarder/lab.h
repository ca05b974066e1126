// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "gateway/ipc/sa_protocol.h"
#include "gateway/ipc/table_client.h"
#include "platform/sys/process.h"
#include "platform/sys/unique_fd.h"

// Network namespaces, a real simplon-forwarder, and clients of its two sockets. Needs root; everything is removed by the
// destructors, also when a test fails.

namespace simplon::lab {

/// Runs a shell command to its end; what it prints is shown when it fails.
struct Outcome {
  int status = 0;
  std::string output;
};
Outcome shell(const std::string& command);
/// Fails the test if the command does.
void must(const std::string& command);
/// Repeats until the command succeeds or 10 s are over.
[[nodiscard]] bool eventually(const std::string& command);

/// A named namespace of this process: "t<pid>-<name>".
class Netns {
 public:
  explicit Netns(const std::string& name);
  ~Netns();
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;
  [[nodiscard]] const std::string& name() const { return name_; }
  /// "ip netns exec NAME COMMAND"
  [[nodiscard]] std::string run(const std::string& command) const { return "ip netns exec " + name_ + " " + command; }
  void ip(const std::string& arguments) const { must("ip -n " + name_ + " " + arguments); }

 private:
  std::string name_;
};

/// A veth pair; both ends up, without checksum offload (XDP at the other end would see partial checksums).
void connect(const Netns& left, const std::string& left_name, const Netns& right, const std::string& right_name);

/// Numbered UDP datagrams from one namespace to another, one per millisecond, from construction to `finish`.
class NumberedTraffic {
 public:
  NumberedTraffic(const Netns& from, const Netns& to, const std::string& destination);
  ~NumberedTraffic();
  NumberedTraffic(const NumberedTraffic&) = delete;
  NumberedTraffic& operator=(const NumberedTraffic&) = delete;

  [[nodiscard]] std::uint32_t sent() const { return sent_.load(); }
  struct Report {
    std::uint32_t sent = 0;
    std::uint32_t received = 0;
    std::uint32_t repeated = 0;
  };
  /// Stops sending and waits up to 10 s for what is on its way.
  Report finish();

 private:
  sys::UniqueFd sender_;
  sys::UniqueFd receiver_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint32_t> sent_{0};
  std::thread thread_;
};

/// simplon-forwarder in a namespace, with its run directory, and a synchronous table client.
class ForwarderProcess {
 public:
  explicit ForwarderProcess(const Netns& underlay);
  ~ForwarderProcess();
  ForwarderProcess(const ForwarderProcess&) = delete;
  ForwarderProcess& operator=(const ForwarderProcess&) = delete;

  void start();
  /// SIGTERM, and it must end by itself.
  void stop();
  /// A full sync with exactly these objects; fails the test if one is refused.
  void program(const std::vector<ipc::Object>& objects);
  /// The same; returns why what was refused was.
  [[nodiscard]] std::vector<std::string> sync(const std::vector<ipc::Object>& objects);
  [[nodiscard]] ipc::Stats stats();
  /// Waits until statistics satisfy `condition`.
  [[nodiscard]] bool reaches(const std::function<bool(const ipc::Stats&)>& condition);
  [[nodiscard]] std::string sa_socket() const { return directory_ + "/sa.sock"; }
  [[nodiscard]] std::string log() const;

 private:
  template <class T>
  T wait(boost::asio::awaitable<T> operation);
  void await_connection();

  std::string netns_;
  std::string directory_;
  std::optional<sys::ProcessId> process_;
  boost::asio::io_context io_;
  std::unique_ptr<ipc::TableClient> client_;
  std::uint64_t epoch_ = 0;
};

/// What the charon plugin does, by hand.
class Plugin {
 public:
  explicit Plugin(const std::string& socket_path, std::uint64_t session = 1);

  simplon_sa_reply add(const simplon_sa_add& body);
  simplon_sa_reply remove(const simplon_sa_id& body);
  simplon_sa_reply add_policy(const simplon_sa_policy& body);
  /// The instance in the reply to HELLO.
  [[nodiscard]] std::uint64_t instance() const { return instance_; }

 private:
  template <class Body>
  simplon_sa_reply ask(simplon_sa_type type, const Body& body);

  sys::UniqueFd socket_;
  std::uint32_t sequence_ = 0;
  std::uint64_t instance_ = 0;
};

/// A tunnel-mode AES-256-GCM SA with any-to-any selectors, and the policy that activates it.
struct SaPair {
  simplon_sa_add sa{};
  simplon_sa_policy policy{};
};
[[nodiscard]] SaPair make_sa(const std::string& source, const std::string& destination, std::uint32_t spi,
                             std::uint32_t tunnel, bool inbound, bool encap, std::uint8_t key_seed);

}  // namespace simplon::lab
