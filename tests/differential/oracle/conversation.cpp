// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/conversation.h"

#include <algorithm>
#include <utility>

namespace simplon::oracle {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmp6 = 58, kDccp = 33, kUdpLite = 136;

bool is_echo(bool v4, std::uint8_t type) { return type == (v4 ? 8 : 128); }
bool is_echo_reply(bool v4, std::uint8_t type) { return type == (v4 ? 0 : 129); }

/// RFC 792, RFC 1812 section 4.3.2.7; RFC 4443 section 2.1, with redirects (RFC 4861 section 8) of the same nature.
bool is_error(bool v4, std::uint8_t type) {
  return v4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 : type < 128 || type == 137;
}

void put_echo_ports(Ends& ends, bool v4, View icmp) {
  (is_echo(v4, icmp[0]) ? ends.source_port : ends.destination_port) = get16(icmp, 4);
}

/// The next header and the place of what follows the extension headers of an IPv6 packet of which `quoted` is there (RFC 8200
/// section 4). False: they are cut short, or a fragment does not begin with what follows them.
bool quoted_upper_layer(View quoted, std::uint8_t& next, std::size_t& at) {
  next = quoted[6];
  at = 40;
  while (next == 0 || next == 43 || next == 44 || next == 60) {
    const View header = from(quoted, at);
    if (header.size() < 8) return false;
    if (next == 44 && get16(header, 2) >> 3 != 0) return false;
    const std::size_t size = next == 44 ? 8 : (header[1] + std::size_t{1}) * 8;
    if (size > header.size()) return false;
    next = header[0];
    at += size;
  }
  return true;
}

/// The ends of a packet that an error quotes: its IP header with what extends it, and eight bytes behind them.
bool quoted_ends(View quoted, bool v4, Ends& ends) {
  const std::size_t least = v4 ? 20 : 40;
  if (quoted.size() < least || quoted[0] >> 4 != (v4 ? 4 : 6)) return false;
  std::size_t header = least;
  if (v4) {
    header = (quoted[0] & 15U) * std::size_t{4};
    if (header < 20 || header > quoted.size()) return false;
    if ((get16(quoted, 6) & 0x1fff) != 0) return false;  // a later fragment has no ports
    ends.protocol = quoted[9];
    ends.source = address4(quoted, 12);
    ends.destination = address4(quoted, 16);
  } else {
    if (!quoted_upper_layer(quoted, ends.protocol, header)) return false;
    ends.source = address6(quoted, 8);
    ends.destination = address6(quoted, 24);
  }
  const View transport = from(quoted, header);
  if (transport.size() < 8) return false;
  if (ends.protocol == kTcp || ends.protocol == kUdp) {
    ends.source_port = get16(transport, 0);
    ends.destination_port = get16(transport, 2);
  } else if (ends.protocol == (v4 ? kIcmp : kIcmp6)) {
    if (!is_echo(v4, transport[0]) && !is_echo_reply(v4, transport[0])) return false;
    put_echo_ports(ends, v4, transport);
  }
  return true;
}

/// A checksum field while words under it change, each of them before and after (RFC 1624 equation 3).
class Difference {
 public:
  void word(std::uint16_t before, std::uint16_t after) {
    sum_ += static_cast<std::uint16_t>(~before);
    sum_ += after;
  }
  void address(View before, View after) {
    word(get16(before, 0), get16(after, 0));
    word(get16(before, 2), get16(after, 2));
  }
  void apply(Bytes& bytes, std::size_t at) const {
    std::uint64_t sum = sum_ + static_cast<std::uint16_t>(~get16(bytes, at));
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    put16(bytes, at, ~sum & 0xffff);
  }

