// SPDX-License-Identifier: GPL-2.0-or-later
//
// Policy, as docs/policy.md has it: who may talk to whom, at what rate and under which addresses. In this order: a
// whole transport header; netmap of where it came from; the way back; its connection, or destination NAT; an outer
// address that belongs to nothing; route and hop limit; the rate of where it came from; lists; the rate of where it goes; a new
// connection; netmap of where it goes.
//
// Lists see the domain's own addresses: behind destination NAT, in front of source NAT. What is for us passes none.
#include <algorithm>
#include <set>

#include "tests/differential/oracle/oracle.h"

namespace simplon::oracle {

using forward::AclDirection;
using forward::Drop;
using forward::NatKind;
using forward::NatRuleEntry;

struct Oracle::Passage {
  Inside packet;
  DomainId domain;
  Talk talk;
  /// As it came, but for netmap; behind destination NAT and in front of source NAT.
  Ends found_as, inside;
  /// Addresses in the same sense; not those of `inside` for an error, which comes from anybody.
  IpAddress source, destination;
  std::optional<std::pair<PolicyState::Id, unsigned>> found;
  const NatRuleEntry* published = nullptr;
  Hop egress;
  PolicyState::Datagram datagram;
};

namespace {

enum class Way : std::uint8_t { kIn, kOut };

std::uint64_t seconds(std::uint64_t nanoseconds) { return nanoseconds / 1'000'000'000; }

const std::vector<NatRuleEntry>& nat_rules(const World& world, DomainId domain) {
  static const std::vector<NatRuleEntry> none;
  const auto nat = world.nats.find(domain);
  return nat == world.nats.end() ? none : nat->second.rules;
}

IpAddress moved(const IpAddress& address, const IpPrefix& from, const IpPrefix& to) {
  const std::uint32_t host = from.length() == 0 ? ~std::uint32_t{0} : ~(~std::uint32_t{0} << (32 - from.length()));
  return IpAddress::v4((to.address().v4_value() & ~host) | (address.v4_value() & host));
}

/// One to one, by the first rule that matches. An attachment knows our addresses under those of `outside` (kNetmap); we
/// know its addresses under those of `inside` (kNetmapRemote).
IpAddress netmapped(const World& world, DomainId domain, AttachmentId attachment, Way way, bool is_source,
                    const IpAddress& address) {
  const NatKind kind = (way == Way::kIn) == is_source ? NatKind::kNetmapRemote : NatKind::kNetmap;
  for (const NatRuleEntry& rule : nat_rules(world, domain)) {
    if (rule.kind != kind || rule.attachment != attachment) continue;
    const IpPrefix& from = way == Way::kIn ? rule.outside : rule.inside;
    if (from.contains(address)) return moved(address, from, way == Way::kIn ? rule.inside : rule.outside);
  }
  return address;
}

/// Nobody but a translation leads to it.
bool is_outside(const World& world, DomainId domain, const IpAddress& address) {
  const auto& rules = nat_rules(world, domain);
  return std::any_of(rules.begin(), rules.end(), [&](const NatRuleEntry& rule) {
    return (rule.kind == NatKind::kSource || rule.kind == NatKind::kDestination) && rule.outside.contains(address);
  });
}

bool is_source_of(const NatRuleEntry& rule, const IpAddress& address) {
  return rule.kind == NatKind::kSource &&
         (rule.sources.empty() || std::any_of(rule.sources.begin(), rule.sources.end(),
                                              [&](const IpPrefix& p) { return p.contains(address); }));
}

const NatRuleEntry* source_rule(const World& world, DomainId domain, std::optional<AttachmentId> egress,
                                const IpAddress& source) {
  for (const NatRuleEntry& rule : nat_rules(world, domain)) {
    if (is_source_of(rule, source) && (!egress || rule.attachment == *egress)) return &rule;
  }
  return nullptr;
}

const NatRuleEntry* published_rule(const World& world, const Ends& ends) {
  for (const NatRuleEntry& rule : nat_rules(world, ends.domain)) {
    if (rule.kind != NatKind::kDestination || rule.outside.address() != ends.destination) continue;
    if (rule.protocol && *rule.protocol != ends.protocol) continue;
    if (rule.outside_port == 0 || rule.outside_port == ends.destination_port) return &rule;
  }
  return nullptr;
}

/// Whose policy holds where a route leads. A gateway on a circuit that is not configured is on none: such a packet is
/// dropped for that (no_attachment).
AttachmentId policed_exit(const World& world, const Hop& hop) {
  if (hop.gateway && !world.domain_of(hop.attachment)) return {forward::AttachmentKind::kCircuit, 0};
  return hop.attachment;
}

/// Gives the packet (of an error: the packet it is about) these ends; an error has addresses of its own. Keeps the
/// packet as it came. False: it is an error with a wrong checksum.
template <class Inside>
bool translate(Inside& packet, const Talk& talk, const Ends& to, const IpAddress& source,
               const IpAddress& destination) {
  if (talk.sort == Sort::kError) {
    if (!readdress_error(packet.bytes, packet.ip, source, destination, to.back())) return false;
  } else {
    readdress(packet.bytes, packet.ip, to);
    if (packet.ip.has_ports) {
      packet.ip.flow.source_port = to.source_port;
      packet.ip.flow.destination_port = to.destination_port;
    }
  }
  packet.ip.flow.source = source;
  packet.ip.flow.destination = destination;
  return true;
}

template <class Inside>
bool netmap(const World& world, Inside& packet, Talk& talk, AttachmentId attachment, Way way) {
  if (packet.ip.family != 4) return true;
  const auto map = [&](bool is_source, const IpAddress& address) {
    return netmapped(world, talk.ends.domain, attachment, way, is_source, address);
  };
  const IpAddress source = map(true, packet.ip.flow.source);
  const IpAddress destination = map(false, packet.ip.flow.destination);
  Ends to = talk.ends;
  if (talk.sort == Sort::kError) {
    to.source = map(true, to.source);
    to.destination = map(false, to.destination);
  } else {
    to.source = source;
    to.destination = destination;
  }
  if (to == talk.ends && source == packet.ip.flow.source && destination == packet.ip.flow.destination) return true;
  if (!translate(packet, talk, to, source, destination)) return false;
  talk.ends = to;
  return true;
}

bool leads_to(const World& world, DomainId domain, const IpAddress& destination, AttachmentId attachment) {
  const RouteEntry* route = world.route_to(domain, destination);
  if (route == nullptr || route->action != forward::RouteAction::kForward) return false;
  const std::vector<Hop> hops = world.taking_part(*route);
  return std::any_of(hops.begin(), hops.end(), [attachment](const Hop& hop) { return hop.attachment == attachment; });
}

/// RFC 3704 sections 2.2 (strict, with all ways that are as good) and 2.4 (loose).
bool leads_back(const World& world, DomainId domain, AttachmentId ingress, const IpAddress& source) {
  const auto policy = world.policies.find(ingress);
  if (policy == world.policies.end() || policy->second.reverse_path == forward::ReversePath::kOff) return true;
  const RouteEntry* back = world.route_to(domain, source);
  if (back == nullptr || back->action != forward::RouteAction::kForward) return false;
  return policy->second.reverse_path == forward::ReversePath::kLoose || leads_to(world, domain, source, ingress);
}

/// `dropped`: what the engine says where a meter is too near to tell.
bool within_rate(World& world, AttachmentId attachment, AclDirection direction, std::size_t bytes, std::uint64_t now,
                 const std::function<bool(Drop)>& dropped) {
  const auto policy = world.policies.find(attachment);
  if (policy == world.policies.end()) return true;
  const bool from = direction == AclDirection::kFrom;
  const forward::RateEntry& rate = from ? policy->second.from : policy->second.to;
  if (rate == forward::RateEntry{}) return true;
  auto& meters = world.policy.meters[attachment];
  Meter& meter = from ? meters.first : meters.second;
  const Meter::Verdict verdict = meter.ask(now);
  if (verdict == Meter::Verdict::kOver || (verdict == Meter::Verdict::kUnclear && dropped(Drop::kPoliced))) return false;
  meter.count(rate, bytes);
  return true;
}

/// nullopt: it has none.
std::optional<AccessList*> list_of(World& world, AttachmentId attachment) {
  const auto policy = world.policies.find(attachment);
  if (policy == world.policies.end() || policy->second.acl.empty()) return std::nullopt;
  const auto list = world.acls.find(policy->second.acl);
  return list == world.acls.end() ? nullptr : &list->second;
}

ListVerdict judge(World& world, AttachmentId attachment, AclDirection direction, const Question& question) {
  const auto list = list_of(world, attachment);
  if (!list) return {};
  if (*list == nullptr) return {false, false, 0};  // it is named, but not there
  const auto decision = (*list)->ask(direction, question);
  return {decision.allow, decision.stateful, (*list)->revision};
}

/// The whole connection may pass this side: its list said so. A list that has changed is asked again, and that of an attachment
/// which the connection has moved to.
bool covered(World& world, Connection& connection, unsigned side, AttachmentId attachment, bool may_move) {
  Side& mine = connection.sides[side];
  const bool moved = mine.attachment != attachment;
  if (moved && !may_move) return false;
  AccessList* list = list_of(world, attachment).value_or(nullptr);
  if (list == nullptr) return false;
  if (!moved && mine.revision == list->revision) return mine.covered;
  const Ends& first = connection.inside;
  Question question{first.source, first.destination, first.protocol, first.source_port, first.destination_port};
  const bool v4 = first.source.is_v4();
  if (first.protocol == (v4 ? 1 : 58)) {
    question.source_port = 0;
    question.destination_port = v4 ? 8 : 128;
  }
  const bool all = list->ask(side == 0 ? AclDirection::kFrom : AclDirection::kTo, question).stateful;
  if (moved && !all) return false;
  mine = {attachment, all, list->revision, {}};
  return all;
}

}  // namespace

void Oracle::police(Inside arrived, DomainId domain, Outcome& outcome) const {
  if (on_origin) {
    const auto vpc = world_.vpcs.find(Vni{arrived.ingress.id});
    const bool over_v6 = vpc != world_.vpcs.end() && vpc->second.vtep.is_v6();
    const bool inner_v6 = arrived.ip.family == 6;
    const bool with_v6 = (outcome.origin == Origin::kVxlan && (over_v6 || inner_v6)) || (outcome.origin == Origin::kEsp && inner_v6);
    on_origin(outcome.origin, with_v6 || (arrived.sa != nullptr && !arrived.sa->cipher.is_aead()));
  }
  PolicyState& state = world_.policy;
  state.forget(seconds(now));
  outcome.policy.seen = true;
  const AttachmentId ingress = arrived.ingress;
  const auto drop = [&](Drop why) { outcome.endings.emplace_back().drops.push_back({why, ingress}); };
  Passage passage{std::move(arrived), domain, {}, {}, {}, {}, {}, {}, nullptr, {}, {}};
  Inside& packet = passage.packet;
  packet.came = std::make_shared<const std::pair<Bytes, IpPacket>>(packet.bytes, packet.ip);
  packet.sender = packet.ip.flow.source;
  const bool v4 = packet.ip.family == 4;
  Talk& talk = passage.talk = talk_of(packet.bytes, packet.ip, domain);
  if (packet.ip.cut_chain) return drop(Drop::kIpv6HeaderChain);
  if (talk.sort == Sort::kTruncated) return drop(Drop::kTransportTruncated);
  if (packet.ip.fragment) {
    passage.datagram = {domain,
                        ingress,
                        packet.ip.flow.source,
                        packet.ip.flow.destination,
                        v4 ? packet.ip.flow.protocol : std::uint8_t{0},
                        packet.ip.fragment_id};
  }
  if (talk.sort == Sort::kLaterFragment) return police_later_fragment(passage, outcome);
  if (!netmap(world_, packet, talk, ingress, Way::kIn)) return drop(Drop::kIcmpErrorChecksum);
  packet.sender = packet.ip.flow.source;
  outcome.policy.netmapped = packet.bytes != packet.came->first;
  if (outcome.policy.netmapped) talk = talk_of(packet.bytes, packet.ip, domain);  // it has the domain's addresses now
  if (!leads_back(world_, domain, ingress, packet.ip.flow.source)) return drop(Drop::kReversePath);

  passage.found_as = passage.inside = talk.ends;
  passage.source = packet.ip.flow.source;
  if (talk.sort == Sort::kConversation || talk.sort == Sort::kError) {
    const auto known = state.by_ends.find(talk.ends);
    if (known != state.by_ends.end()) {
      passage.found = known->second;
      outcome.policy.known = true;
      outcome.policy.direction = known->second.second;
      outcome.policy.error = talk.sort == Sort::kError;
      const Connection& connection = state.connections.at(known->second.first);
      const bool forth = known->second.second == 0;
      passage.inside = forth ? connection.inside : connection.inside.back();
      const Ends to = forth ? connection.out : connection.first.back();
      // An error is from somewhere on the way. It hides whom the translation hides (RFC 5508 REQ-5).
      IpAddress source = to.source;
      if (talk.sort == Sort::kError && to.source == talk.ends.source) source = packet.ip.flow.source;
      if (to != talk.ends && !translate(packet, talk, to, source, to.destination))
        return drop(Drop::kIcmpErrorChecksum);
    } else if (talk.sort == Sort::kConversation && v4) {
      passage.published = published_rule(world_, talk.ends);
      if (passage.published != nullptr) {
        passage.inside.destination = passage.published->inside.address();
        if (passage.published->inside_port != 0) passage.inside.destination_port = passage.published->inside_port;
        (void)translate(packet, talk, passage.inside, passage.inside.source, passage.inside.destination);
      }
    }
  }
  passage.destination = talk.sort == Sort::kConversation ? passage.inside.destination : packet.ip.flow.destination;
  if (talk.sort == Sort::kConversation) passage.source = passage.inside.source;

  const RouteEntry* route = world_.route_to(domain, packet.ip.flow.destination);
  const bool ours = route != nullptr && route->action == forward::RouteAction::kLocal;
  if (v4 && !ours && is_outside(world_, domain, packet.ip.flow.destination)) return drop(Drop::kNatNoMapping);
  if (ends_here(packet, route, outcome)) return;
  passage.egress = policed_hop(passage, *route, outcome);
  const AttachmentId egress = policed_exit(world_, passage.egress);
  const auto admits = [&](AttachmentId attachment, AclDirection direction) {
    return within_rate(world_, attachment, direction, packet.bytes.size(), now, engine_.dropped);
  };
  if (!admits(ingress, AclDirection::kFrom)) return drop(Drop::kPoliced);

  Question question{passage.source, passage.destination, packet.ip.flow.protocol, 0, 0};
  if (question.protocol == (v4 ? 1 : 58)) {
    question.destination_port = talk.icmp_type;
  } else {
    question.source_port = passage.inside.source_port;
    question.destination_port = passage.inside.destination_port;
  }
  if (passage.found) {
    Connection& connection = state.connections.at(passage.found->first);
    const unsigned direction = passage.found->second;
    const auto may_pass = [&](AttachmentId attachment, unsigned side, AclDirection where) {
      const bool may_move = talk.sort == Sort::kConversation &&
                            (where == AclDirection::kTo || leads_to(world_, domain, passage.source, attachment));
      if (!list_of(world_, attachment) || covered(world_, connection, side, attachment, may_move)) return true;
      return judge(world_, attachment, where, question).pass;
    };
    if (!may_pass(ingress, direction, AclDirection::kFrom) || !may_pass(egress, 1 - direction, AclDirection::kTo)) {
      return drop(Drop::kAclDenied);
    }
    if (!admits(egress, AclDirection::kTo)) return drop(Drop::kPoliced);
    if (talk.sort == Sort::kConversation) connection.note(direction, packet.bytes.size(), talk.tcp_flags, seconds(now));
    talk.ends = direction == 0 ? connection.out : connection.first.back();
  } else {
    const ListVerdict from = judge(world_, ingress, AclDirection::kFrom, question);
    if (!from.pass) return drop(Drop::kAclDenied);
    const ListVerdict to = judge(world_, egress, AclDirection::kTo, question);
    if (!to.pass) return drop(Drop::kAclDenied);
    if (!admits(egress, AclDirection::kTo)) return drop(Drop::kPoliced);
    if (talk.sort == Sort::kConversation) {
      if (passage.published != nullptr) talk.ends = passage.inside;
      if (const auto why = begin_connection(passage, from, to, outcome)) return drop(*why);
    } else if (v4 && source_rule(world_, domain, egress, packet.ip.flow.source) != nullptr) {
      return drop(Drop::kNatProtocol);  // RFC 5508 REQ-5; other ICMP has no identifier to be told by
    }
  }
  const Ends before = talk.ends;
  if (!netmap(world_, packet, talk, egress, Way::kOut)) return drop(Drop::kIcmpErrorChecksum);
  outcome.policy.netmapped |= talk.ends != before;
  if (packet.ip.fragment) {
    state.ways.insert_or_assign(
        passage.datagram, PolicyState::Way{packet.ip.flow.source, packet.ip.flow.destination, passage.egress.attachment,
                                           passage.egress.gateway, seconds(now) + 60});
  }
  leave(std::move(packet), passage.egress, outcome);
}

/// What lists, rates and translation say depends on the nexthop, so it has to be known before; the engine may choose it, for
/// a flow as it came, once.
Hop Oracle::policed_hop(const Passage& passage, const RouteEntry& route, Outcome& outcome) const {
  const std::vector<Hop> hops = world_.taking_part(route);
  if (hops.size() == 1) return hops.front();
  const Inside& packet = passage.packet;
  const Flow& flow = packet.came->second.flow;
  const auto known = known_path_(route, flow);
  const auto chosen = engine_.nexthop(packet.ingress, packet.ip.flow.destination, route, flow);
  if (!chosen || std::find(hops.begin(), hops.end(), *chosen) == hops.end()) {
    outcome.complaint = (chosen ? chosen->attachment.to_string() : "nothing") + std::string(" is no nexthop of ") +
                        route.prefix.to_string() + " that takes packets";
    return hops.front();
  }
  if (known && *known != *chosen) {
    outcome.complaint = "a flow that took " + known->attachment.to_string() + " moved to " + chosen->attachment.to_string();
  }
  return *chosen;
}

std::optional<Drop> Oracle::begin_connection(Passage& passage, const ListVerdict& from, const ListVerdict& to,
                                             Outcome& outcome) const {
  PolicyState& state = world_.policy;
  Inside& packet = passage.packet;
  const AttachmentId ingress = packet.ingress;
  const AttachmentId egress = policed_exit(world_, passage.egress);
  const NatRuleEntry* rule = nullptr;
  if (packet.ip.family == 4) {
    rule = source_rule(world_, passage.domain, egress, packet.ip.flow.source);
    // Hairpin: the client appears under its outer address to the server on its own side.
    if (rule == nullptr && passage.published != nullptr && egress == ingress) {
      rule = source_rule(world_, passage.domain, std::nullopt, packet.ip.flow.source);
    }
  }
  if (rule == nullptr && passage.published == nullptr && !from.stateful && !to.stateful) return std::nullopt;
  if (!passage.talk.opens) return rule == nullptr ? std::nullopt : std::optional(Drop::kNatNoMapping);

  const auto is_vpc = [this](AttachmentId id) {
    return id.kind == forward::AttachmentKind::kVpc && world_.domain_of(id).has_value();
  };
  const AttachmentId owner = !is_vpc(ingress) && is_vpc(egress) ? egress : ingress;
  const auto limits = world_.policies.find(owner);
  const std::uint32_t most = limits == world_.policies.end() ? 65536 : limits->second.max_connections;
  if (state.owned_by(owner) >= most || (owner != ingress && state.begun_by_others(owner) >= most - most / 4)) {
    return Drop::kConnectionLimit;
  }
  Connection connection;
  connection.first = passage.found_as;
  connection.inside = connection.out = passage.inside;
  const auto nowhere = egress == passage.egress.attachment ? std::nullopt : std::optional(passage.egress);
  connection.sides = {Side{ingress, from.stateful, from.revision, {}}, Side{egress, to.stateful, to.revision, nowhere}};
  connection.owner = owner;
  connection.beginner = ingress;
  if (rule != nullptr) {
    const std::uint8_t protocol = connection.first.protocol;
    if (protocol != 6 && protocol != 17 && protocol != 1) return Drop::kNatProtocol;
    const auto outside = outside_of(passage, *rule, owner, outcome);
    if (!outside) return Drop::kNatExhausted;
    connection.mapping = outside;
    connection.out.source = outside->address;
    connection.out.source_port = outside->port;
    state.take({passage.domain, protocol, connection.first.source, connection.first.source_port}, *outside, owner);
    ++state.hits[passage.domain][rule->name];
  }
  // Whose answers would look the same is the same one for who answers: it begins anew.
  if (const auto same = state.by_ends.find(connection.out.back()); same != state.by_ends.end()) {
    state.remove(same->second.first);
  }
  if (passage.published != nullptr) ++state.hits[passage.domain][passage.published->name];
  outcome.policy.begun = true;
  outcome.policy.source_nat = rule != nullptr;
  outcome.policy.destination_nat = passage.published != nullptr;
  const Ends out = connection.out;
  const auto id = state.add(std::move(connection));
  state.connections.at(id).note(0, packet.bytes.size(), passage.talk.tcp_flags, seconds(now));
  if (rule != nullptr) (void)translate(packet, passage.talk, out, out.source, out.destination);
  passage.talk.ends = out;
  return std::nullopt;
}

/// The engine may choose any address of the pool and any port of a block that is the owner's or nobody's. But an inner
/// address and port have one outer (RFC 4787 REQ-1), an inner address keeps its outer one (REQ-2), and who gets none
/// must not have been able to get one.
std::optional<Outside> Oracle::outside_of(const Passage& passage, const NatRuleEntry& rule, AttachmentId owner,
                                          Outcome& outcome) const {
  const PolicyState& state = world_.policy;
  const Ends& first = passage.found_as;
  const DomainId domain = passage.domain;
  std::vector<Outside> known;
  if (const auto mapped = state.mappings.find({domain, first.protocol, first.source, first.source_port});
      mapped != state.mappings.end()) {
    for (const Mapping& mapping : mapped->second) {
      if (rule.outside.contains(mapping.outside.address)) known.push_back(mapping.outside);
    }
  }
  if (known.size() == 1) return known.front();

  const auto complain = [&outcome](std::string what) { outcome.complaint = std::move(what); };
  const auto left = [&](const IpAddress& address) {
    return state.port_left(domain, first.protocol, address, owner, rule.port_blocks);
  };
  const auto chosen = engine_.translation(first);
  if (!chosen) {
    if (!engine_.dropped(Drop::kNatExhausted)) return std::nullopt;
    // Of a large pool some addresses are tried.
    const std::uint32_t addresses = std::uint32_t{1} << std::min(31U, 32 - rule.outside.length());
    for (std::uint32_t i = 0; addresses <= 8 && i < addresses; ++i) {
      if (left(IpAddress::v4(rule.outside.address().v4_value() + i))) {
        complain("no port for " + first.source.to_string() + ", but there are some left");
        break;
      }
    }
    return std::nullopt;
  }
  const std::string name = chosen->address.to_string() + ":" + std::to_string(chosen->port);
  if (!known.empty()) {
    if (std::find(known.begin(), known.end(), *chosen) == known.end())
      complain(name + " is none of the mappings there are");
    return chosen;
  }
  const auto block =
      state.blocks.find({domain, chosen->address, (chosen->port - PolicyState::kFirstPort) / PolicyState::kBlockPorts});
  if (!rule.outside.contains(chosen->address)) {
    complain(name + " is not of the pool");
  } else if (chosen->port < PolicyState::kFirstPort) {
    complain(name + " is a well-known port");
  } else if (state.taken.contains({domain, chosen->address, first.protocol, chosen->port})) {
    complain(name + " is in use by another");
  } else if (block != state.blocks.end() && block->second.first != owner) {
    complain(name + " is in a block of " + block->second.first.to_string());
  } else if (block == state.blocks.end() && state.blocks_of(domain, chosen->address, owner) >= rule.port_blocks) {
    complain(name + ": a block too many");
  }
  // RFC 4787 REQ-2. It may have several: of VPCs whose addresses are the same each has blocks of its own.
  std::set<IpAddress> outside;
  for (auto mapping = state.mappings.lower_bound({domain, first.protocol, first.source, 0});
       mapping != state.mappings.end() && std::get<0>(mapping->first) == domain &&
       std::get<1>(mapping->first) == first.protocol && std::get<2>(mapping->first) == first.source;
       ++mapping) {
    for (const Mapping& other : mapping->second) outside.insert(other.outside.address);
  }
  if (outside.contains(chosen->address)) return chosen;
  for (const IpAddress& address : outside) {
    if (rule.outside.contains(address) && left(address)) {
      complain(name + ", but " + first.source.to_string() + " is " + address.to_string() + " outside");
    }
  }
  return chosen;
}

/// It goes the way of the first piece, and under its addresses; where nothing asks for ports it needs none. The engine
/// remembers some of them only.
void Oracle::police_later_fragment(Passage& passage, Outcome& outcome) const {
  PolicyState& state = world_.policy;
  Inside& packet = passage.packet;
  const AttachmentId ingress = packet.ingress;
  const auto drop = [&](Drop why) { outcome.endings.emplace_back().drops.push_back({why, ingress}); };
  const auto admits = [&](AttachmentId attachment, AclDirection direction) {
    return within_rate(world_, attachment, direction, packet.bytes.size(), now, engine_.dropped);
  };
  const auto known = state.ways.find(passage.datagram);
  if (known != state.ways.end()) {
    const bool forgotten = engine_.dropped(Drop::kFragmentUnknown) || engine_.dropped(Drop::kNatNoMapping);
    ++(forgotten ? state.forgotten : state.followed);
    if (!forgotten) {
      const PolicyState::Way way = known->second;
      Ends to = passage.talk.ends;
      to.source = way.source;
      to.destination = way.destination;
      if (packet.ip.family == 4) (void)translate(packet, passage.talk, to, to.source, to.destination);
      if (packet.ip.hops <= 1) {
        Ending ending;
        ending.drops.push_back({Drop::kTtlExpired, ingress});
        return answer(packet, Answer::kTimeExceeded, 0, std::move(ending), outcome);
      }
      const AttachmentId egress = policed_exit(world_, {way.egress, way.gateway});
      if (!admits(ingress, AclDirection::kFrom) || !admits(egress, AclDirection::kTo)) return drop(Drop::kPoliced);
      return leave(std::move(packet), {way.egress, way.gateway}, outcome);
    }
  }
  (void)netmap(world_, packet, passage.talk, ingress, Way::kIn);
  packet.sender = packet.ip.flow.source;
  if (!leads_back(world_, passage.domain, ingress, packet.ip.flow.source)) return drop(Drop::kReversePath);
  const RouteEntry* route = world_.route_to(passage.domain, packet.ip.flow.destination);
  const bool ours = route != nullptr && route->action == forward::RouteAction::kLocal;
  if (packet.ip.family == 4 && !ours && is_outside(world_, passage.domain, packet.ip.flow.destination)) {
    return drop(Drop::kNatNoMapping);
  }
  if (ends_here(packet, route, outcome)) return;
  passage.egress = policed_hop(passage, *route, outcome);
  const AttachmentId egress = policed_exit(world_, passage.egress);
  if (!admits(ingress, AclDirection::kFrom)) return drop(Drop::kPoliced);
  const IpAddress& source = packet.ip.flow.source;
  const auto& rules = nat_rules(world_, passage.domain);
  const bool ports_matter =
      list_of(world_, ingress) || list_of(world_, egress) ||
      (packet.ip.family == 4 && (source_rule(world_, passage.domain, egress, source) != nullptr ||
                                 std::any_of(rules.begin(), rules.end(), [&source](const NatRuleEntry& rule) {
                                   return rule.kind == NatKind::kDestination && rule.inside.address() == source;
                                 })));
  if (ports_matter) return drop(Drop::kFragmentUnknown);
  if (!admits(egress, AclDirection::kTo)) return drop(Drop::kPoliced);
  (void)netmap(world_, packet, passage.talk, egress, Way::kOut);
  leave(std::move(packet), passage.egress, outcome);
}

}  // namespace simplon::oracle
