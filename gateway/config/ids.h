// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/model.h"
#include "platform/base/ids.h"
#include "platform/base/result.h"

namespace simplon::config {

/// Ids of domains, tunnels and circuits by name, kept in a file of the state directory (`ids`).
///
/// An id stays with its name over restarts (it is the if_id of live SAs and part of interface names), is never 0, and
/// is never given to another name afterwards: numbers only grow. Threads: one. Blocks on the disk (one small file) when
/// something new is named.
class IdRegistry {
 public:
  /// Errors: kUnavailable, or kInvalidConfig if the file is damaged (it is never guessed anew: wrong ids mix tunnels).
  [[nodiscard]] static Result<IdRegistry> open(const std::filesystem::path& state_directory);

  /// Gives an id to each domain, tunnel and circuit of `config` that has none; persisted before it returns.
  /// Errors: kExhausted (no numbers left), kUnavailable; then nothing changed.
  [[nodiscard]] Result<void> assign(const GatewayConfig& config);
  /// Forgets names that are not in `config`; call when their objects are gone from charon and the forwarder.
  [[nodiscard]] Result<void> retain(const GatewayConfig& config);

  /// What there is, for an export.
  struct Snapshot {
    std::map<std::string, std::uint32_t, std::less<>> domains;
    std::map<std::string, std::uint32_t, std::less<>> tunnels;
    std::map<std::string, std::uint32_t, std::less<>> circuits;
    /// Next numbers to give.
    std::uint32_t next_domain = 1;
    std::uint32_t next_tunnel = 1;
    std::uint32_t next_circuit = 1;

    friend bool operator==(const Snapshot&, const Snapshot&) = default;
  };
  [[nodiscard]] Snapshot snapshot() const;
  /// As `assign`, but names that are new here get the number they had on the other box, if it was never given here.
  /// Names known here keep theirs: it is the if_id of live SAs. Errors: as of `assign`.
  [[nodiscard]] Result<void> adopt(const Snapshot& other, const GatewayConfig& config);

  [[nodiscard]] std::optional<DomainId> domain(std::string_view name) const;
  [[nodiscard]] std::optional<TunnelId> tunnel(std::string_view name) const;
  [[nodiscard]] std::optional<CircuitId> circuit(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> domain_name(DomainId id) const;
  /// Also those that are not configured any more but not forgotten yet (`retain`).
  [[nodiscard]] std::vector<std::string> domain_names() const {
    std::vector<std::string> names;
    for (const auto& [name, number] : tables_.domains.by_name) names.push_back(name);
    return names;
  }
  [[nodiscard]] std::optional<std::string> tunnel_name(TunnelId id) const;

 private:
  struct Table {
    std::uint32_t next = 1;
    std::map<std::string, std::uint32_t, std::less<>> by_name;
    friend bool operator==(const Table&, const Table&) = default;
  };

  explicit IdRegistry(std::filesystem::path file) : file_(std::move(file)) {}
  struct Tables {
    Table domains;
    Table tunnels;
    Table circuits;
    friend bool operator==(const Tables&, const Tables&) = default;
  };
  Result<void> store(const Tables& tables);

  std::filesystem::path file_;
  Tables tables_;
};

}  // namespace simplon::config
