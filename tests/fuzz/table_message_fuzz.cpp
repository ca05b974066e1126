// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/ipc/table_protocol.h"

/// A byte stream: framing, verification, decoding; and what was decoded can be encoded.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::ipc;
  static_cast<void>(decode_table_message({data, size}));
  TableFramer framer;
  framer.append({data, size});
  for (;;) {
    const auto envelope = framer.next();
    if (!envelope || !envelope->has_value()) return 0;
    auto message = decode_table_message(**envelope);
    if (!message) continue;
    if (auto* update = std::get_if<Update>(&*message)) {
      std::erase_if(update->operations, [](const ReceivedOperation& operation) { return !operation; });
    }
    static_cast<void>(encode_table_message(*message));
  }
}
