// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "gateway/cli/src/document_header.h"

/// A file that may begin as `simplon config show` writes it: what is below the header is the end of the file, and the header
/// that is written above it is found again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace cli = simplon::cli;
  const std::string_view document(reinterpret_cast<const char*>(data), size);
  const std::string_view below = cli::below_header(document);
  if (!document.ends_with(below)) std::abort();
  if (!cli::base_in_header(document) && below != document) std::abort();
  const std::string again = cli::document_header({{"version", 7}, {"when", "2026-01-31T12:00:00Z"}, {"who", "root"}, {"current", 9}});
  // Lines of a header at the top of the document would belong to it.
  const std::string shown = again + "gateway:\n" + std::string(document);
  if (cli::base_in_header(shown) != 9U || cli::below_header(shown) != std::string_view(shown).substr(again.size())) std::abort();
  return 0;
}
