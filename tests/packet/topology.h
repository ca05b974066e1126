// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "gateway/forward/sa.h"
#include "gateway/forward/tables.h"

// The gateway that packet tests, conformance tests and the packet fuzzer send packets through.
//
//   domain red (1)                                        domain blue (2): the same addresses
//     vpc 5001  10.1.0.0/16, fd01::/64                      vpc 5002  10.1.0.0/16
//               VM 10.1.0.5, fd01::5 at VTEP 192.0.2.11                VM 10.1.0.5 at VTEP 192.0.2.12
//     vpc 5003  10.3.0.0/16 (IPv6 underlay)                 tunnel 8  172.16.0.0/16, raw ESP, AES-128, ESN
//               VM 10.3.0.5 at VTEP 2001:db8:f::11
//     tunnel 7  172.16.0.0/16, fd16::/64, ESP in UDP, AES-256, ESN
//     tunnel 9  172.19.0.0/16, raw ESP over IPv6, AES-256, no ESN
//     172.18.0.0/16: both tunnels (ECMP); 172.31.0.0/16: unreachable
//
//   uplinks 0 (fabric) and 1 (WAN); host ports 10 (vpc 5001), 11 (tunnel 7), 12 (vpc 5002), 13 (tunnel 8)

namespace simplon::test {

inline constexpr forward::PortId kFabric{0};
inline constexpr forward::PortId kWan{1};
inline constexpr forward::PortId kHostRedVpc{10};
inline constexpr forward::PortId kHostRedTunnel{11};
inline constexpr forward::PortId kHostBlueVpc{12};
inline constexpr forward::PortId kHostBlueTunnel{13};

inline constexpr DomainId kRed{1};
inline constexpr DomainId kBlue{2};

inline const std::string kFabricMac = "02:00:00:00:00:f0";
inline const std::string kWanMac = "02:00:00:00:00:f1";
inline const std::string kComputeMac = "02:00:00:00:01:11";
inline const std::string kCompute2Mac = "02:00:00:00:01:12";
inline const std::string kCompute6Mac = "02:00:00:00:01:16";
inline const std::string kIspMac = "02:00:00:00:02:01";
inline const std::string kGatewayMac = "02:53:4c:00:13:89";       // vpc 5001
inline const std::string kBlueGatewayMac = "02:53:4c:00:13:8a";   // vpc 5002
inline const std::string kGateway3Mac = "02:53:4c:00:13:8b";      // vpc 5003
inline const std::string kVmMac = "02:aa:00:00:00:05";
inline const std::string kBlueVmMac = "02:bb:00:00:00:05";
inline const std::string kVm3Mac = "02:cc:00:00:00:05";

struct SaKeys {
  std::uint32_t spi;
  std::vector<std::uint8_t> key;  ///< With the salt.
  bool esn;
};

[[nodiscard]] inline std::vector<std::uint8_t> test_key(std::uint8_t seed, std::size_t bytes) {
  std::vector<std::uint8_t> key(bytes + 4);
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(seed + 7 * i);
  return key;
}

/// Tables of the drawing. Aborts if an entry is refused.
class Topology {
 public:
  using Queues = std::vector<std::shared_ptr<forward::PacketIo>>;
  /// `uplinks` serves both uplinks, `hosts` all host ports.
  Topology(forward::Tables& tables, std::shared_ptr<forward::PacketIo> uplinks,
           std::shared_ptr<forward::PacketIo> hosts)
      : Topology(tables, Queues{std::move(uplinks)}, Queues{std::move(hosts)}) {}
  /// The same with a queue for each worker.
  Topology(forward::Tables& tables, Queues uplinks, Queues hosts)
      : tables_(tables), uplinks_(std::move(uplinks)), hosts_(std::move(hosts)) {
    ports();
    attachments();
    routes();
    adjacencies_and_sas();
    tables_.commit();
  }

  [[nodiscard]] static IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
  [[nodiscard]] static MacAddress mac(const std::string& text) { return MacAddress::parse(text).value(); }
  [[nodiscard]] static IpPrefix prefix(const std::string& text) { return IpPrefix::parse(text).value(); }

  static void must(const Result<void>& result) { SIMPLON_CHECK(result.has_value()); }

