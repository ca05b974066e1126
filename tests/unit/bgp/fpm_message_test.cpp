// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/fpm_message.h"

#include <gmock/gmock.h>

#include <random>

#include "tests/unit/bgp/fpm_builder.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Seen {
  bool withdrawal;
  IpPrefix prefix;
  std::vector<FpmNextHop> nexthops;
  friend bool operator==(const Seen&, const Seen&) = default;
};

class Collector final : public FpmRouteSink {
 public:
  void on_route(const FpmRoute& route) override {
    seen.push_back({route.withdrawal, route.prefix, {route.nexthops.begin(), route.nexthops.end()}});
  }
  std::vector<Seen> seen;
};

struct Decoded {
  Result<std::size_t> consumed;
  std::vector<Seen> seen;
  FpmStatistics statistics;
};

Decoded decode(const Bytes& bytes) {
  Collector collector;
  FpmStatistics statistics;
  auto consumed = decode_fpm(bytes, collector, statistics);
  return {std::move(consumed), std::move(collector.seen), statistics};
}

FpmNextHop via(std::uint32_t ifindex, const char* gateway = nullptr, std::uint16_t weight = 1) {
  FpmNextHop nexthop;
  nexthop.ifindex = ifindex;
  if (gateway != nullptr) nexthop.gateway = address(gateway);
  nexthop.weight = weight;
  return nexthop;
}

TEST(FpmMessage, RouteWithOneNexthop) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2")};
  const auto frame = FpmBuilder::frame(FpmBuilder::add(prefix("10.1.0.0/16"), nexthops));
  const auto decoded = decode(frame);
  EXPECT_EQ(decoded.consumed, frame.size());
  EXPECT_THAT(decoded.seen, ElementsAre(Seen{false, prefix("10.1.0.0/16"), nexthops}));
}

TEST(FpmMessage, EqualCostNexthopsWithWeights) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2"), via(8, "169.254.20.2", 3), via(9)};
  const auto decoded = decode(FpmBuilder::frame(FpmBuilder::add(prefix("10.1.0.0/16"), nexthops)));
  EXPECT_THAT(decoded.seen, ElementsAre(Seen{false, prefix("10.1.0.0/16"), nexthops}));
}

TEST(FpmMessage, Ipv6AndIpv4ViaIpv6) {
  const std::vector<FpmNextHop> nexthops = {via(3, "fe80::1")};
  const std::vector<FpmNextHop> two = {via(3, "fd00::1"), via(4, "fd00::2")};
  const auto decoded = decode(FpmBuilder::frame(FpmBuilder::add(prefix("2001:db8::/32"), nexthops)) +
                              FpmBuilder::frame(FpmBuilder::add(prefix("10.0.0.0/8"), nexthops)) +
                              FpmBuilder::frame(FpmBuilder::add(prefix("10.0.0.0/9"), two)));
  EXPECT_THAT(decoded.seen, ElementsAre(Seen{false, prefix("2001:db8::/32"), nexthops},
                                        Seen{false, prefix("10.0.0.0/8"), nexthops},
                                        Seen{false, prefix("10.0.0.0/9"), two}));
}

TEST(FpmMessage, UpdateIsDeleteAndAddInOneFrame) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2")};
  const auto decoded =
      decode(FpmBuilder::frame(FpmBuilder::remove(prefix("10.1.0.0/16")) + FpmBuilder::add(prefix("10.1.0.0/16"), nexthops)));
  EXPECT_EQ(decoded.statistics.frames, 1U);
  EXPECT_THAT(decoded.seen, ElementsAre(Seen{true, prefix("10.1.0.0/16"), {}},
                                        Seen{false, prefix("10.1.0.0/16"), nexthops}));
}

TEST(FpmMessage, InventedGatewayOfLinkLocalNexthopIsLeftOut) {
  auto header = FpmBuilder::route_header(prefix("10.1.0.0/16"));
  header.rtm_flags = RTNH_F_ONLINK;
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.0.1")};
  const auto decoded = decode(FpmBuilder::frame(
      FpmBuilder::netlink(RTM_NEWROUTE, FpmBuilder::body(header, prefix("10.1.0.0/16"), nexthops))));
  ASSERT_THAT(decoded.seen, SizeIs(1));
  EXPECT_THAT(decoded.seen[0].nexthops, ElementsAre(via(7)));
}

TEST(FpmMessage, DefaultRouteMayLackADestination) {
  Bytes body;
  const auto header = FpmBuilder::route_header(IpPrefix());
  FpmBuilder::append(body, &header, sizeof header);
  FpmBuilder::attribute(body, RTA_OIF, 5U);
  const auto decoded = decode(FpmBuilder::frame(FpmBuilder::netlink(RTM_NEWROUTE, body)));
  EXPECT_THAT(decoded.seen, ElementsAre(Seen{false, prefix("0.0.0.0/0"), {via(5)}}));
}

