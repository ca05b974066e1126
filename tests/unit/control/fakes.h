// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bgp/speaker.h"
#include "gateway/config/model.h"
#include "gateway/config/store.h"
#include "gateway/control/ping.h"
#include "gateway/control/reconciler.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "tests/unit/config/fake_wall_clock.h"

// A forwarder, a charon and namespaces that do what they are told and remember it.

namespace simplon::control {

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }
inline InterfaceAddress inside(const char* text) { return InterfaceAddress::parse(text).value(); }
inline MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

inline bgp::LearnedRoute learned(const char* to, std::vector<std::string> interfaces) {
  bgp::LearnedRoute route;
  route.prefix = prefix(to);
  for (auto& interface : interfaces) {
    bgp::RouteNextHop hop;
    hop.gateway = ip("169.254.10.2");
    hop.interface = std::move(interface);
    route.nexthops.push_back(std::move(hop));
  }
  return route;
}

using config::FakeWallClock;

/// A directory that is removed at the end, for stores and keys.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "simplon-control-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string secret(const std::string& name, const std::string& content) const {
    const auto file = path_ / name;
    std::ofstream(file) << content << '\n';
    ::chmod(file.c_str(), 0600);
    return file;
  }

 private:
  std::filesystem::path path_;
};

/// Two domains: red with a VPC, a tunnel and BGP; blue with a VPC, two tunnels and static routes.
inline GatewayConfig two_domains(const TemporaryDirectory& directory) {
  GatewayConfig config;
  config.name = "edge1";
  config.vtep = ip("10.0.0.1");
  config.uplinks = {{"wan"}, {"fabric"}};

  DomainConfig red;
  red.name = "red";
  red.bgp = BgpConfig{65010, ip("10.255.0.1"), {}};
  BgpNeighborConfig neighbor;
  neighbor.name = "site-a";
  neighbor.address = ip("169.254.10.2");
  neighbor.remote_asn = 65001;
  neighbor.import = {{prefix("10.0.0.0/8"), 24}};
  neighbor.export_ = {{prefix("172.16.0.0/12"), 24}};
  red.bgp->neighbors = {neighbor};
  DomainConfig blue;
  blue.name = "blue";
  blue.static_routes = {{prefix("10.9.0.0/16"), "site-b"}, {prefix("10.9.0.0/16"), "site-b2"}};
  config.domains = {red, blue};

  const auto vpc = [](const char* name, std::uint32_t vni, const char* domain) {
    VpcConfig made;
    made.name = name;
    made.domain = domain;
    made.vni = Vni(vni);
    made.prefixes = {prefix("172.16.1.0/24")};
    made.gateway = {inside("172.16.1.1/24")};
    made.gateway_mac = {{0x02, 0x53, 0x4c, 0x00, 0x00, static_cast<std::uint8_t>(vni)}};
    made.endpoints = {{ip("172.16.1.10"), mac("02:00:00:00:01:10"), ip("10.0.0.11")},
                      {ip("172.16.1.11"), mac("02:00:00:00:01:11"), ip("10.0.0.12")},
                      {ip("172.16.1.12"), mac("02:00:00:00:01:12"), ip("10.0.0.11")}};
    return made;
  };
  config.vpcs = {vpc("red-vpc", 101, "red"), vpc("blue-vpc", 102, "blue")};

  const auto tunnel = [&](const char* name, const char* domain, const char* remote, const char* link) {
    TunnelConfig made;
    made.name = name;
    made.domain = domain;
    made.local = ip("192.0.2.1");
    made.remote = ip(remote);
    made.local_id = "edge1";
    made.remote_id = name;
    made.psk_file = directory.secret(std::string(name) + ".psk", std::string("secret of ") + name + " long enough");
    made.ike_proposals = {"aes256gcm16-prfsha384-ecp384"};
    made.esp_proposals = {"aes256gcm16"};
    made.inside = {inside(link)};
    return made;
  };
  config.tunnels = {tunnel("site-a", "red", "198.51.100.1", "169.254.10.1/30"),
                    tunnel("site-b", "blue", "198.51.100.2", "169.254.20.1/30"),
                    tunnel("site-b2", "blue", "198.51.100.3", "169.254.20.5/30")};
  return config;
}

