// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/document_header.h"

#include <charconv>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

constexpr std::string_view kVersion = "# version ";
constexpr std::string_view kReverted = "# reverted: ";
constexpr std::string_view kProbation = "# on probation for ";

/// Number and rest of "# version N<rest>"; nothing if the line is no such thing.
std::optional<std::pair<std::uint64_t, std::string_view>> version_line(std::string_view line) {
  if (!line.starts_with(kVersion)) return std::nullopt;
  line.remove_prefix(kVersion.size());
  std::uint64_t number = 0;
  const auto [end, bad] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (bad != std::errc{}) return std::nullopt;
  return std::pair(number, line.substr(static_cast<std::size_t>(end - line.data())));
}

struct Header {
  std::optional<std::uint64_t> base;
  std::size_t length = 0;
};

Header read_header(std::string_view document) {
  Header header;
  while (header.length < document.size()) {
    const std::size_t end = std::min(document.find('\n', header.length), document.size());
    std::string_view line = document.substr(header.length, end - header.length);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto version = version_line(line);
    if (!header.base) {
      if (!version || !version->second.starts_with(", ")) break;
    } else if (!(version && version->second == " is current") && !line.starts_with(kReverted) && !line.starts_with(kProbation)) {
      break;
    }
    if (version) header.base = version->first;
    header.length = std::min(end + 1, document.size());
  }
  return header;
}

}  // namespace

std::string document_header(const json& reply) {
  const std::uint64_t version = number(reply, "version");
  std::string header = std::string(kVersion) + std::to_string(version) + ", " + or_dash(text(reply, "when")) + " by " +
                       or_dash(text(reply, "who"));
  if (const std::string comment = text(reply, "comment"); !comment.empty()) header += ": " + comment;
  header += "\n";
  if (has(reply, "current") && number(reply, "current") != version) {
    header += std::string(kVersion) + std::to_string(number(reply, "current")) + " is current\n";
  }
  if (text(reply, "outcome") == "reverted") header += std::string(kReverted) + text(reply, "outcome_reason") + "\n";
  if (const json& pending = at(reply, "pending"); pending.is_object() && number(pending, "version") == version) {
    header += std::string(kProbation) + format_age(number(pending, "seconds_left")) + "; to keep it: simplon confirm " + std::to_string(version) + "\n";
  }
  return header;
}

std::optional<std::uint64_t> base_in_header(std::string_view document) { return read_header(document).base; }

std::string_view below_header(std::string_view document) { return document.substr(read_header(document).length); }

}  // namespace simplon::cli
