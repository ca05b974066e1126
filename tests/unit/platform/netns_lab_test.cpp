// SPDX-License-Identifier: GPL-2.0-or-later
//
// Namespaces, TUN devices and netlink against the running kernel. Needs root.
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <boost/asio/io_context.hpp>

#include "platform/netlink/monitor.h"
#include "platform/netlink/netlink.h"
#include "platform/sys/file.h"
#include "platform/sys/netns.h"
#include "platform/sys/tun.h"

namespace simplon {
namespace {

using namespace std::chrono_literals;

ino_t own_namespace() {
  struct stat info {};
  EXPECT_EQ(::stat("/proc/thread-self/ns/net", &info), 0);
  return info.st_ino;
}

InterfaceAddress address(const char* text) { return InterfaceAddress::parse(text).value(); }
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

class NetnsLab : public ::testing::Test {
 protected:
  std::string name_ = "t" + std::to_string(::getpid()) + "-netns";
  void SetUp() override {
    const auto made = sys::create_netns(name_);
    ASSERT_TRUE(made) << made.error().message();
  }
  void TearDown() override { EXPECT_TRUE(sys::delete_netns(name_)); }
  void shell(const std::string& command) const {
    ASSERT_EQ(std::system(("ip -n " + name_ + " " + command).c_str()), 0) << command;
  }
};

TEST_F(NetnsLab, IsLikeThatOfIpNetns) {
  EXPECT_TRUE(sys::netns_exists(name_));
  EXPECT_TRUE(sys::create_netns(name_)) << "idempotent";
  EXPECT_EQ(std::system(("ip netns exec " + name_ + " true").c_str()), 0);
  ASSERT_TRUE(sys::delete_netns(name_));
  EXPECT_FALSE(sys::netns_exists(name_));
  EXPECT_TRUE(sys::delete_netns(name_)) << "idempotent";
  EXPECT_FALSE(sys::create_netns("a/b"));
  EXPECT_FALSE(sys::create_netns(""));
}

TEST_F(NetnsLab, TheCallerStaysWhereItIs) {
  const auto before = own_namespace();
  const auto inside = sys::call_in_netns<ino_t>(name_, []() -> Result<ino_t> { return own_namespace(); });
  ASSERT_TRUE(inside);
  EXPECT_NE(*inside, before);
  EXPECT_EQ(own_namespace(), before);
  EXPECT_EQ(sys::run_in_netns("no-such-namespace", [] { return Result<void>{}; }).error().code, ErrorCode::kUnavailable);
}

TEST_F(NetnsLab, ADomainIsPrepared) {
  ASSERT_TRUE(sys::prepare_domain_netns(name_));
  const auto link = netlink::Netlink::open(name_).value()->interface("lo");
  ASSERT_TRUE(link);
  EXPECT_TRUE(link->running);
  const auto value = sys::call_in_netns<std::string>(
      name_, [] { return sys::read_file("/proc/sys/net/ipv4/conf/all/rp_filter", 16); });
  EXPECT_EQ(value.value(), "0\n");
  EXPECT_FALSE(sys::set_net_sysctl(name_, "ipv4/no_such_key", "1"));
}

TEST_F(NetnsLab, AProgramNamesTheNewNamespaceItIsIn) {
  const std::string named = name_ + "-own";
  ino_t own = 0;
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    own = own_namespace();
    const auto done = sys::name_own_domain_netns(named);
    EXPECT_TRUE(done) << done.error().message();
  }).join();
  const auto inside = sys::call_in_netns<ino_t>(named, []() -> Result<ino_t> { return own_namespace(); });
  ASSERT_TRUE(inside) << "it outlives its thread";
  EXPECT_EQ(*inside, own);
  const auto value =
      sys::call_in_netns<std::string>(named, [] { return sys::read_file("/proc/sys/net/ipv4/ping_group_range", 64); });
  EXPECT_EQ(value.value(), "0\t2147483647\n");
  EXPECT_TRUE(sys::name_own_domain_netns(named)) << "idempotent, wherever one is";
  EXPECT_TRUE(sys::delete_netns(named));
}

