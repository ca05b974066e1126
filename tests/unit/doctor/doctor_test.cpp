// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "gateway/doctor/checks.h"

namespace simplon::doctor {
namespace {

using ::testing::HasSubstr;

Nic healthy_nic() {
  Nic nic;
  nic.name = "eth0";
  nic.present = nic.running = true;
  nic.driver = "ixgbe";
  nic.mtu_bytes = 1500;
  nic.queues = 4;
  nic.features = {{"rx-lro", false}, {"rx-gro-hw", false}, {"rx-vlan-hw-parse", true}};
  ForwardedUplink uplink;
  uplink.xdp_mode = "native, zero-copy";
  uplink.queues = uplink.control_rings = 4;
  uplink.rx_packets = 1000000;
  nic.forwarded = uplink;
  return nic;
}

/// A host on which everything is as it should be.
Facts healthy() {
  Facts facts;
  facts.root = true;
  facts.kernel_release = "6.1.0-42-amd64";
  facts.af_xdp = facts.bpf = facts.tun = facts.network_namespaces = true;
  facts.btf = true;
  facts.gateway.reachable = facts.gateway.forwarder_up = facts.gateway.charon_up = true;
  VpcConfig vpc;
  vpc.name = "red";
  facts.gateway.config.vpcs = {vpc};
  TunnelConfig tunnel;
  tunnel.name = "paris";
  facts.gateway.config.tunnels = {tunnel};
  facts.nics = {healthy_nic()};
  facts.workers = {Worker{2, 2}, Worker{3, 2}};
  facts.online_cpus = {0, 1, 2, 3};
  facts.clock = {1800000000, true, 1799990000};
  facts.available_memory_bytes = 2048ULL << 20;
  facts.sysctls = {{"net.ipv4.ip_forward", "0"},          {"net.ipv6.conf.all.forwarding", "0"},
                   {"net.core.optmem_max", "131072"},     {"net.core.rmem_max", "212992"},
                   {"net.core.wmem_max", "212992"},       {"net.ipv4.conf.all.rp_filter", "0"},
                   {"net.ipv4.conf.eth0.rp_filter", "0"}, {"net.ipv4.conf.eth1.rp_filter", "0"}};
  facts.forwarder_memlock_bytes = 64U << 20;
  facts.forwarder_open_files = 65536;
  facts.packages = {{"strongswan-libcharon", "5.9.8-5+deb12u1"},
                    {"charon-systemd", "5.9.8-5+deb12u1"},
                    {"libstrongswan-standard-plugins", "5.9.8-5+deb12u1"},
                    {"frr", "8.4.4-1.1~deb12u1"},
                    {"simplon", "0.8-1"},
                    {"simplon-forwarder", "0.8-1"},
                    {"simplon-charon", "0.8-1"}};
  facts.ike_ports = {{500, Process{7, "charon-systemd", true, "simplon-charon.service"}},
                     {4500, Process{7, "charon-systemd", true, "simplon-charon.service"}}};
  facts.state_folder = "/var/lib/simplon";
  facts.disk = Disk{1U << 30, 100000, true};
  facts.locale = "C.UTF-8";
  facts.apparmor = true;
  facts.units = {{"simplond.service", "active"}, {"simplon-forwarder.service", "active"}, {"simplon-charon.service", "active"}};
  facts.polkit_permits = true;
  return facts;
}

Finding find(const Facts& facts, const std::string& id) {
  for (const auto& finding : judge(facts)) {
    if (finding.id == id) return finding;
  }
  ADD_FAILURE() << "no finding " << id;
  return {};
}

/// That a change of a healthy host gives this finding, and no other one.
void expect_only(const Facts& facts, const std::string& id, Verdict verdict, const std::string& word,
                 const std::string& remedy) {
  const Finding found = find(facts, id);
  EXPECT_EQ(found.verdict, verdict) << id << ": " << found.what;
  EXPECT_THAT(found.what, HasSubstr(word)) << id;
  EXPECT_THAT(found.remedy, HasSubstr(remedy)) << id;
  for (const auto& finding : judge(facts)) {
    if (finding.id == id) continue;
    EXPECT_EQ(finding.verdict, Verdict::kOk) << finding.id << ": " << finding.what;
  }
}

TEST(Doctor, AHealthyHostHasNothing) {
  const auto findings = judge(healthy());
  EXPECT_EQ(overall(findings), Verdict::kOk);
  std::set<std::string> ids;
  for (const auto& finding : findings) {
    EXPECT_EQ(finding.verdict, Verdict::kOk) << finding.id << ": " << finding.what;
    EXPECT_EQ(finding.remedy, "") << finding.id;
    EXPECT_TRUE(ids.insert(finding.id).second) << finding.id << " twice";
  }
}

TEST(Doctor, WhateverIsWrongHasARemedy) {
  Facts facts;  // nothing is known, nothing is there
  facts.kernel_release = "4.19.0";
  facts.af_xdp = facts.bpf = facts.tun = facts.network_namespaces = false;
  facts.nics = {Nic{}};
  facts.ipv6 = false;
  for (const auto& finding : judge(facts)) {
    if (finding.verdict == Verdict::kOk || finding.verdict == Verdict::kUnseen) continue;
    EXPECT_NE(finding.remedy, "") << finding.id;
  }
  EXPECT_EQ(overall(judge(facts)), Verdict::kFailed);
}

TEST(Doctor, WhatIsNotVisibleIsNotBad) {
  Facts facts = healthy();
  facts.root = false;
  facts.bpf = std::nullopt;
  facts.forwarder_memlock_bytes = std::nullopt;
  facts.ike_ports[0].process = std::nullopt;
  facts.units = std::nullopt;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  EXPECT_EQ(find(facts, "kernel.bpf").verdict, Verdict::kUnseen);
  EXPECT_THAT(find(facts, "kernel.bpf").remedy, HasSubstr("root"));
  EXPECT_EQ(find(facts, "port.ike").verdict, Verdict::kUnseen);
}

TEST(Doctor, Kernel) {
  Facts facts = healthy();
  facts.kernel_release = "5.10.0-9-amd64";
  expect_only(facts, "kernel.version", Verdict::kFailed, "5.10", "linux-image-amd64");
  facts.kernel_release = "5.15.0";
  expect_only(facts, "kernel.version", Verdict::kWarning, "older than 6.1", "linux-image-amd64");
  facts.kernel_release = "6.18.44-fc";
  EXPECT_EQ(find(facts, "kernel.version").verdict, Verdict::kOk);
  facts.kernel_release = "unknown";
  EXPECT_EQ(find(facts, "kernel.version").verdict, Verdict::kFailed);
  facts = healthy();
  facts.af_xdp = false;
  expect_only(facts, "kernel.af-xdp", Verdict::kFailed, "CONFIG_XDP_SOCKETS", "linux-image-amd64");
  facts = healthy();
  facts.btf = false;
  expect_only(facts, "kernel.btf", Verdict::kWarning, "works without it", "CONFIG_DEBUG_INFO_BTF");
  facts = healthy();
  facts.tun = false;
  expect_only(facts, "kernel.tun", Verdict::kFailed, "no BGP", "modprobe tun");
}

TEST(Doctor, Nics) {
  Facts facts = healthy();
  facts.nics[0].present = false;
  EXPECT_EQ(find(facts, "nic.eth0.link").verdict, Verdict::kFailed);
  facts = healthy();
  facts.nics[0].running = false;
  expect_only(facts, "nic.eth0.link", Verdict::kFailed, "no carrier", "ip link set eth0 up");
  facts = healthy();
  facts.nics[0].forwarded->xdp_mode = "generic, copy";
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "although driver ixgbe has XDP", "ethtool -K eth0 lro off rx-gro-hw off;");
  facts.nics[0].driver = "e1000";
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "half the speed", "use a NIC");
  facts.nics[0].forwarded = std::nullopt;
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "driver e1000 of eth0 is not known to have XDP", "use a NIC");
  facts.nics[0].driver = "mana";
  EXPECT_EQ(find(facts, "nic.eth0.xdp").verdict, Verdict::kOk);
  facts.nics[0].driver = "gve";
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "since Linux 6.4: with this kernel", "newer kernel");
  facts.kernel_release = "6.4.0";
  EXPECT_EQ(find(facts, "nic.eth0.xdp").verdict, Verdict::kOk);
  facts.nics[0].driver = "vmxnet3";
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "since Linux 6.6", "newer kernel");
  facts.nics[0].driver = "bonding";
  expect_only(facts, "nic.eth0.xdp", Verdict::kWarning, "is a bond: the forwarder will use the generic mode", "make the members");
  facts = healthy();
  facts.nics[0].forwarded = ForwardedUplink();
  facts.nics[0].forwarded->error = "another XDP program is attached to eth0";
  expect_only(facts, "nic.eth0.xdp", Verdict::kFailed, "another XDP program", "ip -details link show eth0");
  facts = healthy();
  facts.nics[0].forwarded = std::nullopt;
  facts.nics[0].features["rx-lro"] = true;
  expect_only(facts, "nic.eth0.offloads", Verdict::kWarning, "rx-lro", "ethtool -K eth0 lro off");
  facts = healthy();
  facts.nics[0].vlans = {"eth0.5"};
  expect_only(facts, "nic.eth0.vlan", Verdict::kWarning, "eth0.5", "ethtool -K eth0 rxvlan off");
  facts = healthy();
  facts.nics[0].mtu_bytes = 9000;
  expect_only(facts, "nic.eth0.mtu", Verdict::kFailed, "over the limit of 3698", "ip link set eth0 mtu 3698");
  facts = healthy();
  facts.nics[0].mtu_bytes = 9300;
  facts.nics[0].forwarded->xdp_mode = "native, copy, jumbo";
  expect_only(facts, "nic.eth0.mtu", Verdict::kFailed, "over the limit of 9216", "ip link set eth0 mtu 9216");
  facts.nics[0].mtu_bytes = 9000;
  EXPECT_EQ(find(facts, "nic.eth0.mtu").verdict, Verdict::kOk);
  facts.nics[0].forwarded = std::nullopt;
  EXPECT_EQ(find(facts, "nic.eth0.mtu").verdict, Verdict::kWarning);
  facts = healthy();
  facts.nics[0].mtu_bytes = 1400;
  expect_only(facts, "mtu.overlay", Verdict::kWarning, "1500 in VXLAN", "mtu: 1350");
  facts = healthy();
  facts.gateway.config.vpcs.clear();
  facts.nics[0].mtu_bytes = 1300;
  expect_only(facts, "mtu.tunnels", Verdict::kWarning, "leaves 1235 of the 1300", "raise the MTU");
  facts = healthy();
  facts.nics.clear();
  facts.gateway.config.vpcs.clear();
  expect_only(facts, "nic", Verdict::kWarning, "no network interface", "--interface");
}

