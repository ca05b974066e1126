// SPDX-License-Identifier: GPL-2.0-or-later
//
// Works on lines, not on YAML: a list in block style is a key and, below it, lines that begin with a dash in one column. What
// looks like a list and is none (inside a block scalar, for one) does no harm, because the result is read back and compared:
// the worst that can happen is that the document has to be written anew.
#include "gateway/config/rewrite.h"

#include <algorithm>
#include <functional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/config/document.h"

namespace simplon::config {
namespace {

using Lines = std::vector<std::string>;

struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// A list below a key.
struct List {
  std::size_t key = 0;
  /// Column of the dashes; of a list without items, where they should be.
  std::size_t column = 0;
  /// With the comments directly above each.
  std::vector<Range> items;
};

std::size_t column_of(const std::string& line) { return std::min(line.find_first_not_of(' '), line.size()); }

bool is_comment(const std::string& line) { return column_of(line) < line.size() && line[column_of(line)] == '#'; }

bool says_nothing(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos || is_comment(line);
}

bool is_item(const std::string& line, std::size_t column) {
  return column_of(line) == column && column < line.size() && line[column] == '-' &&
         (line.size() == column + 1 || line[column + 1] == ' ');
}

Lines split(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string join(const Lines& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

/// What follows "KEY:", without spaces and comment.
std::string_view value_behind(std::string_view line, std::size_t from) {
  std::string_view rest = line.substr(from);
  if (const std::size_t hash = rest.find('#'); hash != std::string_view::npos) rest = rest.substr(0, hash);
  const std::size_t begin = rest.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return rest.substr(begin, rest.find_last_not_of(" \t\r") - begin + 1);
}

/// The list `key` in column `column` between the lines of `where`. `ret_there`: the key is there, whatever its value.
std::optional<List> find_list(const Lines& lines, Range where, const std::string& key, std::size_t column, bool& ret_there) {
  ret_there = false;
  List list;
  for (list.key = where.begin; list.key < where.end; ++list.key) {
    if (column_of(lines[list.key]) == column && lines[list.key].compare(column, key.size() + 1, key + ":") == 0) break;
  }
  if (list.key == where.end) return std::nullopt;
  ret_there = true;
  const auto value = value_behind(lines[list.key], column + key.size() + 1);
  list.column = column + 2;
  if (value == "[]") return list;
  if (!value.empty()) return std::nullopt;
  std::size_t at = list.key + 1;
  while (at < where.end && says_nothing(lines[at])) ++at;
  if (at == where.end || column_of(lines[at]) < column || !is_item(lines[at], column_of(lines[at]))) return list;
  list.column = column_of(lines[at]);
  for (; at < where.end; ++at) {
    const std::string& line = lines[at];
    if (says_nothing(line)) continue;
    if (is_item(line, list.column)) {
      std::size_t begin = at;
      const std::size_t before = list.items.empty() ? list.key + 1 : list.items.back().end;
      while (begin > before && is_comment(lines[begin - 1]) && column_of(lines[begin - 1]) == list.column) --begin;
      list.items.push_back({begin, at + 1});
    } else if (column_of(line) > list.column) {
      list.items.back().end = at + 1;
    } else {
      break;
    }
  }
  return list;
}

/// Comments above it excluded.
std::size_t first_line_of(const Lines& lines, const Range& item) {
  std::size_t at = item.begin;
  while (says_nothing(lines[at])) ++at;
  return at;
}

class Rewriter {
 public:
  explicit Rewriter(const std::string& text) : lines_(split(text)) {}

  [[nodiscard]] std::string text() const { return join(lines_); }

  bool remove(const std::string& key, std::size_t index) {
    bool there = false;
    const auto list = find_list(lines_, all(), key, 0, there);
    return list && remove_item(*list, index);
  }

  /// `item`: its lines without margin.
  bool append(const std::string& key, const Lines& item) {
    bool there = false;
    const auto list = find_list(lines_, all(), key, 0, there);
    if (list) return append_item(*list, item);
    if (there) return false;
    lines_.push_back(key + ":");
    insert(lines_.size(), 2, item);
    return true;
  }

  bool remove_endpoint(std::size_t vpc, std::size_t index) {
    std::size_t column = 0;
    const auto where = inside_vpc(vpc, column);
    bool there = false;
    const auto list = where ? find_list(lines_, *where, "endpoints", column, there) : std::nullopt;
    return list && remove_item(*list, index);
  }

  bool append_endpoint(std::size_t vpc, const Lines& item) {
    std::size_t column = 0;
    const auto where = inside_vpc(vpc, column);
    if (!where) return false;
    bool there = false;
    const auto list = find_list(lines_, *where, "endpoints", column, there);
    if (list) return append_item(*list, item);
    if (there) return false;
    insert(where->end, column, {"endpoints:"});
    insert(where->end + 1, column + 2, item);
    return true;
  }

 private:
  [[nodiscard]] Range all() const { return {0, lines_.size()}; }

  /// The lines of a VPC in block style, and the column of its keys.
  std::optional<Range> inside_vpc(std::size_t vpc, std::size_t& ret_column) const {
    bool there = false;
    const auto list = find_list(lines_, all(), "vpcs", 0, there);
    if (!list || vpc >= list->items.size()) return std::nullopt;
    const Range item{first_line_of(lines_, list->items[vpc]), list->items[vpc].end};
    ret_column = lines_[item.begin].find_first_not_of(' ', list->column + 1);
    if (ret_column == std::string::npos || lines_[item.begin][ret_column] == '{') return std::nullopt;
    return item;
  }

  void insert(std::size_t at, std::size_t margin, const Lines& item) {
    Lines indented;
    for (const auto& line : item) indented.push_back(std::string(margin, ' ') + line);
    lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(at), indented.begin(), indented.end());
  }

  bool remove_item(const List& list, std::size_t index) {
    if (index >= list.items.size()) return false;
    const Range& item = list.items[index];
    lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(item.begin),
                 lines_.begin() + static_cast<std::ptrdiff_t>(item.end));
    if (list.items.size() == 1) {
      std::string& key = lines_[list.key];
      key.insert(key.find(':', column_of(key)) + 1, " []");
    }
    return true;
  }

  bool append_item(const List& list, const Lines& item) {
    if (list.items.empty()) {
      std::string& key = lines_[list.key];
      if (const std::size_t empty = key.find("[]"); empty != std::string::npos) {
        key.erase(empty, 2);
        key.erase(key.find_last_not_of(' ') + 1);
      }
    }
    insert(list.items.empty() ? list.key + 1 : list.items.back().end, list.column, item);
    return true;
  }

  Lines lines_;
};

Lines without_margin(const Lines& lines, const Range& item, std::size_t margin) {
  Lines out;
  for (std::size_t at = item.begin; at < item.end; ++at) {
    out.push_back(lines[at].size() > margin ? lines[at].substr(margin) : std::string());
  }
  return out;
}

/// How the only item of list `key` of a document is written.
Lines written(const GatewayConfig& config, const std::string& key) {
  const Lines lines = split(emit_document(config));
  bool there = false;
  const auto list = find_list(lines, {0, lines.size()}, key, 0, there);
  if (!list || list->items.size() != 1) return {};
  return without_margin(lines, list->items.front(), list->column);
}

Lines written_endpoint(VpcConfig vpc, const EndpointConfig& endpoint) {
  vpc.endpoints = {endpoint};
  GatewayConfig config;
  config.vpcs = {std::move(vpc)};
  const Lines lines = written(config, "vpcs");
  bool there = false;
  const auto list = find_list(lines, {0, lines.size()}, "endpoints", 2, there);
  if (!list || list->items.size() != 1) return {};
  return without_margin(lines, list->items.front(), list->column);
}

template <class T>
struct Difference {
  /// Places in `before`, last first.
  std::vector<std::size_t> removed;
  std::vector<T> added;
};

template <class T, class Same>
Difference<T> compare(const std::vector<T>& before, const std::vector<T>& after, Same same) {
  Difference<T> difference;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (kept < after.size() && same(before[i], after[kept])) {
      ++kept;
    } else {
      difference.removed.insert(difference.removed.begin(), i);
    }
  }
  difference.added.assign(after.begin() + static_cast<std::ptrdiff_t>(kept), after.end());
  return difference;
}

template <class T>
bool rewrite_list(Rewriter& rewriter, const std::string& key, std::vector<T> GatewayConfig::*list,
                  const Difference<T>& difference) {
  for (const std::size_t index : difference.removed) {
    if (!rewriter.remove(key, index)) return false;
  }
  for (const auto& item : difference.added) {
    GatewayConfig config;
    (config.*list) = {item};
    const Lines lines = written(config, key);
    if (lines.empty() || !rewriter.append(key, lines)) return false;
  }
  return true;
}

bool rewrite_endpoints(Rewriter& rewriter, std::size_t place, const VpcConfig& before, const VpcConfig& after) {
  const auto difference = compare(before.endpoints, after.endpoints, std::equal_to<EndpointConfig>());
  for (const std::size_t index : difference.removed) {
    if (!rewriter.remove_endpoint(place, index)) return false;
  }
  for (const auto& endpoint : difference.added) {
    const Lines lines = written_endpoint(after, endpoint);
    if (lines.empty() || !rewriter.append_endpoint(place, lines)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> rewrite_document(const std::string& text, const GatewayConfig& before,
                                            const GatewayConfig& after) {
  Rewriter rewriter(text);
  const auto equal = [](const auto& a, const auto& b) { return a == b; };
  const auto same_vpc = [](const VpcConfig& a, const VpcConfig& b) { return a.name == b.name; };
  // Endpoints while the VPCs still have their places.
  for (const auto& vpc : after.vpcs) {
    const auto old = std::find_if(before.vpcs.begin(), before.vpcs.end(), [&](const auto& b) { return b.name == vpc.name; });
    if (old == before.vpcs.end()) continue;
    const auto place = static_cast<std::size_t>(old - before.vpcs.begin());
    if (!rewrite_endpoints(rewriter, place, *old, vpc)) return std::nullopt;
  }
  if (!rewrite_list(rewriter, "domains", &GatewayConfig::domains, compare(before.domains, after.domains, equal)) ||
      !rewrite_list(rewriter, "vpcs", &GatewayConfig::vpcs, compare(before.vpcs, after.vpcs, same_vpc)) ||
      !rewrite_list(rewriter, "tunnels", &GatewayConfig::tunnels, compare(before.tunnels, after.tunnels, equal)) ||
      !rewrite_list(rewriter, "circuits", &GatewayConfig::circuits, compare(before.circuits, after.circuits, equal))) {
    return std::nullopt;
  }
  std::string rewritten = rewriter.text();
  const Document read = parse_document(rewritten);
  if (!read.ok() || read.config != after) return std::nullopt;
  return rewritten;
}

}  // namespace simplon::config
