// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/generator/traffic.h"

#include <algorithm>

#include "tests/differential/generator/topology.h"
#include "tests/differential/tenant_tag.h"

namespace simplon::differential {

using oracle::Bytes;
using oracle::View;
using oracle::World;

namespace {

constexpr std::size_t kMostFragments = 150;  // a worker's burst has room for 256 packets, 64 of them received
constexpr std::size_t kLongest = 3000;

/// Some value of a field, near the limits of it.
std::uint8_t hop_count(Random& random) {
  return random.percent(80) ? std::uint8_t{64} : random.one_of<std::uint8_t>({0, 1, 1, 2, 2, 3, 255});
}

void flip(Random& random, Bytes& bytes, std::size_t from, std::size_t to) {
  if (bytes.size() <= from) return;
  const std::size_t at = from + random.below(std::min(to, bytes.size()) - from);
  bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << random.below(8)));
}

}  // namespace

Burst Traffic::burst(const World& world) {
  fragments_left_ = kMostFragments;
  std::size_t least = 65535;
  for (const auto& [vni, vpc] : world.vpcs) least = std::min<std::size_t>(least, vpc.mtu);
  for (const auto& [id, tunnel] : world.tunnels) {
    if (tunnel.mtu != 0) least = std::min<std::size_t>(least, tunnel.mtu);
  }
  for (const auto& [destination, entry] : world.adjacencies) {
    least = std::min<std::size_t>(least, entry.path_mtu < 200 ? 68U : entry.path_mtu - 110U);
  }
  least_mtu_ = std::max<std::size_t>(least, 68);

  Burst burst;
  std::size_t count = random_.percent(30) ? random_.between(1, 4) : random_.between(1, 64);
  while (count-- > 0 && fragments_left_ > 0) burst.inputs.push_back(packet(world));
  // Policy lets packets of one kind come together (duel.cpp); so they do as a rule.
  if ((!world.nats.empty() || !world.policies.empty()) && random_.percent(80)) {
    const auto kind = [&world](const Input& input) {
      const auto port = world.ports.find(input.port);
      if (port == world.ports.end() || port->second.kind == forward::PortKind::kHost || input.bytes.size() < 40)
        return 0;
      const std::uint16_t type = oracle::get16(input.bytes, 12);
      if (type == 0x8100 || type == 0x88a8) return 3;
      const std::size_t ip = type == 0x0800 ? 20 : 40;
      if (type == 0x0800 && (oracle::get16(input.bytes, 20) & 0x3fff) != 0) return 2;
      const bool is_udp = input.bytes[type == 0x0800 ? 23 : 20] == 17;
      return is_udp && input.bytes.size() > 18 + ip && oracle::get16(input.bytes, 16 + ip) != 4500 ? 1 : 2;
    };
    std::stable_sort(burst.inputs.begin(), burst.inputs.end(),
                     [&kind](const Input& a, const Input& b) { return kind(a) < kind(b); });
  }
  if (random_.percent(1)) burst.accept = random_.below(3);
  return burst;
}

Input Traffic::packet(const World& world) {
  for (;;) {
    const std::size_t kind = random_.below(100);
    std::optional<Input> made;
    if (!scans_) scans_ = random_.percent(20);
    if (*scans_ && !world.nats.empty() && random_.percent(30)) made = scan(world);
    if (!made && !world.policy.connections.empty() && random_.percent(50)) made = of_connection(world);
    if (!rests_.empty() && random_.percent(15)) made = send_rest(world);
    if (!made && !parts_.empty() && random_.percent(parts_.size() > 4 ? 60 : 20)) made = send_part();
    if (made) {
    } else if (kind < 40) {
      made = from_compute_host(world);
    } else if (kind < 71) {
      made = from_site(world);
    } else if (kind < 81) {
      made = from_circuit(world);
    } else if (kind < 95) {
      made = from_kernel(world);
    } else {
      made = noise(world);
    }
    if (!made) made = noise(world);
    const std::size_t fragments = most_fragments(made->bytes.size());
    if (fragments > fragments_left_) made->bytes.resize(least_mtu_);  // cut short instead
    fragments_left_ -= std::min(fragments_left_, fragments);
    return std::move(*made);
  }
}

/// The worst case: the longest header in each.
std::size_t Traffic::most_fragments(std::size_t bytes) const {
  return bytes > least_mtu_ ? bytes / std::max<std::size_t>((least_mtu_ - 60) / 8 * 8, 8) : 0;
}

