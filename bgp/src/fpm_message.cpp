// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/fpm_message.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

// The payload is what zebra would write to a netlink socket, so lengths and alignments are those of netlink(7). It still
// came through a socket that anything in the namespace may connect to: every length is checked before it is used.
//
// Things that look wrong and are not:
// - RTA_MULTIPATH arrives as 0x8009 (NLA_F_NESTED): types are masked.
// - RTA_GATEWAY of an IPv4 route with RTNH_F_ONLINK and 169.254.0.1 is zebra's way to say "an IPv6 link-local nexthop"; the
//   address is invented, so only the interface is kept.
// - An attribute's length may leave up to three bytes to the next one; the last attribute need not be padded.

namespace simplon::bgp {
namespace {

constexpr std::size_t kFpmHeader = 4;
constexpr std::uint8_t kFpmVersion = 1;
constexpr std::uint8_t kFpmTypeNetlink = 1;

constexpr std::size_t kMaxNextHops = 256;  // what FRR of Debian is built for (--enable-multipath=256)

// The two upper bits of a type are flags (nested, network byte order).
constexpr unsigned kTypeMask = 0x3fff;  // NLA_TYPE_MASK

template <class T>
T load(std::span<const std::uint8_t> bytes, std::size_t offset) noexcept {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

constexpr std::size_t align4(std::size_t length) noexcept { return (length + 3) & ~std::size_t{3}; }

struct Attribute {
  std::uint16_t type = 0;
  std::span<const std::uint8_t> value;
};

/// Walks netlink attributes; `malformed` after `next` returned false tells why it ended.
class AttributeReader {
 public:
  explicit AttributeReader(std::span<const std::uint8_t> bytes) noexcept : rest_(bytes) {}

  bool next(Attribute& attribute) noexcept {
    if (rest_.empty()) return false;
    if (rest_.size() < sizeof(rtattr)) return fail();
    const auto header = load<rtattr>(rest_, 0);
    if (header.rta_len < sizeof(rtattr) || header.rta_len > rest_.size()) return fail();
    attribute.type = static_cast<std::uint16_t>(header.rta_type & kTypeMask);
    attribute.value = rest_.subspan(sizeof(rtattr), header.rta_len - sizeof(rtattr));
    rest_ = rest_.subspan(std::min(align4(header.rta_len), rest_.size()));
    return true;
  }

  [[nodiscard]] bool malformed() const noexcept { return malformed_; }

 private:
  bool fail() noexcept {
    malformed_ = true;
    return false;
  }

  std::span<const std::uint8_t> rest_;
  bool malformed_ = false;
};

std::optional<IpAddress> to_address(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() == 4) return IpAddress::v4(std::array<std::uint8_t, 4>{bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() == 16) {
    std::array<std::uint8_t, 16> all{};
    std::memcpy(all.data(), bytes.data(), 16);
    return IpAddress::v6(all);
  }
  return std::nullopt;
}

/// RTA_VIA: a gateway of another family than the route (RFC 8950); family, then the address.
std::optional<IpAddress> to_via(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < 2) return std::nullopt;
  const auto family = load<std::uint16_t>(bytes, 0);
  const auto address = to_address(bytes.subspan(2));
  if (!address || family != (address->is_v4() ? AF_INET : AF_INET6)) return std::nullopt;
  return address;
}

bool is_invented(const IpAddress& gateway, unsigned flags) noexcept {
  return (flags & RTNH_F_ONLINK) != 0 && gateway == IpAddress::v4(0xa9fe0001);
}

/// The attributes of a route message that matter here, gateway and interface also of one RTA_MULTIPATH entry.
struct Fields {
  std::span<const std::uint8_t> destination;
  std::span<const std::uint8_t> multipath;
  std::optional<IpAddress> gateway;
  std::uint32_t ifindex = 0;
  std::uint32_t table = 0;
};

/// False if an attribute is malformed.
bool read_fields(std::span<const std::uint8_t> bytes, Fields& fields) noexcept {
  AttributeReader reader(bytes);
  Attribute attribute;
  while (reader.next(attribute)) {
    const bool is_u32 = attribute.value.size() == sizeof(std::uint32_t);
    switch (attribute.type) {
      case RTA_DST:
        fields.destination = attribute.value;
        break;
      case RTA_GATEWAY:
        fields.gateway = to_address(attribute.value);
        if (!fields.gateway) return false;
        break;
      case RTA_VIA:
        fields.gateway = to_via(attribute.value);
        if (!fields.gateway) return false;
        break;
      case RTA_OIF:
        if (!is_u32) return false;
        fields.ifindex = load<std::uint32_t>(attribute.value, 0);
        break;
      case RTA_TABLE:
        if (!is_u32) return false;
        fields.table = load<std::uint32_t>(attribute.value, 0);
        break;
      case RTA_MULTIPATH:
        fields.multipath = attribute.value;
        break;
      default:
        break;
    }
  }
  return !reader.malformed();
}

class Decoder {
 public:
  Decoder(FpmRouteSink& sink, FpmStatistics& statistics) noexcept : sink_(sink), statistics_(statistics) {}

