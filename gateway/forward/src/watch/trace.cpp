// SPDX-License-Identifier: GPL-2.0-or-later
//
// A described packet takes the way of a real one: it is put into a frame with the outer headers that its attachment expects,
// into a burst of its own, and through `run_stages` with the live tables. Why nothing comes of it:
//
//     frames, counters of the worker    the burst has its own, thrown away afterwards
//     counters of attachments, ports    a share nobody reads (described_share)
//     SAs: key, numbers, window         replaced by a stand-in (Sa::stand_in) as soon as a stage has found one; the stand-in's key
//                                       is made of zeros, and the packet of the "peer" is sealed with the same
//     connections                       a table of the burst's own, with a copy of the one that the packet belongs to
//     sending                           transmit is not called; only whether the port is there is looked at
//
// The thread is the tables' writer, so nothing it meets is freed before it is done.
#include "gateway/forward/trace.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "gateway/forward/src/path/pipeline.h"
#include "gateway/forward/src/path/udp_checksum.h"
#include "gateway/forward/src/watch/explain.h"
#include "gateway/forward/src/watch/sighting.h"
#include "gateway/forward/src/watch/watch_of_each.h"
#include "platform/wire/esp.h"
#include "platform/wire/vlan.h"

namespace simplon::forward {
namespace {

// Chosen by us: a packet, its ICMP error, its fragments.
constexpr std::size_t kFrames = 64;
constexpr std::size_t kSlots = 1;
constexpr std::size_t kConnections = 16;
// Ours, seen by nobody: the source MAC address of made-up frames.
constexpr MacAddress kMadeUpMac{{0x02, 0, 0, 0, 0, 1}};
constexpr std::uint16_t kMadeUpPort = 49152;

using Bytes = std::vector<std::uint8_t>;

template <class Header>
void put_in_front(Bytes& bytes, const Header& header) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(&header);
  bytes.insert(bytes.begin(), first, first + sizeof header);
}

void put_udp(Bytes& bytes, std::uint16_t source, std::uint16_t destination) {
  wire::UdpHeader udp{};
  udp.source_port = source;
  udp.destination_port = destination;
  udp.length = static_cast<std::uint16_t>(sizeof udp + bytes.size());
  put_in_front(bytes, udp);
}

void put_ip(Bytes& bytes, const IpAddress& source, const IpAddress& destination, std::uint8_t protocol) {
  if (source.is_v4()) {
    wire::Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<std::uint16_t>(sizeof ip + bytes.size());
    ip.flags_offset = wire::kIpv4DontFragment;
    ip.ttl = 64;
    ip.protocol = protocol;
    std::copy_n(source.bytes().begin(), 4, ip.source.begin());
    std::copy_n(destination.bytes().begin(), 4, ip.destination.begin());
    wire::set_ipv4_checksum(ip);
    return put_in_front(bytes, ip);
  }
  wire::Ipv6Header ip{};
  ip.version_class_flow = 6U << 28;
  ip.payload_length = static_cast<std::uint16_t>(bytes.size());
  ip.next_header = protocol;
  ip.hop_limit = 64;
  std::copy_n(source.bytes().begin(), 16, ip.source.begin());
  std::copy_n(destination.bytes().begin(), 16, ip.destination.begin());
  if (protocol == wire::kProtocolUdp) set_udp6_checksum(ip, bytes.data(), bytes.size());
  put_in_front(bytes, ip);
}

void put_ethernet(Bytes& bytes, const MacAddress& source, const MacAddress& destination, bool v4) {
  put_in_front(bytes, wire::EthernetHeader{destination, source, Be16(v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6)});
}

[[nodiscard]] bool is_v6(const Bytes& packet) { return !packet.empty() && packet[0] >> 4 == 6; }

/// The source of the packet, if it has that much of a header.
[[nodiscard]] std::optional<IpAddress> source_of(const Bytes& packet) {
  const std::size_t at = is_v6(packet) ? 8 : 12;
  const std::size_t bytes = is_v6(packet) ? 16 : 4;
  if (packet.size() < at + bytes) return std::nullopt;
  const auto address = IpAddress::from_bytes(std::span(packet).subspan(at, bytes));
  return address ? std::optional(*address) : std::nullopt;
}

/// The stages' side of a described packet.
class Bench final : public Watch {
 public:
  Bench(const Tables& tables, FramePool& pool, std::uint64_t now_ns)
      : tables_(tables),
        burst_(std::make_unique<Burst>(tables.state(), pool, counters_, described_share(tables.workers()), IcmpLimits{{1, 1}, {1, 1}, {1, 1}, {1, 1}})),
        recorder_(std::make_unique<Recorder>()) {
    burst_->begin();
    burst_->now_ns = now_ns;
    burst_->now_seconds = now_ns / 1'000'000'000;
    burst_->watch = this;
    burst_->described = true;
    burst_->connections = &connections_;
  }

