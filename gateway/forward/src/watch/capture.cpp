// SPDX-License-Identifier: GPL-2.0-or-later
//
// A worker copies packets into a ring of bytes between two of its stages; the control thread takes them out. One writer, one
// reader, two counters that only grow: `head_` is how much was written, `tail_` how much was taken. A record that does not
// fit before the end of the ring begins at its start; what is left there is skipped.
//
// Where a packet is its bytes tell what it was: frames are taken before classify, those of an attachment as soon as it is
// known whose they are and before they are opened, inner packets behind that, and frames to be sent before transmit.
#include "gateway/forward/capture.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/circuit_frame.h"
#include "gateway/forward/src/watch/filtered_flow.h"
#include "gateway/forward/src/watch/watch.h"
#include "gateway/forward/src/watch/watch_of_each.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

using Bytes = std::span<const std::uint8_t>;

struct RecordHeader {
  std::uint64_t time_ns;
  std::uint32_t port;
  std::uint32_t attachment;
  std::uint32_t length;
  std::uint32_t kept;
  CapturePoint point;
  bool ethernet;
  bool dropped;
  Drop drop;
  /// Nothing more before the end of the ring.
  bool skip;
};
constexpr std::size_t kAlign = 64;
[[nodiscard]] constexpr std::size_t room_for(std::size_t kept) noexcept {
  return (sizeof(RecordHeader) + kept + kAlign - 1) & ~(kAlign - 1);
}
static_assert(sizeof(RecordHeader) <= kAlign);

class Ring {
 public:
  /// Chosen by us: some tens of the longest packets.
  static constexpr std::size_t kLeast = std::size_t{256} << 10;
  /// `share`: one of so many rings.
  explicit Ring(std::size_t share) : memory_(std::max(Capture::kBufferBytes / share, kLeast) & ~(kAlign - 1)) {}

  /// Of the writer.
  void put(RecordHeader header, Bytes bytes) noexcept {
    const std::size_t need = room_for(bytes.size());
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    const std::uint64_t tail = tail_.load(std::memory_order_acquire);
    const std::size_t to_end = memory_.size() - head % memory_.size();
    const std::size_t skipped = need > to_end ? to_end : 0;
    if (head + skipped + need - tail > memory_.size()) {
      lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return;
    }
    if (skipped != 0) {
      RecordHeader skip{};
      skip.skip = true;
      std::memcpy(&memory_[head % memory_.size()], &skip, sizeof skip);
      head += skipped;
    }
    header.kept = static_cast<std::uint32_t>(bytes.size());
    std::uint8_t* at = &memory_[head % memory_.size()];
    std::memcpy(at, &header, sizeof header);
    std::copy(bytes.begin(), bytes.end(), at + sizeof header);
    head_.store(head + need, std::memory_order_release);
  }

