// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the XDP program copies of what routers say about path MTUs, and that it takes nothing away from the kernel. Needs root
// (BPF).
#include "platform/xdp/too_big_ring.h"

#include <gmock/gmock.h>
#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "platform/xdp/steering_keys.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::xdp {
namespace {

using Frame = std::vector<std::uint8_t>;

/// The header of an ICMP message behind an IPv4 header of 5 words and more, and `more` bytes.
Frame icmp4(std::uint8_t type, std::uint8_t code, std::size_t more, std::uint8_t words = 5, std::uint8_t offset = 0) {
  Frame packet{static_cast<std::uint8_t>(0x40 | words), 0, 0, 0, 0, 0, 0, offset, 64, 1};
  packet.resize(words * 4U);
  packet.insert(packet.end(), {type, code, 0, 0, 0, 0, 5, 120});
  for (std::size_t i = 0; i < more; ++i) packet.push_back(static_cast<std::uint8_t>(i));
  return packet;
}

Frame icmp6(std::uint8_t type, std::size_t more, std::uint8_t next_header = 58) {
  Frame packet{0x60, 0, 0, 0, 0, 0, next_header, 64};
  packet.resize(40);
  packet.insert(packet.end(), {type, 0, 0, 0, 0, 0, 5, 120});
  for (std::size_t i = 0; i < more; ++i) packet.push_back(static_cast<std::uint8_t>(i));
  return packet;
}

class TooBigRingLab : public ::testing::Test {
 protected:
  void SetUp() override {
    auto ring = TooBigRing::create();
    ASSERT_TRUE(ring) << ring.error().message();
    ring_ = *std::move(ring);
    auto steering = Steering::create();
    ASSERT_TRUE(steering) << steering.error().message();
    steering_ = *std::move(steering);
    steering_->use_too_big(ring_.get());
    auto program = UplinkProgram::load_only(*steering_, 1);
    ASSERT_TRUE(program) << program.error().message();
    program_ = *std::move(program);
  }

  void arrives(const Frame& packet) {
    Frame frame(12, 0x02);
    const bool six = packet[0] >> 4 == 6;
    frame.insert(frame.end(), {static_cast<std::uint8_t>(six ? 0x86 : 0x08), static_cast<std::uint8_t>(six ? 0xdd : 0x00)});
    frame.insert(frame.end(), packet.begin(), packet.end());
    const Frame before = frame;
    const auto ran = program_->run(frame);
    ASSERT_TRUE(ran) << ran.error().message();
    EXPECT_EQ(*ran, UplinkProgram::Ran::kPassed);
    EXPECT_EQ(frame, before);
  }
  std::vector<Frame> heard(std::size_t most = 1000) {
    std::vector<Frame> all;
    const auto keep = [&all](std::span<const std::uint8_t> packet) { all.emplace_back(packet.begin(), packet.end()); };
    const std::size_t taken = ring_->take(most, keep);
    EXPECT_EQ(taken, all.size());
    return all;
  }
  [[nodiscard]] bool readable() const {
    pollfd descriptor{ring_->poll_fd(), POLLIN, 0};
    return ::poll(&descriptor, 1, 0) == 1;
  }

  std::unique_ptr<TooBigRing> ring_;
  std::unique_ptr<Steering> steering_;
  std::unique_ptr<UplinkProgram> program_;
};

TEST_F(TooBigRingLab, MessagesAreCopiedWhole) {
  std::vector<Frame> sent;
  for (std::size_t more = 28; more < 64; ++more) {
    sent.push_back(icmp4(3, 4, more));
    sent.push_back(icmp4(3, 4, more, 15));
    sent.push_back(icmp6(2, more));
    for (auto packet = sent.end() - 3; packet != sent.end(); ++packet) arrives(*packet);
    EXPECT_TRUE(readable());
    EXPECT_EQ(heard(), (std::vector<Frame>(sent.end() - 3, sent.end())));
    EXPECT_FALSE(readable());
  }
  for (const std::size_t more : {548U, 1232U, 1472U}) {
    arrives(icmp4(3, 4, more));
    EXPECT_EQ(heard(), (std::vector<Frame>{icmp4(3, 4, more)}));
  }
  EXPECT_EQ(ring_->overrun(), 0U);
}

TEST_F(TooBigRingLab, OfALongerOneThereIsTheBeginning) {
  Frame packet = icmp4(3, 4, 2000);
  arrives(packet);
  packet.resize(SIMPLON_XDP_TOO_BIG_WORDS * 8);
  EXPECT_EQ(heard(), (std::vector<Frame>{packet}));
}

TEST_F(TooBigRingLab, NothingElseIsCopied) {
  arrives(icmp4(3, 3, 48));     // port unreachable
  arrives(icmp4(8, 0, 48));     // echo request
  arrives(icmp4(3, 4, 48, 5, 1));  // a later fragment
  arrives(icmp4(3, 4, 48, 4));  // a header that is none
  arrives(icmp6(3, 48));        // time exceeded
  arrives(icmp6(128, 48));      // echo request
  arrives(icmp6(2, 48, 17));    // UDP
  Frame cut = icmp4(3, 4, 0);
  cut.resize(21);
  arrives(cut);
  EXPECT_THAT(heard(), testing::IsEmpty());
}

TEST_F(TooBigRingLab, WhatFindsNoRoomIsCountedAndTheRestTakenInPortions) {
  const std::size_t sent = 200;
  for (std::size_t i = 0; i < sent; ++i) arrives(icmp4(3, 4, 28 + i));
  std::vector<Frame> all;
  while (readable()) {
    const auto some = heard(16);
    EXPECT_LE(some.size(), 16U);
    EXPECT_FALSE(some.empty());
    all.insert(all.end(), some.begin(), some.end());
  }
  EXPECT_GE(all.size(), 64U);
  EXPECT_EQ(all.size() + ring_->overrun(), sent);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], icmp4(3, 4, 28 + i));
  arrives(icmp4(3, 4, 28));
  EXPECT_EQ(heard().size(), 1U) << "there is room again";
}

}  // namespace
}  // namespace simplon::xdp
