// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace simplon {

/// Bytes of any container as lower case hexadecimal digits.
template <class Bytes>
[[nodiscard]] std::string to_hex(const Bytes& bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (const auto byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    hex += kHex[value >> 4];
    hex += kHex[value & 15];
  }
  return hex;
}

/// Nothing for anything but pairs of lower case digits: there is one spelling of a value.
template <class Bytes>
[[nodiscard]] std::optional<Bytes> from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (hex.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]);
    const int low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<typename Bytes::value_type>(high * 16 + low));
  }
  return bytes;
}

}  // namespace simplon
