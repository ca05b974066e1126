// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "bgp/src/frr_config_diff.h"
#include "bgp/src/vty_reply.h"

// What a daemon says over its vty: a stream of replies, and a configuration as the text of one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  simplon::bgp::VtyReplyParser parser(4096);
  // The first byte is the size of the pieces in which the rest arrives.
  const std::size_t piece = size == 0 ? 1 : data[0] % 64U + 1;
  std::string configuration;
  for (std::size_t at = std::min<std::size_t>(1, size); at < size;) {
    std::size_t consumed = 0;
    const auto reply = parser.feed({data + at, std::min(piece, size - at)}, consumed);
    if (consumed > std::min(piece, size - at)) std::abort();
    if (!reply) break;
    if (*reply) configuration = (*reply)->text;
    at += consumed;
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(simplon::bgp::diff_config(text, configuration));
  static_cast<void>(simplon::bgp::diff_config(configuration, text));
  const auto same = simplon::bgp::diff_config(text, text);
  static_cast<void>(same);
  return 0;
}
