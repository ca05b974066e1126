// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/port_ids.h"
#include "gateway/forwarder/tun_io.h"
#include "gateway/ipc/table_model.h"
#include "platform/base/result.h"
#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// Host ports: TUN devices, and TAP devices for circuits, in the namespaces of the domains. A device outlives the forwarder,
/// with its addresses and the sockets bound to them; it is deleted when the host port is removed. Threads: the control thread's.
class HostPorts {
 public:
  /// `tap_opened`: the TAP of a circuit is there, or again.
  using TapOpened = std::function<void(const ipc::HostPort& port)>;
  /// `ios`: of each worker.
  HostPorts(forward::Tables& tables, PortIds& ids, std::shared_ptr<TunDevices> tuns,
            std::vector<std::shared_ptr<forward::PacketIo>> ios, TapOpened tap_opened);
  ~HostPorts();

  /// Creates or adopts the device and gives it addresses and MTU. Errors: those of sys::open_tun and netlink; what is repaired
  /// goes on being tried.
  [[nodiscard]] Result<void> upsert(const ipc::HostPort& wanted);
  /// The same; if it fails, it is repaired.
  void upsert_or_repair_later(const ipc::HostPort& wanted);
  void remove(const ipc::AttachmentRef& attachment);
  [[nodiscard]] bool up(const ipc::AttachmentRef& attachment) const { return ports_.count(attachment) != 0; }
  /// The device behind a port; empty: none.
  [[nodiscard]] std::string interface_of(forward::PortId port) const;
  /// The device of a host port, as a former process configured it: the first `upsert` of the attachment takes it as it is.
  void inherit(const ipc::AttachmentRef& attachment, sys::UniqueFd tun);
  /// Closes the devices nobody took.
  [[nodiscard]] std::size_t size() const noexcept { return ports_.size(); }
  void forget_inherited() { inherited_.clear(); }
  /// All of them, with their descriptors appended in the same order; they stay ours.
  [[nodiscard]] std::vector<ipc::AttachmentRef> hand_over(std::vector<int>& descriptors) const;
  /// The device of an attachment has at most this MTU, whatever is wanted: its packets leave through a narrower uplink. Until
  /// the attachment is forgotten with `forget_mtu`.
  void limit_mtu(const ipc::AttachmentRef& attachment, std::uint16_t mtu_bytes);
  void forget_mtu(const ipc::AttachmentRef& attachment) { mtu_limits_.erase(attachment); }
  /// The device of a circuit has this address now; frames to it need it.
  void set_mac(const ipc::AttachmentRef& attachment, const MacAddress& mac);
  /// Once a second: finds devices that were deleted under us, and those of a namespace whose name means another one by now; a
  /// name that means none changes nothing, what is in the namespace works on. `repair_some` makes them again.
  void begin_repair();
  /// A portion, because each takes a millisecond. False if that was the last.
  [[nodiscard]] bool repair_some();

 private:
  struct Port {
    ipc::HostPort config;
    forward::PortId id = forward::kNoPort;
    MacAddress mac;
  };

  [[nodiscard]] Result<void> open(const ipc::HostPort& wanted);
  [[nodiscard]] Result<void> make(const ipc::HostPort& wanted);
  [[nodiscard]] std::uint16_t mtu_of(const ipc::HostPort& wanted) const;
  [[nodiscard]] Result<void> configure(const ipc::HostPort& wanted) const;
  [[nodiscard]] Result<sys::UniqueFd> take_or_open(const ipc::HostPort& wanted);
  void close(const Port& port, bool delete_device);
  void break_down(std::map<ipc::AttachmentRef, Port>::iterator port, bool delete_device);
  void follow(const std::string& netns, const sys::NetnsId& now);
  [[nodiscard]] bool is_in(const Port& port, const sys::NetnsId& netns) const;
  void repair(const ipc::AttachmentRef& attachment);

  forward::Tables& tables_;
  PortIds& ids_;
  std::shared_ptr<TunDevices> tuns_;
  std::vector<std::shared_ptr<forward::PacketIo>> ios_;
  TapOpened tap_opened_;
  std::map<ipc::AttachmentRef, Port> ports_;
  std::map<ipc::AttachmentRef, sys::UniqueFd> inherited_;
  std::map<ipc::AttachmentRef, std::uint16_t> mtu_limits_;
  /// Deleted under us and not made again yet.
  std::map<ipc::AttachmentRef, ipc::HostPort> broken_;
  /// Where devices are, by name, and what it meant when we looked last.
  std::map<std::string, std::optional<sys::NetnsId>> namespaces_;
  /// What `repair_some` has to do yet: broken, or in a namespace that lost its name.
  std::set<ipc::AttachmentRef> to_repair_;
};

}  // namespace simplon::forwarder