MacAddress Traffic::any_mac() { return {{2, random_.byte(), 1, 1, 1, random_.byte()}}; }

std::uint8_t Traffic::traffic_class() {
  return random_.percent(50) ? std::uint8_t{0} : static_cast<std::uint8_t>(random_.below(256));
}

IpAddress Traffic::anywhere(bool v4) {
  if (v4) {
    const std::uint32_t value =
        random_.one_of<std::uint32_t>({0x0a000001, 0x7f000001, 0xe0000001, 0xffffffff, 0, 0xa9fe0a01, 0xc0000201,
                                       0x0a010005, 0xf0000001, 0x08080808});
    return IpAddress::v4(random_.percent(70) ? value : static_cast<std::uint32_t>(random_.next()));
  }
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = static_cast<std::uint8_t>(random_.below(4));
  bytes[0] = random_.one_of<std::uint8_t>({0, 0xfd, 0xfe, 0xff, 0x20});
  bytes[1] = random_.one_of<std::uint8_t>({0, 0, 0x80, 0xbf, 0xc0});
  return IpAddress::v6(bytes);
}

IpAddress Traffic::destination(const World& world, DomainId domain, bool v4) {
  const std::size_t kind = random_.below(100);
  if (v4 && random_.percent(25)) {
    if (const auto outer = outer_address(world, domain)) return *outer;
  }
  for (int attempt = 0; attempt < 12; ++attempt) {
    std::optional<IpAddress> found;
    if (kind < 50 && !world.endpoints.empty()) {  // an endpoint, as a rule of this tenant
      const auto& end = random_.pick(world.endpoints).second;
      const auto vpc = world.vpcs.find(end.vni);
      if (random_.percent(8) || (vpc != world.vpcs.end() && vpc->second.domain == domain)) found = end.address;
    } else if (kind < 75) {
      const auto table = world.routes.find(domain);
      if (table != world.routes.end() && !table->second.empty())
        found = address_in(random_, random_.pick(table->second).prefix);
    } else if (kind < 88 && !world.host_ports.empty()) {
      const auto& addresses = random_.pick(world.host_ports).second.addresses;
      if (!addresses.empty()) found = random_.pick(addresses);
    } else if (kind < 92 && !world.vpcs.empty()) {
      found = random_.pick(world.vpcs).second.vtep;
    }
    if (found && found->is_v4() == v4) return *found;
  }
  return anywhere(v4);
}

/// Tags from end to end, so that every piece has one.
Bytes Traffic::payload(std::optional<DomainId> tag) {
  std::size_t length = 0;
  const std::size_t kind = random_.below(100);
  if (kind < 62) {
    length = random_.below(160);
  } else if (kind < 80) {
    length = random_.between(160, 1300);
  } else if (kind < 96) {
    length = random_.between(1300, 1500);
  } else {
    length = random_.between(1500, kLongest);
  }
  if (length > least_mtu_ && least_mtu_ < 500) length = random_.below(400);
  Bytes bytes;
  bytes.reserve(length + 80);
  const Bytes mark = tag ? tenant_tag(*tag) : Bytes(kTagBytes, 0x55);
  while (bytes.size() < length) {
    oracle::add(bytes, mark);
    bytes.resize(bytes.size() + (bytes.size() > 64 ? 48U : 0U), static_cast<std::uint8_t>(random_.next()));
  }
  bytes.resize(length);
  return bytes;
}

Bytes Traffic::ipv4_options() {
  Bytes options;
  for (std::size_t i = random_.between(1, 3); i > 0; --i) {
    switch (random_.below(7)) {
      case 0:
        oracle::add8(options, 1);
        break;
      case 1:  // router alert: copied
        oracle::add32(options, 0x94040000);
        break;
      case 2:  // record route: not copied
        oracle::add(options, Bytes{7, 7, 4, 0, 0, 0, 0});
        break;
      case 3:  // source routes
        oracle::add(options, Bytes{random_.one_of<std::uint8_t>({131, 137}), 7, 4, 10, 0, 0, 1});
        break;
      case 4:  // security, of odd length and copied
        oracle::add(options, Bytes{130, 5, 1, 2, 3});
        break;
      case 5:  // lies about its length
        oracle::add(options, Bytes{0x88, static_cast<std::uint8_t>(random_.below(60)), 1, 2});
        break;
      default:
        oracle::add(options, Bytes{0x44, 8, 5, 0, 1, 2, 3, 4});
        break;
    }
  }
  options.resize(std::min<std::size_t>((options.size() + 3) / 4 * 4, 40), random_.percent(50) ? 0 : 1);
  return options;
}

