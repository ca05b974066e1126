// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/pcapng.h"

#include <algorithm>

namespace simplon::daemon {
namespace {

// Given by the format: block types, option codes, link types.
constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr std::uint32_t kByteOrder = 0x1a2b3c4d;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kStatistics = 5;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint16_t kComment = 1;
constexpr std::uint16_t kSectionApplication = 4;
constexpr std::uint16_t kInterfaceName = 2;
constexpr std::uint16_t kInterfaceResolution = 9;
constexpr std::uint16_t kPacketFlags = 2;
constexpr std::uint16_t kStatisticsReceived = 4;
constexpr std::uint16_t kStatisticsDropped = 5;
constexpr std::uint16_t kLinkEthernet = 1;
constexpr std::uint16_t kLinkRaw = 101;
constexpr std::size_t kMostTextBytes = 1000;

/// Little endian; the section header says so.
class Block {
 public:
  explicit Block(std::uint32_t type) : type_(type) {}

  Block& u16(std::uint16_t value) { return number(value, 2); }
  Block& u32(std::uint32_t value) { return number(value, 4); }
  Block& u64(std::uint64_t value) { return number(value, 8); }
  Block& bytes(std::span<const std::uint8_t> data) {
    body_.append(data.begin(), data.end());
    body_.resize((body_.size() + 3) / 4 * 4, '\0');
    return *this;
  }
  Block& option(std::uint16_t code, const std::string& text) {
    const std::string kept = text.substr(0, kMostTextBytes);
    u16(code).u16(static_cast<std::uint16_t>(kept.size()));
    return bytes({reinterpret_cast<const std::uint8_t*>(kept.data()), kept.size()});
  }
  Block& option64(std::uint16_t code, std::uint64_t value) { return u16(code).u16(8).u64(value); }
  Block& option32(std::uint16_t code, std::uint32_t value) { return u16(code).u16(4).u32(value); }
  Block& end_of_options() { return u16(0).u16(0); }

  [[nodiscard]] std::string finish() {
    const auto total = static_cast<std::uint32_t>(body_.size() + 12);
    Block whole(0);
    whole.u32(type_).u32(total);
    whole.body_ += body_;
    whole.u32(total);
    return std::move(whole.body_);
  }

 private:
  Block& number(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) body_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }

  std::uint32_t type_;
  std::string body_;
};

Block& time(Block& block, std::uint64_t time_ns) {
  return block.u32(static_cast<std::uint32_t>(time_ns >> 32)).u32(static_cast<std::uint32_t>(time_ns));
}

}  // namespace

std::string PcapngWriter::begin() const {
  Block block(kSectionHeader);
  block.u32(kByteOrder).u16(1).u16(0).u64(~std::uint64_t{0});  // version 1.0, length not said
  return block.option(kSectionApplication, software_).end_of_options().finish();
}

std::string PcapngWriter::add(const Place& place, const Packet& packet) {
  std::string text;
  const auto [found, is_new] = interfaces_.try_emplace(place, Interface{static_cast<std::uint32_t>(interfaces_.size()), 0});
  if (is_new) {
    Block interface(kInterface);
    interface.u16(place.ethernet ? kLinkEthernet : kLinkRaw).u16(0).u32(0);
    interface.option(kInterfaceName, place.name);
    interface.u16(kInterfaceResolution).u16(1).u32(9);  // nanoseconds; three bytes are padding
    text = interface.end_of_options().finish();
  }
  ++found->second.packets;
  Block block(kEnhancedPacket);
  block.u32(found->second.id);
  time(block, packet.time_ns)
      .u32(static_cast<std::uint32_t>(packet.bytes.size()))
      .u32(std::max(packet.length, static_cast<std::uint32_t>(packet.bytes.size())))
      .bytes(packet.bytes);
  if (packet.direction != Direction::kUnknown) block.option32(kPacketFlags, static_cast<std::uint32_t>(packet.direction));
  if (!packet.comment.empty()) block.option(kComment, packet.comment);
  return text + block.end_of_options().finish();
}

std::string PcapngWriter::end(std::uint64_t time_ns, std::uint64_t lost) const {
  std::string text;
  for (const auto& [place, interface] : interfaces_) {
    Block block(kStatistics);
    block.u32(interface.id);
    time(block, time_ns);
    block.option64(kStatisticsReceived, interface.packets);
    // Not known by interface: said once.
    if (interface.id == 0) block.option64(kStatisticsDropped, lost);
    text += block.end_of_options().finish();
  }
  return text;
}

}  // namespace simplon::daemon
