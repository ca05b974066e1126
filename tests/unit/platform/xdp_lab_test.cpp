// SPDX-License-Identifier: GPL-2.0-or-later
//
// The XDP program and AF_XDP sockets over a veth pair: what is ours reaches the socket, everything else the kernel, and no
// frame leaks. Needs root.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/if_xdp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <set>

#include "platform/netlink/netlink.h"
#include "platform/sys/netns.h"
#include "platform/xdp/uplink_program.h"
#include "platform/xdp/xsk_socket.h"

namespace simplon::xdp {
namespace {

using namespace std::chrono_literals;
using Frame = std::vector<std::uint8_t>;

constexpr std::size_t kFrames = 512;
constexpr std::size_t kFrameBytes = 4096;

void append(Frame& frame, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) frame.push_back(static_cast<std::uint8_t>(byte));
}

void append_be16(Frame& frame, std::size_t value) { append(frame, {static_cast<unsigned>(value >> 8), static_cast<unsigned>(value & 0xff)}); }

Frame ethernet(std::uint16_t type) {
  Frame frame(12, 0x02);
  append_be16(frame, type);
  return frame;
}

/// 192.0.2.2 -> 192.0.2.1
Frame ipv4(std::uint8_t protocol, const Frame& payload, std::uint16_t fragment = 0, unsigned option_words = 0) {
  Frame frame = ethernet(0x0800);
  append(frame, {0x45 + option_words, 0});
  append_be16(frame, 20 + 4 * option_words + payload.size());
  append_be16(frame, 1);
  append_be16(frame, fragment);
  append(frame, {64, protocol, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1});
  frame.insert(frame.end(), 4 * option_words, 1);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

/// 2001:db8::2 -> 2001:db8::1
Frame ipv6(std::uint8_t next, const Frame& payload) {
  Frame frame = ethernet(0x86dd);
  append(frame, {0x60, 0, 0, 0});
  append_be16(frame, payload.size());
  append(frame, {next, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

Frame udp(std::uint16_t port, const Frame& payload) {
  Frame datagram;
  append_be16(datagram, 40000);
  append_be16(datagram, port);
  append_be16(datagram, 8 + payload.size());
  append_be16(datagram, 0);
  datagram.insert(datagram.end(), payload.begin(), payload.end());
  return datagram;
}

///     feeder e0 (packet socket) ---- ours e0 (XDP, AF_XDP)
class XdpLab : public ::testing::Test {
 protected:
  std::string ours_ = "t" + std::to_string(::getpid()) + "-xdp";
  std::string feeder_ = ours_ + "f";
  sys::UniqueFd raw_;       // at the feeder
  sys::UniqueFd kernel_;    // what the kernel of `ours_` gets
  sys::UniqueFd memory_fd_;
  std::span<std::uint8_t> memory_;
  std::unique_ptr<Steering> steering_;
  std::unique_ptr<UplinkProgram> program_;
  std::unique_ptr<XskSocket> socket_;

  void SetUp() override {
    ASSERT_TRUE(sys::create_netns(ours_));
    ASSERT_TRUE(sys::create_netns(feeder_));
    command("ip -n " + ours_ + " link add e0 type veth peer name e0 netns " + feeder_);
    for (const auto& name : {ours_, feeder_}) {
      command("ip netns exec " + name + " sysctl -qw net.ipv6.conf.e0.disable_ipv6=1");
      command("ip netns exec " + name + " ethtool -K e0 tx off > /dev/null");
      command("ip -n " + name + " link set e0 up");
    }
    memory_fd_.reset(::memfd_create("frames", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(memory_fd_.get(), kFrames * kFrameBytes), 0);
    map();
    raw_ = packet_socket(feeder_);
    kernel_ = packet_socket(ours_);
    open();
  }
  void TearDown() override {
    close();
    steering_.reset();
    if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
    EXPECT_TRUE(sys::delete_netns(ours_));
    EXPECT_TRUE(sys::delete_netns(feeder_));
  }

  void open() {
    const auto opened = sys::run_in_netns(ours_, [this]() -> Result<void> {
      auto steering = Steering::create();
      if (!steering) return Unexpected(steering.error());
      steering_ = *std::move(steering);
      auto program = UplinkProgram::attach(*steering_, "e0", ::if_nametoindex("e0"));
      if (!program) return Unexpected(program.error());
      program_ = *std::move(program);
      auto socket = XskSocket::open(options_of(memory_));
      if (!socket) return Unexpected(socket.error());
      socket_ = *std::move(socket);
      return program_->set_socket(0, socket_->fd(), socket_->control_fd());
    });
    ASSERT_TRUE(opened) << opened.error().message();
    ASSERT_TRUE(steering_->set_vteps({{IpAddress::v4(0xc0000201), 4789}, {IpAddress::parse("2001:db8::1").value(), 4789}}));
    ASSERT_TRUE(steering_->set_ipsec_addresses({IpAddress::v4(0xc0000201), IpAddress::parse("2001:db8::1").value()}));
    std::vector<std::uint64_t> offsets(256);
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = i * kFrameBytes;
    ASSERT_EQ(socket_->fill(offsets), offsets.size());
  }
  void close() {
    program_.reset();
    socket_.reset();
  }
  void map() {
    void* area = ::mmap(nullptr, kFrames * kFrameBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_.get(), 0);
    ASSERT_NE(area, MAP_FAILED);
    memory_ = {static_cast<std::uint8_t*>(area), kFrames * kFrameBytes};
  }

  /// What a process leaves and the next one finds: descriptors and the bitmap; mapped at another address.
  struct Left {
    XskSocket::Handed socket;
    sys::UniqueFd link;
    std::uint32_t interface = 0;
  };
  Left leave() {
    Left left;
    const auto bits = socket_->owned_bits();
    left.socket = {sys::UniqueFd(::dup(socket_->fd())),
                   sys::UniqueFd(socket_->control_fd() < 0 ? -1 : ::dup(socket_->control_fd())),
                   socket_->zero_copy(),
                   {bits.receiving.begin(), bits.receiving.end()},
                   {bits.sending.begin(), bits.sending.end()}};
    left.link.reset(::dup(program_->link_fd()));
    const auto former = memory_;
    close();
    steering_.reset();
    map();
    ::munmap(former.data(), former.size());
    static_cast<void>(sys::run_in_netns(ours_, [&]() -> Result<void> {
      left.interface = ::if_nametoindex("e0");
      return {};
    }));
    return left;
  }
  static XskSocket::Options options_of(std::span<std::uint8_t> memory) {
    XskSocket::Options options;
    options.interface = "e0";
    options.memory = memory;
    options.rx_ring = options.tx_ring = 256;
    options.control_ring = 64;
    return options;
  }
  Result<void> adopt(Left left) {
    auto steering = Steering::create();
    if (!steering) return Unexpected(steering.error());
    steering_ = *std::move(steering);
    if (auto ok = steering_->set_vteps({{IpAddress::v4(0xc0000201), 4789}}); !ok) return ok;
    auto program = UplinkProgram::prepare(*steering_, left.interface, AttachMode::kNative);
    if (!program) return Unexpected(program.error());
    program_ = *std::move(program);
    if (auto ok = program_->adopt(std::move(left.link)); !ok) return ok;
    auto socket = XskSocket::adopt(options_of(memory_), std::move(left.socket));
    if (!socket) return Unexpected(socket.error());
    socket_ = *std::move(socket);
    if (auto ok = program_->set_socket(0, socket_->fd(), socket_->control_fd()); !ok) return ok;
    return program_->take_over();
  }

  static void command(const std::string& text) { ASSERT_EQ(std::system(text.c_str()), 0) << text; }

  static sys::UniqueFd packet_socket(const std::string& netns) {
    auto fd = sys::call_in_netns<sys::UniqueFd>(netns, []() -> Result<sys::UniqueFd> {
      sys::UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
      sockaddr_ll address{};
      address.sll_family = AF_PACKET;
      address.sll_protocol = htons(ETH_P_ALL);
      address.sll_ifindex = static_cast<int>(::if_nametoindex("e0"));
      if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return fail_errno("bind", errno);
      }
      return socket;
    });
    EXPECT_TRUE(fd);
    return *std::move(fd);
  }

  enum class Went { kSocket, kControl, kKernel, kNowhere };

  /// Where a frame from the wire ends up.
  Went send(const Frame& frame) {
    std::array<std::uint8_t, 2048> buffer;
    while (::recv(kernel_.get(), buffer.data(), buffer.size(), 0) > 0) {
    }
    EXPECT_EQ(::send(raw_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    // The kernel takes the outer VLAN tag out of a frame before a packet socket sees it.
    Frame seen = frame;
    const bool tagged = frame.size() > 18 && ((frame[12] == 0x81 && frame[13] == 0) || (frame[12] == 0x88 && frame[13] == 0xa8));
    if (tagged) seen.erase(seen.begin() + 12, seen.begin() + 16);
    const auto deadline = std::chrono::steady_clock::now() + 2s;
    while (std::chrono::steady_clock::now() < deadline) {
      std::array<FrameRef, 4> refs;
      const std::size_t urgent = socket_->receive_control(refs);
      if (const std::size_t got = urgent > 0 ? urgent : socket_->receive(refs); got > 0) {
        EXPECT_EQ(got, 1U);
        EXPECT_EQ(Frame(memory_.data() + refs[0].offset, memory_.data() + refs[0].offset + refs[0].length), frame);
        EXPECT_GE(refs[0].offset % kFrameBytes, 128U);
        const std::uint64_t again = refs[0].offset;
        EXPECT_EQ(socket_->fill({&again, 1}), 1U);
        return urgent > 0 ? Went::kControl : Went::kSocket;
      }
      const ssize_t got = ::recv(kernel_.get(), buffer.data(), buffer.size(), 0);
      if (got == static_cast<ssize_t>(seen.size()) && std::memcmp(buffer.data(), seen.data(), seen.size()) == 0) {
        return Went::kKernel;
      }
    }
    return Went::kNowhere;
  }
};

const Frame kVxlan(58, 0x08);
const Frame kEsp(40, 0xc0);
const Frame kIke(32, 0x00);

TEST_F(XdpLab, OursGoesToTheSocket) {
  EXPECT_EQ(program_->mode(), AttachMode::kNative);
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kSocket);
  EXPECT_EQ(send(ipv6(17, udp(4789, kVxlan))), Went::kSocket);
  EXPECT_EQ(send(ipv4(50, kEsp)), Went::kSocket);
  EXPECT_EQ(send(ipv6(50, kEsp)), Went::kSocket);
  EXPECT_EQ(send(ipv4(17, udp(4500, kEsp))), Went::kSocket);
  EXPECT_EQ(send(ipv6(17, udp(4500, kEsp))), Went::kSocket);
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan), 0x4000)), Went::kSocket) << "don't fragment is not a fragment";
  EXPECT_EQ(send(ipv4(50, kEsp, 0, 2)), Went::kSocket) << "IP options";
}

TEST_F(XdpLab, TheRestGoesToTheKernel) {
  EXPECT_EQ(send(ipv4(17, udp(500, kIke))), Went::kKernel) << "IKE";
  EXPECT_EQ(send(ipv4(17, udp(4500, kIke))), Went::kKernel) << "IKE on port 4500: non-ESP marker";
  Frame keepalive = ipv4(17, udp(4500, {0xff}));
  keepalive.resize(60, 0xee);
  EXPECT_EQ(send(keepalive), Went::kKernel) << "NAT keepalive, padded to the Ethernet minimum";
  EXPECT_EQ(send(ipv4(17, udp(4500, {1, 2, 3, 4}))), Went::kKernel) << "too short for ESP";
  EXPECT_EQ(send(ipv4(1, Frame(40, 8))), Went::kKernel) << "ICMP";
  EXPECT_EQ(send(ipv4(6, Frame(40, 8))), Went::kKernel) << "TCP";
  EXPECT_EQ(send(ipv4(17, udp(4790, kVxlan))), Went::kKernel) << "another UDP port";
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan), 0x2000)), Went::kKernel) << "first fragment";
  EXPECT_EQ(send(ipv4(50, kEsp, 0x0010)), Went::kKernel) << "later fragment";
  EXPECT_EQ(send(ipv6(44, Frame(40, 17))), Went::kKernel) << "later IPv6 fragment";
  EXPECT_EQ(send(ipv6(58, Frame(40, 0x87))), Went::kKernel) << "neighbor solicitation";
  Frame arp = ethernet(0x0806);
  arp.resize(60, 1);
  EXPECT_EQ(send(arp), Went::kKernel);
  Frame other = ipv4(50, kEsp);
  other[33] = 9;  // to 192.0.2.9
  EXPECT_EQ(send(other), Went::kKernel) << "an address that is not ours";
  Frame cut = ipv4(17, udp(4789, {}));
  cut.resize(36);
  EXPECT_EQ(send(cut), Went::kKernel) << "cut inside the UDP header";
}

