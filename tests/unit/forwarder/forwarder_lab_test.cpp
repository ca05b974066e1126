// SPDX-License-Identifier: GPL-2.0-or-later
//
// The whole simplon-forwarder against the kernel: VXLAN compute hosts, host ports, and two forwarders with an ESP tunnel
// between them. Needs root.
#include <gtest/gtest.h>

#include <algorithm>

#include "platform/sys/netns.h"
#include "tests/unit/forwarder/lab.h"

namespace simplon::lab {
namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }
InterfaceAddress on_link(const char* text) { return InterfaceAddress::parse(text).value(); }

ipc::Route route(DomainId domain, const char* to, ipc::AttachmentRef via, ipc::RouteAction action = ipc::RouteAction::kForward) {
  return {domain, prefix(to), action, {{via, 1}}};
}

void expect_exact_accounting(ForwarderProcess& forwarder) {
  // Read at a moment of rest: the counters of a burst in progress are not consistent yet.
  EXPECT_TRUE(forwarder.reaches([](const ipc::Stats& s) {
    const auto& a = s.accounting;
    return a.received + a.originated == a.sent + a.punted + a.dropped;
  }));
}

bool resolved(const ipc::Stats& stats) {
  return !stats.neighbors.empty() &&
         std::all_of(stats.neighbors.begin(), stats.neighbors.end(), [](const auto& n) { return n.resolved; });
}

///      c1 (VPC 5001: 10.1.1.10)        c2 (VPC 5002: 10.2.2.10)
///        | 192.0.2.11                    | 192.0.2.12
///        +--------------- br0 -----------+          dom: the domain's namespace, vpc5001 and vpc5002
///                          |
///                       gw u0 192.0.2.1
class VxlanLab : public ::testing::Test {
 protected:
  static constexpr DomainId kDomain{1};

  Netns gw_{"gw"}, fabric_{"fabric"}, c1_{"c1"}, c2_{"c2"}, dom_{"dom"};
  std::unique_ptr<ForwarderProcess> forwarder_;

  void SetUp() override {
    ASSERT_TRUE(sys::prepare_domain_netns(dom_.name()));
    fabric_.ip("link add br0 type bridge");
    fabric_.ip("link set br0 up");
    connect(gw_, "u0", fabric_, "gw");
    connect(c1_, "e0", fabric_, "c1");
    connect(c2_, "e0", fabric_, "c2");
    for (const char* port : {"gw", "c1", "c2"}) fabric_.ip(std::string("link set ") + port + " master br0");
    gw_.ip("addr add 192.0.2.1/24 dev u0");
    compute(c1_, "192.0.2.11", "5001", "02:00:00:00:01:0a", "10.1.1.10/24", "10.1.1.1", "02:53:4c:00:13:89");
    compute(c2_, "192.0.2.12", "5002", "02:00:00:00:02:0a", "10.2.2.10/24", "10.2.2.1", "02:53:4c:00:13:8a");
    forwarder_ = std::make_unique<ForwarderProcess>(gw_);
    forwarder_->program(objects());
    ASSERT_TRUE(forwarder_->reaches(resolved));
  }

  static void compute(const Netns& host, const char* vtep, const char* vni, const char* vm_mac, const char* address,
                      const char* gateway, const char* gateway_mac) {
    host.ip(std::string("addr add ") + vtep + "/24 dev e0");
    host.ip(std::string("link add vx0 address ") + vm_mac + " type vxlan id " + vni + " dstport 4789 local " + vtep +
            " nolearning");
    host.ip(std::string("addr add ") + address + " dev vx0");
    host.ip("link set vx0 mtu 1450 up");
    must("bridge -n " + host.name() + " fdb append " + gateway_mac + " dev vx0 dst 192.0.2.1");
    host.ip(std::string("neigh add ") + gateway + " lladdr " + gateway_mac + " dev vx0");
    host.ip(std::string("route add default via ") + gateway);
  }

