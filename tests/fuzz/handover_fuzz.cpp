// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>

#include "gateway/forwarder/handover.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::forwarder;
  // What could be read is written the same way again.
  if (const auto handover = decode_handover({data, size})) {
    const auto again = encode_handover(*handover);
    if (!decode_handover(again)) __builtin_trap();
  }
  // The fuzzer does not find checksums: the same bytes behind a good header.
  if (size > 0) static_cast<void>(decode_handover(seal_handover({data, size})));
  return 0;
}
