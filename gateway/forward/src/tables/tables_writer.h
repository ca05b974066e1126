// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {

[[nodiscard]] inline Unexpected full(const char* what, std::size_t limit) {
  return fail(ErrorCode::kExhausted, std::string(what) + ": all " + std::to_string(limit - 1) + " are in use");
}

/// For another domain or two; every change that may bring one asks first.
template <class Domains>
[[nodiscard]] Result<void> room_for_domains(const Domains& domains) {
  if (domains.size() + 2 >= kMaxDomains) return full("domains", kMaxDomains);
  return {};
}

/// What only the writer needs: who refers to which slot, and the entries as they were given.
///
/// A slot lives while it is configured or referred to, so references may come before and stay after their object.
class Tables::Writer {
 public:
  explicit Writer(TableState& table_state)
      : state(table_state),
        attachment_slots(kMaxAttachments),
        adjacency_slots(kMaxAdjacencies),
        group_slots(kMaxGroups),
        acl_slots(kMaxAcls) {}

  struct AttachmentRecord {
    std::uint32_t slot = 0;
    /// Routes, groups and inbound SAs that lead here.
    std::size_t references = 0;
    std::variant<std::monostate, VpcEntry, TunnelEntry, CircuitEntry> entry;
    std::optional<HostPortEntry> host_port;
    std::shared_ptr<Sa> outbound;

    [[nodiscard]] bool configured() const noexcept { return entry.index() != 0; }
    [[nodiscard]] DomainId domain() const noexcept;
  };
  struct DomainRecord {
    Domain* object = nullptr;
    std::size_t references = 0;  ///< Attachments and routes.
    bool exists = false;
    std::unordered_set<std::uint32_t> members;  ///< Slots of the attachments configured in it.
  };
  struct AdjacencyRecord {
    std::uint32_t slot = 0;
    std::size_t references = 0;  ///< Endpoints and active outbound SAs.
    AdjacencyEntry entry;
    /// Slots of the tunnels whose active SA leads here.
    std::unordered_set<std::uint32_t> tunnels{};
  };
  using Hops = std::vector<NextHopEntry>;
  /// An ECMP group while all its members are usable. Which member has which buckets depends on what the group was made
  /// from (compile_route), so two groups of the same members may differ in it.
  struct GroupKey {
    Hops hops;  ///< Sorted; those with a gateway by their via.
    std::array<std::uint8_t, EcmpGroup::kBuckets> members{};
    friend auto operator<=>(const GroupKey&, const GroupKey&) noexcept = default;
  };
  struct GroupRecord {
    std::uint32_t slot = 0;
    std::size_t references = 0;
  };
  using Groups = std::map<GroupKey, GroupRecord>;
  /// One Counter per worker for each rule, by the rule's name.
  using RuleCounters = std::map<std::string, Counter*>;
  struct AclRecord {
    std::uint32_t slot = 0;
    std::size_t references = 0;  ///< Policies.
    std::optional<AclEntry> entry;
    RuleCounters counters;
  };
  struct PolicyRecord {
    PolicyEntry entry;
    PolicyRuntime* runtime = nullptr;
  };
  struct NatRecord {
    NatEntry entry;
    RuleCounters counters;
  };
  /// A circuit and a gateway on it. In the tables it is an attachment like others, under an id that only the writer knows, so
  /// that routes and groups lead to slots and know nothing of gateways.
  using Via = std::pair<CircuitId, IpAddress>;
  static constexpr AttachmentKind kViaKind{255};

  // Attachments. nullptr: kMaxAttachments are in use.
  AttachmentRecord* attachment(AttachmentId id);
  [[nodiscard]] AttachmentRecord* find_attachment(AttachmentId id);
  /// Frees the slot if nothing needs it any more.
  void settle_attachment(AttachmentId id);
  /// Slots of attachments whose connections all workers have forgotten.
  void return_vacated_slots();
  /// Replaces the object in the slot.
  void publish_attachment(AttachmentRecord& record, std::unique_ptr<Attachment> object, DomainId in);
  /// Removes it.
  void withdraw_attachment(AttachmentRecord& record);

