// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "gateway/forward/src/tables/wait_free_map.h"
#include "platform/net/ip_address.h"

namespace simplon::forward {

[[nodiscard]] inline std::uint32_t load32(const std::uint8_t* bytes) noexcept {
  std::uint32_t value;
  std::memcpy(&value, bytes, 4);
  return value;
}
[[nodiscard]] inline std::uint64_t load64(const std::uint8_t* bytes) noexcept {
  std::uint64_t value;
  std::memcpy(&value, bytes, 8);
  return value;
}

/// An address of a family that is known from elsewhere; the second word is 0 for IPv4.
struct AddressWords {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  [[nodiscard]] static AddressWords v4(const std::uint8_t* bytes) noexcept { return {load32(bytes), 0}; }
  [[nodiscard]] static AddressWords v6(const std::uint8_t* bytes) noexcept {
    return {load64(bytes), load64(bytes + 8)};
  }
  friend bool operator==(const AddressWords&, const AddressWords&) noexcept = default;
};

/// An address as the packet path carries it: no branches on the family to compare.
struct WireAddress {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint8_t family = 0;

  [[nodiscard]] static WireAddress v4(const std::uint8_t* bytes) noexcept { return {load32(bytes), 0, 4}; }
  [[nodiscard]] static WireAddress v6(const std::uint8_t* bytes) noexcept {
    return {load64(bytes), load64(bytes + 8), 6};
  }
  [[nodiscard]] static WireAddress of(const AddressWords& words, std::uint8_t family) noexcept {
    return {words.low, words.high, family};
  }
  [[nodiscard]] static WireAddress from(const IpAddress& address) noexcept {
    return address.is_v4() ? v4(address.bytes().data()) : v6(address.bytes().data());
  }
  [[nodiscard]] IpAddress to_ip() const noexcept {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &low, 8);
    std::memcpy(bytes.data() + 8, &high, 8);
    if (family == 6) return IpAddress::v6(bytes);
    return IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  }
  friend bool operator==(const WireAddress&, const WireAddress&) noexcept = default;
};

/// (VNI, inner address).
struct EndpointKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint32_t vni_family = 0;

  [[nodiscard]] static EndpointKey of(std::uint32_t vni, const WireAddress& address) noexcept {
    return {address.low, address.high, (vni << 8) | address.family};
  }
  friend bool operator==(const EndpointKey&, const EndpointKey&) noexcept = default;
};
/// Eight neighbors, which differ in the last three bits of their addresses, have their buckets in one cache line.
struct EndpointKeyHash {
  [[nodiscard]] std::uint64_t operator()(const EndpointKey& key) const noexcept {
    constexpr unsigned kLastOf4 = 24;
    constexpr unsigned kLastOf6 = 56;
    if ((key.vni_family & 0xff) == 4) {
      return mix(key.low & ~(std::uint64_t{7} << kLastOf4), key.vni_family) ^ ((key.low >> kLastOf4) & 7);
    }
    return mix(key.low, (key.high & ~(std::uint64_t{7} << kLastOf6)) ^ key.vni_family) ^ ((key.high >> kLastOf6) & 7);
  }
};

struct SpiHash {
  [[nodiscard]] std::uint64_t operator()(std::uint32_t spi) const noexcept { return mix(spi, 0); }
};

}  // namespace simplon::forward