  Trace run(std::uint8_t* data, std::uint16_t length, PortId port) {
    const unsigned number = burst_->add();
    Transit& packet = burst_->packets[number];
    packet.data = data;
    packet.length = length;
    packet.port = port;
    burst_->received.push(number);
    const Watched watched{*burst_, *this};
    run_stages(*burst_, watched);
    watched.entering(Stage::kTransmit);
    depart(burst_->to_uplink, PortKind::kUplink);
    depart(burst_->to_host, PortKind::kHost);
    watched.passed(Stage::kTransmit);
    return explain(tables_, *recorder_);
  }

  void entering(Burst& burst, Stage stage) noexcept override {
    if (stage == Stage::kPolice) {
      for (const unsigned number : burst.policed) copy_connection(burst, burst.packets[number]);
    }
    recorder_->entering(burst, stage);
  }
  void passed(Burst& burst, Stage stage) noexcept override {
    recorder_->passed(burst, stage);
    if (stage == Stage::kEspLookup) replace_sas(burst, burst.esp_in);
    if (stage == Stage::kResolve || stage == Stage::kResolveAnswers) replace_sas(burst, burst.to_tunnel);
  }
  void dropped(const Burst& burst, unsigned number, Drop reason) noexcept override {
    recorder_->dropped(burst, number, reason);
  }
  void policed(const Burst& burst, unsigned number, const PolicyNotes& notes) noexcept override {
    recorder_->policed(burst, number, notes);
  }
  void ended(const Burst&) noexcept override {}

  /// The same for a packet and its answer.
  [[nodiscard]] const Sa* stand_in(const Sa& sa) noexcept {
    for (const auto& [spi, copy] : stand_ins_) {
      if (spi == &sa || copy.get() == &sa) return copy.get();
    }
    auto made = sa.stand_in();
    if (!made) return nullptr;  // the suite was good for the SA itself
    stand_ins_.emplace_back(&sa, *std::move(made));
    return stand_ins_.back().second.get();
  }

