// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/port_control.h"
#include "gateway/ipc/table_protocol.h"
#include "gateway/ipc/table_stats.h"

namespace simplon::forwarder {

/// Applies the operations of the table protocol to the tables and ports: upserts, deletions, mark and sweep.
///
/// Remembers of each object in which sync it was last upserted; `sync_end` removes what was not. What is upserted unchanged
/// is only marked. Threads: the control thread's.
class TableApplier {
 public:
  TableApplier(forward::Tables& tables, PortControl& ports);

  void sync_begin(Epoch epoch);
  [[nodiscard]] std::vector<ipc::OperationError> apply(const ipc::Update& update);
  /// Errors: if `epoch` is not that of the sync in progress; nothing is removed then.
  [[nodiscard]] std::vector<ipc::OperationError> sync_end(Epoch epoch);

  /// The last one applied.
  [[nodiscard]] Generation generation() const noexcept { return generation_; }
  void set_generation(Generation generation) noexcept { generation_ = generation; }
  /// Everything that was upserted and is there, as a stream of Updates (table_protocol.h) that makes the same of empty tables.
  [[nodiscard]] std::vector<std::uint8_t> encode() const;
  /// VPCs, tunnels and circuits that exist, for statistics.
  [[nodiscard]] std::vector<ipc::AttachmentRef> attachments() const;
  /// What counts their rules.
  [[nodiscard]] std::vector<ipc::AclStats> acl_stats() const;
  [[nodiscard]] std::vector<ipc::NatStats> nat_stats() const;

 private:
  template <class T>
  struct Marked {
    T object;
    std::uint64_t mark = 0;
  };
  struct EndpointKey {
    Vni vni;
    IpAddress address;
    friend auto operator<=>(const EndpointKey&, const EndpointKey&) = default;
  };
  struct RouteKey {
    DomainId domain;
    IpPrefix prefix;
    friend auto operator<=>(const RouteKey&, const RouteKey&) = default;
  };
  struct Hash {
    std::size_t operator()(const EndpointKey& key) const noexcept {
      return std::hash<Vni>{}(key.vni) * 1000003 ^ std::hash<IpAddress>{}(key.address);
    }
    std::size_t operator()(const RouteKey& key) const noexcept {
      return std::hash<DomainId>{}(key.domain) * 1000003 ^ std::hash<IpPrefix>{}(key.prefix);
    }
  };

  Result<void> upsert(const ipc::Domain& domain);
  Result<void> upsert(const ipc::Uplink& uplink);
  Result<void> upsert(const ipc::Vpc& vpc);
  Result<void> upsert(const ipc::Endpoint& endpoint);
  Result<void> upsert(const ipc::Tunnel& tunnel);
  Result<void> upsert(const ipc::Circuit& circuit);
  Result<void> upsert(const ipc::HostPort& port);
  Result<void> upsert(const ipc::Route& route);
  Result<void> upsert(const ipc::Acl& acl);
  Result<void> upsert(const ipc::Policy& policy);
  Result<void> upsert(const ipc::Nat& nat);
  void remove(const ipc::Domain& domain);
  void remove(const ipc::Uplink& uplink);
  void remove(const ipc::Vpc& vpc);
  void remove(const ipc::Endpoint& endpoint);
  void remove(const ipc::Tunnel& tunnel);
  void remove(const ipc::Circuit& circuit);
  void remove(const ipc::HostPort& port);
  void remove(const ipc::Route& route);
  void remove(const ipc::Acl& acl);
  void remove(const ipc::Policy& policy);
  void remove(const ipc::Nat& nat);
  /// Counts users of an address.
  template <class Address>
  void use(std::map<Address, std::size_t>& addresses, const Address& address);
  template <class Address>
  void release(std::map<Address, std::size_t>& addresses, const Address& address);
  void publish_local_addresses();

  forward::Tables& tables_;
  PortControl& ports_;
  /// Counts syncs of this process; epochs of different clients are not comparable.
  std::uint64_t mark_ = 0;
  std::optional<Epoch> syncing_;
  Generation generation_{0};
  /// Ours, and by how many VPCs or tunnels each is used.
  std::map<LocalVtep, std::size_t> local_vteps_;
  std::map<IpAddress, std::size_t> local_ipsec_;
  bool local_addresses_changed_ = false;

  std::map<DomainId, std::uint64_t> domains_;
  std::map<std::string, std::uint64_t> uplinks_;
  std::map<Vni, Marked<ipc::Vpc>> vpcs_;
  std::map<TunnelId, Marked<ipc::Tunnel>> tunnels_;
  std::map<CircuitId, Marked<ipc::Circuit>> circuits_;
  std::map<ipc::AttachmentRef, Marked<ipc::HostPort>> host_ports_;
  std::map<std::string, Marked<ipc::Acl>> acls_;
  std::map<ipc::AttachmentRef, Marked<ipc::Policy>> policies_;
  std::map<DomainId, Marked<ipc::Nat>> nats_;
  std::unordered_map<EndpointKey, std::uint64_t, Hash> endpoints_;
  std::unordered_map<RouteKey, std::uint64_t, Hash> routes_;
};

}  // namespace simplon::forwarder
