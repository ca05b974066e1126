// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "platform/base/result.h"

namespace simplon::config {

/// Replaces secret files so that they belong to a configuration that is about to be committed.
///
///     auto swap = SecretSwap::begin(state, "/etc/simplon", store.current(), secrets);
///     ... apply, commit ...
///     swap->keep();              // or swap->go_back()
///
/// A journal in the state directory holds the former contents meanwhile (mode 0600), so that `recover` undoes a swap whose
/// configuration was never committed: at the next start, and before the next change, which would pass for that configuration.
/// Threads: one. Blocks on small files.
class SecretSwap {
 public:
  /// `secrets`: contents by path. Errors: kInvalidConfig for a path that is not a file directly in `folder`, one that is there and not
  /// private, or a content that is no secret; kExhausted and kUnavailable of the disk. Nothing is changed then.
  [[nodiscard]] static Result<SecretSwap> begin(const std::filesystem::path& state_directory, const std::string& folder,
                                                std::uint64_t current_version,
                                                const std::map<std::string, std::string>& secrets);
  /// As `begin`, without changing anything. The paths that exist with another content.
  [[nodiscard]] static Result<std::map<std::string, bool>> inspect(const std::string& folder,
                                                                   const std::map<std::string, std::string>& secrets);
  /// The configuration was committed.
  void keep() noexcept;
  /// Errors: a file that could not be put back; the others are.
  Result<void> go_back();

  /// While no swap is under way, before secrets are read: finishes what a crash or a failing disk has interrupted. True if files
  /// were put back. Errors: of the disk; a damaged journal.
  [[nodiscard]] static Result<bool> recover(const std::filesystem::path& state_directory, std::uint64_t current_version);

 private:
  SecretSwap(std::string journal, std::map<std::string, std::optional<std::string>> former)
      : journal_(std::move(journal)), former_(std::move(former)) {}

  std::string journal_;
  /// Nothing: the file did not exist.
  std::map<std::string, std::optional<std::string>> former_;
};

}  // namespace simplon::config