  std::vector<ipc::Object> objects() {
    const auto red = ipc::AttachmentRef::vpc(Vni(5001));
    const auto blue = ipc::AttachmentRef::vpc(Vni(5002));
    ipc::Vpc vpc{Vni(5001), "red", kDomain, ip("192.0.2.1"), 4789, mac("02:53:4c:00:13:89"), {prefix("10.1.1.0/24")},
                 {ip("192.0.2.11")}, 1450};
    ipc::Vpc other{Vni(5002), "blue", kDomain, ip("192.0.2.1"), 4789, mac("02:53:4c:00:13:8a"), {prefix("10.2.2.0/24")},
                   {ip("192.0.2.12")}, 1450};
    return {ipc::Domain{kDomain, "d"},
            ipc::Uplink{"u0"},
            vpc,
            other,
            ipc::Endpoint{Vni(5001), ip("10.1.1.10"), mac("02:00:00:00:01:0a"), ip("192.0.2.11")},
            ipc::Endpoint{Vni(5002), ip("10.2.2.10"), mac("02:00:00:00:02:0a"), ip("192.0.2.12")},
            ipc::HostPort{red, "vpc5001", dom_.name(), {on_link("10.1.1.1/24")}, 1450},
            ipc::HostPort{blue, "vpc5002", dom_.name(), {on_link("10.2.2.1/24")}, 1450},
            route(kDomain, "10.1.1.0/24", red),
            route(kDomain, "10.2.2.0/24", blue),
            route(kDomain, "10.1.1.1/32", red, ipc::RouteAction::kLocal),
            route(kDomain, "10.2.2.1/32", blue, ipc::RouteAction::kLocal)};
  }
};

TEST_F(VxlanLab, RoutesBetweenTwoVpcsOfADomain) {
  EXPECT_TRUE(eventually(c1_.run("ping -c 3 -i 0.05 -W 1 10.2.2.10")));
  // TTL 64 at the VM, one router on the way.
  EXPECT_NE(shell(c1_.run("ping -c 1 -W 1 10.2.2.10")).output.find("ttl=63"), std::string::npos);
  expect_exact_accounting(*forwarder_);
  const auto stats = forwarder_->stats();
  ASSERT_EQ(stats.uplinks.size(), 1U);
  EXPECT_EQ(stats.uplinks[0].mode, "native, copy");
  EXPECT_TRUE(stats.uplinks[0].up) << stats.uplinks[0].error;
  EXPECT_GT(stats.uplinks[0].queues, 0U);
  EXPECT_EQ(stats.uplinks[0].control_rings, stats.uplinks[0].queues);
  EXPECT_EQ(stats.uplinks[0].rx_ring_full + stats.uplinks[0].control_ring_full, 0U);
}

TEST_F(VxlanLab, AnswersPingAndTracerouteAsTheGateway) {
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  EXPECT_TRUE(eventually(dom_.run("ping -c 1 -W 1 10.1.1.10")));
  const auto trace = shell(c1_.run("ping -c 1 -W 1 -t 1 10.2.2.10"));
  EXPECT_NE(trace.output.find("From 10.1.1.1"), std::string::npos) << trace.output;
  expect_exact_accounting(*forwarder_);
}

TEST_F(VxlanLab, TheUplinkStillBelongsToTheKernelForEverythingElse) {
  // ARP and ICMP of the underlay pass the XDP program.
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 192.0.2.1")));
}

TEST_F(VxlanLab, RestartKeepsHostPortsAndForwardsAgain) {
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  const auto before = shell("ip -n " + dom_.name() + " -o addr show dev vpc5001").output;
  forwarder_->stop();
  EXPECT_EQ(shell("ip -n " + dom_.name() + " -o addr show dev vpc5001").output, before);
  forwarder_->start();
  forwarder_->program(objects());
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
}

TEST_F(VxlanLab, AResynchronizationOfTheSameTablesLosesNothing) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
  NumberedTraffic traffic(c1_, c2_, "10.2.2.10");
  for (int i = 0; i < 50; ++i) forwarder_->program(objects());
  const auto report = traffic.finish();
  EXPECT_GT(report.sent, 20U);
  EXPECT_EQ(report.received, report.sent);
  EXPECT_EQ(report.repeated, 0U);
  expect_exact_accounting(*forwarder_);
  EXPECT_EQ(forwarder_->stats().endpoints, 2U);
}

TEST_F(VxlanLab, AnObjectThatIsNotNamedAgainIsSweptAway) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
  auto fewer = objects();
  std::erase_if(fewer, [](const ipc::Object& object) {
    const auto* endpoint = std::get_if<ipc::Endpoint>(&object);
    return endpoint != nullptr && endpoint->vni == Vni(5002);
  });
  forwarder_->program(fewer);
  EXPECT_EQ(forwarder_->stats().endpoints, 1U);
  const auto ping = shell(c1_.run("ping -c 1 -W 1 10.2.2.10"));
  EXPECT_NE(ping.output.find("Unreachable"), std::string::npos) << ping.output;
  expect_exact_accounting(*forwarder_);
}

