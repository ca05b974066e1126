// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two gateways with the same tables: one has the worker alone, the other the XDP program in front of it, run by the
// kernel on one packet at a time. Whatever frame both get - plain, odd or forged - and whatever changes in their
// tables: both send the same bytes out of the same ports, drop for the same reasons and count the same.
//
// Beside the topology of packet/topology.h, all in domain red:
//
//   vpc 5004 (IPv6 underlay)  fd04::/64, 10.4.0.0/16   VM fd04::5, 10.4.0.5 at VTEP 2001:db8:f::12
//   circuit 3  VLAN 100       10.50.0.0/16, fd50::/64 and 10.51.0.0/16 (IPv6 neighbor) behind its neighbors
//   circuit 4  VLAN 7 in 300  10.60.0.0/16 behind its neighbor; 192.168.16.0/30 directly
//   circuit 5  VLAN 8 in 300 (both tags 0x8100) on the fabric: 10.65.0.0/16, fd65::/64
//   10.70.0.0/16, fd70::/64 by circuits 3 and 5, over IPv4 also 4; 10.71.0.5 and fd71::5 by VPCs 5001 and 5004 and circuit 3
//
// Needs root.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/differential/xdp_side.h"
#include "tests/packet/rig.h"

namespace simplon::differential {
namespace {

using test::Bytes;
using namespace test;

constexpr std::size_t kFrames = 20'000;
const std::string kRouter3 = "02:dd:00:00:00:03";
const std::string kRouter4 = "02:dd:00:00:00:04";
const std::string kRouter5 = "02:dd:00:00:00:05";
const std::string kGateway4Mac = "02:53:4c:00:13:8c";

IpAddress ip(const std::string& text) { return Topology::ip(text); }
MacAddress mac(const std::string& text) { return Topology::mac(text); }

forward::VpcEntry vpc4() {
  return {Vni{5004},
          kRed,
          ip("2001:db8:f::2"),
          8472,
          mac(kGateway4Mac),
          {Topology::prefix("10.4.0.0/16"), Topology::prefix("fd04::/64")},
          {ip("2001:db8:f::12"), ip("2001:db8:f::13")},
          1430};
}
forward::CircuitEntry circuit(std::uint32_t id) {
  switch (id) {
    case 3:
      return {CircuitId{3}, kRed, kWan, 100, 0, 0x88a8, mac(kWanMac), 1500, true};
    case 4:
      return {CircuitId{4}, kRed, kWan, 7, 300, 0x88a8, mac(kWanMac), 1400, true};
    default:
      return {CircuitId{5}, kRed, kFabric, 8, 300, 0x8100, mac(kFabricMac), 1500, true};
  }
}

/// A write to the tables, of both.
using Write = std::function<void(forward::Tables&)>;

class XdpTwins : public ::testing::Test {
 protected:
  XdpTwins() : side_(behind_.tables) {
    for (const forward::PortId port : {kFabric, kWan}) side_.put_uplink(port);
    for (const std::uint32_t vni : {5001U, 5002U, 5003U}) side_.put_vpc(*behind_.tables.vpc(Vni{vni}));
    put(vpc4());
    for (const std::uint32_t id : {3U, 4U, 5U}) put(circuit(id));
    write([](forward::Tables& tables) {
      for (const char* address : {"10.4.0.5", "fd04::5"}) {
        Topology::must(
            tables.upsert_endpoint({Vni{5004}, ip(address), mac("02:cc:00:00:04:05"), ip("2001:db8:f::12")}));
      }
      Topology::must(tables.set_adjacency(ip("2001:db8:f::12"), {true, kWan, mac(kWanMac), mac(kCompute6Mac), 1500}));
      neighbors(tables);
      const auto via = [&tables](const char* to, std::uint32_t id, std::optional<IpAddress> gateway) {
        forward::NextHopEntry hop{forward::AttachmentId::circuit(CircuitId{id}), 1, gateway};
        Topology::must(tables.upsert_route({kRed, Topology::prefix(to), forward::RouteAction::kForward, {hop}}));
      };
      via("10.50.0.0/16", 3, ip("192.168.15.2"));
      via("fd50::/64", 3, ip("fd15::2"));
      via("10.51.0.0/16", 3, ip("fd15::2"));
      via("10.60.0.0/16", 4, ip("192.168.16.2"));
      via("192.168.16.0/30", 4, std::nullopt);
      via("10.65.0.0/16", 5, ip("192.168.17.2"));
      via("fd65::/64", 5, ip("fd17::2"));
      for (const char* address : {"10.71.0.5", "fd71::5"}) {
        Topology::must(tables.upsert_endpoint({Vni{5001}, ip(address), mac(kVmMac), ip("192.0.2.11")}));
        Topology::must(
            tables.upsert_endpoint({Vni{5004}, ip(address), mac("02:cc:00:00:07:15"), ip("2001:db8:f::12")}));
      }
      groups(tables, {1, 3, 1});
      for (const char* to : {"10.4.0.0/16", "fd04::/64"}) {
        Topology::must(tables.upsert_route({kRed,
                                            Topology::prefix(to),
                                            forward::RouteAction::kForward,
                                            {{forward::AttachmentId::vpc(Vni{5004}), 1}}}));
      }
    });
  }

