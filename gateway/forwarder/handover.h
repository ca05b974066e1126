// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gateway/forward/packet.h"
#include "gateway/forwarder/sa_server.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/ipc/table_model.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"
#include "platform/net/mac_address.h"
#include "platform/sys/unique_fd.h"
#include "platform/xdp/uplink_program.h"

// What a forwarder leaves to its successor: descriptors, and the state that says what they are. In two parts: tables, which the successor
// may make its own while this process still forwards; and traffic, after which this process never sends again.

namespace simplon::forwarder {

/// Memory that may have held keys is overwritten before it is given back.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() noexcept = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor): as containers need it
  [[nodiscard]] T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, std::size_t count) noexcept {
    ::explicit_bzero(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) noexcept { return true; }
};
using SecretBytes = std::vector<std::uint8_t, WipingAllocator<std::uint8_t>>;

/// An XDP program that the successor needs its own of; the kernel takes its time to load it.
struct HandedProgram {
  std::string interface;
  std::uint32_t index = 0;
  xdp::AttachMode mode = xdp::AttachMode::kNative;
  bool multi_buffer = false;
  friend bool operator==(const HandedProgram&, const HandedProgram&) = default;
};

/// Its descriptors, in this order: the packet memory; the TUN device of each host port.
struct HandedTables {
  std::uint64_t instance = 0;
  /// Of the packet memory, and the slots behind them.
  std::uint64_t frames = 0;
  std::uint64_t slots = 0;
  Generation generation;
  /// How often the service manager wants a sign of life; 0: it does not.
  std::chrono::milliseconds watchdog{0};
  std::vector<HandedProgram> programs;
  std::vector<ipc::AttachmentRef> host_ports;
  /// As of TableApplier::encode.
  std::vector<std::uint8_t> tables;

  [[nodiscard]] std::size_t descriptors() const noexcept { return 1 + host_ports.size(); }
  /// Those of slots included.
  [[nodiscard]] std::uint64_t all_frames() const noexcept { return frames + slots * forward::kSlotFrames; }
};

struct HandedQueue {
  std::uint32_t queue = 0;
  std::uint32_t rx_ring = 0;
  std::uint32_t tx_ring = 0;
  /// 0: none was wanted.
  std::uint32_t control_ring = 0;
  /// The kernel gave one: there is a second descriptor.
  bool has_control = false;
  bool zero_copy = false;
  bool multi_buffer = false;
  /// Frames that the socket owns, to receive into and to send: frame n is bit n.
  std::vector<std::uint64_t> receiving;
  std::vector<std::uint64_t> sending;
  friend bool operator==(const HandedQueue&, const HandedQueue&) = default;
};

struct HandedUplink {
  std::string interface;
  std::uint32_t index = 0;
  MacAddress mac;
  xdp::AttachMode mode = xdp::AttachMode::kNative;
  /// Frames wait in a device (Backlog), not in sockets: there are no queues then.
  bool has_backlog = false;
  std::vector<HandedQueue> queues;
  friend bool operator==(const HandedUplink&, const HandedUplink&) = default;
};

/// Its descriptors: of each uplink the link of its XDP program and the device of its backlog or, of each queue, the socket and that of its
/// control ring.
struct HandedTraffic {
  /// When packets began to wait.
  MonoTime stopped{};
  std::uint64_t all_frames = 0;
  /// Owned by any socket; not encoded.
  std::vector<std::uint64_t> in_use;
  std::vector<HandedUplink> uplinks;
  /// Stats messages.
  std::vector<std::uint8_t> connections;
  SaStore::Snapshot sas;
  SaServer::Pending events;

  [[nodiscard]] std::size_t descriptors() const noexcept;
};

enum class HandedPart : std::uint32_t { kTables = 1, kTraffic = 2 };

[[nodiscard]] SecretBytes encode_handover(const HandedTables& handed);
[[nodiscard]] SecretBytes encode_handover(const HandedTraffic& handed);
/// `payload` behind the header that makes it a state; for tests of what a checksum keeps away.
[[nodiscard]] SecretBytes seal_handover(HandedPart part, std::span<const std::uint8_t> payload);

/// Pure; check everything that can be checked without the descriptors: version, checksum, lengths, ranges, that no frame has two
/// owners. Errors: kPeer naming what is wrong.
[[nodiscard]] Result<HandedTables> decode_tables(std::span<const std::uint8_t> bytes);
[[nodiscard]] Result<HandedTraffic> decode_traffic(std::span<const std::uint8_t> bytes);

/// A part with copies of its descriptors, in one descriptor that is taken once. Nothing may be sent through those of traffic afterwards.
/// Errors: kUnavailable, kExhausted.
template <class Handed>
[[nodiscard]] Result<sys::UniqueFd> pack(const Handed& handed, std::span<const int> descriptors);

template <class Handed>
struct Taken {
  Handed state;
  std::vector<sys::UniqueFd> descriptors;
};
/// What was packed: the state is overwritten in memory before it is returned. Errors: kPeer and kUnavailable saying why it cannot be used;
/// everything is closed then.
[[nodiscard]] Result<Taken<HandedTables>> unpack_tables(int packed);
[[nodiscard]] Result<Taken<HandedTraffic>> unpack_traffic(int packed);

extern template Result<sys::UniqueFd> pack(const HandedTables& handed, std::span<const int> descriptors);
extern template Result<sys::UniqueFd> pack(const HandedTraffic& handed, std::span<const int> descriptors);

}  // namespace simplon::forwarder