TEST_F(VxlanLab, AHostPortWithAnIpv6AddressHasALinkLocalOne) {
  // FRR needs it for BGP over IPv6.
  auto wanted = objects();
  for (auto& object : wanted) {
    if (auto* port = std::get_if<ipc::HostPort>(&object); port != nullptr && port->interface == "vpc5001") {
      port->addresses.push_back(on_link("2001:db8:1::17/64"));
    }
  }
  forwarder_->program(wanted);
  const auto addresses = shell("ip -n " + dom_.name() + " -6 -o addr show dev vpc5001").output;
  EXPECT_NE(addresses.find("2001:db8:1::17/64"), std::string::npos) << addresses;
  EXPECT_NE(addresses.find("fe80::17/64"), std::string::npos) << addresses;
  EXPECT_TRUE(shell("ip -n " + dom_.name() + " -6 -o addr show dev vpc5002").output.empty());
}

TEST_F(VxlanLab, AHostPortDeletedUnderUsIsMadeAgain) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  dom_.ip("link delete vpc5001");
  EXPECT_TRUE(eventually("ip -n " + dom_.name() + " addr show dev vpc5001 | grep -q 10.1.1.1/24"));
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  expect_exact_accounting(*forwarder_);
}

TEST_F(VxlanLab, HostPortsFollowTheNameOfTheirNamespace) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  must("ip netns delete " + dom_.name());
  EXPECT_TRUE(eventually(c1_.run("ping -c 20 -i 0.1 -W 1 10.1.1.1"))) << "nobody has the name: what is in it works on";

  must("ip netns add " + dom_.name());
  for (const char* port : {"vpc5001", "vpc5002"}) {
    EXPECT_TRUE(eventually("ip -n " + dom_.name() + " addr show dev " + port + " | grep -q 'inet '"));
  }
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  EXPECT_TRUE(eventually(dom_.run("ping -c 1 -W 1 10.2.2.10")));
  EXPECT_EQ(shell(dom_.run("sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.ip_forward")).output, "0\n0\n");
  dom_.ip("addr show dev lo up | grep -q 127.0.0.1");
  EXPECT_NE(forwarder_->log().find("its 2 host ports are made again there"), std::string::npos);
  expect_exact_accounting(*forwarder_);
}

TEST_F(VxlanLab, AReplacedNamespaceIsFoundByTheNextProcess) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  forwarder_->stop();
  must("ip netns delete " + dom_.name());
  must("ip netns add " + dom_.name());
  forwarder_->start();
  forwarder_->program(objects());
  EXPECT_TRUE(eventually("ip -n " + dom_.name() + " addr show dev vpc5001 | grep -q 10.1.1.1/24"));
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
}

TEST_F(VxlanLab, RingsOfManyQueuesLeaveFramesToTheKernel) {
  gw_.ip("link add u1 numrxqueues 32 numtxqueues 32 type veth peer name u1p numrxqueues 32 numtxqueues 32");
  for (const char* end : {"u1", "u1p"}) gw_.ip(std::string("link set ") + end + " up");
  auto wanted = objects();
  wanted.push_back(ipc::Uplink{"u1"});
  forwarder_->program(wanted);
  ASSERT_TRUE(forwarder_->reaches([](const ipc::Stats& stats) {
    return std::any_of(stats.uplinks.begin(), stats.uplinks.end(),
                       [](const auto& uplink) { return uplink.interface == "u1" && uplink.up && uplink.queues == 32; });
  }));
  EXPECT_NE(forwarder_->log().find("give the forwarder --frames"), std::string::npos) << "8,192 are too few for them";
  EXPECT_TRUE(eventually(dom_.run("ping -c 20 -i 0.01 -W 1 10.1.1.10")));
}

