// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/table_model.h"

namespace simplon::ipc {
namespace {

std::string words(const AttachmentRef& attachment) {
  switch (attachment.kind) {
    case AttachmentKind::kVpc:
      return "vpc " + std::to_string(attachment.id);
    case AttachmentKind::kTunnel:
      return "tunnel " + std::to_string(attachment.id);
    case AttachmentKind::kCircuit:
      return "circuit " + std::to_string(attachment.id);
    case AttachmentKind::kNone:
      break;
  }
  return "attachment " + std::to_string(attachment.id);
}

struct Namer {
  std::string operator()(const Domain& domain) const { return "domain " + std::to_string(domain.id.value()); }
  std::string operator()(const Uplink& uplink) const { return "uplink " + uplink.interface; }
  std::string operator()(const Vpc& vpc) const { return "vpc " + std::to_string(vpc.vni.value()); }
  std::string operator()(const Endpoint& endpoint) const {
    return "endpoint " + endpoint.address.to_string() + " in vpc " + std::to_string(endpoint.vni.value());
  }
  std::string operator()(const Tunnel& tunnel) const { return "tunnel " + std::to_string(tunnel.id.value()); }
  std::string operator()(const Circuit& circuit) const { return "circuit " + std::to_string(circuit.id.value()); }
  std::string operator()(const HostPort& port) const { return "host port of " + words(port.attachment); }
  std::string operator()(const Route& route) const {
    return "route " + route.prefix.to_string() + " in domain " + std::to_string(route.domain.value());
  }
  std::string operator()(const Acl& acl) const { return "access list " + acl.name; }
  std::string operator()(const Policy& policy) const { return "policy of " + words(policy.attachment); }
  std::string operator()(const Nat& nat) const { return "NAT of domain " + std::to_string(nat.domain.value()); }
};

}  // namespace

std::string key_of(const Object& object) { return std::visit(Namer{}, object); }

}  // namespace simplon::ipc