TEST(Doctor, RingsOfAnUplink) {
  Facts facts = healthy();
  facts.nics[0].forwarded->control_rings = 1;
  expect_only(facts, "nic.eth0.control-ring", Verdict::kWarning, "3 of 4 queues of eth0 no receive ring", "second AF_XDP socket");
  facts = healthy();
  facts.nics[0].forwarded->rx_ring_full = 100;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "a packet of ten thousand";
  facts.nics[0].forwarded->rx_ring_full = 200;
  expect_only(facts, "nic.eth0.lost", Verdict::kWarning, "200 of 1000200 packets of eth0 were lost", "up to the 4 queues");
  facts.workers = {Worker{std::nullopt, 1}, Worker{std::nullopt, 1}, Worker{std::nullopt, 1}, Worker{std::nullopt, 1}};
  facts.nics[0].forwarded->fill_ring_empty = 7;
  expect_only(facts, "nic.eth0.lost", Verdict::kWarning, "no frame to receive into 7 times", "ethtool -L eth0 combined N");
  facts = healthy();
  facts.nics[0].forwarded->fill_ring_empty = 200;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "a driver that asks ahead";
  facts.nics[0].forwarded->xdp_mode = "native, copy";
  expect_only(facts, "nic.eth0.lost", Verdict::kWarning, "no frame to receive into 200 times", "--worker-cpus");
  facts = healthy();
  facts.nics[0].forwarded->control_ring_full = 1;
  expect_only(facts, "nic.eth0.lost", Verdict::kWarning, "1 of them control packets", "--worker-cpus");
  facts = healthy();
  facts.nics[0].forwarded = ForwardedUplink();  // it is there and not open
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
}

