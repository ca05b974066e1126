// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "gateway/config/document.h"

namespace simplon::config {

/// A YAML document as plain values with line numbers. Aliases are expanded (bounded), tags are ignored, duplicate keys
/// are kept for the reader to complain about.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  int line = 0;
  /// The scalar was written in quotes (or as a block): it is text, never a number or a truth value.
  bool quoted = false;
  std::string scalar;
  std::vector<YamlNode> items;
  std::vector<Entry> entries;

  /// The node at "vpcs[1].vni" below this one, or the nearest existing one above it.
  [[nodiscard]] const YamlNode& nearest(std::string_view path) const;
};

struct YamlNode::Entry {
  std::string key;
  int line = 0;
  YamlNode value;
};

/// Exactly one document of valid UTF-8 within the limits of document.h. Errors: the first syntax error.
[[nodiscard]] tl::expected<YamlNode, Issue> parse_yaml(std::string_view text);

/// RFC 3629.
[[nodiscard]] bool is_valid_utf8(std::string_view text) noexcept;

}  // namespace simplon::config
