// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets longer than a frame, through the kernel: several descriptors become one packet in a slot, and again several.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <numeric>

#include "gateway/forwarder/af_xdp_io.h"
#include "platform/sys/netns.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;
using forward::FramePool;
using forward::Packet;
using Frame = std::vector<std::uint8_t>;

constexpr std::size_t kFrames = 1024;
constexpr std::size_t kSlots = 30;
constexpr forward::PortId kPort{3};

/// VXLAN to 192.0.2.1, of so many bytes in all; `number` is in it.
Frame vxlan(std::size_t bytes, std::uint8_t number = 0) {
  Frame frame(bytes);
  for (std::size_t i = 0; i < bytes; ++i) frame[i] = static_cast<std::uint8_t>(i * 7 + i / 251 + number);
  const auto be16 = [&frame](std::size_t at, std::size_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value);
  };
  std::fill(frame.begin(), frame.begin() + 42, std::uint8_t{0});
  frame[0] = frame[6] = 2;
  be16(12, ETH_P_IP);
  frame[14] = 0x45;
  be16(16, bytes - 14);
  frame[22] = 64;
  frame[23] = IPPROTO_UDP;
  frame[26] = frame[30] = 192;
  frame[28] = frame[32] = 2;
  frame[29] = 9;
  frame[33] = 1;
  be16(34, 40000);
  be16(36, 4789);
  be16(38, bytes - 34);
  return frame;
}