void Traffic::extension_headers(IpFields& fields) {
  std::vector<std::uint8_t> kinds;
  for (std::size_t i = random_.between(1, 3); i > 0; --i)
    kinds.push_back(random_.one_of<std::uint8_t>({0, 43, 44, 44, 60, 60, 51, 135}));
  fields.first_header = kinds.front();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    oracle::add8(fields.options, i + 1 < kinds.size() ? kinds[i + 1] : fields.protocol);
    if (kinds[i] == 44) {
      oracle::add8(fields.options, 0);
      const std::size_t offset = random_.percent(50) ? 0 : random_.below(0x2000);
      oracle::add16(fields.options, offset << 3 | (random_.percent(50) ? 1U : 0U));
      oracle::add32(fields.options, 7);
      continue;
    }
    const std::size_t length = random_.percent(90) ? random_.below(3) : random_.below(256);
    oracle::add8(fields.options, length);
    Bytes rest(6 + std::min<std::size_t>(length, 4) * 8, 1);
    oracle::add(fields.options, rest);
  }
}

Bytes Traffic::transport(const World& world, IpFields& fields, View payload) {
  const IpAddress& source = fields.source;
  const IpAddress& destination = fields.destination;
  const auto source_port = static_cast<std::uint16_t>(random_.below(16));
  const auto destination_port =
      static_cast<std::uint16_t>(random_.percent(90) ? random_.below(16) : random_.one_of({4789U, 4500U, 8472U}));
  const std::size_t kind = random_.below(100);
  if (kind < 40) {
    fields.protocol = 17;
    const auto checksum =
        random_.one_of({UdpChecksum::kRight, UdpChecksum::kRight, UdpChecksum::kNone, UdpChecksum::kPartial});
    if (random_.percent(4) && !world.vpcs.empty()) {
      // A tunnel in the tunnel, to another tenant perhaps: to us it is a payload.
      const auto& vpc = random_.pick(world.vpcs).second;
      const Bytes nested =
          vxlan(0x08000000, vpc.vni.value() << 8, ethernet(vpc.gateway_mac, any_mac(), 0x0800, payload));
      return udp(source, destination, source_port, vpc.udp_port, nested, checksum);
    }
    return udp(source, destination, source_port, destination_port, payload, checksum);
  }
  if (kind < 70) {
    fields.protocol = 6;
    Bytes options;
    const bool syn = random_.percent(50);
    if (syn && random_.percent(85)) {
      options.assign(random_.below(4), 1);  // at odd offsets, too
      if (random_.percent(10)) oracle::add(options, Bytes{3, 3, 7});
      oracle::add(options, Bytes{2, random_.percent(95) ? std::uint8_t{4} : random_.byte()});
      oracle::add16(options, random_.percent(70) ? random_.between(1200, 1500) : random_.below(65536));
      if (random_.percent(20)) oracle::add(options, Bytes{4, 2});
      options.resize((options.size() + 3) / 4 * 4, random_.percent(50) ? 0 : 1);
    }
    const std::uint8_t flags = syn ? random_.one_of<std::uint8_t>({2, 0x12, 0xc2}) : std::uint8_t{0x10};
    Bytes segment =
        tcp(source, destination, source_port, destination_port, flags, options, payload, random_.percent(20));
    if (random_.percent(3)) flip(random_, segment, 12, 13);
    return segment;
  }
  if (kind < 92) {
    fields.protocol = source.is_v4() ? 1 : 58;
    if (random_.percent(3)) fields.protocol = source.is_v4() ? 58 : 1;
    const std::uint8_t type = source.is_v4() ? random_.one_of<std::uint8_t>({8, 0, 8, 3, 4, 5, 11, 12, 13})
                                             : random_.one_of<std::uint8_t>({128, 129, 128, 1, 2, 3, 127, 135, 137});
    return icmp(source, destination, type, 0, payload);
  }
  fields.protocol = random_.one_of<std::uint8_t>({0, 4, 33, 41, 44, 47, 50, 59, 132, 136, 136, 255});
  return oracle::copy(payload);
}

