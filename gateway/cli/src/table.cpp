// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/table.h"

#include <algorithm>
#include <array>

namespace simplon::cli {
namespace {

bool is_continuation(char c) noexcept { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// Bytes of the first `columns` characters.
std::size_t bytes_of(std::string_view text, std::size_t columns) noexcept {
  std::size_t at = 0;
  while (at < text.size() && (columns > 0 || is_continuation(text[at]))) {
    if (!is_continuation(text[at])) --columns;
    ++at;
  }
  return at;
}

std::string one_decimal(std::uint64_t value, std::uint64_t unit, const char* name) {
  const std::uint64_t tenths = value / (unit / 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " " + name;
}

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  width = std::max<std::size_t>(width, 1);
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t gap = text.find_first_not_of(" \n\t\r");
    if (gap == std::string_view::npos) break;
    text.remove_prefix(gap);
    std::string_view word = text.substr(0, text.find_first_of(" \n\t\r"));
    text.remove_prefix(word.size());
    if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    while (line.empty() && display_width(word) > width) {
      // A long word, such as a proposal, breaks behind its last joint that fits.
      std::size_t cut = bytes_of(word, width);
      const std::size_t joint = word.substr(0, cut).find_last_of("-/,_");
      if (joint != std::string_view::npos) cut = joint + 1;
      lines.emplace_back(word.substr(0, cut));
      word.remove_prefix(cut);
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty() || lines.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string paragraph(std::string_view text, std::size_t indent, std::size_t hanging) {
  std::string out;
  std::size_t margin = indent;
  const std::size_t width = kPageWidth - std::max(indent, hanging);
  for (const auto& line : wrap(text, width)) {
    out += std::string(margin, ' ') + line + "\n";
    margin = hanging;
  }
  return out;
}

std::string Table::render() const {
  std::size_t columns = 0;
  for (const auto& row : rows_) columns = std::max(columns, row.size());
  if (columns == 0) return {};
  std::vector<std::size_t> widths(columns, 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  // Take from the widest column until the page holds all of them.
  const std::size_t space = kPageWidth - indent_ - 2 * (columns - 1);
  std::size_t total = 0;
  for (const std::size_t width : widths) total += width;
  for (; total > space; --total) {
    auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= 4) break;
    --*widest;
  }
  std::string out;
  for (const auto& row : rows_) {
    std::vector<std::vector<std::string>> cells;
    std::size_t height = 1;
    for (std::size_t i = 0; i < row.size(); ++i) {
      cells.push_back(display_width(row[i]) <= widths[i] ? std::vector<std::string>{row[i]} : wrap(row[i], widths[i]));
      height = std::max(height, cells.back().size());
    }
    for (std::size_t line = 0; line < height; ++line) {
      std::string text(indent_, ' ');
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string cell = line < cells[i].size() ? cells[i][line] : std::string();
        text += cell + std::string(widths[i] - std::min(widths[i], display_width(cell)) + 2, ' ');
      }
      text.erase(text.find_last_not_of(' ') + 1);
      out += text + "\n";
    }
  }
  return out;
}

std::string format_count(std::uint64_t value) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 3> kUnits = {
      {{1'000'000'000'000U, "T"}, {1'000'000'000U, "G"}, {1'000'000U, "M"}}};
  for (const auto& [unit, name] : kUnits) {
    if (value >= unit * 10) return one_decimal(value, unit, name);
  }
  std::string digits = std::to_string(value);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string format_bytes(std::uint64_t value) {
  constexpr std::array<const char*, 5> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (value < 1024) return std::to_string(value) + " B";
  std::size_t name = 0;
  std::uint64_t tenths = value * 10 / 1024;
  if (value > UINT64_MAX / 10) tenths = value / 1024 * 10;
  while (tenths >= 10240 && name + 1 < kNames.size()) {
    tenths /= 1024;
    ++name;
  }
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " " + kNames[name];
}

std::string format_age(std::uint64_t seconds) {
  const auto two = [](std::uint64_t big, const char* big_unit, std::uint64_t small, const char* small_unit) {
    std::string text = std::to_string(big) + big_unit;
    if (small != 0) text += " " + std::to_string(small) + small_unit;
    return text;
  };
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "m");
  return two(seconds / 86400, "d", seconds % 86400 / 3600, "h");
}

std::string plural(std::uint64_t count, const std::string& one, const std::string& many) {
  return format_count(count) + " " + (count == 1 ? one : many.empty() ? one + "s" : many);
}

}  // namespace simplon::cli