/// feeder e0 (packet socket) ---- ours e0 (XDP, AF_XDP), MTU 9100
class JumboLab : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::create_netns(ours_));
    ASSERT_TRUE(sys::create_netns(feeder_));
    command("ip -n " + ours_ + " link add e0 mtu 9100 type veth peer name e0 mtu 9100 netns " + feeder_);
    for (const auto& name : {ours_, feeder_}) {
      command("ip netns exec " + name + " sysctl -qw net.ipv6.conf.e0.disable_ipv6=1");
      command("ip netns exec " + name + " ethtool -K e0 tx off > /dev/null");
      command("ip -n " + name + " link set e0 up");
    }
    raw_ = packet_socket();
    auto pool = FramePool::create(kFrames, FramePool::Memory::kPrivate, kSlots);
    ASSERT_TRUE(pool);
    pool_ = std::make_unique<FramePool>(*std::move(pool));
    const auto opened = sys::run_in_netns(ours_, [this]() -> Result<void> {
      auto steering = xdp::Steering::create();
      if (!steering) return Unexpected(steering.error());
      steering_ = *std::move(steering);
      auto program = xdp::UplinkProgram::attach(*steering_, "e0", ::if_nametoindex("e0"), true);
      if (!program) return Unexpected(program.error());
      program_ = *std::move(program);
      xdp::XskSocket::Options options;
      options.interface = "e0";
      options.memory = pool_->memory_with_slots();
      options.multi_buffer = true;
      options.rx_ring = 256;
      options.tx_ring = 128;
      options.control_ring = 64;
      auto socket = xdp::XskSocket::open(options);
      if (!socket) return Unexpected(socket.error());
      const auto queue = std::make_shared<UplinkQueue>(*pool_, *std::move(socket), false);
      io_ = std::make_unique<AfXdpIo>(*pool_, kPort, std::vector{queue}, queue);
      return program_->set_socket(0, queue->socket().fd(), queue->socket().control_fd());
    });
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(program_->mode(), xdp::AttachMode::kNative);
    ASSERT_TRUE(steering_->set_vteps({{IpAddress::v4(0xc0000201), 4789}}));
    static_cast<void>(receive(0));  // stocks the fill ring
  }
  void TearDown() override {
    program_.reset();
    io_.reset();
    steering_.reset();
    EXPECT_EQ(pool_->available(), kFrames);
    EXPECT_EQ(pool_->available_slots(), kSlots);
    EXPECT_TRUE(sys::delete_netns(ours_));
    EXPECT_TRUE(sys::delete_netns(feeder_));
  }

  static void command(const std::string& text) { ASSERT_EQ(std::system(text.c_str()), 0) << text; }

  [[nodiscard]] sys::UniqueFd packet_socket() const {
    auto fd = sys::call_in_netns<sys::UniqueFd>(feeder_, []() -> Result<sys::UniqueFd> {
      sys::UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
      const int room = 16 << 20;
      static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room));
      sockaddr_ll address{};
      address.sll_family = AF_PACKET;
      address.sll_protocol = htons(ETH_P_ALL);
      address.sll_ifindex = static_cast<int>(::if_nametoindex("e0"));
      if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("bind", errno);
      return socket;
    });
    EXPECT_TRUE(fd);
    return *std::move(fd);
  }
  void feed(const Frame& frame) const {
    ASSERT_EQ(::send(raw_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  }
  /// What comes within two seconds, until it is `wanted` packets.
  std::vector<Packet> receive(std::size_t wanted, std::size_t lost = 0) {
    std::vector<Packet> got;
    std::array<Packet, 64> burst;
    const auto deadline = std::chrono::steady_clock::now() + 2s;
    do {
      const std::size_t count = io_->receive(burst);
      got.insert(got.end(), burst.begin(), burst.begin() + count);
      const auto unreceived = io_->take_unreceived();
      lost_.without_slot += unreceived.without_slot;
      lost_.too_long += unreceived.too_long;
    } while ((got.size() < wanted || lost_.without_slot + lost_.too_long < lost) && std::chrono::steady_clock::now() < deadline);
    EXPECT_EQ(got.size(), wanted);
    return got;
  }
  [[nodiscard]] static Frame bytes_of(const Packet& packet) { return {packet.data, packet.data + packet.length}; }
  void give_back(const std::vector<Packet>& packets) {
    for (const Packet& packet : packets) pool_->release(packet.data);
  }
  /// The frame in a packet of ours: a slot's, if it is too long for a frame.
  [[nodiscard]] Packet place(const Frame& frame) const {
    std::uint8_t* data = frame.size() + forward::kSlotHeadroom > forward::kFrameBytes ? pool_->allocate_slot() : pool_->allocate();
    EXPECT_NE(data, nullptr);
    data += forward::kSlotHeadroom;
    std::copy(frame.begin(), frame.end(), data);
    return {data, static_cast<std::uint16_t>(frame.size()), kPort};
  }
  /// The next frame at the other end; empty if none comes.
  [[nodiscard]] Frame arrived() const {
    Frame frame(20000);
    const auto deadline = std::chrono::steady_clock::now() + 2s;
    while (std::chrono::steady_clock::now() < deadline) {
      const ssize_t got = ::recv(raw_.get(), frame.data(), frame.size(), 0);
      if (got <= 0) continue;
      frame.resize(static_cast<std::size_t>(got));
      return frame;
    }
    return {};
  }

  std::string ours_ = "t" + std::to_string(::getpid()) + "-jumbo";
  std::string feeder_ = ours_ + "f";
  sys::UniqueFd raw_;
  std::unique_ptr<FramePool> pool_;
  std::unique_ptr<xdp::Steering> steering_;
  std::unique_ptr<xdp::UplinkProgram> program_;
  std::unique_ptr<AfXdpIo> io_;
  forward::PacketIo::Unreceived lost_;
};

TEST_F(JumboLab, FramesOfAnyLengthComeWhole) {
  for (const std::size_t bytes : {60U, 1514U, 3520U, 3700U, 3711U, 3712U, 3713U, 4000U, 7424U, 7425U, 9000U, 9114U}) {
    const Frame frame = vxlan(bytes);
    feed(frame);
    const auto packets = receive(1);
    ASSERT_EQ(packets.size(), 1U) << bytes;
    EXPECT_EQ(bytes_of(packets[0]), frame) << bytes;
    EXPECT_EQ(packets[0].port, kPort);
    EXPECT_GE(FramePool::headroom(packets[0]), forward::kMinHeadroom);
    EXPECT_EQ(pool_->in_slot(packets[0].data), bytes > 3712) << bytes;
    give_back(packets);
  }
}

TEST_F(JumboLab, LargeAndSmallOnesKeepTheirOrder) {
  std::vector<Frame> frames;
  for (std::size_t i = 0; i < 60; ++i) frames.push_back(vxlan(i % 3 == 0 ? 9000 - i : 100 + i, static_cast<std::uint8_t>(i)));
  for (const Frame& frame : frames) feed(frame);
  const auto packets = receive(frames.size());
  ASSERT_EQ(packets.size(), frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) EXPECT_EQ(bytes_of(packets[i]), frames[i]) << i;
  give_back(packets);
}

TEST_F(JumboLab, WithoutAFreeSlotTheyAreCountedAndTheRestPasses) {
  for (std::size_t i = 0; i < kSlots + 2; ++i) feed(vxlan(8000));
  feed(vxlan(100));
  const auto packets = receive(kSlots + 1, 2);
  EXPECT_EQ(lost_.without_slot, 2U);
  EXPECT_EQ(lost_.too_long, 0U);
  EXPECT_EQ(packets.back().length, 100U);
  give_back(packets);
  feed(vxlan(8000));
  give_back(receive(1));
}

TEST_F(JumboLab, AFrameLongerThanASlotIsCountedAndTheRestPasses) {
  for (const auto& name : {ours_, feeder_}) command("ip -n " + name + " link set e0 mtu 30000");
  feed(vxlan(forward::kLongestInSlot + 1));
  feed(vxlan(30000));
  const Frame longest = vxlan(forward::kLongestInSlot);
  feed(longest);
  const auto packets = receive(1, 2);
  EXPECT_EQ(lost_.too_long, 2U);
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(bytes_of(packets[0]), longest);
  give_back(packets);
}

TEST_F(JumboLab, TheyLeaveWholeAndInOrder) {
  std::vector<Frame> frames;
  for (std::size_t i = 0; i < 60; ++i) frames.push_back(vxlan(i % 3 == 0 ? 9000 + i : 100 + i, static_cast<std::uint8_t>(i)));
  for (std::size_t turn = 0; turn < 10; ++turn) {
    std::vector<Packet> packets;
    for (const Frame& frame : frames) packets.push_back(place(frame));
    ASSERT_EQ(io_->transmit(packets), packets.size());
    io_->flush();
    for (std::size_t i = 0; i < frames.size(); ++i) ASSERT_EQ(arrived(), frames[i]) << turn << " " << i;
    // All completed: the next turn needs the slots.
    static_cast<void>(receive(0));
  }
}

TEST_F(JumboLab, WhatTheRingHasNoRoomForIsRefusedWhole) {
  // Nothing leaves the ring while the link is down. 128 places, 64 of which are spared: 21 packets in three pieces.
  command("ip -n " + ours_ + " link set e0 down");
  std::vector<Packet> packets;
  for (std::size_t i = 0; i < 25; ++i) packets.push_back(place(vxlan(9000, static_cast<std::uint8_t>(i))));
  const std::size_t took = io_->transmit(packets);
  EXPECT_EQ(took, 21U);
  give_back({packets.begin() + static_cast<std::ptrdiff_t>(took), packets.end()});
  EXPECT_EQ(pool_->available_slots(), kSlots - took);
  command("ip -n " + ours_ + " link set e0 up");
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  std::size_t whole = 0;
  while (whole < took && std::chrono::steady_clock::now() < deadline) {
    io_->flush();
    Frame frame(20000);
    const ssize_t got = ::recv(raw_.get(), frame.data(), frame.size(), 0);
    if (got <= 0) continue;
    frame.resize(static_cast<std::size_t>(got));
    EXPECT_EQ(frame, vxlan(9000, static_cast<std::uint8_t>(whole)));
    ++whole;
  }
  EXPECT_EQ(whole, took);
}

}  // namespace
}  // namespace simplon::forwarder
