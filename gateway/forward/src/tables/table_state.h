// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gateway/forward/asked_neighbors.h"
#include "gateway/forward/counters.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/quiescence.h"
#include "gateway/forward/sa.h"
#include "gateway/forward/src/fib/fib.h"
#include "gateway/forward/src/path/vxlan_headers.h"
#include "gateway/forward/src/policy/connections.h"
#include "gateway/forward/src/policy/policy_state.h"
#include "gateway/forward/src/tables/address_key.h"
#include "gateway/forward/src/tables/stable_array.h"
#include "gateway/forward/src/tables/strays.h"
#include "gateway/forward/src/tables/table_limits.h"
#include "gateway/forward/src/tables/wait_free_map.h"
#include "gateway/forward/table_memory.h"
#include "platform/net/mac_address.h"
#include "platform/wire/ethernet.h"

// What the workers read. Objects are immutable and stand behind atomic pointers in arrays, where a slot number names
// them; slot numbers, not pointers, lead from one object to another, so that each can be replaced or missing.

namespace simplon::forward {

/// Who counts apart: each worker; the table writer, for what was forwarded by shortcuts; and described packets (trace.h),
/// whose share nobody reads.
[[nodiscard]] constexpr unsigned shortcut_share(unsigned workers) noexcept { return workers; }
[[nodiscard]] constexpr unsigned described_share(unsigned workers) noexcept { return workers + 1; }
[[nodiscard]] constexpr unsigned counter_shares(unsigned workers) noexcept { return workers + 2; }

struct Prefix4 {
  std::uint32_t network;  ///< Bytes as on the wire.
  std::uint32_t mask;
  [[nodiscard]] bool contains(std::uint32_t wire) const noexcept { return (wire & mask) == network; }
};
struct Prefix6 {
  std::uint64_t network[2];
  std::uint64_t mask[2];
  [[nodiscard]] bool contains(const WireAddress& address) const noexcept {
    return (address.low & mask[0]) == network[0] && (address.high & mask[1]) == network[1];
  }
};

/// A small set of addresses: the first few inline, so that a VPC costs no further cache line.
class AddressSet {
 public:
  explicit AddressSet(const std::vector<IpAddress>& addresses);
  /// The IPv4 address is one of the inline ones.
  [[nodiscard]] bool has_inline4(std::uint32_t wire) const noexcept {
    return (inline_[0] == wire && inline_family_[0] == 4) || (inline_[1] == wire && inline_family_[1] == 4);
  }
  [[nodiscard]] bool contains(const WireAddress& address) const noexcept {
    for (unsigned i = 0; i < kInline; ++i) {
      if (inline_[i] == address.low && inline_family_[i] == address.family && inline_high_[i] == address.high) {
        return true;
      }
    }
    return !more_.empty() && contains_more(address);
  }

 private:
  static constexpr unsigned kInline = 2;
  [[nodiscard]] bool contains_more(const WireAddress& address) const noexcept;
  std::array<std::uint64_t, kInline> inline_{};
  std::array<std::uint64_t, kInline> inline_high_{};
  std::array<std::uint8_t, kInline> inline_family_{};
  std::vector<WireAddress> more_;  // open addressing; family 0 is free
};

struct Domain;

/// What the headers of a plain frame from a VPC are, as words that are compared (express_in.cpp): outer and inner IPv4, to the VPC's
/// VTEP, UDP port and gateway.
struct PlainArrival {
  /// Outer destination and UDP destination port; never found, if they are not IPv4.
  std::uint64_t outer = ~std::uint64_t{0};
  /// The gateway's MAC address.
  std::uint64_t inner = 0;
  /// Some of the accepted outer sources; both the same if there is one. The others are in `Attachment::accepted`.
  std::array<std::uint32_t, 2> vteps{};
};

/// Where a circuit lies, and what is the same in all frames into it.
struct CircuitLink {
  /// The uplink; kNoPort: down.
  PortId port = kNoPort;
  /// Ethernet header with tags; destination and last type are those of the packet.
  std::array<std::uint8_t, sizeof(wire::EthernetHeader) + 8> header{};
  std::uint8_t header_bytes = 0;
  /// The neighbor that packets are sent to; family 0: the one they are for.
  WireAddress gateway;

  [[nodiscard]] std::size_t tag_bytes() const noexcept { return header_bytes - sizeof(wire::EthernetHeader); }
};

/// A VPC, tunnel or circuit as configured, or a circuit together with a gateway on it (which has a slot of its own). Of a plain packet
/// one cache line is looked at where it comes in, and the next where another leaves; all else is behind them.
struct alignas(64) Attachment : InTableMemory {
  // Where a packet comes in.
  Domain* domain = nullptr;
  /// `counter_shares`. Both live at least as long as this.
  TrafficCounters* counters = nullptr;
  std::array<Prefix4, 2> prefixes4{};  ///< Unused ones match nothing: network outside mask.
  PlainArrival plain;
  /// Its own; of a circuit with a gateway that of the circuit, which has the policy.
  std::uint32_t slot = 0;

