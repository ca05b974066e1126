// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/net/ip_prefix.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace simplon {
namespace {

IpAddress clear_host_bits(const IpAddress& address, unsigned length) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  const auto source = address.bytes();
  for (std::size_t i = 0; i < source.size(); ++i) {
    const unsigned first_bit = static_cast<unsigned>(i) * 8;
    const unsigned kept = length <= first_bit ? 0 : std::min(8U, length - first_bit);
    bytes[i] = static_cast<std::uint8_t>(source[i] & (0xff00U >> kept));
  }
  if (address.is_v6()) return IpAddress::v6(bytes);
  return IpAddress::v4(std::array<std::uint8_t, 4>{bytes[0], bytes[1], bytes[2], bytes[3]});
}

Result<InterfaceAddress> parse_with_length(std::string_view text, const char* example) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' has no prefix length",
                std::string("write it like ") + example);
  }
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return Unexpected(address.error());
  const std::string_view digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc{} || end != digits.data() + digits.size() || length > address->bits()) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' has a bad prefix length",
                "0 to " + std::to_string(address->bits()));
  }
  return InterfaceAddress{*address, static_cast<std::uint8_t>(length)};
}

}  // namespace

IpPrefix::IpPrefix(const IpAddress& address, unsigned length) noexcept
    : address_(clear_host_bits(address, std::min(length, address.bits()))),
      length_(static_cast<std::uint8_t>(std::min(length, address.bits()))) {}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const auto parsed = parse_with_length(text, "10.0.0.0/8");
  if (!parsed) return Unexpected(parsed.error());
  const IpPrefix prefix(parsed->address, parsed->length);
  if (prefix.address() != parsed->address) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' has host bits set",
                "the network is " + prefix.to_string());
  }
  return prefix;
}

bool IpPrefix::contains(const IpAddress& address) const noexcept {
  return address.family() == family() && clear_host_bits(address, length_) == address_;
}

bool IpPrefix::contains(const IpPrefix& other) const noexcept {
  return other.length_ >= length_ && contains(other.address_);
}

bool IpPrefix::overlaps(const IpPrefix& other) const noexcept { return contains(other) || other.contains(*this); }

std::string IpPrefix::to_string() const { return address_.to_string() + "/" + std::to_string(length_); }

Result<InterfaceAddress> InterfaceAddress::parse(std::string_view text) {
  return parse_with_length(text, "169.254.10.1/30");
}

std::string InterfaceAddress::to_string() const { return address.to_string() + "/" + std::to_string(length); }

}  // namespace simplon
