// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "platform/base/result.h"

namespace simplon {

enum class IpFamily : std::uint8_t { kV4 = 4, kV6 = 6 };

/// An IPv4 or IPv6 address. Bytes are kept in network order; an IPv4 address fills the first four.
class IpAddress {
 public:
  /// 0.0.0.0
  constexpr IpAddress() noexcept = default;

  [[nodiscard]] static constexpr IpAddress v4(std::array<std::uint8_t, 4> bytes) noexcept {
    IpAddress address;
    for (std::size_t i = 0; i < 4; ++i) address.bytes_[i] = bytes[i];
    return address;
  }
  /// `host_order`: 0x0a000001 is 10.0.0.1.
  [[nodiscard]] static constexpr IpAddress v4(std::uint32_t host_order) noexcept {
    return v4({static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
               static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)});
  }
  [[nodiscard]] static constexpr IpAddress v6(std::array<std::uint8_t, 16> bytes) noexcept {
    IpAddress address;
    address.family_ = IpFamily::kV6;
    address.bytes_ = bytes;
    return address;
  }
  /// 4 or 16 bytes in network order. Errors: kInvalidConfig for another length.
  [[nodiscard]] static Result<IpAddress> from_bytes(std::span<const std::uint8_t> bytes);
  /// Dotted quad or RFC 4291 section 2.2 text; no zone, no prefix length. Errors: kInvalidConfig.
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] constexpr IpFamily family() const noexcept { return family_; }
  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == IpFamily::kV4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == IpFamily::kV6; }
  /// 32 or 128.
  [[nodiscard]] constexpr unsigned bits() const noexcept { return is_v4() ? 32 : 128; }
  /// 4 or 16 bytes, network order.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return {bytes_.data(), is_v4() ? std::size_t{4} : std::size_t{16}};
  }
  /// Host order; only for IPv4.
  [[nodiscard]] constexpr std::uint32_t v4_value() const noexcept {
    return (std::uint32_t{bytes_[0]} << 24) | (std::uint32_t{bytes_[1]} << 16) | (std::uint32_t{bytes_[2]} << 8) |
           std::uint32_t{bytes_[3]};
  }
  /// 0.0.0.0 or ::
  [[nodiscard]] bool is_unspecified() const noexcept;
  [[nodiscard]] bool is_multicast() const noexcept;
  [[nodiscard]] bool is_loopback() const noexcept;
  [[nodiscard]] bool is_link_local() const noexcept;

  /// RFC 5952 for IPv6.
  [[nodiscard]] std::string to_string() const;

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;

 private:
  IpFamily family_ = IpFamily::kV4;
  std::array<std::uint8_t, 16> bytes_{};
};

}  // namespace simplon

template <>
struct std::hash<simplon::IpAddress> {
  std::size_t operator()(const simplon::IpAddress& address) const noexcept;
};