Frame numbered(Frame frame, unsigned id) {
  frame[19] = static_cast<std::uint8_t>(id);
  return frame;
}

TEST_F(XdpLab, FragmentsGoWhereTheirFirstWent) {
  constexpr std::uint16_t kMore = 0x2000;
  EXPECT_EQ(send(numbered(ipv4(50, kEsp, kMore), 1)), Went::kSocket) << "first of ESP";
  EXPECT_EQ(send(numbered(ipv4(50, kEsp, kMore | 5), 1)), Went::kSocket);
  EXPECT_EQ(send(numbered(ipv4(50, kEsp, 10), 1)), Went::kSocket) << "last of it";
  EXPECT_EQ(send(numbered(ipv4(17, kEsp, 10), 1)), Went::kKernel) << "of another protocol";
  EXPECT_EQ(send(numbered(ipv4(50, kEsp, 10), 2)), Went::kKernel) << "of another packet";
  EXPECT_EQ(send(numbered(ipv4(17, udp(4500, kEsp), kMore), 3)), Went::kSocket) << "first of ESP in UDP";
  EXPECT_EQ(send(numbered(ipv4(17, kEsp, 6), 3)), Went::kSocket);
  EXPECT_EQ(send(numbered(ipv4(17, udp(500, kIke), kMore), 3)), Went::kKernel) << "IKE uses the identification again";
  EXPECT_EQ(send(numbered(ipv4(17, kEsp, 6), 3)), Went::kKernel);
  EXPECT_EQ(send(numbered(ipv4(17, udp(4500, kIke), kMore), 4)), Went::kKernel) << "IKE on port 4500";
  EXPECT_EQ(send(numbered(ipv4(17, kEsp, 6), 4)), Went::kKernel);
  Frame first = {50, 0, 0, 1, 0, 0, 0, 7};
  first.insert(first.end(), kEsp.begin(), kEsp.end());
  EXPECT_EQ(send(ipv6(44, first)), Went::kSocket) << "first of ESP over IPv6";
  Frame last = {50, 0, 0, 40, 0, 0, 0, 7};
  last.insert(last.end(), kEsp.begin(), kEsp.end());
  EXPECT_EQ(send(ipv6(44, last)), Went::kSocket);
  last[7] = 8;
  EXPECT_EQ(send(ipv6(44, last)), Went::kKernel) << "of another packet";
}

