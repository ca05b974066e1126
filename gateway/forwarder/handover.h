// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gateway/forward/packet.h"
#include "gateway/forwarder/sa_server.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/ipc/table_model.h"
#include "platform/base/result.h"
#include "platform/net/mac_address.h"
#include "platform/sys/unique_fd.h"
#include "platform/xdp/uplink_program.h"

// What a forwarder that ends on purpose leaves to its successor: descriptors, and the state that says what they are.

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

/// Its descriptors, in this order: the packet memory; of each uplink the link of its XDP program and the device of its backlog or, of
/// each queue, the socket and that of its control ring; the TUN device of each host port.
struct Handover {
  std::uint64_t instance = 0;
  /// Of the packet memory, and the slots behind them.
  std::uint64_t frames = 0;
  std::uint64_t slots = 0;
  Generation generation;
  std::vector<HandedUplink> uplinks;
  std::vector<ipc::AttachmentRef> host_ports;
  /// As of TableApplier::encode, and connections behind them as Stats messages.
  std::vector<std::uint8_t> tables;
  SaStore::Snapshot sas;
  SaServer::Pending events;

  [[nodiscard]] std::size_t descriptors() const noexcept;
  /// Those of slots included.
  [[nodiscard]] std::uint64_t all_frames() const noexcept { return frames + slots * forward::kSlotFrames; }
};

[[nodiscard]] SecretBytes encode_handover(const Handover& handover);
/// `payload` behind the header that makes it a state; for tests of what a checksum keeps away.
[[nodiscard]] SecretBytes seal_handover(std::span<const std::uint8_t> payload);

/// Pure; checks everything that can be checked without the descriptors: version, checksum, lengths, ranges, that no frame has two
/// owners. Errors: kPeer naming what is wrong.
[[nodiscard]] Result<Handover> decode_handover(std::span<const std::uint8_t> bytes);

/// Gives state and descriptors to the service manager's store. Nothing may be sent or written through them afterwards.
/// Errors: kUnavailable.
[[nodiscard]] Result<void> leave_handover(const Handover& handover, std::span<const int> descriptors);

/// What a former forwarder left, once: the state is overwritten in memory and taken out of the store before it is returned.
struct TakenHandover {
  Handover state;
  std::vector<sys::UniqueFd> descriptors;
};
/// Nothing if there is nothing. Errors: kPeer and kUnavailable saying why it cannot be used; everything is closed then.
[[nodiscard]] Result<std::optional<TakenHandover>> take_handover();

}  // namespace simplon::forwarder
