// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/vici/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace simplon::ipsec::vici {
namespace {

using ::testing::HasSubstr;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

/// The packet in a stream's frame, without its length.
std::span<const std::uint8_t> body(const Bytes& framed) { return std::span(framed).subspan(4); }

Packet example() {
  Section child;
  child.set("mode", "tunnel").set("local_ts", Section::List{"0.0.0.0/0", "::/0"}).set("nothing", Section::List{});
  Section children;
  children.set("net", child);
  Section connection;
  connection.set("version", "2").set("children", children).set("empty", Section{});
  Packet packet{Operation::kCommand, "load-conn", {}};
  packet.message.set("paris", connection).set("binary", std::string("\0\xff\n", 3));
  return packet;
}

TEST(ViciMessage, WhatIsEncodedIsParsed) {
  const auto encoded = encode_packet(example());
  ASSERT_TRUE(encoded);
  EXPECT_EQ(encoded->size() - 4, (*encoded)[0] << 24 | (*encoded)[1] << 16 | (*encoded)[2] << 8 | (*encoded)[3]);
  const auto parsed = parse_packet(body(*encoded));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(*parsed, example());
}

TEST(ViciMessage, EncodesAsCharonDocumentsIt) {
  // The example of strongSwan's VICI README: key1=value1, section1 {sub-section {key2=value2} list1=[item1, item2]}.
  Section sub;
  sub.set("key2", "value2");
  Section section;
  section.set("sub-section", sub).set("list1", Section::List{"item1", "item2"});
  Packet packet{Operation::kResponse, "", {}};
  packet.message.set("key1", "value1").set("section1", section);
  const std::string expected = std::string("\x01", 1) + "\x03\x04key1" + std::string("\0\x06", 2) + "value1" +
                               "\x01\x08section1" + "\x01\x0bsub-section" + "\x03\x04key2" + std::string("\0\x06", 2) +
                               "value2" + "\x02" + "\x04\x05list1" + std::string("\x05\0\x05", 3) + "item1" +
                               std::string("\x05\0\x05", 3) + "item2" + "\x06" + "\x02";
  const auto encoded = encode_packet(packet);
  ASSERT_TRUE(encoded);
  EXPECT_EQ(std::string(encoded->begin() + 4, encoded->end()), expected);
}

TEST(ViciMessage, EveryTruncationIsAnError) {
  const auto encoded = encode_packet(example());
  ASSERT_TRUE(encoded);
  const auto whole = body(*encoded);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto parsed = parse_packet(whole.first(length));
    // Cut between two elements at the top level, what is left is a shorter message.
    if (parsed) {
      EXPECT_LT(parsed->message.entries().size(), example().message.entries().size()) << length;
    }
  }
}

TEST(ViciMessage, LyingElementsAreErrorsThatNameTheOffset) {
  const struct {
    const char* why;
    std::string bytes;
    const char* says;
  } cases[] = {
      {"empty packet", "", "empty"},
      {"unknown operation", "\x08", "operation"},
      {"command without a name", std::string("\0", 1), "name"},
      {"name longer than the packet", "\x01\x03\xffkey", "truncated"},
      {"value longer than the packet", std::string("\x01\x03\x01k\xff\xffv", 7), "truncated"},
      {"value without its second length byte", std::string("\x01\x03\x01k\0", 5), "truncated"},
      {"end of a section never started", "\x01\x02", "not started"},
      {"section without an end", "\x01\x01\x01s", "without an end"},
      {"section inside a list", "\x01\x04\x01l\x01\x01s\x02\x06", "in a list"},
      {"list without an end", "\x01\x04\x01l", "without an end"},
      {"item outside a list", std::string("\x01\x05\0\x01x", 5), "outside"},
      {"end of list outside a list", "\x01\x06", "outside"},
      {"unknown element", "\x01\x09", "unknown element"},
      {"element zero", std::string("\x01\0", 2), "unknown element"},
  };
  for (const auto& [why, bytes, says] : cases) {
    const auto parsed = parse_packet(bytes_of(bytes));
    ASSERT_FALSE(parsed) << why;
    EXPECT_EQ(parsed.error().code, ErrorCode::kPeer) << why;
    EXPECT_THAT(parsed.error().what, HasSubstr(says)) << why;
    EXPECT_THAT(parsed.error().what, HasSubstr("at byte")) << why;
  }
}

TEST(ViciMessage, NestingHasALimitInBothDirections) {
  std::string deep = "\x01";
  for (std::size_t i = 0; i <= kMaxDepth; ++i) deep += "\x01\x01s";
  for (std::size_t i = 0; i <= kMaxDepth; ++i) deep += "\x02";
  const auto parsed = parse_packet(bytes_of(deep));
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().what, HasSubstr("too deep"));

  Section section;
  for (std::size_t i = 0; i <= kMaxDepth; ++i) section = Section{}.set("s", section);
  EXPECT_FALSE(encode_packet({Operation::kResponse, "", section}));
}

TEST(ViciMessage, WhatDoesNotFitIsRefusedNotCut) {
  EXPECT_TRUE(encode_packet({Operation::kResponse, "", Section{}.set(std::string(255, 'n'), std::string(65535, 'v'))}));
  EXPECT_FALSE(encode_packet({Operation::kResponse, "", Section{}.set(std::string(256, 'n'), "v")}));
  EXPECT_FALSE(encode_packet({Operation::kResponse, "", Section{}.set("n", std::string(65536, 'v'))}));
  EXPECT_FALSE(encode_packet({Operation::kCommand, std::string(256, 'c'), {}}));
  Section big;
  for (int i = 0; i < 9; ++i) big.set("n", std::string(65535, 'v'));
  EXPECT_FALSE(encode_packet({Operation::kResponse, "", big}));
  EXPECT_FALSE(parse_packet(Bytes(kMaxPacketBytes + 1, 1)));
}

TEST(ViciMessage, LookupsAnswerForWhatIsNotThere) {
  Section section;
  section.set("spi", "c0f1fe75").set("age", "12").set("up", "yes").set("bad", "12x").set("list", Section::List{"a"});
  EXPECT_EQ(section.hex("spi"), 0xc0f1fe75u);
  EXPECT_EQ(section.number("age"), 12u);
  EXPECT_TRUE(section.is_yes("up"));
  EXPECT_EQ(section.number("bad", 7), 7u);
  EXPECT_EQ(section.hex("age12"), 0u);
  EXPECT_EQ(section.text("list"), "");
  EXPECT_EQ(section.list("spi"), nullptr);
  EXPECT_EQ(section.section("list"), nullptr);
  ASSERT_NE(section.list("list"), nullptr);
  EXPECT_EQ(section.list("list")->front(), "a");
}

}  // namespace
}  // namespace simplon::ipsec::vici
