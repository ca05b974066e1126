// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstdint>
#include <string_view>

#include "gateway/ipc/api_request.h"

/// "METHOD TARGET\nBODY", as a client could send it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto line_end = input.find('\n');
  const std::string_view line = input.substr(0, line_end);
  const std::string_view body = line_end == std::string_view::npos ? std::string_view{} : input.substr(line_end + 1);
  const auto space = line.find(' ');
  const std::string_view target = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
  static_cast<void>(simplon::ipc::parse_api_request(line.substr(0, space), target, body));
  return 0;
}
