// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/tun_io.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "gateway/forwarder/af_xdp_io.h"
#include "gateway/forwarder/ring_sizes.h"

namespace simplon::forwarder {
namespace {

using forward::FramePool;
using forward::Packet;
using forward::PortId;

/// A socket that keeps the borders of packets, in place of a device.
struct TunIoTest : ::testing::Test {
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    kernel.reset(ends[0]);
    ASSERT_TRUE(devices->add(kPort, sys::UniqueFd(ends[1])));
  }
  void send(std::size_t bytes) const {
    const std::vector<std::uint8_t> packet(bytes, 7);
    ASSERT_EQ(::send(kernel.get(), packet.data(), bytes, 0), static_cast<ssize_t>(bytes));
  }
  /// What it gets within so many polls.
  std::size_t receive() {
    std::array<Packet, 64> burst;
    std::size_t got = 0;
    for (int i = 0; i < 20; ++i) {
      const std::size_t count = io.receive(burst);
      for (std::size_t n = 0; n < count; ++n) pool.release(burst[n].data);
      got += count;
    }
    return got;
  }

  static constexpr PortId kPort{5};
  FramePool pool = FramePool::create(4).value();
  std::shared_ptr<TunDevices> devices = TunDevices::create(1).value();
  TunIo io{pool, devices, 0};
  sys::UniqueFd kernel;
};

TEST_F(TunIoTest, WithoutAFreeFramePacketsAreTakenAndCounted) {
  std::vector<const std::uint8_t*> taken;
  while (const std::uint8_t* frame = pool.allocate()) taken.push_back(frame);
  for (std::size_t i = 0; i < 40; ++i) send(100);
  EXPECT_EQ(receive(), 0U);
  EXPECT_TRUE(io.lost_any());
  EXPECT_EQ(io.take_unreceived().without_frame, 40U);
  std::uint8_t byte = 0;
  EXPECT_EQ(::read(devices->device(kPort), &byte, 1), -1) << "nothing is left that would wake the worker";
  for (const std::uint8_t* frame : taken) pool.release(frame);
  send(100);
  EXPECT_EQ(receive(), 1U);
  EXPECT_FALSE(io.lost_any());
}

TEST(RingSizes, OfTwoUplinksLeaveFramesInTheDefaultMemory) {
  constexpr std::size_t kDefault = 16384;
  for (std::uint32_t queues = 1; queues <= 4096; ++queues) {
    const RingSizes rings = ring_sizes(queues);
    for (const std::uint32_t entries : {rings.receive, rings.control, rings.transmit}) {
      ASSERT_TRUE(std::has_single_bit(entries)) << queues;
    }
    ASSERT_GE(rings.receive, 128U) << queues;
    ASSERT_GT(rings.transmit, 2 * AfXdpIo::kSparedForUrgent) << queues;
    const std::size_t stock = std::size_t{queues} * (rings.receive + rings.control);
    if (queues <= 32) {
      ASSERT_LE(frames_for(2 * stock, 1), kDefault) << queues;
    }
    ASSERT_GE(frames_for(stock, 1), stock + rings.transmit + FramePool::kReserved) << queues;
  }
  EXPECT_EQ(ring_sizes(1).receive, 2048U);
  EXPECT_EQ(ring_sizes(8).control, 256U);
  EXPECT_EQ(ring_sizes(64).receive, 128U);
}

}  // namespace
}  // namespace simplon::forwarder
