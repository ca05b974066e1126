// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that do not go through: each reason of drop.def has at least one, and the wrong packet differs from a good one
// in one thing.
#include <array>
#include <functional>
#include <set>

#include "tests/packet/drop_cases.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::Drop;

const Bytes kGood = ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(20)));
const Bytes kGood6 = ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(20)));
const Bytes kBack = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(20)));

struct Changed {
  Ethernet outer_ethernet{kFabricMac, kComputeMac};
  Ipv4 outer{"192.0.2.11", "192.0.2.1"};
  Udp outer_udp{55555, 4789, std::nullopt, false};
  std::uint32_t vni = 5001;
  std::uint32_t flags = 0x08000000;
  Ethernet inner_ethernet{kGatewayMac, kVmMac};
};
/// A frame of the VM with something changed.
Bytes vxlan_frame(const std::function<void(Changed&)>& change, const Bytes& inner = kGood) {
  Changed c;
  change(c);
  return ethernet(c.outer_ethernet,
                  ipv4(c.outer, udp(c.outer_udp, vxlan(c.vni, ethernet(c.inner_ethernet, inner), c.flags))));
}
/// An ESP packet of site a, behind changed outer headers.
Bytes esp_frame(const Bytes& esp, const Ipv4& outer = {"203.0.113.1", "198.51.100.1"},
                const Udp& outer_udp = {4500, 4500, std::nullopt, false}) {
  return ethernet({kWanMac, kIspMac}, ipv4(outer, udp(outer_udp, esp)));
}
Bytes inner_changed(std::size_t at, std::uint8_t value) {
  Bytes packet = kGood;
  packet[at] = value;
  return packet;
}

