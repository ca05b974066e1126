// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/forward/drop.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/packet_filter.h"
#include "gateway/forward/tables.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"

// What would become of a packet, and what did become of one: stage by stage, with the table entries that were used.

namespace simplon::forward {

class Recorder;
class Watch;
template <class One>
class WatchOfEach;

/// One thing that a stage found out.
struct TraceFact {
  /// "route", "endpoint": stable.
  std::string name;
  std::string value;
  /// What the value is about, for whoever knows its name; `value` is the rest.
  std::optional<AttachmentId> attachment;
  std::optional<DomainId> domain;
  std::optional<PortId> port;
};

struct TraceStep {
  /// As in docs/life-of-a-packet.md.
  std::string stage;
  /// "packet", "icmp-error" or "fragment".
  std::string packet;
  /// Counter name of the reason, if the stage dropped it; else empty.
  std::string drop;
  std::vector<TraceFact> facts;
};

enum class TraceVerdict : std::uint8_t {
  kForwarded = 1,  ///< Out of an uplink.
  kPunted = 2,     ///< To the kernel.
  kDropped = 3,
  kWaiting = 4,  ///< Its SA is being negotiated.
};

struct Trace {
  TraceVerdict verdict = TraceVerdict::kDropped;
  /// With kDropped.
  std::optional<Drop> drop;
  std::vector<TraceStep> steps;
};

/// A packet as if it came in through an attachment.
struct DescribedPacket {
  AttachmentId from;
  /// From the kernel, through the attachment's host port.
  bool from_kernel = false;
  /// VPCs: the outer source. Else the VTEP of the endpoint that the packet comes from, or the first accepted one.
  std::optional<IpAddress> vtep;
  /// An IP packet of at most kMostDescribedBytes.
  std::vector<std::uint8_t> packet;
};
inline constexpr std::size_t kMostDescribedBytes = 9000;

/// Sends the packet through the stages, with the tables as they are. Nothing comes of it: no counter that anybody reads, no
/// sequence number, no replay window, no key is touched, and nothing is sent. Outer headers are put in front of it as the
/// attachment expects them; through a tunnel it comes with the next sequence number of the inbound SA used last.
///
/// What depends on the moment is not foretold: a full ring (tx_refused), a pool without frames (no_frame), the rate limit of
/// ICMP errors.
///
/// Threads: the table writer's. Cost: a millisecond, a MiB meanwhile. Errors: kInvalidConfig if the attachment does not exist or
/// the packet is too long; kUnavailable without an uplink it could have come in through.
[[nodiscard]] Result<Trace> trace(const Tables& tables, const Clock& clock, const DescribedPacket& packet);

/// The same for a frame (of an uplink) or packet (of a host port) as it lies on the wire. ESP does not authenticate: no key is
/// used.
[[nodiscard]] Result<Trace> trace_received(const Tables& tables, const Clock& clock, PortId port,
                                           std::span<const std::uint8_t> bytes);

/// Waits for a real packet: the next one that came in through an attachment and that a filter lets pass.
class LiveTrace {
 public:
  /// Errors: kInvalidConfig if the attachment does not exist.
  [[nodiscard]] static Result<std::unique_ptr<LiveTrace>> create(const Tables& tables, AttachmentId from,
                                                                 const PacketFilter& filter);
  ~LiveTrace();
  /// For the workers, which see every packet through it meanwhile.
  [[nodiscard]] std::shared_ptr<Watch> watch() const;
  /// The packet has come. Any thread.
  [[nodiscard]] bool done() const noexcept;
  /// What became of it. Entries are looked up now. Threads: the table writer's.
  [[nodiscard]] Trace explain(const Tables& tables) const;

 private:
  explicit LiveTrace(std::shared_ptr<WatchOfEach<Recorder>> recorders);
  /// The first that is done.
  [[nodiscard]] const Recorder* recorder() const noexcept;
  std::shared_ptr<WatchOfEach<Recorder>> recorders_;
};

/// What an operator does about a drop; `{from}`, `{to}`, `{domain}`, `{source}` and `{destination}` stand for the packet's.
[[nodiscard]] std::string_view remedy(Drop drop) noexcept;

}  // namespace simplon::forward
