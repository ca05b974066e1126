// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/validate.h"

#include <algorithm>

#include "gateway/config/src/credibility.h"
#include "gateway/config/src/judge.h"
#include "gateway/config/src/parsed_document.h"

namespace simplon::config {

std::vector<Judgement> judge(const GatewayConfig& config, const ReadOptions& options) {
  return Judge(config, options).run();
}

std::vector<Issue> validate(const GatewayConfig& config, const ReadOptions& options) {
  std::vector<Issue> issues;
  for (auto& judgement : judge(config, options)) issues.push_back(std::move(judgement.issue));
  return issues;
}

Document read_document(std::string_view yaml, const ReadOptions& options) {
  ParsedDocument parsed = parse_to_model(yaml);
  if (!parsed.findings.broken.contains("")) {
    const Credibility credibility(parsed.findings);
    for (auto& judgement : judge(parsed.config, options)) {
      if (!credibility.holds(judgement)) continue;
      judgement.issue.line = parsed.tree.nearest(judgement.issue.path).line;
      parsed.findings.add(std::move(judgement.issue));
    }
  }
  std::stable_sort(parsed.findings.issues.begin(), parsed.findings.issues.end(),
                   [](const Issue& a, const Issue& b) { return a.line < b.line; });
  return {std::move(parsed.config), std::move(parsed.findings.issues)};
}

bool is_valid_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > 31 || name.front() < 'a' || name.front() > 'z') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

}  // namespace simplon::config
