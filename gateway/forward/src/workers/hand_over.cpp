// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/workers/hand_over.h"

#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/workers/crew.h"
#include "gateway/forward/src/workers/shard.h"

namespace simplon::forward {
namespace {

/// The slot of the attachment that packets to the address leave through; 0: none.
[[nodiscard]] std::uint32_t exit_of(const Burst& burst, const Domain& domain, const Transit& packet,
                                    const AddressWords& to) noexcept {
  const std::uint32_t slot = exit_slot(burst.tables, look_up(domain, to, packet.inner.family), packet.flow_hash);
  return slot == 0 ? 0 : attachment_behind(burst.tables, slot);
}

[[nodiscard]] unsigned worker_of_flow(const Burst& burst, const Domain& domain, const DomainPolicy& policy,
                                      const Transit& packet, FlowKey key) noexcept {
  if (packet.inner.family == 4 && !policy.nat.netmaps.empty()) {
    const Ipv4Ends ends = policy.nat.mapped_in(packet.ingress, Ipv4Ends::of(key));
    key.source.low = ends.source;
    key.destination.low = ends.destination;
  }
  if (const std::uint32_t* stray = find_stray(burst.tables.strays, key); stray != nullptr) return *stray;
  const auto exit = [&](const AddressWords& to) { return exit_of(burst, domain, packet, to); };
  return worker_of(policy.nat, key, packet.ingress, exit, burst.crew->workers());
}

/// Who is to go on with the packet.
[[nodiscard]] unsigned find_worker(Burst& burst, const Transit& packet) noexcept {
  const Domain& domain = *packet.attachment->domain;
  const DomainPolicy* policy = domain.policy.load(std::memory_order_acquire);
  if (policy == nullptr || !policy->tracks) return burst.worker;
  const Flow flow = describe_flow(packet.bytes(), packet.inner, policy->domain);
  FragmentWays::Key piece = datagram_of(packet, policy->domain);
  const auto now = static_cast<std::uint32_t>(burst.now_seconds);
  if (flow.kind == FlowKind::kLaterFragment) {
    const FragmentWays::Way* way = identify_fragment(burst, packet, piece) ? burst.fragments.find(piece, now) : nullptr;
    return way == nullptr ? burst.worker : way->worker;
  }
  if (flow.kind != FlowKind::kTracked && flow.kind != FlowKind::kIcmpError) return burst.worker;
  const unsigned worker = worker_of_flow(burst, domain, *policy, packet, flow.key);
  if (worker != burst.worker && packet.inner.fragment && identify_fragment(burst, packet, piece)) {
    FragmentWays::Way way;
    way.key = piece;
    way.until = now + FragmentWays::kSeconds;
    way.worker = static_cast<std::uint16_t>(worker);
    burst.fragments.remember(way, now);
  }
  return worker;
}

}  // namespace

void hand_over(Burst& burst) noexcept {
  const Burst::Queue waiting = burst.policed;
  burst.policed.clear();
  bool handed = false;
  for (const unsigned number : waiting) {
    const Transit& packet = burst.packets[number];
    const unsigned worker = find_worker(burst, packet);
    if (worker == burst.worker) {
      burst.policed.push(number);
      continue;
    }
    HandOverRing& ring = burst.crew->ring(burst.worker, worker);
    if (ring.full()) {
      burst.drop(number, Drop::kWorkerBusy);
      continue;
    }
    burst.counters.handed_over.add();
    if (burst.watch != nullptr) burst.watch->handed_over(burst, number);
    const Attachment& from = *packet.attachment;
    ring.push({packet.data, packet.ingress, from.id, from.kind, from.domain, packet.flow_hash, packet.port, packet.length, packet.inner});
    handed = true;
  }
  if (!handed) return;
  for (unsigned worker = 0; worker < burst.crew->workers(); ++worker) {
    if (worker != burst.worker && !burst.crew->ring(burst.worker, worker).empty()) burst.crew->wake(worker);
  }
}

std::size_t take_over(Burst& burst, unsigned from, std::size_t most, FairShare* shares) noexcept {
  burst.taken_over = true;
  const std::size_t count = burst.crew->ring(from, burst.worker).take(most, [&burst, shares](const HandedOver& item) {
    const unsigned number = burst.add();
    Transit& packet = burst.packets[number];
    packet.data = item.data;
    packet.ingress = item.ingress;
    packet.flow_hash = item.flow_hash;
    packet.port = item.port;
    packet.length = item.length;
    packet.inner = item.inner;
    packet.attachment = burst.tables.attachments[item.ingress].object.load(std::memory_order_acquire);
    if (burst.watch != nullptr) burst.watch->taken_over(burst, number);
    const Attachment* found = packet.attachment;
    const bool same = found != nullptr && found->id == item.attachment && found->kind == item.kind &&
                      found->domain == item.domain;
    if (!same) {  // it went away, or to another domain, while the packet was on its way
      packet.ingress = 0;
      return burst.drop(number, Drop::kNoAttachment);
    }
    if (shares != nullptr && !shares->admit(item.ingress, item.length)) return burst.drop(number, Drop::kOverShare);
    burst.policed.push(number);
  });
  burst.counters.taken_over.add(count);
  return count;
}

}  // namespace simplon::forward