  /// What a nexthop leads to; makes the id of a circuit with a gateway.
  [[nodiscard]] AttachmentId target_of(const NextHopEntry& hop);
  /// And back.
  [[nodiscard]] NextHopEntry hop_to(AttachmentId target, std::uint16_t weight) const;
  /// Puts the circuit, or its absence, into the slot of each of its gateways.
  void publish_vias(CircuitId circuit);
  void publish_via(const Via& via);
  /// Its slot is free again.
  void forget_via(AttachmentId id);
  /// Whether another circuit has the VLAN.
  [[nodiscard]] Result<void> claim_vlan(const CircuitEntry& circuit, const AttachmentRecord& record) const;

  /// The port of its host port leads to it no longer, unless it leads elsewhere already.
  void untie_port(const AttachmentRecord& record);

  DomainRecord& domain(DomainId id);
  void settle_domain(DomainId id);
  void refer_domain(DomainId id) { ++domain(id).references; }
  /// The attachment is, or is no longer, configured in the domain: with `note_addresses`.
  void join_domain(DomainId id, const AttachmentRecord& record);
  void leave_domain(DomainId id, const AttachmentRecord& record);
  void drop_domain(DomainId id) {
    --domains.at(id).references;
    settle_domain(id);
  }
  /// Some attachment with an address, for ICMP errors of attachments without.
  void note_addresses(DomainId id);

  /// 0: kMaxAdjacencies are in use.
  std::uint32_t refer_adjacency(const IpAddress& destination);
  void drop_adjacency(const IpAddress& destination);
  /// The active SA of the tunnel leads to `after`, no longer to `before`; nullptr: none. While both are referred to.
  void note_path(const AttachmentRecord& tunnel, const Sa* before, const IpAddress* after);

  /// kNone if slots ran out. Refers to the attachments. `before` is what the prefix has now: flows stay on their
  /// nexthops as far as the new weights allow.
  RouteValue compile_route(const RouteEntry& route, RouteValue before);
  void drop_route_value(RouteValue value);
  /// Counts a reference to the group, and makes it if it is new. 0: kMaxGroups are in use.
  std::uint32_t refer_group(GroupKey key);
  /// The workers' view of a group: buckets of members that are not usable go to those that are, to backups only if no other is.
  [[nodiscard]] std::unique_ptr<EcmpGroup> compile_group(const GroupKey& key) const;
  /// Packets can leave through it, as far as is known here.
  [[nodiscard]] bool usable(const AttachmentRecord& record) const;
  /// The uplink is there and has carrier.
  [[nodiscard]] bool carries(PortId port) const { return ports.contains(port) && !without_carrier.contains(port); }
  /// The uplink that packets leave through; kNoPort: none, or several.
  [[nodiscard]] PortId exit_port(const AttachmentRecord& record) const;
  /// The attachment became usable, or is no longer: every group with it is made anew.
  void regroup(const AttachmentRecord& record);
  /// The same of a circuit and its gateways, of one gateway, of whatever leaves through a port.
  void regroup_circuit(const AttachmentRecord& circuit);
  void regroup_gateway(CircuitId circuit, const IpAddress& gateway);
  void regroup_port(PortId port);
  /// All routes show, and what they had before is let go of. Before anything is taken away that a worker with older
  /// routes might still look for.
  void publish_routes();

  // Policy (tables_policy.cpp).
  /// nullptr: kMaxAcls are in use.
  AclRecord* acl(const std::string& name);
  void settle_acl(const std::string& name);
  /// 0: kMaxAttachments are in use.
  std::uint32_t refer_attachment(AttachmentId id);
  void drop_attachment(AttachmentId id);
  /// Counters of `names`: those that are there go on, others are new; what is left over is retired.
  std::vector<Counter*> count_rules(RuleCounters& counters, const std::vector<std::string>& names);
  void publish_domain_policy(DomainId id);
  [[nodiscard]] NatRules compile_nat(NatRecord& record);
  void destroy_policy();

