// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/ipc/table_model.h"

// Looking inside the forwarder: traces and captures, as plain values. Never a key.

namespace simplon::ipc {

/// Packets somebody wants to see; what is not given is any.
struct PacketFilter {
  std::optional<IpPrefix> source;
  std::optional<IpPrefix> destination;
  /// Source or destination.
  std::optional<IpPrefix> host;
  std::optional<std::uint8_t> protocol;
  std::optional<std::uint16_t> source_port;
  std::optional<std::uint16_t> destination_port;
  /// Source or destination.
  std::optional<std::uint16_t> port;
  friend bool operator==(const PacketFilter&, const PacketFilter&) = default;
};

/// Longest wait for a real packet.
inline constexpr std::uint32_t kMaxTraceWaitSeconds = 60;

struct TraceRequest {
  std::uint64_t token = 0;
  AttachmentRef from;
  /// An IP packet; not for a live trace.
  std::vector<std::uint8_t> packet;
  /// From the kernel, through the host port.
  bool from_kernel = false;
  /// Outer source of a packet of a VPC, instead of that of its endpoint.
  std::optional<IpAddress> vtep;
  /// The next real packet that the filter lets pass.
  bool live = false;
  PacketFilter filter;
  std::uint32_t wait_seconds = 10;
  friend bool operator==(const TraceRequest&, const TraceRequest&) = default;
};

struct TraceFact {
  std::string name;
  std::string value;
  /// What `value` is about: at most one of them.
  std::optional<AttachmentRef> attachment;
  std::optional<DomainId> domain;
  friend bool operator==(const TraceFact&, const TraceFact&) = default;
};

struct TraceStep {
  std::string stage;
  /// "packet", "icmp-error" or "fragment".
  std::string packet;
  std::string drop;
  std::vector<TraceFact> facts;
  friend bool operator==(const TraceStep&, const TraceStep&) = default;
};

enum class TraceVerdict : std::uint8_t { kNone = 0, kForwarded = 1, kPunted = 2, kDropped = 3, kWaiting = 4 };

struct TraceReply {
  std::uint64_t token = 0;
  /// Why there is no trace, and what to do; empty: there is one.
  std::string error;
  std::string hint;
  TraceVerdict verdict = TraceVerdict::kNone;
  /// With kDropped; gateway/forward/drop.def and remedy.def.
  std::string drop;
  std::string reference;
  std::string sentence;
  std::string remedy;
  std::vector<TraceStep> steps;
  friend bool operator==(const TraceReply&, const TraceReply&) = default;
};

/// Where a capture looks; bits.
enum class CapturePoint : std::uint8_t {
  kInnerIn = 1,    ///< Out of its tunnel: after decryption, after VXLAN.
  kInnerOut = 2,   ///< About to enter its tunnel: before encryption.
  kWireIn = 4,     ///< As received on an uplink.
  kWireOut = 8,    ///< As sent on an uplink.
  kHostIn = 16,    ///< From the kernel.
  kHostOut = 32,   ///< To the kernel.
  kDropped = 64,   ///< Inner packet or frame, as far as it came.
};

struct CaptureRequest {
  /// Packets that come in or leave through it; none: through anything.
  std::optional<AttachmentRef> attachment;
  /// Frames of this interface only; empty: of all.
  std::string uplink;
  /// CapturePoint bits.
  std::uint8_t points = 0;
  /// With kDropped: only this reason; empty: all.
  std::string drop;
  /// Bytes kept of each packet.
  std::uint32_t snaplen = 65535;
  /// Inner packets are matched as they are, frames by their outer headers.
  PacketFilter filter;
  friend bool operator==(const CaptureRequest&, const CaptureRequest&) = default;
};

struct CapturedPacket {
  /// Since 1970.
  std::uint64_t time_ns = 0;
  CapturePoint point = CapturePoint::kInnerIn;
  /// A frame with its Ethernet header; else an IP packet.
  bool ethernet = false;
  /// Inner packets: what it came in or leaves through.
  std::optional<AttachmentRef> attachment;
  /// Frames: of which uplink.
  std::string uplink;
  /// Name of the reason.
  std::string drop;
  std::uint32_t length = 0;
  std::vector<std::uint8_t> bytes;
  friend bool operator==(const CapturedPacket&, const CapturedPacket&) = default;
};

/// What a capture has seen since the last one; comes at least twice a second.
struct CaptureData {
  /// Why there is no capture (any more); empty: it goes on.
  std::string error;
  std::string hint;
  std::vector<CapturedPacket> packets;
  /// So many did not fit the buffer, in all.
  std::uint64_t lost = 0;
  friend bool operator==(const CaptureData&, const CaptureData&) = default;
};

}  // namespace simplon::ipc