TEST_F(VxlanLab, AnUplinkThatGetsMoreQueuesIsServedOnAll) {
  gw_.ip("link add u1 numrxqueues 4 numtxqueues 4 type veth peer name u1p numrxqueues 4 numtxqueues 4");
  must(gw_.run("ethtool -L u1 rx 1 tx 1"));
  must(gw_.run("ethtool -L u1p rx 1 tx 1"));
  for (const char* end : {"u1", "u1p"}) gw_.ip(std::string("link set ") + end + " up");
  auto wanted = objects();
  wanted.push_back(ipc::Uplink{"u1"});
  forwarder_->program(wanted);
  const auto has_queues = [this](std::uint32_t queues) {
    return forwarder_->reaches([queues](const ipc::Stats& stats) {
      return std::any_of(stats.uplinks.begin(), stats.uplinks.end(), [queues](const auto& uplink) {
        return uplink.interface == "u1" && uplink.up && uplink.queues == queues;
      });
    });
  };
  ASSERT_TRUE(has_queues(1));
  must(gw_.run("ethtool -L u1 rx 4 tx 4"));
  EXPECT_TRUE(has_queues(4));
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
}

TEST_F(VxlanLab, AHostPortThatCannotMoveStaysWhereItIs) {
  auto wanted = objects();
  for (auto& object : wanted) {
    if (auto* port = std::get_if<ipc::HostPort>(&object); port != nullptr && port->interface == "vpc5001") port->netns = "not-there";
  }
  EXPECT_EQ(forwarder_->sync(wanted).size(), 1U);
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
  forwarder_->program(objects());
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.1.1.1")));
}

TEST_F(VxlanLab, AnUplinkThatDisappearsComesBack) {
  ASSERT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
  gw_.ip("link delete u0");
  ASSERT_TRUE(forwarder_->reaches([](const ipc::Stats& s) { return !s.uplinks[0].up && !s.uplinks[0].error.empty(); }));
  connect(gw_, "u0", fabric_, "gw");
  fabric_.ip("link set gw master br0");
  gw_.ip("addr add 192.0.2.1/24 dev u0");
  ASSERT_TRUE(forwarder_->reaches([](const ipc::Stats& s) { return s.uplinks[0].up; }));
  EXPECT_TRUE(eventually(c1_.run("ping -c 1 -W 1 10.2.2.10")));
  expect_exact_accounting(*forwarder_);
}

///   doma tun7 169.254.10.1/30 - fwd A - 198.51.100.1 ==== 198.51.100.2 - fwd B - tun9 169.254.10.2/30 domb
class EspLab : public ::testing::TestWithParam<bool> {
 protected:
  Netns a_{"a"}, b_{"b"}, doma_{"doma"}, domb_{"domb"};
  std::unique_ptr<ForwarderProcess> left_, right_;
  std::optional<Plugin> left_plugin_, right_plugin_;

  void SetUp() override {
    ASSERT_TRUE(sys::prepare_domain_netns(doma_.name()));
    ASSERT_TRUE(sys::prepare_domain_netns(domb_.name()));
    connect(a_, "wan", b_, "wan");
    a_.ip("addr add 198.51.100.1/30 dev wan");
    b_.ip("addr add 198.51.100.2/30 dev wan");
    left_ = std::make_unique<ForwarderProcess>(a_);
    right_ = std::make_unique<ForwarderProcess>(b_);
    left_->program(objects(7, "198.51.100.1", doma_, "169.254.10.1"));
    right_->program(objects(9, "198.51.100.2", domb_, "169.254.10.2"));
    left_plugin_.emplace(left_->sa_socket());
    right_plugin_.emplace(right_->sa_socket());
  }

  static std::vector<ipc::Object> objects(std::uint32_t id, const char* local, const Netns& domain, const char* inside) {
    const auto tunnel = ipc::AttachmentRef::tunnel(TunnelId(id));
    const DomainId domain_id(1);
    return {ipc::Domain{domain_id, "d"},
            ipc::Uplink{"wan"},
            ipc::Tunnel{TunnelId(id), "t", domain_id, ip(local), 0, true},
            ipc::HostPort{tunnel, "tun" + std::to_string(id), domain.name(), {on_link((std::string(inside) + "/30").c_str())}, 1400},
            route(domain_id, "169.254.10.0/30", tunnel),
            route(domain_id, (std::string(inside) + "/32").c_str(), tunnel, ipc::RouteAction::kLocal)};
  }

