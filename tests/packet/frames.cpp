// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/packet/frames.h"

#include <arpa/inet.h>
#include <openssl/evp.h>

#include <cstdio>
#include <stdexcept>

namespace simplon::test {
namespace {

void put16(Bytes& to, std::uint32_t value) {
  to.push_back(static_cast<std::uint8_t>(value >> 8));
  to.push_back(static_cast<std::uint8_t>(value));
}
void put32(Bytes& to, std::uint32_t value) {
  put16(to, value >> 16);
  put16(to, value & 0xffff);
}
void set16(Bytes& in, std::size_t at, std::uint32_t value) {
  in.at(at) = static_cast<std::uint8_t>(value >> 8);
  in.at(at + 1) = static_cast<std::uint8_t>(value);
}
void append(Bytes& to, const Bytes& what) { to.insert(to.end(), what.begin(), what.end()); }

Bytes mac(const std::string& text) {
  unsigned b[6];
  if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6) {
    throw std::invalid_argument("not a MAC address: " + text);
  }
  Bytes bytes;
  for (const unsigned byte : b) bytes.push_back(static_cast<std::uint8_t>(byte));
  return bytes;
}
Bytes address(int family, const std::string& text) {
  Bytes bytes(family == AF_INET ? 4 : 16);
  if (::inet_pton(family, text.c_str(), bytes.data()) != 1) throw std::invalid_argument("not an address: " + text);
  return bytes;
}

/// Straight from RFC 1071, a 16-bit word at a time: slow, and independent of the code under test.
std::uint16_t internet_checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

void fill_l4(Bytes& segment, std::uint8_t protocol, const Bytes& addresses) {
  std::size_t at = 0;
  if (protocol == 6 && segment.size() >= 20) {
    at = 16;
  } else if (protocol == 17 && segment.size() >= 8) {
    at = 6;
    if (be16(segment, at) == 0) return;
  } else if (protocol == 58 && segment.size() >= 4) {
    at = 2;
  } else {
    return;
  }
  set16(segment, at, 0);
  Bytes pseudo = addresses;
  put32(pseudo, static_cast<std::uint32_t>(segment.size()));
  put32(pseudo, protocol);
  append(pseudo, segment);
  std::uint16_t sum = internet_checksum(pseudo);
  if (sum == 0 && protocol == 17) sum = 0xffff;
  set16(segment, at, sum);
}

}  // namespace

Bytes payload(std::size_t length) {
  Bytes bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  return bytes;
}

