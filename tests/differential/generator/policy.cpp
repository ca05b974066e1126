// SPDX-License-Identifier: GPL-2.0-or-later
//
// Policy of tenants that do not know what they want, and traffic that tries it: connections with answers, errors and
// fragments, and who would like to have one.
#include <algorithm>

#include "tests/differential/generator/topology.h"
#include "tests/differential/generator/traffic.h"

namespace simplon::differential {

using forward::AclDirection;
using forward::NatKind;
using forward::NatRuleEntry;
using oracle::AttachmentId;
using oracle::Bytes;
using oracle::Ends;
using oracle::World;

namespace {

IpPrefix v4_net(unsigned a, unsigned b, unsigned c, unsigned d, unsigned length) {
  return {IpAddress::v4((a << 24) | (b << 16) | (c << 8) | d), length};
}

}  // namespace

IpPrefix Topology::tenant_prefix4() {
  for (;;) {
    const IpPrefix prefix = tenant_prefix();
    if (prefix.address().is_v4()) return prefix;
  }
}

AttachmentId Topology::attachment_of(DomainId domain) {
  for (;;) {
    const auto& [attachment, home] = random_.pick(attachments_);
    if (home == domain) return attachment;
  }
}

std::string Topology::acl_name(DomainId domain) {
  return "d" + std::to_string(domain.value()) + "-" + std::to_string(random_.below(3));
}

oracle::AclEntry Topology::acl(const std::string& name) {
  oracle::AclEntry list;
  list.name = name;
  list.allow_by_default = random_.percent(35);
  const auto number = [this](std::size_t bound) { return static_cast<std::uint16_t>(random_.below(bound)); };
  const auto prefixes = [this](std::vector<IpPrefix>& all) {
    if (random_.percent(60)) return;
    for (std::size_t i = random_.between(1, 3); i > 0; --i) all.push_back(tenant_prefix());
  };
  for (std::size_t i = random_.between(0, 7); i > 0; --i) {
    forward::AclRuleEntry rule;
    rule.name = "r" + std::to_string(random_.below(50)) + "-" + std::to_string(i);
    rule.allow = random_.percent(70);
    rule.direction = random_.percent(60) ? AclDirection::kFrom : AclDirection::kTo;
    rule.stateful = random_.percent(70);
    if (random_.percent(55)) rule.protocol = random_.one_of<std::uint8_t>({6, 6, 17, 17, 1, 58, 47});
    prefixes(rule.sources);
    prefixes(rule.destinations);
    const bool ports = rule.protocol == 6 || rule.protocol == 17;
    if (ports && random_.percent(20))
      rule.source_ports.push_back({number(8), static_cast<std::uint16_t>(8 + number(60000))});
    if (ports && random_.percent(40)) {
      for (std::size_t n = random_.between(1, 3); n > 0; --n) {
        const std::uint16_t first = number(16);
        rule.destination_ports.push_back({first, static_cast<std::uint16_t>(first + number(5))});
      }
    }
    if ((rule.protocol == 1 || rule.protocol == 58) && random_.percent(50)) {
      const std::uint16_t first = random_.one_of<std::uint16_t>({8, 0, 3, 11, 128, 129, 1});
      rule.destination_ports.push_back({first, static_cast<std::uint16_t>(first + number(2))});
    }
    list.rules.push_back(std::move(rule));
  }
  // Half of the lists are as people write them: what begins here may.
  if (random_.percent(50)) {
    forward::AclRuleEntry out;
    out.name = "out";
    out.allow = true;
    out.direction = random_.percent(80) ? AclDirection::kFrom : AclDirection::kTo;
    list.rules.push_back(std::move(out));
  }
  return list;
}

oracle::PolicyEntry Topology::policy(AttachmentId attachment, DomainId domain) {
  oracle::PolicyEntry entry;
  entry.attachment = attachment;
  entry.domain = domain;
  if (random_.percent(65)) entry.acl = random_.percent(97) ? acl_name(domain) : "none such";
  if (random_.percent(35)) {
    entry.reverse_path = random_.percent(50) ? forward::ReversePath::kLoose : forward::ReversePath::kStrict;
  }
  const auto rate = [this](forward::RateEntry& limit) {
    if (!random_.percent(14)) return;
    if (random_.percent(60)) limit.bits_per_second = random_.between(50'000, 4'000'000);
    if (random_.percent(60)) limit.packets_per_second = random_.between(20, 900);
  };
  rate(entry.from);
  rate(entry.to);
  if (random_.percent(18)) entry.max_connections = static_cast<std::uint32_t>(random_.between(0, 30));
  return entry;
}

oracle::NatEntry Topology::nat(DomainId domain) {
  oracle::NatEntry nat;
  nat.domain = domain;
  const auto tenant = static_cast<unsigned>(domain.value() % 200);
  unsigned number = 0;
  const auto rule = [&](NatKind kind) -> NatRuleEntry& {
    NatRuleEntry& added = nat.rules.emplace_back();
    added.name = "n" + std::to_string(number++) + "-" + std::to_string(static_cast<unsigned>(kind));
    added.kind = kind;
    if (kind != NatKind::kDestination) added.attachment = attachment_of(domain);
    return added;
  };
  for (std::size_t i = random_.between(0, 3); i > 0; --i) {
    NatRuleEntry& source = rule(NatKind::kSource);
    if (random_.percent(50)) source.sources.push_back(tenant_prefix4());
    // The same or disjoint: of two that overlap an inner address may have one address each.
    source.outside = random_.one_of({v4_net(100, 64, tenant, 0, 30), v4_net(100, 64, tenant, 4, 32),
                                     v4_net(100, 64, tenant, 8, 32), v4_net(100, 64, tenant, 16, 28)});
    if (random_.percent(30)) source.port_blocks = random_.one_of<std::uint16_t>({1, 1, 2, 0});
  }
  for (std::size_t i = random_.between(0, 4); i > 0; --i) {
    NatRuleEntry& service = rule(NatKind::kDestination);
    service.outside = v4_net(100, 64, tenant, 200 + static_cast<unsigned>(random_.below(3)), 32);
    if (random_.percent(10)) service.outside = v4_net(100, 64, tenant, 0, 32);  // that of the pool
    IpAddress inside = address_in(random_, tenant_prefix4());
    if (!hosts_.empty()) {
      const auto& [home, address] = random_.pick(hosts_);
      if (home == domain && address.is_v4()) inside = address;
    }
    service.inside = IpPrefix::host(inside);
    if (random_.percent(65)) {
      service.protocol = random_.percent(50) ? std::uint8_t{6} : std::uint8_t{17};
      service.outside_port = static_cast<std::uint16_t>(random_.between(1, 15));
      if (random_.percent(80)) service.inside_port = static_cast<std::uint16_t>(random_.between(1, 15));
    }
  }
  for (std::size_t i = random_.percent(40) ? random_.between(1, 3) : 0; i > 0; --i) {
    NatRuleEntry& map = rule(random_.percent(50) ? NatKind::kNetmap : NatKind::kNetmapRemote);
    const IpPrefix tenant_net = tenant_prefix4();
    const auto net = static_cast<unsigned>(random_.below(2));
    const IpPrefix foreign = random_.percent(85) ? v4_net(100, 70 + net, tenant, 0, tenant_net.length())
                                                 : IpPrefix(tenant_prefix4().address(), tenant_net.length());
    const bool remote = map.kind == NatKind::kNetmapRemote;
    map.inside = remote ? foreign : tenant_net;
    map.outside = remote ? tenant_net : foreign;
  }
  return nat;
}

void Topology::add_policy(Changes& changes, DomainId domain) {
  for (unsigned i = 0; i < 3; ++i)
    changes.emplace_back(acl("d" + std::to_string(domain.value()) + "-" + std::to_string(i)));
  for (const auto& [attachment, home] : attachments_) {
    if (home == domain && random_.percent(55)) changes.emplace_back(policy(attachment, domain));
  }
  if (random_.percent(75)) add_nat(changes, domain);
}

void Topology::add_nat(Changes& changes, DomainId domain) {
  oracle::NatEntry entry = nat(domain);
  for (const NatRuleEntry& rule : entry.rules) {
    if (rule.kind != NatKind::kNetmapRemote) continue;
    changes.emplace_back(oracle::RouteEntry{
        domain, rule.inside, forward::RouteAction::kForward, {{rule.attachment, 1, gateway_if(rule.attachment)}}});
  }
  changes.emplace_back(std::move(entry));
}

std::optional<IpAddress> Topology::gateway_if(AttachmentId attachment) {
  if (attachment.kind != forward::AttachmentKind::kCircuit) return std::nullopt;
  return gateway(CircuitId{attachment.id});
}

void Topology::change_policy(Changes& changes, const World& world) {
  if (policed_.empty()) return;
  const DomainId domain = random_.pick(policed_);
  const AttachmentId attachment = attachment_of(domain);
  switch (random_.below(10)) {
    case 0:
    case 1:  // a list that is there loses a rule, or gets one; the former one comes back later, perhaps
      if (const auto present = world.acls.find(acl_name(domain)); present != world.acls.end()) {
        if (!present->second.entry.rules.empty()) former_.push_back(present->second.entry);
        oracle::AclEntry list = present->second.entry;
        if (!list.rules.empty() && random_.percent(60)) {
          list.rules.erase(list.rules.begin() + static_cast<std::ptrdiff_t>(random_.below(list.rules.size())));
        } else {
          list.allow_by_default = !list.allow_by_default;
        }
        changes.emplace_back(std::move(list));
        break;
      }
      [[fallthrough]];
    case 2:
      changes.emplace_back(acl(acl_name(domain)));
      break;
    case 3:
      if (!former_.empty()) changes.emplace_back(random_.pick(former_));
      break;
    case 4:
      if (random_.percent(25)) changes.emplace_back(oracle::RemoveAcl{acl_name(domain)});
      break;
    case 5:
    case 6:
      changes.emplace_back(policy(attachment, domain));
      break;
    case 7:
      changes.emplace_back(oracle::RemovePolicy{attachment});
      break;
    case 8:
      add_nat(changes, domain);
      break;
    default:
      if (random_.percent(25)) changes.emplace_back(oracle::RemoveNat{domain});
      break;
  }
}

// Traffic.

/// The other way round from what the gateway does with packets that come in there.
Ends Traffic::as_the_attachment_has_it(const World& world, AttachmentId attachment, Ends ends) {
  const auto nat = world.nats.find(ends.domain);
  if (nat == world.nats.end() || !ends.source.is_v4()) return ends;
  bool source = false, destination = false;
  for (const NatRuleEntry& rule : nat->second.rules) {
    if (rule.attachment != attachment) continue;
    const auto move = [&rule](IpAddress& address) {
      const std::uint32_t mask = rule.outside.length() == 0 ? 0U : ~std::uint32_t{0} << (32 - rule.outside.length());
      address = IpAddress::v4((rule.outside.address().v4_value() & mask) | (address.v4_value() & ~mask));
    };
    if (rule.kind == NatKind::kNetmapRemote && !source && rule.inside.contains(ends.source)) {
      source = true;
      move(ends.source);
    }
    if (rule.kind == NatKind::kNetmap && !destination && rule.inside.contains(ends.destination)) {
      destination = true;
      move(ends.destination);
    }
  }
  return ends;
}

/// A packet of a connection, or nearly; or an error about one.
std::optional<Input> Traffic::of_connection(const World& world) {
  const oracle::Connection& connection = random_.pick(world.policy.connections).second;
  const unsigned direction = random_.percent(60) ? 1 : 0;
  Wanted wanted;
  wanted.state = connection.state;
  wanted.answer = direction == 1;
  wanted.from = connection.sides[direction].attachment;
  wanted.ends = direction == 0 ? connection.first : connection.out.back();
  if (random_.percent(12)) wanted.error = true;
  switch (random_.below(40)) {
    case 0:
      wanted.ends.source_port = static_cast<std::uint16_t>(wanted.ends.source_port ^ (1U << random_.below(4)));
      break;
    case 1:
    case 2:
      wanted.ends.destination_port =
          static_cast<std::uint16_t>(wanted.ends.destination_port ^ (1U << random_.below(4)));
      break;
    case 3:
      if (wanted.ends.source.is_v4()) wanted.ends.source = IpAddress::v4(wanted.ends.source.v4_value() ^ 1U);
      break;
    case 4:
      if (wanted.ends.protocol == 6 || wanted.ends.protocol == 17) wanted.ends.protocol ^= 6 ^ 17;
      break;
    case 5:
    case 6: {  // in at another's door
      if (world.policies.empty()) break;
      const auto home = world.domain_of(wanted.from);
      const auto& other = random_.pick(world.policies).second;
      if (home && other.domain == *home) wanted.from = other.attachment;
      break;
    }
    default:
      break;
  }
  return send_wanted(world, wanted);
}

std::optional<Input> Traffic::send_wanted(const World& world, Wanted wanted) {
  if (!world.domain_of(wanted.from)) return std::nullopt;
  wanted.ends = as_the_attachment_has_it(world, wanted.from, wanted.ends);
  wanted_ = wanted;
  std::optional<Input> made;
  if (wanted.from.kind == forward::AttachmentKind::kVpc) {
    if (!world.endpoints.empty()) made = from_compute_host(world);
  } else if (wanted.from.kind == forward::AttachmentKind::kTunnel) {
    const bool has_sa = std::any_of(world.inbound.begin(), world.inbound.end(), [&](const auto& item) {
      return item.second.spec.tunnel.value() == wanted.from.id;
    });
    if (has_sa) made = from_site(world);
  } else {
    made = from_circuit(world);
  }
  wanted_.reset();
  return made;
}

/// The first piece of the packet; the second is sent later, as a rule by who sent the first.
Bytes Traffic::cut(Bytes packet) {
  const bool v4 = packet[0] >> 4 == 4;
  const std::size_t header = v4 ? (packet[0] & 15U) * std::size_t{4} : 40;
  if (packet.size() < header + 40 || (v4 && (oracle::get16(packet, 6) & 0x3fff) != 0)) return packet;
  if (!v4 && packet[6] != wanted_->ends.protocol) return packet;  // it has extension headers
  const std::size_t first = (20 + random_.below(packet.size() - header - 30)) / 8 * 8 + 8;
  const std::size_t at = std::min(first, (packet.size() - header - 1) / 8 * 8);
  const auto id = static_cast<std::uint16_t>(random_.below(500));
  const auto piece = [&](std::size_t from, std::size_t to, bool more) {
    Bytes bytes(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(header));
    const oracle::View data = oracle::View(packet).subspan(header + from, to - from);
    if (v4) {
      oracle::put16(bytes, 2, header + data.size());
      oracle::put16(bytes, 4, id);
      oracle::put16(bytes, 6, (more ? 0x2000U : 0U) | from / 8);
      repair_ipv4_checksum(bytes, 0);
    } else {
      oracle::put16(bytes, 4, 8 + data.size());
      bytes[6] = 44;
      oracle::add8(bytes, wanted_->ends.protocol);
      oracle::add8(bytes, 0);
      oracle::add16(bytes, from | (more ? 1U : 0U));
      oracle::add32(bytes, id);
    }
    oracle::add(bytes, data);
    return bytes;
  };
  Wanted rest = *wanted_;
  rest.rest = piece(at, packet.size() - header, false);
  for (std::size_t copies = random_.percent(20) ? 2 : 1; copies > 0; --copies) rests_.push_back(rest);
  if (rests_.size() > 12) rests_.pop_front();
  return piece(0, at, true);
}

std::optional<Input> Traffic::send_rest(const World& world) {
  Wanted wanted = random_.pick(rests_);
  if (random_.percent(70)) {
    wanted = rests_.front();
    rests_.pop_front();
  }
  if (random_.percent(8) && !world.policies.empty()) {  // by somebody else
    const auto home = world.domain_of(wanted.from);
    const auto& other = random_.pick(world.policies).second;
    if (home && other.domain == *home) wanted.from = other.attachment;
  }
  return send_wanted(world, wanted);
}

/// A tenant that opens one connection after the other through source NAT, or somebody outside who tries its ports.
std::optional<Input> Traffic::scan(const World& world) {
  if (world.nats.empty()) return std::nullopt;
  const auto& nat = random_.pick(world.nats).second;
  for (const NatRuleEntry& rule : nat.rules) {
    if (rule.kind != NatKind::kSource) continue;
    Wanted wanted;
    wanted.ends.domain = nat.domain;
    wanted.ends.protocol = random_.percent(80) ? std::uint8_t{17} : std::uint8_t{6};
    const auto table = world.routes.find(nat.domain);
    if (table == world.routes.end()) return std::nullopt;
    if (random_.percent(25)) {
      wanted.from = rule.attachment;
      wanted.ends.destination = address_in(random_, rule.outside);
      wanted.ends.destination_port = static_cast<std::uint16_t>(1024 + random_.below(1024));
      wanted.ends.source_port = static_cast<std::uint16_t>(random_.below(16));
      wanted.ends.source = address_in(random_, v4_net(10, 0, 0, 0, 14));
      return send_wanted(world, wanted);
    }
    const auto out = std::find_if(table->second.begin(), table->second.end(), [&](const auto& route) {
      return route.prefix.address().is_v4() && !route.nexthops.empty() &&
             route.nexthops.front().attachment == rule.attachment;
    });
    if (out == table->second.end()) continue;
    wanted.ends.destination = out->prefix.address();
    wanted.ends.source_port = static_cast<std::uint16_t>(2000 + scanned_++ % 1500);
    wanted.ends.destination_port = 7;
    for (const auto& [key, end] : world.endpoints) {
      const auto vpc = world.vpcs.find(end.vni);
      if (vpc == world.vpcs.end() || vpc->second.domain != nat.domain || !end.address.is_v4()) continue;
      if (!rule.sources.empty() && std::none_of(rule.sources.begin(), rule.sources.end(),
                                                [&end = end](const IpPrefix& p) { return p.contains(end.address); })) {
        continue;
      }
      wanted.from = AttachmentId::vpc(end.vni);
      wanted.ends.source = end.address;
      return send_wanted(world, wanted);
    }
  }
  return std::nullopt;
}

/// What only NAT leads to.
std::optional<IpAddress> Traffic::outer_address(const World& world, DomainId domain) {
  const auto nat = world.nats.find(domain);
  if (nat == world.nats.end() || nat->second.rules.empty()) return std::nullopt;
  const NatRuleEntry& rule = random_.pick(nat->second.rules);
  return address_in(random_, rule.kind == NatKind::kNetmapRemote ? rule.inside : rule.outside);
}

/// Who calls a published service mostly knows its port.
std::optional<Ends> Traffic::service_at(const World& world, DomainId domain, const IpAddress& destination) {
  const auto nat = world.nats.find(domain);
  if (nat == world.nats.end()) return std::nullopt;
  for (const NatRuleEntry& rule : nat->second.rules) {
    if (rule.kind != NatKind::kDestination || rule.outside.address() != destination || !rule.protocol ||
        random_.percent(50))
      continue;
    return Ends{domain,           *rule.protocol, {}, destination, static_cast<std::uint16_t>(random_.below(16)),
                rule.outside_port};
  }
  return std::nullopt;
}

/// The transport header of the packet that is wanted.
Bytes Traffic::wanted_transport(const Ends& ends, const IpAddress& source, const IpAddress& destination,
                                oracle::View payload) {
  const bool v4 = source.is_v4();
  const auto state = wanted_ ? wanted_->state : forward::ConnectionState::kOpening;
  const bool answer = wanted_ && wanted_->answer;
  if (ends.protocol == 17) {
    const auto checksum = random_.one_of({UdpChecksum::kRight, UdpChecksum::kRight, UdpChecksum::kNone});
    return udp(source, destination, ends.source_port, ends.destination_port, payload, checksum);
  }
  if (ends.protocol == 6) {
    std::uint8_t flags = 0x10;
    if (state == forward::ConnectionState::kOpening) flags = answer ? 0x12 : (random_.percent(40) ? 0x10 : 0x02);
    if (random_.percent(12))
      flags = random_.one_of<std::uint8_t>({0x11, 0x14, 0x04, 0x02, 0x12, 0x00, 0x3f, 0x10, 0x29});
    return tcp(source, destination, ends.source_port, ends.destination_port, flags, {}, payload, false);
  }
  if (ends.protocol == (v4 ? 1 : 58)) {
    const bool reply = ends.destination_port != 0 && ends.source_port == 0;
    const auto type = static_cast<std::uint8_t>(v4 ? (reply ? 0 : 8) : (reply ? 129 : 128));
    Bytes message = icmp(source, destination, type, 0, payload);
    oracle::put16(message, 4, reply ? ends.destination_port : ends.source_port);
    oracle::put16(message, 2, 0);
    const std::uint16_t pseudo =
        v4 ? std::uint16_t{0} : oracle::pseudo_header_sum(source, destination, 58, message.size());
    oracle::put16(message, 2, oracle::internet_checksum(message, pseudo));
    return message;
  }
  return oracle::copy(payload);
}

/// The error's sender saw a packet of the other direction.
Bytes Traffic::wanted_error(IpFields& fields, oracle::View payload) {
  const Ends about = wanted_->ends.back();
  const bool v4 = about.source.is_v4();
  IpFields quoted;
  quoted.source = about.source;
  quoted.destination = about.destination;
  quoted.protocol = about.protocol;
  quoted.hops = 3;
  if (v4 && random_.percent(10)) quoted.options = {7, 3, 4, 0};
  if (!v4 && random_.percent(10)) extension_headers(quoted);
  if (v4 && random_.percent(6)) quoted.flags_offset = random_.percent(50) ? 0x2000 : 7;
  Bytes packet = ip_packet(quoted, wanted_transport(about, about.source, about.destination, payload));
  const std::size_t room = v4 ? 548 : 1232;
  packet.resize(std::min(packet.size(), random_.percent(30) ? random_.between(20, 60) : room));
  if (random_.percent(4) && packet.size() > 20) packet[random_.below(20)] ^= 1;
  fields.destination = about.source;
  if (random_.percent(5) && v4) fields.destination = IpAddress::v4(about.source.v4_value() ^ 1U);
  if (random_.percent(60)) fields.source = about.destination;
  fields.protocol = v4 ? 1 : 58;
  const std::uint8_t type =
      v4 ? random_.one_of<std::uint8_t>({3, 3, 11, 12, 4, 5}) : random_.one_of<std::uint8_t>({1, 1, 2, 3, 4});
  Bytes message = icmp(fields.source, fields.destination, type, 1, packet);
  if (random_.percent(5)) message[2] ^= 1;
  return message;
}

}  // namespace simplon::differential