TEST_F(XdpLab, FramesInTheVlanOfACircuitAreOurs) {
  const auto tagged = [](std::initializer_list<std::array<unsigned, 2>> tags) {
    Frame frame(12, 0x02);
    for (const auto& [type, control] : tags) {
      append_be16(frame, type);
      append_be16(frame, control);
    }
    append_be16(frame, 0x0800);
    frame.resize(80, 0x45);
    return frame;
  };
  std::uint32_t index = 0;
  ASSERT_TRUE(sys::run_in_netns(ours_, [&index]() -> Result<void> {
    index = ::if_nametoindex("e0");
    return {};
  }));
  EXPECT_EQ(send(tagged({{0x8100, 100}})), Went::kKernel);
  ASSERT_TRUE(steering_->set_circuits({{index, 0, 100}, {index, 300, 7}}));
  EXPECT_EQ(send(tagged({{0x8100, 100}})), Went::kSocket);
  EXPECT_EQ(send(tagged({{0x8100, 0xe064}})), Went::kSocket) << "priority bits";
  EXPECT_EQ(send(tagged({{0x88a8, 300}, {0x8100, 7}})), Went::kSocket);
  EXPECT_EQ(send(tagged({{0x8100, 300}, {0x8100, 7}})), Went::kSocket) << "either type of tag";
  EXPECT_EQ(send(tagged({{0x88a8, 300}, {0x8100, 8}})), Went::kSocket) << "the forwarder drops and counts it";
  EXPECT_EQ(send(tagged({{0x8100, 101}})), Went::kKernel);
  EXPECT_EQ(send(tagged({{0x8100, 300}})), Went::kKernel);
  EXPECT_EQ(send(tagged({{0x8100, 100}, {0x8100, 7}})), Went::kKernel);
  ASSERT_TRUE(steering_->set_circuits({{index + 1, 0, 100}}));
  EXPECT_EQ(send(tagged({{0x8100, 100}})), Went::kKernel) << "another interface";
}

