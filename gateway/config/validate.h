// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/document.h"
#include "gateway/config/model.h"

namespace simplon::config {

/// Everything that must hold across the fields of a configuration: names unique, references resolved, prefixes of a
/// domain disjoint, addresses where they belong, proposals the forwarder can serve, secrets private.
///
/// Reports all findings in document order; warnings (severity) do not stop an apply. An empty result means that every
/// later stage may rely on the configuration. Reads the metadata of secret files if `options.check_files`.
[[nodiscard]] std::vector<Issue> validate(const GatewayConfig& config, const ReadOptions& options = {});

/// IKE proposals in strongSwan words ("aes256gcm16-prfsha384-ecp384"): nothing that is broken (DES, MD5, DH group 1). Weak
/// algorithms (3DES, DH groups 2 and 5) only with `allow_weak`.
[[nodiscard]] Result<void> check_ike_proposal(std::string_view proposal, bool allow_weak = false);
/// ESP proposals: what the forwarder can do. AES-GCM, ChaCha20-Poly1305, AES-CBC with HMAC-SHA2; with or without PFS group
/// and `esn`/`noesn`. No encryption ("null-sha256") and DH groups 2 and 5 only with `allow_weak`.
[[nodiscard]] Result<void> check_esp_proposal(std::string_view proposal, bool allow_weak = false);

/// [a-z][a-z0-9-]{0,30}
[[nodiscard]] bool is_valid_name(std::string_view name) noexcept;

/// The member of `candidates` that `word` was probably meant to be, or empty.
[[nodiscard]] std::string closest_match(std::string_view word, const std::vector<std::string>& candidates);

/// A hint: the one of `known` that `name` was probably meant to be, or else some of them.
[[nodiscard]] std::string suggest(const std::string& name, const std::vector<std::string>& known);

/// kInvalidConfig: "there is no KIND 'NAME'", with that hint.
[[nodiscard]] Unexpected no_such(const std::string& kind, const std::string& name,
                                 const std::vector<std::string>& known);

}  // namespace simplon::config