Bytes Traffic::inner(const World& world, std::optional<DomainId> tag, DomainId domain, const IpAddress& source) {
  IpFields fields;
  fields.source = source;
  fields.destination = destination(world, domain, source.is_v4());
  fields.hops = hop_count(random_);
  fields.traffic_class = traffic_class();
  const Bytes content = payload(tag);
  Bytes segment;
  if (wanted_ && wanted_->error) {
    segment = wanted_error(fields, content);
  } else if (wanted_) {
    fields.source = wanted_->ends.source;
    fields.destination = wanted_->ends.destination;
    fields.protocol = wanted_->ends.protocol;
    segment = wanted_transport(wanted_->ends, fields.source, fields.destination, content);
  } else if (const auto service = service_at(world, domain, fields.destination)) {
    fields.protocol = service->protocol;
    segment = wanted_transport(*service, fields.source, fields.destination, content);
  } else {
    segment = transport(world, fields, content);
  }
  if (source.is_v4()) {
    fields.id = static_cast<std::uint16_t>(random_.next());
    fields.flags_offset = random_.percent(40) ? 0x4000 : 0;
    if (random_.percent(8))
      fields.flags_offset = static_cast<std::uint16_t>(random_.percent(80) ? random_.below(0x2400) : random_.next());
    if (random_.percent(10)) fields.options = ipv4_options();
  } else {
    fields.id = static_cast<std::uint16_t>(random_.percent(30) ? random_.next() : 0);  // flow label
    if (random_.percent(15)) extension_headers(fields);
  }
  if (wanted_ && wanted_->rest) return *wanted_->rest;
  if (wanted_ && random_.percent(1)) segment.resize(std::min<std::size_t>(segment.size(), random_.below(20)));
  Bytes packet = ip_packet(fields, segment);
  if (wanted_ && !wanted_->error && random_.percent(10)) return cut(std::move(packet));
  if (random_.percent(wanted_ ? 2 : 10)) spoil(packet);
  return packet;
}

/// One thing wrong with an IP packet.
void Traffic::spoil(Bytes& packet) {
  const bool v4 = packet[0] >> 4 == 4;
  switch (random_.below(7)) {
    case 0:
      flip(random_, packet, 0, v4 ? 20 : 40);
      break;
    case 1:
      flip(random_, packet, 0, v4 ? 20 : 40);
      if (v4) repair_ipv4_checksum(packet, 0);
      break;
    case 2:  // a length that is a little wrong
      oracle::put16(packet, v4 ? 2 : 4, oracle::get16(packet, v4 ? 2 : 4) + random_.below(7) - 3);
      if (v4) repair_ipv4_checksum(packet, 0);
      break;
    case 3:
      packet.resize(random_.below(packet.size() + 1));
      break;
    case 4:  // link or flow confidentiality padding
      packet.resize(packet.size() + random_.below(60), 0);
      break;
    case 5:
      flip(random_, packet, 0, 1);
      if (v4) repair_ipv4_checksum(packet, 0);
      break;
    default:
      flip(random_, packet, v4 ? 20 : 40, packet.size());
      break;
  }
}

Input Traffic::frame(const World& world, IpFields outer, View payload, bool honest) {
  const forward::PortId id{static_cast<std::uint32_t>(random_.below(3))};
  const auto port = world.ports.find(id);
  MacAddress destination = port == world.ports.end() ? any_mac() : port->second.mac;
  if (random_.percent(1)) destination = random_.percent(50) ? any_mac() : MacAddress{{255, 255, 255, 255, 255, 255}};
  outer.hops = hop_count(random_);
  if (random_.percent(30)) outer.traffic_class = traffic_class();
  if (outer.source.is_v4() && random_.percent(2)) outer.options = Bytes(4 * random_.between(1, 10), 1);
  if (outer.source.is_v4() && random_.percent(40)) outer.flags_offset = 0x4000;
  if (outer.source.is_v4() && random_.percent(1)) outer.flags_offset = static_cast<std::uint16_t>(random_.next());
  if (outer.source.is_v6() && random_.percent(1)) {
    outer.first_header = 44;
    oracle::add8(outer.options, outer.protocol);
    oracle::add(outer.options, Bytes{0, 0, 1, 0, 0, 0, 9});
  }
  Input input{id, ethernet(destination, any_mac(), outer.source.is_v4() ? 0x0800 : 0x86dd, ip_packet(outer, payload))};
  if (random_.percent(5)) input.bytes.resize(input.bytes.size() + random_.below(40), 0xee);
  if (honest) return input;
  // The underlay's own faults.
  switch (random_.below(5)) {
    case 0:
      flip(random_, input.bytes, 0, 14);
      break;
    case 1:
      flip(random_, input.bytes, 14, 72);
      break;
    case 2:
    case 3:
      flip(random_, input.bytes, 14, 72);
      if (outer.source.is_v4()) repair_ipv4_checksum(input.bytes, 14);
      break;
    default:
      input.bytes.resize(random_.below(input.bytes.size() + 1));
      break;
  }
  return input;
}

