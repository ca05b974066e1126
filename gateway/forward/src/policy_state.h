// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>

#include "gateway/forward/policy_objects.h"
#include "gateway/forward/src/acl.h"
#include "gateway/forward/src/nat.h"
#include "gateway/forward/src/policer.h"

namespace simplon::forward {

/// A domain with policy has one: without, its packets never see the policy stage.
struct DomainPolicy {
  std::uint32_t domain = 0;
  /// There may be connections: an attachment has an access list, or there is NAT that keeps state.
  bool tracks = false;
  NatRules nat;
};

/// Lives as long as the attachment has a policy, through changes of it.
struct PolicyRuntime {
  explicit PolicyRuntime(unsigned workers) : from(workers), to(workers) {}
  Policer from;
  Policer to;
};

/// What holds for one attachment, compiled.
struct AttachmentPolicy {
  std::uint32_t acl = 0;  ///< Slot; 0: everything passes.
  ReversePath reverse_path = ReversePath::kOff;
  bool limited_from = false;
  bool limited_to = false;
  std::uint32_t max_connections = 0;
  RateEntry from;
  RateEntry to;
  PolicyRuntime* runtime = nullptr;
};

/// The way of the first piece of a fragmented packet, which has the ports, for the others. A few of them, the later ones
/// in place of the earlier.
class FragmentWays {
 public:
  struct Key {
    /// As they came.
    AddressWords source;
    AddressWords destination;
    std::uint64_t context = 0;
    std::uint32_t id = 0;
    /// Slot of the attachment it came from, and whose it is: no other may go on with it.
    std::uint32_t ingress = 0;
    std::uint32_t ingress_use = 0;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct Way {
    Key key;
    Ipv4Ends to;
    /// Slot, and whose it was: a minute later it may be another one's.
    std::uint32_t egress = 0;
    std::uint32_t egress_use = 0;
    std::uint32_t until = 0;
    /// It was handed over to this one, which knows the rest.
    std::uint16_t worker = 0;
    bool translated = false;
  };
  /// `now` in seconds.
  void remember(const Way& way) noexcept { ways_[place(way.key)] = way; }
  [[nodiscard]] const Way* find(const Key& key, std::uint32_t now) const noexcept {
    const Way& way = ways_[place(key)];
    return way.key == key && now < way.until ? &way : nullptr;
  }
  /// RFC 8200 section 4.5 waits 60 seconds for the rest; RFC 1122 section 3.3.2 as well.
  static constexpr std::uint32_t kSeconds = 60;

 private:
  static constexpr std::size_t kWays = 1024;
  [[nodiscard]] static std::size_t place(const Key& key) noexcept {
    return mix(mix(key.source.low ^ key.source.high, key.destination.low ^ key.destination.high), key.context ^ key.id ^ (std::uint64_t{key.ingress} << 32)) &
           (kWays - 1);
  }
  std::array<Way, kWays> ways_{};
};

}  // namespace simplon::forward
