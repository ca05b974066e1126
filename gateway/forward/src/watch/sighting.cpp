// SPDX-License-Identifier: GPL-2.0-or-later
//
// A packet is followed by its number in the burst. Queues are not emptied by the stage that takes from them, so "the stage
// saw it" is "it is in a queue that the stage takes from". What a Transit holds beyond what a stage has written is left over
// from an earlier packet: `look` reads only what the stages up to then have written.
#include "gateway/forward/src/watch/sighting.h"

#include <algorithm>

#include "gateway/forward/src/path/pipeline.h"
#include "gateway/forward/src/watch/filtered_flow.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

[[nodiscard]] bool contains(const Burst::Queue& queue, unsigned number) noexcept {
  return std::find(queue.begin(), queue.end(), number) != queue.end();
}

[[nodiscard]] bool takes(const Burst& burst, Stage stage, unsigned number) noexcept {
  for (const auto from : stage_info(stage).from) {
    if (from != nullptr && contains(burst.*from, number)) return true;
  }
  return false;
}

[[nodiscard]] bool is_answers(Stage stage) noexcept {
  return stage == Stage::kResolveAnswers || stage == Stage::kPmtuAnswers;
}

void take_outer(Sighting& seen, const Transit& packet) noexcept {
  seen.outer_family = packet.outer_family;
  if (packet.outer_family == 0) return;
  seen.outer_source = packet.outer_source();
  seen.outer_destination = packet.outer_destination();
}

void take_sa(Sighting& seen, const Sa& sa) noexcept {
  seen.has_sa = true;
  seen.sa = {};
  seen.sa.spi = sa.spi();
  seen.sa.inbound = sa.direction() == SaDirection::kInbound;
  seen.sa.esn = sa.esn();
  seen.sa.suite = sa.suite();
  seen.sa.sequence = sa.runtime().sequence.load(std::memory_order_relaxed);
  if (const CompiledSaPath* path = sa.compiled()) {
    seen.sa.encap = path->encap;
    seen.sa.source = path->source;
    seen.sa.destination = path->destination;
  }
}

/// What `resolve` found, up to where it dropped the packet.
void take_exit(Sighting& seen, const Transit& packet) noexcept {
  if (packet.attachment == nullptr || seen.drop == Drop::kNoAttachment) return;
  const bool vpc = packet.attachment->kind == AttachmentKind::kVpc;
  if (vpc && packet.endpoint != nullptr) {
    seen.has_endpoint = true;
    seen.endpoint = *packet.endpoint;
  }
  if (!vpc && packet.sa != nullptr) take_sa(seen, *packet.sa);
  const bool looked = !seen.dropped || (seen.drop != Drop::kEndpointUnknown && seen.drop != Drop::kSaMissing &&
                                        seen.drop != Drop::kOutboundSelector);
  if (looked && packet.adjacency != nullptr) {
    seen.has_adjacency = true;
    seen.adjacency = *packet.adjacency;
  }
}

}  // namespace

bool Recorder::wants(const Burst& burst, unsigned number) const noexcept {
  const Transit& packet = burst.packets[number];
  return wanted_ && packet.ingress == wanted_->ingress &&
         burst.tables.uses[wanted_->ingress].load(std::memory_order_acquire) == wanted_->use && !packet.originated && packet.inner.family != 0 &&
         wanted_->filter.passes(flow_of(packet.inner));
}

Recorder::Followed* Recorder::find(unsigned number) noexcept {
  const auto end = followed_.begin() + static_cast<std::ptrdiff_t>(following_);
  const auto found = std::find_if(followed_.begin(), end, [number](const Followed& f) { return f.number == number; });
  return found == end ? nullptr : &*found;
}

void Recorder::follow(unsigned number, Sighting::Role role) noexcept {
  if (following_ < kMostFollowed) followed_[following_++] = {number, role, true, false};
}

Sighting* Recorder::look(const Burst& burst, const Followed& followed, Stage stage) noexcept {
  if (count_ == kMostSightings) return nullptr;
  const Transit& packet = burst.packets[followed.number];
  Sighting& seen = sightings_[count_++];
  seen.stage = stage;
  seen.role = followed.role;
  seen.from_host = packet.from_host;
  seen.to_host = contains(burst.to_host, followed.number);
  seen.port = packet.port;
  seen.length = packet.length;
  seen.mtu = packet.mtu;
  seen.flow_hash = packet.flow_hash;
  seen.ingress = packet.ingress;
  seen.egress = packet.egress;
  seen.inner = packet.inner;
  if (stage <= Stage::kEspDecrypt) take_outer(seen, packet);
  if (!wanted_ && stage == Stage::kClassify && contains(burst.vxlan_in, followed.number)) {
    const wire::VxlanHeader* header = wire::parse_vxlan(packet.bytes());
    seen.vni = header == nullptr ? 0 : header->vni();
  }
  if (stage >= Stage::kEspLookup && stage <= Stage::kIpForward && packet.sa != nullptr) take_sa(seen, *packet.sa);
  const auto bytes = std::min<std::size_t>(packet.length, seen.head.size());
  std::copy_n(packet.data, bytes, seen.head.begin());
  seen.head_bytes = static_cast<std::uint8_t>(bytes);
  return &seen;
}

