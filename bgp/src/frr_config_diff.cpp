// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_config_diff.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

// Lines of a context are a set, not a list: FRR prints them in its own order. Three things make the comparison more than a
// set difference:
//
// - A *key*: the part of a line that says what it sets. `neighbor A timers 10 30` and `neighbor A timers 3 9` have the same
//   key, so going from one to the other is one command, not a removal and an addition.
// - *Defaults*: FRR does not print a line that equals its default; such a wanted line is fulfilled by absence.
// - *Sequence numbers* of prefix-list entries are FRR's. All entries are permits, so their order means nothing.

namespace simplon::bgp {
namespace {

constexpr std::size_t kMaxDepth = 8;

using Nodes = std::vector<ConfigNode>;

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(' ', at)) != std::string_view::npos) {
    const auto end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string joined(const std::vector<std::string_view>& words, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < std::min(count, words.size()); ++i) {
    if (i != 0) text += ' ';
    text += words[i];
  }
  return text;
}

bool has_prefix(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// `ip prefix-list X seq 5 permit ...` without `seq 5`; other lines as they are.
std::string without_sequence(const std::string& line) {
  const auto words = words_of(line);
  if (words.size() < 6 || words[1] != "prefix-list" || words[3] != "seq") return line;
  std::string text = joined(words, 3);
  for (std::size_t i = 5; i < words.size(); ++i) text.append(" ").append(words[i]);
  return text;
}

/// FRR prints `fpm address A` when the port is its default.
std::string normalized(const std::string& line) {
  constexpr std::string_view kDefaultPort = " port 2620";
  if (has_prefix(line, "fpm address ") && line.size() > kDefaultPort.size() &&
      line.compare(line.size() - kDefaultPort.size(), kDefaultPort.size(), kDefaultPort) == 0) {
    return line.substr(0, line.size() - kDefaultPort.size());
  }
  return without_sequence(line);
}

/// What a line sets; lines with the same key replace each other.
std::string key_of(std::string_view line) {
  if (has_prefix(line, "no ")) return key_of(line.substr(3));
  const auto words = words_of(line);
  if (words.empty()) return {};
  if (words[0] == "neighbor" && words.size() > 2) {
    const auto what = words[2];
    if (what == "remote-as" || what == "password" || what == "description" || what == "maximum-prefix") {
      return joined(words, 3);
    }
    if (what == "timers") return joined(words, words.size() > 3 && words[3] == "connect" ? 4 : 3);
    if (what == "bfd") return joined(words, words.size() > 3 && words[3] == "profile" ? 4 : 3);
    if (what == "route-map" && words.size() == 5) return joined(words, 3) + " " + std::string(words[4]);
    return std::string(line);
  }
  if (words[0] == "bgp" && words.size() > 1) {
    if (words[1] == "router-id") return "bgp router-id";
    if (words[1] == "route-map") return "bgp route-map delay-timer";
    return std::string(line);
  }
  if (words[0] == "maximum-paths") return words.size() > 1 && words[1] == "ibgp" ? "maximum-paths ibgp" : "maximum-paths";
  if (words[0] == "match" && words.size() > 2) return joined(words, 3);
  if (words[0] == "fpm" || words[0] == "log") return joined(words, 2);
  if (words[0] == "detect-multiplier" || words[0] == "receive-interval" || words[0] == "transmit-interval") {
    return std::string(words[0]);
  }
  return std::string(line);
}

/// Lines of ours that FRR does not print because they are its defaults.
bool is_default(std::string_view line) {
  static constexpr std::array<std::string_view, 3> kDefaults = {"detect-multiplier 3", "receive-interval 300",
                                                                "transmit-interval 300"};
  return std::find(kDefaults.begin(), kDefaults.end(), line) != kDefaults.end();
}

/// The command that undoes a line.
std::string negated(const std::string& line) {
  if (has_prefix(line, "no ")) return line.substr(3);
  const auto words = words_of(line);
  if (words.size() > 2 && words[0] == "neighbor") {
    const auto what = words[2];
    // The value is not needed, and a password must not be in one more command.
    if (what == "password" || what == "description" || what == "maximum-prefix" || what == "bfd") {
      return "no " + joined(words, 3);
    }
    if (what == "timers") return "no " + key_of(line);
  }
  return "no " + line;
}

bool opens_context(std::string_view line) {
  return has_prefix(line, "router ") || has_prefix(line, "route-map ") || has_prefix(line, "address-family ") ||
         line == "bfd" || has_prefix(line, "profile ") || has_prefix(line, "peer ");
}

/// Global lines that are ours to remove. Others are an operator's or FRR's.
bool is_managed(std::string_view line) {
  return has_prefix(line, "router bgp ") || has_prefix(line, "ip prefix-list ") ||
         has_prefix(line, "ipv6 prefix-list ") || has_prefix(line, "route-map ");
}

const ConfigNode* find_line(const Nodes& nodes, const std::string& line) {
  const auto it = std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) { return node.line == line; });
  return it == nodes.end() ? nullptr : &*it;
}

