// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "gateway/ipc/sa_decode.h"
#include "platform/base/ids.h"

namespace simplon::forwarder {

/// charon's policies, and which outbound SA they choose for a tunnel.
///
/// A policy is a pair of selectors with a direction in a tunnel; it has a list of users, because rekeying adds the new user
/// before the old one is deleted, and not always in that order. The newest user of the best priority counts: of this
/// session before those of earlier ones. A counter of references instead of the list would activate the wrong SA.
/// Threads: one.
class PolicyList {
 public:
  /// Idempotent: a user that is there keeps its age, and belongs to `session` from now on.
  void add(const ipc::sa::Policy& policy, std::uint64_t session);
  /// Idempotent.
  void remove(const ipc::sa::Policy& policy);

  /// SPIs of the tunnel's OUT policies, best first. Traps (SPI 0) are left out.
  [[nodiscard]] std::vector<Spi> outbound(TunnelId tunnel, std::uint64_t session) const;
  /// Removes the tunnel's policies of other sessions.
  void forget_stale(TunnelId tunnel, std::uint64_t session);

  /// All of them, oldest first: adding them again in this order, each with its session, makes an equal list.
  struct Use {
    ipc::sa::Policy policy;
    std::uint64_t session = 0;
  };
  [[nodiscard]] std::vector<Use> uses() const;

 private:
  struct Key {
    TunnelId tunnel;
    ipc::sa::Direction direction;
    ipc::sa::Selector source, destination;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct User {
    Spi spi;
    std::uint32_t reqid = 0;
    std::uint32_t priority = 0;
    std::uint64_t session = 0;
    std::uint64_t age = 0;
  };

  std::map<Key, std::vector<User>> policies_;
  std::uint64_t next_age_ = 1;
};

}  // namespace simplon::forwarder
