// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tests/differential/oracle/world.h"

// What is done to the gateway, as data: so that it can be repeated, cut down and printed.

namespace simplon::differential {

struct Input {
  forward::PortId port;
  oracle::Bytes bytes;
};

/// Packets that the worker receives at once.
struct Burst {
  std::vector<Input> inputs;
  /// The ports take only so many packets.
  std::optional<std::size_t> accept;
  /// The clock moves by this much before.
  std::uint64_t nanoseconds = 0;
};

using Event = std::variant<oracle::Change, Burst>;

struct Limits {
  /// ICMP errors, per second and at once. Empty: as many as there are.
  std::optional<std::uint32_t> icmp_errors;
  /// Every packet meets the XDP program first.
  bool xdp = false;
};

struct Scenario {
  Limits limits;
  std::vector<Event> events;
};

/// One line, as a person would say it.
[[nodiscard]] std::string describe(const oracle::Change& change);
/// The headers of a frame on an uplink, or of an IP packet on a host port, from the outside in; and all bytes in hex.
[[nodiscard]] std::string describe_frame(oracle::View frame, bool ethernet);

}  // namespace simplon::differential
