// SPDX-License-Identifier: GPL-2.0-or-later
//
// What parse_inner says of any bytes is true of them, and the quick way says the same as the thorough one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "gateway/forward/src/path/fixup.h"
#include "gateway/forward/src/path/inner_packet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  std::vector<std::uint8_t> bytes(data, data + size);
  simplon::forward::InnerPacket packet;
  simplon::forward::InnerPacket thorough;
  const bool good = simplon::forward::parse_inner(bytes, packet);
  if (good != simplon::forward::parse_any_inner(bytes, thorough)) std::abort();
  if (good ? packet != thorough : packet.drop != thorough.drop) std::abort();
  if (!good) return 0;
  const bool right = packet.length <= size && packet.l4_offset <= packet.length && packet.l4_offset >= 20 &&
                     (packet.family == 4 || packet.family == 6) && (!packet.later_fragment || packet.fragment);
  if (!right) std::abort();
  simplon::forward::complete_checksum(bytes.data(), packet);
  return 0;
}
