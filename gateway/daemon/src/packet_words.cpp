// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/packet_words.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <string_view>
#include <tuple>

#include "gateway/config/validate.h"
#include "platform/wire/checksum.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/tcp.h"
#include "platform/wire/udp.h"

namespace simplon::daemon {
namespace {

using Bytes = std::vector<std::uint8_t>;

// The forwarder's limit on what it traces.
constexpr std::uint64_t kMostBytes = 9000;
constexpr std::uint16_t kDefaultSourcePort = 49152;
constexpr std::uint16_t kDefaultMss4 = 1460;  // of Ethernet: RFC 9293 section 3.7.1
constexpr std::uint16_t kDefaultMss6 = 1440;

Unexpected wrong(std::string what, std::string hint) { return fail(ErrorCode::kInvalidConfig, std::move(what), std::move(hint)); }

struct ProtocolName {
  std::string_view name;
  std::uint8_t number;
};
constexpr std::array<ProtocolName, 4> kProtocols = {{{"tcp", wire::kProtocolTcp},
                                                     {"udp", wire::kProtocolUdp},
                                                     {"icmp", wire::kProtocolIcmp},
                                                     {"icmpv6", wire::kProtocolIcmpv6}}};

Result<std::uint8_t> protocol_of(const std::string& word) {
  for (const auto& [name, number] : kProtocols) {
    if (word == name) return number;
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error == std::errc{} && end == word.data() + word.size() && number <= 255) return static_cast<std::uint8_t>(number);
  return wrong("protocol '" + word + "' is not known", "tcp, udp, icmp, icmpv6 or a number up to 255");
}

Result<std::uint16_t> number_within(const char* what, std::optional<std::uint64_t> given, std::uint16_t absent, std::uint16_t most) {
  if (!given) return absent;
  if (*given > most) return wrong(std::string(what) + " is " + std::to_string(*given), "at most " + std::to_string(most));
  return static_cast<std::uint16_t>(*given);
}

Result<IpAddress> address_of(const char* what, const std::string& text) {
  if (text.empty()) return wrong(std::string(what) + " is missing", "an IPv4 or IPv6 address");
  auto address = IpAddress::parse(text);
  if (!address) return wrong(std::string(what) + " '" + text + "' is no address", "an IPv4 or IPv6 address");
  return address;
}

/// An address is the network of itself.
Result<std::optional<IpPrefix>> prefix_of(const char* what, const std::string& text) {
  if (text.empty()) return std::optional<IpPrefix>();
  if (text.find('/') == std::string::npos) {
    const auto address = IpAddress::parse(text);
    if (address) return std::optional(IpPrefix::host(*address));
  } else if (const auto prefix = IpPrefix::parse(text)) {
    return std::optional(*prefix);
  }
  return wrong(std::string(what) + " '" + text + "' is neither an address nor a network", "like 10.0.0.5 or 10.0.0.0/8");
}

/// RFC 9293 section 3.1, separated by commas.
Result<std::uint8_t> tcp_flags_of(const std::string& words) {
  constexpr std::array<std::string_view, 6> kNames = {"fin", "syn", "rst", "psh", "ack", "urg"};
  std::uint8_t flags = 0;
  for (std::size_t at = 0; at <= words.size() && !words.empty();) {
    const std::size_t end = std::min(words.find(',', at), words.size());
    const std::string word = words.substr(at, end - at);
    const auto found = std::find(kNames.begin(), kNames.end(), word);
    if (found == kNames.end()) return wrong("there is no TCP flag '" + word + "'", "fin, syn, rst, psh, ack, urg, separated by commas");
    flags = static_cast<std::uint8_t>(flags | (1U << (found - kNames.begin())));
    at = end + 1;
  }
  return flags;
}

struct Ports {
  std::uint16_t source = 0;
  std::uint16_t destination = 0;
};

template <class Header>
void append(Bytes& bytes, const Header& header) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(&header);
  bytes.insert(bytes.end(), first, first + sizeof header);
}

Bytes tcp_segment(const Ports& ports, std::uint8_t flags, bool v4) {
  Bytes bytes;
  const bool syn = (flags & wire::kTcpSyn) != 0;
  wire::TcpHeader tcp{};
  tcp.source_port = ports.source;
  tcp.destination_port = ports.destination;
  tcp.sequence = 1U;
  tcp.data_offset = static_cast<std::uint8_t>((syn ? 6 : 5) << 4);
  tcp.flags = flags;
  tcp.window = std::uint16_t{65535};
  append(bytes, tcp);
  if (syn) {
    const std::uint16_t mss = v4 ? kDefaultMss4 : kDefaultMss6;
    for (const auto byte : {std::uint8_t{wire::kTcpOptionMss}, std::uint8_t{4}, static_cast<std::uint8_t>(mss >> 8),
                            static_cast<std::uint8_t>(mss)}) {
      bytes.push_back(byte);
    }
  }
  return bytes;
}

/// Where the checksum of the transport header lies; 0: it has none that we know.
std::size_t checksum_at(std::uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolTcp:
      return 16;
    case wire::kProtocolUdp:
      return 6;
    case wire::kProtocolIcmp:
    case wire::kProtocolIcmpv6:
      return 2;
    default:
      return 0;
  }
}

