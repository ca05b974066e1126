// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "gateway/forward/src/table_state.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {

/// What only the writer needs: who refers to which slot, and the entries as they were given.
///
/// A slot lives while it is configured or referred to, so references may come before and stay after their object.
class Tables::Writer {
 public:
  explicit Writer(TableState& table_state)
      : state(table_state),
        attachment_slots(kMaxAttachments),
        adjacency_slots(kMaxAdjacencies),
        group_slots(kMaxGroups) {}

  struct AttachmentRecord {
    std::uint32_t slot = 0;
    /// Routes, groups and inbound SAs that lead here.
    std::size_t references = 0;
    std::variant<std::monostate, VpcEntry, TunnelEntry> entry;
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
  };
  struct GroupRecord {
    std::uint32_t slot = 0;
    std::size_t references = 0;
  };
  using Hops = std::vector<NextHopEntry>;

  // Attachments. nullptr: kMaxAttachments are in use.
  AttachmentRecord* attachment(AttachmentId id);
  [[nodiscard]] AttachmentRecord* find_attachment(AttachmentId id);
  /// Frees the slot if nothing needs it any more.
  void settle_attachment(AttachmentId id);
  /// Replaces the object in the slot.
  void publish_attachment(AttachmentRecord& record, std::unique_ptr<Attachment> object, DomainId in);
  /// Removes it.
  void withdraw_attachment(AttachmentRecord& record);

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

  /// kNone if slots ran out. Refers to the attachments.
  RouteValue compile_route(const RouteEntry& route);
  void drop_route_value(RouteValue value);

  /// After the write.
  void changed(DomainId id) const {
    if (change_listener) change_listener(id);
  }
  void everything_changed() const { changed(DomainId{}); }
  /// An endpoint matters to the domain its VPC is in, if there is one.
  void endpoint_changed(Vni vni) {
    if (!change_listener) return;
    const AttachmentRecord* record = find_attachment(AttachmentId::vpc(vni));
    if (record != nullptr && record->configured()) changed(record->domain());
  }

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
  SlotAllocator adjacency_slots;
  SlotAllocator group_slots;
  std::unordered_map<AttachmentId, AttachmentRecord> attachments;
  std::unordered_map<std::uint32_t, AttachmentId> attachment_of_slot;
  std::unordered_map<DomainId, DomainRecord> domains;
  std::unordered_map<IpAddress, AdjacencyRecord> adjacencies;
  std::map<Hops, GroupRecord> groups;
  std::unordered_map<std::uint32_t, std::map<Hops, GroupRecord>::iterator> group_of_slot;
  std::unordered_map<std::uint32_t, std::shared_ptr<Sa>> inbound;
  std::unordered_map<PortId, PortEntry> ports;
  /// How many ports a PacketIo serves, per worker, in order of appearance.
  std::vector<std::vector<std::pair<PacketIo*, std::size_t>>> inputs;
  std::size_t port_slots_used = 0;
  std::uint64_t routes = 0;
  AdjacencyListener listener;
  ChangeListener change_listener;
};

}  // namespace simplon::forward
