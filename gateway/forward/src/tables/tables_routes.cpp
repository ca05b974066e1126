// SPDX-License-Identifier: GPL-2.0-or-later
//
// Routes and ECMP groups.
//
// A group has 256 buckets, each of which belongs to a member; a flow's hash chooses the bucket. Two things move
// buckets, and no more of them than they must:
//
//   The route changes. The new group is made from the old one: a member that stays keeps its buckets, those of one that
//   left are dealt out to whoever has fewer than its weight asks for, and a new member takes what it is due from those
//   that have more. So a withdrawn nexthop moves its own flows and no other.
//
//   A member becomes unusable: a tunnel without outbound SA or whose peer's way is not resolved, an uplink without carrier, a
//   gateway that does not answer, an attachment that is not there. The group stays what it is, but workers see its buckets
//   with those that remain, at once and without simplond: per bucket the highest random weight (rendezvous hashing) decides,
//   so that each takes a share and a second failure moves only its own buckets. When the member is back, so are its flows.
//
// Backups own no bucket. While no other member is usable, and one of them is, they share all buckets in the same way. All
// routes with the same nexthops share a group, so what a lost link costs depends on the groups and not on the routes: one
// pointer each.
//
// Routes of a small table show with `publish_routes`, and so what they referred to before is let go of only there.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "gateway/forward/src/tables/tables_writer.h"
#include "platform/base/result.h"

namespace simplon::forward {

namespace {

constexpr std::size_t kMostHops = 64;

/// Both families behind one call: `use(fib, key)`.
template <class Use>
auto with_fib(Domain& domain, const IpPrefix& prefix, Use&& use) {
  if (prefix.address().is_v4()) return use(domain.fib4, fib_key(prefix.address().v4_value()));
  return use(domain.fib6, fib_key(prefix.address().bytes().data()));
}

using Members = std::array<std::uint8_t, EcmpGroup::kBuckets>;
using Quotas = std::array<std::size_t, kMostHops>;

/// Every hop but backups has a bucket; the rest by weight, cumulatively rounded so that all buckets are used.
Quotas quotas_of(const std::vector<NextHopEntry>& hops) {
  Quotas quotas{};
  std::uint64_t total = 0;
  std::uint64_t shared = EcmpGroup::kBuckets;
  for (const NextHopEntry& hop : hops) {
    if (hop.backup) continue;
    total += hop.weight;
    --shared;
  }
  std::uint64_t sum = 0;
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < hops.size(); ++i) {
    if (hops[i].backup) continue;
    sum += hops[i].weight;
    const std::uint64_t end = shared * sum / total;
    quotas[i] = 1 + static_cast<std::size_t>(end - given);
    given = end;
  }
  return quotas;
}

Members spread(const std::vector<NextHopEntry>& hops) {
  const Quotas quotas = quotas_of(hops);
  Members members{};
  std::size_t at = 0;
  for (std::size_t i = 0; i < hops.size(); ++i) {
    for (std::size_t n = 0; n < quotas[i]; ++n) members[at++] = static_cast<std::uint8_t>(i);
  }
  return members;
}

/// From a group in which each bucket had a hop of `had`.
Members spread_from(const std::vector<NextHopEntry>& hops, const std::vector<NextHopEntry>& had,
                    const Members& buckets) {
  const Quotas quotas = quotas_of(hops);
  Quotas have{};
  Members members{};
  std::vector<std::size_t> free;
  for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    const AttachmentId was = had[buckets[bucket]].attachment;
    std::size_t stays = kMostHops;
    for (std::size_t i = 0; i < hops.size(); ++i) {
      if (hops[i].attachment != was || hops[i].backup) continue;
      if (stays == kMostHops || (have[stays] >= quotas[stays] && have[i] < quotas[i])) stays = i;
    }
    if (stays == kMostHops) {
      free.push_back(bucket);
      continue;
    }
    members[bucket] = static_cast<std::uint8_t>(stays);
    ++have[stays];
  }
  const auto missing = [&](std::size_t i) {
    return static_cast<std::ptrdiff_t>(quotas[i]) - static_cast<std::ptrdiff_t>(have[i]);
  };
  const auto most_missing = [&] {
    std::size_t most = 0;
    for (std::size_t i = 1; i < hops.size(); ++i) {
      if (missing(i) > missing(most)) most = i;
    }
    return most;
  };
  for (const std::size_t bucket : free) {
    const std::size_t to = most_missing();
    members[bucket] = static_cast<std::uint8_t>(to);
    ++have[to];
  }
  // Only for a new member or another weight does one that stays give anything away: quotas are rounded.
  const bool only_fewer = std::all_of(hops.begin(), hops.end(), [&](const NextHopEntry& hop) {
    return std::find(had.begin(), had.end(), hop) != had.end();
  });
  if (only_fewer) return members;
  for (std::size_t bucket = 0; bucket < members.size(); ++bucket) {
    const std::size_t to = most_missing();
    if (missing(to) <= 0) break;
    const std::size_t from = members[bucket];
    if (missing(from) >= 0) continue;
    members[bucket] = static_cast<std::uint8_t>(to);
    ++have[to];
    --have[from];
  }
  return members;
}