 private:
  void replace_sas(Burst& burst, const Burst::Queue& queue) noexcept {
    for (const unsigned number : queue) {
      Transit& packet = burst.packets[number];
      if (packet.sa != nullptr) packet.sa = stand_in(*packet.sa);
    }
  }
  /// Of whichever worker has it, as it is at this moment.
  void copy_connection(const Burst& burst, const Transit& packet) noexcept {
    const DomainPolicy* policy = packet.attachment->domain->policy.load(std::memory_order_acquire);
    if (policy == nullptr || !policy->tracks) return;
    const Flow flow = describe_flow(packet.bytes(), packet.inner, policy->domain);
    if (flow.kind != FlowKind::kTracked && flow.kind != FlowKind::kIcmpError) return;
    FlowKey key = flow.key;
    if (packet.inner.family == 4) {
      const Ipv4Ends ends = policy->nat.mapped_in(packet.ingress, Ipv4Ends::of(key));
      key.source.low = ends.source;
      key.destination.low = ends.destination;
    }
    bool found = false;
    for (const auto& table : burst.tables.connections) {
      table->for_each([&](const ConnectionTable::Copy& copy) {
        found = copy.keys[0] == key || copy.keys[1] == key;
        if (found) adopt(copy, static_cast<std::uint32_t>(burst.now_seconds));
        return !found;
      });
      if (found) return;
    }
  }
  void adopt(const ConnectionTable::Copy& copy, std::uint32_t now) noexcept {
    ConnectionTable::Beginning beginning;
    beginning.keys = copy.keys;
    beginning.sides = copy.sides;
    beginning.covered = 3;  // by no list that is there now: its revision is 0, and the lists are asked anew
    beginning.owner = copy.owner;
    const std::uint32_t index = connections_.add(beginning, now);
    if (index == 0) return;
    connections_[index].state = copy.state;
    connections_[index].closing = copy.closing;
  }
  /// What transmit looks at before it hands packets to their ports.
  void depart(const Burst::Queue& queue, PortKind kind) noexcept {
    for (const unsigned number : queue) {
      const Port* port = burst_->tables.ports[burst_->packets[number].port.value()].object.load(std::memory_order_acquire);
      if (port == nullptr || port->entry.kind != kind) burst_->drop(number, Drop::kPortMissing);
    }
  }

  const Tables& tables_;
  WorkerCounters counters_;
  /// With nothing but what copy_connection finds: a described packet without it is the first of its connection.
  ConnectionTable connections_{kConnections};
  std::unique_ptr<Burst> burst_;
  std::unique_ptr<Recorder> recorder_;
  std::vector<std::pair<const Sa*, std::shared_ptr<Sa>>> stand_ins_;
};

Result<Trace> run(const Tables& tables, const Clock& clock, PortId port, std::span<const std::uint8_t> bytes) {
  if (bytes.size() > kLongestInSlot) {
    return fail(ErrorCode::kInvalidConfig, "a packet of " + std::to_string(bytes.size()) + " bytes cannot be traced",
                "at most " + std::to_string(kMostDescribedBytes));
  }
  auto pool = FramePool::create(kFrames, FramePool::Memory::kPrivate, kSlots);
  if (!pool) return Unexpected(pool.error());
  const auto now = clock.now().time_since_epoch();
  Bench bench(tables, *pool,
              static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
  const bool fits = kSlotHeadroom + bytes.size() + kSlotTailroom <= kFrameBytes;
  std::uint8_t* frame = (fits ? pool->allocate() : pool->allocate_slot()) + kSlotHeadroom;
  std::copy(bytes.begin(), bytes.end(), frame);
  return bench.run(frame, static_cast<std::uint16_t>(bytes.size()), port);
}

Result<PortEntry> uplink_of(const Tables& tables) {
  if (auto uplink = tables.any_uplink()) return *std::move(uplink);
  return fail(ErrorCode::kUnavailable, "no uplink is open that a packet could come in through",
              "simplon status shows the uplinks");
}

[[nodiscard]] IpAddress vtep_of(const VpcEntry& vpc, const std::optional<EndpointEntry>& endpoint,
                                const std::optional<IpAddress>& wanted) {
  if (wanted) return *wanted;
  if (endpoint) return endpoint->vtep;
  for (const IpAddress& vtep : vpc.accepted_vteps) {
    if (vtep.family() == vpc.vtep.family()) return vtep;
  }
  return vpc.vtep.is_v4() ? IpAddress() : IpAddress::v6({});
}

Result<Bytes> behind_vxlan(const Tables& tables, const VpcEntry& vpc, const DescribedPacket& described, const MacAddress& ours) {
  const auto source = source_of(described.packet);
  const auto endpoint = source ? tables.endpoint(vpc.vni, *source) : std::nullopt;
  const IpAddress vtep = vtep_of(vpc, endpoint, described.vtep);
  if (vtep.family() != vpc.vtep.family()) {
    return fail(ErrorCode::kInvalidConfig, vtep.to_string() + " and our VTEP " + vpc.vtep.to_string() + " are of different families");
  }
  Bytes bytes = described.packet;
  put_ethernet(bytes, endpoint ? endpoint->mac : kMadeUpMac, vpc.gateway_mac, !is_v6(described.packet));
  put_in_front(bytes, wire::vxlan_header(vpc.vni.value()));
  put_udp(bytes, kMadeUpPort, vpc.udp_port);
  put_ip(bytes, vtep, vpc.vtep, wire::kProtocolUdp);
  put_ethernet(bytes, kMadeUpMac, ours, vpc.vtep.is_v4());
  return bytes;
}

/// The inbound SA that the peer used last.
[[nodiscard]] std::shared_ptr<Sa> inbound_of(const Tables& tables, TunnelId tunnel) {
  const auto all = tables.inbound_of(tunnel);
  const auto latest = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a->usage().last_use < b->usage().last_use;
  });
  return latest == all.end() ? nullptr : *latest;
}