  /// Of the reader.
  std::optional<Captured> take() {
    std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    while (tail != head_.load(std::memory_order_acquire)) {
      const std::uint8_t* at = &memory_[tail % memory_.size()];
      RecordHeader header;
      std::memcpy(&header, at, sizeof header);
      if (header.skip) {
        tail += memory_.size() - tail % memory_.size();
        tail_.store(tail, std::memory_order_release);
        continue;
      }
      Captured packet;
      packet.time_ns = header.time_ns;
      packet.point = header.point;
      packet.ethernet = header.ethernet;
      packet.port = PortId{header.port};
      packet.attachment = header.attachment;
      if (header.dropped) packet.drop = header.drop;
      packet.length = header.length;
      packet.bytes.assign(at + sizeof header, at + sizeof header + header.kept);
      tail_.store(tail + room_for(header.kept), std::memory_order_release);
      return packet;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  std::vector<std::uint8_t> memory_;
  alignas(64) std::atomic<std::uint64_t> head_{0};
  std::atomic<std::uint64_t> lost_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};
};

/// The outer IP header of a frame, behind VLAN tags if there are some, with ports; nothing if it is not IP.
[[nodiscard]] std::optional<PacketFilter::Flow> flow_of(Bytes frame) noexcept {
  const wire::EthernetHeader* ethernet = wire::parse_ethernet(frame);
  if (ethernet == nullptr) return std::nullopt;
  wire::VlanTags tags;
  const bool tagged = wire::parse_vlan_tags(frame, tags);
  const std::uint16_t type = tagged ? tags.type : ethernet->type.host();
  const Bytes packet = frame.subspan(sizeof *ethernet + (tagged ? tags.bytes : 0));
  PacketFilter::Flow flow;
  std::size_t l4 = 0;
  bool fragment = false;
  if (const auto* ip = type == wire::kEtherTypeIpv4 ? wire::parse_ipv4(packet) : nullptr) {
    flow.source = WireAddress::v4(ip->source.data()).to_ip();
    flow.destination = WireAddress::v4(ip->destination.data()).to_ip();
    flow.protocol = ip->protocol;
    l4 = ip->header_bytes();
    fragment = ip->fragment_offset() != 0;
  } else if (const auto* ip6 = type == wire::kEtherTypeIpv6 ? wire::parse_ipv6(packet) : nullptr) {
    flow.source = WireAddress::v6(ip6->source.data()).to_ip();
    flow.destination = WireAddress::v6(ip6->destination.data()).to_ip();
    flow.protocol = ip6->next_header;
    l4 = sizeof *ip6;
  } else {
    return std::nullopt;
  }
  // The ports of TCP lie where those of UDP do.
  if ((flow.protocol == wire::kProtocolUdp || flow.protocol == wire::kProtocolTcp) && !fragment && packet.size() >= l4 + sizeof(wire::UdpHeader)) {
    const auto* udp = reinterpret_cast<const wire::UdpHeader*>(packet.data() + l4);
    flow.has_ports = true;
    flow.source_port = udp->source_port.host();
    flow.destination_port = udp->destination_port.host();
  }
  return flow;
}

}  // namespace

class CaptureTap final : public Watch {
 public:
  /// `use`: of the slot, so that it is not taken for that of a later attachment.
  CaptureTap(const CaptureSpec& spec, std::uint32_t slot, std::uint32_t use, std::size_t share)
      : spec_(spec), slot_(slot), use_(use), snaplen_(std::min<std::uint32_t>(spec.snaplen, kSlotBytes)), ring_(share) {}

  [[nodiscard]] Ring& ring() noexcept { return ring_; }

  void entering(Burst& burst, Stage stage) noexcept override {
    running_ = stage;
    switch (stage) {
      case Stage::kClassify:
        notice_end(burst);
        received(burst);
        break;
      case Stage::kCircuitDecap:
        received_tagged(burst);
        break;
      case Stage::kVxlanEncap:
        inner(burst, burst.to_vpc, CapturePoint::kInnerOut);
        break;
      case Stage::kEspEncrypt:
        inner(burst, burst.to_tunnel, CapturePoint::kInnerOut);
        break;
      case Stage::kCircuitEncap:
        inner(burst, burst.to_circuit, CapturePoint::kInnerOut);
        break;
      case Stage::kTransmit:
        departing(burst);
        break;
      default:
        break;
    }
  }

  void passed(Burst& burst, Stage stage) noexcept override {
    if (stage == Stage::kClassify && slot_ != 0 && wants(CapturePoint::kWireIn)) {
      for (const unsigned number : burst.vxlan_in) {
        const Transit& packet = burst.packets[number];
        if (packet.attachment != nullptr && packet.attachment->slot == slot_) as_received(burst, packet);
      }
    }
    if (stage == Stage::kEspLookup && slot_ != 0 && wants(CapturePoint::kWireIn)) {
      for (const unsigned number : burst.esp_in) {
        const Transit& packet = burst.packets[number];
        if (packet.sa != nullptr && packet.sa->tunnel_slot() == slot_) as_received(burst, packet);
      }
    }
    if (stage == Stage::kEspDecrypt) {
      inner(burst, burst.inner, CapturePoint::kInnerIn);
      if (wants(CapturePoint::kHostIn)) inner(burst, burst.resolving, CapturePoint::kHostIn);
    }
  }