Bytes Traffic::arp(const World& world, const oracle::VpcEntry& vpc) {
  const auto& end = random_.pick(world.endpoints).second;
  const auto host_port = world.host_ports.find(forward::AttachmentId::vpc(vpc.vni));
  IpAddress asked = anywhere(true);
  if (host_port != world.host_ports.end() && !host_port->second.addresses.empty() && random_.percent(90)) {
    asked = random_.pick(host_port->second.addresses);
  }
  Bytes message{0, 1, 8, 0, 6, 4, 0, random_.percent(92) ? std::uint8_t{1} : std::uint8_t{2}};
  oracle::add(message, random_.percent(95) ? end.mac.bytes : any_mac().bytes);
  oracle::add(message, end.address.bytes().first(4));
  oracle::add(message, MacAddress{}.bytes);
  oracle::add(message, asked.bytes().first(4));
  if (random_.percent(5)) message.resize(random_.below(message.size()));
  if (random_.percent(20)) message.resize(message.size() + 18, 0);
  const MacAddress to = random_.percent(60) ? MacAddress{{255, 255, 255, 255, 255, 255}}
                                            : (random_.percent(80) ? vpc.gateway_mac : any_mac());
  return ethernet(to, random_.percent(95) ? end.mac : any_mac(), 0x0806, message);
}

/// A neighbor solicitation: nearly always right in all but one thing, if at all.
Bytes Traffic::solicitation(const World& world, const oracle::VpcEntry& vpc) {
  std::vector<const oracle::EndpointEntry*> ends;
  for (const auto& [key, end] : world.endpoints) {
    if (end.vni == vpc.vni && end.address.is_v6()) ends.push_back(&end);
  }
  const oracle::EndpointEntry& end = ends.empty() || random_.percent(5) ? random_.pick(world.endpoints).second : *random_.pick(ends);
  const auto host_port = world.host_ports.find(forward::AttachmentId::vpc(vpc.vni));
  IpAddress target = anywhere(false);
  if (host_port != world.host_ports.end()) {
    for (const IpAddress& address : host_port->second.addresses) {
      if (address.is_v6() && random_.percent(90)) target = address;
    }
  }
  const IpAddress link_local = IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, random_.byte()});
  const auto last = target.bytes().subspan(13);
  const IpAddress group = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, last[0], last[1], last[2]});
  MacAddress to{{0x33, 0x33, 0xff, last[0], last[1], last[2]}};

  IpFields ip;
  ip.protocol = 58;
  ip.hops = random_.percent(95) ? std::uint8_t{255} : random_.byte();
  ip.source = end.address.is_v6() ? end.address : anywhere(false);
  const unsigned kind = static_cast<unsigned>(random_.below(10));
  if (kind < 3) ip.source = link_local;
  if (kind == 3) ip.source = IpAddress::v6({});
  ip.destination = group;
  if (random_.percent(30)) {
    to = vpc.gateway_mac;
    if (random_.percent(80)) ip.destination = random_.percent(90) ? target : random_.percent(50) ? link_local : anywhere(false);
  }
  if (random_.percent(4)) to = any_mac();
  MacAddress asker = end.mac;
  if (random_.percent(4)) asker = any_mac();
  Bytes body(target.bytes().begin(), target.bytes().end());
  if (kind == 3 ? random_.percent(5) : random_.percent(70)) {
    oracle::add(body, Bytes{1, 1});
    oracle::add(body, random_.percent(95) ? asker.bytes : any_mac().bytes);
  }
  if (random_.percent(10)) oracle::add(body, Bytes{14, 1, random_.byte(), 2, 3, 4, 5, 6});
  if (random_.percent(4)) body.resize(random_.below(body.size()));
  if (random_.percent(4)) body.resize(body.size() + random_.below(9), 0);
  const auto type = static_cast<std::uint8_t>(random_.percent(96) ? 135 : random_.between(133, 137));
  Bytes packet = ip_packet(ip, icmp(ip.source, ip.destination, type, random_.percent(97) ? std::uint8_t{0} : random_.byte(), body));
  if (random_.percent(3)) flip(random_, packet, 0, packet.size());
  if (random_.percent(20)) packet.resize(packet.size() + random_.below(20), 0);
  return ethernet(to, asker, 0x86dd, packet);
}

