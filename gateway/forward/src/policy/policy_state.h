// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/policy_objects.h"
#include "gateway/forward/src/policy/acl.h"
#include "gateway/forward/src/policy/nat.h"
#include "gateway/forward/src/policy/policer.h"

namespace simplon::forward {

/// A domain with policy has one: without, its packets never see the policy stage.
struct DomainPolicy {
  std::uint32_t domain = 0;
  /// There may be connections: an attachment has an access list, or there is NAT that keeps state.
  bool tracks = false;
  NatRules nat;
};

/// Lives as long as the attachment has a policy with these rates, through other changes of it.
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

}  // namespace simplon::forward