Case vxlan_case(std::string description, Drop drop, std::function<void(Changed&)> change, Bytes inner = kGood) {
  return {std::move(description), drop, kFabric,
          [change = std::move(change), inner = std::move(inner)](Rig&) { return vxlan_frame(change, inner); }};
}
Case from_vm_case(std::string description, Drop drop, Bytes inner, std::function<void(Rig&)> prepare = nullptr) {
  return {std::move(description), drop, kFabric,
          [inner = std::move(inner)](Rig&) { return Rig::from_vm(inner); }, std::move(prepare)};
}
Case esp_case(std::string description, Drop drop, EspOptions options, Bytes inner = kBack) {
  return {std::move(description), drop, kWan,
          [=](Rig& rig) { return esp_frame(esp_seal(rig.peer_sends(7), options, inner)); }};
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const auto add = [&list](Case c) { list.push_back(std::move(c)); };
  // Outer Ethernet and IP.
  add({"13 bytes", Drop::kEthernetTruncated, kFabric, [](Rig&) { return payload(13); }});
  add(vxlan_case("other MAC", Drop::kEthernetNotForUs, [](Changed& c) { c.outer_ethernet.dst = kComputeMac; }));
  add(vxlan_case("LLDP", Drop::kEthernetType, [](Changed& c) { c.outer_ethernet.type = 0x88cc; }));
  add(vxlan_case("IPv4 version 5", Drop::kOuterIpv4Malformed, [](Changed& c) { c.outer.version = 5; }));
  add(vxlan_case("total length behind the end", Drop::kOuterIpv4Malformed,
                 [](Changed& c) { c.outer.total_length = 1500; }));
  add(vxlan_case("total length inside the header", Drop::kOuterIpv4Malformed,
                 [](Changed& c) { c.outer.total_length = 19; }));
  add(vxlan_case("checksum", Drop::kOuterIpv4Checksum, [](Changed& c) { c.outer.checksum = 0x1234; }));
  add(vxlan_case("first fragment", Drop::kOuterFragment, [](Changed& c) { c.outer.mf = true; }));
  add(vxlan_case("last fragment", Drop::kOuterFragment, [](Changed& c) { c.outer.offset = 64; }));
  add(vxlan_case("GRE", Drop::kOuterProtocol, [](Changed& c) { c.outer.protocol = 47; }));
  add({"IPv6 version 4", Drop::kOuterIpv6Malformed, kFabric, [](Rig&) {
         Bytes frame = Rig::from_vm6(ipv4({"10.3.0.5", "10.1.0.5"}, {}));
         frame[14] = 0x40;
         return frame;
       }});
  add({"IPv6 fragment", Drop::kOuterFragment, kFabric, [](Rig&) {
         return ethernet({kFabricMac, kCompute6Mac, 0x86dd},
                         ipv6({"2001:db8:f::11", "2001:db8:f::1", 44}, hex("1100 0001 00000001") + payload(64)));
       }});
  add(vxlan_case("UDP length behind the end", Drop::kUdpMalformed, [](Changed& c) { c.outer_udp.length = 1400; }));
  add(vxlan_case("UDP length below 8", Drop::kUdpMalformed, [](Changed& c) { c.outer_udp.length = 7; }));
  add({"NAT keepalive", Drop::kNatKeepalive, kWan, [](Rig&) { return esp_frame({0xff}); }});
  add({"IKE with its marker", Drop::kIkeMisdirected, kWan, [](Rig&) { return esp_frame(Bytes(32, 0)); }});
  // VXLAN.
  add({"7 bytes", Drop::kVxlanTruncated, kFabric, [](Rig&) {
         return ethernet({kFabricMac, kComputeMac},
                         ipv4({"192.0.2.11", "192.0.2.1"}, udp({1, 4789}, payload(7))));
       }});
  add(vxlan_case("no I flag", Drop::kVxlanFlags, [](Changed& c) { c.flags = 0xf7ffffff; }));
  add(vxlan_case("VNI nobody has", Drop::kVxlanUnknownVni, [](Changed& c) { c.vni = 5009; }));
  add(vxlan_case("VNI 0", Drop::kVxlanUnknownVni, [](Changed& c) { c.vni = 0; }));
  add(vxlan_case("largest VNI", Drop::kVxlanUnknownVni, [](Changed& c) { c.vni = 0xffffff; }));
  add(vxlan_case("other port", Drop::kVxlanWrongPort, [](Changed& c) { c.outer_udp.dst = 8472; }));
  add(vxlan_case("not our VTEP", Drop::kVxlanWrongVtep, [](Changed& c) { c.outer.dst = "192.0.2.2"; }));
  add(vxlan_case("forged VTEP", Drop::kVxlanUnknownPeer, [](Changed& c) { c.outer.src = "192.0.2.99"; }));
  add({"VTEP of the other family", Drop::kVxlanWrongVtep, kFabric, [](Rig&) {
         return ethernet({kFabricMac, kCompute6Mac, 0x86dd},
                         ipv6({"2001:db8:f::11", "2001:db8:f::1"},
                              udp({1, 4789}, vxlan(5001, ethernet({kGatewayMac, kVmMac}, kGood)))));
       }});
  add({"half an inner Ethernet header", Drop::kVxlanInnerTruncated, kFabric, [](Rig&) {
         return ethernet({kFabricMac, kComputeMac}, ipv4({"192.0.2.11", "192.0.2.1"},
                                                         udp({1, 4789}, vxlan(5001, payload(13)))));
       }});
  add(vxlan_case("broadcast", Drop::kVxlanInnerBroadcast,
                 [](Changed& c) { c.inner_ethernet.dst = "ff:ff:ff:ff:ff:ff"; }));
  add(vxlan_case("multicast", Drop::kVxlanInnerBroadcast,
                 [](Changed& c) { c.inner_ethernet.dst = "33:33:00:00:00:02"; }));
  const auto arp_ethernet = [](Changed& c) { c.inner_ethernet = {"ff:ff:ff:ff:ff:ff", kVmMac, 0x0806}; };
  const std::string zero = "00:00:00:00:00:00";
  add(vxlan_case("ARP for another VM", Drop::kVxlanInnerArp, arp_ethernet,
                 arp(1, kVmMac, "10.1.0.5", zero, "10.1.0.6")));
  add(vxlan_case("ARP reply", Drop::kVxlanInnerArp, arp_ethernet, arp(2, kVmMac, "10.1.0.5", zero, "10.1.0.1")));
  add(vxlan_case("ARP with another VM's address", Drop::kVxlanInnerArp, arp_ethernet,
                 arp(1, kVmMac, "10.1.0.66", zero, "10.1.0.1")));
  add(vxlan_case("ARP with another VM's MAC", Drop::kVxlanInnerArp, arp_ethernet,
                 arp(1, kBlueVmMac, "10.1.0.5", zero, "10.1.0.1")));
  add(vxlan_case("ARP cut off", Drop::kVxlanInnerArp, arp_ethernet,
                 first(arp(1, kVmMac, "10.1.0.5", zero, "10.1.0.1"), 27)));
  add({"more questions than are answered", Drop::kVxlanAnswerRate, kFabric, [](Rig&) { return Bytes{}; }});  // neighbor_test.cpp
  add(vxlan_case("neighbor solicitation without target", Drop::kVxlanInnerNeighbor,
                 [](Changed& c) { c.inner_ethernet = {"33:33:ff:00:00:01", kVmMac, 0x86dd}; },
                 ipv6({.src = "fd01::5", .dst = "ff02::1:ff00:1", .next = 58, .hops = 255}, icmpv6(135, 0, 0, {}))));
  add(vxlan_case("LLDP", Drop::kVxlanInnerType, [](Changed& c) { c.inner_ethernet.type = 0x88cc; }));
  add(vxlan_case("inner VLAN tag", Drop::kVxlanInnerType, [](Changed& c) { c.inner_ethernet.type = 0x8100; }));
  add(vxlan_case("MAC of another gateway", Drop::kVxlanWrongMac,
                 [](Changed& c) { c.inner_ethernet.dst = kBlueGatewayMac; }));
  add(from_vm_case("forged inner source", Drop::kVxlanSpoofedSource,
                   ipv4({"10.2.0.5", "172.16.0.9"}, udp({1, 2}, {}))));
  add(from_vm_case("forged inner IPv6 source", Drop::kVxlanSpoofedSource,
                   ipv6({"fd02::5", "fd16::9"}, udp({1, 2}, {}))));
  add(from_vm_case("source of the site", Drop::kVxlanSpoofedSource,
                   ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, {}))));
  // ESP.
  add({"3 bytes", Drop::kEspTruncated, kWan, [](Rig&) { return esp_frame({1, 2, 3}); }});
  add({"not a multiple of four", Drop::kEspTruncated, kWan,
       [](Rig& rig) { return esp_frame(esp_seal(rig.peer_sends(7), {}, kBack) + Bytes{0}); }});
  add({"no ciphertext", Drop::kEspTruncated, kWan,
       [](Rig& rig) { return esp_frame(first(esp_seal(rig.peer_sends(7), {}, kBack), 32)); }});
  add({"SPI nobody has", Drop::kEspUnknownSpi, kWan, [](Rig& rig) {
         EspParameters sa = rig.peer_sends(7);
         sa.spi = 0xc0001234;
         return esp_frame(esp_seal(sa, {}, kBack));
       }});
  add({"right SPI, other destination", Drop::kEspUnknownSpi, kWan, [](Rig& rig) {
         return esp_frame(esp_seal(rig.peer_sends(7), {}, kBack), {"203.0.113.1", "198.51.100.2"});
       }});
  add({"sequence number 0", Drop::kEspReplayed, kWan,
       [](Rig& rig) { return rig.from_site(8, kBack, {.sequence = 0}); }});
  add({"seen before", Drop::kEspReplayed, kWan, [](Rig& rig) { return rig.from_site(7, kBack, {.sequence = 5}); },
       [](Rig& rig) { rig.send(kWan, rig.from_site(7, kBack, {.sequence = 5})); }});
  add({"left of the window", Drop::kEspReplayed, kWan,
       [](Rig& rig) { return rig.from_site(9, kBack, {.sequence = 1}); },
       [](Rig& rig) { rig.send(kWan, rig.from_site(9, kBack, {.sequence = 4097})); }});
  add({"wrong ICV", Drop::kEspAuthentication, kWan, [](Rig& rig) {
         Bytes esp = esp_seal(rig.peer_sends(7), {}, kBack);
         esp.back() ^= 1;
         return esp_frame(esp);
       }});
  add({"changed ciphertext", Drop::kEspAuthentication, kWan, [](Rig& rig) {
         Bytes esp = esp_seal(rig.peer_sends(7), {}, kBack);
         esp[20] ^= 0x80;
         return esp_frame(esp);
       }});
  add({"changed sequence number", Drop::kEspAuthentication, kWan, [](Rig& rig) {
         Bytes esp = esp_seal(rig.peer_sends(7), {}, kBack);
         esp[7] ^= 2;
         return esp_frame(esp);
       }});
  add(esp_case("padding that does not count", Drop::kEspPadding, {.padding = Bytes{1, 2, 4, 4}},
               ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(18)))));
  add(esp_case("padding longer than the packet", Drop::kEspPadding, {.pad_length = std::uint8_t{255}}));
  add(esp_case("dummy", Drop::kEspDummy, {.next_header = 59}));
  add(esp_case("transport mode", Drop::kEspNextHeader, {.next_header = 6}));
  add(esp_case("IPv4 announced, IPv6 inside", Drop::kIpv4Malformed, {.next_header = 4},
               ipv6({"fd16::9", "fd01::5"}, udp({1, 2}, {}))));
  add(esp_case("IPv6 announced, IPv4 inside", Drop::kIpv6Malformed, {.next_header = 41}));
  add({"outside the selectors", Drop::kEspSelector, kWan,
       [](Rig&) {
         return esp_frame(esp_seal({0xc00000aa, test_key(21, 32), true}, {}, kBack));
       },
       [](Rig& rig) {
         forward::SaSpec spec;
         spec.tunnel = TunnelId{7};
         spec.path = rig.topology.path7_in;
         spec.source_selectors = {{Topology::ip("172.16.1.0"), Topology::ip("172.16.1.255")}};
         Topology::must(rig.tables.install_inbound(Topology::make_sa(spec, {0xc00000aa, test_key(21, 32), true})));
       }});
  add({"tunnel removed", Drop::kEspNoTunnel, kWan, [](Rig& rig) { return rig.from_site(7, kBack); },
       [](Rig& rig) { rig.tables.remove_tunnel(TunnelId{7}); }});
  add({"congestion mark on a packet that cannot carry it", Drop::kEcnNotCapable, kFabric, [](Rig&) {
         return vxlan_frame([](Changed& c) { c.outer.tos = 3; });
       }});
  // Inner packet.
  add(from_vm_case("version 7", Drop::kIpv4Malformed, inner_changed(0, 0x75)));
  add(from_vm_case("header of 16 bytes", Drop::kIpv4Malformed, inner_changed(0, 0x44)));
  add(from_vm_case("total length behind the end", Drop::kIpv4Malformed, inner_changed(3, 200)));
  add(from_vm_case("empty", Drop::kIpv4Malformed, Bytes{}));
  add(from_vm_case("inner checksum", Drop::kIpv4Checksum, inner_changed(11, 0x99)));
  add(from_vm_case("source route", Drop::kIpv4SourceRoute,
                   ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .options = hex("83 07 04 0a000001 00")}, {})));
  add(from_vm_case("IPv6 longer than the frame", Drop::kIpv6Malformed,
                   ipv6({.src = "fd01::5", .dst = "fd16::9", .payload_length = 999}, udp({1, 2}, {}))));
  add(from_vm_case("source 127.0.0.1", Drop::kIpSource, ipv4({"127.0.0.1", "172.16.0.9"}, {})));
  add(from_vm_case("source 0.0.0.0", Drop::kIpSource, ipv4({"0.0.0.0", "172.16.0.9"}, {})));
  add(from_vm_case("source 224.0.0.1", Drop::kIpSource, ipv4({"224.0.0.1", "172.16.0.9"}, {})));
  add(from_vm_case("source 255.255.255.255", Drop::kIpSource, ipv4({"255.255.255.255", "172.16.0.9"}, {})));
  add(from_vm_case("source ::", Drop::kIpSource, ipv6({"::", "fd16::9"}, udp({1, 2}, {}))));
  add(from_vm_case("source ::1", Drop::kIpSource, ipv6({"::1", "fd16::9"}, udp({1, 2}, {}))));
  add(from_vm_case("source fe80::1", Drop::kIpSource, ipv6({"fe80::1", "fd16::9"}, udp({1, 2}, {}))));
  add(from_vm_case("destination 239.1.1.1", Drop::kIpDestination, ipv4({"10.1.0.5", "239.1.1.1"}, {})));
  add(from_vm_case("destination 127.0.0.1", Drop::kIpDestination, ipv4({"10.1.0.5", "127.0.0.1"}, {})));
  add(from_vm_case("destination broadcast", Drop::kIpDestination, ipv4({"10.1.0.5", "255.255.255.255"}, {})));
  add(from_vm_case("destination ff02::1", Drop::kIpDestination, ipv6({"fd01::5", "ff02::1"}, udp({1, 2}, {}))));
  add({"router solicitation of the kernel", Drop::kIpSource, kHostRedTunnel, [](Rig&) {
         return ipv6({"fe80::1", "ff02::2", 58}, icmpv6(133, 0, 0, {}));
       }});
  add(from_vm_case("TTL 1", Drop::kTtlExpired, ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .ttl = 1}, {})));
  add(from_vm_case("TTL 0", Drop::kTtlExpired, ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .ttl = 0}, {})));
  add(from_vm_case("hop limit 1", Drop::kTtlExpired,
                   ipv6({.src = "fd01::5", .dst = "fd16::9", .hops = 1}, udp({1, 2}, {}))));
  add(from_vm_case("domain removed", Drop::kNoDomain, kGood, [](Rig& rig) { rig.tables.remove_domain(kRed); }));
  add(from_vm_case("no route", Drop::kNoRoute, ipv4({"10.1.0.5", "9.9.9.9"}, {})));
  add(from_vm_case("unreachable", Drop::kUnreachable, ipv4({"10.1.0.5", "172.31.0.9"}, {})));
  add(from_vm_case("route to nothing", Drop::kNoAttachment, ipv4({"10.1.0.5", "172.30.0.9"}, {})));
  add(from_vm_case("for us, without a host port", Drop::kNoHostPort, ipv4({"10.1.0.5", "10.3.0.1"}, {})));
  // Outbound.
  add({"VM nobody knows", Drop::kEndpointUnknown, kWan, [](Rig& rig) {
         return rig.from_site(7, ipv4({"172.16.0.9", "10.1.0.66"}, {}));
       }});
  add(from_vm_case("neighbor away", Drop::kAdjacencyUnresolved, kGood,
                   [](Rig& rig) { Topology::must(rig.tables.set_adjacency(Topology::ip("203.0.113.1"), {})); }));
  add(from_vm_case("tunnel down", Drop::kSaMissing, kGood,
                   [](Rig& rig) { Topology::must(rig.tables.set_outbound(TunnelId{7}, nullptr)); }));
  add(from_vm_case("outside what the peer agreed to", Drop::kOutboundSelector, kGood, [](Rig& rig) {
    forward::SaSpec spec;
    spec.direction = forward::SaDirection::kOutbound;
    spec.tunnel = TunnelId{7};
    spec.path = rig.topology.path7_out;
    spec.destination_selectors = {{Topology::ip("172.16.1.0"), Topology::ip("172.16.1.255")}};
    Topology::must(rig.tables.set_outbound(TunnelId{7}, Topology::make_sa(spec, {0xc00000bb, test_key(22, 32), true})));
  }));
  add(from_vm_case("too big, DF", Drop::kFragmentationNeeded,
                   ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .df = true}, udp({1, 2}, payload(1420)))));
  add(from_vm_case("too big, IPv6", Drop::kPacketTooBig,
                   ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(1400)))));
  add(from_vm_case("last number used", Drop::kEspSequenceExhausted, ipv4({"10.1.0.5", "172.19.0.9"}, {}),
                   [](Rig& rig) { rig.topology.sa9_out->runtime().sequence.store(0xffffffff); }));
  add({"no headroom", Drop::kNoHeadroom, kHostRedTunnel, [](Rig&) { return Bytes{}; }});  // see NoHeadroom below
  add({"no frame for a fragment", Drop::kNoFrame, kFabric, [](Rig&) { return Bytes{}; }});
  add({"put together", Drop::kOuterReassembled, kWan, [](Rig&) { return Bytes{}; }});  // see reassembly_test.cpp
  // Policy: policy_test.cpp and nat_test.cpp have the rest.
  const auto with_policy = [](Rig& rig, const std::function<void(forward::PolicyEntry&)>& change) {
    forward::PolicyEntry entry;
    change(entry);
    entry.attachment = forward::AttachmentId::vpc(Vni{5001});
    entry.domain = kRed;
    Topology::must(rig.tables.upsert_policy(entry));
  };
  const auto with_nat = [](Rig& rig) {
    forward::NatRuleEntry rule;
    rule.name = "source";
    rule.attachment = forward::AttachmentId::tunnel(TunnelId{7});
    rule.outside = Topology::prefix("100.64.0.1/32");
    rule.port_blocks = 0;  // no port for anybody
    Topology::must(rig.tables.upsert_nat({kRed, {rule}}));
  };
  const auto denying = [with_policy](Rig& rig) { with_policy(rig, [](auto& entry) { entry.acl = "missing"; }); };
  add(from_vm_case("denied", Drop::kAclDenied, kGood, denying));
  add(from_vm_case("fragment without its first", Drop::kFragmentUnknown,
                   ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .offset = 80}, payload(8)), denying));
  add(from_vm_case("half a TCP header", Drop::kTransportTruncated, ipv4({"10.1.0.5", "172.16.0.9", 6}, payload(10)),
                   denying));
  add(from_vm_case("no connection allowed", Drop::kConnectionLimit, kGood, [with_policy, with_nat](Rig& rig) {
    with_policy(rig, [](auto& entry) { entry.max_connections = 0; });
    with_nat(rig);
  }));
  add({"source of somebody else", Drop::kReversePath, kWan,
       [](Rig& rig) { return rig.from_site(7, ipv4({"9.9.9.9", "10.1.0.5"}, udp({1, 2}, {}))); },
       [](Rig& rig) {
         forward::PolicyEntry entry;
         entry.attachment = forward::AttachmentId::tunnel(TunnelId{7});
         entry.domain = kRed;
         entry.reverse_path = forward::ReversePath::kStrict;
         Topology::must(rig.tables.upsert_policy(entry));
       }});
  add(from_vm_case("over the rate", Drop::kPoliced, kGood,
                   [with_policy](Rig& rig) {
                     with_policy(rig, [](auto& entry) { entry.from.bits_per_second = 100; });
                     EXPECT_EQ(rig.send(kFabric, Rig::from_vm(kGood)).summary(), "sent on 1");
                   }));
  add(from_vm_case("headers cut short", Drop::kIpv6HeaderChain,
                   ipv6({.src = "fd01::5", .dst = "fd16::9", .next = 60}, Bytes{6, 4, 1, 4, 0, 0, 0, 0}),
                   [with_policy](Rig& rig) { with_policy(rig, [](auto&) {}); }));
  add({"outer address without connection", Drop::kNatNoMapping, kWan,
       [](Rig& rig) { return rig.from_site(7, ipv4({"172.16.0.9", "100.64.0.1"}, udp({1, 2}, {}))); }, with_nat});
  add(from_vm_case("no port left", Drop::kNatExhausted, kGood, with_nat));
  add(from_vm_case("GRE through source NAT", Drop::kNatProtocol, ipv4({"10.1.0.5", "172.16.0.9", 47}, payload(8)), with_nat));
  add({"all connections used", Drop::kConnectionTableFull, kFabric, [](Rig&) { return Bytes{}; }});  // connections_test.cpp
  add({"another worker does not keep up", Drop::kWorkerBusy, kFabric, [](Rig&) { return Bytes{}; }});  // sharded_test.cpp
  add({"more than its share of a worker", Drop::kOverShare, kFabric, [](Rig&) { return Bytes{}; }});  // overload_test.cpp
  add({"no slot for a frame in pieces", Drop::kNoSlot, kFabric, [](Rig&) { return Bytes{}; }});        // jumbo_test.cpp
  add({"a frame longer than a slot", Drop::kFrameTooLong, kFabric, [](Rig&) { return Bytes{}; }});     // jumbo_test.cpp
  add({"wrong checksum of an ICMP error", Drop::kIcmpErrorChecksum, kFabric, [](Rig&) { return Bytes{}; }});  // nat_test.cpp
  add({"port removed", Drop::kPortMissing, kFabric, [](Rig&) { return Rig::from_vm(kGood); },
       [](Rig& rig) { rig.tables.remove_port(kWan); }});
  // Circuits: all of them in circuit_test.cpp.
  const Bytes tag100 = {0, 100, 0x08, 0};
  const auto circuit = [](Rig& rig) {
    Topology::must(rig.tables.upsert_circuit({CircuitId{3}, kRed, kWan, 100, 0, 0x88a8, Topology::mac(kWanMac), 1500, true}));
    Topology::must(rig.tables.upsert_route(
        {kRed, Topology::prefix("10.50.0.0/16"), forward::RouteAction::kForward, {{forward::AttachmentId::circuit(CircuitId{3}), 1}}}));
  };
  add({"tag cut short", Drop::kVlanTruncated, kWan, [](Rig&) { return ethernet({kWanMac, kIspMac, 0x8100}, {0, 100}); }});
  add({"nobody's VLAN", Drop::kVlanUnknown, kWan, [=](Rig&) { return ethernet({kWanMac, kIspMac, 0x8100}, tag100 + kGood); }});
  add({"to another station", Drop::kCircuitWrongMac, kWan,
       [=](Rig&) { return ethernet({kFabricMac, kIspMac, 0x8100}, tag100 + kGood); }, circuit});
  add({"MPLS in a circuit", Drop::kCircuitType, kWan,
       [=](Rig&) { return ethernet({kWanMac, kIspMac, 0x8100}, Bytes{0, 100, 0x88, 0x47} + kGood); }, circuit});
  add(from_vm_case("neighbor on a circuit away", Drop::kNeighborUnresolved, ipv4({"10.1.0.5", "10.50.0.9"}, {}), circuit));
  add(from_vm_case("ring full", Drop::kTxRefused, kGood, [](Rig& rig) { rig.uplinks->accept_only(0); }));
  return list;
}

}  // namespace