std::optional<Input> Traffic::from_compute_host(const World& world) {
  if (world.vpcs.empty() || world.endpoints.empty()) return std::nullopt;
  // A VM of the VPC that has an endpoint, as a rule.
  const oracle::EndpointEntry* end = &random_.pick(world.endpoints).second;
  auto home = world.vpcs.find(wanted_ ? Vni{wanted_->from.id} : end->vni);
  if (home == world.vpcs.end()) home = world.vpcs.begin();
  const oracle::VpcEntry& vpc = home->second;
  std::uint32_t vni = vpc.vni.value();
  IpAddress source = random_.percent(90) ? random_.pick(vpc.accepted_vteps) : end->vtep;
  IpAddress destination = vpc.vtep;
  std::uint16_t port = vpc.udp_port;
  bool honest = true;
  std::optional<DomainId> tag = vpc.domain;

  switch (wanted_ ? 39 : random_.below(40)) {
    case 0: {  // into another tenant's network
      const auto& other = random_.pick(world.vpcs).second;
      vni = other.vni.value();
      destination = other.vtep;
      port = other.udp_port;
      break;
    }
    case 1:
      vni ^= 1U << random_.below(24);
      break;
    case 2:  // from where no compute host is
      source = random_.percent(50) ? random_.pick(world.vpcs).second.vtep : anywhere(destination.is_v4());
      break;
    case 3: {
      const auto& other = random_.pick(world.vpcs).second;
      source = random_.pick(other.accepted_vteps);
      break;
    }
    case 4:
      destination = random_.percent(50) ? random_.pick(world.vpcs).second.vtep : anywhere(destination.is_v4());
      break;
    case 5:
      port = random_.one_of<std::uint16_t>({4789, 8472, 4788, 4500, 53});
      break;
    case 6:
      honest = false;
      tag.reset();
      break;
    default:
      break;
  }
  if (source.family() != destination.family()) source = anywhere(destination.is_v4());
  // A compute host that serves both tenants could have sent it for the other one.
  const auto meant = world.vpcs.find(Vni{vni});
  if (meant != world.vpcs.end() && meant->second.domain != vpc.domain) {
    const auto& accepted = meant->second.accepted_vteps;
    if (std::find(accepted.begin(), accepted.end(), source) != accepted.end()) tag.reset();
  }

  IpAddress inner_source = end->address;
  if (random_.percent(15)) inner_source = address_in(random_, random_.pick(vpc.prefixes));
  if (random_.percent(3)) inner_source = anywhere(random_.percent(70));
  if (random_.percent(2)) inner_source = random_.pick(world.endpoints).second.address;

  if (wanted_) inner_source = wanted_->ends.source;

  Bytes inside;
  if (!wanted_ && random_.percent(4)) {
    inside = random_.percent(50) ? arp(world, vpc) : solicitation(world, vpc);
  } else {
    const Bytes packet = inner(world, tag, vpc.domain, inner_source);
    MacAddress to = vpc.gateway_mac;
    if (random_.percent(2)) to = random_.percent(50) ? any_mac() : MacAddress{{0x33, 0x33, 0, 0, 0, 1}};
    std::uint16_t type = inner_source.is_v4() ? 0x0800 : 0x86dd;
    if (random_.percent(2)) type = random_.one_of<std::uint16_t>({0x0800, 0x86dd, 0x8100, 0x0806, 0x88cc});
    inside = ethernet(to, end->mac, type, packet);
    if (random_.percent(1)) inside.resize(random_.below(20));
  }
  std::uint32_t flags = random_.percent(95) ? 0x08000000U : static_cast<std::uint32_t>(random_.next());
  const std::uint32_t reserved = random_.percent(95) ? 0U : random_.byte();
  Bytes packet = vxlan(flags, vni << 8 | reserved, inside);
  if (random_.percent(1)) packet.resize(random_.below(10));
  IpFields outer;
  outer.source = source;
  outer.destination = destination;
  const auto checksum = destination.is_v6() || random_.percent(30) ? UdpChecksum::kRight : UdpChecksum::kNone;
  Bytes datagram =
      udp(source, destination, static_cast<std::uint16_t>(random_.between(49152, 65535)), port, packet, checksum);
  if (random_.percent(1)) oracle::put16(datagram, 4, datagram.size() + random_.below(20) - 10);
  return frame(world, outer, datagram, honest);
}

