// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/document.h"
#include "gateway/config/src/yaml_tree.h"
#include "platform/base/result.h"

namespace simplon::config {

/// Collects findings while a document is read.
struct Findings {
  std::vector<Issue> issues;
  /// Paths whose value in the model means nothing, because it could not be read.
  std::set<std::string, std::less<>> broken;

  void add(Issue issue);
  /// An error at `path`, which makes its value meaningless.
  void error(const std::string& path, const YamlNode& node, std::string what, std::string hint = {});
};

enum class Need : std::uint8_t { kOptional, kRequired };

/// Reads one mapping of the document: every key at most once, only known keys, each of the right type. Complains about
/// what is left when it goes out of scope.
class ObjectReader {
 public:
  /// `kind` is a key of `known_keys()`. A node that is not a mapping is reported, and reads as empty without
  /// complaints.
  ObjectReader(Findings& findings, const YamlNode& node, std::string path, const std::string& kind);
  ~ObjectReader();
  ObjectReader(const ObjectReader&) = delete;
  ObjectReader& operator=(const ObjectReader&) = delete;

  [[nodiscard]] std::string path_of(std::string_view key) const;
  /// The value of `key`, or null if it is absent (reported if it is required).
  const YamlNode* take(std::string_view key, Need need);

  void read_text(std::string_view key, Need need, std::string& ret);
  void read_text(std::string_view key, std::optional<std::string>& ret);
  void read_bool(std::string_view key, bool& ret);
  void read_integer(std::string_view key, Need need, std::uint64_t min, std::uint64_t max,
                    const std::function<void(std::uint64_t)>& assign);
  /// 90, 90s, 15m, 4h, 1d
  void read_duration(std::string_view key, std::chrono::seconds min, std::chrono::seconds max,
                     std::chrono::seconds& ret);

  /// A scalar that `parse` understands. `parse`: Result<T>(const std::string&).
  template <class Parse, class Assign>
  void read_parsed(std::string_view key, Need need, Parse parse, Assign assign) {
    if (const YamlNode* node = take(key, need)) {
      if (auto value = parse_scalar(*node, path_of(key), parse)) assign(std::move(*value));
    }
  }

  /// A sequence of scalars that `parse` understands.
  template <class Parse, class Assign>
  void read_parsed_list(std::string_view key, Need need, std::size_t max, Parse parse, Assign assign) {
    read_list(key, need, max, [&](const YamlNode& item, const std::string& path) {
      if (auto value = parse_scalar(item, path, parse)) assign(std::move(*value));
    });
  }

  /// A sequence; `read` sees each item with its path.
  void read_list(std::string_view key, Need need, std::size_t max,
                 const std::function<void(const YamlNode&, const std::string&)>& read);

 private:
  [[nodiscard]] bool is_text(const YamlNode& node, const std::string& path);

  template <class Parse>
  auto parse_scalar(const YamlNode& node, const std::string& path, Parse parse) -> decltype(parse(node.scalar)) {
    if (!is_text(node, path)) return fail(ErrorCode::kInvalidConfig, {});
    auto value = parse(node.scalar);
    if (!value) findings_->error(path, node, value.error().what, value.error().hint);
    return value;
  }

  Findings* findings_;
  const YamlNode* node_;
  std::string path_;
  const std::vector<std::string>* keys_;
  bool usable_;
  std::vector<std::string> missing_;
};

/// What a node is, in the words of the operator: "a list", "nothing", "a mapping", "'abc'".
[[nodiscard]] std::string describe(const YamlNode& node);

/// 90, 90s, 15m, 4h, 1d. Errors: kInvalidConfig.
[[nodiscard]] Result<std::chrono::seconds> parse_duration(std::string_view text);
/// In the largest unit that divides it.
[[nodiscard]] std::string format_duration(std::chrono::seconds duration);

}  // namespace simplon::config