TEST_F(NetnsLab, SomebodysNamespaceIsNotNamed) {
  ASSERT_TRUE(sys::prepare_domain_netns(name_));
  shell("route add 192.0.2.0/24 dev lo");
  const std::string named = name_ + "-own";
  const auto refused = sys::run_in_netns(name_, [&] { return sys::name_own_domain_netns(named); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_FALSE(sys::netns_exists(named));
  EXPECT_NE(::access(sys::netns_path(named).c_str(), F_OK), 0);
}

TEST_F(NetnsLab, ANameMayMeanAnotherNamespaceThanThatOfADevice) {
  const auto tun = sys::open_tun(name_, "tun7");
  ASSERT_TRUE(tun) << tun.error().message();
  const auto first = sys::netns_id(name_);
  EXPECT_EQ(sys::netns_of_tun(tun->get()).value(), first);
  ASSERT_TRUE(sys::delete_netns(name_));
  EXPECT_FALSE(sys::netns_id(name_));
  ASSERT_TRUE(sys::create_netns(name_));
  EXPECT_NE(sys::netns_id(name_), first);
  EXPECT_EQ(sys::netns_of_tun(tun->get()).value(), first);
  EXPECT_FALSE(sys::netns_of_tun(-1));
}

TEST_F(NetnsLab, ATunOutlivesItsDescriptor) {
  {
    auto tun = sys::open_tun(name_, "tun7");
    ASSERT_TRUE(tun) << tun.error().message();
    const auto held = sys::open_tun(name_, "tun7");
    ASSERT_FALSE(held);
    EXPECT_EQ(held.error().code, ErrorCode::kConflict);
  }
  auto netlink = netlink::Netlink::open(name_).value();
  ASSERT_TRUE(netlink::configure_interface(*netlink, "tun7", {address("169.254.10.1/30"), address("2001:db8::1/64")}, 1400));
  auto again = sys::open_tun(name_, "tun7");
  ASSERT_TRUE(again) << again.error().message();
  const auto link = netlink->interface("tun7");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->mtu_bytes, 1400U);
  EXPECT_THAT(link->addresses, ::testing::IsSupersetOf({address("169.254.10.1/30"), address("2001:db8::1/64")}));
  ASSERT_EQ(::ioctl(again->get(), TUNSETPERSIST, 0), 0);
  again->reset();
  EXPECT_FALSE(netlink->interface("tun7"));
  EXPECT_EQ(sys::open_tun(name_, "lo").error().code, ErrorCode::kConflict);
}

TEST_F(NetnsLab, ConfiguringAnInterfaceReplacesItsAddresses) {
  ASSERT_TRUE(sys::open_tun(name_, "tun7"));
  auto netlink = netlink::Netlink::open(name_).value();
  ASSERT_TRUE(netlink::configure_interface(*netlink, "tun7", {address("10.0.0.1/24"), address("10.0.1.1/24")}, 1500));
  ASSERT_TRUE(netlink::configure_interface(*netlink, "tun7", {address("10.0.1.1/24"), address("10.0.2.1/24")}, 1300));
  const auto link = netlink->interface("tun7");
  EXPECT_THAT(link->addresses, ::testing::UnorderedElementsAre(address("10.0.1.1/24"), address("10.0.2.1/24")));
  EXPECT_EQ(link->mtu_bytes, 1300U);
}

TEST_F(NetnsLab, RoutesAreLookedUp) {
  shell("link add v0 type veth peer name v1");
  shell("addr add 192.0.2.1/24 dev v0");
  shell("link set v0 up");
  shell("link set v1 up");
  shell("route add 198.51.100.0/24 via 192.0.2.254 mtu 1300");
  shell("route add unreachable 203.0.113.0/24");
  auto netlink = netlink::Netlink::open(name_).value();
  const auto v0 = netlink->interface("v0").value();
  const auto direct = netlink->route_to(ip("192.0.2.7")).value();
  EXPECT_EQ(direct.kind, netlink::RouteKind::kUnicast);
  EXPECT_EQ(direct.interface, v0.index);
  EXPECT_FALSE(direct.gateway);
  EXPECT_EQ(direct.source, ip("192.0.2.1"));
  const auto far = netlink->route_to(ip("198.51.100.7")).value();
  EXPECT_EQ(far.gateway, ip("192.0.2.254"));
  EXPECT_EQ(far.mtu_bytes, 1300U);
  EXPECT_EQ(netlink->route_to(ip("192.0.2.1"))->kind, netlink::RouteKind::kLocal);
  EXPECT_EQ(netlink->route_to(ip("203.0.113.1"))->kind, netlink::RouteKind::kUnreachable);
  EXPECT_EQ(netlink->route_to(ip("8.8.8.8"))->kind, netlink::RouteKind::kUnreachable);
  EXPECT_EQ(netlink->route_to(ip("2001:db8::1"))->kind, netlink::RouteKind::kUnreachable);
}

TEST_F(NetnsLab, NeighborsAreResolvedAndChangesAreHeard) {
  const std::string peer = name_ + "p";
  ASSERT_TRUE(sys::create_netns(peer));
  shell("link add v0 type veth peer name v0 netns " + peer);
  shell("addr add 192.0.2.1/24 dev v0");
  shell("link set v0 up");
  ASSERT_EQ(std::system(("ip -n " + peer + " addr add 192.0.2.2/24 dev v0 && ip -n " + peer + " link set v0 up").c_str()), 0);

  boost::asio::io_context io;
  std::vector<netlink::Neighbor> neighbors;
  int links = 0;
  int routes = 0;
  netlink::Monitor::Events events;
  events.on_neighbor = [&](const netlink::Neighbor& neighbor) { neighbors.push_back(neighbor); };
  events.on_link = [&] { ++links; };
  events.on_route = [&] { ++routes; };
  auto monitor = netlink::Monitor::open(io, std::move(events), name_);
  ASSERT_TRUE(monitor) << monitor.error().message();
  const auto hears = [&](const auto& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      io.restart();
      io.run_one_for(20ms);
    }
    return condition();
  };

  auto netlink = netlink::Netlink::open(name_).value();
  const auto v0 = netlink->interface("v0").value();
  EXPECT_EQ(netlink->neighbor(v0.index, ip("192.0.2.2")).value(), std::nullopt);
  ASSERT_TRUE(netlink->resolve(v0.index, ip("192.0.2.2")));
  const auto peer_mac = netlink::Netlink::open(peer).value()->interface("v0")->mac;
  EXPECT_TRUE(hears([&] {
    return std::any_of(neighbors.begin(), neighbors.end(), [&](const netlink::Neighbor& n) {
      return n.address == ip("192.0.2.2") && n.state == netlink::NeighborState::kValid && n.mac == peer_mac;
    });
  }));
  EXPECT_EQ(netlink->neighbor(v0.index, ip("192.0.2.2")).value()->mac, peer_mac);
  // Nobody has this one.
  ASSERT_TRUE(netlink->resolve(v0.index, ip("192.0.2.3")));
  EXPECT_TRUE(hears([&] {
    return std::any_of(neighbors.begin(), neighbors.end(), [&](const netlink::Neighbor& n) {
      return n.address == ip("192.0.2.3") && n.state == netlink::NeighborState::kFailed;
    });
  }));
  // A permanent one stays permanent.
  shell("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent");
  ASSERT_TRUE(netlink->resolve(v0.index, ip("192.0.2.9")));
  EXPECT_TRUE(netlink->neighbor(v0.index, ip("192.0.2.9")).value()->fixed);

  links = routes = 0;
  shell("route add 198.51.100.0/24 via 192.0.2.2");
  EXPECT_TRUE(hears([&] { return routes > 0; }));
  shell("link set v0 mtu 1400");
  EXPECT_TRUE(hears([&] { return links > 0; }));
  EXPECT_TRUE(sys::delete_netns(peer));
}

}  // namespace
}  // namespace simplon
