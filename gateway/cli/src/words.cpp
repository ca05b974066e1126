// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/words.h"

#include <algorithm>

#include "gateway/cli/src/json_view.h"

namespace simplon::cli {

using nlohmann::json;

std::string upper(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return word;
}

std::string up_or_down(bool up) { return up ? "up" : "DOWN"; }

std::string number_or_dash(const json& object, const char* key) {
  return has(object, key) ? std::to_string(number(object, key)) : "-";
}

bool is_up(const json& attachment) { return text(at(attachment, "observed"), "state") == "up"; }
bool is_off(const json& attachment) { return text(at(attachment, "observed"), "state") == "disabled"; }

std::string headline(const std::vector<std::string>& parts, Style style) {
  const std::size_t invisible = style.color ? 11 : 0;  // the escapes around the verdict
  std::string out;
  std::string line;
  for (const auto& part : parts) {
    if (!line.empty() && display_width(line) + 3 + display_width(part) > kPageWidth + invisible) {
      out += line + "\n";
      line = std::string(kIndent, ' ') + part;
    } else {
      line += (line.empty() ? "" : "   ") + part;
    }
  }
  return out + line + "\n";
}

std::string colored(const std::string& word, Mood mood, Style style) {
  if (!style.color || mood == Mood::kNeutral) return word;
  return (mood == Mood::kGood ? "\033[1;32m" : "\033[1;31m") + word + "\033[0m";
}

std::string programmed_words(const json& programmed) {
  if (programmed.is_null()) return "forwarder: not confirmed";
  return "forwarder: generation " + number_or_dash(programmed, "generation") +
         (flag(programmed, "current") ? " (current)" : " (catching up)");
}

std::string problem_lines(const std::string& about, const std::string& problem, const std::string& hint, Style style) {
  if (problem.empty()) return {};
  const std::string first = about.empty() ? problem : about + ": " + problem;
  std::string out = paragraph(first, kIndent, kIndent + 2);
  if (style.color) out = "\033[31m" + out.substr(0, out.size() - 1) + "\033[0m\n";
  if (!hint.empty()) out += paragraph("hint: " + hint, kIndent + 2, kIndent + 8);
  return out;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string traffic(const json& object, const char* packets, const char* bytes) {
  if (!has(object, packets)) return "-";
  return plural(number(object, packets), "packet") + ", " + format_bytes(number(object, bytes));
}

std::string counter(const json& programmed, const char* key) {
  return programmed.is_object() ? format_count(number(programmed, key)) : "-";
}

void add_programmed(Table& table, const json& config, const json& programmed) {
  if (!programmed.is_object()) return table.add({"MTU", number_or_dash(config, "mtu")});
  table.add({"MTU", number_or_dash(config, "mtu") + ", programmed " + number_or_dash(programmed, "mtu")});
  table.add({"host port", up_or_down(flag(programmed, "host_port_up"))});
  table.add({"in", traffic(programmed, "rx_packets", "rx_bytes")});
  table.add({"out", traffic(programmed, "tx_packets", "tx_bytes") + ", dropped " +
                        plural(number(programmed, "dropped"), "packet")});
}

}  // namespace simplon::cli
