// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/vty_reply.h"

#include <algorithm>
#include <utility>

namespace simplon::bgp {
namespace {

constexpr unsigned kTerminatorZeros = 3;

}  // namespace

Result<std::optional<VtyReply>> VtyReplyParser::feed(std::span<const std::uint8_t> bytes, std::size_t& consumed) {
  consumed = 0;
  while (consumed < bytes.size()) {
    if (zeros_ == kTerminatorZeros) {
      VtyReply reply{.status = bytes[consumed++], .text = std::exchange(text_, {})};
      zeros_ = 0;
      return std::optional(std::move(reply));
    }
    if (bytes[consumed] == 0) {
      ++consumed;
      ++zeros_;
      continue;
    }
    if (zeros_ != 0) {
      return fail(ErrorCode::kPeer, "an FRR daemon's reply has a NUL byte inside its text");
    }
    const auto rest = bytes.subspan(consumed);
    const auto run = static_cast<std::size_t>(std::find(rest.begin(), rest.end(), std::uint8_t{0}) - rest.begin());
    if (text_.size() + run > max_bytes_) {
      return fail(ErrorCode::kPeer, "an FRR daemon's reply is longer than " + std::to_string(max_bytes_) + " bytes");
    }
    text_.append(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(run));
    consumed += run;
  }
  return std::optional<VtyReply>();
}

}  // namespace simplon::bgp