TEST(Doctor, Workers) {
  Facts facts = healthy();
  facts.workers = {Worker{std::nullopt, 4}};
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "one worker serves several queues";
  facts.workers = {Worker{std::nullopt, 2}, Worker{std::nullopt, 1}, Worker{std::nullopt, 0}, Worker{std::nullopt, 0}};
  EXPECT_EQ(find(facts, "workers.queues").verdict, Verdict::kOk) << "they help with the cryptography of the tunnel";
  EXPECT_THAT(find(facts, "workers.queues").what, HasSubstr("only helps with tunnels"));
  facts.gateway.config.tunnels.clear();
  expect_only(facts, "workers.queues", Verdict::kWarning, "4 workers for 3 receive queues: worker2 and worker3 receive nothing",
              "--workers 2 in /etc/default/simplon-forwarder");
  facts.workers.resize(3);
  expect_only(facts, "workers.queues", Verdict::kWarning, "worker2 receives nothing", "combined 3");
  facts.workers = {Worker{}, Worker{}};
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "no uplink is open";
  facts = healthy();
  facts.online_cpus = {0, 1, 2};
  expect_only(facts, "workers.cpus", Verdict::kFailed, "worker1 is bound to a CPU that is offline", "cpuN/online");
  facts.online_cpus = {0, 1};
  EXPECT_THAT(find(facts, "workers.cpus").what, HasSubstr("worker0 and worker1 are bound to CPUs that are offline"));
  facts.online_cpus = std::nullopt;
  EXPECT_EQ(find(facts, "workers.cpus").verdict, Verdict::kUnseen);
  facts = healthy();
  facts.isolated_cpus = {3};
  EXPECT_EQ(find(facts, "workers.cpus").verdict, Verdict::kOk) << "it is what such CPUs are for";
  EXPECT_THAT(find(facts, "workers.cpus").what, HasSubstr("worker1 on CPU 3 (isolated"));
}

