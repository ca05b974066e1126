// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/cli/src/pcapng_count.h"

/// A stream that claims to be pcapng; cut into pieces it counts the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  simplon::cli::PcapngCount whole;
  whole.add(bytes);
  simplon::cli::PcapngCount pieces;
  for (std::size_t at = 0; at < size; at += 5) pieces.add(bytes.substr(at, 5));
  if (whole.packets() != pieces.packets() || whole.lost() != pieces.lost()) std::abort();
  return 0;
}
