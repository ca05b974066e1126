// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/net/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace simplon {

Result<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() == 4) return v4(std::array<std::uint8_t, 4>{bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() == 16) {
    std::array<std::uint8_t, 16> all{};
    std::copy(bytes.begin(), bytes.end(), all.begin());
    return v6(all);
  }
  return fail(ErrorCode::kInvalidConfig, "an IP address has 4 or 16 bytes, not " + std::to_string(bytes.size()));
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  std::array<std::uint8_t, 16> bytes{};
  if (terminated.size() == text.size() && inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) {
    return v4(std::array<std::uint8_t, 4>{bytes[0], bytes[1], bytes[2], bytes[3]});
  }
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return v6(bytes);
  return fail(ErrorCode::kInvalidConfig, "'" + terminated + "' is not an IP address",
              "write it like 192.0.2.1 or 2001:db8::1");
}

bool IpAddress::is_unspecified() const noexcept {
  const auto all = bytes();
  return std::all_of(all.begin(), all.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_multicast() const noexcept {
  return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[0] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_link_local() const noexcept {
  return is_v4() ? bytes_[0] == 169 && bytes_[1] == 254 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

}  // namespace simplon

std::size_t std::hash<simplon::IpAddress>::operator()(const simplon::IpAddress& address) const noexcept {
  const auto bytes = address.bytes();
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}
