// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <istream>
#include <map>
#include <streambuf>

// yaml-cpp is used as an event source only. Its own node graph resolves aliases lazily, so a few hundred bytes can
// stand for billions of nodes, and each access may throw. Here events build a plain tree at once, under a budget of
// nodes, bytes and depth that expanded aliases are charged to like everything else; an alias that refers to a node that
// still is being read (a cycle) is refused. Exceptions of yaml-cpp and of the budget end in `parse_yaml`.

namespace simplon::config {
namespace {

/// Scalar bytes after expansion of aliases.
constexpr std::size_t kMaxTreeBytes = 64U << 20;

struct Refusal {
  Issue issue;
};

[[noreturn]] void refuse(int line, std::string what, std::string hint = {}) {
  throw Refusal{{Severity::kError, ErrorCode::kInvalidConfig, {}, {}, std::move(what), std::move(hint), line}};
}

struct Weight {
  std::size_t nodes = 0;
  std::size_t bytes = 0;
  int depth = 0;
};

Weight weigh(const YamlNode& node) {
  Weight weight{1, node.scalar.size(), 1};
  const auto add = [&](const YamlNode& child, std::size_t key_bytes) {
    const Weight below = weigh(child);
    weight.nodes += below.nodes;
    weight.bytes += below.bytes + key_bytes;
    weight.depth = std::max(weight.depth, below.depth + 1);
  };
  for (const auto& item : node.items) add(item, 0);
  for (const auto& entry : node.entries) add(entry.value, entry.key.size());
  return weight;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(YamlNode::Kind::kNull, mark, {}), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = leaf(YamlNode::Kind::kScalar, mark, value);
    // yaml-cpp marks plain scalars with the tag "?" and quoted ones with "!".
    node.quoted = tag != "?" && !tag.empty();
    if (!node.quoted && (value == "~" || value == "null" || value == "Null" || value == "NULL")) {
      node.kind = YamlNode::Kind::kNull;
      node.scalar.clear();
    }
    add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark.line + 1, "an alias refers to a value that contains it");
    const Weight weight = weigh(found->second);
    charge(weight.nodes - 1, weight.bytes, mark.line + 1);
    alias_nodes_ += weight.nodes;
    if (alias_nodes_ > kMaxAliasNodes) {
      refuse(mark.line + 1, "aliases expand to more than " + std::to_string(kMaxAliasNodes) + " values",
             "use fewer aliases");
    }
    if (static_cast<int>(stack_.size()) + weight.depth > kMaxDocumentDepth) refuse_depth(mark.line + 1);
    add(found->second, 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kSequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool key_open = false;
  };

  static YamlNode leaf(YamlNode::Kind kind, const YAML::Mark& mark, std::string text) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.scalar = std::move(text);
    return node;
  }

  [[noreturn]] static void refuse_depth(int line) {
    refuse(line, "nested more than " + std::to_string(kMaxDocumentDepth) + " levels deep");
  }

  void charge(std::size_t nodes, std::size_t bytes, int line) {
    nodes_ += nodes;
    bytes_ += bytes;
    if (nodes_ > kMaxDocumentNodes || bytes_ > kMaxTreeBytes) {
      refuse(line, "the document has more than " + std::to_string(kMaxDocumentNodes) + " values",
             "write fewer objects");
    }
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (static_cast<int>(stack_.size()) + 1 >= kMaxDocumentDepth) refuse_depth(mark.line + 1);
    stack_.push_back({leaf(kind, mark, {}), anchor, false});
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    add(std::move(frame.node), frame.anchor);
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    charge(1, node.scalar.size(), node.line);
    if (anchor != 0) {
      const Weight weight = weigh(node);
      charge(weight.nodes, weight.bytes, node.line);  // the copy that aliases are made from
      anchors_[anchor] = node;
    }
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.key_open) {
      parent.node.entries.back().value = std::move(node);
      parent.key_open = false;
    } else {
      if (node.kind != YamlNode::Kind::kScalar) refuse(node.line, "a key must be a word");
      parent.node.entries.push_back({std::move(node.scalar), node.line, {}});
      parent.key_open = true;
    }
  }

  YamlNode root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  std::size_t nodes_ = 0;
  std::size_t alias_nodes_ = 0;
  std::size_t bytes_ = 0;
};

/// Reads the bytes where they are.
class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // only read: there is no put area
    setg(begin, begin, begin + text.size());
  }
};

int line_of(std::string_view text, std::size_t offset) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

Issue syntax_issue(std::string what, int line, std::string hint) {
  return {Severity::kError, ErrorCode::kInvalidConfig, {}, {}, std::move(what), std::move(hint), line};
}

/// Bytes of the valid sequence at the start of `text`, or 0.
std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                             : (first & 0xf0) == 0xe0         ? 3
                             : first >= 0xf0 && first <= 0xf4 ? 4
                                                              : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // RFC 3629 section 4: no overlong forms, no surrogates, nothing above U+10FFFF.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

std::size_t valid_utf8_bytes(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8_sequence(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

}  // namespace

bool is_valid_utf8(std::string_view text) noexcept { return valid_utf8_bytes(text) == text.size(); }

const YamlNode& YamlNode::nearest(std::string_view path) const {
  const YamlNode* node = this;
  while (!path.empty()) {
    if (path.front() == '.') path.remove_prefix(1);
    if (path.starts_with('[')) {
      std::size_t index = 0;
      const auto close = path.find(']');
      if (close == std::string_view::npos) break;
      const auto [end, error] = std::from_chars(path.data() + 1, path.data() + close, index);
      if (error != std::errc{} || end != path.data() + close || index >= node->items.size()) break;
      node = &node->items[index];
      path.remove_prefix(close + 1);
      continue;
    }
    const std::string_view key = path.substr(0, path.find_first_of(".["));
    const auto found =
        std::find_if(node->entries.begin(), node->entries.end(), [&](const Entry& entry) { return entry.key == key; });
    if (found == node->entries.end()) break;
    node = &found->value;
    path.remove_prefix(key.size());
  }
  return *node;
}

tl::expected<YamlNode, Issue> parse_yaml(std::string_view text) {
  if (text.size() > kMaxDocumentBytes) {
    return tl::unexpected(syntax_issue("the document has " + std::to_string(text.size()) + " bytes", 0,
                                       "at most " + std::to_string(kMaxDocumentBytes) + " are read"));
  }
  if (const std::size_t valid = valid_utf8_bytes(text); valid != text.size()) {
    return tl::unexpected(syntax_issue("the document is not valid UTF-8", line_of(text, valid), "save it as UTF-8"));
  }
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    return tl::unexpected(syntax_issue("the document contains a NUL byte", line_of(text, nul), "is it a text file?"));
  }
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    YamlNode root = builder.take();
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) {
      return tl::unexpected(syntax_issue("there is more than one document", second.take().line,
                                         "a configuration is one document: remove what follows '---'"));
    }
    return root;
  } catch (const Refusal& refusal) {
    return tl::unexpected(refusal.issue);
  } catch (const YAML::Exception& error) {
    return tl::unexpected(syntax_issue("not YAML: " + error.msg, error.mark.is_null() ? 0 : error.mark.line + 1,
                                       "check indentation, colons and quotes near this line"));
  } catch (const std::exception& error) {
    return tl::unexpected(syntax_issue(std::string("not YAML: ") + error.what(), 0, {}));
  }
}

}  // namespace simplon::config