  // Where a packet leaves.
  alignas(64) TrafficCounters* exit_counters = nullptr;  ///< The same as `counters`.
  std::uint32_t id = 0;
  std::uint16_t mtu = 0;
  AttachmentKind kind;
  bool clamp_mss = false;  // tunnels and circuits
  OuterDf outer_df = OuterDf::kSet;  // tunnels
  bool ignores_df = false;           // tunnels
  /// VPCs: our VTEP is an IPv4 address.
  bool over_ipv4 = false;
  /// What is the same in all packets into such a VPC; the lengths, destinations and whatever follows from them are 0.
  VxlanTail4 tail4{};
  /// Sum over the outer IP header that `put_vxlan4` makes, as far as it is the same.
  std::uint32_t checksum4 = 0;

  alignas(64) WireAddress vtep;
  std::uint16_t udp_port = 0;
  MacAddress gateway_mac;
  AddressSet accepted;
  VxlanHeaders6 headers6{};
  CircuitLink link;  // circuits

  std::vector<Prefix4> more_prefixes4;
  std::vector<Prefix6> prefixes6;

  explicit Attachment(AttachmentKind k, const std::vector<IpAddress>& vteps = {}) : kind(k), accepted(vteps) {
    prefixes4.fill({1, 0});
  }
  /// What express_in looks at.
  void prefetch_arrival() const noexcept { __builtin_prefetch(this); }
  /// What express_out looks at.
  void prefetch_departure() const noexcept { __builtin_prefetch(&exit_counters); }
  /// The source belongs to the VPC.
  [[nodiscard]] bool owns(const WireAddress& source) const noexcept;
  /// By one of the first prefixes.
  [[nodiscard]] bool owns_plainly(std::uint32_t wire) const noexcept {
    return prefixes4[0].contains(wire) || prefixes4[1].contains(wire);
  }
};
static_assert(offsetof(Attachment, exit_counters) == 64 && offsetof(Attachment, vtep) == 128);

/// Where packets for us go, and our addresses for ICMP errors.
struct HostPort {
  PortId port;
  /// Zero: it carries bare IP packets.
  MacAddress mac;
  WireAddress v4;  ///< family 0: none
  WireAddress v6;
};

struct AttachmentSlot {
  std::atomic<const Attachment*> object;
  std::atomic<const HostPort*> host_port;
  /// The SA that packets of the tunnel leave through.
  std::atomic<const Sa*> outbound;
  /// `counter_shares`; there as long as the slot is in use, through replacement of the object.
  std::atomic<TrafficCounters*> counters;
};

struct alignas(64) Domain : InTableMemory {
  Domain(std::uint32_t domain_id, FibArena& arena) : id(domain_id), fib4(arena), fib6(arena) {}
  const std::uint32_t id;
  /// False while only references to it exist.
  std::atomic<bool> exists{false};
  /// nullptr: its packets are forwarded without policy.
  std::atomic<const DomainPolicy*> policy{nullptr};
  Fib<std::uint64_t> fib4;
  Fib<Uint128> fib6;
  /// Slot of some attachment whose host port has an address of the family; 0: none.
  std::atomic<std::uint32_t> addressed4{0};
  std::atomic<std::uint32_t> addressed6{0};
};

struct Adjacency {
  wire::EthernetHeader ethernet;  ///< The type is filled in per packet.
  PortId port;
  std::uint16_t path_mtu = 0;
};

struct EcmpGroup {
  static constexpr std::size_t kBuckets = 256;
  /// Attachment slots in proportion to their weights.
  std::array<std::uint32_t, kBuckets> slots{};
  /// No primary nexthop can be sent through; the writer's.
  bool on_backup = false;
  /// Hashes of consecutive ports are nearly a fixed step apart, and what is a multiple of it would lead few ways; folded and
  /// multiplied they are not. As bucket_of of the XDP program has it.
  [[nodiscard]] static constexpr std::uint8_t bucket(std::uint32_t flow_hash) noexcept {
    return static_cast<std::uint8_t>(((flow_hash ^ (flow_hash >> 16)) * 0x9e3779b1U) >> 24);
  }
  [[nodiscard]] std::uint32_t pick(std::uint32_t flow_hash) const noexcept { return slots[bucket(flow_hash)]; }
};

struct Port {
  PortEntry entry;
};
struct PortSlot {
  std::atomic<const Port*> object;
  std::atomic<TrafficCounters*> counters;
  /// Host ports: the attachment's slot.
  std::atomic<std::uint32_t> attachment;
};

struct Endpoint {
  AddressWords vtep;
  std::uint32_t adjacency = 0;
  std::uint8_t vtep_family = 0;
  MacAddress mac;