std::vector<Case> drop_cases() { return cases(); }

namespace {

TEST(EveryDrop, HasItsPacketAndItsName) {
  std::set<Drop> covered;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.description);
    covered.insert(c.drop);
    Rig rig;
    if (c.prepare) c.prepare(rig);
    rig.tables.commit();
    const Bytes packet = c.packet(rig);
    if (packet.empty()) continue;  // has tests of its own
    const Outcome outcome = rig.send(c.port, packet);
    EXPECT_EQ(outcome.drops, (std::map<std::string, std::uint64_t>{{std::string(info(c.drop).counter), 1}}));
  }
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    EXPECT_TRUE(covered.contains(static_cast<Drop>(i))) << forward::kDropInfo[i].counter << " has no test";
  }
}

TEST(EveryDrop, NoHeadroom) {
  Rig rig;
  ASSERT_TRUE(rig.hosts->inject(kHostRedVpc, ipv4({"10.1.0.1", "10.1.0.5"}, payload(8)), 10));
  EXPECT_EQ(rig.worker.poll_once(), 1U);
  EXPECT_EQ(rig.worker.counters().dropped(Drop::kNoHeadroom), 1U);
  EXPECT_EQ(rig.pool.available(), rig.pool.frames());
}

TEST(NarrowFrame, APacketIsMovedToWhereEspHasRoomAroundIt) {
  Rig rig;
  const Bytes packet = ipv4({"169.254.10.1", "169.254.10.2"}, payload(1400));
  for (const std::size_t headroom : {std::size_t{0}, std::size_t{10}, forward::kFrameBytes - packet.size()}) {
    ASSERT_TRUE(rig.hosts->inject(kHostRedTunnel, packet, headroom));
    EXPECT_EQ(rig.worker.poll_once(), 1U);
    const auto sent = rig.uplinks->take_sent();
    ASSERT_EQ(sent.size(), 1U) << headroom;
    EXPECT_EQ(rig.to_site(7, sent[0]), packet);
  }
  EXPECT_EQ(rig.pool.available(), rig.pool.frames());
}