  [[nodiscard]] static std::shared_ptr<forward::Sa> make_sa(forward::SaSpec spec, const SaKeys& keys) {
    spec.spi = Spi{keys.spi};
    spec.key = crypto::SecretKey(keys.key);
    spec.esn = keys.esn;
    spec.suite = keys.key.size() == 20 ? crypto::EspSuite::kAes128Gcm16 : crypto::EspSuite::kAes256Gcm16;
    auto sa = forward::Sa::create(std::move(spec));
    SIMPLON_CHECK(sa.has_value());
    return *sa;
  }

  // Keys by tunnel: what the peer sends with, what we send with.
  const SaKeys in7{0xc0000007, test_key(1, 32), true};
  const SaKeys out7{0x0a000007, test_key(2, 32), true};
  const SaKeys in8{0xc0000008, test_key(3, 16), true};
  const SaKeys out8{0x0a000008, test_key(4, 16), true};
  const SaKeys in9{0xc0000009, test_key(5, 32), false};
  const SaKeys out9{0x0a000009, test_key(6, 32), false};

  const forward::SaPath path7_in{ip("203.0.113.1"), ip("198.51.100.1"), true, 4500, 4500};
  const forward::SaPath path7_out{ip("198.51.100.1"), ip("203.0.113.1"), true, 4500, 4500};

  std::shared_ptr<forward::Sa> sa7_in, sa7_out, sa8_in, sa8_out, sa9_in, sa9_out;