inline boost::asio::awaitable<void> next_turn(boost::asio::io_context& io) {
  co_await boost::asio::post(io, boost::asio::use_awaitable);
}

class FakeForwarder final : public ipc::TableClient {
 public:
  explicit FakeForwarder(boost::asio::io_context& io) : io_(io) {}

  // What it holds, by key, and the text of each message it got.
  std::map<std::string, ipc::Object> objects;
  std::vector<std::string> log;
  /// Keys it refuses.
  std::map<std::string, std::string> refuse;
  std::uint64_t instance = 7;
  /// Every removal it was ever asked for, explicit or by sweep.
  std::vector<std::string> removed;
  /// Operations of each Update.
  std::vector<std::vector<ipc::Operation>> updates;

  void connect() {
    boost::asio::post(io_, [this] {
      connected_ = true;
      if (on_connected) on_connected(instance);
    });
  }
  void disconnect() {
    connected_ = false;
    boost::asio::post(io_, [this] {
      if (on_disconnected) on_disconnected({ErrorCode::kUnavailable, "the forwarder went away", ""});
    });
  }
  /// Loses everything, like a restart of the process.
  void restart() {
    objects.clear();
    ++instance;
  }

  void start() override {
    started = true;
    if (connect_at_start) connect();
  }
  void stop() override {}
  bool connected() const override { return connected_; }
  bool started = false;
  bool connect_at_start = true;

  boost::asio::awaitable<Result<void>> sync_begin(Epoch epoch) override {
    co_await next_turn(io_);
    if (!connected_) co_return away();
    log.push_back("begin " + std::to_string(epoch.value()));
    stale_.clear();
    for (const auto& [key, object] : objects) stale_.insert(key);
    co_return Result<void>{};
  }
  boost::asio::awaitable<Result<ipc::Ack>> update(std::vector<ipc::Operation> operations) override {
    co_await next_turn(io_);
    if (!connected_) co_return away();
    updates.push_back(operations);
    log.push_back("update " + std::to_string(operations.size()));
    ipc::Ack ack;
    acknowledged_ = Generation(acknowledged_.value() + 1);
    ack.generation = acknowledged_;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const auto key = ipc::key_of(operations[i].object);
      if (operations[i].delete_it) {
        objects.erase(key);
        removed.push_back(key);
        continue;
      }
      if (const auto refused = refuse.find(key); refused != refuse.end()) {
        ack.errors.push_back({static_cast<std::uint32_t>(i), refused->second});
        continue;
      }
      objects.insert_or_assign(key, operations[i].object);
      stale_.erase(key);
    }
    co_return ack;
  }
  boost::asio::awaitable<Result<ipc::Ack>> sync_end(Epoch epoch) override {
    co_await next_turn(io_);
    if (!connected_) co_return away();
    log.push_back("end " + std::to_string(epoch.value()));
    for (const auto& key : stale_) {
      objects.erase(key);
      removed.push_back(key);
    }
    stale_.clear();
    acknowledged_ = Generation(acknowledged_.value() + 1);
    co_return ipc::Ack{acknowledged_, {}};
  }
  using TableClient::stats;
  boost::asio::awaitable<Result<ipc::Stats>> stats(std::uint32_t) override {
    co_await next_turn(io_);
    ipc::Stats stats;
    stats.sas = sas;
    co_return stats;
  }
  /// What `stats` answers; a pair with `add_sas`.
  std::vector<ipc::SaStats> sas;
  void add_sas(TunnelId tunnel) {
    for (const bool inbound : {true, false}) {
      auto& sa = sas.emplace_back();
      sa.tunnel = tunnel;
      sa.inbound = inbound;
      sa.active = true;
    }
  }
  boost::asio::awaitable<Result<ipc::TraceReply>> trace(ipc::TraceRequest) override {
    co_await next_turn(io_);
    co_return away();
  }
  Generation acknowledged() const override { return acknowledged_; }

  bool holds(const std::string& key) const { return objects.contains(key); }
  std::size_t ends() const {
    std::size_t count = 0;
    for (const auto& line : log) count += line.starts_with("end") ? 1U : 0U;
    return count;
  }

 private:
  static Unexpected away() { return fail(ErrorCode::kUnavailable, "the forwarder is away"); }

  boost::asio::io_context& io_;
  bool connected_ = false;
  std::set<std::string> stale_;
  Generation acknowledged_{0};
};