  // Connections of several workers (tables_strays.cpp).
  /// `policy` is about to be published: connections that it would lead elsewhere are noted, now and once more when nobody
  /// begins one under the former policy.
  void note_strays(DomainId id, const DomainPolicy& policy);
  /// From a timer.
  void settle_strays();

  /// After the write.
  void changed(DomainId id) const {
    if (change_listener) change_listener(id);
  }
  void everything_changed() const { changed(DomainId{}); }
  /// What is in an attachment matters to the domain that is in, if there is one.
  void inside_changed(AttachmentId id) {
    if (!change_listener) return;
    const AttachmentRecord* record = find_attachment(id);
    if (record != nullptr && record->configured()) changed(record->domain());
  }
  void endpoint_changed(Vni vni) { inside_changed(AttachmentId::vpc(vni)); }
  void neighbor_changed(CircuitId circuit) { inside_changed(AttachmentId::circuit(circuit)); }

  void publish_path(Sa& sa, std::uint32_t adjacency);
  void rebuild_inputs();
  /// True if the set of PacketIos changed.
  bool count_inputs(const PortEntry& port, bool add);

  template <class T>
  void retire_shared(std::shared_ptr<T> object) {
    if (object != nullptr) state.quiescence.retire(new std::shared_ptr<T>(std::move(object)));
  }

  TableState& state;
  SlotAllocator attachment_slots;
  /// Slots whose grace period is over, and what `TableState::gone` was then, in this order.
  std::deque<std::pair<std::uint32_t, std::uint32_t>> vacated;
  SlotAllocator adjacency_slots;
  SlotAllocator group_slots;
  SlotAllocator acl_slots;
  std::map<std::string, AclRecord> acls;
  std::unordered_map<AttachmentId, PolicyRecord> policies;
  std::map<DomainId, std::size_t> policies_of_domain;
  std::map<DomainId, NatRecord> nats;
  /// Domains with connections, now or since they have a policy.
  std::set<DomainId> tracked;
  /// Whose strays have to be noted once more, and when.
  std::vector<std::pair<DomainId, Quiescence::Token>> unsettled;
  unsigned stray_rounds = 0;
  std::uint32_t acl_revisions = 0;
  std::unordered_map<AttachmentId, AttachmentRecord> attachments;
  std::unordered_map<std::uint32_t, AttachmentId> attachment_of_slot;
  std::unordered_map<DomainId, DomainRecord> domains;
  std::unordered_map<IpAddress, AdjacencyRecord> adjacencies;
  Groups groups;
  std::unordered_map<std::uint32_t, Groups::iterator> group_of_slot;
  /// By the slot of an attachment: the slots of the groups it is in.
  std::unordered_map<std::uint32_t, std::unordered_set<std::uint32_t>> groups_with;
  /// Domains whose routes changed in a form that is made anew, and what replaced or removed routes had.
  std::vector<std::pair<DomainId, Domain*>> unpublished;
  std::vector<RouteValue> replaced;
  std::map<Via, AttachmentId> vias;
  std::unordered_map<std::uint32_t, Via> via_of;  ///< By the number in the id.
  std::uint32_t next_via = 1;
  NeighborListener neighbor_listener;
  std::unordered_map<std::uint32_t, std::shared_ptr<Sa>> inbound;
  std::unordered_map<PortId, PortEntry> ports;
  std::unordered_set<PortId> without_carrier;
  std::uint64_t switches_to_backup = 0;
  /// How many ports a PacketIo serves, per worker, in order of appearance.
  std::vector<std::vector<std::pair<PacketIo*, std::size_t>>> inputs;
  std::size_t port_slots_used = 0;
  std::uint64_t routes = 0;
  AdjacencyListener listener;
  ChangeListener change_listener;
};

}  // namespace simplon::forward
