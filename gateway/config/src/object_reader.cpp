// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/object_reader.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "gateway/config/validate.h"

namespace simplon::config {
namespace {

constexpr std::size_t kMaxTextBytes = 4096;
constexpr std::size_t kMaxShownBytes = 80;

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/// Cut, and without control characters: it is shown at a terminal.
std::string shown(std::string text) {
  bool cut = false;
  if (text.size() > kMaxShownBytes) {
    std::size_t end = kMaxShownBytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 sequence
    text.resize(end);
    cut = true;
  }
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return cut ? text + "..." : text;
}

std::string range(std::uint64_t min, std::uint64_t max) { return std::to_string(min) + " to " + std::to_string(max); }

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;  // octal to some readers of YAML, decimal to others
  return value;
}

}  // namespace

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a mapping";
    case YamlNode::Kind::kScalar:
      break;
  }
  return "'" + shown(node.scalar) + "'";
}

void Findings::add(Issue issue) {
  if (issues.size() < kMaxIssues) {
    issues.push_back(std::move(issue));
  } else if (issues.size() == kMaxIssues) {
    issues.push_back({Severity::kError,
                      ErrorCode::kInvalidConfig,
                      {},
                      {},
                      "more than " + std::to_string(kMaxIssues) + " errors",
                      "the rest is not shown",
                      0});
  }
}

void Findings::error(const std::string& path, const YamlNode& node, std::string what, std::string hint) {
  broken.insert(path);
  add({Severity::kError, ErrorCode::kInvalidConfig, path, shown(node.scalar), std::move(what), std::move(hint),
       node.line});
}

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  std::uint64_t scale = 1;
  std::string_view digits = text;
  if (!text.empty()) {
    switch (text.back()) {
      case 's':
        scale = 1;
        digits.remove_suffix(1);
        break;
      case 'm':
        scale = 60;
        digits.remove_suffix(1);
        break;
      case 'h':
        scale = 3600;
        digits.remove_suffix(1);
        break;
      case 'd':
        scale = 86400;
        digits.remove_suffix(1);
        break;
      default:
        break;
    }
  }
  const auto count = parse_unsigned(digits);
  if (!count || *count > 1'000'000'000) {
    return fail(ErrorCode::kInvalidConfig, "'" + shown(std::string(text)) + "' is not a duration",
                "write seconds (90) or a number with s, m, h or d (15m)");
  }
  return std::chrono::seconds(static_cast<std::int64_t>(*count * scale));
}

std::string format_duration(std::chrono::seconds duration) {
  const std::int64_t seconds = duration.count();
  if (seconds != 0 && seconds % 86400 == 0) return std::to_string(seconds / 86400) + "d";
  if (seconds != 0 && seconds % 3600 == 0) return std::to_string(seconds / 3600) + "h";
  if (seconds != 0 && seconds % 60 == 0) return std::to_string(seconds / 60) + "m";
  return std::to_string(seconds) + "s";
}

ObjectReader::ObjectReader(Findings& findings, const YamlNode& node, std::string path, const std::string& kind)
    : findings_(&findings), node_(&node), path_(std::move(path)), keys_(&known_keys().at(kind)) {
  usable_ = node.kind == YamlNode::Kind::kMap;
  if (!usable_) {
    const bool empty = node.kind == YamlNode::Kind::kNull;
    findings.error(
        path_, node, empty ? "has no value" : "must be a mapping of keys to values, not " + describe(node),
        "known keys: " + [&] {
          std::string list;
          for (const auto& key : *keys_) list += (list.empty() ? "" : ", ") + key;
          return list;
        }());
    return;
  }
  std::map<std::string_view, int> first_lines;
  for (const auto& entry : node.entries) {
    const auto [first, is_new] = first_lines.emplace(entry.key, entry.line);
    if (is_new) continue;
    findings.add({Severity::kError,
                  ErrorCode::kInvalidConfig,
                  path_of(shown(entry.key)),
                  {},
                  "the key is given twice, first in line " + std::to_string(first->second),
                  "keep one of the two",
                  entry.line});
  }
}

ObjectReader::~ObjectReader() {
  if (!usable_) return;
  std::vector<std::string> guessed;
  std::set<std::string, std::less<>> told;
  for (const auto& entry : node_->entries) {
    if (std::find(keys_->begin(), keys_->end(), entry.key) != keys_->end() || !told.insert(entry.key).second) continue;
    if (findings_->issues.size() > kMaxIssues) break;
    const std::string guess = closest_match(entry.key, *keys_);
    std::string hint;
    if (!guess.empty()) {
      hint = "did you mean '" + guess + "'?";
      guessed.push_back(guess);
      const bool given = std::any_of(node_->entries.begin(), node_->entries.end(),
                                     [&](const auto& other) { return other.key == guess; });
      if (!given) findings_->broken.insert(path_of(guess));
    } else {
      hint = "known keys: ";
      for (const auto& key : *keys_) hint += (&key == &keys_->front() ? "" : ", ") + key;
    }
    findings_->add({Severity::kError,
                    ErrorCode::kInvalidConfig,
                    path_of(shown(entry.key)),
                    {},
                    "unknown key '" + shown(entry.key) + "'",
                    std::move(hint),
                    entry.line});
  }
  for (const auto& key : missing_) {
    // A misspelled key is one mistake, not two.
    if (std::find(guessed.begin(), guessed.end(), key) != guessed.end()) continue;
    findings_->error(path_of(key), *node_, "is missing", "add '" + key + "'");
  }
}