  [[nodiscard]] WireAddress vtep_address() const noexcept { return WireAddress::of(vtep, vtep_family); }
};
static_assert(sizeof(Endpoint) == 32);

/// On a circuit.
struct Neighbor {
  MacAddress mac;
};

/// (uplink, outer VLAN or 0, VLAN).
struct CircuitKey {
  std::uint64_t value = 0;
  [[nodiscard]] static constexpr CircuitKey of(PortId port, std::uint16_t outer, std::uint16_t vlan) noexcept {
    return {(std::uint64_t{port.value()} << 32) | (std::uint64_t{outer} << 12) | vlan};
  }
  friend bool operator==(const CircuitKey&, const CircuitKey&) noexcept = default;
};
struct CircuitKeyHash {
  [[nodiscard]] std::uint64_t operator()(const CircuitKey& key) const noexcept { return mix(key.value, 0); }
};

/// What an SA puts around a packet or expects around it. A packet that leaves looks at one cache line, one that comes in at the next.
struct CompiledSaPath : InTableMemory {
  // Outer headers, ready to be copied in front of a packet.
  std::array<std::uint8_t, 48> header{};
  std::uint64_t checksum = 0;  ///< IPv4: sum over the header without length, identification and type of service.
  std::uint32_t adjacency = 0;  ///< Outbound only.
  std::uint8_t ip_bytes = 0;
  std::uint8_t header_bytes = 0;  ///< IP and UDP.

  alignas(64) WireAddress source;
  WireAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  bool encap = false;

  [[nodiscard]] bool adds_udp() const noexcept { return header_bytes != ip_bytes; }
  /// What esp_decrypt looks at.
  void prefetch_arrival() const noexcept { __builtin_prefetch(&source); }
};
static_assert(offsetof(CompiledSaPath, source) == 64);

struct InputList {
  std::vector<std::vector<PacketIo*>> of_worker;
};

/// A FIB value: what to do, and a slot. The highest bit is not used.
class RouteValue {
 public:
  enum class Action : std::uint8_t { kNone = 0, kForward = 1, kGroup = 2, kLocal = 3, kUnreachable = 4 };
  constexpr RouteValue(Action action, std::uint32_t slot) noexcept
      : raw_((static_cast<std::uint32_t>(action) << 28) | slot) {}
  constexpr explicit RouteValue(std::uint32_t raw) noexcept : raw_(raw) {}
  [[nodiscard]] constexpr Action action() const noexcept { return static_cast<Action>(raw_ >> 28); }
  [[nodiscard]] constexpr std::uint32_t slot() const noexcept { return raw_ & 0x0fffffffU; }
  [[nodiscard]] constexpr std::uint32_t raw() const noexcept { return raw_; }

 private:
  std::uint32_t raw_;
};

class Crew;

struct TableState {
  TableState(unsigned worker_count, HashSeed hash_seed);
  ~TableState();

  unsigned workers;
  /// Of whatever tenants choose the keys of.
  HashSeed seed;
  Quiescence quiescence;
  StableArray<AttachmentSlot> attachments;
  /// Another number for each attachment that has had the slot, for whoever keeps slots beyond a burst. Odd while it has one.
  StableArray<std::atomic<std::uint32_t>> uses;
  /// How many attachments have gone. A slot is given away again when no connection is left that names it.
  std::atomic<std::uint32_t> gone{0};
  /// The VPC of each VNI.
  StableArray<std::atomic<const Attachment*>> vnis;
  /// nullptr: unresolved.
  StableArray<std::atomic<const Adjacency*>> adjacencies;
  StableArray<std::atomic<const EcmpGroup*>> groups;
  StableArray<PortSlot> ports;
  /// By attachment; nullptr: none.
  StableArray<std::atomic<const AttachmentPolicy*>> policies;
  /// nullptr: nothing passes.
  StableArray<std::atomic<const Acl*>> acls;
  /// One per worker.
  std::vector<std::unique_ptr<ConnectionTable>> connections;
  FibArena fib_arena;
  WaitFreeMap<EndpointKey, Endpoint, EndpointKeyHash> endpoints;
  /// Slots of adjacencies by outer destination, as of VNI 0: for answers to a VTEP that no endpoint leads to.
  WaitFreeMap<EndpointKey, std::uint32_t, EndpointKeyHash> vteps;
  /// Slots of circuits.
  WaitFreeMap<CircuitKey, std::uint32_t, CircuitKeyHash> circuits;
  /// With the id of the circuit as VNI.
  WaitFreeMap<EndpointKey, Neighbor, EndpointKeyHash> neighbors;
  /// SPI in host byte order. The Sa outlives its entry by a grace period.
  /// nullptr: expected (EarlyEsp).
  WaitFreeMap<std::uint32_t, const Sa*, SpiHash> inbound;
  Strays strays;
  std::atomic<const InputList*> inputs{nullptr};
  /// One per worker, which writes to it.
  std::unique_ptr<AskedNeighbors[]> asked;
  /// nullptr: there is one worker.
  std::unique_ptr<Crew> crew;
};

/// The slot of the attachment that packets sent to `slot` leave through: a gateway on a circuit has a slot of its own.
[[nodiscard]] inline std::uint32_t attachment_behind(const TableState& tables, std::uint32_t slot) noexcept {
  const Attachment* attachment = tables.attachments[slot].object.load(std::memory_order_acquire);
  return attachment == nullptr ? slot : attachment->slot;
}

}  // namespace simplon::forward