void fill_checksum(Bytes& l4, std::uint8_t protocol, std::span<const std::uint8_t> addresses) {
  const std::size_t at = checksum_at(protocol);
  if (at == 0 || l4.size() < at + 2) return;
  const std::uint64_t pseudo =
      protocol == wire::kProtocolIcmp ? 0 : wire::pseudo_header_sum(addresses, protocol, static_cast<std::uint32_t>(l4.size()));
  Be16 sum = wire::finish_checksum(wire::sum_bytes(l4, pseudo));
  if (protocol == wire::kProtocolUdp && wire::raw(sum) == 0) sum = std::uint16_t{0xffff};  // RFC 768
  std::memcpy(l4.data() + at, &sum, sizeof sum);
}

std::vector<std::string> place_names(const GatewayConfig& config) {
  std::vector<std::string> names;
  for (const auto& vpc : config.vpcs) names.push_back("vpc:" + vpc.name);
  for (const auto& tunnel : config.tunnels) names.push_back("tunnel:" + tunnel.name);
  for (const auto& circuit : config.circuits) names.push_back("circuit:" + circuit.name);
  return names;
}

}  // namespace

Result<PacketPlace> find_place(const std::string& text, const GatewayConfig& config, const config::IdRegistry& ids) {
  constexpr const char* kShape = "vpc:NAME, tunnel:NAME or circuit:NAME";
  const auto names = place_names(config);
  if (text.empty()) return wrong("it is not said where the packet comes from", std::string(kShape) + "; " + config::suggest("", names));
  const std::size_t colon = text.find(':');
  const std::string kind = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string name = colon == std::string::npos ? text : text.substr(colon + 1);
  if (!kind.empty() && kind != "vpc" && kind != "tunnel" && kind != "circuit") return wrong("there is no '" + text + "'", kShape);
  std::vector<PacketPlace> found;
  const auto look = [&](const char* of_kind, const auto& objects, const auto& ref_of) {
    if (!kind.empty() && kind != of_kind) return;
    for (const auto& object : objects) {
      if (object.name == name) found.push_back({of_kind, name, ref_of(object).value_or(ipc::AttachmentRef{})});
    }
  };
  look("vpc", config.vpcs, [](const auto& vpc) { return std::optional(ipc::AttachmentRef::vpc(vpc.vni)); });
  look("tunnel", config.tunnels, [&](const auto& tunnel) -> std::optional<ipc::AttachmentRef> {
    const auto id = ids.tunnel(tunnel.name);
    return id ? std::optional(ipc::AttachmentRef::tunnel(*id)) : std::nullopt;
  });
  look("circuit", config.circuits, [&](const auto& circuit) -> std::optional<ipc::AttachmentRef> {
    const auto id = ids.circuit(circuit.name);
    return id ? std::optional(ipc::AttachmentRef::circuit(*id)) : std::nullopt;
  });
  if (found.empty()) return wrong("there is no '" + text + "'", config::suggest(kind.empty() ? "vpc:" + name : text, names));
  if (found.size() > 1) {
    const std::string first = found[0].kind;
    const std::string second = found[1].kind;
    return wrong("a " + (first == "vpc" ? "VPC" : first) + " and a " + second + " are called " + name, "say " + first + ":" + name + " or " + second + ":" + name);
  }
  if (found.front().attachment.kind == ipc::AttachmentKind::kNone) {
    return wrong(found.front().kind + " " + name + " has no id yet", "apply the configuration that has it");
  }
  return found.front();
}

