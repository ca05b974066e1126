// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary packets, described and traced, with the tables of tests/packet/topology.h: nothing is sent, and nothing that a real
// packet would change is changed.
//
// Input: one byte "where", then the packet.
//   0 to 2      from vpc 5001, 5002, 5003      3 to 5   from tunnel 7, 8, 9
//   8 to 13     the same, from the kernel      16, 17   a frame on uplink 0 or 1      18 to 21   a packet of a host port
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/trace.h"
#include "tests/packet/topology.h"

namespace {

using namespace simplon;

struct Gateway {
  FakeClock clock;
  forward::FramePool pool = forward::FramePool::create(16).value();
  forward::Tables tables;
  std::shared_ptr<forward::MemoryIo> io = std::make_shared<forward::MemoryIo>(pool);
  test::Topology topology{tables, io, io};
};

constexpr std::array<std::uint32_t, 6> kIds = {5001, 5002, 5003, 7, 8, 9};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Gateway gateway;
  if (size == 0) return 0;
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  const unsigned where = data[0];
  if (where >= 16 && where < 22) {
    const forward::PortId port{where < 18 ? where - 16 : where - 8};
    static_cast<void>(forward::trace_received(gateway.tables, gateway.clock, port, bytes));
  } else if (where % 8 < kIds.size() && where < 16) {
    forward::DescribedPacket packet;
    packet.from = {where % 8 < 3 ? forward::AttachmentKind::kVpc : forward::AttachmentKind::kTunnel, kIds[where % 8]};
    packet.from_kernel = where >= 8;
    packet.packet.assign(bytes.begin(), bytes.end());
    static_cast<void>(forward::trace(gateway.tables, gateway.clock, packet));
  }
  for (const auto& sa : {gateway.topology.sa7_in, gateway.topology.sa7_out, gateway.topology.sa8_in, gateway.topology.sa8_out,
                         gateway.topology.sa9_in, gateway.topology.sa9_out}) {
    const forward::SaUsage usage = sa->usage();
    if (usage.packets != 0 || usage.sequence != 0 || usage.failed != 0 || usage.replayed != 0 ||
        sa->runtime().window.top() != 0) {
      std::abort();
    }
  }
  for (const std::uint32_t id : kIds) {
    const auto kind = id > 1000 ? forward::AttachmentKind::kVpc : forward::AttachmentKind::kTunnel;
    const auto totals = gateway.tables.totals(forward::AttachmentId{kind, id});
    if (!totals || totals->rx_packets + totals->tx_packets + totals->dropped + totals->punted != 0) std::abort();
  }
  if (!gateway.io->take_sent().empty() || gateway.pool.available() != gateway.pool.frames()) std::abort();
  return 0;
}
