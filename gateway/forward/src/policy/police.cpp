// SPDX-License-Identifier: GPL-2.0-or-later
//
// Policy: who may talk to whom, at what rate, and under which addresses. The way of a packet through a domain that has
// policy, in order:
//
//   1. netmap of the attachment it came from: from here on it has the domain's addresses
//   2. reverse path: does its source lead back?
//   3. its connection, if there is one; else destination NAT
//   4. the route. What is for us goes to the host port now: neither lists nor rates touch BGP, BFD or a ping to the gateway
//   5. the rate of the attachment it came from
//   6. access lists of both attachments, unless the connection is covered
//   7. the rate of the attachment it leaves through: what a list denies uses nothing of it
//   8. a new connection, source NAT, the new addresses
//   9. netmap of the attachment it leaves through
//
// Of several workers each has the connections of its own; packets of the others' are handed over before all that (hand_over.h).
//
// Lists see the domain's own addresses: behind destination NAT, in front of source NAT. What the kernel sends through a
// host port, and our own ICMP errors, do not come by here.
#include <algorithm>
#include <array>
#include <optional>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/policy/policy_notes.h"
#include "gateway/forward/src/workers/crew.h"
#include "gateway/forward/src/workers/hand_over.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {
namespace {

using Action = RouteValue::Action;
using Cause = PolicyNotes::Cause;

/// One packet in this stage, and what has been found out about it.
struct Passage {
  Burst& burst;
  ConnectionTable& connections;
  const DomainPolicy& policy;
  const Domain& domain;
  unsigned number;
  Transit& packet;
  Flow flow;
  ConnectionTable::Found found;
  /// Behind destination NAT, in front of source NAT, in the direction of the packet.
  FlowKey inside;
  /// Who sent the packet, in front of source NAT; of an error that is somebody on the way.
  AddressWords sender{};
  const NatRules::Destination* published = nullptr;
  /// The attachment it leaves through, and the slot that says how: with which gateway, on a circuit.
  std::uint32_t egress = 0;
  std::uint32_t exit = 0;
  /// The connection that it began, or 0.
  std::uint32_t begun = 0;
  /// For whoever looks at the packet; nullptr, nearly always.
  PolicyNotes* notes = nullptr;