TEST(EveryDrop, NoFrame) {
  Rig rig;
  std::vector<std::uint8_t*> taken;
  while (rig.pool.available() > 1) taken.push_back(rig.pool.allocate());
  ASSERT_TRUE(rig.uplinks->inject(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, payload(1430)))));
  EXPECT_EQ(rig.worker.poll_once(), 1U);
  EXPECT_EQ(rig.worker.counters().dropped(Drop::kNoFrame), 1U);
  for (const std::uint8_t* frame : taken) rig.pool.release(frame);
  EXPECT_EQ(rig.pool.available(), rig.pool.frames());
}

TEST(EveryDrop, NoFrameForTheLastFragment) {
  Rig rig;
  std::vector<std::uint8_t*> taken;
  while (rig.pool.available() > 2) taken.push_back(rig.pool.allocate());
  ASSERT_TRUE(rig.uplinks->inject(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, payload(3000)))));
  EXPECT_EQ(rig.worker.poll_once(), 1U);
  EXPECT_EQ(rig.worker.counters().dropped(Drop::kNoFrame), 1U);
  EXPECT_TRUE(rig.uplinks->take_sent().empty()) << "all fragments or none";
  for (const std::uint8_t* frame : taken) rig.pool.release(frame);
  EXPECT_EQ(rig.pool.available(), rig.pool.frames());
}

