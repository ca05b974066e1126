// SPDX-License-Identifier: GPL-2.0-or-later
//
// A strict reader, written against draft-ietf-opsawg-pcapng and nothing of ours, reads what the writer wrote.
#include "gateway/daemon/src/pcapng.h"

#include <gmock/gmock.h>

#include <stdexcept>
#include <vector>

#include "gateway/cli/src/pcapng_count.h"

namespace simplon::daemon {
namespace {

struct Option {
  std::uint16_t code;
  std::string value;
};
struct ReadBlock {
  std::uint32_t type;
  std::string body;
};

std::uint64_t little(const std::string& bytes, std::size_t at, std::size_t size) {
  if (at + size > bytes.size()) throw std::runtime_error("ends too early");
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::vector<ReadBlock> read(const std::string& file) {
  std::vector<ReadBlock> blocks;
  for (std::size_t at = 0; at < file.size();) {
    const auto length = static_cast<std::size_t>(little(file, at + 4, 4));
    if (length % 4 != 0 || length < 12 || at + length > file.size()) throw std::runtime_error("a wrong block length");
    if (little(file, at + length - 4, 4) != length) throw std::runtime_error("the lengths of a block differ");
    blocks.push_back({static_cast<std::uint32_t>(little(file, at, 4)), file.substr(at + 8, length - 12)});
    at += length;
  }
  if (blocks.empty() || blocks[0].type != 0x0a0d0d0a || little(blocks[0].body, 0, 4) != 0x1a2b3c4d) {
    throw std::runtime_error("no section header");
  }
  return blocks;
}

std::vector<Option> options(const std::string& body, std::size_t at) {
  std::vector<Option> found;
  for (;;) {
    const auto code = static_cast<std::uint16_t>(little(body, at, 2));
    const auto size = static_cast<std::size_t>(little(body, at + 2, 2));
    at += 4;
    if (code == 0) {
      if (size != 0 || at != body.size()) throw std::runtime_error("something behind the end of options");
      return found;
    }
    if (at + size > body.size()) throw std::runtime_error("an option ends too late");
    found.push_back({code, body.substr(at, size)});
    for (std::size_t i = size; i % 4 != 0; ++i) {
      if (body.at(at + i) != '\0') throw std::runtime_error("padding is not zero");
    }
    at += (size + 3) / 4 * 4;
  }
}

std::string option(const std::vector<Option>& all, std::uint16_t code) {
  for (const Option& one : all) {
    if (one.code == code) return one.value;
  }
  return "absent";
}

TEST(Pcapng, AStrictReaderReadsIt) {
  PcapngWriter writer("simplond test");
  const std::vector<std::uint8_t> ip = {0x45, 0, 0, 21, 9};
  const std::vector<std::uint8_t> frame(60, 7);
  std::string file = writer.begin();
  file += writer.add({"tunnel:paris", false}, {1'700'000'000'123'456'789, 1400, ip, PcapngWriter::Direction::kIn, ""});
  file += writer.add({"eth1", true}, {1'700'000'000'123'456'790, 60, frame, PcapngWriter::Direction::kOut, "vpc:red"});
  file += writer.add({"tunnel:paris", false}, {1'700'000'000'123'456'791, 3, ip, {}, "dropped: no_route"});
  file += writer.end(1'700'000'000'123'456'791, 12);

  const auto blocks = read(file);
  std::vector<std::uint32_t> types;
  for (const auto& block : blocks) types.push_back(block.type);
  EXPECT_EQ(types, (std::vector<std::uint32_t>{0x0a0d0d0a, 1, 6, 1, 6, 6, 5, 5}));
  EXPECT_EQ(option(options(blocks[0].body, 16), 4), "simplond test");
  EXPECT_EQ(little(blocks[1].body, 0, 2), 101U) << "LINKTYPE_RAW";
  EXPECT_EQ(option(options(blocks[1].body, 8), 2), "tunnel:paris");
  EXPECT_EQ(option(options(blocks[1].body, 8), 9), "\x09") << "nanoseconds";
  EXPECT_EQ(little(blocks[3].body, 0, 2), 1U) << "LINKTYPE_ETHERNET";

  const std::string& first = blocks[2].body;
  EXPECT_EQ(little(first, 0, 4), 0U);
  EXPECT_EQ(little(first, 4, 4) << 32 | little(first, 8, 4), 1'700'000'000'123'456'789U);
  EXPECT_EQ(little(first, 12, 4), 5U);
  EXPECT_EQ(little(first, 16, 4), 1400U);
  EXPECT_EQ(first.substr(20, 5), std::string(ip.begin(), ip.end()));
  EXPECT_EQ(little(option(options(first, 28), 2), 0, 4), 1U) << "inbound";
  EXPECT_EQ(little(blocks[4].body, 0, 4), 1U);
  EXPECT_EQ(option(options(blocks[4].body, 80), 1), "vpc:red");
  EXPECT_EQ(little(blocks[5].body, 16, 4), 5U) << "never less than what is there";
  EXPECT_EQ(option(options(blocks[5].body, 28), 1), "dropped: no_route");
  EXPECT_EQ(little(option(options(blocks[7].body, 12), 5), 0, 8), 12U) << "lost; of the first interface";
  EXPECT_EQ(option(options(blocks[6].body, 12), 5), "absent");

  // The client counts the same, however the bytes come.
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, file.size()}) {
    cli::PcapngCount count;
    for (std::size_t at = 0; at < file.size(); at += piece) count.add(std::string_view(file).substr(at, piece));
    EXPECT_EQ(count.packets(), 3U);
    EXPECT_EQ(count.lost(), 12U);
  }
}

TEST(Pcapng, TextsOfAnyLengthKeepTheBlocksWhole) {
  PcapngWriter writer("x");
  std::string file = writer.begin();
  for (std::size_t length : {0U, 1U, 2U, 3U, 4U, 1500U}) {
    file += writer.add({std::string(length, 'n'), false}, {1, 0, {}, {}, std::string(length, 'c')});
  }
  const auto blocks = read(file);
  EXPECT_EQ(blocks.size(), 13U);
  for (std::size_t i = 1; i < blocks.size(); ++i) EXPECT_NO_THROW(static_cast<void>(options(blocks[i].body, blocks[i].type == 1 ? 8 : 20)));
}

}  // namespace
}  // namespace simplon::daemon