TEST(Doctor, UplinksOfCircuits) {
  Facts facts = healthy();
  CircuitConfig circuit;
  circuit.name = "dallas";
  circuit.uplink = "eth0";
  circuit.vlan = 7;
  facts.gateway.config.circuits = {circuit};
  expect_only(facts, "nic.eth0.vlan", Verdict::kWarning, "circuit dallas receives nothing", "ethtool -K eth0 rxvlan off");
  facts.nics[0].features["rx-vlan-hw-parse"] = false;
  facts.nics[0].features["rx-vlan-stag-hw-parse"] = true;
  EXPECT_EQ(find(facts, "nic.eth0.vlan").verdict, Verdict::kOk) << "no circuit has such a tag";
  EXPECT_EQ(find(facts, "mtu.circuit.dallas").verdict, Verdict::kOk) << "a device has room for one tag";
  facts.gateway.config.circuits[0].outer_vlan = 300;
  EXPECT_EQ(find(facts, "nic.eth0.vlan").remedy, "ethtool -K eth0 rx-vlan-stag-hw-parse off");
  facts.gateway.config.circuits[0].enabled = false;
  EXPECT_EQ(find(facts, "nic.eth0.vlan").verdict, Verdict::kOk);
  facts.gateway.config.circuits[0].enabled = true;
  facts.nics[0].features["rx-vlan-stag-hw-parse"] = false;
  facts.nics[0].features["rx-vlan-filter"] = true;
  EXPECT_EQ(find(facts, "nic.eth0.vlan").verdict, Verdict::kOk) << "its outer tag is another one";
  facts.nics[0].features["rx-vlan-stag-filter"] = true;
  EXPECT_THAT(find(facts, "nic.eth0.vlan").what, HasSubstr("circuit dallas receives nothing"));
  EXPECT_THAT(find(facts, "nic.eth0.vlan").remedy, HasSubstr("rx-vlan-stag-filter off"));
  facts.nics[0].promiscuous = true;
  EXPECT_EQ(find(facts, "nic.eth0.vlan").verdict, Verdict::kOk);
  expect_only(facts, "mtu.circuit.dallas", Verdict::kWarning, "room for 1496 only", "ip link set eth0 mtu 1504");
}