TEST(OutboundSelector, LetsPassWhatThePeerAgreedToAndItsIcmpErrors) {
  Rig rig;
  forward::SaSpec spec;
  spec.direction = forward::SaDirection::kOutbound;
  spec.tunnel = TunnelId{7};
  spec.path = rig.topology.path7_out;
  spec.source_selectors = {{Topology::ip("10.1.0.0"), Topology::ip("10.1.0.255"), 17, 0, 65535}};
  Topology::must(rig.tables.set_outbound(TunnelId{7}, Topology::make_sa(spec, {0xc00000bb, test_key(22, 32), true})));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(64))))).summary(), "sent on 1");
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({1, 2}, {})))).summary(),
            "dropped outbound_selector");
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(64))))).summary(),
            "dropped outbound_selector");
  // Not UDP, but about a packet that came in.
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .ttl = 1}, udp({1, 2}, {})))).summary(),
            "sent on 1; dropped ttl_expired");
}

TEST(EveryDrop, NamesAreUniqueAndSentencesEnd) {
  std::set<std::string_view> names;
  for (const auto& drop : forward::kDropInfo) {
    EXPECT_TRUE(names.insert(drop.counter).second) << drop.counter;
    EXPECT_TRUE(drop.sentence.ends_with('.')) << drop.sentence;
    EXPECT_FALSE(drop.reference.empty());
  }
}

