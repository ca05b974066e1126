// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/generator/topology.h"

#include <algorithm>

namespace simplon::differential {

using forward::SaDirection;
using forward::SaPath;
using oracle::AttachmentId;
using oracle::Change;
using oracle::World;

namespace {

constexpr std::uint32_t kUplinks = 3;

IpAddress v4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return IpAddress::v4((a << 24) | (b << 16) | (c << 8) | d);
}
/// 2001:db8:<net>::<host>
IpAddress v6(unsigned net, unsigned host) {
  return IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, static_cast<std::uint8_t>(net >> 8), static_cast<std::uint8_t>(net), 0,
                        0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(host >> 8), static_cast<std::uint8_t>(host)});
}
MacAddress mac(Random& random, std::uint8_t first = 2) {
  return {{first, 0x53, random.byte(), random.byte(), random.byte(), random.byte()}};
}
template <class Map>
const auto& value_of(Random& random, const Map& map) {
  return random.pick(map).second;
}

}  // namespace

IpAddress address_in(Random& random, const IpPrefix& prefix) {
  const auto network = prefix.address().bytes();
  oracle::Bytes bytes(network.begin(), network.end());
  const std::size_t host_bits = prefix.address().bits() - prefix.length();
  // The last bits, and now and then one in the middle.
  if (host_bits > 0)
    bytes.back() =
        static_cast<std::uint8_t>(bytes.back() | random.below(std::size_t{1} << std::min<std::size_t>(host_bits, 3)));
  if (host_bits > 12 && random.percent(30)) {
    const std::size_t bit = prefix.length() + random.below(host_bits);
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | (0x80 >> (bit % 8)));
  }
  return IpAddress::from_bytes(bytes).value();
}

std::vector<Change> Topology::initial() {
  Changes changes;
  tiny_mtus_ = random_.percent(6);
  crossing_ = random_.percent(25);
  add_ports(changes);
  for (std::size_t i = random_.between(2, 4); i > 0; --i) add_domain(changes);
  for (const DomainId domain : policed_) add_policy(changes, domain);
  return changes;
}

void Topology::add_ports(Changes& changes) {
  for (std::uint32_t id = 0; id < kUplinks; ++id) {
    const MacAddress address = random_.percent(90) ? mac(random_) : MacAddress{};
    changes.emplace_back(oracle::Port{forward::PortId{id}, forward::PortKind::kUplink, address, random_.percent(25)});
  }
}

void Topology::add_domain(Changes& changes) {
  DomainId domain{static_cast<std::uint32_t>(random_.between(1, 5000))};
  while (std::find(domains_.begin(), domains_.end(), domain) != domains_.end()) domain = DomainId{domain.value() + 1};
  domains_.push_back(domain);
  if (policy_ && random_.percent(80)) policed_.push_back(domain);
  if (random_.percent(98)) changes.emplace_back(oracle::PutDomain{domain});
  for (std::size_t i = random_.between(1, 3); i > 0; --i) add_vpc(changes, domain);
  for (std::size_t i = random_.between(1, 3); i > 0; --i) add_tunnel(changes, domain);
  for (std::size_t i = random_.percent(70) ? random_.between(1, 3) : 0; i > 0; --i) add_circuit(changes, domain);
  add_routes(changes, domain, random_.between(6, 24));
}

/// Often one bit away from another one's.
Vni Topology::new_vni() {
  for (;;) {
    auto vni = static_cast<std::uint32_t>(random_.between(1, 0xffffff));
    for (const auto& [attachment, domain] : attachments_) {
      if (attachment.kind == forward::AttachmentKind::kVpc && random_.percent(50)) {
        vni = attachment.id ^ (1U << random_.below(24));
      }
    }
    const auto taken = [vni](const auto& item) { return item.first == AttachmentId::vpc(Vni{vni}); };
    if (vni != 0 && std::none_of(attachments_.begin(), attachments_.end(), taken)) return Vni{vni};
  }
}

std::uint16_t Topology::mtu() {
  if (tiny_mtus_ && random_.percent(30)) return random_.one_of<std::uint16_t>({68, 69, 76, 100, 128, 300, 576});
  return random_.one_of<std::uint16_t>({1500, 1500, 1450, 1450, 1430, 1400, 1399, 1280, 1300, 9000, 8950});
}

