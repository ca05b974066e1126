// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

// Reading JSON of another process without trusting its shape: what is absent or of another type is empty.

namespace simplon::cli {

[[nodiscard]] inline const nlohmann::json& at(const nlohmann::json& object, const char* key) {
  static const nlohmann::json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

/// For a terminal: what peers say of themselves ends up in replies, and must not move the cursor.
[[nodiscard]] inline std::string printable(std::string words) {
  std::replace_if(words.begin(), words.end(), [](char byte) {
    return (byte >= 0 && byte < ' ' && byte != '\n' && byte != '\t') || byte == '\x7f';
  }, '?');
  return words;
}

[[nodiscard]] inline std::string text(const nlohmann::json& object, const char* key) {
  const auto& value = at(object, key);
  return value.is_string() ? printable(value.get<std::string>()) : std::string();
}

[[nodiscard]] inline std::uint64_t number(const nlohmann::json& object, const char* key) {
  const auto& value = at(object, key);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer() && value.get<std::int64_t>() > 0)
    return static_cast<std::uint64_t>(value.get<std::int64_t>());
  return 0;
}

[[nodiscard]] inline bool flag(const nlohmann::json& object, const char* key) {
  const auto& value = at(object, key);
  return value.is_boolean() && value.get<bool>();
}

[[nodiscard]] inline bool has(const nlohmann::json& object, const char* key) { return !at(object, key).is_null(); }

/// The elements, or nothing if it is no list.
[[nodiscard]] inline const nlohmann::json& list(const nlohmann::json& object, const char* key) {
  static const nlohmann::json kEmpty = nlohmann::json::array();
  const auto& value = at(object, key);
  return value.is_array() ? value : kEmpty;
}

/// A list of strings, joined.
[[nodiscard]] inline std::string joined(const nlohmann::json& object, const char* key, const char* separator = ", ") {
  std::string out;
  for (const auto& item : list(object, key)) {
    if (item.is_string()) out += (out.empty() ? "" : separator) + printable(item.get<std::string>());
  }
  return out;
}

}  // namespace simplon::cli
