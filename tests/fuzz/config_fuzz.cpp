// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/config/document.h"
#include "gateway/config/rewrite.h"

/// Any bytes are a document or a list of findings; a document without errors reads back equal from its canonical form, and
/// from its text without its first objects if that can be made.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::config;
  const Document document = read_document({reinterpret_cast<const char*>(data), size}, {.check_files = false});
  if (!document.ok()) return 0;
  const Document again = parse_document(emit_document(document.config));
  if (!again.ok() || !(again.config == document.config)) std::abort();
  auto fewer = document.config;
  if (!fewer.tunnels.empty()) fewer.tunnels.erase(fewer.tunnels.begin());
  if (!fewer.vpcs.empty() && !fewer.vpcs.front().endpoints.empty()) fewer.vpcs.front().endpoints.pop_back();
  const auto text = rewrite_document({reinterpret_cast<const char*>(data), size}, document.config, fewer);
  if (text && !(parse_document(*text).config == fewer)) std::abort();
  return 0;
}