/// Some compute hosts serve all tenants.
IpAddress Topology::compute_host(DomainId domain, bool v4_family) {
  const bool shared = random_.percent(20);
  const auto tenant = static_cast<unsigned>(domain.value() % 200);
  const auto host = static_cast<unsigned>(random_.between(1, 6));
  if (v4_family) return shared ? v4(192, 0, 2, 200 + host) : v4(198, 18, tenant, host);
  return shared ? v6(0xf00, 200 + host) : v6(0xf01, tenant << 8 | host);
}

/// The same few nets for all tenants, in all sizes.
IpPrefix Topology::tenant_prefix() {
  const auto net = static_cast<unsigned>(random_.below(4));
  if (random_.percent(30)) {
    const unsigned length = random_.one_of({32U, 48U, 52U, 64U, 64U, 64U, 96U, 120U, 127U, 128U});
    std::array<std::uint8_t, 16> bytes{
        0xfd, 0, 0, static_cast<std::uint8_t>(net), 0, static_cast<std::uint8_t>(random_.below(2)), 0, 1};
    bytes[15] = static_cast<std::uint8_t>(random_.below(8));
    return {IpAddress::v6(bytes), length};
  }
  const unsigned length = random_.one_of({8U, 13U, 16U, 16U, 20U, 24U, 24U, 25U, 30U, 31U, 32U});
  return {v4(10, net, static_cast<unsigned>(random_.below(2)), static_cast<unsigned>(random_.below(8))), length};
}

oracle::VpcEntry Topology::vpc(Vni vni, DomainId domain) {
  oracle::VpcEntry vpc;
  vpc.vni = vni;
  vpc.domain = domain;
  const bool over4 = random_.percent(75);
  const auto which = static_cast<unsigned>(random_.between(1, 2));
  vpc.vtep = over4 ? v4(192, 0, 2, which) : v6(0xf00, which);
  vpc.udp_port = random_.percent(85) ? std::uint16_t{4789} : std::uint16_t{8472};
  vpc.gateway_mac = mac(random_);
  for (std::size_t i = random_.between(1, 6); i > 0; --i) vpc.prefixes.push_back(tenant_prefix());
  for (std::size_t i = random_.between(1, 7); i > 0; --i) {
    vpc.accepted_vteps.push_back(compute_host(domain, random_.percent(95) ? over4 : !over4));
  }
  vpc.mtu = mtu();
  return vpc;
}

oracle::EndpointEntry Topology::endpoint(const oracle::VpcEntry& vpc) {
  const IpPrefix prefix = random_.percent(95) ? random_.pick(vpc.prefixes) : tenant_prefix();
  const IpAddress vtep =
      random_.percent(93) ? random_.pick(vpc.accepted_vteps) : compute_host(vpc.domain, random_.percent(70));
  return {vpc.vni, address_in(random_, prefix), mac(random_), vtep};
}

void Topology::add_vpc(Changes& changes, DomainId domain) {
  const oracle::VpcEntry entry = vpc(new_vni(), domain);
  attachments_.emplace_back(AttachmentId::vpc(entry.vni), domain);
  if (random_.percent(97)) changes.emplace_back(entry);
  for (std::size_t i = random_.between(1, 7); i > 0; --i) {
    const oracle::EndpointEntry end = endpoint(entry);
    hosts_.emplace_back(domain, end.address);
    changes.emplace_back(end);
    changes.emplace_back(adjacency(end.vtep));
  }
  if (random_.percent(80)) add_host_port(changes, AttachmentId::vpc(entry.vni), domain);
  for (const IpPrefix& prefix : entry.prefixes) {
    if (!random_.percent(85)) continue;
    changes.emplace_back(
        oracle::RouteEntry{domain, prefix, forward::RouteAction::kForward, {{AttachmentId::vpc(entry.vni), 1, {}}}});
  }
}

oracle::SetAdjacency Topology::adjacency(const IpAddress& destination) {
  forward::AdjacencyEntry entry;
  entry.resolved = random_.percent(95);
  entry.port = forward::PortId{static_cast<std::uint32_t>(random_.below(kUplinks))};
  entry.source = mac(random_);
  entry.destination = mac(random_);
  entry.path_mtu = random_.percent(70) ? std::uint16_t{1500} : std::max<std::uint16_t>(mtu(), 68);
  return {destination, entry};
}