TEST(Doctor, System) {
  Facts facts = healthy();
  facts.clock.now = 0;
  facts.clock.newest_version = std::nullopt;
  expect_only(facts, "clock.time", Verdict::kFailed, "before 2026", "timesyncd");
  facts.clock.now = 4000000000;
  expect_only(facts, "clock.time", Verdict::kFailed, "after 2045", "timesyncd");
  facts.clock = {1800000000, true, 1800000050};
  EXPECT_EQ(find(facts, "clock.time").verdict, Verdict::kOk) << "it was set";
  facts.clock.newest_version = 1800000000 + 3 * 86400;
  expect_only(facts, "clock.time", Verdict::kWarning, "3 days behind", "simplon config history");
  facts = healthy();
  facts.available_memory_bytes = 100U << 20;
  EXPECT_EQ(find(facts, "memory").verdict, Verdict::kOk) << "the gateway runs already";
  facts.available_memory_bytes = 63U << 20;
  expect_only(facts, "memory", Verdict::kWarning, "only 63 MiB", "ps -eo rss");
  facts.available_memory_bytes = 511U << 20;
  facts.gateway.forwarder_up = false;
  EXPECT_EQ(find(facts, "memory").verdict, Verdict::kWarning);
  EXPECT_THAT(find(facts, "memory").what, HasSubstr("wants 512 MiB"));
  facts.available_memory_bytes = std::nullopt;
  EXPECT_EQ(find(facts, "memory").verdict, Verdict::kUnseen);
  facts = healthy();
  facts.clock.synchronized = false;
  expect_only(facts, "clock.synchronized", Verdict::kWarning, "not synchronized", "chrony");
  facts = healthy();
  facts.sysctls["net.ipv4.ip_forward"] = "1";
  expect_only(facts, "sysctl.forwarding", Verdict::kWarning, "net.ipv4.ip_forward", "/etc/sysctl.d");
  facts = healthy();
  facts.sysctls["net.ipv4.conf.all.rp_filter"] = "1";
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "with one uplink there is no other way";
  Nic second = healthy_nic();
  second.name = "eth1";
  facts.nics.push_back(second);
  expect_only(facts, "sysctl.rp-filter", Verdict::kWarning, "eth0, eth1", "rp_filter = 2");
  facts.sysctls["net.ipv4.conf.eth0.rp_filter"] = "2";
  facts.sysctls["net.ipv4.conf.eth1.rp_filter"] = "2";
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "the kernel takes the larger of both";
  facts = healthy();
  facts.sysctls["net.core.optmem_max"] = "20480";
  expect_only(facts, "sysctl.optmem", Verdict::kWarning, "150 neighbors", "optmem_max=131072");
  facts = healthy();
  facts.sysctls["net.core.rmem_max"] = "65536";
  expect_only(facts, "sysctl.socket-buffers", Verdict::kWarning, "net.core.rmem_max", "net.core.rmem_max=212992");
  facts = healthy();
  facts.forwarder_memlock_bytes = 8U << 20;
  expect_only(facts, "limit.memlock", Verdict::kFailed, "only 8 MiB", "LimitMEMLOCK");
  facts.forwarder_locks_freely = true;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  facts = healthy();
  facts.forwarder_open_files = 1024;
  expect_only(facts, "limit.open-files", Verdict::kWarning, "512 VPCs and tunnels", "LimitNOFILE=65536");
  facts.gateway.config.vpcs.resize(1000);
  expect_only(facts, "limit.open-files", Verdict::kFailed, "wants 1513 for", "LimitNOFILE=65536");
  facts.forwarder_open_files = 65536;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  facts = healthy();
  facts.disk->free_bytes = 100U << 20;
  expect_only(facts, "disk.space", Verdict::kWarning, "only 100 MiB", "journalctl --vacuum-size");
  facts.disk->free_bytes = 0;
  expect_only(facts, "disk.space", Verdict::kFailed, "changes of the configuration are refused", "make room");
  facts = healthy();
  facts.disk->free_inodes = 0;
  expect_only(facts, "disk.inodes", Verdict::kFailed, "0 more files", "du --inodes");
  facts.disk->counts_inodes = false;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  facts = healthy();
  facts.locale = "de_XX";
  facts.locale_exists = false;
  expect_only(facts, "locale", Verdict::kWarning, "de_XX", "dpkg-reconfigure locales");
  facts = healthy();
  facts.apparmor = false;
  expect_only(facts, "apparmor", Verdict::kWarning, "AppArmor is off", "apt-get install apparmor");
  facts = healthy();
  facts.unconfined = {"simplond"};
  expect_only(facts, "apparmor", Verdict::kWarning, "simplond", "apparmor_parser");
}