/// RFC 4303 section 2, sealed with the stand-in's key.
[[nodiscard]] Bytes sealed(const Sa& stand_in, const Bytes& packet) {
  const crypto::EspLayout& layout = stand_in.key().layout();
  const std::size_t clear = sizeof(wire::EspHeader) + layout.iv_bytes;
  const std::size_t padding =
      (0 - (packet.size() + sizeof(wire::EspTrailer))) & (std::size_t{layout.alignment} - 1);
  const std::uint64_t sequence = stand_in.runtime().window.top() + 1;
  Bytes bytes(clear);
  bytes.insert(bytes.end(), packet.begin(), packet.end());
  for (std::size_t i = 1; i <= padding; ++i) bytes.push_back(static_cast<std::uint8_t>(i));
  bytes.push_back(static_cast<std::uint8_t>(padding));
  bytes.push_back(is_v6(packet) ? wire::kProtocolIpv6 : wire::kProtocolIpv4);
  const std::size_t plain_bytes = bytes.size() - clear;
  bytes.resize(bytes.size() + layout.icv_bytes);
  wire::EspHeader header;
  header.spi = stand_in.spi().value();
  header.sequence = static_cast<std::uint32_t>(sequence);
  std::memcpy(bytes.data(), &header, sizeof header);
  crypto::EspBatch batch;
  batch.add(stand_in.key(), bytes.data(), plain_bytes, sequence);
  batch.seal();
  return bytes;
}

Result<Bytes> behind_esp(const Tables& tables, TunnelId tunnel, const Bytes& packet, const MacAddress& ours) {
  const auto sa = inbound_of(tables, tunnel);
  SaPath path;
  Bytes bytes;
  if (sa != nullptr) {
    auto stand_in = sa->stand_in();
    if (!stand_in) return Unexpected(stand_in.error());
    path = sa->path();
    bytes = sealed(**stand_in, packet);
  } else {
    // What would come, comes with an SPI that nobody gave out; RFC 4303 section 2.1 reserves this one.
    bytes.assign(40, 0);
    bytes[3] = 1;
  }
  if (path.encap) put_udp(bytes, path.source_port, path.destination_port);
  put_ip(bytes, path.source, path.destination, path.encap ? wire::kProtocolUdp : wire::kProtocolEsp);
  put_ethernet(bytes, kMadeUpMac, ours, path.source.is_v4());
  return bytes;
}

Bytes behind_tags(const CircuitEntry& circuit, const Bytes& packet) {
  Bytes bytes = packet;
  put_in_front(bytes, Be16(is_v6(packet) ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4));
  put_in_front(bytes, wire::VlanTag{Be16(wire::kEtherTypeCustomerTag), Be16(circuit.vlan)});
  if (circuit.outer_vlan != 0) put_in_front(bytes, wire::VlanTag{Be16(circuit.outer_type), Be16(circuit.outer_vlan)});
  put_in_front(bytes, kMadeUpMac);
  put_in_front(bytes, circuit.mac);
  return bytes;
}