oracle::TunnelEntry Topology::tunnel(TunnelId id, DomainId domain) {
  oracle::TunnelEntry entry{id, domain, random_.percent(60) ? std::uint16_t{0} : mtu(), random_.percent(70)};
  if (random_.percent(40)) entry.outer_df = static_cast<forward::OuterDf>(random_.between(0, 2));
  entry.ignores_df = random_.percent(30);
  return entry;
}

SaPath Topology::outbound_path() {
  SaPath path;
  const auto peer = static_cast<unsigned>(random_.between(1, 9));
  const bool over4 = random_.percent(70);
  path.source = over4 ? v4(198, 51, 100, 1) : v6(1, 1);
  path.destination = over4 ? v4(203, 0, 113, peer) : v6(0xa, peer);
  path.encap = random_.percent(50);
  path.source_port = 4500;
  path.destination_port =
      random_.percent(80) ? std::uint16_t{4500} : static_cast<std::uint16_t>(random_.between(1024, 65535));
  return path;
}

oracle::SaSpec Topology::sa(TunnelId id, SaDirection direction, SaPath path) {
  oracle::SaSpec spec;
  spec.direction = direction;
  spec.spi = Spi{static_cast<std::uint32_t>(random_.between(0x1000, 0x10ff) << (random_.percent(50) ? 0 : 12))};
  spec.tunnel = id;
  spec.path = std::move(path);
  using enum crypto::EspSuite;
  spec.suite = random_.percent(65)   ? random_.one_of({kAes128Gcm16, kAes192Gcm16, kAes256Gcm16, kAes256Gcm16})
               : random_.percent(30) ? kChaCha20Poly1305
                                     : random_.pick(crypto::kAllEspSuites);
  const auto& facts = crypto::facts_of(spec.suite);
  oracle::Bytes key(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes);
  for (std::uint8_t& byte : key) byte = random_.byte();
  if (!key.empty()) spec.key = crypto::SecretKey(key);
  oracle::Bytes integrity(facts.integrity_key_bytes);
  for (std::uint8_t& byte : integrity) byte = random_.byte();
  if (!integrity.empty()) spec.integrity_key = crypto::SecretKey(integrity);
  spec.esn = random_.percent(65);
  spec.replay_window = random_.one_of({0U, 1U, 32U, 64U, 64U, 100U, 128U, 1024U, 4096U, 4096U, 100000U});
  spec.copy_dscp = random_.percent(70);
  if (random_.percent(80)) return spec;
  // Policy-based: some ranges on either side.
  const auto ranges = [this](std::vector<forward::Selector>& selectors) {
    for (std::size_t i = random_.between(0, 2); i > 0; --i) {
      const IpPrefix prefix = tenant_prefix();
      forward::Selector selector;
      selector.from = prefix.address();
      oracle::Bytes last(selector.from.bytes().begin(), selector.from.bytes().end());
      for (std::size_t bit = prefix.length(); bit < prefix.address().bits(); ++bit) {
        last[bit / 8] = static_cast<std::uint8_t>(last[bit / 8] | (0x80 >> (bit % 8)));
      }
      selector.to = IpAddress::from_bytes(last).value();
      if (random_.percent(40)) selector.protocol = random_.one_of<std::uint8_t>({1, 6, 17, 58});
      if (random_.percent(30)) {
        selector.port_from = static_cast<std::uint16_t>(random_.below(8));
        selector.port_to = static_cast<std::uint16_t>(selector.port_from + random_.below(8));
      }
      selectors.push_back(selector);
    }
  };
  ranges(spec.source_selectors);
  ranges(spec.destination_selectors);
  return spec;
}

/// Some SAs are old: their numbers are about to pass 2^32, or to be used up.
oracle::SetOutbound Topology::outbound(TunnelId id, const SaPath& path) {
  oracle::SetOutbound set{sa(id, SaDirection::kOutbound, path), 0};
  if (random_.percent(set.spec.esn ? 15 : 3)) set.used = (std::uint64_t{1} << 32) - 1 - random_.below(60);
  if (set.spec.esn && random_.percent(10)) set.used = random_.next() >> 2;
  return set;
}

