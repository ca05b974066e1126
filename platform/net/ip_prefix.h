// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "platform/base/result.h"
#include "platform/net/ip_address.h"

namespace simplon {

/// A CIDR prefix whose host bits are zero.
class IpPrefix {
 public:
  /// 0.0.0.0/0
  constexpr IpPrefix() noexcept = default;

  /// Host bits of `address` are cleared. `length` is clamped to the family's bits.
  IpPrefix(const IpAddress& address, unsigned length) noexcept;

  /// "10.0.0.0/8", "2001:db8::/32". Errors: kInvalidConfig, also when host bits are set.
  [[nodiscard]] static Result<IpPrefix> parse(std::string_view text);
  /// The /32 or /128 of `address`.
  [[nodiscard]] static IpPrefix host(const IpAddress& address) noexcept { return {address, address.bits()}; }

  [[nodiscard]] const IpAddress& address() const noexcept { return address_; }
  [[nodiscard]] unsigned length() const noexcept { return length_; }
  [[nodiscard]] IpFamily family() const noexcept { return address_.family(); }

  [[nodiscard]] bool contains(const IpAddress& address) const noexcept;
  /// True if `other` is equal to or inside this prefix.
  [[nodiscard]] bool contains(const IpPrefix& other) const noexcept;
  [[nodiscard]] bool overlaps(const IpPrefix& other) const noexcept;

  [[nodiscard]] std::string to_string() const;

  friend auto operator<=>(const IpPrefix&, const IpPrefix&) noexcept = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

/// An address with the prefix length of its network, as on an interface: 169.254.10.1/30.
struct InterfaceAddress {
  IpAddress address;
  std::uint8_t length = 0;

  /// Errors: kInvalidConfig.
  [[nodiscard]] static Result<InterfaceAddress> parse(std::string_view text);
  [[nodiscard]] IpPrefix network() const noexcept { return {address, length}; }
  [[nodiscard]] std::string to_string() const;

  friend auto operator<=>(const InterfaceAddress&, const InterfaceAddress&) noexcept = default;
};

}  // namespace simplon

template <>
struct std::hash<simplon::IpPrefix> {
  std::size_t operator()(const simplon::IpPrefix& prefix) const noexcept {
    return std::hash<simplon::IpAddress>{}(prefix.address()) * 31 + prefix.length();
  }
};