/// With another traffic class.
Frame marked(Frame frame, unsigned traffic_class) {
  if (frame[14] >> 4 == 4) {
    frame[15] = static_cast<std::uint8_t>(traffic_class);
  } else {
    frame[14] = static_cast<std::uint8_t>(0x60 | traffic_class >> 4);
    frame[15] = static_cast<std::uint8_t>(traffic_class << 4);
  }
  return frame;
}

/// Behind one tag, or two.
Frame tagged(Frame frame, std::uint8_t vlan, bool twice = false) {
  frame.insert(frame.begin() + 12, {0x81, 0x00, 0x00, vlan});
  if (twice) frame.insert(frame.begin() + 12, {0x88, 0xa8, 0x00, 0x64});
  return frame;
}

Frame tcp(std::uint16_t from, std::uint16_t to) {
  Frame segment;
  append_be16(segment, from);
  append_be16(segment, to);
  segment.resize(20);
  return segment;
}

TEST_F(XdpLab, WhatKeepsRoutingAliveHasItsOwnRing) {
  ASSERT_GE(socket_->control_fd(), 0);
  constexpr unsigned kCs6 = 0xc0;
  constexpr unsigned kCs7 = 0xe0;
  EXPECT_EQ(send(marked(ipv4(50, kEsp), kCs6)), Went::kControl);
  EXPECT_EQ(send(marked(ipv4(50, kEsp), kCs7 | 3)), Went::kControl) << "with ECN";
  EXPECT_EQ(send(marked(ipv6(50, kEsp), kCs6)), Went::kControl);
  EXPECT_EQ(send(marked(ipv4(17, udp(4500, kEsp)), kCs6)), Went::kControl);
  EXPECT_EQ(send(marked(ipv4(50, kEsp), 0xb8)), Went::kSocket) << "expedited forwarding";
  EXPECT_EQ(send(marked(ipv4(50, kEsp), 0xc4)), Went::kSocket) << "49 is not CS6";
  EXPECT_EQ(send(marked(ipv6(50, kEsp), 0xa0)), Went::kSocket);
  EXPECT_EQ(send(marked(ipv4(17, udp(4789, kVxlan)), kCs6)), Went::kSocket) << "what a virtual machine wrote";

  std::uint32_t interface = 0;
  ASSERT_TRUE(sys::run_in_netns(ours_, [&]() -> Result<void> {
    interface = ::if_nametoindex("e0");
    return {};
  }));
  ASSERT_TRUE(steering_->set_circuits({{interface, 0, 7}, {interface, 100, 7}}));
  Frame arp = ethernet(0x0806);
  arp.resize(60, 1);
  for (const bool twice : {false, true}) {
    EXPECT_EQ(send(tagged(arp, 7, twice)), Went::kControl);
    EXPECT_EQ(send(tagged(ipv6(58, Frame(40, 0x87)), 7, twice)), Went::kControl) << "neighbor solicitation";
    EXPECT_EQ(send(tagged(ipv4(6, tcp(40000, 179)), 7, twice)), Went::kControl) << "BGP";
    EXPECT_EQ(send(tagged(ipv4(6, tcp(179, 40000), 0, 2), 7, twice)), Went::kControl) << "BGP, behind options";
    EXPECT_EQ(send(tagged(ipv6(6, tcp(179, 40000)), 7, twice)), Went::kControl);
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{3784, 3785, 4784}) {
      EXPECT_EQ(send(tagged(ipv4(17, udp(port, kIke)), 7, twice)), Went::kControl) << "BFD " << port;
    }
    EXPECT_EQ(send(tagged(ipv6(58, Frame(40, 0x80)), 7, twice)), Went::kSocket) << "echo";
    EXPECT_EQ(send(tagged(ipv4(6, tcp(40000, 443)), 7, twice)), Went::kSocket);
    EXPECT_EQ(send(tagged(marked(ipv4(17, udp(53, kIke)), kCs6), 7, twice)), Went::kSocket) << "a mark is not enough";
    EXPECT_EQ(send(tagged(ipv4(6, tcp(40000, 179), 0x0010), 7, twice)), Went::kSocket) << "later fragment";
  }
  EXPECT_EQ(send(tagged(arp, 8)), Went::kKernel) << "nobody's VLAN";
}

