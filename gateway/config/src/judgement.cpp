// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/judgement.h"

namespace simplon::config {

Judgement& Judgements::error(std::string path, std::string value, std::string what, std::string hint, ErrorCode code) {
  list_.push_back(
      {{Severity::kError, code, std::move(path), std::move(value), std::move(what), std::move(hint), 0}, {}, {}});
  return list_.back();
}

Judgement& Judgements::conflict(std::string path, std::string value, std::string what, std::string hint) {
  return error(std::move(path), std::move(value), std::move(what), std::move(hint), ErrorCode::kConflict);
}

void Judgements::warning(std::string path, std::string value, std::string what, std::string hint) {
  list_.push_back({{Severity::kWarning, ErrorCode::kInvalidConfig, std::move(path), std::move(value), std::move(what),
                    std::move(hint), 0},
                   {},
                   {}});
}

void Judgements::unique(Names& names, const std::string& name, const std::string& path, const char* kind) {
  if (name.empty()) return;
  const auto [first, is_new] = names.emplace(name, path);
  if (is_new) return;
  conflict(path, name, std::string(kind) + " " + quoted(name) + " exists already, at " + first->second,
           "choose another name");
}

}  // namespace simplon::config