std::string ObjectReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const YamlNode* ObjectReader::take(std::string_view key, Need need) {
  SIMPLON_CHECK(std::find(keys_->begin(), keys_->end(), key) != keys_->end());
  if (!usable_) return nullptr;
  for (const auto& entry : node_->entries) {
    if (entry.key == key) return &entry.value;
  }
  if (need == Need::kRequired) missing_.emplace_back(key);
  return nullptr;
}

bool ObjectReader::is_text(const YamlNode& node, const std::string& path) {
  if (node.kind == YamlNode::Kind::kNull) {
    findings_->error(path, node, "has no value", "give it one or remove the key");
    return false;
  }
  if (node.kind != YamlNode::Kind::kScalar) {
    findings_->error(path, node, "must be a single value, not " + describe(node));
    return false;
  }
  if (node.scalar.size() > kMaxTextBytes) {
    findings_->error(path, node, "is longer than " + std::to_string(kMaxTextBytes) + " bytes");
    return false;
  }
  if (std::any_of(node.scalar.begin(), node.scalar.end(), is_control)) {
    YamlNode silent;
    silent.line = node.line;
    findings_->error(path, silent, "contains a control character", "is it a block or a quoted text with an escape?");
    return false;
  }
  return true;
}

void ObjectReader::read_text(std::string_view key, Need need, std::string& ret) {
  const YamlNode* node = take(key, need);
  if (node == nullptr || !is_text(*node, path_of(key))) return;
  if (node->scalar.empty()) {
    findings_->error(path_of(key), *node, "is empty", "give it a value or remove the key");
    return;
  }
  ret = node->scalar;
}

void ObjectReader::read_text(std::string_view key, std::optional<std::string>& ret) {
  std::string text;
  read_text(key, Need::kOptional, text);
  if (!text.empty()) ret = std::move(text);
}

void ObjectReader::read_bool(std::string_view key, bool& ret) {
  const YamlNode* node = take(key, Need::kOptional);
  if (node == nullptr || !is_text(*node, path_of(key))) return;
  if (!node->quoted && node->scalar == "true") {
    ret = true;
  } else if (!node->quoted && node->scalar == "false") {
    ret = false;
  } else {
    findings_->error(path_of(key), *node, "must be true or false, not " + describe(*node),
                     node->scalar == "true" || node->scalar == "false" ? "write it without quotes" : "");
  }
}

void ObjectReader::read_integer(std::string_view key, Need need, std::uint64_t min, std::uint64_t max,
                                const std::function<void(std::uint64_t)>& assign) {
  const YamlNode* node = take(key, need);
  if (node == nullptr || !is_text(*node, path_of(key))) return;
  const auto value = node->quoted ? std::nullopt : parse_unsigned(node->scalar);
  if (!value) {
    findings_->error(path_of(key), *node, "must be a number, not " + describe(*node),
                     node->quoted ? "write it without quotes" : range(min, max));
  } else if (*value < min || *value > max) {
    findings_->error(path_of(key), *node, node->scalar + " is out of range", range(min, max));
  } else {
    assign(*value);
  }
}

void ObjectReader::read_duration(std::string_view key, std::chrono::seconds min, std::chrono::seconds max,
                                 std::chrono::seconds& ret) {
  read_parsed(
      key, Need::kOptional,
      [&](const std::string& text) -> Result<std::chrono::seconds> {
        auto duration = parse_duration(text);
        if (duration && (*duration < min || *duration > max)) {
          return fail(ErrorCode::kInvalidConfig, text + " is out of range",
                      format_duration(min) + " to " + format_duration(max));
        }
        return duration;
      },
      [&](std::chrono::seconds value) { ret = value; });
}

void ObjectReader::read_list(std::string_view key, Need need, std::size_t max,
                             const std::function<void(const YamlNode&, const std::string&)>& read) {
  const YamlNode* node = take(key, need);
  if (node == nullptr) return;
  const std::string path = path_of(key);
  if (node->kind != YamlNode::Kind::kSequence) {
    const bool empty = node->kind == YamlNode::Kind::kNull;
    findings_->error(path, *node, empty ? "has no value" : "must be a list, not " + describe(*node),
                     empty                                   ? "write [] or remove the key"
                     : node->kind == YamlNode::Kind::kScalar ? "write [" + shown(node->scalar) + "]"
                                                             : "begin each item with '- '");
    return;
  }
  if (node->items.size() > max) {
    findings_->error(path, *node, "has " + std::to_string(node->items.size()) + " items",
                     "at most " + std::to_string(max));
    return;
  }
  for (std::size_t i = 0; i < node->items.size(); ++i) read(node->items[i], path + "[" + std::to_string(i) + "]");
}

}  // namespace simplon::config
