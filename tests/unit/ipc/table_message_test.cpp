// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/table_protocol.h"

#include <gmock/gmock.h>

#include <random>

namespace simplon::ipc {
namespace {

using ::testing::HasSubstr;

const IpAddress kV6 = IpAddress::parse("2001:db8::1").value();

Result<TableMessage> through(const TableMessage& message) {
  TableFramer framer;
  framer.append(encode_table_message(message));
  auto envelope = framer.next();
  EXPECT_TRUE(envelope && envelope->has_value());
  return decode_table_message(**envelope);
}

template <class T>
void expect_round_trip(const T& message) {
  const auto decoded = through(message);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(std::get<T>(*decoded), message);
}

std::vector<Object> one_of_each() {
  return {Domain{DomainId(1), "red"},
          Uplink{"eth0"},
          Vpc{Vni(5001), "v", DomainId(1), kV6, 4789, MacAddress{{2, 0, 0, 0, 0, 1}},
              {IpPrefix(IpAddress::v4(0x0a000000), 8), IpPrefix(kV6, 64)}, {IpAddress::v4(1), kV6}, 1450},
          Endpoint{Vni(5001), IpAddress::v4(0x0a000001), MacAddress{{2, 0, 0, 0, 0, 2}}, kV6},
          Tunnel{TunnelId(7), "t", DomainId(1), IpAddress::v4(2), 1400, false},
          HostPort{AttachmentRef::tunnel(TunnelId(7)), "tun7", "simplon-red",
                   {InterfaceAddress{IpAddress::v4(0xa9fe0a01), 30}}, 1400},
          Route{DomainId(1), IpPrefix(IpAddress::v4(0x0a000000), 8), RouteAction::kForward,
                {{AttachmentRef::vpc(Vni(5001)), 3},
                 {AttachmentRef::tunnel(TunnelId(7)), 1},
                 {AttachmentRef::circuit(CircuitId(3)), 1, IpAddress::v4(3)},
                 {AttachmentRef::circuit(CircuitId(3)), 1, kV6},
                 {AttachmentRef::circuit(CircuitId(4)), 2, IpAddress::v4(3), true},
                 {AttachmentRef::tunnel(TunnelId(8)), 1, {}, true}}},
          Circuit{CircuitId(3), "c", DomainId(1), "eth0", 7, 300, 0x8100, 1400, false},
          Acl{"web", true,
              {{"https", true, AclDirection::kTo, false, std::uint8_t{6}, {IpPrefix(kV6, 64)},
                {IpPrefix(IpAddress::v4(0x0a000000), 8)}, {{1024, 65535}}, {{443, 443}, {8000, 8100}}},
               {"rest", false, AclDirection::kFrom, true, {}, {}, {}, {}, {}}}},
          Policy{AttachmentRef::vpc(Vni(5001)), DomainId(1), "web", ReversePath::kStrict, 1, 2, 3, 4, 5},
          Nat{DomainId(1),
              {{"egress", NatKind::kSource, AttachmentRef::tunnel(TunnelId(7)), {IpPrefix(IpAddress::v4(0x0a000000), 8)},
                IpPrefix(IpAddress::v4(0x64400000), 30), {}, 0, 0, 0, 4},
               {"web", NatKind::kDestination, {}, {}, IpPrefix::host(IpAddress::v4(0x64400001)),
                IpPrefix::host(IpAddress::v4(0x0a000005)), 6, 80, 8080, 16}}}};
}

TEST(TableMessage, EveryMessageSurvivesTheWire) {
  expect_round_trip(Hello{1, "simplond 0.1.0", 77, true});
  expect_round_trip(SyncBegin{Epoch(5)});
  expect_round_trip(SyncEnd{Epoch(5), Generation(9)});
  expect_round_trip(Ack{Generation(9), {{3, "route 10.0.0.0/8: no"}}});
  expect_round_trip(StatsRequest{12, 100});
}

PacketFilter some_filter() {
  PacketFilter filter;
  filter.source = IpPrefix(IpAddress::v4(0x0a000000), 8);
  filter.destination = IpPrefix(kV6, 64);
  filter.protocol = 0;
  filter.destination_port = 443;
  return filter;
}

TEST(TableMessage, TracesSurviveTheWire) {
  TraceRequest request;
  request.token = 4;
  request.from = AttachmentRef::tunnel(TunnelId(7));
  request.packet = {0x45, 0, 0};
  request.from_kernel = true;
  request.vtep = kV6;
  expect_round_trip(request);
  request.live = true;
  request.filter = some_filter();
  expect_round_trip(request);
  TraceReply reply;
  reply.token = 4;
  reply.verdict = TraceVerdict::kDropped;
  reply.drop = "no_route";
  reply.remedy = "add a route";
  reply.steps = {{"ip_forward", "packet", "no_route", {{"route", "none", {}, {}}, {"to", "", AttachmentRef::vpc(Vni(5)), {}},
                                                       {"domain", "", {}, DomainId(3)}}},
                 {"transmit", "icmp-error", "", {}}};
  expect_round_trip(reply);
  TraceReply refused;
  refused.error = "no";
  refused.hint = "yes";
  expect_round_trip(refused);
}

TEST(TableMessage, CapturesSurviveTheWire) {
  CaptureRequest request;
  request.points = 5;
  expect_round_trip(request);
  request.attachment = AttachmentRef::vpc(Vni(5001));
  request.uplink = "eth1";
  request.drop = "no_route";
  request.snaplen = 96;
  request.filter = some_filter();
  expect_round_trip(request);
  CaptureData data;
  data.lost = 9;
  CapturedPacket packet;
  packet.time_ns = 1'700'000'000'000'000'000;
  packet.point = CapturePoint::kDropped;
  packet.ethernet = true;
  packet.attachment = AttachmentRef::tunnel(TunnelId(7));
  packet.uplink = "eth1";
  packet.drop = "no_route";
  packet.length = 1500;
  packet.bytes = {1, 2, 3};
  data.packets = {packet, {}};
  expect_round_trip(data);
}

TEST(TableMessage, NonsenseAboutPacketsIsRefused) {
  CaptureRequest nowhere;
  EXPECT_FALSE(through(nowhere));
  TraceRequest nobody;
  EXPECT_FALSE(through(nobody));
  TraceRequest patient;
  patient.from = AttachmentRef::vpc(Vni(5));
  patient.wait_seconds = 61;
  EXPECT_FALSE(through(patient));
}

TEST(TableMessage, StatisticsSurviveTheWire) {
  Stats stats;
  stats.token = 5;
  stats.generation = Generation(6);
  stats.accounting = {1, 2, 3, 4, 5, 6};
  stats.drops = {{"no_route", "RFC 1812", "The domain has no route.", 7}};
  stats.attachments = {{AttachmentRef::vpc(Vni(5)), 1, 2, 3, 4, 5, 6, true, 1450}};
  stats.uplinks = {{"eth0", "native, copy", 2, true, "", 1, 2, 3, 4, "on", 5, 2, 6, 7, 8}};
  SaStats sa;
  sa.spi = Spi(0xc0000001);
  sa.tunnel = TunnelId(7);
  sa.inbound = sa.active = sa.esn = true;
  sa.suite = "aes256gcm16";
  sa.source = IpAddress::v4(1);
  sa.destination = kV6;
  sa.sequence = std::uint64_t{1} << 40;
  stats.sas = {sa};
  stats.neighbors = {{IpAddress::v4(9), "eth0", MacAddress{{1, 2, 3, 4, 5, 6}}, true, 1500},
                     {kV6, "eth0", MacAddress{{1, 2, 3, 4, 5, 7}}, true, 1500, CircuitId(3)}};
  stats.routes = 100;
  stats.endpoints = 200;
  stats.routes_on_backup = 7;
  stats.switches_to_backup = std::uint64_t{1} << 33;
  stats.neighbors[0].learned_mtu = 1400;
  stats.neighbors[0].learned_for_seconds = 599;
  stats.too_big = {{"learned", 1}, {"never_sent", 2}};
  stats.acls = {{"web", {{"https", 5}, {"rest", 0}}}};
  stats.nats = {{DomainId(1), {{"egress", 9}}}};
  stats.connections_used = 1;
  stats.connections_most = 262144;
  ConnectionStats connection;
  connection.domain = DomainId(1);
  connection.protocol = 6;
  connection.state = ConnectionState::kOpen;
  connection.closing = 2;
  connection.source = IpAddress::v4(1);
  connection.destination = kV6;
  connection.source_port = 40000;
  connection.translated_source = IpAddress::v4(2);
  connection.translated_destination = kV6;
  connection.translated_source_port = 2000;
  connection.from = AttachmentRef::vpc(Vni(5));
  connection.packets_out = 7;
  connection.expires_in_seconds = 7440;
  stats.connections = {connection};
  expect_round_trip(stats);
}

TEST(TableMessage, EveryOperationSurvivesTheWire) {
  std::vector<Operation> operations;
  for (const auto& object : one_of_each()) {
    operations.push_back(Operation::upsert(object));
  }
  TableFramer framer;
  framer.append(encode_update(Generation(3), operations));
  const auto decoded = decode_table_message(*framer.next().value());
  ASSERT_TRUE(decoded);
  const auto& update = std::get<Update>(*decoded);
  EXPECT_EQ(update.generation, Generation(3));
  ASSERT_EQ(update.operations.size(), operations.size());
  for (std::size_t i = 0; i < operations.size(); ++i) {
    ASSERT_TRUE(update.operations[i]) << update.operations[i].error().message();
    EXPECT_EQ(*update.operations[i], operations[i]) << key_of(operations[i].object);
  }
}

TEST(TableMessage, ADeletionNeedsTheKeyOnly) {
  std::vector<Operation> operations;
  for (const auto& object : one_of_each()) operations.push_back(Operation::remove(object));
  // Everything but the keys is missing or nonsense.
  std::get<Vpc>(operations[2].object) = Vpc{Vni(5001), "", DomainId(0), {}, 0, {}, {}, {}, 0};
  std::get<Route>(operations[6].object).action = RouteAction::kNone;
  TableFramer framer;
  framer.append(encode_update(Generation(3), operations));
  const auto decoded = decode_table_message(*framer.next().value());
  ASSERT_TRUE(decoded);
  for (const auto& operation : std::get<Update>(*decoded).operations) {
    ASSERT_TRUE(operation) << operation.error().message();
    EXPECT_TRUE(operation->delete_it);
  }
}

std::string refusal_of(const Object& object) {
  const std::vector<Operation> operations = {Operation::upsert(object)};
  TableFramer framer;
  framer.append(encode_update(Generation(1), operations));
  const auto decoded = decode_table_message(*framer.next().value());
  EXPECT_TRUE(decoded);
  const auto& operation = std::get<Update>(*decoded).operations.at(0);
  return operation ? "" : operation.error().what;
}

TEST(TableMessage, AnOperationWithABadFieldIsRefusedByName) {
  EXPECT_THAT(refusal_of(Domain{DomainId(0), "x"}), HasSubstr("domain id is 0"));
  EXPECT_THAT(refusal_of(Uplink{"a-very-long-interface"}), HasSubstr("a-very-long-interface"));
  EXPECT_THAT(refusal_of(Uplink{"../x"}), HasSubstr("is not a name"));
  EXPECT_THAT(refusal_of(Endpoint{Vni(0x1000000), {}, {}, {}}), HasSubstr("VNI 16777216"));
  EXPECT_THAT(refusal_of(HostPort{{AttachmentKind::kNone, 1}, "tun1", "d", {}, 1400}), HasSubstr("kind 0"));
  EXPECT_THAT(refusal_of(HostPort{AttachmentRef::vpc(Vni(1)), "tun1", "d", {{IpAddress::v4(1), 33}}, 1400}),
              HasSubstr("length of 33"));
  Route route{DomainId(1), IpPrefix(IpAddress::v4(0x0a000000), 8), RouteAction::kForward, {}};
  route.nexthops.assign(65, {AttachmentRef::vpc(Vni(1)), 1});
  EXPECT_THAT(refusal_of(route), HasSubstr("65 nexthops"));
  for (std::size_t i = 0; i < 40; ++i) route.nexthops[i].backup = true;
  EXPECT_THAT(refusal_of(route), HasSubstr("65 nexthops"));
  EXPECT_THAT(refusal_of(Circuit{CircuitId(3), "c", DomainId(1), "eth0", 0, 0, 0x88a8, 1500, true}), HasSubstr("vlan is 0"));
  EXPECT_THAT(refusal_of(Circuit{CircuitId(3), "c", DomainId(1), "eth0", 7, 4095, 0x88a8, 1500, true}),
              HasSubstr("outer vlan is 4095"));
  EXPECT_THAT(refusal_of(Circuit{CircuitId(3), "c", DomainId(1), "eth0", 7, 5, 0x9100, 1500, true}), HasSubstr("outer type"));
  EXPECT_THAT(refusal_of(Circuit{CircuitId(3), "c", DomainId(1), "", 7, 5, 0x88a8, 1500, true}), HasSubstr("interface"));
}

TEST(TableFramer, CutsAStreamAnywhere) {
  std::vector<std::uint8_t> stream;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto frame = encode_table_message(StatsRequest{i});
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{7}, stream.size()}) {
    TableFramer framer;
    std::uint64_t expected = 0;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      framer.append(std::span(stream).subspan(at, std::min(step, stream.size() - at)));
      for (;;) {
        auto envelope = framer.next();
        ASSERT_TRUE(envelope);
        if (!envelope->has_value()) break;
        EXPECT_EQ(std::get<StatsRequest>(decode_table_message(**envelope).value()).token, expected++);
      }
    }
    EXPECT_EQ(expected, 20U);
  }
}

TEST(TableFramer, RefusesLyingLengths) {
  for (const std::vector<std::uint8_t>& start :
       {std::vector<std::uint8_t>{0, 0, 0, 0}, {0x01, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff}}) {
    TableFramer framer;
    framer.append(start);
    const auto envelope = framer.next();
    ASSERT_FALSE(envelope);
    EXPECT_EQ(envelope.error().code, ErrorCode::kPeer);
  }
}

TEST(TableMessage, TruncatedAndDamagedMessagesAreErrorsOrOtherMessages) {
  std::vector<Operation> operations;
  for (const auto& object : one_of_each()) operations.push_back(Operation::upsert(object));
  const auto frame = encode_update(Generation(3), operations);
  const std::vector<std::uint8_t> envelope(frame.begin() + 4, frame.end());
  for (std::size_t length = 0; length < envelope.size(); ++length) {
    static_cast<void>(decode_table_message(std::span(envelope).first(length)));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    auto damaged = envelope;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    static_cast<void>(decode_table_message(damaged));
  }
  EXPECT_FALSE(decode_table_message({}));
}

}  // namespace
}  // namespace simplon::ipc
