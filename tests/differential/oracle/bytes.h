// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "platform/net/ip_address.h"

// Packets as plain byte vectors, and the Internet checksum the slow way: 16 bits at a time.

namespace simplon::oracle {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

[[nodiscard]] inline std::uint16_t get16(View bytes, std::size_t at) {
  return static_cast<std::uint16_t>((bytes[at] << 8) | bytes[at + 1]);
}
[[nodiscard]] inline std::uint32_t get32(View bytes, std::size_t at) {
  return (std::uint32_t{get16(bytes, at)} << 16) | get16(bytes, at + 2);
}
inline void put16(Bytes& bytes, std::size_t at, std::size_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}
inline void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, value >> 16);
  put16(bytes, at + 2, value & 0xffff);
}
inline void add8(Bytes& bytes, std::size_t value) { bytes.push_back(static_cast<std::uint8_t>(value)); }
inline void add16(Bytes& bytes, std::size_t value) {
  add8(bytes, value >> 8);
  add8(bytes, value);
}
inline void add32(Bytes& bytes, std::uint32_t value) {
  add16(bytes, value >> 16);
  add16(bytes, value & 0xffff);
}
inline void add64(Bytes& bytes, std::uint64_t value) {
  add32(bytes, static_cast<std::uint32_t>(value >> 32));
  add32(bytes, static_cast<std::uint32_t>(value));
}
template <class Range>
void add(Bytes& bytes, const Range& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}
[[nodiscard]] inline View from(View bytes, std::size_t at) { return bytes.subspan(at); }
[[nodiscard]] inline Bytes copy(View bytes) { return {bytes.begin(), bytes.end()}; }

[[nodiscard]] inline IpAddress address4(View bytes, std::size_t at) {
  return IpAddress::v4({bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]});
}
[[nodiscard]] inline IpAddress address6(View bytes, std::size_t at) {
  std::array<std::uint8_t, 16> address{};
  for (std::size_t i = 0; i < 16; ++i) address[i] = bytes[at + i];
  return IpAddress::v6(address);
}

/// One's complement sum of 16-bit words (RFC 1071), an odd last byte padded with zero; between 0 and 0xffff.
[[nodiscard]] inline std::uint16_t ones_sum(View bytes, std::uint64_t sum = 0) {
  std::size_t at = 0;
  for (; at + 1 < bytes.size(); at += 2) sum += get16(bytes, at);
  if (at < bytes.size()) sum += std::uint64_t{bytes[at]} << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}
[[nodiscard]] inline std::uint16_t internet_checksum(View bytes, std::uint64_t sum = 0) {
  return static_cast<std::uint16_t>(~ones_sum(bytes, sum));
}
/// Of TCP, UDP and ICMPv6: the addresses, the protocol and the length (RFC 9293 section 3.1, RFC 8200 section 8.1).
[[nodiscard]] inline std::uint16_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination,
                                                     std::uint8_t protocol, std::size_t length) {
  return ones_sum(destination.bytes(),
                  std::uint64_t{ones_sum(source.bytes())} + protocol + (length & 0xffff) + (length >> 16));
}

}  // namespace simplon::oracle
