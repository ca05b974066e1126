// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "gateway/forward/drop.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/packet_filter.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {

class CaptureTap;
template <class One>
class WatchOfEach;
class Watch;

/// Where a capture looks; bits.
enum class CapturePoint : std::uint8_t {
  kInnerIn = 1,    ///< Out of its tunnel.
  kInnerOut = 2,   ///< About to enter its tunnel, cut to its size.
  kWireIn = 4,     ///< Frames as received on an uplink.
  kWireOut = 8,    ///< Frames as they are to be sent on an uplink.
  kHostIn = 16,    ///< From the kernel.
  kHostOut = 32,   ///< To the kernel.
  kDropped = 64,   ///< As far as the packet came: the frame until it is out of its tunnel, then the inner packet.
};

struct CaptureSpec {
  /// Packets that came in or leave through it.
  std::optional<AttachmentId> attachment;
  /// Frames of this port only.
  std::optional<PortId> uplink;
  /// CapturePoint bits.
  std::uint8_t points = 0;
  /// kDropped: this reason only.
  std::optional<Drop> drop;
  /// Inner packets are matched as they are, frames by their outer headers (without: all).
  PacketFilter filter;
  /// Bytes kept of each packet.
  std::uint32_t snaplen = 65535;
};

struct Captured {
  /// As the worker's clock has it.
  std::uint64_t time_ns = 0;
  CapturePoint point = CapturePoint::kInnerIn;
  bool ethernet = false;
  PortId port = kNoPort;
  /// A slot (Tables::attachment_at); 0: not known.
  std::uint32_t attachment = 0;
  std::optional<Drop> drop;
  std::uint32_t length = 0;
  std::vector<std::uint8_t> bytes;
};

/// Packets that workers see, in a ring of memory for each of them, of kBufferBytes together. What does not fit is counted and
/// lost: a worker waits for nobody. Threads: the table writer's, but `watch()` is the workers'.
class Capture {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{4} << 20;

  /// Errors: kInvalidConfig if the attachment does not exist or nothing is to be seen.
  [[nodiscard]] static Result<std::unique_ptr<Capture>> create(const Tables& tables, const CaptureSpec& spec);
  ~Capture();

  [[nodiscard]] std::shared_ptr<Watch> watch() const;
  /// Oldest first, as far as they are there; at most `most`.
  [[nodiscard]] std::vector<Captured> take(std::size_t most);
  /// In all.
  [[nodiscard]] std::uint64_t lost() const noexcept;

 private:
  explicit Capture(std::shared_ptr<WatchOfEach<CaptureTap>> taps);
  std::shared_ptr<WatchOfEach<CaptureTap>> taps_;
};

}  // namespace simplon::forward
