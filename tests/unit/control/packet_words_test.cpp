// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/packet_words.h"

#include <gmock/gmock.h>

#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/tcp.h"
#include "tests/unit/config/sample.h"

namespace simplon::daemon {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

ipc::PacketQuery query(const std::string& source, const std::string& destination, const std::string& protocol = {}) {
  ipc::PacketQuery made;
  made.source = source;
  made.destination = destination;
  made.protocol = protocol;
  return made;
}
Bytes built(const ipc::PacketQuery& packet) {
  auto bytes = build_packet(packet);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes.value_or(Bytes{});
}

TEST(PacketWords, APacketIsWhatItsWordsSay) {
  ipc::PacketQuery words = query("10.1.0.5", "192.168.7.9", "tcp");
  words.destination_port = 443;
  words.source_port = 1025;
  words.flags = "syn,ack";
  words.df = true;
  words.ttl = 9;
  words.tos = 184;
  words.size = 100;
  const Bytes packet = built(words);
  ASSERT_EQ(packet.size(), 100U);
  const wire::Ipv4Header* ip = wire::parse_ipv4(packet);
  ASSERT_NE(ip, nullptr);
  EXPECT_TRUE(wire::ipv4_checksum_ok(*ip));
  EXPECT_TRUE(ip->dont_fragment());
  EXPECT_EQ(ip->ttl, 9);
  EXPECT_EQ(ip->tos, 184);
  EXPECT_EQ(ip->protocol, 6);
  const std::span segment = std::span(packet).subspan(20);
  EXPECT_EQ(segment[13], 0x12);
  EXPECT_NE(wire::find_mss(segment), 0U);
  EXPECT_TRUE(wire::checksum_ok(segment, wire::pseudo_header_sum(std::span(packet).subspan(12, 8), 6, 80)));
}

TEST(PacketWords, EveryProtocolAndFamilyHasRightChecksums) {
  for (const std::string protocol : {"", "tcp", "udp", "icmp", "47"}) {
    EXPECT_NE(wire::parse_ipv4(built(query("10.1.0.5", "10.2.0.9", protocol))), nullptr) << protocol;
  }
  for (const std::string protocol : {"tcp", "udp", "icmpv6", ""}) {
    ipc::PacketQuery words = query("fd00::5", "fd01::9", protocol);
    words.size = 1280;
    const Bytes packet = built(words);
    const wire::Ipv6Header* ip = wire::parse_ipv6(packet);
    ASSERT_NE(ip, nullptr) << protocol;
    EXPECT_TRUE(wire::checksum_ok(std::span(packet).subspan(40),
                                  wire::pseudo_header_sum(std::span(packet).subspan(8, 32), ip->next_header, 1240)))
        << protocol;
  }
  EXPECT_EQ(built(query("10.1.0.5", "10.2.0.9"))[9], 1) << "a ping unless said otherwise";
}

TEST(PacketWords, WhatIsNoPacketIsNamed) {
  struct Wrong {
    void (*change)(ipc::PacketQuery&);
    const char* what;
  };
  const std::vector<Wrong> list = {
      {[](ipc::PacketQuery& q) { q.source.clear(); }, "the source is missing"},
      {[](ipc::PacketQuery& q) { q.destination = "10.0.0"; }, "the destination '10.0.0' is no address"},
      {[](ipc::PacketQuery& q) { q.destination = "fd00::1"; }, "are of different families"},
      {[](ipc::PacketQuery& q) { q.protocol = "gre"; }, "protocol 'gre' is not known"},
      {[](ipc::PacketQuery& q) { q.protocol = "256"; }, "protocol '256' is not known"},
      {[](ipc::PacketQuery& q) { q.destination_port = 65536; }, "the destination port is 65536"},
      {[](ipc::PacketQuery& q) { q.ttl = 256; }, "the TTL is 256"},
      {[](ipc::PacketQuery& q) { q.flags = "syn,xmas"; }, "there is no TCP flag 'xmas'"},
      {[](ipc::PacketQuery& q) { q.size = 39; }, "a size of 39 bytes"},
      {[](ipc::PacketQuery& q) { q.size = 9001; }, "a size of 9001 bytes"},
      {[](ipc::PacketQuery& q) { q.protocol = "icmp"; }, "ports without TCP or UDP"},
  };
  for (const Wrong& wrong : list) {
    ipc::PacketQuery words = query("10.0.0.1", "10.0.0.2", "tcp");
    words.destination_port = 443;
    wrong.change(words);
    const auto packet = build_packet(words);
    ASSERT_FALSE(packet) << wrong.what;
    EXPECT_THAT(packet.error().what, HasSubstr(wrong.what));
    EXPECT_FALSE(packet.error().hint.empty());
  }
}

TEST(PacketWords, FiltersTakeAddressesAndNetworks) {
  ipc::PacketQuery words = query("10.0.0.5", "192.168.0.0/16", "udp");
  words.host = "fd00::/8";
  words.port = 53;
  const auto filter = filter_of(words);
  ASSERT_TRUE(filter) << filter.error().message();
  EXPECT_EQ(filter->source->to_string(), "10.0.0.5/32");
  EXPECT_EQ(filter->destination->to_string(), "192.168.0.0/16");
  EXPECT_EQ(filter->host->to_string(), "fd00::/8");
  EXPECT_EQ(filter->protocol, 17);
  EXPECT_EQ(filter->port, 53);
  words.host = "10.0.0.5/8";
  EXPECT_FALSE(filter_of(words)) << "host bits";
  words.host.clear();
  words.port = 0;
  EXPECT_FALSE(filter_of(words));
  EXPECT_EQ(filter_of({}).value(), ipc::PacketFilter{});
}

TEST(PacketWords, PlacesAreFoundOrGuessed) {
  GatewayConfig config;
  for (const auto& [name, vni] : {std::pair{"red", 100U}, std::pair{"both", 200U}}) {
    VpcConfig vpc;
    vpc.name = name;
    vpc.vni = Vni(vni);
    config.vpcs.push_back(vpc);
  }
  for (const auto* name : {"paris", "both"}) {
    TunnelConfig tunnel;
    tunnel.name = name;
    config.tunnels.push_back(tunnel);
  }
  config::TemporaryFolder folder;
  auto ids = config::IdRegistry::open(folder.path().string());
  ASSERT_TRUE(ids);
  EXPECT_EQ(find_place("vpc:red", config, *ids)->attachment, ipc::AttachmentRef::vpc(Vni(100)));
  EXPECT_EQ(find_place("red", config, *ids)->kind, "vpc");
  EXPECT_THAT(find_place("both", config, *ids).error().what, HasSubstr("a VPC and a tunnel are called both"));
  EXPECT_THAT(find_place("vpc:rod", config, *ids).error().hint, HasSubstr("did you mean 'vpc:red'?"));
  EXPECT_THAT(find_place("tunnel:pariss", config, *ids).error().hint, HasSubstr("did you mean 'tunnel:paris'?"));
  EXPECT_THAT(find_place("", config, *ids).error().hint, HasSubstr("vpc:red"));
  EXPECT_FALSE(find_place("host:red", config, *ids));
}

}  // namespace
}  // namespace simplon::daemon