oracle::InstallInbound Topology::inbound(TunnelId id, const SaPath& path) {
  SaPath back = path;
  std::swap(back.source, back.destination);
  std::swap(back.source_port, back.destination_port);
  oracle::InstallInbound install{sa(id, SaDirection::kInbound, back), 0};
  if (random_.percent(20)) install.used = random_.between(1, 5000);
  if (random_.percent(15)) install.used = (std::uint64_t{1} << 32) - 1 - random_.below(5000);
  if (install.spec.esn && random_.percent(15)) install.used = (random_.next() >> 3) | 1;
  if (!install.spec.esn) install.used = std::min<std::uint64_t>(install.used, 0xffffffff);
  return install;
}

void Topology::add_tunnel(Changes& changes, DomainId domain) {
  const TunnelId id{next_tunnel_++};
  attachments_.emplace_back(AttachmentId::tunnel(id), domain);
  if (random_.percent(97)) changes.emplace_back(tunnel(id, domain));
  const SaPath path = outbound_path();
  for (std::size_t i = random_.between(1, 2); i > 0; --i) changes.emplace_back(inbound(id, path));
  if (random_.percent(92)) {
    changes.emplace_back(outbound(id, path));
    changes.emplace_back(adjacency(path.destination));
  }
  if (random_.percent(65)) add_host_port(changes, AttachmentId::tunnel(id), domain);
}

void Topology::add_host_port(Changes& changes, AttachmentId attachment, DomainId domain) {
  const forward::PortId id{next_port_++};
  oracle::HostPortEntry entry;
  entry.attachment = attachment;
  entry.port = id;
  const bool frames = attachment.kind == forward::AttachmentKind::kCircuit;
  if (frames) entry.mac = mac(random_);
  if (random_.percent(80)) entry.addresses.push_back(address_in(random_, tenant_prefix()));
  if (random_.percent(20)) {
    entry.addresses.push_back(IpAddress::v6(
        {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(random_.between(1, 9))}));
  }
  if (random_.percent(60)) entry.addresses.push_back(address_in(random_, tenant_prefix()));
  changes.emplace_back(oracle::Port{id, forward::PortKind::kHost, {}, random_.percent(25), frames});
  changes.emplace_back(entry);
  for (const IpAddress& address : entry.addresses) {
    if (random_.percent(90)) {
      changes.emplace_back(
          oracle::RouteEntry{domain, IpPrefix::host(address), forward::RouteAction::kLocal, {{attachment, 1, {}}}});
    }
  }
}

oracle::RouteEntry Topology::route(DomainId domain, const std::vector<AttachmentId>& attachments) {
  oracle::RouteEntry route;
  route.domain = domain;
  route.prefix = tenant_prefix();
  if (random_.percent(4))
    route.prefix = random_.percent(50) ? IpPrefix() : IpPrefix(IpAddress::v6(std::array<std::uint8_t, 16>{}), 0);
  if (random_.percent(6)) {
    route.action = forward::RouteAction::kUnreachable;
    return route;
  }
  std::size_t hops = 1;
  if (random_.percent(5)) {
    route.action = forward::RouteAction::kLocal;
  } else if (random_.percent(15)) {
    hops = random_.between(2, 5);
  }
  for (std::size_t i = 0; i < hops; ++i) {
    AttachmentId to = random_.pick(attachments);
    if (random_.percent(2))
      to = AttachmentId::tunnel(TunnelId{static_cast<std::uint32_t>(random_.between(90000, 90002))});
    const auto weight = static_cast<std::uint16_t>(random_.between(1, 4));
    route.nexthops.push_back(
        {to, weight, route.action == forward::RouteAction::kForward ? gateway_if(to) : std::nullopt});
  }
  return route;
}

void Topology::add_routes(Changes& changes, DomainId domain, std::size_t count) {
  std::vector<AttachmentId> attachments;
  for (const auto& [attachment, home] : attachments_) {
    if (home == domain) attachments.push_back(attachment);
  }
  if (crossing_) attachments.push_back(random_.pick(attachments_).first);
  while (count-- > 0) changes.emplace_back(route(domain, attachments));
}