 private:
  void ports() {
    must(tables_.upsert_port({kFabric, forward::PortKind::kUplink, mac(kFabricMac), false, uplinks_}));
    must(tables_.upsert_port({kWan, forward::PortKind::kUplink, mac(kWanMac), false, uplinks_}));
    for (const forward::PortId id : {kHostRedVpc, kHostRedTunnel, kHostBlueVpc, kHostBlueTunnel}) {
      must(tables_.upsert_port({id, forward::PortKind::kHost, {}, false, hosts_}));
    }
  }
  void attachments() {
    using forward::AttachmentId;
    must(tables_.upsert_domain(kRed));
    must(tables_.upsert_domain(kBlue));
    must(tables_.upsert_vpc({Vni{5001}, kRed, ip("192.0.2.1"), 4789, mac(kGatewayMac),
                             {prefix("10.1.0.0/16"), prefix("fd01::/64")},
                             {ip("192.0.2.11"), ip("192.0.2.12")}, 1450}));
    must(tables_.upsert_vpc({Vni{5002}, kBlue, ip("192.0.2.1"), 4789, mac(kBlueGatewayMac), {prefix("10.1.0.0/16")},
                             {ip("192.0.2.11"), ip("192.0.2.12")}, 1450}));
    must(tables_.upsert_vpc({Vni{5003}, kRed, ip("2001:db8:f::1"), 4789, mac(kGateway3Mac), {prefix("10.3.0.0/16")},
                             {ip("2001:db8:f::11")}, 1430}));
    must(tables_.upsert_endpoint({Vni{5001}, ip("10.1.0.5"), mac(kVmMac), ip("192.0.2.11")}));
    must(tables_.upsert_endpoint({Vni{5001}, ip("fd01::5"), mac(kVmMac), ip("192.0.2.11")}));
    must(tables_.upsert_endpoint({Vni{5002}, ip("10.1.0.5"), mac(kBlueVmMac), ip("192.0.2.12")}));
    must(tables_.upsert_endpoint({Vni{5003}, ip("10.3.0.5"), mac(kVm3Mac), ip("2001:db8:f::11")}));
    must(tables_.upsert_tunnel({TunnelId{7}, kRed, 0, true}));
    must(tables_.upsert_tunnel({TunnelId{8}, kBlue, 0, true}));
    must(tables_.upsert_tunnel({TunnelId{9}, kRed, 0, true}));
    must(tables_.upsert_host_port(
        {AttachmentId::vpc(Vni{5001}), kHostRedVpc, {ip("10.1.0.1"), ip("fd01::1")}}));
    must(tables_.upsert_host_port(
        {AttachmentId::tunnel(TunnelId{7}), kHostRedTunnel, {ip("169.254.10.1"), ip("fd10::1")}}));
    must(tables_.upsert_host_port({AttachmentId::vpc(Vni{5002}), kHostBlueVpc, {ip("10.1.0.1")}}));
    must(tables_.upsert_host_port({AttachmentId::tunnel(TunnelId{8}), kHostBlueTunnel, {ip("169.254.10.1")}}));
  }
  void route(DomainId domain, const std::string& to, forward::RouteAction action,
             std::vector<forward::AttachmentId> hops) {
    forward::RouteEntry entry{domain, prefix(to), action, {}};
    for (const auto& hop : hops) entry.nexthops.push_back({hop, 1});
    must(tables_.upsert_route(entry));
  }
  void routes() {
    using enum forward::RouteAction;
    const auto vpc = [](std::uint32_t vni) { return forward::AttachmentId::vpc(Vni{vni}); };
    const auto tunnel = [](std::uint32_t id) { return forward::AttachmentId::tunnel(TunnelId{id}); };
    route(kRed, "10.1.0.0/16", kForward, {vpc(5001)});
    route(kRed, "fd01::/64", kForward, {vpc(5001)});
    route(kRed, "10.1.0.1/32", kLocal, {vpc(5001)});
    route(kRed, "fd01::1/128", kLocal, {vpc(5001)});
    route(kRed, "10.3.0.0/16", kForward, {vpc(5003)});
    route(kRed, "10.3.0.1/32", kLocal, {vpc(5003)});
    route(kRed, "172.16.0.0/16", kForward, {tunnel(7)});
    route(kRed, "fd16::/64", kForward, {tunnel(7)});
    route(kRed, "169.254.10.0/30", kForward, {tunnel(7)});
    route(kRed, "169.254.10.1/32", kLocal, {tunnel(7)});
    route(kRed, "172.19.0.0/16", kForward, {tunnel(9)});
    route(kRed, "172.18.0.0/16", kForward, {tunnel(7), tunnel(9)});
    route(kRed, "172.31.0.0/16", kUnreachable, {});
    route(kRed, "172.30.0.0/16", kForward, {tunnel(99)});  // no such tunnel
    route(kBlue, "10.1.0.0/16", kForward, {vpc(5002)});
    route(kBlue, "10.1.0.1/32", kLocal, {vpc(5002)});
    route(kBlue, "172.16.0.0/16", kForward, {tunnel(8)});
    route(kBlue, "169.254.10.1/32", kLocal, {tunnel(8)});
  }
  void adjacencies_and_sas() {
    using enum forward::SaDirection;
    const auto sa = [](forward::SaDirection direction, std::uint32_t tunnel, const forward::SaPath& path,
                       const SaKeys& keys) {
      forward::SaSpec spec;
      spec.direction = direction;
      spec.tunnel = TunnelId{tunnel};
      spec.path = path;
      return make_sa(spec, keys);
    };
    const forward::SaPath path8_in{ip("203.0.113.2"), ip("198.51.100.1"), false, 4500, 4500};
    const forward::SaPath path8_out{ip("198.51.100.1"), ip("203.0.113.2"), false, 4500, 4500};
    const forward::SaPath path9_in{ip("2001:db8:a::9"), ip("2001:db8:1::1"), false, 4500, 4500};
    const forward::SaPath path9_out{ip("2001:db8:1::1"), ip("2001:db8:a::9"), false, 4500, 4500};
    sa7_in = sa(kInbound, 7, path7_in, in7);
    sa7_out = sa(kOutbound, 7, path7_out, out7);
    sa8_in = sa(kInbound, 8, path8_in, in8);
    sa8_out = sa(kOutbound, 8, path8_out, out8);
    sa9_in = sa(kInbound, 9, path9_in, in9);
    sa9_out = sa(kOutbound, 9, path9_out, out9);
    for (const auto& inbound : {sa7_in, sa8_in, sa9_in}) must(tables_.install_inbound(inbound));
    must(tables_.set_outbound(TunnelId{7}, sa7_out));
    must(tables_.set_outbound(TunnelId{8}, sa8_out));
    must(tables_.set_outbound(TunnelId{9}, sa9_out));

    const auto adjacency = [this](const std::string& to, forward::PortId port, const std::string& ours,
                                  const std::string& theirs) {
      must(tables_.set_adjacency(ip(to), {true, port, mac(ours), mac(theirs), 1500}));
    };
    adjacency("192.0.2.11", kFabric, kFabricMac, kComputeMac);
    adjacency("192.0.2.12", kFabric, kFabricMac, kCompute2Mac);
    adjacency("2001:db8:f::11", kFabric, kFabricMac, kCompute6Mac);
    adjacency("203.0.113.1", kWan, kWanMac, kIspMac);
    adjacency("203.0.113.2", kWan, kWanMac, kIspMac);
    adjacency("2001:db8:a::9", kWan, kWanMac, kIspMac);
  }

  forward::Tables& tables_;
  Queues uplinks_;
  Queues hosts_;
};

}  // namespace simplon::test