std::optional<Input> Traffic::from_site(const World& world) {
  if (world.inbound.empty()) return std::nullopt;
  auto chosen = world.inbound.begin();
  do {
    chosen = std::next(world.inbound.begin(), static_cast<std::ptrdiff_t>(random_.below(world.inbound.size())));
  } while (wanted_ && chosen->second.spec.tunnel.value() != wanted_->from.id);
  const Spi spi = chosen->first;
  const oracle::InboundSa& sa = chosen->second;
  Peer& peer = peers_[spi];
  if (!wanted_ && !peer.sent.empty() && random_.percent(5)) return random_.pick(peer.sent);

  const auto tunnel = world.tunnels.find(sa.spec.tunnel);
  std::optional<DomainId> tag;
  const DomainId domain = tunnel == world.tunnels.end() ? DomainId{1} : tunnel->second.domain;
  if (tunnel != world.tunnels.end()) tag = domain;

  // Mostly from the nets behind the site.
  std::optional<IpAddress> source;
  if (const auto table = world.routes.find(domain); table != world.routes.end() && random_.percent(90)) {
    for (int attempt = 0; attempt < 8 && !source; ++attempt) {
      if (table->second.empty()) break;
      const auto& route = random_.pick(table->second);
      const auto leads = [&sa](const auto& hop) {
        return hop.attachment == forward::AttachmentId::tunnel(sa.spec.tunnel);
      };
      if (std::any_of(route.nexthops.begin(), route.nexthops.end(), leads)) source = address_in(random_, route.prefix);
    }
  }
  if (!source && !sa.spec.source_selectors.empty()) source = random_.pick(sa.spec.source_selectors).from;
  if (!source) source = anywhere(random_.percent(75));
  if (wanted_) source = wanted_->ends.source;
  const Bytes packet = inner(world, tag, domain, *source);

  // The number: usually the next one.
  if (peer.next <= sa.seen.highest()) peer.next = sa.seen.highest() + 1;
  std::uint64_t sequence = peer.next;
  switch (random_.below(40)) {
    case 0:  // old, within the window or not
      sequence -= std::min<std::uint64_t>(sequence, random_.one_of<std::uint64_t>({1, 2, 30, 31, 32, 33, 63, 64, 65, 66,
                                                                                   127, 128, 4095, 4096, 4097, 9999}));
      break;
    case 1:  // losses
      sequence += random_.one_of<std::uint64_t>({1, 5, 63, 64, 65, 4096, 100000});
      break;
    case 2:
      sequence = random_.one_of<std::uint64_t>(
          {0, 1, 0xffffffff, std::uint64_t{1} << 32, sequence + (std::uint64_t{1} << 32)});
      break;
    default:
      break;
  }
  if (!sa.spec.esn) sequence = std::min<std::uint64_t>(sequence, 0xffffffff);
  // A number too far ahead for the receiver to guess its high half is an accident, not where the sender goes on.
  if (sequence < peer.next + (1U << 20)) peer.next = std::max(peer.next, sequence + 1);

  const std::size_t unit = sa.cipher.alignment();
  Bytes plain = oracle::esp_plaintext(packet.empty() ? Bytes(unit - 2, 0x55) : packet, unit);
  switch (random_.below(60)) {
    case 0:  // padding that is none
      plain[plain.size() - 2] = random_.byte();
      break;
    case 1:
      if (plain.size() > 4) flip(random_, plain, plain.size() - 4, plain.size() - 2);
      break;
    case 2:
      plain.back() = random_.one_of<std::uint8_t>({4, 41, 59, 6, 0, 255});
      break;
    case 3: {  // more padding than needed
      plain.resize(plain.size() - 2 - plain[plain.size() - 2]);
      const std::size_t padding = (unit - (plain.size() + 2) % unit) % unit + unit * random_.below(200 / unit);
      for (std::size_t i = 1; i <= padding; ++i) oracle::add8(plain, i);
      oracle::add8(plain, padding);
      oracle::add8(plain, source->is_v4() ? 4 : 41);
      break;
    }
    default:
      break;
  }
  Spi named = spi;
  const oracle::EspCipher* cipher = &sa.cipher;
  switch (random_.below(100)) {  // one of them: with both it would be the other site's packet
    case 0:
      named = Spi{spi.value() ^ (1U << random_.below(32))};
      break;
    case 1:
      named = random_.pick(world.inbound).first;
      break;
    case 2:
      if (const auto& other = random_.pick(world.inbound).second.cipher; plain.size() % other.alignment() == 0)
        cipher = &other;
      break;
    default:
      break;
  }
  Bytes esp = cipher->protect(named, sequence, random_.percent(99) ? sa.spec.esn : !sa.spec.esn,
                              cipher->iv_of(sequence), plain);
  if (random_.percent(2)) flip(random_, esp, 0, esp.size());
  if (random_.percent(1)) flip(random_, esp, esp.size() - 16, esp.size());
  if (random_.percent(1)) esp.resize(random_.below(esp.size()));
  if (random_.percent(1)) {
    esp = random_.percent(50) ? Bytes{0xff} : Bytes(random_.below(40), 0);  // keepalive; something of IKE's
  }

  IpFields outer;
  outer.source = sa.spec.path.source;
  outer.destination = sa.spec.path.destination;
  if (random_.percent(2)) outer.source = anywhere(outer.destination.is_v4());
  if (random_.percent(1)) outer.destination = anywhere(outer.source.is_v4());
  const bool encap = random_.percent(96) ? sa.spec.path.encap : !sa.spec.path.encap;
  outer.protocol = encap ? 17 : 50;
  const bool honest = !random_.percent(2);
  Input input;
  if (encap) {
    const std::uint16_t port =
        random_.percent(97) ? sa.spec.path.source_port : static_cast<std::uint16_t>(random_.next());
    const std::uint16_t to = random_.percent(99) ? std::uint16_t{4500} : std::uint16_t{500};
    const auto checksum = outer.source.is_v6() ? UdpChecksum::kRight : UdpChecksum::kNone;
    input = frame(world, outer, udp(outer.source, outer.destination, port, to, esp, checksum), honest);
  } else {
    input = frame(world, outer, esp, honest);
  }
  if (random_.percent(10)) peer.sent.push_back(input);
  if (peer.sent.size() > 8) peer.sent.pop_front();
  if (!narrow_) narrow_ = random_.one_of<std::pair<unsigned, unsigned>>({{1, 5}, {5, 5}, {20, 30}, {80, 95}});
  return random_.percent(narrow_->first) ? in_parts(std::move(input)) : input;
}

