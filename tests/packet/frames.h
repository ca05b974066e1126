// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Packets written as they are nested: ethernet({...}, ipv4({...}, udp({...}, vxlan(5001, ethernet(...))))).
// Lengths and checksums are filled in; each can be set to something else to make a packet that lies.

namespace simplon::test {

using Bytes = std::vector<std::uint8_t>;

/// Bytes 0, 1, 2, ... so that a wrong offset is visible.
[[nodiscard]] Bytes payload(std::size_t length);
[[nodiscard]] Bytes hex(std::string_view digits);
[[nodiscard]] std::string to_hex(const Bytes& bytes);

struct Ethernet {
  std::string dst;
  std::string src;
  std::uint16_t type = 0x0800;
};
[[nodiscard]] Bytes ethernet(const Ethernet& header, const Bytes& inside);

struct Ipv4 {
  std::string src;
  std::string dst;
  std::uint8_t protocol = 17;
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0;
  bool df = false;
  bool mf = false;
  /// Bytes.
  std::uint16_t offset = 0;
  Bytes options = {};
  std::optional<std::uint16_t> total_length = std::nullopt;
  std::optional<std::uint16_t> checksum = std::nullopt;
  std::uint8_t version = 4;
  /// Complete TCP and UDP checksums inside; UDP's stays 0 if `udp` made it so.
  bool fill_l4 = true;
};
[[nodiscard]] Bytes ipv4(const Ipv4& header, const Bytes& inside);

struct Ipv6 {
  std::string src;
  std::string dst;
  std::uint8_t next = 17;
  std::uint8_t hops = 64;
  std::uint8_t traffic_class = 0;
  std::optional<std::uint16_t> payload_length = std::nullopt;
  std::uint8_t version = 6;
  bool fill_l4 = true;
};
[[nodiscard]] Bytes ipv6(const Ipv6& header, const Bytes& inside);

struct Udp {
  std::uint16_t src = 0;
  std::uint16_t dst = 0;
  std::optional<std::uint16_t> length = std::nullopt;
  /// 0: none.
  bool checksum = true;
};
[[nodiscard]] Bytes udp(const Udp& header, const Bytes& inside);

struct Tcp {
  std::uint16_t src = 0;
  std::uint16_t dst = 0;
  bool syn = false;
  bool ack = false;
  std::optional<std::uint16_t> mss = std::nullopt;
  /// Put in front of the MSS option.
  Bytes other_options = {};
};
[[nodiscard]] Bytes tcp(const Tcp& header, const Bytes& inside);

/// `flags`: the whole first word.
[[nodiscard]] Bytes vxlan(std::uint32_t vni, const Bytes& inside, std::uint32_t flags = 0x08000000);

[[nodiscard]] Bytes icmp_echo(std::uint16_t id, std::uint16_t sequence, const Bytes& inside);
[[nodiscard]] Bytes icmpv6_echo(std::uint16_t id, std::uint16_t sequence, const Bytes& inside);
[[nodiscard]] Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes& inside);
/// Checksum filled in by `ipv6`.
[[nodiscard]] Bytes icmpv6(std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes& inside);
[[nodiscard]] Bytes arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender_ip,
                        const std::string& target_mac, const std::string& target_ip);
[[nodiscard]] Bytes operator+(Bytes a, const Bytes& b);
[[nodiscard]] Bytes first(const Bytes& bytes, std::size_t count);
[[nodiscard]] Bytes from(const Bytes& bytes, std::size_t offset);
[[nodiscard]] std::uint16_t be16(const Bytes& bytes, std::size_t offset);
[[nodiscard]] std::uint32_t be32(const Bytes& bytes, std::size_t offset);

/// ESP with AES-GCM, written against RFC 4303 and RFC 4106 with OpenSSL and nothing of ours.
struct EspParameters {
  std::uint32_t spi = 0;
  Bytes key;  ///< With the salt.
  bool esn = false;
};
struct EspOptions {
  std::uint64_t sequence = 1;
  std::uint8_t next_header = 4;
  /// Instead of the right one.
  std::optional<Bytes> padding = std::nullopt;
  std::optional<std::uint8_t> pad_length = std::nullopt;
};
[[nodiscard]] Bytes esp_seal(const EspParameters& sa, const EspOptions& options, const Bytes& inside);
struct OpenedEsp {
  std::uint32_t spi = 0;
  std::uint32_t sequence = 0;
  Bytes iv;
  std::uint8_t next_header = 0;
  Bytes padding;
  Bytes inside;
};
/// Empty if it does not authenticate. `high`: the upper half of the sequence number with ESN.
[[nodiscard]] std::optional<OpenedEsp> esp_open(const EspParameters& sa, const Bytes& packet, std::uint32_t high = 0);

}  // namespace simplon::test