void Recorder::catch_up(const Burst& burst, unsigned number, Stage until) noexcept {
  follow(number, Sighting::Role::kPacket);
  const Followed& followed = followed_[0];
  const Transit& packet = burst.packets[number];
  look(burst, followed, Stage::kClassify);
  if (packet.from_host) return;
  if (packet.sa != nullptr && until >= Stage::kEspDecrypt) {
    look(burst, followed, Stage::kEspLookup);
    look(burst, followed, Stage::kEspDecrypt);
  } else {
    const bool circuit = packet.attachment != nullptr && packet.attachment->kind == AttachmentKind::kCircuit;
    look(burst, followed, circuit ? Stage::kCircuitDecap : Stage::kVxlanDecap);
  }
}

void Recorder::entering(Burst& burst, Stage stage) noexcept {
  if (stage == Stage::kPmtu && running_ == Stage::kTransmit) {
    // A further turn: others have the numbers of the fragments now.
    const auto end = followed_.begin() + static_cast<std::ptrdiff_t>(following_);
    following_ = static_cast<std::size_t>(
        std::remove_if(followed_.begin(), end, [](const Followed& f) { return f.role == Sighting::Role::kFragment; }) -
        followed_.begin());
  }
  running_ = stage;
  used_before_ = burst.used;
  if (stage == Stage::kClassify && !wanted_ && following_ == 0) follow(0, Sighting::Role::kPacket);
}

void Recorder::look_for_fragments(const Burst& burst) noexcept {
  const InnerPacket& whole = burst.packets[followed_[0].number].inner;
  for (unsigned number = used_before_; number < burst.used; ++number) {
    const InnerPacket& inner = burst.packets[number].inner;
    if (burst.packets[number].originated && inner.source == whole.source && inner.destination == whole.destination &&
        inner.protocol == whole.protocol && inner.ports == whole.ports) {
      follow(number, Sighting::Role::kFragment);
    }
  }
}

void Recorder::passed(Burst& burst, Stage stage) noexcept {
  if (done()) return;
  if (following_ == 0) {
    if (stage != Stage::kEspDecrypt) return;
    for (const Burst::Queue* queue : {&burst.inner, &burst.resolving}) {
      for (const unsigned number : *queue) {
        if (following_ == 0 && wants(burst, number)) catch_up(burst, number, stage);
      }
    }
    return;
  }
  if (stage == Stage::kPmtu) look_for_fragments(burst);
  for (std::size_t i = 0; i < following_; ++i) {
    Followed& followed = followed_[i];
    if (stage == Stage::kIcmpErrors && followed.unanswered) {
      followed.unanswered = false;
      // Made in the frame of the packet it is about.
      if (!burst.packets[followed.number].originated) continue;
      followed.role = Sighting::Role::kAnswer;
      followed.alive = true;
      look(burst, followed, stage);
      continue;
    }
    if (!followed.alive || !takes(burst, stage, followed.number)) continue;
    if (is_answers(stage) && followed.role != Sighting::Role::kAnswer) continue;
    Sighting* seen = look(burst, followed, stage);
    if (seen != nullptr && stage >= Stage::kResolve && stage != Stage::kTransmit) {
      take_exit(*seen, burst.packets[followed.number]);
    }
  }
}

void Recorder::dropped(const Burst& burst, unsigned number, Drop reason) noexcept {
  if (done()) return;
  if (following_ == 0 && wants(burst, number)) catch_up(burst, number, running_);
  Followed* followed = find(number);
  if (followed == nullptr || !followed->alive) return;
  followed->alive = false;
  followed->unanswered = !burst.packets[number].originated;
  // One that was chosen just now is in the stage that drops it.
  if (wanted_ && running_ <= Stage::kEspDecrypt && count_ > 0 && sightings_[count_ - 1].stage == running_) --count_;
  Sighting* seen = look(burst, *followed, running_);
  if (seen == nullptr) return;
  seen->dropped = true;
  seen->drop = reason;
  const bool resolving = running_ == Stage::kResolve || running_ == Stage::kResolveAnswers;
  if (resolving || running_ == Stage::kPmtu || running_ >= Stage::kVxlanEncap) take_exit(*seen, burst.packets[number]);
}

void Recorder::handed_over(const Burst& burst, unsigned number) noexcept {
  if (done() || luggage_ == nullptr || find(number) == nullptr) return;
  static std::uint8_t being_packed;
  const std::uint8_t* none = nullptr;
  if (luggage_->frame_.compare_exchange_strong(none, &being_packed, std::memory_order_acquire)) {
    luggage_->count_ = count_;
    std::copy_n(sightings_.begin(), count_, luggage_->sightings_.begin());
    luggage_->frame_.store(burst.packets[number].data, std::memory_order_release);
  }
  following_ = 0;
  count_ = 0;
}

void Recorder::taken_over(const Burst& burst, unsigned number) noexcept {
  if (luggage_ == nullptr || luggage_->frame_.load(std::memory_order_acquire) != burst.packets[number].data) return;
  if (!done() && following_ == 0) {
    count_ = luggage_->count_;
    std::copy_n(luggage_->sightings_.begin(), count_, sightings_.begin());
    follow(number, Sighting::Role::kPacket);
  }
  luggage_->frame_.store(nullptr, std::memory_order_release);
}

void Recorder::policed(const Burst&, unsigned number, const PolicyNotes& notes) noexcept {
  if (!done() && find(number) != nullptr) policy_ = notes;
}

void Recorder::ended(const Burst&) noexcept {
  if (following_ != 0) done_.store(true, std::memory_order_release);
}

}  // namespace simplon::forward