TEST_F(XdpLab, AFloodOfDataLeavesControlItsFrames) {
  // The data ring fills up and is never emptied, while control packets come and are taken.
  std::vector<std::uint64_t> more(64);
  for (std::size_t i = 0; i < more.size(); ++i) more[i] = (256 + i) * kFrameBytes;
  ASSERT_EQ(socket_->fill(more), more.size());
  EXPECT_EQ(socket_->fill_space(), 0U);
  const Frame data = ipv4(17, udp(4789, kVxlan));
  const Frame control = marked(ipv4(50, kEsp), 0xc0);
  for (int turn = 0; turn < 200; ++turn) {
    for (int i = 0; i < 4; ++i) ASSERT_EQ(::send(raw_.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
    ASSERT_EQ(::send(raw_.get(), control.data(), control.size(), 0), static_cast<ssize_t>(control.size()));
    std::array<FrameRef, 4> refs;
    std::size_t got = 0;
    const auto deadline = std::chrono::steady_clock::now() + 2s;
    while (got == 0 && std::chrono::steady_clock::now() < deadline) got = socket_->receive_control(refs);
    ASSERT_EQ(got, 1U) << turn;
    const std::uint64_t again = refs[0].offset;
    ASSERT_EQ(socket_->fill({&again, 1}), 1U);
  }
  const auto statistics = socket_->statistics();
  ASSERT_TRUE(statistics);
  EXPECT_EQ(statistics->rx_ring_full, 200U * 4 - 256);
  EXPECT_EQ(statistics->control_ring_full, 0U);
  EXPECT_EQ(statistics->fill_ring_empty, 0U);

  // Now nobody takes those either: what finds both rings full, and so no frame left, is counted apart.
  for (int i = 0; i < 64 + 5; ++i) {
    ASSERT_EQ(::send(raw_.get(), control.data(), control.size(), 0), static_cast<ssize_t>(control.size()));
  }
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  while (socket_->statistics()->control_ring_full < 5 && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(socket_->statistics()->control_ring_full, 5U);
  EXPECT_EQ(socket_->statistics()->rx_ring_full, statistics->rx_ring_full);
  EXPECT_EQ(socket_->statistics()->fill_ring_empty, 5U);
}

TEST_F(XdpLab, SteeringFollowsItsSets) {
  ASSERT_TRUE(steering_->set_vteps({{IpAddress::v4(0xc0000201), 8472}}));
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kKernel);
  EXPECT_EQ(send(ipv4(17, udp(8472, kVxlan))), Went::kSocket);
  ASSERT_TRUE(steering_->set_ipsec_addresses({}));
  EXPECT_EQ(send(ipv4(50, kEsp)), Went::kKernel);
}

TEST_F(XdpLab, AnotherProgramIsNotReplaced) {
  const auto second = sys::run_in_netns(ours_, [this]() -> Result<void> {
    auto program = UplinkProgram::attach(*steering_, "e0", ::if_nametoindex("e0"));
    if (!program) return Unexpected(program.error());
    return {};
  });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

TEST_F(XdpLab, ItDetachesWithItsOwner) {
  program_.reset();
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kKernel);
}

TEST_F(XdpLab, ASocketCanBeOpenedAgainAtOnce) {
  close();
  open();
  EXPECT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kSocket);
}

TEST_F(XdpLab, TransmitSendsAndNoFrameIsLost) {
  const Frame frame = ipv4(17, udp(4789, kVxlan));
  std::vector<std::uint64_t> mine;
  for (std::size_t i = 256; i < kFrames; ++i) mine.push_back(i * kFrameBytes);
  std::size_t arrived = 0;
  std::array<std::uint8_t, 2048> buffer;
  const auto drain = [&] {
    for (ssize_t got; (got = ::recv(raw_.get(), buffer.data(), buffer.size(), 0)) > 0;) {
      arrived += got == static_cast<ssize_t>(frame.size()) ? 1 : 0;
    }
  };
  std::size_t sent = 0;
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (sent < 2000 && std::chrono::steady_clock::now() < deadline) {
    std::vector<FrameRef> batch;
    while (!mine.empty() && batch.size() < 64) {
      const std::uint64_t offset = mine.back() + 200;
      mine.pop_back();
      std::memcpy(memory_.data() + offset, frame.data(), frame.size());
      batch.push_back({offset, static_cast<std::uint32_t>(frame.size())});
    }
    const std::size_t took = socket_->transmit(batch);
    sent += took;
    for (std::size_t i = took; i < batch.size(); ++i) mine.push_back(batch[i].offset / kFrameBytes * kFrameBytes);
    socket_->wake_sender();
    std::array<std::uint64_t, 64> done;
    for (std::size_t count; (count = socket_->complete(done)) > 0;) {
      for (std::size_t i = 0; i < count; ++i) mine.push_back(done[i] / kFrameBytes * kFrameBytes);
    }
    drain();
  }
  while (socket_->in_flight() > 0 && std::chrono::steady_clock::now() < deadline) {
    socket_->wake_sender();
    std::array<std::uint64_t, 64> done;
    const std::size_t count = socket_->complete(done);
    for (std::size_t i = 0; i < count; ++i) mine.push_back(done[i] / kFrameBytes * kFrameBytes);
    drain();
  }
  drain();
  EXPECT_GE(sent, 2000U);
  EXPECT_EQ(arrived, sent);
  // Each frame is either ours or the socket's, once.
  std::multiset<std::uint64_t> all(mine.begin(), mine.end());
  for (const std::uint64_t offset : socket_->owned()) all.insert(offset);
  EXPECT_EQ(all.size(), kFrames);
  EXPECT_EQ(std::set<std::uint64_t>(all.begin(), all.end()).size(), kFrames);
  struct xdp_statistics counted {};
  socklen_t size = sizeof counted;
  ASSERT_EQ(::getsockopt(socket_->fd(), SOL_XDP, XDP_STATISTICS, &counted, &size), 0);
  EXPECT_EQ(counted.tx_invalid_descs, 0U);
}

TEST_F(XdpLab, FramesInEveryStateAreOwnedUntilTheClose) {
  // Some received and not fetched, some queued for transmission and not sent.
  const Frame frame = ipv4(17, udp(4789, kVxlan));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(::send(raw_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  const std::vector<FrameRef> queued = {{300 * kFrameBytes + 200, 60}, {301 * kFrameBytes + 200, 60}};
  ASSERT_EQ(socket_->transmit(queued), 2U);
  const auto owned = socket_->owned();
  EXPECT_EQ(owned.size(), 258U);
  EXPECT_EQ(std::set<std::uint64_t>(owned.begin(), owned.end()).size(), 258U);
}

TEST_F(XdpLab, AnotherProcessGoesOnAndFindsWhatArrivedBetween) {
  ASSERT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kSocket);
  Left left = leave();
  // Nobody is there; the program and the socket are.
  const Frame waiting = ipv4(17, udp(4789, Frame(60, 0x11)));
  ASSERT_EQ(::send(raw_.get(), waiting.data(), waiting.size(), 0), static_cast<ssize_t>(waiting.size()));
  const auto adopted = adopt(std::move(left));
  ASSERT_TRUE(adopted) << adopted.error().message();

  std::array<FrameRef, 4> refs;
  ASSERT_EQ(socket_->receive(refs), 1U);
  EXPECT_EQ(Frame(memory_.data() + refs[0].offset, memory_.data() + refs[0].offset + refs[0].length), waiting);
  // Sent from the frame it came in, which comes back.
  ASSERT_EQ(socket_->transmit(std::span(refs).first(1)), 1U);
  std::array<std::uint64_t, 4> done;
  std::size_t completed = 0;
  const auto deadline = std::chrono::steady_clock::now() + 2s;
  while (completed == 0 && std::chrono::steady_clock::now() < deadline) {
    socket_->wake_sender();
    completed = socket_->complete(done);
  }
  EXPECT_EQ(completed, 1U);
  EXPECT_EQ(socket_->in_flight(), 0U);
  EXPECT_EQ(socket_->owned().size(), 255U);
  ASSERT_EQ(socket_->fill(std::span(done).first(1)), 1U);
  // More packets than the ring has frames: every frame goes round.
  for (int i = 0; i < 600; ++i) ASSERT_EQ(send(ipv4(17, udp(4789, kVxlan))), Went::kSocket) << i;
  // The new program has the new sets: IPsec addresses are no longer ours.
  EXPECT_EQ(send(ipv4(50, kEsp)), Went::kKernel);
}

TEST_F(XdpLab, AdoptsNothingThatDoesNotFit) {
  Left left = leave();
  const auto socket = [&] { return sys::UniqueFd(::dup(left.socket.fd.get())); };
  const auto control = [&] { return sys::UniqueFd(::dup(left.socket.control.get())); };
  const auto memory = [&] { return sys::UniqueFd(::dup(memory_fd_.get())); };
  const auto& receiving = left.socket.receiving;
  const auto& sending = left.socket.sending;
  auto bits = receiving;
  bits[0] &= ~std::uint64_t{1};
  EXPECT_FALSE(XskSocket::adopt(options_of(memory_), {socket(), control(), false, bits, sending}));
  EXPECT_FALSE(XskSocket::adopt(options_of(memory_), {socket(), control(), false, sending, receiving})) << "exchanged";
  EXPECT_FALSE(XskSocket::adopt(options_of(memory_), {memory(), control(), false, receiving, sending}));
  EXPECT_FALSE(XskSocket::adopt(options_of(memory_), {socket(), memory(), false, receiving, sending}));
  auto options = options_of(memory_);
  options.rx_ring = 1U << 20;
  EXPECT_FALSE(XskSocket::adopt(options, {socket(), control(), false, receiving, sending}));
  auto steering = Steering::create();
  ASSERT_TRUE(steering);
  const auto other = UplinkProgram::prepare(**steering, left.interface + 1, AttachMode::kNative);
  const auto same = UplinkProgram::prepare(**steering, left.interface, AttachMode::kNative);
  ASSERT_TRUE(other && same);
  EXPECT_FALSE((*other)->adopt(sys::UniqueFd(::dup(left.link.get()))));
  EXPECT_FALSE((*same)->adopt(sys::UniqueFd(::dup(memory_fd_.get()))));
  EXPECT_TRUE(adopt(std::move(left)));
}

}  // namespace
}  // namespace simplon::xdp