TEST(FpmMessage, OtherProtocolsTablesFamiliesAndMessagesAreIgnored) {
  const std::vector<FpmNextHop> nexthops = {via(7)};
  const auto target = prefix("10.1.0.0/16");
  const auto with = [&](auto change) {
    auto header = FpmBuilder::route_header(target);
    change(header);
    return FpmBuilder::frame(FpmBuilder::netlink(RTM_NEWROUTE, FpmBuilder::body(header, target, nexthops)));
  };
  const auto decoded = decode(with([](rtmsg& header) { header.rtm_protocol = RTPROT_KERNEL; }) +
                              with([](rtmsg& header) { header.rtm_table = 101; }) +
                              with([](rtmsg& header) { header.rtm_family = AF_MPLS; }) +
                              FpmBuilder::frame(FpmBuilder::netlink(RTM_NEWNEXTHOP, Bytes(12))));
  EXPECT_TRUE(decoded.consumed);
  EXPECT_THAT(decoded.seen, IsEmpty());
  EXPECT_EQ(decoded.statistics.ignored, 4U);
}

TEST(FpmMessage, RouteThatOnlyNamesANexthopGroupIsCounted) {
  const auto target = prefix("10.1.0.0/16");
  auto body = FpmBuilder::body(FpmBuilder::route_header(target), target, {});
  FpmBuilder::attribute(body, RTA_NH_ID, 12U);
  const auto decoded = decode(FpmBuilder::frame(FpmBuilder::netlink(RTM_NEWROUTE, body)));
  EXPECT_EQ(decoded.statistics.without_nexthops, 1U);
  ASSERT_THAT(decoded.seen, SizeIs(1));
  EXPECT_TRUE(decoded.seen[0].withdrawal);
}

TEST(FpmMessage, EveryPrefixOfAStreamIsIncompleteOrWholeFrames) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2"), via(8, "169.254.20.2")};
  const auto first = FpmBuilder::frame(FpmBuilder::add(prefix("10.1.0.0/16"), nexthops));
  const auto stream = first + FpmBuilder::frame(FpmBuilder::remove(prefix("10.1.0.0/16")));
  for (std::size_t length = 0; length <= stream.size(); ++length) {
    const auto decoded = decode(Bytes(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(length)));
    ASSERT_TRUE(decoded.consumed) << length;
    EXPECT_EQ(*decoded.consumed, length < first.size() ? 0 : length < stream.size() ? first.size() : stream.size());
  }
}

TEST(FpmMessage, BytesCapturedFromZebra) {
  const auto text = read_data("fpm_capture.bin");
  const auto decoded = decode(Bytes(text.begin(), text.end()));
  ASSERT_TRUE(decoded.consumed);
  EXPECT_EQ(*decoded.consumed, text.size());
  EXPECT_GT(decoded.statistics.ignored, 0U);  // connected routes
  ASSERT_FALSE(decoded.seen.empty());
  EXPECT_EQ(decoded.seen[0].prefix, prefix("10.1.0.0/24"));
  EXPECT_THAT(decoded.seen[0].nexthops, ElementsAre(via(2, "10.0.0.2")));
}

TEST(FpmMessage, LiesAboutLengthsAreErrors) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2"), via(8)};
  const auto good = FpmBuilder::frame(FpmBuilder::add(prefix("10.1.0.0/16"), nexthops));
  const auto broken = [&](std::size_t offset, std::uint8_t value) {
    auto bytes = good;
    bytes[offset] = value;
    return !decode(bytes).consumed.has_value();
  };
  EXPECT_TRUE(broken(0, 2));    // version
  EXPECT_TRUE(broken(1, 2));    // type
  EXPECT_TRUE(decode({1, 1, 0, 3}).consumed.has_value() == false);
  EXPECT_TRUE(broken(4, 15));   // nlmsg_len below its header
  EXPECT_TRUE(broken(4, 255));  // nlmsg_len beyond the frame
  EXPECT_TRUE(broken(21, 33));  // rtm_dst_len
  EXPECT_TRUE(broken(32, 3));   // rta_len below its header
  EXPECT_TRUE(broken(32, 200)); // rta_len beyond the message
  EXPECT_TRUE(broken(32, 7));   // RTA_DST of three bytes
}

TEST(FpmMessage, MultipathEntriesAreBounded) {
  const auto target = prefix("10.1.0.0/16");
  const auto with_multipath = [&](const Bytes& multipath) {
    auto body = FpmBuilder::body(FpmBuilder::route_header(target), target, {});
    FpmBuilder::attribute(body, RTA_MULTIPATH, multipath.data(), multipath.size());
    return decode(FpmBuilder::frame(FpmBuilder::netlink(RTM_NEWROUTE, body))).consumed.has_value();
  };
  EXPECT_FALSE(with_multipath({8, 0, 0}));
  EXPECT_FALSE(with_multipath({7, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_FALSE(with_multipath({9, 0, 0, 0, 1, 0, 0, 0}));
  Bytes many;
  for (int i = 0; i < 257; ++i) many = many + Bytes{8, 0, 0, 0, 1, 0, 0, 0};
  EXPECT_FALSE(with_multipath(many));
  many.resize(256 * 8);
  EXPECT_TRUE(with_multipath(many));
}

TEST(FpmMessage, AnyFlippedByteIsAnErrorOrARoute) {
  const std::vector<FpmNextHop> nexthops = {via(7, "169.254.10.2"), via(8, "169.254.20.2")};
  const auto good = FpmBuilder::frame(FpmBuilder::add(prefix("10.1.0.0/16"), nexthops) +
                                      FpmBuilder::remove(prefix("2001:db8::/32")));
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    auto bytes = good;
    for (auto flips = 1 + random() % 3; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    const auto decoded = decode(bytes);
    EXPECT_LE(decoded.consumed.value_or(0), bytes.size());
  }
}

}  // namespace
}  // namespace simplon::bgp