/// The higher, the more the bucket belongs to the hop; over all buckets in proportion to the weights.
double affinity(std::size_t bucket, const NextHopEntry& hop) {
  const std::uint64_t id = (std::uint64_t{static_cast<std::uint8_t>(hop.attachment.kind)} << 32) | hop.attachment.id;
  const std::uint64_t random = mix(id, bucket) >> 11;
  return -static_cast<double>(hop.weight) / std::log((static_cast<double>(random) + 0.5) * 0x1p-53);
}

}  // namespace

bool Tables::Writer::usable(const AttachmentRecord& record) const {
  const AttachmentId id = attachment_of_slot.at(record.slot);
  if (id.kind == kViaKind) {
    const Via& via = via_of.at(id.id);
    return usable(attachments.at(AttachmentId::circuit(via.first))) &&
           state.neighbors.find(EndpointKey::of(via.first.value(), WireAddress::from(via.second))) != nullptr;
  }
  if (const auto* circuit = std::get_if<CircuitEntry>(&record.entry)) return carries(circuit->port);
  if (!std::holds_alternative<TunnelEntry>(record.entry)) return record.configured();
  if (record.outbound == nullptr) return false;
  const AdjacencyEntry& way = adjacencies.at(record.outbound->path().destination).entry;
  return way.resolved && carries(way.port);
}

PortId Tables::Writer::exit_port(const AttachmentRecord& record) const {
  const AttachmentId id = attachment_of_slot.at(record.slot);
  if (id.kind == kViaKind) return exit_port(attachments.at(AttachmentId::circuit(via_of.at(id.id).first)));
  if (const auto* circuit = std::get_if<CircuitEntry>(&record.entry)) return circuit->port;
  return record.outbound == nullptr ? kNoPort : adjacencies.at(record.outbound->path().destination).entry.port;
}

std::unique_ptr<EcmpGroup> Tables::Writer::compile_group(const GroupKey& key) const {
  auto group = std::make_unique<EcmpGroup>();
  std::array<std::uint32_t, kMostHops> slots{};
  std::array<bool, kMostHops> usable{};
  std::array<std::size_t, 2> count{};  // of usable ones: primaries, backups
  for (std::size_t i = 0; i < key.hops.size(); ++i) {
    const AttachmentRecord& record = attachments.at(key.hops[i].attachment);
    slots[i] = record.slot;
    usable[i] = this->usable(record);
    count[key.hops[i].backup ? 1 : 0] += usable[i] ? 1U : 0U;
  }
  group->on_backup = count[0] == 0 && count[1] > 0;
  const auto takes = [&](std::size_t i) { return usable[i] && key.hops[i].backup == group->on_backup; };
  const std::size_t takers = count[group->on_backup ? 1 : 0];
  std::size_t only = 0;
  while (takers == 1 && !takes(only)) ++only;
  for (std::size_t bucket = 0; bucket < EcmpGroup::kBuckets; ++bucket) {
    std::size_t member = key.members[bucket];
    if (takers == 1) {
      member = only;
    } else if (takers > 0 && !takes(member)) {
      double best = -1;
      for (std::size_t i = 0; i < key.hops.size(); ++i) {
        const double mine = takes(i) ? affinity(bucket, key.hops[i]) : -1;
        if (mine > best) {
          best = mine;
          member = i;
        }
      }
    }
    group->slots[bucket] = slots[member];
  }
  return group;
}

void Tables::Writer::regroup(const AttachmentRecord& record) {
  const auto with_it = groups_with.find(record.slot);
  if (with_it == groups_with.end()) return;
  for (const std::uint32_t slot : with_it->second) {
    std::unique_ptr<EcmpGroup> group = compile_group(group_of_slot.at(slot)->first);
    const EcmpGroup& now = *state.groups[slot].load(std::memory_order_relaxed);
    if (group->on_backup && !now.on_backup) ++switches_to_backup;
    if (group->slots == now.slots && group->on_backup == now.on_backup) continue;
    const EcmpGroup* old = state.groups[slot].exchange(group.release(), std::memory_order_acq_rel);
    state.quiescence.retire(const_cast<EcmpGroup*>(old));
    // Shortcuts through the group are in the domains of the members they lead to.
    for (const NextHopEntry& hop : group_of_slot.at(slot)->first.hops) {
      const AttachmentId member = hop_to(hop.attachment, hop.weight).attachment;
      if (member.kind != AttachmentKind::kTunnel) inside_changed(member);
    }
  }
}