TEST(Doctor, Ipv6MattersToWhoUsesIt) {
  Facts facts = healthy();
  facts.ipv6 = false;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  facts.gateway.config.vtep = IpAddress::parse("2001:db8::1").value();
  facts.gateway.config.vpcs[0].mtu_bytes = 1400;
  expect_only(facts, "ipv6", Verdict::kFailed, "(2001:db8::1 of the gateway's VTEP), which is switched off", "ipv6.disable=1");
  facts.ipv6 = true;
  facts.gateway.config.uplinks.emplace_back().interface = "eth0";
  facts.sysctls["net.ipv6.conf.eth0.disable_ipv6"] = "1";
  EXPECT_EQ(find(facts, "ipv6").verdict, Verdict::kWarning);
  EXPECT_THAT(find(facts, "ipv6").what, HasSubstr("off on uplink eth0"));
  facts.gateway.config.vtep = IpAddress::parse("192.0.2.1").value();
  EXPECT_EQ(find(facts, "ipv6").verdict, Verdict::kOk);
}

/// Wherever an address may stand.
TEST(Doctor, EveryIpv6AddressOfTheConfigurationIsSeen) {
  const auto v6 = IpAddress::parse("2001:db8::1").value();
  const auto net = IpPrefix::parse("2001:db8::/64").value();
  const auto link = InterfaceAddress::parse("2001:db8::1/64").value();
  BgpNeighborConfig neighbor;
  neighbor.name = "n";
  DomainConfig domain;
  domain.name = "d";
  domain.bgp.emplace();
  using Change = std::function<void(GatewayConfig&)>;
  const std::vector<Change> outer = {
      [&](auto& config) { config.vtep = v6; }, [&](auto& config) { config.tunnels[0].local = v6; },
      [&](auto& config) { config.tunnels[0].remote = v6; },
      [&](auto& config) { config.vpcs[0].endpoints = {EndpointConfig{IpAddress(), MacAddress(), v6}}; }};
  const std::vector<Change> inner = {
      [&](auto& config) { config.tunnels[0].inside = {link}; }, [&](auto& config) { config.vpcs[0].prefixes = {net}; },
      [&](auto& config) { config.vpcs[0].gateway = {link}; },
      [&](auto& config) { config.vpcs[0].endpoints = {EndpointConfig{v6, MacAddress(), IpAddress()}}; },
      [&](auto& config) {
        config.circuits.emplace_back().addresses = {link};
        config.circuits[0].enabled = false;
      },
      [&](auto& config) {
        domain.static_routes = {{net, "paris"}};
        config.domains = {domain};
      },
      [&](auto& config) {
        domain.static_routes = {{IpPrefix(), "paris", v6}};
        config.domains = {domain};
      },
      [&](auto& config) {
        domain.static_routes.clear();
        domain.nat.emplace_back().outside = net;
        config.domains = {domain};
      },
      [&](auto& config) {
        domain.nat.clear();
        neighbor.address = v6;
        domain.bgp->neighbors = {neighbor};
        config.domains = {domain};
      },
      [&](auto& config) {
        neighbor.address = IpAddress();
        neighbor.import = {{net, 64}};
        domain.bgp->neighbors = {neighbor};
        config.domains = {domain};
      }};
  for (const bool outside : {true, false}) {
    for (std::size_t i = 0; i < (outside ? outer : inner).size(); ++i) {
      Facts facts = healthy();
      (outside ? outer : inner)[i](facts.gateway.config);
      facts.ipv6 = false;
      EXPECT_EQ(find(facts, "ipv6").verdict, Verdict::kFailed) << outside << i;
      facts.ipv6 = true;
      facts.host_ipv6_off = true;
      EXPECT_EQ(find(facts, "ipv6").verdict, outside ? Verdict::kFailed : Verdict::kOk) << outside << i;
      EXPECT_THAT(find(facts, "ipv6").what, HasSubstr(outside ? "outside of domains" : "not in the namespaces of domains"));
    }
  }
  Facts facts = healthy();
  facts.host_ipv6_off = true;
  EXPECT_THAT(find(facts, "ipv6").what, HasSubstr("does not need it"));
}

