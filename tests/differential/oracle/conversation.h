// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>

#include "platform/base/ids.h"
#include "tests/differential/oracle/ip_packet.h"

// Which connection a packet belongs to, and what translation does to its bytes.

namespace simplon::oracle {

/// What the packets of a connection in one direction have in common. An echo request has its identifier as source port,
/// a reply as destination port, so that only a reply is the way back of a request.
struct Ends {
  DomainId domain;
  std::uint8_t protocol = 0;
  IpAddress source;
  IpAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;

  [[nodiscard]] Ends back() const { return {domain, protocol, destination, source, destination_port, source_port}; }
  friend auto operator<=>(const Ends&, const Ends&) = default;
};

enum class Sort : std::uint8_t {
  kConversation,   ///< May be of a connection, or begin one.
  kError,          ///< An ICMP error about a packet of who it goes to.
  kOther,          ///< Other ICMP.
  kLaterFragment,  ///< Has no ports.
  kTruncated,      ///< Its transport header is not whole.
};

struct Talk {
  Sort sort = Sort::kOther;
  /// Of an error: the way back of the packet it is about, which is its own way.
  Ends ends;
  /// Can be the first packet of a connection: neither a RST nor an answer.
  bool opens = false;
  std::uint8_t tcp_flags = 0;
  std::uint8_t icmp_type = 0;
};

[[nodiscard]] Talk talk_of(View packet, const IpPacket& ip, DomainId domain);

/// Gives an IPv4 packet other addresses and ports; its checksums change by as much (RFC 1624), no UDP checksum stays
/// none (RFC 3022 section 4.1).
void readdress(Bytes& packet, const IpPacket& ip, const Ends& to);

/// Gives an ICMP error of IPv4 other addresses, and other ends to the packet it quotes (RFC 5508 section 4). False: its
/// checksum is wrong.
[[nodiscard]] bool readdress_error(Bytes& packet, const IpPacket& ip, const IpAddress& source,
                                   const IpAddress& destination, const Ends& quoted);

}  // namespace simplon::oracle