Error no_such(AttachmentId attachment) {
  return make_error(ErrorCode::kInvalidConfig, "the forwarder does not know " + attachment.to_string(),
                    "simplon status tells whether it has the current configuration");
}

}  // namespace

Result<Trace> trace_received(const Tables& tables, const Clock& clock, PortId port, std::span<const std::uint8_t> bytes) {
  return run(tables, clock, port, bytes);
}

Result<Trace> trace(const Tables& tables, const Clock& clock, const DescribedPacket& described) {
  if (described.packet.size() > kMostDescribedBytes) {
    return fail(ErrorCode::kInvalidConfig,
                "a packet of " + std::to_string(described.packet.size()) + " bytes cannot be traced",
                "at most " + std::to_string(kMostDescribedBytes));
  }
  if (!tables.domain_of(described.from)) return Unexpected(no_such(described.from));
  if (described.from.kind == AttachmentKind::kCircuit) {
    const auto circuit = tables.circuit(CircuitId(described.from.id));
    if (!circuit) return Unexpected(no_such(described.from));
    if (described.from_kernel) {
      return fail(ErrorCode::kInvalidConfig, "what the kernel sends into a circuit leaves as it is",
                  "simplon capture --kernel shows it");
    }
    if (circuit->port == kNoPort) {
      return fail(ErrorCode::kUnavailable, "the uplink of " + described.from.to_string() + " is not open", "simplon circuit show says why");
    }
    return run(tables, clock, circuit->port, behind_tags(*circuit, described.packet));
  }
  if (described.from_kernel) {
    const auto host_port = tables.host_port(described.from);
    if (!host_port) {
      return fail(ErrorCode::kInvalidConfig, described.from.to_string() + " has no host port",
                  "give it an inside address (tunnels) or a gateway address (VPCs)");
    }
    return run(tables, clock, host_port->port, described.packet);
  }
  const auto uplink = uplink_of(tables);
  if (!uplink) return Unexpected(uplink.error());
  const auto vpc = described.from.kind == AttachmentKind::kVpc ? tables.vpc(Vni(described.from.id)) : std::nullopt;
  const auto frame = vpc ? behind_vxlan(tables, *vpc, described, uplink->mac)
                         : behind_esp(tables, TunnelId(described.from.id), described.packet, uplink->mac);
  if (!frame) return Unexpected(frame.error());
  return run(tables, clock, uplink->id, *frame);
}

LiveTrace::LiveTrace(std::shared_ptr<WatchOfEach<Recorder>> recorders) : recorders_(std::move(recorders)) {}
LiveTrace::~LiveTrace() = default;

Result<std::unique_ptr<LiveTrace>> LiveTrace::create(const Tables& tables, AttachmentId from, const PacketFilter& filter) {
  if (!tables.domain_of(from)) return Unexpected(no_such(from));
  const auto luggage = std::make_shared<Recorder::Luggage>();
  const std::uint32_t slot = tables.slot_of(from);
  const std::uint32_t use = tables.state().uses[slot].load(std::memory_order_relaxed);
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (unsigned i = 0; i < tables.workers(); ++i) {
    recorders.push_back(std::make_unique<Recorder>(slot, use, filter, luggage));
  }
  return std::unique_ptr<LiveTrace>(new LiveTrace(std::make_shared<WatchOfEach<Recorder>>(std::move(recorders))));
}

const Recorder* LiveTrace::recorder() const noexcept {
  for (const auto& recorder : recorders_->all()) {
    if (recorder->done()) return recorder.get();
  }
  return nullptr;
}

std::shared_ptr<Watch> LiveTrace::watch() const { return recorders_; }
bool LiveTrace::done() const noexcept { return recorder() != nullptr; }
Trace LiveTrace::explain(const Tables& tables) const {
  const Recorder* done = recorder();
  return done == nullptr ? Trace{} : forward::explain(tables, *done);
}

}  // namespace simplon::forward
