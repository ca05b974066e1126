// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/forwarder/handover.h"

namespace {

using namespace simplon::forwarder;

template <class Handed>
void read(HandedPart part, simplon::Result<Handed> (*decode)(std::span<const std::uint8_t>), std::span<const std::uint8_t> bytes) {
  // What could be read is written the same way again.
  if (const auto handed = decode(bytes)) {
    if (!decode(encode_handover(*handed))) __builtin_trap();
  }
  // The fuzzer does not find checksums: the same bytes behind a good header.
  if (!bytes.empty()) static_cast<void>(decode(seal_handover(part, bytes)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  read<HandedTables>(HandedPart::kTables, decode_tables, {data, size});
  read<HandedTraffic>(HandedPart::kTraffic, decode_traffic, {data, size});
  return 0;
}
