// SPDX-License-Identifier: GPL-2.0-or-later
//
// Outer packets in parts, as narrow paths hand them on, and as nobody should.
#include <algorithm>

#include "tests/differential/generator/traffic.h"

namespace simplon::differential {

using oracle::Bytes;
using oracle::View;

namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kMostParts = 6;
/// What a frame of the engine has for what comes in.
constexpr std::size_t kFrameRoom = 4096 - 256;

}  // namespace

Input Traffic::in_parts(Input whole) {
  const Bytes& frame = whole.bytes;
  if (frame.size() < kEthernet + 40) return whole;
  const bool v4 = oracle::get16(frame, 12) == 0x0800;
  const std::size_t header = v4 ? 20 : 40;
  if (frame[kEthernet] != (v4 ? 0x45 : 0x60) || (v4 && (frame[20] & 0x3f) != 0)) return whole;
  const std::uint8_t protocol = frame[kEthernet + (v4 ? 9U : 6U)];
  if (protocol != 17 && protocol != 50) return whole;

  const std::size_t length = v4 ? oracle::get16(frame, kEthernet + 2) : 40U + oracle::get16(frame, kEthernet + 4);
  if (length < header + 9 || kEthernet + length > frame.size()) return whole;
  const View data = View(frame).subspan(kEthernet + header, length - header);
  // Sometimes so narrow that a first part names no SPI.
  const std::size_t least = std::max<std::size_t>(random_.percent(5) ? 8 : 16, data.size() / kMostParts);
  const std::size_t step = (least + random_.below(data.size())) / 8 * 8;
  const std::uint32_t id = static_cast<std::uint32_t>(random_.percent(80) ? random_.next() : random_.below(4));
  const std::uint8_t ecn = static_cast<std::uint8_t>(random_.below(4));
  std::vector<Input> parts;
  for (std::size_t at = 0; at < data.size(); at += step) {
    std::size_t size = std::min(step, data.size() - at);
    std::size_t offset = at;
    bool more = at + size < data.size();
    switch (random_.below(250)) {  // what no router does
      case 0:
        size -= random_.below(size + 1);
        break;
      case 1:
        offset = random_.percent(50) ? offset + 8 * random_.below(3) : 8 * random_.below(0x2000);
        // Around the end of a frame.
        if (random_.percent(25)) offset = (kFrameRoom - kEthernet - header - size) / 8 * 8 + 8 * random_.below(2);
        break;
      case 2:
        more = !more;
        break;
      default:
        break;
    }
    Bytes bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(kEthernet + header));
    const auto seen = static_cast<std::uint8_t>(random_.percent(97) ? ecn : random_.percent(50) ? 3 : random_.below(4));
    if (v4) {
      const std::size_t options = at == 0 && random_.percent(3) ? 4 * random_.between(1, 10) : 0;
      bytes.resize(bytes.size() + options, 1);
      bytes[kEthernet] = static_cast<std::uint8_t>(0x45 + options / 4);
      bytes[kEthernet + 1] = static_cast<std::uint8_t>((bytes[kEthernet + 1] & 0xfc) | seen);
      oracle::put16(bytes, kEthernet + 2, header + options + size);
      oracle::put16(bytes, kEthernet + 4, id & 0xffff);
      oracle::put16(bytes, kEthernet + 6, (more ? 0x2000U : 0U) | (offset / 8 & 0x1fff));
    } else {
      bytes[kEthernet + 1] = static_cast<std::uint8_t>((bytes[kEthernet + 1] & 0xcf) | (seen << 4));
      oracle::put16(bytes, kEthernet + 4, 8 + size);
      bytes[kEthernet + 6] = 44;
      oracle::add8(bytes, random_.percent(99) ? protocol : random_.byte());
      oracle::add8(bytes, 0);
      oracle::add16(bytes, (offset & 0xfff8) | (more ? 1U : 0U));
      oracle::add32(bytes, id);
    }
    oracle::add(bytes, data.subspan(at, size));
    if (v4) repair_ipv4_checksum(bytes, kEthernet);
    if (random_.percent(5)) bytes.resize(bytes.size() + random_.below(20), 0xee);
    parts.push_back({random_.percent(95) ? whole.port : forward::PortId{static_cast<std::uint32_t>(random_.below(3))}, std::move(bytes)});
  }
  const std::size_t now = random_.percent(95) ? 0 : random_.below(parts.size());
  Input sent = parts[now];
  if (random_.percent(98)) parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(now));
  for (Input& part : parts) {
    if (!random_.percent(narrow_->second)) parts_.emplace_back(std::move(part), most_fragments(frame.size()));
  }
  while (parts_.size() > 40) parts_.pop_front();
  return sent;
}

std::optional<Input> Traffic::send_part() {
  const auto at = parts_.begin() + static_cast<std::ptrdiff_t>(random_.percent(80) ? 0 : random_.below(parts_.size()));
  // It may be the one that was missing.
  if (at->second > fragments_left_) return std::nullopt;
  fragments_left_ -= at->second;
  Input part = at->first;
  if (random_.percent(98)) parts_.erase(at);
  return part;
}

}  // namespace simplon::differential