TEST(Forged, OnlyListedTriplesEnter) {
  // Every combination of outer source, VNI and port; exactly the configured ones get past the VXLAN checks.
  Rig rig;
  for (const std::string source : {"192.0.2.11", "192.0.2.12", "192.0.2.13", "203.0.113.1"}) {
    for (const std::uint32_t vni : {5000U, 5001U, 5002U, 5003U, 5004U}) {
      for (const std::uint16_t port : std::to_array<std::uint16_t>({4788, 4789, 4790})) {
        const std::string gateway = vni == 5002 ? kBlueGatewayMac : kGatewayMac;
        const Outcome outcome = rig.send(kFabric, vxlan_frame([&](Changed& c) {
          c.outer.src = source;
          c.vni = vni;
          c.outer_udp.dst = port;
          c.inner_ethernet.dst = gateway;
        }));
        const bool listed =
            (vni == 5001 || vni == 5002) && port == 4789 && (source == "192.0.2.11" || source == "192.0.2.12");
        EXPECT_EQ(outcome.sent.size(), listed ? 1U : 0U) << source << " " << vni << " " << port;
      }
    }
  }
}

TEST(Truncated, AtEveryLengthIsOneNamedDrop) {
  // The sender's length fields stay as they were, so every cut is a lie. Nothing is read behind the cut: the rest of the
  // frame is poisoned under AddressSanitizer only at its borders, so the cut packet is also put at the end of a frame.
  Rig rig;
  const std::vector<std::pair<forward::PortId, Bytes>> whole = {
      {kFabric, Rig::from_vm(kGood)},
      {kFabric, Rig::from_vm(kGood6)},
      {kFabric, Rig::from_vm6(ipv4({"10.3.0.5", "10.1.0.5"}, udp({1, 2}, {})))},
      {kWan, rig.from_site(7, kBack)},
      {kWan, rig.from_site(8, kBack)},
      {kWan, rig.from_site(9, kBack)},
      {kHostRedVpc, ipv4({"10.1.0.1", "10.1.0.5", 6}, tcp({.src = 1, .dst = 2, .syn = true, .mss = 1460}, {}))},
      {kHostRedVpc, ipv6({"fd01::1", "fd01::5", 0}, hex("3c00 010400000000") + hex("1100 010400000000") +
                                                         udp({1, 2}, {}))},
  };
  for (const auto& [port, packet] : whole) {
    for (std::size_t length = 0; length < packet.size(); ++length) {
      forward::MemoryIo& io = port.value() < 10 ? *rig.uplinks : *rig.hosts;
      const std::uint64_t before = rig.worker.counters().dropped();
      ASSERT_TRUE(io.inject(port, first(packet, length), forward::kFrameBytes - 1 - length));
      ASSERT_EQ(rig.worker.poll_once(), 1U);
      ASSERT_EQ(rig.worker.counters().dropped(), before + 1) << "port " << port.value() << " length " << length;
      ASSERT_EQ(rig.pool.available(), rig.pool.frames());
    }
  }
}