/// The neighbor a line is about, or nothing.
std::string_view neighbor_of(std::string_view line) {
  constexpr std::string_view kWord = "neighbor ";
  if (has_prefix(line, "no ")) line.remove_prefix(3);
  if (!has_prefix(line, kWord)) return {};
  line.remove_prefix(kWord.size());
  return line.substr(0, line.find(' '));
}

/// N of "neighbor A maximum-prefix N ..."; 0: another line.
std::uint64_t prefix_limit_of(std::string_view line) {
  const auto words = words_of(line);
  std::uint64_t limit = 0;
  if (words.size() > 3 && words[0] == "neighbor" && words[2] == "maximum-prefix") {
    std::from_chars(words[3].data(), words[3].data() + words[3].size(), limit);
  }
  return limit;
}

class Differ {
 public:
  ConfigChange run(Nodes running, Nodes wanted) {
    for (auto* nodes : {&running, &wanted}) {
      nodes->erase(std::remove_if(nodes->begin(), nodes->end(),
                                  [](const auto& node) { return has_prefix(node.line, "frr "); }),
                   nodes->end());
    }
    remove_instances(running, wanted);
    add_globals(running, wanted);
    remove_globals(running, wanted);
    return std::move(change_);
  }

 private:
  void send(std::string command) { change_.commands.push_back(std::move(command)); }

  static bool is_instance(std::string_view line) { return has_prefix(line, "router bgp "); }

  void remove_instances(const Nodes& running, const Nodes& wanted) {
    for (const auto& node : running) {
      if (is_instance(node.line) && find_line(wanted, node.line) == nullptr) send("no " + node.line);
    }
  }

  void add_globals(const Nodes& running, const Nodes& wanted) {
    static const ConfigNode kAbsent;
    std::set<std::string> present;
    for (const auto& node : running) present.insert(normalized(node.line));
    for (const auto& node : wanted) {
      if (!opens_context(node.line)) {
        if (present.count(normalized(node.line)) == 0) send(node.line);
        continue;
      }
      const ConfigNode* old = find_line(running, node.line);
      context(old != nullptr ? *old : kAbsent, node, old == nullptr);
    }
  }

  void remove_globals(const Nodes& running, const Nodes& wanted) {
    std::set<std::string> kept;
    for (const auto& node : wanted) kept.insert(normalized(node.line));
    // Route-maps first: they refer to the lists.
    for (const bool lists : {false, true}) {
      for (const auto& node : running) {
        const bool is_list = node.line.find("prefix-list ") != std::string::npos;
        if (is_list == lists && is_managed(node.line) && !is_instance(node.line) &&
            kept.count(normalized(node.line)) == 0) {
          send("no " + node.line);
        }
      }
    }
  }

  /// Makes the context `wanted.line` hold the lines of `wanted`. Sends nothing if it does already.
  void context(const ConfigNode& running, const ConfigNode& wanted, bool create) {
    const std::size_t before = change_.commands.size();
    send(wanted.line);
    const std::size_t entered = change_.commands.size();
    if (is_instance(wanted.line)) {
      instance(running, wanted);
    } else {
      const std::set<std::string_view> none;
      lines(running.children, wanted.children, none, Step::kRemove);
      lines(running.children, wanted.children, none, Step::kAdd);
      for (const auto& child : wanted.children) {
        if (!opens_context(child.line)) continue;
        const ConfigNode* old = find_line(running.children, child.line);
        context(old != nullptr ? *old : ConfigNode{}, child, old == nullptr);
      }
    }
    if (change_.commands.size() == entered && !create) {
      change_.commands.resize(before);
      return;
    }
    send(has_prefix(wanted.line, "address-family ") ? "exit-address-family" : "exit");
  }

  void instance(const ConfigNode& running, const ConfigNode& wanted) {
    const auto gone = remove_neighbors(running, wanted);
    lines(running.children, wanted.children, gone, Step::kRemove);
    families(running, wanted, gone, Step::kRemove);
    lines(running.children, wanted.children, gone, Step::kAdd);
    families(running, wanted, gone, Step::kAdd);
    // A session is made with the graceful restart capability or without (RFC 4724): a change needs a new one.
    for (const auto& node : wanted.children) {
      if (node.line.find(" graceful-restart") == std::string::npos) continue;
      const std::string address(neighbor_of(node.line));
      const bool existed = std::any_of(running.children.begin(), running.children.end(), [&](const auto& old) {
        return has_prefix(old.line, "neighbor " + address + " remote-as ");
      });
      if (existed && find_line(running.children, node.line) == nullptr) change_.resets.push_back(address);
    }
    raised_limits(running, wanted);
  }

  void raised_limits(const ConfigNode& running, const ConfigNode& wanted) {
    std::set<std::string> raised;
    for (const auto& family : wanted.children) {
      if (!has_prefix(family.line, "address-family ")) continue;
      const ConfigNode* old = find_line(running.children, family.line);
      if (old == nullptr) continue;
      for (const auto& node : family.children) {
        const auto limit = prefix_limit_of(node.line);
        const auto same = std::find_if(old->children.begin(), old->children.end(), [&](const auto& line) {
          return limit != 0 && prefix_limit_of(line.line) != 0 && neighbor_of(line.line) == neighbor_of(node.line);
        });
        if (same != old->children.end() && prefix_limit_of(same->line) < limit) raised.emplace(neighbor_of(node.line));
      }
    }
    for (const auto& address : change_.resets) raised.erase(address);
    change_.raised_limits.assign(raised.begin(), raised.end());
  }

