// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/credibility.h"

#include <algorithm>

namespace simplon::config {
namespace {

/// True if `path` is `prefix` or below it.
bool is_at_or_below(std::string_view path, std::string_view prefix) {
  if (prefix.empty()) return true;
  return path.starts_with(prefix) &&
         (path.size() == prefix.size() || path[prefix.size()] == '.' || path[prefix.size()] == '[');
}

}  // namespace

Credibility::Credibility(const Findings& findings)
    : broken_(&findings.broken),
      domain_names_(!is_list_broken("domains", {"name"})),
      attachments_(!is_list_broken("tunnels", {"name", "domain"}) && !is_list_broken("circuits", {"name", "domain"}) &&
                   !is_list_broken("vpcs", {"name", "domain"})),
      inside_links_(!is_list_broken("tunnels", {"inside", "domain"}) &&
                    !is_list_broken("circuits", {"addresses", "domain"})) {}

bool Credibility::is_broken(const std::string& path) const {
  if (broken_->contains("")) return true;
  for (std::size_t end = 0; end != std::string::npos;) {  // the path and everything above it
    end = path.find_first_of(".[", end + 1);
    if (broken_->contains(std::string_view(path).substr(0, end))) return true;
  }
  for (const char separator : {'.', '['}) {  // anything below it
    const std::string below = path + separator;
    const auto next = broken_->lower_bound(below);
    if (next != broken_->end() && next->starts_with(below)) return true;
  }
  return false;
}

/// True if a whole list, an element, or one of `fields` of an element could not be read.
bool Credibility::is_list_broken(std::string_view list, const std::vector<std::string_view>& fields) const {
  return std::any_of(broken_->begin(), broken_->end(), [&](std::string_view broken) {
    if (broken.empty() || broken == list) return true;
    if (!is_at_or_below(broken, list)) return false;
    const auto close = broken.find(']');
    if (close == std::string_view::npos || close + 1 == broken.size()) return true;
    const std::string_view rest = broken.substr(close + 2);
    return std::any_of(fields.begin(), fields.end(),
                       [&](std::string_view field) { return is_at_or_below(rest, field); });
  });
}

bool Credibility::holds(const Judgement& judgement) const {
  if (broken_->empty()) return true;
  if (is_broken(judgement.issue.path)) return false;
  switch (judgement.premise) {
    case Judgement::Premise::kNone:
      return true;
    case Judgement::Premise::kPath:
      return !is_broken(judgement.premise_path);
    case Judgement::Premise::kDomainNames:
      return domain_names_;
    case Judgement::Premise::kAttachments:
      return attachments_;
    case Judgement::Premise::kInsideLinks:
      return inside_links_;
  }
  return true;
}

}  // namespace simplon::config
