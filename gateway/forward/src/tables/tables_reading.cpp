// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a trace asks of the tables: entries as they were given, found the way the workers find them.
#include <algorithm>

#include "gateway/forward/src/tables/tables_writer.h"

namespace simplon::forward {

namespace {

/// What was given for an attachment, if it is an `Entry`.
template <class Entry, class Record>
std::optional<Entry> entry_of(const Record* record) {
  const auto* entry = record == nullptr ? nullptr : std::get_if<Entry>(&record->entry);
  return entry == nullptr ? std::nullopt : std::optional(*entry);
}

}  // namespace

std::optional<VpcEntry> Tables::vpc(Vni vni) const {
  return entry_of<VpcEntry>(writer_->find_attachment(AttachmentId::vpc(vni)));
}

std::optional<TunnelEntry> Tables::tunnel(TunnelId id) const {
  return entry_of<TunnelEntry>(writer_->find_attachment(AttachmentId::tunnel(id)));
}

std::optional<CircuitEntry> Tables::circuit(CircuitId id) const {
  return entry_of<CircuitEntry>(writer_->find_attachment(AttachmentId::circuit(id)));
}

std::optional<HostPortEntry> Tables::host_port(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  return record == nullptr ? std::nullopt : record->host_port;
}

std::optional<PortEntry> Tables::port(PortId id) const {
  const auto found = writer_->ports.find(id);
  return found == writer_->ports.end() ? std::nullopt : std::optional(found->second);
}

std::optional<PortEntry> Tables::any_uplink() const {
  const PortEntry* lowest = nullptr;
  for (const auto& [id, entry] : writer_->ports) {
    if (entry.kind == PortKind::kUplink && (lowest == nullptr || id < lowest->id)) lowest = &entry;
  }
  return lowest == nullptr ? std::nullopt : std::optional(*lowest);
}

std::optional<RouteEntry> Tables::matching_route(DomainId domain, const IpAddress& address) const {
  for (unsigned length = address.bits();; --length) {
    if (auto found = route(domain, IpPrefix(address, length))) return found;
    if (length == 0) return std::nullopt;
  }
}

std::vector<std::shared_ptr<Sa>> Tables::inbound_of(TunnelId tunnel) const {
  std::vector<std::shared_ptr<Sa>> found;
  for (const auto& [spi, sa] : writer_->inbound) {
    if (sa->tunnel() == tunnel) found.push_back(sa);
  }
  return found;
}

std::optional<AttachmentId> Tables::attachment_at(std::uint32_t slot) const {
  const auto found = writer_->attachment_of_slot.find(slot);
  if (found == writer_->attachment_of_slot.end()) return std::nullopt;
  return writer_->hop_to(found->second, 1).attachment;
}

std::uint32_t Tables::slot_of(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  return record == nullptr ? 0 : record->slot;
}

std::optional<AclEntry> Tables::acl_at(std::uint32_t slot) const {
  for (const auto& [name, record] : writer_->acls) {
    if (record.slot != slot) continue;
    if (record.entry) return record.entry;
    AclEntry named;
    named.name = name;
    return named;
  }
  return std::nullopt;
}

std::optional<NatEntry> Tables::nat(DomainId domain) const {
  const auto found = writer_->nats.find(domain);
  return found == writer_->nats.end() ? std::nullopt : std::optional(found->second.entry);
}

std::optional<DomainId> Tables::domain_of(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  return record == nullptr || !record->configured() ? std::nullopt : std::optional(record->domain());
}

}  // namespace simplon::forward