Bytes hex(std::string_view digits) {
  Bytes bytes;
  std::string clean;
  for (const char c : digits) {
    if (c != ' ' && c != '\n') clean += c;
  }
  for (std::size_t i = 0; i + 1 < clean.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(clean.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(const Bytes& bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    text += digits;
  }
  return text;
}

Bytes ethernet(const Ethernet& header, const Bytes& inside) {
  Bytes bytes = mac(header.dst) + mac(header.src);
  put16(bytes, header.type);
  return bytes + inside;
}

Bytes ipv4(const Ipv4& header, const Bytes& inside) {
  Bytes segment = inside;
  const Bytes addresses = address(AF_INET, header.src) + address(AF_INET, header.dst);
  if (header.fill_l4 && header.offset == 0 && !header.mf) fill_l4(segment, header.protocol, addresses);
  Bytes bytes;
  const std::size_t header_bytes = 20 + header.options.size();
  bytes.push_back(static_cast<std::uint8_t>((header.version << 4) | static_cast<int>(header_bytes / 4)));
  bytes.push_back(header.tos);
  put16(bytes, header.total_length.value_or(static_cast<std::uint16_t>(header_bytes + segment.size())));
  put16(bytes, header.id);
  put16(bytes, (header.df ? 0x4000U : 0U) | (header.mf ? 0x2000U : 0U) | (header.offset / 8U));
  bytes.push_back(header.ttl);
  bytes.push_back(header.protocol);
  put16(bytes, 0);
  append(bytes, addresses);
  append(bytes, header.options);
  set16(bytes, 10, header.checksum.value_or(internet_checksum(bytes)));
  return bytes + segment;
}

Bytes ipv6(const Ipv6& header, const Bytes& inside) {
  Bytes segment = inside;
  const Bytes addresses = address(AF_INET6, header.src) + address(AF_INET6, header.dst);
  if (header.fill_l4) fill_l4(segment, header.next, addresses);
  Bytes bytes;
  put32(bytes, (std::uint32_t{header.version} << 28) | (std::uint32_t{header.traffic_class} << 20));
  put16(bytes, header.payload_length.value_or(static_cast<std::uint16_t>(segment.size())));
  bytes.push_back(header.next);
  bytes.push_back(header.hops);
  append(bytes, addresses);
  return bytes + segment;
}

Bytes udp(const Udp& header, const Bytes& inside) {
  Bytes bytes;
  put16(bytes, header.src);
  put16(bytes, header.dst);
  put16(bytes, header.length.value_or(static_cast<std::uint16_t>(8 + inside.size())));
  put16(bytes, header.checksum ? 1 : 0);
  return bytes + inside;
}

Bytes tcp(const Tcp& header, const Bytes& inside) {
  Bytes options = header.other_options;
  if (header.mss) {
    options.push_back(2);
    options.push_back(4);
    put16(options, *header.mss);
  }
  while (options.size() % 4 != 0) options.push_back(0);
  Bytes bytes;
  put16(bytes, header.src);
  put16(bytes, header.dst);
  put32(bytes, 0x01020304);
  put32(bytes, 0x05060708);
  bytes.push_back(static_cast<std::uint8_t>((5 + options.size() / 4) << 4));
  bytes.push_back(static_cast<std::uint8_t>((header.syn ? 2 : 0) | (header.ack ? 16 : 0)));
  put16(bytes, 65535);
  put16(bytes, 0);
  put16(bytes, 0);
  return bytes + options + inside;
}

Bytes vxlan(std::uint32_t vni, const Bytes& inside, std::uint32_t flags) {
  Bytes bytes;
  put32(bytes, flags);
  put32(bytes, vni << 8);
  return bytes + inside;
}

Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes& inside) {
  Bytes bytes = {type, code, 0, 0};
  put32(bytes, word);
  append(bytes, inside);
  set16(bytes, 2, internet_checksum(bytes));
  return bytes;
}
Bytes icmpv6(std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes& inside) {
  Bytes bytes = {type, code, 0, 0};
  put32(bytes, word);
  return bytes + inside;
}
Bytes icmp_echo(std::uint16_t id, std::uint16_t sequence, const Bytes& inside) {
  return icmp(8, 0, (std::uint32_t{id} << 16) | sequence, inside);
}
Bytes icmpv6_echo(std::uint16_t id, std::uint16_t sequence, const Bytes& inside) {
  return icmpv6(128, 0, (std::uint32_t{id} << 16) | sequence, inside);
}

Bytes arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender_ip,
          const std::string& target_mac, const std::string& target_ip) {
  Bytes bytes = hex("0001 0800 06 04");
  put16(bytes, operation);
  return bytes + mac(sender_mac) + address(AF_INET, sender_ip) + mac(target_mac) + address(AF_INET, target_ip);
}

Bytes operator+(Bytes a, const Bytes& b) {
  append(a, b);
  return a;
}
Bytes first(const Bytes& bytes, std::size_t count) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count)};
}
Bytes from(const Bytes& bytes, std::size_t offset) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(offset), bytes.end()};
}
std::uint16_t be16(const Bytes& bytes, std::size_t offset) {
  return static_cast<std::uint16_t>((bytes.at(offset) << 8) | bytes.at(offset + 1));
}
std::uint32_t be32(const Bytes& bytes, std::size_t offset) {
  return (std::uint32_t{be16(bytes, offset)} << 16) | be16(bytes, offset + 2);
}

