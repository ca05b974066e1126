// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/wire/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "platform/wire/ipv4.h"

namespace simplon::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// RFC 1071 section 4.1, a word at a time.
std::uint16_t reference(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

TEST(Checksum, Rfc1071Example) {
  const Bytes bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum(bytes).host(), static_cast<std::uint16_t>(~0xddf2));
}

TEST(Checksum, AgreesWithTheReferenceAtEveryLength) {
  std::mt19937 random(2);
  for (std::size_t length = 0; length < 300; ++length) {
    Bytes bytes(length);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(length % 3 == 0 ? 0xff : random());
    ASSERT_EQ(checksum(bytes).host(), reference(bytes)) << length;
  }
  EXPECT_EQ(checksum(Bytes(65535, 0xff)).host(), reference(Bytes(65535, 0xff)));
}

TEST(Checksum, UpdateEqualsRecomputation) {
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes(20);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(round % 5 == 0 ? (random() % 2) * 0xff : random());
    auto* header = reinterpret_cast<Ipv4Header*>(bytes.data());
    header->version_ihl = 0x45;
    set_ipv4_checksum(*header);
    const Be16 before = header->id;
    header->id = static_cast<std::uint16_t>(random());
    header->checksum = update_checksum(header->checksum, before, header->id);
    ASSERT_TRUE(ipv4_checksum_ok(*header));
    if (header->ttl > 0) {
      decrement_ttl(*header);
      ASSERT_TRUE(ipv4_checksum_ok(*header));
    }
  }
}

TEST(Checksum, Rfc1624Example) {
  // Section 4: the case in which the equation of RFC 1141 goes wrong.
  EXPECT_EQ(update_checksum(Be16(0xdd2f), Be16(0x5555), Be16(0x3285)).host(), 0x0000);
}

}  // namespace
}  // namespace simplon::wire