void Tables::Writer::regroup_port(PortId port) {
  for (const auto& [slot, with_it] : groups_with) {
    const AttachmentRecord& record = attachments.at(attachment_of_slot.at(slot));
    if (exit_port(record) == port) regroup(record);
  }
}

std::uint32_t Tables::Writer::refer_group(GroupKey key) {
  const auto [place, is_new] = groups.try_emplace(std::move(key));
  if (is_new) {
    const std::uint32_t slot = group_slots.allocate();
    if (slot == 0) {
      groups.erase(place);
      return 0;
    }
    place->second.slot = slot;
    group_of_slot[slot] = place;
    for (const NextHopEntry& hop : place->first.hops) {
      AttachmentRecord& record = attachments.at(hop.attachment);
      ++record.references;
      groups_with[record.slot].insert(slot);
    }
    state.groups[slot].store(compile_group(place->first).release(), std::memory_order_release);
  }
  ++place->second.references;
  return place->second.slot;
}

RouteValue Tables::Writer::compile_route(const RouteEntry& route, RouteValue before) {
  using Action = RouteValue::Action;
  if (route.action == RouteAction::kUnreachable) return {Action::kUnreachable, 0};
  Hops hops;
  for (const NextHopEntry& hop : route.nexthops) hops.push_back({target_of(hop), hop.weight, {}, hop.backup});
  std::sort(hops.begin(), hops.end());
  const auto settle = [&](std::size_t first_hops) {
    for (std::size_t i = 0; i < first_hops; ++i) settle_attachment(hops[i].attachment);
  };
  for (std::size_t i = 0; i < hops.size(); ++i) {
    const AttachmentId target = hops[i].attachment;
    const AttachmentRecord* record = attachment(target);
    if (record == nullptr) {
      settle(i);
      for (; i < hops.size(); ++i) {
        if (hops[i].attachment.kind == kViaKind && via_of.contains(hops[i].attachment.id)) forget_via(hops[i].attachment);
      }
      return {Action::kNone, 0};
    }
    if (target.kind == kViaKind && record->references == 0) publish_via(via_of.at(target.id));
  }
  if (route.action == RouteAction::kLocal || hops.size() == 1) {
    AttachmentRecord& record = attachments.at(hops.front().attachment);
    ++record.references;
    return {route.action == RouteAction::kLocal ? Action::kLocal : Action::kForward, record.slot};
  }

  GroupKey key;
  if (before.action() == Action::kGroup) {
    const GroupKey& had = group_of_slot.at(before.slot())->first;
    key.members = had.hops == hops ? had.members : spread_from(hops, had.hops, had.members);
  } else if (before.action() == Action::kForward) {
    key.members = spread_from(hops, {{attachment_of_slot.at(before.slot()), 1, {}}}, Members{});
  } else {
    key.members = spread(hops);
  }
  key.hops = hops;
  const std::uint32_t slot = refer_group(std::move(key));
  if (slot == 0) settle(hops.size());
  return {slot == 0 ? Action::kNone : Action::kGroup, slot};
}

void Tables::Writer::drop_route_value(RouteValue value) {
  using Action = RouteValue::Action;
  switch (value.action()) {
    case Action::kNone:
    case Action::kUnreachable:
      return;
    case Action::kForward:
    case Action::kLocal:
      drop_attachment(attachment_of_slot.at(value.slot()));
      return;
    case Action::kGroup:
      break;
  }
  const auto place = group_of_slot.at(value.slot());
  if (--place->second.references > 0) return;
  const EcmpGroup* old = state.groups[value.slot()].exchange(nullptr, std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<EcmpGroup*>(old));
  group_slots.release(value.slot(), state.quiescence);
  group_of_slot.erase(value.slot());
  const Hops hops = place->first.hops;
  groups.erase(place);
  for (const NextHopEntry& hop : hops) {
    const auto with_it = groups_with.find(attachments.at(hop.attachment).slot);
    if (with_it != groups_with.end()) {  // a hop may be there twice
      with_it->second.erase(value.slot());
      if (with_it->second.empty()) groups_with.erase(with_it);
    }
  }
  for (const NextHopEntry& hop : hops) drop_attachment(hop.attachment);
}

void Tables::Writer::publish_routes() {
  for (const auto& [id, domain] : std::exchange(unpublished, {})) {
    domain->fib4.publish();
    domain->fib6.publish();
    changed(id);
  }
  if (replaced.empty()) return;
  for (const RouteValue value : std::exchange(replaced, {})) drop_route_value(value);
}

