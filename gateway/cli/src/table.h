// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace simplon::cli {

/// Human output fits this.
inline constexpr std::size_t kPageWidth = 100;

/// Columns on a terminal: characters, not bytes, of UTF-8.
[[nodiscard]] std::size_t display_width(std::string_view text) noexcept;

/// Breaks at spaces (or inside a word that is too long) into lines of at most `width`.
[[nodiscard]] std::vector<std::string> wrap(std::string_view text, std::size_t width);
/// The wrapped text, each line indented, ending with a line end.
[[nodiscard]] std::string paragraph(std::string_view text, std::size_t indent, std::size_t hanging);

/// Columns that align, two spaces apart; cells that do not fit the page are wrapped inside their column.
class Table {
 public:
  explicit Table(std::vector<std::string> header = {}, std::size_t indent = 0) : indent_(indent) {
    if (!header.empty()) rows_.push_back(std::move(header));
  }

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::size_t indent_;
};

/// 1234567 -> "1,234,567"; from ten million on "12.3 M".
[[nodiscard]] std::string format_count(std::uint64_t value);
/// 1536 -> "1.5 KiB"
[[nodiscard]] std::string format_bytes(std::uint64_t value);
/// 11040 -> "3h 4m"
[[nodiscard]] std::string format_age(std::uint64_t seconds);
/// "1 tunnel", "2 tunnels"
[[nodiscard]] std::string plural(std::uint64_t count, const std::string& one, const std::string& many = {});

}  // namespace simplon::cli