  void dropped(const Burst& burst, unsigned number, Drop reason) noexcept override {
    if (!wants(CapturePoint::kDropped) || (spec_.drop && *spec_.drop != reason)) return;
    const Transit& packet = burst.packets[number];
    const bool before_the_stages = reason == Drop::kOverShare;
    if (before_the_stages) notice_end(burst);
    if (slot_ != 0 && packet.ingress != slot_ && (before_the_stages || attachment_behind(burst.tables, packet.egress) != slot_)) return;
    const bool is_inner = packet.from_host || (before_the_stages && packet.inner.family != 0) || running_ > Stage::kEspDecrypt ||
                          (running_ == Stage::kEspDecrypt && packet.inner.family != 0);
    RecordHeader header = header_of(burst, packet, CapturePoint::kDropped);
    header.dropped = true;
    header.drop = reason;
    if (before_the_stages && packet.inner.family == 0) {
      header.ethernet = true;
      return frame(header, packet.bytes());
    }
    if (is_inner && running_ < Stage::kTransmit) {
      if (packet.inner.family != 0 && !spec_.filter.passes(flow_of(packet.inner))) return;
      return put(header, packet.bytes());
    }
    if (running_ == Stage::kTransmit) {
      header.ethernet = std::find(burst.to_host.begin(), burst.to_host.end(), number) == burst.to_host.end();
      return put(header, packet.bytes());
    }
    const Bytes start = number < Burst::kReceived ? starts_[number] : Bytes();
    // What waited since an earlier burst was not received in this one.
    if (start.empty() && packet.outer_family == 0) return;
    header.ethernet = is_uplink(burst, packet.port);
    frame(header, start.empty() ? frame_of(packet) : start);
  }

  void ended(const Burst&) noexcept override {
    std::fill(starts_.begin(), starts_.end(), Bytes());
    running_ = Stage::kClassify;
  }

 private:
  [[nodiscard]] bool wants(CapturePoint point) const noexcept {
    return (spec_.points & static_cast<std::uint8_t>(point)) != 0;
  }
  [[nodiscard]] static bool is_uplink(const Burst& burst, PortId id) noexcept {
    const Port* port = burst.tables.ports[id.value()].object.load(std::memory_order_acquire);
    return port == nullptr || port->entry.kind == PortKind::kUplink;
  }
  [[nodiscard]] static RecordHeader header_of(const Burst& burst, const Transit& packet, CapturePoint point) noexcept {
    RecordHeader header{};
    header.time_ns = burst.now_ns;
    header.port = packet.port.value();
    header.attachment = packet.ingress;
    header.point = point;
    return header;
  }
  void put(RecordHeader header, Bytes bytes) noexcept {
    header.length = static_cast<std::uint32_t>(bytes.size());
    ring_.put(header, bytes.first(std::min<std::size_t>(bytes.size(), snaplen_)));
  }
  /// Matched by its outer headers.
  void frame(RecordHeader header, Bytes bytes) noexcept {
    if (!spec_.filter.empty()) {
      const auto flow = flow_of(bytes);
      if (!flow || !spec_.filter.passes(*flow)) return;
    }
    put(header, bytes);
  }

  void received(const Burst& burst) noexcept {
    for (const unsigned number : burst.received) {
      const Transit& packet = burst.packets[number];
      starts_[number] = packet.bytes();
      if (slot_ != 0 || !wants(CapturePoint::kWireIn) || (spec_.uplink && *spec_.uplink != packet.port)) continue;
      if (!is_uplink(burst, packet.port)) continue;
      RecordHeader header = header_of(burst, packet, CapturePoint::kWireIn);
      header.ethernet = true;
      frame(header, packet.bytes());
    }
  }

  /// Those of the circuit, before anything of them is moved.
  void received_tagged(const Burst& burst) noexcept {
    if (slot_ == 0 || !wants(CapturePoint::kWireIn)) return;
    for (const unsigned number : burst.circuit_in) {
      const Transit& packet = burst.packets[number];
      wire::VlanTags tags;
      if (!wire::parse_vlan_tags(packet.bytes(), tags)) continue;
      const Attachment* circuit = circuit_with(burst.tables, packet.port, tags);
      if (circuit == nullptr || circuit->slot != slot_) continue;
      RecordHeader header = header_of(burst, packet, CapturePoint::kWireIn);
      header.ethernet = true;
      header.attachment = slot_;
      frame(header, packet.bytes());
    }
  }

  static constexpr std::uint32_t kGone = ~std::uint32_t{0};
  /// The slot may be another attachment's by now.
  void notice_end(const Burst& burst) noexcept {
    if (slot_ == 0 || slot_ == kGone) return;
    if (burst.tables.uses[slot_].load(std::memory_order_acquire) != use_) slot_ = kGone;
  }