  void leave_through(std::uint32_t slot) noexcept {
    exit = slot;
    egress = attachment_behind(burst.tables, slot);
  }
  [[nodiscard]] const AttachmentPolicy* policy_of(std::uint32_t slot) const noexcept {
    return burst.tables.policies[slot].load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint32_t now() const noexcept { return static_cast<std::uint32_t>(burst.now_seconds); }
  void drop(Drop reason) const noexcept { burst.drop(number, reason); }
  [[nodiscard]] bool is_v4() const noexcept { return packet.inner.family == 4; }

  /// Keeps the addresses as they came, for ICMP errors about the packet.
  void keep_original() noexcept {
    if (packet.translated) return;
    packet.translated = true;
    burst.originals[number] = ends_of(packet);
  }
};

/// By what a packet gets other addresses: a rule's place, if it is one rule.
struct Reason {
  Cause cause;
  std::uint16_t rule = kNoPlace;
};

[[gnu::cold, gnu::noinline]] void note_translation(const Passage& passage, Reason reason, const Ipv4Ends& before) noexcept {
  PolicyNotes::Translation translation;
  translation.cause = reason.cause;
  translation.rules[0] = reason.rule;
  const NatRules& nat = passage.policy.nat;
  if (reason.cause == Cause::kNetmapIn) translation.rules = nat.places_in(passage.packet.ingress, before);
  if (reason.cause == Cause::kNetmapOut) translation.rules = nat.places_out(passage.egress, before);
  translation.before = before;
  translation.after = ends_of(passage.packet);
  passage.notes->add(translation);
}

/// The packet gets the addresses and ports of `to`. Of an ICMP error, those of the packet it quotes become the reverse of
/// `to`, and its own become `own`. False: it was dropped.
[[nodiscard]] bool translate(Passage& passage, Reason reason, const Ipv4Ends& to, const Ipv4Ends& own) noexcept {
  const Ipv4Ends before = passage.notes == nullptr ? Ipv4Ends{} : ends_of(passage.packet);
  if (passage.flow.kind != FlowKind::kIcmpError) {
    passage.keep_original();
    rewrite(passage.packet, to);
  } else if (!rewrite_error(passage.packet, own, to.reversed())) {
    passage.drop(Drop::kIcmpErrorChecksum);
    return false;
  }
  if (passage.notes != nullptr) note_translation(passage, reason, before);
  return true;
}

/// An error comes from somewhere on the way. Its source is hidden where that of the flow is (RFC 5508 REQ-5), else kept.
[[nodiscard]] bool translate(Passage& passage, Reason reason, const FlowKey& to) noexcept {
  const Ipv4Ends ends = Ipv4Ends::of(to);
  Ipv4Ends own = ends;
  if (to.source == passage.flow.key.source) own.source = static_cast<std::uint32_t>(passage.packet.inner.source.low);
  return translate(passage, reason, ends, own);
}

/// Ends of the flow the packet belongs to: of an error, those of the packet it is about, reversed.
[[nodiscard]] Ipv4Ends flow_ends(const Passage& passage) noexcept {
  return passage.flow.kind == FlowKind::kIcmpError ? Ipv4Ends::of(passage.flow.key) : ends_of(passage.packet);
}

void describe(Passage& passage) noexcept {
  passage.flow = describe_flow(passage.packet.bytes(), passage.packet.inner, passage.policy.domain);
}

/// 1 and 9: `map` says what becomes of two ends. A packet that keeps its addresses is left as it is, right or wrong.
template <class Map>
[[nodiscard]] bool map_ends(Passage& passage, Cause cause, Map&& map) noexcept {
  const Ipv4Ends ends = flow_ends(passage);
  const Ipv4Ends own = ends_of(passage.packet);
  Ipv4Ends mapped = ends;
  Ipv4Ends own_mapped = own;
  map(mapped);
  map(own_mapped);
  return (mapped == ends && own_mapped == own) || translate(passage, {cause}, mapped, own_mapped);
}

[[nodiscard]] bool map_in(Passage& passage) noexcept {
  const NatRules& nat = passage.policy.nat;
  if (!passage.is_v4() || nat.netmaps.empty()) return true;
  const auto map = [&](Ipv4Ends& ends) { nat.map_in(passage.packet.ingress, ends, passage.burst.worker); };
  if (!map_ends(passage, Cause::kNetmapIn, map)) return false;
  describe(passage);
  return true;
}

[[nodiscard]] bool map_out(Passage& passage) noexcept {
  const NatRules& nat = passage.policy.nat;
  if (!passage.is_v4() || nat.netmaps.empty()) return true;
  describe(passage);
  return map_ends(passage, Cause::kNetmapOut, [&](Ipv4Ends& ends) { nat.map_out(passage.egress, ends, passage.burst.worker); });
}

[[nodiscard]] bool leads_to(const Burst& burst, RouteValue value, std::uint32_t slot) noexcept {
  if (value.action() == Action::kForward) return attachment_behind(burst.tables, value.slot()) == slot;
  if (value.action() != Action::kGroup) return false;
  const EcmpGroup* group = burst.tables.groups[value.slot()].load(std::memory_order_acquire);
  return group != nullptr && std::any_of(group->slots.begin(), group->slots.end(), [&](std::uint32_t member) {
           return attachment_behind(burst.tables, member) == slot;
         });
}

/// 2.
[[nodiscard]] bool reverse_path_ok(const Passage& passage, const AttachmentPolicy* ingress) noexcept {
  if (ingress == nullptr || ingress->reverse_path == ReversePath::kOff) return true;
  const InnerPacket& inner = passage.packet.inner;
  const RouteValue back = look_up(passage.domain, inner.source, inner.family);
  if (ingress->reverse_path == ReversePath::kStrict) return leads_to(passage.burst, back, passage.packet.ingress);
  return back.action() == Action::kForward || back.action() == Action::kGroup;
}

/// 3. False: it was dropped.
[[nodiscard]] bool find_connection(Passage& passage) noexcept {
  Flow& flow = passage.flow;
  passage.inside = flow.key;
  passage.sender = passage.packet.inner.source;
  if (flow.kind != FlowKind::kTracked && flow.kind != FlowKind::kIcmpError) return true;
  passage.found = passage.connections.find(flow.key);
  if (passage.notes != nullptr) passage.notes->connection = PolicyNotes::Tracked::kNone;
  if (passage.found.index != 0) {
    const Connection& connection = passage.connections[passage.found.index];
    const unsigned direction = passage.found.direction;
    const FlowKey inside = connection.inside();
    passage.inside = direction == 0 ? inside : inside.reversed();
    const FlowKey to = connection.keys[1 - direction].load().reversed();
    return to == flow.key || translate(passage, {Cause::kConnection}, to);
  }
  if (flow.kind != FlowKind::kTracked || !passage.is_v4()) return true;
  passage.published = passage.policy.nat.destination(flow.key);
  if (passage.published == nullptr) return true;
  passage.inside = passage.published->apply(flow.key);
  return translate(passage, {Cause::kDestination, passage.published->place}, passage.inside);
}

/// 4. True: it is to leave through `egress`. False: it is for us, or was dropped.
[[nodiscard]] bool find_egress(Passage& passage) noexcept {
  const InnerPacket& inner = passage.packet.inner;
  const RouteValue value = look_up(passage.domain, inner.destination, inner.family);
  const bool leaves = value.action() == Action::kForward || value.action() == Action::kGroup;
  if (passage.is_v4() && value.action() != Action::kLocal &&
      passage.policy.nat.is_outside(static_cast<std::uint32_t>(inner.destination.low))) {
    passage.drop(Drop::kNatNoMapping);
    return false;
  }
  if (!leaves || inner.hops <= 1) {
    send_on(passage.burst, passage.number, passage.packet, value);
    return false;
  }
  const std::uint32_t slot = exit_slot(passage.burst.tables, value, passage.packet.flow_hash);
  if (slot == 0) {
    passage.drop(Drop::kNoAttachment);
    return false;
  }
  passage.leave_through(slot);
  return true;
}

/// What one attachment's limit says.
[[nodiscard]] bool admits(const Passage& passage, AclDirection direction, const RateEntry& rate, Policer& policer) noexcept {
  const bool conforms = passage.burst.described
                            ? !policer.exhausted(passage.burst.now_ns)
                            : policer.admit(rate, passage.packet.length, passage.burst.now_ns, passage.burst.worker);
  if (passage.notes != nullptr) {
    PolicyNotes::Side& side = passage.notes->sides[direction == AclDirection::kFrom ? 0 : 1];
    side.limit = rate;
    side.rate = conforms ? PolicyNotes::Rate::kConforms : PolicyNotes::Rate::kExceeds;
  }
  return conforms || passage.burst.described;
}

/// 5.
[[nodiscard]] bool within_rate_from(const Passage& passage, const AttachmentPolicy* ingress) noexcept {
  return ingress == nullptr || !ingress->limited_from ||
         admits(passage, AclDirection::kFrom, ingress->from, ingress->runtime->from);
}

/// 7.
[[nodiscard]] bool within_rate_to(const Passage& passage, const AttachmentPolicy* egress) noexcept {
  return egress == nullptr || !egress->limited_to || admits(passage, AclDirection::kTo, egress->to, egress->runtime->to);
}

[[nodiscard]] AclPacket acl_packet(const Passage& passage) noexcept {
  const InnerPacket& inner = passage.packet.inner;
  AclPacket packet{passage.inside.source, passage.inside.destination, inner.family, inner.protocol, 0, 0};
  if (passage.flow.kind == FlowKind::kIcmpError) {
    packet.source = passage.sender;
    packet.destination = inner.destination;
  }
  if (inner.protocol == (inner.family == 4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6)) {
    packet.destination_port = passage.flow.icmp_type;
  } else if (passage.flow.kind == FlowKind::kTracked) {
    packet.source_port = passage.inside.source_port();
    packet.destination_port = passage.inside.destination_port();
  }
  return packet;
}

/// What one attachment's list says.
struct Verdict {
  bool pass = true;
  bool stateful = false;
  std::uint32_t revision = 0;
};

[[gnu::cold, gnu::noinline]] void note_list(const Passage& passage, AclDirection direction, std::uint32_t slot, const Acl* acl,
                                            PolicyNotes::List how, const AclDecision& decision) noexcept {
  PolicyNotes::Side& side = passage.notes->sides[direction == AclDirection::kFrom ? 0 : 1];
  side.list = how;
  side.decision = decision;
  side.acl = slot;
  side.revision = acl == nullptr ? 0 : acl->revision();
}

[[nodiscard]] Verdict judge(const Passage& passage, const AttachmentPolicy* policy, AclDirection direction,
                            const AclPacket& packet) noexcept {
  if (policy == nullptr || policy->acl == 0) return {};
  const Acl* acl = passage.burst.tables.acls[policy->acl].load(std::memory_order_acquire);
  if (acl == nullptr) {
    if (passage.notes != nullptr) note_list(passage, direction, policy->acl, acl, PolicyNotes::List::kMissing, {});
    return {false, false, 0};
  }
  const AclDecision decision = acl->decide(direction, packet, passage.burst.worker);
  if (passage.notes != nullptr) note_list(passage, direction, policy->acl, acl, PolicyNotes::List::kAsked, decision);
  return {decision.allow, decision.stateful, acl->revision()};
}

/// What rules look at in the first packet of a connection.
[[nodiscard]] AclPacket first_packet(const Connection& connection) noexcept {
  const FlowKey first = connection.inside();
  AclPacket packet{first.source, first.destination, first.family(), first.protocol(), first.source_port(),
                   first.destination_port()};
  if (packet.protocol == (packet.family == 4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6)) {
    packet.source_port = 0;
    packet.destination_port = packet.family == 4 ? wire::kIcmpEcho : wire::kIcmpv6Echo;
  }
  return packet;
}

[[nodiscard]] AclDirection first_direction(unsigned side) noexcept { return side == 0 ? AclDirection::kFrom : AclDirection::kTo; }

/// Packets of a connection come from, or leave through, another attachment than before: the route there has other nexthops, or one of
/// several is gone (a backup, ECMP). An ICMP error may come from anywhere.
[[nodiscard]] bool may_move(const Passage& passage, unsigned side, std::uint32_t slot) noexcept {
  if (passage.flow.kind != FlowKind::kTracked) return false;
  const bool leaves = side != passage.found.direction;
  return leaves || leads_to(passage.burst, look_up(passage.domain, passage.sender, passage.packet.inner.family), slot);
}

/// The list of the attachment on `side` of the connection lets all of it pass. It said so when the connection began; a list
/// that is another one by now is asked again, and that of an attachment the connection has moved to.
[[nodiscard]] bool covered(const Passage& passage, Connection& connection, unsigned side, std::uint32_t slot,
                           const AttachmentPolicy& policy) noexcept {
  const auto bit = static_cast<std::uint8_t>(1U << side);
  const bool moved = connection.sides[side] != slot;
  if (moved && !may_move(passage, side, slot)) return false;
  const Acl* acl = passage.burst.tables.acls[policy.acl].load(std::memory_order_acquire);
  if (acl == nullptr) return false;
  if (!moved && connection.revisions[side] == acl->revision()) return (connection.covered & bit) != 0;
  const AclDecision decision = acl->decide(first_direction(side), first_packet(connection), passage.burst.worker);
  const bool all = decision.allow && decision.stateful;
  if (moved && !all) return false;
  connection.sides[side] = slot;
  connection.covered = static_cast<std::uint8_t>(all ? connection.covered | bit : connection.covered & ~bit);
  connection.revisions[side] = acl->revision();
  return all;
}

/// What the list of one of its ends says to a packet of a connection.
[[nodiscard]] bool lets_pass(const Passage& passage, AclDirection direction, const AttachmentPolicy* policy) noexcept {
  if (policy == nullptr || policy->acl == 0) return true;
  Connection& connection = passage.connections[passage.found.index];
  const bool from = direction == AclDirection::kFrom;
  const unsigned side = from ? passage.found.direction : 1 - passage.found.direction;
  if (!covered(passage, connection, side, from ? passage.packet.ingress : passage.egress, *policy)) {
    return judge(passage, policy, direction, acl_packet(passage)).pass;
  }
  if (passage.notes != nullptr) {
    const Acl* acl = passage.burst.tables.acls[policy->acl].load(std::memory_order_acquire);
    const AclDecision decision = acl == nullptr ? AclDecision{} : acl->ask(first_direction(side), first_packet(connection));
    note_list(passage, direction, policy->acl, acl, PolicyNotes::List::kConnection, decision);
  }
  return true;
}

/// 6, for a packet of a connection.
[[nodiscard]] bool connection_may_pass(const Passage& passage, const AttachmentPolicy* ingress,
                                       const AttachmentPolicy* egress) noexcept {
  return lets_pass(passage, AclDirection::kFrom, ingress) && lets_pass(passage, AclDirection::kTo, egress);
}

[[nodiscard]] bool is_vpc(const Burst& burst, std::uint32_t slot) noexcept {
  const Attachment* attachment = burst.tables.attachments[slot].object.load(std::memory_order_acquire);
  return attachment != nullptr && attachment->kind == AttachmentKind::kVpc;
}

/// Connections of its source leave through its egress under another address.
[[nodiscard]] bool source_translated(const Passage& passage) noexcept {
  const auto source = static_cast<std::uint32_t>(passage.packet.inner.source.low);
  return passage.is_v4() && passage.policy.nat.source(passage.egress, source) != nullptr;
}

/// A quarter of what an attachment may have is for those it begins: whoever knocks from outside, and be it with packets that nobody answers,
/// does not keep it from going out.
[[nodiscard]] std::uint32_t most_by_others(std::uint32_t most) noexcept { return most - most / 4; }

/// One more would be too many of those that count against the attachment, of all workers. Of two that begin at the same moment with
/// two workers neither may see the other.
[[nodiscard]] bool has_most(const Passage& passage, std::uint32_t owner, std::uint32_t most) noexcept {
  std::uint32_t all = 0;
  std::uint32_t by_others = 0;
  const auto count = [&](const ConnectionTable& table) {
    all += table.of_owner(owner);
    by_others += table.begun_by_others(owner);
  };
  if (passage.burst.crew == nullptr && !passage.burst.described) {
    count(passage.connections);
  } else {
    for (const auto& table : passage.burst.tables.connections) count(*table);
  }
  return all >= most || (passage.packet.ingress != owner && by_others >= most_by_others(most));
}

/// Of the worker's table. A packet that is only described has none: some worker's.
[[nodiscard]] bool has_share_left(const Passage& passage, std::uint32_t owner) noexcept {
  if (!passage.burst.described) return passage.connections.has_share_left(owner);
  const auto& tables = passage.burst.tables.connections;
  return std::any_of(tables.begin(), tables.end(), [owner](const auto& table) { return table->has_share_left(owner); });
}

/// 8. False: it was dropped.
[[nodiscard]] bool begin_connection(Passage& passage, const std::array<Verdict, 2>& verdicts) noexcept {
  const NatRules& nat = passage.policy.nat;
  const Transit& packet = passage.packet;
  const auto source = static_cast<std::uint32_t>(packet.inner.source.low);
  const bool turns_back = passage.published != nullptr && passage.egress == packet.ingress;
  const NatRules::Source* rule = nullptr;
  if (passage.is_v4() && !nat.sources.empty()) {
    rule = nat.source(passage.egress, source);
    if (rule == nullptr && turns_back) rule = nat.hairpin(source);
  }
  const bool stateful = verdicts[0].stateful || verdicts[1].stateful;
  if (rule == nullptr && passage.published == nullptr && !stateful) return true;
  if (!passage.flow.begins) {
    if (rule == nullptr) return true;  // a RST without connection passes as its rule says
    passage.drop(Drop::kNatNoMapping);
    return false;
  }

  // A VPC pays for its connections, whoever begins them; those without a VPC are the beginner's.
  const std::uint32_t owner =
      !is_vpc(passage.burst, packet.ingress) && is_vpc(passage.burst, passage.egress) ? passage.egress : packet.ingress;
  const AttachmentPolicy* limits = passage.policy_of(owner);
  const std::uint32_t most = limits == nullptr ? kDefaultMaxConnections : limits->max_connections;
  ConnectionTable& table = passage.connections;
  if (has_most(passage, owner, most) || !has_share_left(passage, owner)) {
    passage.drop(Drop::kConnectionLimit);
    return false;
  }
  ConnectionTable::Beginning beginning;
  beginning.keys[0] = passage.flow.key;
  FlowKey out = passage.inside;
  if (rule != nullptr) {
    if (!NatPorts::translates(packet.inner.protocol)) {
      passage.drop(Drop::kNatProtocol);
      return false;
    }
    beginning.mapping = table.nat().take(passage.flow.key, owner, rule->pool, &nat.reserved);
    if (beginning.mapping == 0) {
      passage.drop(Drop::kNatExhausted);
      return false;
    }
    const NatPorts::Mapping& mapping = table.nat()[beginning.mapping];
    out.source.low = mapping.outside;
    out.ports = (out.ports & 0xffff0000U) | byteswap(mapping.outside_port);
    rule->hits[passage.burst.worker].add();
  }
  beginning.keys[1] = out.reversed();
  // Another connection whose answers look the same: for the one who answers it is the same one, begun anew.
  if (const auto same = table.find(beginning.keys[1]); same.index != 0) table.remove(same.index);
  beginning.sides = {packet.ingress, passage.egress};
  beginning.revisions = {verdicts[0].revision, verdicts[1].revision};
  beginning.covered = static_cast<std::uint8_t>((verdicts[0].stateful ? 1U : 0U) | (verdicts[1].stateful ? 2U : 0U));
  beginning.owner = owner;
  const std::uint32_t made = table.add(beginning, passage.now());
  if (made == 0) {
    if (beginning.mapping != 0) table.nat().release(beginning.mapping);
    passage.drop(Drop::kConnectionTableFull);
    return false;
  }
  if (passage.published != nullptr) passage.published->hits[passage.burst.worker].add();
  table.note(made, 0, packet.length, passage.flow.tcp_flags, passage.now());
  passage.begun = made;
  return rule == nullptr || translate(passage, {Cause::kSource, rule->place}, out);
}

/// The first piece passed: the others may follow. `key` has the addresses it came with.
void remember_way(Passage& passage, FragmentWays::Key key) noexcept {
  FragmentWays::Way way;
  if (!identify_fragment(passage.burst, passage.packet, key)) return;
  way.key = key;
  way.worker = static_cast<std::uint16_t>(passage.burst.worker);
  way.until = passage.now() + FragmentWays::kSeconds;
  way.egress = passage.exit;
  way.egress_use = passage.burst.tables.uses[passage.exit].load(std::memory_order_acquire);
  way.translated = passage.is_v4();
  if (way.translated) {
    way.to = Ipv4Ends::of(FlowKey{passage.packet.inner.source, passage.packet.inner.destination, 0, 0});
  }
  passage.burst.fragments.remember(way, passage.now());
}

[[nodiscard]] bool asks_for_ports(const Passage& passage, const AttachmentPolicy* ingress,
                                  const AttachmentPolicy* egress) noexcept {
  if ((ingress != nullptr && ingress->acl != 0) || (egress != nullptr && egress->acl != 0)) return true;
  const auto source = static_cast<std::uint32_t>(passage.packet.inner.source.low);
  return passage.is_v4() &&
         (passage.policy.nat.source(passage.egress, source) != nullptr || passage.policy.nat.publishes(source));
}

/// It goes the way of the first piece, under whose addresses; where nothing asks for ports it needs no first piece.
void later_fragment(Passage& passage, FragmentWays::Key key, const AttachmentPolicy* ingress) noexcept {
  const FragmentWays::Way* way =
      identify_fragment(passage.burst, passage.packet, key) ? passage.burst.fragments.find(key, passage.now()) : nullptr;
  // One that another worker has the first piece of, which came behind this one, says only that.
  const bool is_ours = way != nullptr && way->worker == passage.burst.worker;
  if (!is_ours || way->egress_use != passage.burst.tables.uses[way->egress].load(std::memory_order_acquire)) way = nullptr;
  if (way != nullptr) {
    if (way->translated && way->to != ends_of(passage.packet) && !translate(passage, {Cause::kFirstFragment}, way->to, way->to)) return;
  } else {
    if (!map_in(passage)) return;
    if (!reverse_path_ok(passage, ingress)) return passage.drop(Drop::kReversePath);
  }
  if (way != nullptr) {
    passage.leave_through(way->egress);
    if (passage.packet.inner.hops <= 1) {
      return send_on(passage.burst, passage.number, passage.packet, RouteValue(Action::kForward, way->egress));
    }
  } else if (!find_egress(passage)) {
    return;
  }
  const AttachmentPolicy* egress = passage.policy_of(passage.egress);
  if (!within_rate_from(passage, ingress)) return passage.drop(Drop::kPoliced);
  if (way == nullptr && asks_for_ports(passage, ingress, egress)) return passage.drop(Drop::kFragmentUnknown);
  if (!within_rate_to(passage, egress)) return passage.drop(Drop::kPoliced);
  if (way == nullptr && !map_out(passage)) return;
  send_on(passage.burst, passage.number, passage.packet, RouteValue(Action::kForward, passage.exit));
}

void pass(Passage& passage) noexcept {
  Transit& packet = passage.packet;
  const FragmentWays::Key came_as = datagram_of(packet, passage.policy.domain);
  const AttachmentPolicy* ingress = passage.policy_of(packet.ingress);
  if (passage.flow.kind == FlowKind::kTruncated) return passage.drop(Drop::kTransportTruncated);
  if (passage.flow.kind == FlowKind::kCutChain) return passage.drop(Drop::kIpv6HeaderChain);
  if (passage.flow.kind == FlowKind::kLaterFragment) return later_fragment(passage, came_as, ingress);
  if (!map_in(passage)) return;
  if (!reverse_path_ok(passage, ingress)) return passage.drop(Drop::kReversePath);
  if (!find_connection(passage) || !find_egress(passage)) return;
  const AttachmentPolicy* egress = passage.policy_of(passage.egress);
  if (!within_rate_from(passage, ingress)) return passage.drop(Drop::kPoliced);
  if (passage.found.index != 0) {
    if (!connection_may_pass(passage, ingress, egress)) return passage.drop(Drop::kAclDenied);
    if (!within_rate_to(passage, egress)) return passage.drop(Drop::kPoliced);
    if (passage.flow.kind == FlowKind::kTracked) {
      passage.connections.note(passage.found.index, passage.found.direction, packet.length, passage.flow.tcp_flags,
                               passage.now());
    }
  } else {
    const AclPacket seen = acl_packet(passage);
    const Verdict out = judge(passage, ingress, AclDirection::kFrom, seen);
    if (!out.pass) return passage.drop(Drop::kAclDenied);
    const Verdict in = judge(passage, egress, AclDirection::kTo, seen);
    if (!in.pass) return passage.drop(Drop::kAclDenied);
    if (!within_rate_to(passage, egress)) return passage.drop(Drop::kPoliced);
    if (passage.flow.kind != FlowKind::kTracked) {
      // ICMP without an identifier, or about no connection (RFC 5508 REQ-5): it would show the inner address.
      if (source_translated(passage)) return passage.drop(Drop::kNatProtocol);
    } else if (!begin_connection(passage, {out, in})) {
      return;
    }
  }
  if (!map_out(passage)) return;
  if (packet.inner.fragment) remember_way(passage, came_as);
  send_on(passage.burst, passage.number, packet, RouteValue(Action::kForward, passage.exit));
}

[[gnu::cold, gnu::noinline]] void tell(const Passage& passage) noexcept {
  PolicyNotes& notes = *passage.notes;
  notes.described = passage.burst.described;
  notes.domain = passage.policy.domain;
  notes.sides[0].slot = passage.packet.ingress;
  notes.sides[1].slot = passage.egress;
  const std::uint32_t index = passage.found.index != 0 ? passage.found.index : passage.begun;
  if (index != 0) {
    const Connection& connection = passage.connections[index];
    notes.connection = passage.begun != 0 ? PolicyNotes::Tracked::kNew : PolicyNotes::Tracked::kExisting;
    notes.direction = passage.found.direction;
    notes.state = static_cast<ConnectionState>(std::uint8_t{connection.state});
    notes.keys = {connection.keys[0].load(), connection.keys[1].load()};
    const std::uint32_t lives = ConnectionTable::lifetime(notes.keys[0].protocol(), notes.state);
    notes.seconds = lives - std::min(lives, passage.now() - std::min<std::uint32_t>(passage.now(), connection.last_seen));
  }
  passage.burst.watch->policed(passage.burst, passage.number, notes);
}

}  // namespace

void police(Burst& burst) noexcept {
  ConnectionTable& connections = *burst.connections;
  connections.expire(static_cast<std::uint32_t>(burst.now_seconds));
  if (burst.crew != nullptr && !burst.taken_over) hand_over(burst);
  for (unsigned i = 0; i < burst.policed.size(); ++i) {
    const Transit& packet = burst.packets[burst.policed[i]];
    const DomainPolicy* policy = packet.attachment->domain->policy.load(std::memory_order_acquire);
    Flow& flow = burst.flows[burst.policed[i]];
    if (policy == nullptr) {
      flow = {};  // of domain 0, which is none: not described
      continue;
    }
    flow = describe_flow(packet.bytes(), packet.inner, policy->domain);
    connections.prefetch(flow.key);
  }
  for (unsigned i = 0; i < burst.policed.size(); ++i) {
    const unsigned number = burst.policed[i];
    Transit& packet = burst.packets[number];
    const Domain& domain = *packet.attachment->domain;
    const DomainPolicy* policy = domain.policy.load(std::memory_order_acquire);
    if (policy == nullptr) {  // it went away since ip_forward
      send_on(burst, number, packet, look_up(domain, packet.inner.destination, packet.inner.family));
      continue;
    }
    Passage passage{burst, connections, *policy, domain, number, packet, burst.flows[number], {}, {}};
    if (policy->domain != burst.flows[number].key.domain()) describe(passage);  // it came, or came back, since then
    std::optional<PolicyNotes> notes;
    if (burst.watch != nullptr) passage.notes = &notes.emplace();
    pass(passage);
    if (passage.notes != nullptr) tell(passage);
  }
}

}  // namespace simplon::forward
