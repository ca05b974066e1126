// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "platform/base/result.h"

namespace simplon::bgp {

/// What a daemon of FRR answered to one command.
struct VtyReply {
  /// FRR's CMD_* codes, lib/command.h.
  static constexpr std::uint8_t kSuccess = 0;
  static constexpr std::uint8_t kWarning = 1;
  static constexpr std::uint8_t kNoMatch = 2;
  static constexpr std::uint8_t kIncomplete = 4;
  static constexpr std::uint8_t kConfigFailed = 13;

  std::uint8_t status = kSuccess;
  std::string text;
};

/// Assembles replies of FRR's vty sockets from what read(2) gives: text, three NUL bytes, one status byte.
/// The text itself has no NUL. Bounded: a reply longer than `max_bytes` is an error (kPeer).
class VtyReplyParser {
 public:
  explicit VtyReplyParser(std::size_t max_bytes) noexcept : max_bytes_(max_bytes) {}

  /// Takes bytes up to the end of one reply; `consumed` is how many. Nothing: the reply is not complete yet.
  [[nodiscard]] Result<std::optional<VtyReply>> feed(std::span<const std::uint8_t> bytes, std::size_t& consumed);

 private:
  std::size_t max_bytes_;
  std::string text_;
  unsigned zeros_ = 0;
};

}  // namespace simplon::bgp