namespace {

const EVP_CIPHER* gcm(std::size_t key_bytes) {
  if (key_bytes == 16) return ::EVP_aes_128_gcm();
  if (key_bytes == 24) return ::EVP_aes_192_gcm();
  return ::EVP_aes_256_gcm();
}

struct Keys {
  Bytes key;
  Bytes salt;
  explicit Keys(const Bytes& both) : key(first(both, both.size() - 4)), salt(from(both, both.size() - 4)) {}
};

Bytes associated(const EspParameters& sa, std::uint64_t sequence) {
  Bytes bytes;
  put32(bytes, sa.spi);
  if (sa.esn) put32(bytes, static_cast<std::uint32_t>(sequence >> 32));
  put32(bytes, static_cast<std::uint32_t>(sequence));
  return bytes;
}

}  // namespace

Bytes esp_seal(const EspParameters& sa, const EspOptions& options, const Bytes& inside) {
  const Keys keys(sa.key);
  Bytes plain = inside;
  Bytes padding;
  while ((inside.size() + padding.size() + 2) % 4 != 0) padding.push_back(static_cast<std::uint8_t>(padding.size() + 1));
  if (options.padding) padding = *options.padding;
  append(plain, padding);
  plain.push_back(options.pad_length.value_or(static_cast<std::uint8_t>(padding.size())));
  plain.push_back(options.next_header);

  Bytes iv;
  put32(iv, static_cast<std::uint32_t>(options.sequence >> 32));
  put32(iv, static_cast<std::uint32_t>(options.sequence));
  const Bytes nonce = keys.salt + iv;
  const Bytes aad = associated(sa, options.sequence);
  Bytes cipher(plain.size());
  Bytes tag(16);
  int length = 0;
  EVP_CIPHER_CTX* context = ::EVP_CIPHER_CTX_new();
  ::EVP_EncryptInit_ex(context, gcm(keys.key.size()), nullptr, keys.key.data(), nonce.data());
  ::EVP_EncryptUpdate(context, nullptr, &length, aad.data(), static_cast<int>(aad.size()));
  ::EVP_EncryptUpdate(context, cipher.data(), &length, plain.data(), static_cast<int>(plain.size()));
  ::EVP_EncryptFinal_ex(context, cipher.data() + length, &length);
  ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag.data());
  ::EVP_CIPHER_CTX_free(context);

  Bytes packet;
  put32(packet, sa.spi);
  put32(packet, static_cast<std::uint32_t>(options.sequence));
  return packet + iv + cipher + tag;
}

std::optional<OpenedEsp> esp_open(const EspParameters& sa, const Bytes& packet, std::uint32_t high) {
  if (packet.size() < 36) return std::nullopt;
  const Keys keys(sa.key);
  OpenedEsp opened;
  opened.spi = be32(packet, 0);
  opened.sequence = be32(packet, 4);
  opened.iv = {packet.begin() + 8, packet.begin() + 16};
  const Bytes cipher = {packet.begin() + 16, packet.end() - 16};
  Bytes tag = {packet.end() - 16, packet.end()};
  const Bytes nonce = keys.salt + opened.iv;
  const Bytes aad = associated(sa, (std::uint64_t{high} << 32) | opened.sequence);
  Bytes plain(cipher.size());
  int length = 0;
  EVP_CIPHER_CTX* context = ::EVP_CIPHER_CTX_new();
  ::EVP_DecryptInit_ex(context, gcm(keys.key.size()), nullptr, keys.key.data(), nonce.data());
  ::EVP_DecryptUpdate(context, nullptr, &length, aad.data(), static_cast<int>(aad.size()));
  ::EVP_DecryptUpdate(context, plain.data(), &length, cipher.data(), static_cast<int>(cipher.size()));
  ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, 16, tag.data());
  const bool authentic = ::EVP_DecryptFinal_ex(context, plain.data() + length, &length) == 1;
  ::EVP_CIPHER_CTX_free(context);
  if (!authentic || opened.spi != sa.spi) return std::nullopt;
  opened.next_header = plain.back();
  const std::size_t padding = plain[plain.size() - 2];
  if (padding + 2 > plain.size()) return std::nullopt;
  opened.padding = {plain.end() - 2 - static_cast<std::ptrdiff_t>(padding), plain.end() - 2};
  opened.inside = first(plain, plain.size() - 2 - padding);
  return opened;
}

}  // namespace simplon::test