TEST(Truncated, LyingLengthsWithTrueOuterOnes) {
  // Outer headers that match the shortened payload: each inner header is cut at every length.
  Rig rig;
  for (std::size_t length = 0; length < kGood.size(); ++length) {
    EXPECT_EQ(rig.send(kFabric, Rig::from_vm(first(kGood, length))).summary(), "dropped ipv4_malformed") << length;
  }
  for (std::size_t length = 1; length < kGood6.size(); ++length) {
    EXPECT_EQ(rig.send(kFabric, Rig::from_vm(first(kGood6, length))).summary(), "dropped ipv6_malformed") << length;
  }
  for (std::size_t length = 0; length < kBack.size(); ++length) {
    EXPECT_EQ(rig.send(kWan, rig.from_site(7, first(kBack, length))).summary(), "dropped ipv4_malformed") << length;
  }
}

TEST(Replay, AForgedNumberDoesNotMoveTheWindow) {
  Rig rig;
  Bytes forged = esp_seal(rig.peer_sends(7), {.sequence = 1000000}, kBack);
  forged.back() ^= 1;
  EXPECT_EQ(rig.send(kWan, esp_frame(forged)).summary(), "dropped esp_authentication");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kBack, {.sequence = 1})).summary(), "sent on 0");
  EXPECT_EQ(rig.topology.sa7_in->usage().failed, 1U);
}

TEST(Host, RefusedWritesAreNamed) {
  Rig rig;
  rig.hosts->accept_only(0);
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "10.1.0.1"}, {}))).summary(), "dropped tx_refused");
}

}  // namespace
}  // namespace simplon::test