 private:
  std::uint64_t sum_ = 0;
};

/// The IPv4 packet whose header is at `at`, and of which the bytes up to the end of `bytes` are there.
void readdress_at(Bytes& bytes, std::size_t at, bool later_fragment, const Ends& to) {
  const std::size_t transport = at + (bytes[at] & 15U) * std::size_t{4};
  const std::uint8_t protocol = bytes[at + 9];
  Difference addresses;
  addresses.address(View(bytes).subspan(at + 12, 4), to.source.bytes());
  addresses.address(View(bytes).subspan(at + 16, 4), to.destination.bytes());
  std::copy_n(to.source.bytes().begin(), 4, bytes.begin() + static_cast<std::ptrdiff_t>(at + 12));
  std::copy_n(to.destination.bytes().begin(), 4, bytes.begin() + static_cast<std::ptrdiff_t>(at + 16));
  addresses.apply(bytes, at + 10);
  if (later_fragment || bytes.size() < transport + 8) return;

  if (protocol == kTcp || protocol == kUdp) {
    Difference all = addresses;
    all.word(get16(bytes, transport), to.source_port);
    all.word(get16(bytes, transport + 2), to.destination_port);
    put16(bytes, transport, to.source_port);
    put16(bytes, transport + 2, to.destination_port);
    if (protocol == kTcp) {
      if (bytes.size() >= transport + 18) all.apply(bytes, transport + 16);
    } else if (get16(bytes, transport + 6) != 0) {
      all.apply(bytes, transport + 6);
      if (get16(bytes, transport + 6) == 0) put16(bytes, transport + 6, 0xffff);
    }
  } else if (protocol == kDccp || protocol == kUdpLite) {
    addresses.apply(bytes, transport + 6);
    if (protocol == kUdpLite && get16(bytes, transport + 6) == 0) put16(bytes, transport + 6, 0xffff);
  } else if (protocol == kIcmp && (is_echo(true, bytes[transport]) || is_echo_reply(true, bytes[transport]))) {
    const std::uint16_t id = is_echo(true, bytes[transport]) ? to.source_port : to.destination_port;
    Difference one;  // there is no pseudo header
    one.word(get16(bytes, transport + 4), id);
    put16(bytes, transport + 4, id);
    one.apply(bytes, transport + 2);
  }
}

}  // namespace

Talk talk_of(View packet, const IpPacket& ip, DomainId domain) {
  const bool v4 = ip.family == 4;
  Talk talk;
  talk.ends = {domain, ip.flow.protocol, ip.flow.source, ip.flow.destination, 0, 0};
  if (ip.later_fragment) {
    talk.sort = Sort::kLaterFragment;
    return talk;
  }
  const View transport = packet.subspan(ip.transport);
  const std::size_t least = ip.flow.protocol == kTcp                                                ? 20
                            : ip.flow.protocol == kUdp || ip.flow.protocol == (v4 ? kIcmp : kIcmp6) ? 8
                                                                                                    : 0;
  if (transport.size() < least) {
    talk.sort = Sort::kTruncated;
    return talk;
  }
  talk.sort = Sort::kConversation;
  if (ip.flow.protocol == kTcp || ip.flow.protocol == kUdp) {
    talk.ends.source_port = get16(transport, 0);
    talk.ends.destination_port = get16(transport, 2);
    if (ip.flow.protocol == kTcp) talk.tcp_flags = transport[13];
    talk.opens = (talk.tcp_flags & 4) == 0;
    return talk;
  }
  talk.opens = true;
  if (ip.flow.protocol != (v4 ? kIcmp : kIcmp6)) return talk;

  talk.icmp_type = transport[0];
  talk.opens = is_echo(v4, talk.icmp_type);
  if (talk.opens || is_echo_reply(v4, talk.icmp_type)) {
    put_echo_ports(talk.ends, v4, transport);
    return talk;
  }
  talk.sort = Sort::kOther;
  Ends quoted{domain, 0, {}, {}, 0, 0};
  if (!is_error(v4, talk.icmp_type) || !quoted_ends(from(transport, 8), v4, quoted)) return talk;
  if (quoted.source != ip.flow.destination) return talk;  // about somebody else's packet
  talk.sort = Sort::kError;
  talk.ends = quoted.back();
  return talk;
}

void readdress(Bytes& packet, const IpPacket& ip, const Ends& to) { readdress_at(packet, 0, ip.later_fragment, to); }

bool readdress_error(Bytes& packet, const IpPacket& ip, const IpAddress& source, const IpAddress& destination,
                     const Ends& quoted) {
  const View message = View(packet).subspan(ip.transport);
  if (ones_sum(message) != 0xffff) return false;
  if (ones_sum(message.subspan(8, (message[8] & 15U) * std::size_t{4})) != 0xffff) return false;  // RFC 5508 REQ-3 (a)
  Ends own = quoted;  // its ports are not used: an error has none
  own.source = source;
  own.destination = destination;
  readdress_at(packet, 0, false, own);
  readdress_at(packet, ip.transport + 8, false, quoted);
  put16(packet, ip.transport + 2, 0);
  put16(packet, ip.transport + 2, internet_checksum(View(packet).subspan(ip.transport)));
  return true;
}

}  // namespace simplon::oracle