TEST(Doctor, Programs) {
  Facts facts = healthy();
  facts.packages->erase("libstrongswan-standard-plugins");
  expect_only(facts, "package.libstrongswan-standard-plugins", Verdict::kFailed, "not installed",
              "apt-get install libstrongswan-standard-plugins");
  facts = healthy();
  (*facts.packages)["strongswan-libcharon"] = "6.0.1-1";
  expect_only(facts, "package.strongswan-libcharon", Verdict::kFailed, "is not 5.9.8", "Debian 12");
  facts = healthy();
  (*facts.packages)["frr"] = "10.0-1";
  expect_only(facts, "package.frr", Verdict::kWarning, "is not 8.4.4", "Debian 12");
  facts = healthy();
  (*facts.packages)["simplon-charon"] = "0.7-1";
  expect_only(facts, "package.simplon", Verdict::kWarning, "simplon-forwarder 0.8-1, simplon-charon 0.7-1: these are of different releases",
              "of one release");
  for (const char* name : {"simplon", "simplon-forwarder", "simplon-charon"}) facts.packages->erase(name);
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "built from source";
  facts = healthy();
  facts.host_frr = {{9, "zebra", false, "frr.service"}};
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  EXPECT_THAT(find(facts, "frr.host").what, HasSubstr("fine"));
  facts.host_frr.clear();
  facts.frr_somewhere = true;
  expect_only(facts, "frr.host", Verdict::kUnseen, "only root may see", "as root");
  facts = healthy();
  (*facts.units)["simplon-forwarder.service"] = "failed";
  expect_only(facts, "unit.simplon-forwarder", Verdict::kFailed, "failed", "journalctl -u simplon-forwarder.service");
  facts = healthy();
  facts.polkit_permits = false;
  expect_only(facts, "polkit", Verdict::kFailed, "does not let simplond start", "apt-get install --reinstall polkitd");
  facts.polkit_permits = std::nullopt;
  expect_only(facts, "polkit", Verdict::kUnseen, "not visible", "as root");
  facts = healthy();
  facts.gateway.forwarder_up = false;
  expect_only(facts, "forwarder", Verdict::kFailed, "it forwards on with what it has", "systemctl start simplon-forwarder");
  facts = healthy();
  facts.gateway.charon_up = false;
  expect_only(facts, "charon", Verdict::kFailed, "charon", "systemctl start simplon-charon");
  facts = healthy();
  facts.gateway = {};
  facts.gateway.problem = "simplond is not reachable: no such file";
  expect_only(facts, "simplond", Verdict::kFailed, "no such file", "systemctl start simplond");
}