  /// An SA in each direction, on both ends.
  void add_sas(std::uint32_t to_right, std::uint32_t to_left, std::uint8_t seed, bool activate_left = true) {
    const bool encap = GetParam();
    const auto out = make_sa("198.51.100.1", "198.51.100.2", to_right, 7, false, encap, seed);
    const auto back = make_sa("198.51.100.2", "198.51.100.1", to_left, 7, true, encap, static_cast<std::uint8_t>(seed + 1));
    EXPECT_EQ(left_plugin_->add(back.sa).status, SIMPLON_SA_OK);
    EXPECT_EQ(left_plugin_->add(out.sa).status, SIMPLON_SA_OK);
    const auto in = make_sa("198.51.100.1", "198.51.100.2", to_right, 9, true, encap, seed);
    const auto reply = make_sa("198.51.100.2", "198.51.100.1", to_left, 9, false, encap, static_cast<std::uint8_t>(seed + 1));
    EXPECT_EQ(right_plugin_->add(in.sa).status, SIMPLON_SA_OK);
    EXPECT_EQ(right_plugin_->add(reply.sa).status, SIMPLON_SA_OK);
    if (activate_left) {
      EXPECT_EQ(left_plugin_->add_policy(out.policy).status, SIMPLON_SA_OK);
    }
    EXPECT_EQ(right_plugin_->add_policy(reply.policy).status, SIMPLON_SA_OK);
  }
};

TEST_P(EspLab, CarriesPacketsOfEverySize) {
  add_sas(0xc0000001, 0xc0000002, 10);
  EXPECT_TRUE(eventually(doma_.run("ping -c 2 -i 0.05 -W 1 169.254.10.2")));
  for (const char* size : {"0", "1372", "1400", "4000"}) {
    EXPECT_TRUE(eventually(doma_.run(std::string("ping -c 1 -W 1 -s ") + size + " 169.254.10.2"))) << size;
  }
  EXPECT_TRUE(eventually(domb_.run("ping -c 1 -W 1 169.254.10.1")));
  expect_exact_accounting(*left_);
  expect_exact_accounting(*right_);
  const auto stats = left_->stats();
  ASSERT_EQ(stats.sas.size(), 2U);
  for (const auto& sa : stats.sas) {
    EXPECT_TRUE(sa.active);
    EXPECT_EQ(sa.encap, GetParam());
    EXPECT_GT(sa.packets, 0U);
    EXPECT_EQ(sa.failed, 0U);
  }
}

TEST_P(EspLab, WithoutAnActiveSaPacketsHaveAName) {
  add_sas(0xc0000001, 0xc0000002, 10, false);
  EXPECT_NE(shell(doma_.run("ping -c 1 -W 1 169.254.10.2")).status, 0);
  EXPECT_TRUE(left_->reaches([](const ipc::Stats& s) {
    return std::any_of(s.drops.begin(), s.drops.end(), [](const auto& d) { return d.name == "sa_missing" && d.packets > 0; });
  }));
  expect_exact_accounting(*left_);
}

TEST_P(EspLab, RekeyingUnderTrafficLosesNothing) {
  add_sas(0xc0000001, 0xc0000002, 10);
  ASSERT_TRUE(eventually(doma_.run("ping -c 1 -W 1 169.254.10.2")));
  NumberedTraffic there(doma_, domb_, "169.254.10.2");
  NumberedTraffic back(domb_, doma_, "169.254.10.1");
  for (std::uint32_t i = 1; i <= 20; ++i) {
    add_sas(0xc0000001 + 2 * i, 0xc0000002 + 2 * i, static_cast<std::uint8_t>(10 + 2 * i));
    const auto old = make_sa("198.51.100.1", "198.51.100.2", 0xc0000001 + 2 * (i - 1), 7, false, GetParam(), 0).sa.id;
    EXPECT_EQ(left_plugin_->remove(old).status, SIMPLON_SA_OK);
    for (auto* traffic : {&there, &back}) {
      const auto until = traffic->sent() + 10;
      while (traffic->sent() < until) std::this_thread::yield();
    }
  }
  for (auto* traffic : {&there, &back}) {
    const auto report = traffic->finish();
    EXPECT_GE(report.sent, 200U);
    EXPECT_EQ(report.received, report.sent);
    EXPECT_EQ(report.repeated, 0U);
  }
  expect_exact_accounting(*left_);
  expect_exact_accounting(*right_);
}

INSTANTIATE_TEST_SUITE_P(Encapsulation, EspLab, ::testing::Bool(),
                         [](const auto& instance) { return instance.param ? "Udp" : "Raw"; });

}  // namespace
}  // namespace simplon::lab
