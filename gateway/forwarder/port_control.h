// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <set>
#include <string>
#include <vector>

#include "gateway/ipc/table_model.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/result.h"
#include "platform/net/ip_address.h"

namespace simplon::forwarder {

/// A UDP port of one of our VTEPs.
struct LocalVtep {
  IpAddress address;
  std::uint16_t port = 0;
  friend auto operator<=>(const LocalVtep&, const LocalVtep&) = default;
};

/// The part of a table update that touches more than tables: interfaces, TUN devices, BPF maps, SAs. An interface, so that the
/// semantics of updates are tested without root. Threads: the control thread's.
class PortControl {
 public:
  virtual ~PortControl() = default;
  /// Always accepted: an interface that is missing is waited for, and reported in the statistics.
  virtual void upsert_uplink(const std::string& interface) = 0;
  virtual void remove_uplink(const std::string& interface) = 0;
  /// Errors: kUnavailable or kConflict; the host port does not work then.
  [[nodiscard]] virtual Result<void> upsert_host_port(const ipc::HostPort& port) = 0;
  virtual void remove_host_port(const ipc::AttachmentRef& attachment) = 0;
  /// Always accepted, as uplinks are.
  virtual void upsert_circuit(const ipc::Circuit& circuit) = 0;
  virtual void remove_circuit(CircuitId id) = 0;
  /// What SAs of the tunnel were negotiated with so far is not wanted any more.
  virtual void renounce_sas(TunnelId tunnel) = 0;
  /// Our own addresses: what the XDP program shall take.
  virtual void set_local_addresses(const std::set<LocalVtep>& vteps, const std::set<IpAddress>& ipsec) = 0;
};

}  // namespace simplon::forwarder