class FakeCharon final : public ipsec::TunnelManager {
 public:
  explicit FakeCharon(boost::asio::io_context& io) : io_(io) {}

  std::vector<ipsec::TunnelSpec> wanted;
  std::size_t reconciled = 0;
  /// What the next reconciliations answer; nothing: success.
  std::optional<Error> answer;
  /// Refuses a tunnel by name.
  std::optional<std::string> refuse;

  boost::asio::awaitable<Result<void>> reconcile(std::vector<ipsec::TunnelSpec> specs) override {
    wanted = std::move(specs);
    ++reconciled;
    co_await next_turn(io_);
    if (answer) co_return Unexpected(*answer);
    if (refuse) {
      for (const auto& spec : wanted) {
        if (spec.name == *refuse)
          co_return fail(ErrorCode::kInvalidConfig, "charon rejects the proposal of tunnel " + spec.name);
      }
    }
    co_return Result<void>{};
  }
  boost::asio::awaitable<Result<void>> up(std::string name) override {
    down_.erase(name);
    ++hold_changes_;
    co_return Result<void>{};
  }
  boost::asio::awaitable<Result<void>> down(std::string name) override {
    down_.insert(name);
    ++hold_changes_;
    co_return Result<void>{};
  }
  std::set<std::string> held() const override { return down_; }
  std::uint64_t hold_changes() const override { return hold_changes_; }
  boost::asio::awaitable<Result<void>> rekey(std::string, bool) override { co_return Result<void>{}; }
  bool connected() const override { return !answer; }
  /// What `status` answers; tunnels without an entry are unknown.
  std::map<std::string, ipsec::TunnelState> states;
  std::map<std::string, std::uint64_t> ages;
  std::set<std::string> outdated;

  boost::asio::awaitable<std::vector<ipsec::TunnelStatus>> status() override {
    std::vector<ipsec::TunnelStatus> all;
    for (const auto& [name, state] : states) {
      auto& status = all.emplace_back();
      status.name = name;
      status.state = state;
      status.ike_age_seconds = ages[name];
      status.outdated = outdated.contains(name);
      if (state != ipsec::TunnelState::kUp) status.problem = "the peer does not answer";
    }
    co_await next_turn(io_);
    co_return all;
  }

  bool has(const std::string& name) const {
    for (const auto& spec : wanted) {
      if (spec.name == name) return true;
    }
    return false;
  }

 private:
  boost::asio::io_context& io_;
  std::set<std::string> down_;
  std::uint64_t hold_changes_ = 0;
};

class FakeNamespaces final : public Namespaces {
 public:
  boost::asio::awaitable<Result<void>> ensure(std::string name) override {
    if (refuse == name) co_return fail(ErrorCode::kUnavailable, "no permission to create namespace " + name);
    if (names.insert(name).second) ++made;
    ids.try_emplace(name, sys::NetnsId{4, made});
    co_return Result<void>{};
  }
  std::optional<sys::NetnsId> identity(const std::string& name) override {
    return names.contains(name) ? std::optional(ids[name]) : std::nullopt;
  }
  Result<void> remove(const std::string& name) override {
    names.erase(name);
    ids.erase(name);
    return {};
  }
  /// As `ip netns del` and `ip netns add` do it.
  void make_again(const std::string& name) { ids[name] = {4, ++made}; }
  std::set<std::string> names;
  std::map<std::string, sys::NetnsId> ids;
  std::uint64_t made = 0;
  std::string refuse;
};

/// Runs `io` until `done` or for 10 s of real time.
inline bool run_until(boost::asio::io_context& io, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    io.restart();
    io.run_one_for(std::chrono::milliseconds(20));
  }
  return true;
}

template <class T>
T finish(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  auto result = std::make_shared<std::optional<T>>();
  boost::asio::co_spawn(
      io,
      [result, pending = std::make_shared<boost::asio::awaitable<T>>(std::move(
                   work))]() -> boost::asio::awaitable<void> { result->emplace(co_await std::move(*pending)); },
      boost::asio::detached);
  if (!run_until(io, [&] { return result->has_value(); })) ADD_FAILURE() << "the operation did not end";
  return std::move(**result);
}

}  // namespace simplon::control