  /// As it came, of a packet whose outer header is still there.
  [[nodiscard]] static Bytes frame_of(const Transit& packet) noexcept {
    return {packet.outer - sizeof(wire::EthernetHeader), packet.data + packet.length};
  }

  /// Its bytes are still those that came.
  void as_received(const Burst& burst, const Transit& packet) noexcept {
    if (packet.outer_family == 0) return;
    RecordHeader header = header_of(burst, packet, CapturePoint::kWireIn);
    header.ethernet = true;
    header.attachment = slot_;
    frame(header, frame_of(packet));
  }

  void inner(const Burst& burst, const Burst::Queue& queue, CapturePoint point) noexcept {
    if (!wants(point)) return;
    for (const unsigned number : queue) {
      const Transit& packet = burst.packets[number];
      const bool arrives = point == CapturePoint::kInnerIn || point == CapturePoint::kHostIn;
      const std::uint32_t slot = arrives ? packet.ingress : attachment_behind(burst.tables, packet.egress);
      if ((slot_ != 0 && slot != slot_) || packet.inner.family == 0) continue;
      if (!spec_.filter.passes(flow_of(packet.inner))) continue;
      RecordHeader header = header_of(burst, packet, point);
      header.attachment = slot;
      put(header, packet.bytes());
    }
  }

  void departing(const Burst& burst) noexcept {
    if (wants(CapturePoint::kHostOut)) inner(burst, burst.to_host, CapturePoint::kHostOut);
    if (!wants(CapturePoint::kWireOut)) return;
    for (const unsigned number : burst.to_uplink) {
      const Transit& packet = burst.packets[number];
      const std::uint32_t slot = attachment_behind(burst.tables, packet.egress);
      if ((slot_ != 0 && slot != slot_) || (spec_.uplink && *spec_.uplink != packet.port)) continue;
      RecordHeader header = header_of(burst, packet, CapturePoint::kWireOut);
      header.ethernet = true;
      header.attachment = slot;
      frame(header, packet.bytes());
    }
  }

  CaptureSpec spec_;
  std::uint32_t slot_;  ///< 0: of all.
  std::uint32_t use_;
  std::uint32_t snaplen_;
  Stage running_ = Stage::kClassify;
  /// What was received, by number.
  std::array<Bytes, Burst::kReceived> starts_{};
  Ring ring_;
};

Capture::Capture(std::shared_ptr<WatchOfEach<CaptureTap>> taps) : taps_(std::move(taps)) {}
Capture::~Capture() = default;

Result<std::unique_ptr<Capture>> Capture::create(const Tables& tables, const CaptureSpec& spec) {
  if (spec.points == 0) return fail(ErrorCode::kInvalidConfig, "a capture that looks nowhere");
  std::uint32_t slot = 0;
  if (spec.attachment) {
    if (!tables.domain_of(*spec.attachment)) {
      return fail(ErrorCode::kInvalidConfig, "the forwarder does not know " + spec.attachment->to_string(),
                  "simplon status tells whether it has the current configuration");
    }
    slot = tables.slot_of(*spec.attachment);
  }
  const std::uint32_t use = tables.state().uses[slot].load(std::memory_order_relaxed);
  std::vector<std::unique_ptr<CaptureTap>> taps;
  for (unsigned i = 0; i < tables.workers(); ++i) taps.push_back(std::make_unique<CaptureTap>(spec, slot, use, tables.workers()));
  return std::unique_ptr<Capture>(new Capture(std::make_shared<WatchOfEach<CaptureTap>>(std::move(taps))));
}

std::shared_ptr<Watch> Capture::watch() const { return taps_; }

std::vector<Captured> Capture::take(std::size_t most) {
  std::vector<Captured> packets;
  const std::size_t each = most / taps_->all().size() + 1;
  for (const auto& tap : taps_->all()) {
    for (std::size_t i = 0; i < each && packets.size() < most; ++i) {
      auto packet = tap->ring().take();
      if (!packet) break;
      packets.push_back(*std::move(packet));
    }
  }
  std::stable_sort(packets.begin(), packets.end(), [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
  return packets;
}

std::uint64_t Capture::lost() const noexcept {
  std::uint64_t lost = 0;
  for (const auto& tap : taps_->all()) lost += tap->ring().lost();
  return lost;
}

}  // namespace simplon::forward
