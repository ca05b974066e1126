// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/src/judgement.h"
#include "gateway/config/src/object_reader.h"

namespace simplon::config {

/// Tells which judgements stand beside what could not be read.
class Credibility {
 public:
  explicit Credibility(const Findings& findings);

  /// False if something that could not be read is at, above or below the place the judgement is about, or is its
  /// premise.
  [[nodiscard]] bool holds(const Judgement& judgement) const;

 private:
  [[nodiscard]] bool is_broken(const std::string& path) const;
  [[nodiscard]] bool is_list_broken(std::string_view list, const std::vector<std::string_view>& fields) const;

  const std::set<std::string, std::less<>>* broken_;
  bool domain_names_;
  bool attachments_;
  bool inside_links_;
};

}  // namespace simplon::config
