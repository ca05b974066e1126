// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/net/mac_address.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace simplon {

Result<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress mac;
  bool good = text.size() == 17;
  for (std::size_t i = 0; good && i < 6; ++i) {
    const char* first = text.data() + i * 3;
    const auto [end, error] = std::from_chars(first, first + 2, mac.bytes[i], 16);
    good = error == std::errc{} && end == first + 2 && (i == 5 || first[2] == ':');
  }
  if (!good) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' is not a MAC address",
                "write it like 02:00:00:00:00:01");
  }
  return mac;
}

std::string MacAddress::to_string() const {
  std::array<char, 18> text{};
  std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                bytes[4], bytes[5]);
  return text.data();
}

}  // namespace simplon