std::optional<Input> Traffic::from_kernel(const World& world) {
  if (world.host_ports.empty()) return std::nullopt;
  const auto& [attachment, entry] = random_.pick(world.host_ports);
  if (attachment.kind == forward::AttachmentKind::kCircuit) return from_tap(world, entry);
  const auto owner = world.tied.find(entry.port);
  std::optional<DomainId> tag;
  if (owner != world.tied.end()) tag = world.domain_of(owner->second);
  IpAddress source = anywhere(true);
  if (!entry.addresses.empty() && random_.percent(90)) source = random_.pick(entry.addresses);
  return Input{entry.port, inner(world, tag, tag.value_or(DomainId{1}), source)};
}

Input Traffic::noise(const World& world) {
  const forward::PortId id{static_cast<std::uint32_t>(random_.below(random_.percent(90) ? 3 : 40))};
  if (random_.percent(50)) {
    Bytes bytes(random_.below(200));
    for (std::uint8_t& byte : bytes) byte = random_.byte();
    const auto port = world.ports.find(id);
    if (port != world.ports.end() && bytes.size() >= 14 && random_.percent(80)) {
      std::copy(port->second.mac.bytes.begin(), port->second.mac.bytes.end(), bytes.begin());
      oracle::put16(bytes, 12, random_.one_of({0x0800U, 0x86ddU, 0x0806U, 0x8100U}));
    }
    return {id, std::move(bytes)};
  }
  IpFields outer;
  outer.source = anywhere(true);
  outer.destination = anywhere(true);
  outer.protocol = random_.one_of<std::uint8_t>({1, 6, 17, 50, 51, 44, 89});
  const Bytes rest(random_.below(80), random_.byte());
  return frame(world, outer, rest, true);
}

}  // namespace simplon::differential
