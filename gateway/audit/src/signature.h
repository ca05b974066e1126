// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/result.h"

namespace simplon::audit {

inline constexpr std::string_view kLineContext = "simplon-audit-1\n";
inline constexpr std::string_view kHeadContext = "simplon-audit-head-1\n";
inline const std::string kNoHash(64, '0');

/// An Ed25519 key, with or without its private half.
class Key {
 public:
  [[nodiscard]] static Key generate();
  /// PEM. Errors: kInvalidConfig naming the path.
  [[nodiscard]] static Result<Key> load_private(const std::string& path);
  [[nodiscard]] static Result<Key> load_public(const std::string& path);

  [[nodiscard]] std::string private_pem() const;
  [[nodiscard]] std::string public_pem() const;
  /// `body` is an object without its closing brace; the result is the whole object with "sig".
  [[nodiscard]] std::string seal(std::string_view context, std::string_view body) const;
  /// The body of what `seal` returned; nothing if the signature is not ours.
  [[nodiscard]] std::optional<std::string_view> open(std::string_view context, std::string_view sealed) const;

 private:
  struct Held;
  explicit Key(std::shared_ptr<Held> held) : held_(std::move(held)) {}
  std::shared_ptr<Held> held_;
};

/// Existing files of a log, oldest first: audit.log.2, audit.log.1, audit.log.
[[nodiscard]] std::vector<std::string> files_of(const std::string& log);

}  // namespace simplon::audit