  static void neighbors(forward::Tables& tables) {
    for (const auto& [id, address, at] :
         std::vector<std::tuple<std::uint32_t, const char*, std::string>>{{3, "192.168.15.2", kRouter3},
                                                                          {3, "fd15::2", kRouter3},
                                                                          {4, "192.168.16.2", kRouter4},
                                                                          {5, "192.168.17.2", kRouter5},
                                                                          {5, "fd17::2", kRouter5}}) {
      Topology::must(tables.upsert_neighbor({CircuitId{id}, ip(address), mac(at)}));
    }
  }

  /// The routes with several nexthops.
  static void groups(forward::Tables& tables, std::array<std::uint16_t, 3> weights) {
    const auto circuit = [](std::uint32_t id, const char* gateway, std::uint16_t weight) {
      return forward::NextHopEntry{forward::AttachmentId::circuit(CircuitId{id}), weight, ip(gateway)};
    };
    const auto vpc = [](std::uint32_t vni, std::uint16_t weight) {
      return forward::NextHopEntry{forward::AttachmentId::vpc(Vni{vni}), weight};
    };
    const auto route = [&tables](const char* to, std::vector<forward::NextHopEntry> hops) {
      Topology::must(tables.upsert_route({kRed, Topology::prefix(to), forward::RouteAction::kForward, std::move(hops)}));
    };
    const auto [a, b, c] = weights;
    route("10.70.0.0/16", {circuit(3, "192.168.15.2", a), circuit(4, "192.168.16.2", b), circuit(5, "192.168.17.2", c)});
    route("fd70::/64", {circuit(3, "fd15::2", a), circuit(5, "fd17::2", b)});
    route("10.71.0.0/16", {vpc(5001, a), vpc(5004, b), circuit(3, "192.168.15.2", c)});
    route("fd71::/64", {vpc(5001, a), vpc(5004, b), circuit(3, "fd15::2", c)});
  }

  void write(const Write& change) {
    for (Rig* rig : {&alone_, &behind_}) {
      change(rig->tables);
      rig->tables.commit();
    }
  }
  void put(const forward::VpcEntry& vpc) {
    write([&](forward::Tables& tables) { Topology::must(tables.upsert_vpc(vpc)); });
    side_.put_vpc(vpc);
  }
  void put(const forward::CircuitEntry& entry) {
    write([&](forward::Tables& tables) { Topology::must(tables.upsert_circuit(entry)); });
    side_.put_circuit(entry);
  }

  /// Both get it; false if they differ, which has been said.
  bool same(forward::PortId port, const Bytes& frame) {
    const Outcome wanted = alone_.send(port, frame);
    Outcome got;
    forwarded_ = side_.offer({port, frame});
    if (forwarded_) {
      got.sent.push_back(*forwarded_);
    } else {
      got = behind_.send(port, frame);
    }
    side_.learn();
    const auto text = [](const Outcome& outcome) {
      std::string all = outcome.summary();
      for (const auto* list : {&outcome.sent, &outcome.punted}) {
        for (const auto& sent : *list) all += "\n  " + std::to_string(sent.port.value()) + " " + to_hex(sent.bytes);
      }
      return all;
    };
    const std::string a = text(wanted);
    const std::string b = text(got);
    EXPECT_EQ(a, b) << (forwarded_ ? "in XDP" : "by the worker") << ", on port " << port.value() << ": "
                    << to_hex(frame);
    return a == b;
  }

