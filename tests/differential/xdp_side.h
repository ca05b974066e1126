// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include <boost/asio/io_context.hpp>

#include "gateway/forward/memory_io.h"
#include "gateway/forwarder/xdp_tier.h"
#include "platform/xdp/uplink_program.h"
#include "tests/differential/scenario.h"

namespace simplon::differential {

/// The XDP tier under test: the real program, run by the kernel on one packet at a time (BPF_PROG_TEST_RUN), and the
/// real XdpTier, which learns from every packet that the program leaves to the worker.
///
/// Ports are interfaces in a network namespace that the process makes for itself, since the program redirects to
/// nothing else; no packet reaches them. Needs root.
class XdpSide {
 public:
  explicit XdpSide(forward::Tables& tables);

  void put_uplink(forward::PortId port);
  void remove_port(forward::PortId port);
  void put_vpc(const oracle::VpcEntry& vpc);
  void remove_vpc(Vni vni);
  void put_circuit(const forward::CircuitEntry& circuit);
  void remove_circuit(CircuitId id);
  /// What the program sends for it; nullopt: the packet is the worker's.
  [[nodiscard]] std::optional<forward::MemoryIo::Sent> offer(const Input& input);
  /// How many of them had several nexthops.
  [[nodiscard]] std::uint64_t spread() const { return spread_; }
  /// Between two bursts.
  void learn() { static_cast<void>(tier_->step()); }
  /// Up to date in the totals of the tables.
  void count() { tier_->count(); }

 private:
  void publish();
  void steer();

  boost::asio::io_context io_;
  std::unique_ptr<forwarder::XdpTier> tier_;
  std::unique_ptr<xdp::Steering> steering_;
  std::map<std::uint32_t, std::unique_ptr<xdp::UplinkProgram>> programs_;  // by interface index
  std::map<forward::PortId, std::uint32_t> uplinks_;
  std::set<std::uint32_t> free_;
  std::map<Vni, xdp::VtepKey> vteps_;
  std::map<CircuitId, forward::CircuitEntry> circuits_;
  std::uint64_t spread_ = 0;
};

}  // namespace simplon::differential