  /// `no neighbor A` takes every line of A with it, also in the address families.
  std::set<std::string_view> remove_neighbors(const ConfigNode& running, const ConfigNode& wanted) {
    std::set<std::string_view> kept;
    for (const auto& node : wanted.children) kept.insert(neighbor_of(node.line));
    std::set<std::string_view> gone;
    std::vector<std::string_view> groups;
    for (const auto& node : running.children) {
      const auto neighbor = neighbor_of(node.line);
      if (neighbor.empty() || kept.count(neighbor) != 0 || !gone.insert(neighbor).second) continue;
      // `neighbor G peer-group` declares a group; its members go first.
      if (node.line == "neighbor " + std::string(neighbor) + " peer-group") {
        groups.push_back(neighbor);
      } else {
        send("no neighbor " + std::string(neighbor));
      }
    }
    for (const auto group : groups) send("no neighbor " + std::string(group) + " peer-group");
    return gone;
  }

  enum class Step { kRemove, kAdd };

  void families(const ConfigNode& running, const ConfigNode& wanted, const std::set<std::string_view>& gone, Step step) {
    static const ConfigNode kNothing;
    const auto one = [&](const ConfigNode& old, const ConfigNode& new_, const std::string& line) {
      const std::size_t before = change_.commands.size();
      send(line);
      const std::size_t entered = change_.commands.size();
      lines(old.children, new_.children, gone, step);
      if (change_.commands.size() == entered) {
        change_.commands.resize(before);
      } else {
        send("exit-address-family");
      }
    };
    for (const auto& node : wanted.children) {
      if (!has_prefix(node.line, "address-family ")) continue;
      const ConfigNode* old = find_line(running.children, node.line);
      one(old != nullptr ? *old : kNothing, node, node.line);
    }
    if (step != Step::kRemove) return;
    for (const auto& node : running.children) {
      if (has_prefix(node.line, "address-family ") && find_line(wanted.children, node.line) == nullptr) {
        one(node, kNothing, node.line);
      }
    }
  }

  /// The plain lines of one context.
  void lines(const Nodes& running, const Nodes& wanted, const std::set<std::string_view>& gone, Step step) {
    if (step == Step::kRemove) {
      std::set<std::string> wanted_lines;
      std::set<std::string> wanted_keys;
      for (const auto& node : wanted) {
        wanted_lines.insert(node.line);
        wanted_keys.insert(key_of(node.line));
      }
      std::set<std::string> sent;
      for (const auto& node : running) {
        if (has_prefix(node.line, "address-family ") || gone.count(neighbor_of(node.line)) != 0) continue;
        if (wanted_lines.count(node.line) != 0 || wanted_keys.count(key_of(node.line)) != 0) continue;
        auto command = negated(node.line);
        if (sent.insert(command).second) send(std::move(command));
      }
      return;
    }
    std::set<std::string> running_lines;
    std::set<std::string> running_keys;
    for (const auto& node : running) {
      running_lines.insert(node.line);
      running_keys.insert(key_of(node.line));
    }
    for (const auto& node : wanted) {
      if (opens_context(node.line) || running_lines.count(node.line) != 0) continue;
      if (is_default(node.line) && running_keys.count(key_of(node.line)) == 0) continue;
      send(node.line);
    }
  }

  ConfigChange change_;
};

}  // namespace

Result<std::vector<ConfigNode>> parse_config(std::string_view text) {
  Nodes roots;
  std::vector<std::pair<std::size_t, Nodes*>> open = {{0, &roots}};
  std::size_t last_indent = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    const auto indent = std::min(line.find_first_not_of(' '), line.size());
    line.remove_prefix(indent);
    if (line.empty() || line.front() == '!' || line.front() == '#') continue;
    if (line == "exit" || line == "end" || has_prefix(line, "exit-")) continue;

    if (indent > last_indent && !open.back().second->empty()) {
      if (open.size() == kMaxDepth) {
        return fail(ErrorCode::kPeer, "an FRR configuration nests deeper than " + std::to_string(kMaxDepth) + " levels");
      }
      open.emplace_back(indent, &open.back().second->back().children);
    }
    while (open.size() > 1 && indent < open.back().first) open.pop_back();
    open.back().second->push_back({.line = std::string(line), .children = {}});
    last_indent = indent;
  }
  return roots;
}

Result<ConfigChange> diff_config(std::string_view running, std::string_view wanted) {
  auto old = parse_config(running);
  if (!old) return Unexpected(std::move(old).error());
  auto now = parse_config(wanted);
  if (!now) return Unexpected(std::move(now).error());
  return Differ().run(*std::move(old), *std::move(now));
}

}  // namespace simplon::bgp
