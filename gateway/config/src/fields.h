// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/config/diff.h"

// Each object is laid out as a list of fields, so that two versions of it can be compared field by field. The cost of a
// change is stated once, in the layout, and says what the running system does:
//
//   charon   takes timers for the next negotiation; ends, identities, proposals and the replay window need a new one. A key
//            is proven by new SAs beside the old ones.
//   bgpd     takes policy at once (route refresh), timers for the next session; AS numbers, passwords and BFD (with it
//            graceful restart ends, and the other way round) reset the session; a neighbor is known by its address, so
//            another address is another neighbor.
//   domains  are network namespaces, and VNIs are wire identities: an object that changes either is another object.
//   tables   of the forwarder change in place, but what an entry of before let pass may not pass any more.

namespace simplon::config {

/// One item of a list that decides about traffic, in the order of the list: a rule, a prefix, an address.
struct Term {
  std::string text;
  /// Lets something pass or leads it somewhere; false: stops something.
  bool lets_pass = true;
  friend bool operator==(const Term&, const Term&) = default;
};

struct Field {
  const char* key;  ///< Of the document.
  std::string value;
  /// Of a change of it. Reconfigure::kNarrows: only if what `terms` or `limit` let pass becomes less.
  Reconfigure cost;
  std::vector<Term> terms = {};
  std::optional<std::uint64_t> limit = {};
};
using Fields = std::vector<Field>;

[[nodiscard]] Fields fields_of(const GatewayConfig& config);
[[nodiscard]] Fields fields_of(const UplinkConfig& uplink);
[[nodiscard]] Fields fields_of(const DomainConfig& domain);
[[nodiscard]] Fields fields_of(const BgpNeighborConfig& neighbor);
[[nodiscard]] Fields fields_of(const VpcConfig& vpc);
[[nodiscard]] Fields fields_of(const EndpointConfig& endpoint);
[[nodiscard]] Fields fields_of(const TunnelConfig& tunnel);
[[nodiscard]] Fields fields_of(const CircuitConfig& circuit);
[[nodiscard]] Fields fields_of(const AclConfig& acl);

[[nodiscard]] std::string comma_separated(const std::vector<std::string>& items);

/// What the change of this one field costs; both are the same field, with different values.
[[nodiscard]] Reconfigure cost_of_change(const Field& before, const Field& after);

/// An object that comes or goes, in one line.
[[nodiscard]] std::string describe(const UplinkConfig& uplink);
[[nodiscard]] std::string describe(const DomainConfig& domain);
[[nodiscard]] std::string describe(const BgpNeighborConfig& neighbor);
[[nodiscard]] std::string describe(const VpcConfig& vpc);
[[nodiscard]] std::string describe(const EndpointConfig& endpoint);
[[nodiscard]] std::string describe(const TunnelConfig& tunnel);
[[nodiscard]] std::string describe(const CircuitConfig& circuit);
[[nodiscard]] std::string describe(const AclConfig& acl);

}  // namespace simplon::config
