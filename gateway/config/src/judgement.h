// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/document.h"
#include "gateway/config/model.h"
#include "gateway/config/src/object_reader.h"

namespace simplon::config {

/// A finding of `validate`, with the part of the document it was drawn from besides its own path: if that part could
/// not be read, the finding proves nothing.
struct Judgement {
  enum class Premise : std::uint8_t {
    kNone,
    kPath,         ///< `premise_path` and what is below it
    kDomainNames,  ///< the names of all domains
    kTunnelNames,  ///< the names and domains of all tunnels
    kInsideLinks,  ///< the inside addresses and domains of all tunnels, addresses and domains of all circuits
  };

  Issue issue;
  Premise premise = Premise::kNone;
  std::string premise_path;
};

[[nodiscard]] std::vector<Judgement> judge(const GatewayConfig& config, const ReadOptions& options);
/// Access lists, policies and NAT: a part of `judge`.
void judge_policies(const GatewayConfig& config, std::vector<Judgement>& judgements);

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
  bool tunnel_names_;
  bool inside_links_;
};

}  // namespace simplon::config
