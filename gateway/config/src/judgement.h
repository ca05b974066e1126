// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/config/document.h"
#include "gateway/config/model.h"

namespace simplon::config {

/// A finding of `validate`, with the part of the document it was drawn from besides its own path: if that part could
/// not be read, the finding proves nothing.
struct Judgement {
  enum class Premise : std::uint8_t {
    kNone,
    kPath,         ///< `premise_path` and what is below it
    kDomainNames,  ///< the names of all domains
    kAttachments,  ///< the names and domains of all tunnels, circuits and VPCs
    kInsideLinks,  ///< the inside addresses and domains of all tunnels, addresses and domains of all circuits
  };

  Issue issue;
  Premise premise = Premise::kNone;
  std::string premise_path;
};

/// What is found wrong, in the order in which it is found.
class Judgements {
 public:
  /// Of one kind of object: each name, and the path that has it first.
  using Names = std::map<std::string, std::string, std::less<>>;

  /// The result may be given a premise; good until the next call.
  Judgement& error(std::string path, std::string value, std::string what, std::string hint = {},
                   ErrorCode code = ErrorCode::kInvalidConfig);
  Judgement& conflict(std::string path, std::string value, std::string what, std::string hint = {});
  void warning(std::string path, std::string value, std::string what, std::string hint = {});
  /// Each name is `kind`'s once.
  void unique(Names& names, const std::string& name, const std::string& path, const char* kind);

  [[nodiscard]] std::vector<Judgement> take() { return std::move(list_); }

 private:
  std::vector<Judgement> list_;
};

[[nodiscard]] std::vector<Judgement> judge(const GatewayConfig& config, const ReadOptions& options);
/// Access lists, policies and NAT: a part of `judge`.
[[nodiscard]] std::vector<Judgement> judge_policies(const GatewayConfig& config);

/// As it stands in sentences.
[[nodiscard]] inline std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }
/// Path of an element.
[[nodiscard]] inline std::string at(const std::string& list, std::size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

}  // namespace simplon::config
