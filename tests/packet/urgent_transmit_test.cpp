// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/worker.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::Drop;
using forward::FramePool;
using forward::MemoryIo;
using forward::Packet;

/// Uplinks whose links are slow: there is room for what is urgent only.
class FullLinks final : public forward::PacketIo {
 public:
  explicit FullLinks(FramePool& pool) : memory(pool) {}
  std::size_t receive(std::span<Packet> burst) noexcept override { return memory.receive(burst); }
  std::size_t transmit(std::span<const Packet>) noexcept override { return 0; }
  std::size_t transmit_urgent(std::span<const Packet> packets) noexcept override { return memory.transmit(packets); }
  MemoryIo memory;
};

TEST(UrgentTransmit, WhatTheKernelSendsGoesBeforeData) {
  FakeClock clock;
  FramePool pool = FramePool::create(512).value();
  forward::Tables tables;
  const auto uplinks = std::make_shared<FullLinks>(pool);
  const auto hosts = std::make_shared<MemoryIo>(pool);
  const Topology topology(tables, uplinks, hosts);
  forward::Worker worker(tables, pool, clock);
  worker.go_online();
  const Bytes update = ipv4({"169.254.10.1", "169.254.10.2", 6}, tcp({179, 40000}, payload(19)));
  ASSERT_TRUE(hosts->inject(kHostRedTunnel, update));
  for (const char* to : {"172.16.0.9", "10.3.0.5"}) {
    ASSERT_TRUE(uplinks->memory.inject(kFabric, Rig::from_vm(ipv4({"10.1.0.5", to}, udp({1000, 2000}, payload(60))))));
  }
  while (worker.poll_once() > 0) {
  }
  EXPECT_EQ(worker.counters().dropped(Drop::kTxRefused), 2U);
  const auto sent = uplinks->memory.take_sent();
  ASSERT_EQ(sent.size(), 1U);
  const auto opened = esp_open({topology.out7.spi, topology.out7.key, topology.out7.esn}, from(sent[0].bytes, 14 + 20 + 8));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->inside, update);
  worker.go_offline();
}

/// Uplinks through which one packet, by its length, never leaves.
class ChoosyLinks final : public forward::PacketIo {
 public:
  explicit ChoosyLinks(FramePool& pool) : memory(pool) {}
  std::size_t receive(std::span<Packet> burst) noexcept override { return memory.receive(burst); }
  std::size_t transmit(std::span<const Packet> packets) noexcept override {
    std::size_t good = 0;
    while (good < packets.size() && packets[good].length < kTooLong) ++good;
    stopped_at_one_ = good < packets.size();
    return memory.transmit(packets.first(good));
  }
  static constexpr std::size_t kTooLong = 1000;
  MemoryIo memory;
};

TEST(Transmit, APacketThatCannotLeaveCostsNoOther) {
  FakeClock clock;
  FramePool pool = FramePool::create(512).value();
  forward::Tables tables;
  const auto uplinks = std::make_shared<ChoosyLinks>(pool);
  const auto hosts = std::make_shared<MemoryIo>(pool);
  const Topology topology(tables, uplinks, hosts);
  forward::Worker worker(tables, pool, clock);
  worker.go_online();
  // Express, and through the stages (with options); to one uplink, and to both.
  for (const bool plain : {true, false}) {
    for (const bool both : {false, true}) {
      std::vector<std::size_t> lengths;
      for (const std::size_t bytes : {1100U, 60U, 1200U, 1300U, 61U, 1100U}) {
        Ipv4 fields{.src = "10.1.0.5", .dst = both && lengths.size() % 2 == 0 ? "172.16.0.9" : "10.3.0.5"};
        if (!plain) fields.options = {1, 1, 1, 1};
        lengths.push_back(bytes);
        ASSERT_TRUE(uplinks->memory.inject(kFabric, Rig::from_vm(ipv4(fields, udp({1000, 2000}, payload(bytes))))));
      }
      const auto before = worker.counters().dropped(Drop::kTxRefused);
      while (worker.poll_once() > 0) {
      }
      EXPECT_EQ(uplinks->memory.take_sent().size(), 2U) << plain << both;
      EXPECT_EQ(worker.counters().dropped(Drop::kTxRefused) - before, 4U) << plain << both;
    }
  }
  EXPECT_EQ(pool.available(), pool.frames());
  worker.go_offline();
}

}  // namespace
}  // namespace simplon::test