  /// One netlink message without its header. Nullptr, or what is wrong with it.
  const char* route_message(std::uint16_t type, std::span<const std::uint8_t> body) {
    if (body.size() < sizeof(rtmsg)) return "a route message is shorter than its header";
    const auto header = load<rtmsg>(body, 0);
    const bool v4 = header.rtm_family == AF_INET;
    if (!v4 && header.rtm_family != AF_INET6) return ignore();

    Fields fields;
    fields.table = header.rtm_table;
    if (!read_fields(body.subspan(std::min(align4(sizeof(rtmsg)), body.size())), fields)) {
      return "a route message has a malformed attribute";
    }
    if (header.rtm_protocol != RTPROT_BGP || fields.table != RT_TABLE_MAIN) return ignore();

    const unsigned bits = v4 ? 32 : 128;
    if (header.rtm_dst_len > bits) return "a prefix is longer than its address";
    // A default route may come without RTA_DST.
    IpAddress address = v4 ? IpAddress() : IpAddress::v6({});
    if (!fields.destination.empty()) {
      if (fields.destination.size() * 8 != bits) return "a destination has the length of another address family";
      address = *to_address(fields.destination);
    } else if (header.rtm_dst_len != 0) {
      return "a route has no destination";
    }

    FpmRoute route{.withdrawal = type == RTM_DELROUTE,
                   .prefix = IpPrefix(address, header.rtm_dst_len),
                   .nexthops = {}};
    if (!route.withdrawal) {
      count_ = 0;
      if (const char* problem = collect_nexthops(header, fields)) return problem;
      if (count_ == 0) {
        // A blackhole route, or one that names a group: nothing a packet could be sent to, so the prefix has no route.
        if (header.rtm_type == RTN_UNICAST) ++statistics_.without_nexthops;
        route.withdrawal = true;
      }
      route.nexthops = std::span(nexthops_).first(count_);
    }
    ++statistics_.routes;
    sink_.on_route(route);
    return nullptr;
  }

  const char* ignore() noexcept {
    ++statistics_.ignored;
    return nullptr;
  }

 private:
  const char* collect_nexthops(const rtmsg& header, const Fields& fields) noexcept {
    if (fields.multipath.empty()) {
      if (fields.ifindex != 0) add(fields, header.rtm_flags, 1);
      return nullptr;
    }
    for (auto rest = fields.multipath; !rest.empty();) {
      if (rest.size() < sizeof(rtnexthop)) return "a multipath entry is shorter than its header";
      const auto entry = load<rtnexthop>(rest, 0);
      if (entry.rtnh_len < sizeof(rtnexthop) || entry.rtnh_len > rest.size()) return "a multipath entry has a bad length";
      Fields nested;
      if (!read_fields(rest.subspan(sizeof(rtnexthop), entry.rtnh_len - sizeof(rtnexthop)), nested)) {
        return "a multipath entry has a malformed attribute";
      }
      nested.ifindex = static_cast<std::uint32_t>(entry.rtnh_ifindex);
      if (nested.ifindex != 0) {
        if (count_ == nexthops_.size()) return "a route has more than 256 nexthops";
        add(nested, entry.rtnh_flags, entry.rtnh_hops + 1U);
      }
      rest = rest.subspan(std::min(align4(entry.rtnh_len), rest.size()));
    }
    return nullptr;
  }

  void add(const Fields& fields, unsigned flags, unsigned weight) noexcept {
    FpmNextHop& nexthop = nexthops_[count_++];
    nexthop.ifindex = fields.ifindex;
    nexthop.gateway = fields.gateway;
    if (nexthop.gateway && is_invented(*nexthop.gateway, flags)) nexthop.gateway.reset();
    nexthop.weight = static_cast<std::uint16_t>(weight);
  }

  FpmRouteSink& sink_;
  FpmStatistics& statistics_;
  std::array<FpmNextHop, kMaxNextHops> nexthops_;
  std::size_t count_ = 0;
};

Unexpected bad_frame(const std::string& what) {
  return fail(ErrorCode::kPeer, "FPM stream from zebra is broken: " + what,
              "something other than zebra of FRR 8.4 may have connected");
}

}  // namespace

Result<std::size_t> decode_fpm(std::span<const std::uint8_t> bytes, FpmRouteSink& sink, FpmStatistics& statistics) {
  Decoder decoder(sink, statistics);
  std::size_t consumed = 0;
  while (bytes.size() - consumed >= kFpmHeader) {
    const auto frame = bytes.subspan(consumed);
    if (frame[0] != kFpmVersion) return bad_frame("version " + std::to_string(frame[0]) + " instead of 1");
    if (frame[1] != kFpmTypeNetlink) return bad_frame("message type " + std::to_string(frame[1]) + " instead of 1");
    const std::size_t length = (std::size_t{frame[2]} << 8) | frame[3];
    if (length < kFpmHeader) return bad_frame("frame length " + std::to_string(length));
    if (length > frame.size()) break;

    auto payload = frame.subspan(kFpmHeader, length - kFpmHeader);
    while (!payload.empty()) {
      if (payload.size() < sizeof(nlmsghdr)) return bad_frame("a netlink message is shorter than its header");
      const auto header = load<nlmsghdr>(payload, 0);
      if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > payload.size()) {
        return bad_frame("netlink length " + std::to_string(header.nlmsg_len) + " in a frame with " +
                         std::to_string(payload.size()) + " bytes left");
      }
      const auto body = payload.subspan(sizeof(nlmsghdr), header.nlmsg_len - sizeof(nlmsghdr));
      const char* problem = header.nlmsg_type == RTM_NEWROUTE || header.nlmsg_type == RTM_DELROUTE
                                ? decoder.route_message(header.nlmsg_type, body)
                                : decoder.ignore();
      if (problem != nullptr) return bad_frame(problem);
      payload = payload.subspan(std::min(align4(header.nlmsg_len), payload.size()));
    }
    ++statistics.frames;
    consumed += length;
  }
  return consumed;
}

}  // namespace simplon::bgp
