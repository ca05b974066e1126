// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/worker.h"
#include "tests/packet/frames.h"
#include "tests/packet/topology.h"

namespace simplon::test {

/// What one injected packet led to.
struct Outcome {
  std::vector<forward::MemoryIo::Sent> sent;    ///< On uplinks.
  std::vector<forward::MemoryIo::Sent> punted;  ///< On host ports.
  std::map<std::string, std::uint64_t> drops;   ///< By counter name.

  /// "sent 1 on 0; dropped no_route": for comparison and for people.
  [[nodiscard]] std::string summary() const;
};

/// The gateway of topology.h in memory, with a clock that stands still. Every `send` checks the accounting identity and
/// that no frame was lost.
class Rig {
 public:
  explicit Rig(forward::WorkerOptions options = {});
  ~Rig();

  Outcome send(forward::PortId port, const Bytes& packet);
  Outcome send_all(forward::PortId port, const std::vector<Bytes>& packets);

  // Frames as hosts of the drawing send them. `inner` is an IP packet.
  struct FromVm {
    std::uint32_t vni = 5001;
    std::string vtep = "192.0.2.11";
    std::string gateway_mac = kGatewayMac;
    std::string vm_mac = kVmMac;
  };
  [[nodiscard]] static Bytes from_vm(const FromVm& where, const Bytes& inner);
  [[nodiscard]] static Bytes from_vm(const Bytes& inner) { return from_vm(FromVm{}, inner); }
  /// In VPC 5003, over IPv6.
  [[nodiscard]] static Bytes from_vm6(const Bytes& inner);
  /// Through tunnel 7, 8 or 9, with the next sequence number unless given.
  [[nodiscard]] Bytes from_site(unsigned tunnel, const Bytes& inner);
  [[nodiscard]] Bytes from_site(unsigned tunnel, const Bytes& inner, EspOptions options);

  /// The inner IP packet of a VXLAN frame that was sent, after comparing all outer headers with what they must be for the
  /// endpoint 10.1.0.5 of `vni`.
  [[nodiscard]] static Bytes to_vm(const forward::MemoryIo::Sent& sent, std::uint32_t vni = 5001);
  [[nodiscard]] static Bytes to_vm6(const forward::MemoryIo::Sent& sent);
  /// The inner IP packet of an ESP frame that was sent, after comparing the outer headers and opening it with OpenSSL.
  [[nodiscard]] Bytes to_site(unsigned tunnel, const forward::MemoryIo::Sent& sent, OpenedEsp* opened = nullptr,
                              bool outer_df = true) const;

  [[nodiscard]] EspParameters peer_sends(unsigned tunnel) const;
  [[nodiscard]] EspParameters peer_receives(unsigned tunnel) const;

  FakeClock clock;
  forward::FramePool pool;
  forward::Tables tables;
  std::shared_ptr<forward::MemoryIo> uplinks;
  std::shared_ptr<forward::MemoryIo> hosts;
  Topology topology;
  forward::Worker worker;

 private:
  std::map<unsigned, std::uint64_t> sequence_;
};

/// An IP packet with one hop less.
[[nodiscard]] Bytes hop(Bytes packet);

}  // namespace simplon::test