Result<void> Tables::upsert_route(const RouteEntry& route) {
  const auto name = [&] { return "route " + route.prefix.to_string(); };
  if (route.domain.value() == 0) return fail(ErrorCode::kInvalidConfig, name() + ": domain 0 is not a domain");
  if (route.action == RouteAction::kForward && (route.nexthops.empty() || route.nexthops.size() > kMostHops)) {
    return fail(ErrorCode::kInvalidConfig,
                name() + ": " + std::to_string(route.nexthops.size()) + " nexthops, must be 1 to 64");
  }
  if (route.action == RouteAction::kLocal && route.nexthops.size() != 1) {
    return fail(ErrorCode::kInvalidConfig, name() + ": a local route names exactly one attachment");
  }
  const bool only_backups = std::all_of(route.nexthops.begin(), route.nexthops.end(), [](const auto& hop) { return hop.backup; });
  if (only_backups && route.action != RouteAction::kUnreachable) {
    return fail(ErrorCode::kInvalidConfig, name() + ": all nexthops are backups, one at least must be none");
  }
  for (const NextHopEntry& hop : route.nexthops) {
    if (hop.weight == 0) {
      return fail(ErrorCode::kInvalidConfig, name() + ": " + hop.attachment.to_string() + " has weight 0");
    }
    if (hop.gateway && hop.attachment.kind != AttachmentKind::kCircuit) {
      return fail(ErrorCode::kInvalidConfig, name() + ": " + hop.attachment.to_string() + " has no gateways");
    }
    if (hop.gateway && (hop.gateway->is_unspecified() || hop.gateway->is_multicast())) {
      return fail(ErrorCode::kInvalidConfig, name() + ": " + hop.gateway->to_string() + " cannot be a gateway");
    }
  }
  if (auto room = room_for_domains(writer_->domains); !room) return room;
  const auto known = route.nexthops.size() > 1 ? writer_->domains.find(route.domain) : writer_->domains.end();
  const RouteValue before(
      known == writer_->domains.end() ? 0 : with_fib(*known->second.object, route.prefix, [&](auto& fib, auto key) {
        return fib.exact(key, route.prefix.length());
      }));
  const RouteValue value = writer_->compile_route(route, before);
  if (value.action() == RouteValue::Action::kNone) {
    return fail(ErrorCode::kExhausted, "all " + std::to_string(kMaxAttachments - 1) + " attachments or all " +
                                           std::to_string(kMaxGroups - 1) + " ECMP groups are in use");
  }
  Writer::DomainRecord& record = writer_->domain(route.domain);
  const std::uint32_t old = with_fib(*record.object, route.prefix, [&](auto& fib, auto key) {
    const bool was_published = fib.published();
    const std::uint32_t replaced = fib.upsert(key, route.prefix.length(), value.raw());
    if (was_published && !fib.published()) writer_->unpublished.emplace_back(route.domain, record.object);
    return replaced;
  });
  if (old == 0) {
    ++record.references;
    ++writer_->routes;
  } else {
    writer_->replaced.emplace_back(old);
  }
  if (old != value.raw()) writer_->changed(route.domain);
  return {};
}

std::optional<RouteEntry> Tables::route(DomainId domain, const IpPrefix& prefix) const {
  using Action = RouteValue::Action;
  const auto found = writer_->domains.find(domain);
  if (found == writer_->domains.end()) return std::nullopt;
  const RouteValue value(
      with_fib(*found->second.object, prefix, [&](auto& fib, auto key) { return fib.exact(key, prefix.length()); }));
  RouteEntry route{domain, prefix, RouteAction::kForward, {}};
  switch (value.action()) {
    case Action::kNone:
      return std::nullopt;
    case Action::kUnreachable:
      route.action = RouteAction::kUnreachable;
      return route;
    case Action::kGroup:
      for (const NextHopEntry& hop : writer_->group_of_slot.at(value.slot())->first.hops) {
        route.nexthops.push_back(writer_->hop_to(hop.attachment, hop.weight));
        route.nexthops.back().backup = hop.backup;
      }
      return route;
    case Action::kLocal:
      route.action = RouteAction::kLocal;
      break;
    case Action::kForward:
      break;
  }
  route.nexthops = {writer_->hop_to(writer_->attachment_of_slot.at(value.slot()), 1)};
  return route;
}

void Tables::remove_route(DomainId domain, const IpPrefix& prefix) {
  const auto found = writer_->domains.find(domain);
  if (found == writer_->domains.end()) return;
  const std::uint32_t old = with_fib(*found->second.object, prefix, [&](auto& fib, auto key) {
    const bool was_published = fib.published();
    const std::uint32_t removed = fib.remove(key, prefix.length());
    if (was_published && !fib.published()) writer_->unpublished.emplace_back(domain, found->second.object);
    return removed;
  });
  if (old == 0) return;
  --writer_->routes;
  writer_->replaced.emplace_back(old);
  writer_->changed(domain);
  writer_->drop_domain(domain);
}

}  // namespace simplon::forward