  /// Forwarded in XDP at the latest with the third try.
  bool in_xdp(forward::PortId port, const Bytes& frame) {
    for (int i = 0; i < 3; ++i) {
      if (!same(port, frame)) return false;
    }
    return forwarded_.has_value();
  }

  void compare_counters() {
    side_.count();
    std::vector<forward::AttachmentId> attachments;
    for (const std::uint32_t vni : {5001U, 5002U, 5003U, 5004U})
      attachments.push_back(forward::AttachmentId::vpc(Vni{vni}));
    for (const std::uint32_t id : {3U, 4U, 5U}) attachments.push_back(forward::AttachmentId::circuit(CircuitId{id}));
    const auto text = [](const std::optional<forward::TrafficTotals>& t) {
      if (!t) return std::string("none");
      std::string all;
      for (const auto value : {t->rx_packets, t->rx_bytes, t->tx_packets, t->tx_bytes, t->punted, t->dropped}) {
        all += std::to_string(value) + " ";
      }
      return all;
    };
    for (const auto id : attachments) {
      EXPECT_EQ(text(alone_.tables.totals(id)), text(behind_.tables.totals(id))) << id.to_string();
    }
    for (const auto port : {kFabric, kWan}) {
      EXPECT_EQ(text(alone_.tables.totals(port)), text(behind_.tables.totals(port))) << "port " << port.value();
    }
  }

  // What comes from where.
  static Bytes tagged(const std::string& to, const std::string& from,
                      const std::vector<std::pair<std::uint16_t, std::uint16_t>>& tags, const Bytes& inner) {
    Bytes rest;
    const auto put16 = [&rest](std::uint16_t value) {
      rest.push_back(static_cast<std::uint8_t>(value >> 8));
      rest.push_back(static_cast<std::uint8_t>(value));
    };
    for (std::size_t i = 0; i < tags.size(); ++i) {
      put16(tags[i].second);
      put16(i + 1 < tags.size() ? tags[i + 1].first : type_of(inner));
    }
    return ethernet({to, from, tags[0].first}, rest + inner);
  }
  static std::uint16_t type_of(const Bytes& inner) { return !inner.empty() && inner[0] >> 4 == 6 ? 0x86dd : 0x0800; }

  struct Entrance {
    std::string name;
    forward::PortId port;
    std::string v4, v6;  // sources
    std::function<Bytes(const Bytes& inner, std::uint8_t outer_class)> frame;
    std::size_t headers;
  };
  static const std::vector<Entrance>& entrances() {
    static const std::vector<Entrance> all = {
        {"vxlan", kFabric, "10.1.0.5", "fd01::5",
         [](const Bytes& inner, std::uint8_t tos) {
           return ethernet({kFabricMac, kComputeMac},
                           ipv4({.src = "192.0.2.11", .dst = "192.0.2.1", .tos = tos},
                                udp({55555, 4789, std::nullopt, false},
                                    vxlan(5001, ethernet({kGatewayMac, kVmMac, type_of(inner)}, inner)))));
         },
         64},
        {"vxlan6", kWan, "10.4.0.5", "fd04::5",
         [](const Bytes& inner, std::uint8_t tos) {
           return ethernet(
               {kWanMac, kCompute6Mac, 0x86dd},
               ipv6({.src = "2001:db8:f::12", .dst = "2001:db8:f::2", .traffic_class = tos},
                    udp({55555, 8472}, vxlan(5004, ethernet({kGateway4Mac, kVm3Mac, type_of(inner)}, inner)))));
         },
         84},
        {"tag", kWan, "10.50.0.9", "fd50::9",
         [](const Bytes& inner, std::uint8_t) {
           return tagged(kWanMac, kRouter3, {{0x8100, 100}}, inner);
         },
         18},
        {"tags", kWan, "10.60.0.9", "fd60::9",
         [](const Bytes& inner, std::uint8_t) {
           return tagged(kWanMac, kRouter4, {{0x88a8, 300}, {0x8100, 7}}, inner);
         },
         22},
        {"tags 0x8100", kFabric, "10.65.0.9", "fd65::9",
         [](const Bytes& inner, std::uint8_t) {
           return tagged(kFabricMac, kRouter5, {{0x8100, 300}, {0x8100, 8}}, inner);
         },
         22},
    };
    return all;
  }
  struct Exit {
    std::string name, v4, v6;
  };
  static const std::vector<Exit>& exits() {
    static const std::vector<Exit> all = {
        {"vxlan", "10.1.0.5", "fd01::5"},        {"vxlan6", "10.4.0.5", "fd04::5"},
        {"vxlan6 to 5003", "10.3.0.5", ""},      {"tag", "10.50.7.7", "fd50::77"},
        {"tag, IPv6 neighbor", "10.51.1.1", ""}, {"tags", "10.60.7.7", ""},
        {"tags, neighbor", "192.168.16.2", ""},  {"tags 0x8100", "10.65.0.1", "fd65::1"},
        {"circuits", "10.70.3.3", "fd70::33"},   {"VPCs and a circuit", "10.71.0.5", "fd71::5"}};
    return all;
  }

