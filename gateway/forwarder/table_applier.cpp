// SPDX-License-Identifier: GPL-2.0-or-later
//
// Mark and sweep: `sync_begin` starts a new mark, every upsert gives its object the current mark, and `sync_end` removes
// the objects with an older one. An upsert that changes nothing reaches no table: `Tables` compares, and what is stored here
// is compared here. So a full resynchronisation of a running gateway touches nothing but marks.
//
// A refused upsert keeps the former object, if there was one, and keeps it marked: the client named the object, so it did not
// mean to remove it.
#include "gateway/forwarder/table_applier.h"

#include <algorithm>

#include "gateway/forwarder/attachment_ref.h"

namespace simplon::forwarder {
namespace {

/// The keys of a map, ascending: neighbors in the tables, so that most of what one needs is in the cache from the one before.
template <class Map>
[[nodiscard]] std::vector<const typename Map::key_type*> in_order(const Map& map) {
  std::vector<const typename Map::key_type*> keys;
  keys.reserve(map.size());
  for (const auto& [key, mark] : map) keys.push_back(&key);
  std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
  return keys;
}

LocalVtep vtep_of(const ipc::Vpc& vpc) { return {vpc.vtep, vpc.udp_port}; }

}  // namespace

TableApplier::TableApplier(forward::Tables& tables, PortControl& ports) : tables_(tables), ports_(ports) {}

void TableApplier::sync_begin(Epoch epoch) {
  ++mark_;
  syncing_ = epoch;
}

std::vector<ipc::OperationError> TableApplier::apply(const ipc::Update& update) {
  std::vector<ipc::OperationError> errors;
  for (std::size_t i = 0; i < update.operations.size(); ++i) {
    const auto& operation = update.operations[i];
    const auto refuse = [&](std::string why) { errors.push_back({static_cast<std::uint32_t>(i), std::move(why)}); };
    if (!operation) {
      refuse(operation.error().message());
      continue;
    }
    const auto applied = std::visit(
        [&](const auto& object) -> Result<void> {
          if (!operation->delete_it) return upsert(object);
          remove(object);
          return {};
        },
        operation->object);
    if (!applied) refuse(ipc::key_of(operation->object) + ": " + applied.error().message());
  }
  publish_local_addresses();
  generation_ = update.generation;
  return errors;
}

std::vector<ipc::OperationError> TableApplier::sync_end(Epoch epoch) {
  if (syncing_ != epoch) {
    return {{0, "sync " + std::to_string(epoch.value()) + " was not begun, or another one began since"}};
  }
  syncing_.reset();
  const auto sweep = [this](auto& objects, auto mark_of, auto object_of) {
    std::vector<decltype(object_of(*objects.begin()))> old;
    for (const auto& entry : objects) {
      if (mark_of(entry) != mark_) old.push_back(object_of(entry));
    }
    for (const auto& object : old) remove(object);
  };
  const auto number = [](const auto& entry) { return entry.second; };
  const auto member = [](const auto& entry) { return entry.second.mark; };
  const auto object = [](const auto& entry) { return entry.second.object; };
  // From what refers to what is referred to, so that fewer packets meet a dangling reference on the way.
  sweep(routes_, number, [](const auto& e) { return ipc::Route{e.first.domain, e.first.prefix, {}, {}}; });
  sweep(endpoints_, number, [](const auto& e) { return ipc::Endpoint{e.first.vni, e.first.address, {}, {}}; });
  sweep(policies_, member, object);
  sweep(acls_, member, object);
  sweep(nats_, member, object);
  sweep(host_ports_, member, object);
  sweep(circuits_, member, object);
  sweep(tunnels_, member, object);
  sweep(vpcs_, member, object);
  sweep(domains_, number, [](const auto& e) { return ipc::Domain{e.first, {}}; });
  sweep(uplinks_, number, [](const auto& e) { return ipc::Uplink{e.first}; });
  publish_local_addresses();
  return {};
}

Result<void> TableApplier::upsert(const ipc::Domain& domain) {
  if (auto ok = tables_.upsert_domain(domain.id); !ok) return ok;
  domains_[domain.id] = mark_;
  return {};
}

void TableApplier::remove(const ipc::Domain& domain) {
  if (domains_.erase(domain.id) != 0) tables_.remove_domain(domain.id);
}

Result<void> TableApplier::upsert(const ipc::Uplink& uplink) {
  const auto [entry, fresh] = uplinks_.insert_or_assign(uplink.interface, mark_);
  if (fresh) ports_.upsert_uplink(uplink.interface);
  return {};
}

void TableApplier::remove(const ipc::Uplink& uplink) {
  if (uplinks_.erase(uplink.interface) != 0) ports_.remove_uplink(uplink.interface);
}

Result<void> TableApplier::upsert(const ipc::Vpc& vpc) {
  const auto found = vpcs_.find(vpc.vni);
  if (found != vpcs_.end()) {
    found->second.mark = mark_;
    if (found->second.object == vpc) return {};
  }
  forward::VpcEntry entry;
  entry.vni = vpc.vni;
  entry.domain = vpc.domain;
  entry.vtep = vpc.vtep;
  entry.udp_port = vpc.udp_port;
  entry.gateway_mac = vpc.gateway_mac;
  entry.prefixes = vpc.prefixes;
  entry.accepted_vteps = vpc.accepted_vteps;
  entry.mtu = vpc.mtu;
  if (auto ok = tables_.upsert_vpc(entry); !ok) return ok;
  use(local_vteps_, vtep_of(vpc));
  if (found != vpcs_.end()) release(local_vteps_, vtep_of(found->second.object));
  vpcs_[vpc.vni] = {vpc, mark_};
  return {};
}

void TableApplier::remove(const ipc::Vpc& vpc) {
  const auto found = vpcs_.find(vpc.vni);
  if (found == vpcs_.end()) return;
  release(local_vteps_, vtep_of(found->second.object));
  vpcs_.erase(found);
  tables_.remove_vpc(vpc.vni);
}

Result<void> TableApplier::upsert(const ipc::Endpoint& endpoint) {
  const auto [mark, fresh] = endpoints_.insert_or_assign({endpoint.vni, endpoint.address}, mark_);
  auto done = tables_.upsert_endpoint({endpoint.vni, endpoint.address, endpoint.mac, endpoint.vtep});
  if (!done && fresh) endpoints_.erase(mark);
  return done;
}

void TableApplier::remove(const ipc::Endpoint& endpoint) {
  if (endpoints_.erase({endpoint.vni, endpoint.address}) != 0) tables_.remove_endpoint(endpoint.vni, endpoint.address);
}

Result<void> TableApplier::upsert(const ipc::Tunnel& tunnel) {
  const auto found = tunnels_.find(tunnel.id);
  if (found != tunnels_.end()) {
    found->second.mark = mark_;
    if (found->second.object == tunnel) return {};
  }
  if (auto ok = tables_.upsert_tunnel({tunnel.id, tunnel.domain, tunnel.mtu, tunnel.clamp_mss,
                                       static_cast<forward::OuterDf>(tunnel.outer_df), tunnel.ignores_df}); !ok) return ok;
  use(local_ipsec_, tunnel.local);
  if (found != tunnels_.end()) {
    const ipc::Tunnel& former = found->second.object;
    release(local_ipsec_, former.local);
    const bool otherwise = former.negotiation != 0 && tunnel.negotiation != 0 && former.negotiation != tunnel.negotiation;
    // Not when it is opened again: what is negotiated then may be here already.
    if (otherwise || (tunnel.closed && !former.closed)) ports_.renounce_sas(tunnel.id);
  }
  tunnels_[tunnel.id] = {tunnel, mark_};
  return {};
}

void TableApplier::remove(const ipc::Tunnel& tunnel) {
  const auto found = tunnels_.find(tunnel.id);
  if (found == tunnels_.end()) return;
  release(local_ipsec_, found->second.object.local);
  tunnels_.erase(found);
  tables_.remove_tunnel(tunnel.id);
  ports_.renounce_sas(tunnel.id);
}

Result<void> TableApplier::upsert(const ipc::Circuit& circuit) {
  const auto found = circuits_.find(circuit.id);
  if (found == circuits_.end() || found->second.object != circuit) ports_.upsert_circuit(circuit);
  circuits_[circuit.id] = {circuit, mark_};
  return {};
}

void TableApplier::remove(const ipc::Circuit& circuit) {
  if (circuits_.erase(circuit.id) != 0) ports_.remove_circuit(circuit.id);
}

Result<void> TableApplier::upsert(const ipc::HostPort& port) {
  const auto found = host_ports_.find(port.attachment);
  if (found != host_ports_.end()) {
    found->second.mark = mark_;
    if (found->second.object == port) return {};
  }
  if (auto ok = ports_.upsert_host_port(port); !ok) return ok;
  host_ports_[port.attachment] = {port, mark_};
  return {};
}

void TableApplier::remove(const ipc::HostPort& port) {
  if (host_ports_.erase(port.attachment) != 0) ports_.remove_host_port(port.attachment);
}

Result<void> TableApplier::upsert(const ipc::Route& route) {
  forward::RouteEntry entry;
  entry.domain = route.domain;
  entry.prefix = route.prefix;
  entry.action = static_cast<forward::RouteAction>(route.action);
  for (const auto& hop : route.nexthops) {
    entry.nexthops.push_back({attachment_of(hop.attachment), hop.weight, hop.gateway, hop.backup});
  }
  const auto [mark, fresh] = routes_.insert_or_assign({route.domain, route.prefix}, mark_);
  auto done = tables_.upsert_route(entry);
  if (!done && fresh) routes_.erase(mark);
  return done;
}

void TableApplier::remove(const ipc::Route& route) {
  if (routes_.erase({route.domain, route.prefix}) != 0) tables_.remove_route(route.domain, route.prefix);
}

template <class Address>
void TableApplier::use(std::map<Address, std::size_t>& addresses, const Address& address) {
  if (++addresses[address] == 1) local_addresses_changed_ = true;
}

template <class Address>
void TableApplier::release(std::map<Address, std::size_t>& addresses, const Address& address) {
  const auto found = addresses.find(address);
  if (--found->second > 0) return;
  addresses.erase(found);
  local_addresses_changed_ = true;
}

void TableApplier::publish_local_addresses() {
  if (!local_addresses_changed_) return;
  local_addresses_changed_ = false;
  std::set<LocalVtep> vteps;
  std::set<IpAddress> ipsec;
  for (const auto& [vtep, users] : local_vteps_) vteps.insert(vtep);
  for (const auto& [address, users] : local_ipsec_) ipsec.insert(address);
  ports_.set_local_addresses(vteps, ipsec);
}

std::vector<std::uint8_t> TableApplier::encode() const {
  std::vector<std::uint8_t> stream;
  std::vector<ipc::Operation> operations;
  const auto flush = [&] {
    if (operations.empty()) return;
    const auto frame = ipc::encode_update(generation_, operations);
    stream.insert(stream.end(), frame.begin(), frame.end());
    operations.clear();
  };
  const auto add = [&](ipc::Object object, std::size_t at_once) {
    operations.push_back(ipc::Operation::upsert(std::move(object)));
    if (operations.size() >= at_once) flush();
  };
  constexpr std::size_t kMany = ipc::kMaxOperationsPerUpdate;
  for (const auto& [name, acl] : acls_) add(acl.object, 1);
  for (const auto& [attachment, policy] : policies_) add(policy.object, kMany);
  for (const auto& [domain, nat] : nats_) add(nat.object, 1);
  for (const auto& [id, mark] : domains_) add(ipc::Domain{id, {}}, kMany);
  for (const auto& [interface, mark] : uplinks_) add(ipc::Uplink{interface}, kMany);
  // These may be long: each in an Update of its own.
  for (const auto& [vni, vpc] : vpcs_) add(vpc.object, 1);
  for (const auto& [id, tunnel] : tunnels_) add(tunnel.object, kMany);
  for (const auto& [id, circuit] : circuits_) add(circuit.object, kMany);
  for (const auto& [attachment, port] : host_ports_) add(port.object, kMany);
  for (const EndpointKey* key : in_order(endpoints_)) {
    if (const auto entry = tables_.endpoint(key->vni, key->address)) {
      add(ipc::Endpoint{key->vni, key->address, entry->mac, entry->vtep}, kMany);
    }
  }
  for (const RouteKey* key : in_order(routes_)) {
    const auto entry = tables_.route(key->domain, key->prefix);
    if (!entry) continue;
    ipc::Route route{key->domain, key->prefix, static_cast<ipc::RouteAction>(entry->action), {}};
    for (const auto& hop : entry->nexthops) {
      // The two enumerations have the same values.
      const auto kind = static_cast<ipc::AttachmentKind>(hop.attachment.kind);
      route.nexthops.push_back({{kind, hop.attachment.id}, hop.weight, hop.gateway, hop.backup});
    }
    add(std::move(route), kMany);
  }
  flush();
  return stream;
}

std::vector<ipc::AttachmentRef> TableApplier::attachments() const {
  std::vector<ipc::AttachmentRef> all;
  for (const auto& [vni, vpc] : vpcs_) all.push_back(ipc::AttachmentRef::vpc(vni));
  for (const auto& [id, tunnel] : tunnels_) all.push_back(ipc::AttachmentRef::tunnel(id));
  for (const auto& [id, circuit] : circuits_) all.push_back(ipc::AttachmentRef::circuit(id));
  return all;
}

}  // namespace simplon::forwarder
