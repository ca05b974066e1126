// SPDX-License-Identifier: GPL-2.0-or-later
#include <string_view>

#include "bgp/src/frr_status.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(simplon::bgp::parse_neighbors(text));
  static_cast<void>(simplon::bgp::parse_bfd_peers(text));
  static_cast<void>(simplon::bgp::parse_received_count(text));
  static_cast<void>(simplon::bgp::parse_is_connected(text));
  static_cast<void>(simplon::bgp::parse_notifications(text));
  static_cast<void>(simplon::bgp::parse_md5_failures(text));
  return 0;
}