TEST(Doctor, AnotherCharonIsNamedWithItsUnit) {
  Facts facts = healthy();
  for (auto& owner : facts.ike_ports) owner.process = Process{4711, "charon-systemd", false, "strongswan.service"};
  expect_only(facts, "port.ike", Verdict::kFailed, "charon-systemd (process 4711), which is not Simplon's",
              "systemctl disable --now strongswan.service");
  for (auto& owner : facts.ike_ports) owner.process = Process{4712, "racoon", false, "session-1.scope"};
  expect_only(facts, "port.ike", Verdict::kFailed, "racoon", "kill 4712");
  facts.ike_ports.clear();
  expect_only(facts, "port.ike", Verdict::kWarning, "nobody has", "systemctl start simplon-charon");
  facts.gateway.config.tunnels.clear();
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk);
  facts.ike_ports = {{500, Process{4711, "charon-systemd", false, "strongswan.service"}}};
  (*facts.units)["simplon-charon.service"] = "inactive";
  facts.gateway.charon_up = false;
  EXPECT_EQ(overall(judge(facts)), Verdict::kOk) << "the host may have a VPN where Simplon has none";
}

TEST(Doctor, AConfigurationThatCannotBeRead) {
  Facts facts = healthy();
  facts.gateway.unreadable = "the current configuration is damaged";
  expect_only(facts, "configuration", Verdict::kFailed, "nothing is managed: the current", "simplon config undo VERSION");
}

TEST(Doctor, AnInterfaceThatIsAskedForIsSeenBesideTheOthers) {
  Facts facts = healthy();
  const std::size_t all = judge(facts).size();
  for (auto& nic : facts.nics) nic.asked_for = false;
  facts.nics.push_back(facts.nics[0]);
  facts.nics.back().name = "eth7";
  facts.nics.back().asked_for = true;
  const auto findings = judge(facts);
  EXPECT_LE(findings.size(), all);
  EXPECT_TRUE(std::none_of(findings.begin(), findings.end(), [](const auto& one) { return one.id.starts_with("nic.eth0."); }));
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [](const auto& one) { return one.id.starts_with("nic.eth7."); }));
}

// This host, whatever it is.

TEST(Gather, FindsWhatEveryHostHas) {
  GatherOptions options;
  options.interfaces = {"lo", "nonexistent0"};
  options.state_folder = "/nonexistent/deep/down";
  const Facts facts = gather(options);
  EXPECT_NE(facts.kernel_release, "");
  EXPECT_GT(facts.clock.now, 1767225600);
  ASSERT_EQ(facts.nics.size(), 2U);
  EXPECT_TRUE(facts.nics[0].present);
  EXPECT_FALSE(facts.nics[1].present);
  EXPECT_EQ(facts.nics[0].features.count("rx-gro"), 1U);
  EXPECT_EQ(facts.state_folder, "/");
  ASSERT_TRUE(facts.disk);
  EXPECT_GT(facts.disk->free_bytes, 0U);
  ASSERT_TRUE(facts.packages);
  EXPECT_TRUE(facts.packages->contains("strongswan-libcharon"));
  ASSERT_TRUE(facts.available_memory_bytes);
  EXPECT_GT(*facts.available_memory_bytes, 1U << 20);
  EXPECT_FALSE(judge(facts).empty());
}

}  // namespace
}  // namespace simplon::doctor