Result<Bytes> build_packet(const ipc::PacketQuery& query) {
  const auto source = address_of("the source", query.source);
  if (!source) return Unexpected(source.error());
  const auto destination = address_of("the destination", query.destination);
  if (!destination) return Unexpected(destination.error());
  if (source->family() != destination->family()) {
    return wrong(query.source + " and " + query.destination + " are of different families", "IPv4 or IPv6, both");
  }
  const bool v4 = source->is_v4();
  const auto protocol = protocol_of(query.protocol.empty() ? (query.flags.empty() ? (v4 ? "icmp" : "icmpv6") : "tcp") : query.protocol);
  if (!protocol) return Unexpected(protocol.error());
  const bool has_ports = *protocol == wire::kProtocolTcp || *protocol == wire::kProtocolUdp;
  if (!has_ports && (query.source_port || query.destination_port)) {
    return wrong("ports without TCP or UDP", "say the protocol: tcp or udp");
  }
  if (*protocol != wire::kProtocolTcp && !query.flags.empty()) return wrong("flags without TCP", "say the protocol: tcp");
  const auto source_port = number_within("the source port", query.source_port, kDefaultSourcePort, 65535);
  const auto destination_port = number_within("the destination port", query.destination_port, 0, 65535);
  const auto flags = tcp_flags_of(query.flags);
  const auto ttl = number_within("the TTL", query.ttl, 64, 255);
  const auto tos = number_within("the TOS", query.tos, 0, 255);
  for (const auto* number : {&source_port, &destination_port, &ttl, &tos}) {
    if (!*number) return Unexpected(number->error());
  }
  if (!flags) return Unexpected(flags.error());

  Bytes l4;
  if (*protocol == wire::kProtocolTcp) {
    l4 = tcp_segment({*source_port, *destination_port}, *flags, v4);
  } else if (*protocol == wire::kProtocolUdp) {
    wire::UdpHeader udp{};
    udp.source_port = *source_port;
    udp.destination_port = *destination_port;
    append(l4, udp);
  } else if (*protocol == wire::kProtocolIcmp || *protocol == wire::kProtocolIcmpv6) {
    wire::IcmpHeader echo{};
    echo.type = *protocol == wire::kProtocolIcmp ? wire::kIcmpEcho : wire::kIcmpv6Echo;
    append(l4, echo);
  }
  const std::size_t header_bytes = v4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  const std::size_t least = header_bytes + l4.size();
  const std::uint64_t size = query.size.value_or(least);
  if (size < least || size > kMostBytes) {
    return wrong("a size of " + std::to_string(size) + " bytes", std::to_string(least) + " to " + std::to_string(kMostBytes) + ", with the IP header");
  }
  l4.resize(static_cast<std::size_t>(size) - header_bytes);
  if (*protocol == wire::kProtocolUdp) reinterpret_cast<wire::UdpHeader*>(l4.data())->length = static_cast<std::uint16_t>(l4.size());

  Bytes packet;
  if (v4) {
    wire::Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.tos = static_cast<std::uint8_t>(*tos);
    ip.total_length = static_cast<std::uint16_t>(size);
    ip.flags_offset = query.df ? wire::kIpv4DontFragment : std::uint16_t{0};
    ip.ttl = static_cast<std::uint8_t>(*ttl);
    ip.protocol = *protocol;
    std::copy_n(source->bytes().begin(), 4, ip.source.begin());
    std::copy_n(destination->bytes().begin(), 4, ip.destination.begin());
    wire::set_ipv4_checksum(ip);
    fill_checksum(l4, *protocol, {reinterpret_cast<const std::uint8_t*>(&ip) + 12, 8});
    append(packet, ip);
  } else {
    wire::Ipv6Header ip{};
    ip.version_class_flow = (6U << 28) | (std::uint32_t{*tos} << 20);
    ip.payload_length = static_cast<std::uint16_t>(l4.size());
    ip.next_header = *protocol;
    ip.hop_limit = static_cast<std::uint8_t>(*ttl);
    std::copy_n(source->bytes().begin(), 16, ip.source.begin());
    std::copy_n(destination->bytes().begin(), 16, ip.destination.begin());
    fill_checksum(l4, *protocol, {reinterpret_cast<const std::uint8_t*>(&ip) + 8, 32});
    append(packet, ip);
  }
  packet.insert(packet.end(), l4.begin(), l4.end());
  return packet;
}

Result<ipc::PacketFilter> filter_of(const ipc::PacketQuery& query) {
  ipc::PacketFilter filter;
  for (const auto& [what, text, to] : {std::tuple{"the source", &query.source, &filter.source},
                                       std::tuple{"the destination", &query.destination, &filter.destination},
                                       std::tuple{"the host", &query.host, &filter.host}}) {
    const auto prefix = prefix_of(what, *text);
    if (!prefix) return Unexpected(prefix.error());
    *to = *prefix;
  }
  if (!query.protocol.empty()) {
    const auto protocol = protocol_of(query.protocol);
    if (!protocol) return Unexpected(protocol.error());
    filter.protocol = *protocol;
  }
  for (const auto& [what, given, to] : {std::tuple{"the source port", query.source_port, &filter.source_port},
                                        std::tuple{"the destination port", query.destination_port, &filter.destination_port},
                                        std::tuple{"the port", query.port, &filter.port}}) {
    const auto number = number_within(what, given, 0, 65535);
    if (!number) return Unexpected(number.error());
    if (given && *number == 0) return wrong(std::string(what) + " is 0", "1 to 65535");
    if (given) *to = *number;
  }
  return filter;
}

}  // namespace simplon::daemon
