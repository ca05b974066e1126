// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>

namespace simplon {

/// Removes a UTF-8 byte-order mark (RFC 3629 section 6) from the beginning; some editors write one.
inline void drop_byte_order_mark(std::string& text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (text.starts_with(kMark)) text.erase(0, kMark.size());
}

}  // namespace simplon
