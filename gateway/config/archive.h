// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/config/store.h"
#include "platform/base/result.h"

// The whole box in one file: configuration, ids, on request history and secrets.
//
// A JSON object: "simplon_archive": 1, "created", "software", "gateway", "version", "document" (YAML as applied), "ids",
// "history" (oldest first), "secrets", and "sha256" over the rest of the object as nlohmann-json writes it (members
// sorted, no white space). In a file "secrets" is sealed: AES-256-GCM under a key that scrypt (RFC 7914) makes of a
// passphrase, bound to the document by its hash as additional data.

namespace simplon::config {

struct Archive {
  std::string created;
  std::string software;
  std::string gateway;
  std::uint64_t version = 0;
  std::string document;
  IdRegistry::Snapshot ids;
  /// Oldest first, the exported version not included.
  std::vector<StoredDocument> history;
  /// Contents of secret files by path. Wiped at the end.
  std::map<std::string, std::string> secrets;
  /// Sealed secrets as they stand in the file; empty if there are none.
  std::string sealed;

  Archive() = default;
  Archive(Archive&&) = default;
  Archive& operator=(Archive&&) = default;
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;
  ~Archive();
};

/// Without secrets in clear. `passphrase`: seals `archive.secrets`, empty if there are none. Cost: scrypt, 100 ms and
/// 64 MiB. Errors: kExhausted if there is no memory for that.
[[nodiscard]] Result<std::string> format_archive(const Archive& archive, const std::string& passphrase);
/// With secrets in clear: for the local API only, never for a file.
[[nodiscard]] std::string format_open_archive(const Archive& archive);

/// Errors: kInvalidConfig for what is no archive, is damaged or nested, or is of a later release. Secrets stay sealed.
[[nodiscard]] Result<Archive> read_archive(std::string_view text);
/// Opens `archive.sealed` into `archive.secrets`. Errors: kInvalidConfig for a wrong passphrase or changed secrets.
[[nodiscard]] Result<void> open_secrets(Archive& archive, const std::string& passphrase);

/// Paths of all secret files of a configuration, each once.
[[nodiscard]] std::vector<std::string> secret_files(const GatewayConfig& config);

}  // namespace simplon::config