  static Bytes plain(const std::string& src, const std::string& dst, std::size_t bytes, std::uint8_t tos = 0,
                     std::uint16_t sport = 1000) {
    if (src.find(':') != std::string::npos) {
      return ipv6({.src = src, .dst = dst, .traffic_class = tos}, udp({sport, 2000}, payload(bytes)));
    }
    return ipv4({.src = src, .dst = dst, .tos = tos}, udp({sport, 2000}, payload(bytes)));
  }

  Rig alone_, behind_;
  XdpSide side_;
  std::optional<forward::MemoryIo::Sent> forwarded_;
};

TEST_F(XdpTwins, EveryEntranceLeadsToEveryExit) {
  for (const Entrance& in : entrances()) {
    for (const Exit& out : exits()) {
      for (const bool v6 : {false, true}) {
        if ((v6 ? out.v6 : out.v4).empty()) continue;
        for (const std::size_t bytes : {0U, 1U, 2U, 3U, 5U, 18U, 64U, 500U, 511U, 1111U, 1300U}) {
          const Bytes inner = plain(v6 ? in.v6 : in.v4, v6 ? out.v6 : out.v4, bytes);
          ASSERT_TRUE(in_xdp(in.port, in.frame(inner, 0)))
              << "from " << in.name << " to " << out.name << ", " << (v6 ? "IPv6, " : "IPv4, ") << bytes << " bytes";
          // Padding of a short frame.
          ASSERT_TRUE(in_xdp(in.port, in.frame(inner, 0) + Bytes(7, 0xee))) << in.name;
        }
      }
    }
  }
  compare_counters();
}

TEST_F(XdpTwins, CongestionMarksAreCarriedOver) {
  for (const Entrance& in : entrances()) {
    for (unsigned outer = 0; outer < 4; ++outer) {
      for (unsigned inner = 0; inner < 4; ++inner) {
        for (const bool v6 : {false, true}) {
          const auto dscp = [](unsigned mark) { return static_cast<std::uint8_t>(0xb8 | mark); };
          const Bytes packet = plain(v6 ? in.v6 : in.v4, v6 ? "fd65::1" : "10.65.0.1", 40, dscp(inner));
          for (int i = 0; i < 3; ++i) ASSERT_TRUE(same(in.port, in.frame(packet, dscp(outer))));
        }
      }
    }
  }
}

TEST_F(XdpTwins, WhatIsForTheKernelOrWrongIsTheWorkers) {
  const Entrance& tag = entrances()[2];
  const Entrance& six = entrances()[1];
  const Bytes good = tag.frame(plain(tag.v4, "10.1.0.5", 40), 0);
  const Bytes good6 = six.frame(plain(six.v4, "10.1.0.5", 40), 0);
  ASSERT_TRUE(in_xdp(tag.port, good));
  ASSERT_TRUE(in_xdp(six.port, good6));
  const auto left_alone = [&](forward::PortId port, const Bytes& frame, const char* what) {
    EXPECT_FALSE(in_xdp(port, frame)) << what;
  };
  const auto with = [](Bytes frame, std::size_t at, std::uint8_t value) {
    frame[at] = value;
    return frame;
  };
  left_alone(tag.port, with(good, 0, 0x01), "multicast");
  left_alone(tag.port, with(good, 5, 0x77), "to another station");
  left_alone(tag.port, with(good, 15, 101), "another VLAN");
  left_alone(tag.port, with(good, 17, 6), "ARP");
  left_alone(tag.port, tagged(kWanMac, kRouter3, {{0x8100, 0}, {0x8100, 100}}, plain(tag.v4, "10.1.0.5", 40)),
             "priority tag in front");
  left_alone(tag.port,
             tagged(kWanMac, kRouter4, {{0x88a8, 300}, {0x8100, 7}, {0x8100, 9}}, plain(tag.v4, "10.1.0.5", 40)),
             "three tags");
  left_alone(tag.port, tag.frame(plain(tag.v4, "10.1.0.1", 40), 0), "to ourselves");
  left_alone(tag.port, tag.frame(plain("127.0.0.1", "10.1.0.5", 40), 0), "from loopback");
  left_alone(tag.port, tag.frame(plain("224.0.0.9", "10.1.0.5", 40), 0), "from multicast");
  left_alone(tag.port, tag.frame(plain("0.1.2.3", "10.1.0.5", 40), 0), "from nowhere");
  ASSERT_TRUE(in_xdp(tag.port, tag.frame(plain(tag.v6, "fd01::5", 40), 0)));
  for (const char* source : {"fe80::1", "ff02::1", "::", "::1"}) {
    left_alone(tag.port, tag.frame(plain(source, "fd01::5", 40), 0), source);
  }
  EXPECT_TRUE(in_xdp(tag.port, tag.frame(plain("::2", "fd01::5", 40), 0)));
  left_alone(tag.port, tag.frame(ipv4({.src = tag.v4, .dst = "10.1.0.5", .ttl = 1}, udp({1, 2}, payload(9))), 0),
             "the last hop");
  left_alone(tag.port, tag.frame(ipv4({.src = tag.v4, .dst = "10.1.0.5", .mf = true}, udp({1, 2}, payload(9))), 0),
             "a fragment");
  left_alone(tag.port,
             tag.frame(ipv4({.src = tag.v4, .dst = "10.1.0.5", .options = {1, 1, 1, 1}}, udp({1, 2}, payload(9))), 0),
             "options");
  left_alone(tag.port, tag.frame(plain(tag.v4, "10.1.0.5", 1430), 0), "too big");
  left_alone(tag.port,
             tag.frame(ipv4({.src = tag.v4, .dst = "10.1.0.5", .protocol = 6}, tcp({1, 2, true, false, 1460}, {})), 0),
             "SYN");
  left_alone(tag.port, first(good, good.size() - 1), "truncated");
  left_alone(tag.port, tag.frame(plain(tag.v4, "10.3.0.9", 40), 0), "no endpoint");
  left_alone(kFabric, entrances()[0].frame(plain("10.1.0.5", "192.168.16.1", 40), 0), "no neighbor");
  left_alone(six.port, with(good6, 37, 0x14), "from another VTEP");
  left_alone(six.port, with(good6, 53, 0x03), "to another VTEP");
  left_alone(six.port, with(good6, 20, 44), "an extension header");
  left_alone(six.port, with(good6, 57, 0xb5), "another UDP port");
  // The outer checksum is nobody's concern.
  EXPECT_TRUE(in_xdp(six.port, with(with(good6, 60, 0), 61, 0)));
  compare_counters();
}

TEST_F(XdpTwins, AChangeIsSeenWithTheNextPacket) {
  const Bytes out = entrances()[0].frame(plain("10.1.0.5", "10.50.7.7", 200), 0);
  const Bytes in = entrances()[2].frame(plain("10.50.7.7", "10.1.0.5", 200), 0);
  const auto both_in_xdp = [&] { return in_xdp(kFabric, out) && in_xdp(kWan, in); };
  const auto after = [&](const char* what, const Write& change) {
    ASSERT_TRUE(both_in_xdp()) << "before: " << what;
    write(change);
    EXPECT_TRUE(same(kFabric, out)) << what;
    EXPECT_TRUE(same(kWan, in)) << what;
  };
  after("the neighbor's card was changed", [](forward::Tables& tables) {
    Topology::must(tables.upsert_neighbor({CircuitId{3}, ip("192.168.15.2"), mac("02:dd:00:00:00:33")}));
  });
  after("the neighbor is gone",
        [](forward::Tables& tables) { tables.remove_neighbor(CircuitId{3}, ip("192.168.15.2")); });
  EXPECT_FALSE(in_xdp(kFabric, out));
  write(neighbors);
  forward::CircuitEntry entry = circuit(3);
  entry.mtu = 100;
  after("a smaller MTU", [&](forward::Tables& tables) { Topology::must(tables.upsert_circuit(entry)); });
  EXPECT_FALSE(in_xdp(kFabric, out));
  put(circuit(3));
  entry = circuit(3);
  entry.mac = mac("02:00:00:00:00:f7");
  after("our address", [&](forward::Tables& tables) { Topology::must(tables.upsert_circuit(entry)); });
  put(circuit(3));
  entry = circuit(3);
  entry.vlan = 101;
  after("another VLAN", [&](forward::Tables& tables) { Topology::must(tables.upsert_circuit(entry)); });
  put(circuit(3));
  after("another domain", [](forward::Tables& tables) {
    forward::CircuitEntry moved = circuit(3);
    moved.domain = kBlue;
    Topology::must(tables.upsert_circuit(moved));
  });
  put(circuit(3));
  after("no circuit", [](forward::Tables& tables) { tables.remove_circuit(CircuitId{3}); });
  put(circuit(3));
  write(neighbors);
  after("another gateway", [](forward::Tables& tables) {
    forward::NextHopEntry hop{forward::AttachmentId::circuit(CircuitId{4}), 1, ip("192.168.16.2")};
    Topology::must(
        tables.upsert_route({kRed, Topology::prefix("10.50.0.0/16"), forward::RouteAction::kForward, {hop}}));
  });
  EXPECT_TRUE(both_in_xdp());
  compare_counters();
}

TEST_F(XdpTwins, OneOfSeveralNexthopsIsTakenAsTheWorkerTakesIt) {
  for (const Entrance& in : entrances()) {
    for (const auto& [v4, v6, nexthops4, nexthops6] :
         std::vector<std::tuple<const char*, const char*, std::size_t, std::size_t>>{{"10.70.3.3", "fd70::33", 3, 2},
                                                                                     {"10.71.0.5", "fd71::5", 3, 3}}) {
      for (const bool six : {false, true}) {
        std::set<std::pair<forward::PortId, Bytes>> ways;
        for (std::uint16_t flow = 0; flow < 60; ++flow) {
          const auto port = static_cast<std::uint16_t>(1009 * flow);
          ASSERT_TRUE(in_xdp(in.port, in.frame(plain(six ? in.v6 : in.v4, six ? v6 : v4, 40, 0, port), 0)))
              << in.name << " to " << (six ? v6 : v4) << ", port " << port;
          ways.emplace(forwarded_->port, first(forwarded_->bytes, 16));
        }
        EXPECT_EQ(ways.size(), six ? nexthops6 : nexthops4) << in.name << " to " << (six ? v6 : v4);
      }
    }
    ASSERT_TRUE(in_xdp(in.port, in.frame(ipv4({.src = in.v4, .dst = "10.70.3.3", .protocol = 1}, payload(40)), 0)));
    std::size_t fits = 0;
    for (std::uint16_t port = 1; port <= 60; ++port) {
      // 1408 bytes: too large for circuit 4 alone.
      fits += in_xdp(in.port, in.frame(plain(in.v4, "10.70.3.3", 1380, 0, port), 0)) ? 1 : 0;
    }
    EXPECT_GT(fits, 10U) << in.name;
    EXPECT_LT(fits, 50U) << in.name;
  }
  compare_counters();
}

TEST_F(XdpTwins, FlowsMoveToOtherNexthopsWhenTheWorkersDo) {
  std::vector<std::pair<forward::PortId, Bytes>> frames;
  for (const std::size_t entrance : {0U, 1U, 2U}) {
    const Entrance& in = entrances()[entrance];
    for (std::uint16_t port = 1; port <= 25; ++port) {
      for (const char* to : {"10.70.3.3", "10.71.0.5"}) {
        frames.emplace_back(in.port, in.frame(plain(in.v4, to, 40, 0, port), 0));
      }
      frames.emplace_back(in.port, in.frame(plain(in.v6, "fd71::5", 40, 0, port), 0));
    }
  }
  const auto forwarded_in_xdp = [&] {
    std::size_t count = 0;
    for (const auto& [port, frame] : frames) count += in_xdp(port, frame) ? 1 : 0;
    return count;
  };
  const auto after = [&](const char* what, const Write& change) {
    ASSERT_GT(forwarded_in_xdp(), frames.size() / 3) << "before: " << what;
    write(change);
    for (const auto& [port, frame] : frames) ASSERT_TRUE(same(port, frame)) << what;
    EXPECT_GT(forwarded_in_xdp(), frames.size() / 3) << what;
  };
  const auto back = [](forward::Tables& tables) { groups(tables, {1, 3, 1}); };
  after("other weights", [](forward::Tables& tables) { groups(tables, {3, 1, 2}); });
  after("and back", back);
  after("one less", [](forward::Tables& tables) {
    forward::RouteEntry route = *tables.route(kRed, Topology::prefix("10.70.0.0/16"));
    route.nexthops.pop_back();
    Topology::must(tables.upsert_route(route));
  });
  after("only one", [](forward::Tables& tables) {
    forward::RouteEntry route = *tables.route(kRed, Topology::prefix("10.70.0.0/16"));
    route.nexthops.pop_back();
    Topology::must(tables.upsert_route(route));
  });
  after("several again", back);
  after("a circuit that is not there", [](forward::Tables& tables) { tables.remove_circuit(CircuitId{4}); });
  put(circuit(4));
  after("its neighbor", neighbors);
  const forward::VpcEntry vpc = *behind_.tables.vpc(Vni{5001});
  after("a VPC that is not there", [](forward::Tables& tables) { tables.remove_vpc(Vni{5001}); });
  put(vpc);
  after("the endpoints", [](forward::Tables& tables) {
    for (const char* address : {"10.1.0.5", "10.71.0.5", "fd71::5"}) {
      Topology::must(tables.upsert_endpoint({Vni{5001}, ip(address), mac(kVmMac), ip("192.0.2.11")}));
    }
  });
  after("a circuit of another domain", [](forward::Tables& tables) {
    forward::CircuitEntry moved = circuit(5);
    moved.domain = kBlue;
    Topology::must(tables.upsert_circuit(moved));
  });
  put(circuit(5));
  after("no neighbor", [](forward::Tables& tables) { tables.remove_neighbor(CircuitId{3}, ip("192.168.15.2")); });
  write(neighbors);
  after("a tunnel among them", [](forward::Tables& tables) {
    forward::RouteEntry route = *tables.route(kRed, Topology::prefix("10.70.0.0/16"));
    route.nexthops.push_back({forward::AttachmentId::tunnel(TunnelId{9}), 2});
    Topology::must(tables.upsert_route(route));
  });
  const auto sa = [](forward::Tables& tables, const std::shared_ptr<forward::Sa>& outbound) {
    Topology::must(tables.set_outbound(TunnelId{9}, outbound));
  };
  const auto ours = alone_.tables.outbound(TunnelId{9});
  const auto theirs = behind_.tables.outbound(TunnelId{9});
  after("which has no SA", [&](forward::Tables& tables) { sa(tables, nullptr); });
  after("which has one again", [&](forward::Tables& tables) { sa(tables, &tables == &alone_.tables ? ours : theirs); });
  after("as it was", back);
  compare_counters();
}

TEST_F(XdpTwins, PolicyTakesADomainOut) {
  const Bytes out = entrances()[0].frame(plain("10.1.0.5", "10.50.7.7", 40), 0);
  ASSERT_TRUE(in_xdp(kFabric, out));
  write([](forward::Tables& tables) {
    forward::PolicyEntry policy;
    policy.attachment = forward::AttachmentId::circuit(CircuitId{3});
    policy.domain = kRed;
    Topology::must(tables.upsert_policy(policy));
  });
  EXPECT_FALSE(in_xdp(kFabric, out));
}

TEST_F(XdpTwins, RandomAndHostileFrames) {
  std::mt19937 random(20);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::map<std::string, std::size_t> in_xdp_from;
  for (std::size_t i = 0; i < kFrames; ++i) {
    const Entrance& in = entrances()[below(entrances().size())];
    const Exit& out = exits()[below(exits().size())];
    const bool v6 = !out.v6.empty() && below(2) == 0;
    const std::string& src = v6 ? in.v6 : in.v4;
    const std::string& dst = v6 ? out.v6 : out.v4;
    const std::size_t bytes = below(4) == 0 ? below(1450) : below(90);
    const auto mark = static_cast<std::uint8_t>(below(8) == 0 ? below(256) : 0);
    Bytes inner = plain(src, dst, bytes, mark, static_cast<std::uint16_t>(below(65536)));
    if (below(3) == 0) {
      const Bytes segment = tcp({1, 2, below(9) == 0, true}, payload(bytes));
      inner = v6 ? ipv6({.src = src, .dst = dst, .next = 6}, segment)
                 : ipv4({.src = src, .dst = dst, .protocol = 6}, segment);
    }
    Bytes frame = in.frame(inner, static_cast<std::uint8_t>(below(6) == 0 ? below(256) : 0));
    if (below(2) == 0) {
      for (std::size_t change = 1 + below(2); change > 0; --change) {
        switch (below(6)) {
          case 0:
            frame[below(std::min<std::size_t>(frame.size(), 140))] ^= static_cast<std::uint8_t>(1U << below(8));
            break;
          case 1:
            frame[in.headers + below(std::min<std::size_t>(frame.size() - in.headers, 60))] =
                static_cast<std::uint8_t>(random());
            break;
          case 2:
            frame.resize(std::max<std::size_t>(14, below(frame.size())));
            frame.resize(std::max<std::size_t>(frame.size(), in.headers + 20), 0);
            break;
          case 3:
            frame.resize(std::max<std::size_t>(in.headers + 20, below(frame.size())));
            break;
          case 4:
            frame.resize(frame.size() + below(60), static_cast<std::uint8_t>(random()));
            break;
          default:
            frame[below(in.headers)] = static_cast<std::uint8_t>(random());
        }
      }
    }
    // Short ones are dropped by the worker alone, which other tests look at.
    if (below(50) == 0) frame.resize(14 + below(frame.size() - 14));
    if (!same(in.port, frame)) break;
    if (forwarded_) ++in_xdp_from[in.name];
    if (below(500) == 0) {
      const auto other = static_cast<std::uint8_t>(below(4));
      write([&](forward::Tables& tables) {
        const auto router = mac("02:dd:00:00:00:0" + std::to_string(other));
        if (other == 0) return tables.remove_neighbor(CircuitId{4}, ip("192.168.16.2"));
        Topology::must(tables.upsert_neighbor({CircuitId{4}, ip("192.168.16.2"), router}));
        forward::CircuitEntry entry = circuit(5);
        entry.mtu = static_cast<std::uint16_t>(100 + 400 * other);
        Topology::must(tables.upsert_circuit(entry));
        groups(tables, {other, 2, 1});
      });
    }
    if (below(5000) == 0) compare_counters();
  }
  compare_counters();
  for (const Entrance& in : entrances()) EXPECT_GT(in_xdp_from[in.name], kFrames / entrances().size() / 4) << in.name;
}

}  // namespace
}  // namespace simplon::differential
