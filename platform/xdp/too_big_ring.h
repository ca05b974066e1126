// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "platform/base/result.h"

namespace simplon::xdp {

/// What the programs of all uplinks copy of ICMP "fragmentation needed" and ICMPv6 "packet too big", before the host's firewall
/// sees them: BPF maps. Of a message longer than SIMPLON_XDP_TOO_BIG_WORDS there is the beginning; no router sends such (RFC 1812
/// section 4.3.2.3, RFC 4443 section 2.4). Threads: one.
class TooBigRing {
 public:
  /// From the IP header to the end of the frame.
  using Visit = std::function<void(std::span<const std::uint8_t> packet)>;

  /// Errors: kUnavailable with the kernel's reason.
  [[nodiscard]] static Result<std::unique_ptr<TooBigRing>> create();
  ~TooBigRing();
  TooBigRing(const TooBigRing&) = delete;
  TooBigRing& operator=(const TooBigRing&) = delete;

  /// At most `most`, in the order of arrival; how many there were.
  std::size_t take(std::size_t most, const Visit& visit);
  /// Can be read when there is one to take.
  [[nodiscard]] int poll_fd() const noexcept;
  /// Messages that found no room.
  [[nodiscard]] std::uint64_t overrun() const;

 private:
  friend class UplinkProgram;
  struct Maps;
  explicit TooBigRing(std::unique_ptr<Maps> maps);
  [[nodiscard]] int ring_fd() const noexcept;
  [[nodiscard]] int overrun_fd() const noexcept;
  std::unique_ptr<Maps> maps_;
};

}  // namespace simplon::xdp
