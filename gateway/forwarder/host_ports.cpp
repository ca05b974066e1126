// SPDX-License-Identifier: GPL-2.0-or-later
//
// A descriptor of a device keeps the namespace alive that the device is in, also when its name is gone or means another one:
// nothing tells us. So `begin_repair` asks what each name means, and each device where it is.
#include "gateway/forwarder/host_ports.h"

#include <linux/if_tun.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>

#include "gateway/forwarder/attachment_ref.h"
#include "gateway/forwarder/grace.h"
#include "platform/netlink/netlink.h"
#include "platform/sys/netns.h"
#include "platform/sys/tun.h"

namespace simplon::forwarder {
namespace {

/// Repaired without a break, 50 ms at most.
constexpr std::size_t kPortion = 32;

bool is_tap(const ipc::HostPort& port) { return port.attachment.kind == ipc::AttachmentKind::kCircuit; }

/// FRR resets a BGP session over IPv6 whose interface has no link-local address, and the kernel is told to make none of its
/// own (it would be random). With the interface identifier of the inside address the two ends of a link differ, also between
/// two gateways: the kernel takes no route via an address of its own.
IpAddress link_local_of(const IpAddress& inside) {
  std::array<std::uint8_t, 16> bytes{0xfe, 0x80};
  std::copy_n(inside.bytes().begin() + 8, 8, bytes.begin() + 8);
  return IpAddress::v6(bytes);
}

Result<void> configure_device(const ipc::HostPort& wanted, std::uint32_t mtu_bytes) {
  // The kernel of a domain shall say nothing of its own on a host port. Fails without IPv6, which is as good.
  const std::string ipv6 = "ipv6/conf/" + wanted.interface + "/";
  static_cast<void>(sys::set_net_sysctl(wanted.netns, ipv6 + "addr_gen_mode", "1"));
  static_cast<void>(sys::set_net_sysctl(wanted.netns, ipv6 + "router_solicitations", "0"));
  static_cast<void>(sys::set_net_sysctl(wanted.netns, "ipv4/conf/" + wanted.interface + "/rp_filter", "0"));
  if (is_tap(wanted)) {
    // The other end of a circuit is a stranger: it sets up no addresses and routes here, and hears of no address but those
    // of the circuit.
    static_cast<void>(sys::set_net_sysctl(wanted.netns, ipv6 + "accept_ra", "0"));
    static_cast<void>(sys::set_net_sysctl(wanted.netns, "ipv4/conf/" + wanted.interface + "/arp_ignore", "1"));
    static_cast<void>(sys::set_net_sysctl(wanted.netns, "ipv4/conf/" + wanted.interface + "/arp_announce", "2"));
  }
  auto netlink = netlink::Netlink::open(wanted.netns);
  if (!netlink) return Unexpected(netlink.error());
  auto addresses = wanted.addresses;
  const auto inside = std::find_if(addresses.begin(), addresses.end(), [](const auto& a) { return a.address.is_v6(); });
  if (inside != addresses.end()) addresses.push_back({link_local_of(inside->address), 64});
  return netlink::configure_interface(**netlink, wanted.interface, addresses, mtu_bytes);
}

forward::HostPortEntry entry_of(const ipc::HostPort& wanted, forward::PortId id, const MacAddress& mac) {
  forward::HostPortEntry entry{attachment_of(wanted.attachment), id, {}, mac};
  for (const auto& address : wanted.addresses) entry.addresses.push_back(address.address);
  return entry;
}

}  // namespace

HostPorts::HostPorts(forward::Tables& tables, PortIds& ids, std::shared_ptr<TunDevices> tuns,
                     std::vector<std::shared_ptr<forward::PacketIo>> ios, TapOpened tap_opened)
    : tables_(tables), ids_(ids), tuns_(std::move(tuns)), ios_(std::move(ios)), tap_opened_(std::move(tap_opened)) {}

HostPorts::~HostPorts() {
  for (const auto& [attachment, port] : ports_) close(port, false);
}

Result<void> HostPorts::upsert(const ipc::HostPort& wanted) {
  auto done = open(wanted);
  if (done) broken_.erase(wanted.attachment);
  return done;
}

void HostPorts::upsert_or_repair_later(const ipc::HostPort& wanted) {
  const auto done = upsert(wanted);
  if (done) return;
  spdlog::warn("host port {}: {}", wanted.interface, done.error().message());
  broken_.insert_or_assign(wanted.attachment, wanted);
}

Result<void> HostPorts::open(const ipc::HostPort& wanted) {
  const auto found = ports_.find(wanted.attachment);
  if (found != ports_.end()) {
    Port& port = found->second;
    if (port.config == wanted) return {};
    if (port.config.interface == wanted.interface && port.config.netns == wanted.netns) {
      if (auto ok = configure(wanted); !ok) return ok;
      port.config = wanted;
      return tables_.upsert_host_port(entry_of(wanted, port.id, port.mac));
    }
    const ipc::HostPort former = port.config;
    remove(wanted.attachment);
    auto opened = make(wanted);
    if (!opened) upsert_or_repair_later(former);  // what is refused changes nothing
    return opened;
  }
  return make(wanted);
}

Result<void> HostPorts::make(const ipc::HostPort& wanted) {
  auto tun = take_or_open(wanted);
  if (!tun) return Unexpected(tun.error());
  Port port{wanted, ids_.take(), {}};
  if (auto ok = tuns_->add(port.id, *std::move(tun)); !ok) {
    ids_.give_back(port.id);
    return ok;
  }
  forward::PortEntry entry;
  entry.id = port.id;
  entry.kind = forward::PortKind::kHost;
  entry.queues = ios_;
  entry.frames = is_tap(wanted);
  auto installed = tables_.upsert_port(entry);
  if (installed) installed = tables_.upsert_host_port(entry_of(wanted, port.id, port.mac));
  if (!installed) {
    close(port, false);
    return installed;
  }
  namespaces_.try_emplace(wanted.netns);
  ports_.emplace(wanted.attachment, std::move(port));
  if (is_tap(wanted)) tap_opened_(wanted);
  return {};
}

std::uint16_t HostPorts::mtu_of(const ipc::HostPort& wanted) const {
  const auto limit = mtu_limits_.find(wanted.attachment);
  return limit == mtu_limits_.end() ? wanted.mtu : std::min(wanted.mtu, limit->second);
}

Result<void> HostPorts::configure(const ipc::HostPort& wanted) const { return configure_device(wanted, mtu_of(wanted)); }

void HostPorts::limit_mtu(const ipc::AttachmentRef& attachment, std::uint16_t mtu_bytes) {
  const auto found = ports_.find(attachment);
  const std::uint16_t before = found == ports_.end() ? mtu_bytes : mtu_of(found->second.config);
  mtu_limits_[attachment] = mtu_bytes;
  if (found == ports_.end() || mtu_of(found->second.config) == before) return;
  if (auto ok = configure(found->second.config); !ok) {
    spdlog::warn("host port {}: {}", found->second.config.interface, ok.error().message());
  }
}

void HostPorts::set_mac(const ipc::AttachmentRef& attachment, const MacAddress& mac) {
  const auto found = ports_.find(attachment);
  if (found == ports_.end() || found->second.mac == mac) return;
  found->second.mac = mac;
  if (auto ok = tables_.upsert_host_port(entry_of(found->second.config, found->second.id, mac)); !ok) {
    spdlog::warn("host port {}: {}", found->second.config.interface, ok.error().message());
  }
}

Result<sys::UniqueFd> HostPorts::take_or_open(const ipc::HostPort& wanted) {
  if (auto inherited = inherited_.extract(wanted.attachment); !inherited.empty()) return std::move(inherited.mapped());
  auto tun = is_tap(wanted) ? sys::open_tap(wanted.netns, wanted.interface) : sys::open_tun(wanted.netns, wanted.interface);
  if (!tun) return tun;
  if (auto ok = configure(wanted); !ok) {
    ::ioctl(tun->get(), TUNSETPERSIST, 0);
    return Unexpected(ok.error());
  }
  return tun;
}

void HostPorts::inherit(const ipc::AttachmentRef& attachment, sys::UniqueFd tun) {
  inherited_.insert_or_assign(attachment, std::move(tun));
}

std::vector<ipc::AttachmentRef> HostPorts::hand_over(std::vector<int>& descriptors) const {
  std::vector<ipc::AttachmentRef> all;
  for (const auto& [attachment, port] : ports_) {
    const int tun = tuns_->device(port.id);
    if (tun < 0) continue;
    all.push_back(attachment);
    descriptors.push_back(tun);
  }
  return all;
}

void HostPorts::remove(const ipc::AttachmentRef& attachment) {
  broken_.erase(attachment);
  const auto found = ports_.find(attachment);
  if (found == ports_.end()) return;
  tables_.remove_host_port(attachment_of(attachment));
  close(found->second, true);
  ports_.erase(found);
}

std::string HostPorts::interface_of(forward::PortId port) const {
  for (const auto& [attachment, open] : ports_) {
    if (open.id == port) return open.config.interface;
  }
  return {};
}

void HostPorts::break_down(std::map<ipc::AttachmentRef, Port>::iterator port, bool delete_device) {
  broken_.emplace(port->first, port->second.config);
  tables_.remove_host_port(attachment_of(port->first));
  close(port->second, delete_device);
  ports_.erase(port);
}

bool HostPorts::is_in(const Port& port, const sys::NetnsId& netns) const {
  const auto where = sys::netns_of_tun(tuns_->device(port.id));
  return !where || *where == netns;
}

/// Makes the namespace that of a domain, and finds the devices in the one that had its name before.
void HostPorts::follow(const std::string& netns, const sys::NetnsId& now) {
  std::size_t elsewhere = 0;
  for (const auto& [attachment, port] : ports_) {
    if (port.config.netns != netns || is_in(port, now)) continue;
    to_repair_.insert(attachment);
    ++elsewhere;
  }
  if (elsewhere == 0) return;
  spdlog::warn("namespace {} is another one now: its {} host ports are made again there", netns, elsewhere);
  if (auto ok = sys::prepare_domain_netns(netns); !ok) spdlog::error("namespace {}: {}", netns, ok.error().message());
}

void HostPorts::begin_repair() {
  for (const forward::PortId dead : tuns_->take_dead()) {
    const auto found = std::find_if(ports_.begin(), ports_.end(), [dead](const auto& e) { return e.second.id == dead; });
    if (found == ports_.end()) continue;
    spdlog::warn("host port {}: the device is gone", found->second.config.interface);
    break_down(found, false);
  }
  for (auto entry = namespaces_.begin(); entry != namespaces_.end();) {
    const auto& [name, seen] = *entry;
    const auto now = sys::netns_id(name);
    const bool used = now || std::any_of(ports_.begin(), ports_.end(), [&](const auto& e) { return e.second.config.netns == name; });
    if (now && now != seen) follow(name, *now);
    if (now) entry->second = now;
    entry = used ? std::next(entry) : namespaces_.erase(entry);
  }
  for (const auto& [attachment, config] : broken_) to_repair_.insert(attachment);
}

bool HostPorts::repair_some() {
  for (std::size_t i = 0; i < kPortion && !to_repair_.empty(); ++i) repair(to_repair_.extract(to_repair_.begin()).value());
  return !to_repair_.empty();
}

void HostPorts::repair(const ipc::AttachmentRef& attachment) {
  if (const auto port = ports_.find(attachment); port != ports_.end()) {
    const auto now = sys::netns_id(port->second.config.netns);
    if (!now || is_in(port->second, *now)) return;
    break_down(port, true);
  }
  const auto broken = broken_.find(attachment);
  if (broken == broken_.end()) return;
  const ipc::HostPort wanted = broken->second;
  if (upsert(wanted)) spdlog::info("host port {}: made again", wanted.interface);
}

void HostPorts::close(const Port& port, bool delete_device) {
  sys::UniqueFd tun = tuns_->remove(port.id);
  if (delete_device && tun.valid()) ::ioctl(tun.get(), TUNSETPERSIST, 0);
  tables_.remove_port(port.id);
  ids_.give_back(port.id);
  // A worker may be inside a write to it: closed after a grace period.
  tables_.quiescence().retire(new sys::UniqueFd(std::move(tun)));
  wait_for_workers(tables_);
}

}  // namespace simplon::forwarder