std::vector<Change> Topology::change(const World& world) {
  Changes changes;
  const auto& [attachment, domain] = random_.pick(attachments_);
  if (policy_ && random_.percent(30)) {
    change_policy(changes, world);
    return changes;
  }
  if (attachment.kind == forward::AttachmentKind::kCircuit && random_.percent(50)) {
    change_circuit(changes, world, CircuitId{attachment.id}, domain);
    return changes;
  }
  const bool is_vpc = attachment.kind == forward::AttachmentKind::kVpc;
  const bool is_tunnel = attachment.kind == forward::AttachmentKind::kTunnel;
  const Vni vni{attachment.id};
  const TunnelId tunnel_id{attachment.id};
  switch (random_.below(20)) {
    case 0:
    case 1:
    case 2:
      add_routes(changes, domain, random_.between(1, 3));
      break;
    case 3:
    case 4:
      if (const auto table = world.routes.find(domain); table != world.routes.end() && table->second.size() > 3) {
        changes.emplace_back(oracle::RemoveRoute{domain, random_.pick(table->second).prefix});
      }
      break;
    case 5:
    case 6:
      if (const auto found = world.vpcs.find(vni); is_vpc && found != world.vpcs.end()) {
        const auto end = endpoint(found->second);
        changes.emplace_back(end);
        if (random_.percent(85)) changes.emplace_back(adjacency(end.vtep));
      }
      break;
    case 7:
      if (world.endpoints.size() > 4) {
        const auto& end = value_of(random_, world.endpoints);
        changes.emplace_back(oracle::RemoveEndpoint{end.vni, end.address});
      }
      break;
    case 8:
      if (!world.adjacencies.empty()) changes.emplace_back(adjacency(random_.pick(world.adjacencies).first));
      break;
    case 9:  // away, and later back with other prefixes
      if (is_vpc && world.vpcs.contains(vni) && random_.percent(30)) {
        changes.emplace_back(oracle::RemoveVpc{vni});
      } else if (is_vpc) {
        changes.emplace_back(vpc(vni, domain));
      }
      break;
    case 10:
      if (is_tunnel && world.tunnels.contains(tunnel_id) && random_.percent(30)) {
        changes.emplace_back(oracle::RemoveTunnel{tunnel_id});
      } else if (is_tunnel) {
        changes.emplace_back(tunnel(tunnel_id, domain));
      }
      break;
    case 11:  // rekeying: the new inbound SA first
    case 12:
    case 13:
      if (is_tunnel) {
        const auto present = world.outbound.find(tunnel_id);
        const SaPath path = present == world.outbound.end() ? outbound_path() : present->second.spec.path;
        changes.emplace_back(inbound(tunnel_id, path));
        if (random_.percent(80)) {
          changes.emplace_back(outbound(tunnel_id, path));
          changes.emplace_back(adjacency(path.destination));
        }
      }
      break;
    case 14:
      if (world.inbound.size() > 3) changes.emplace_back(oracle::RemoveInbound{random_.pick(world.inbound).first});
      break;
    case 15:
      if (is_tunnel && random_.percent(30)) changes.emplace_back(oracle::ClearOutbound{tunnel_id});
      break;
    case 16:  // the peer moved
      if (world.outbound.contains(tunnel_id) && is_tunnel) {
        const SaPath path = outbound_path();
        changes.emplace_back(oracle::MoveOutbound{tunnel_id, path});
        changes.emplace_back(adjacency(path.destination));
      } else if (!world.inbound.empty()) {
        const auto& sa = value_of(random_, world.inbound);
        SaPath path = outbound_path();
        std::swap(path.source, path.destination);
        std::swap(path.source_port, path.destination_port);
        changes.emplace_back(oracle::MoveInbound{sa.spec.spi, path});
      }
      break;
    case 17:
      if (world.host_ports.contains(attachment) && random_.percent(50)) {
        changes.emplace_back(oracle::RemoveHostPort{attachment});
      } else {
        add_host_port(changes, attachment, domain);
      }
      break;
    case 18:
      if (random_.percent(15) && world.ports.size() > 4) {
        changes.emplace_back(oracle::RemovePort{random_.pick(world.ports).first});
      } else if (!world.ports.empty()) {
        oracle::Port port = value_of(random_, world.ports);
        port.fixup = !port.fixup;
        changes.emplace_back(port);
      }
      add_ports(changes);
      break;
    case 19:
      if (random_.percent(10)) {
        changes.emplace_back(oracle::RemoveDomain{domain});
      } else {
        for (const DomainId id : domains_) changes.emplace_back(oracle::PutDomain{id});
      }
      break;
    default:
      break;
  }
  return changes;
}

}  // namespace simplon::differential
