// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/handover.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>

#include "gateway/forwarder/predecessor.h"

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace sa = ipc::sa;

std::span<const std::uint8_t> view(const SecretBytes& bytes) { return bytes; }

HandedQueue queue(std::uint32_t number, std::uint64_t bits) {
  const bool first = number == 0;
  return {number, 2048, 1024, first ? 256U : 0U, first, !first, first, {bits, bits << 1, 0}, {bits << 20, 0, 0}};
}

SaStore::SavedSa saved_sa(std::uint32_t spi, bool inbound) {
  SaStore::SavedSa saved;
  saved.add.id = {IpAddress::v4(0xc0000201), Spi(spi), 50};
  saved.add.source = IpAddress::v4(0xc0000202);
  saved.add.tunnel = TunnelId(7);
  saved.add.encryption = 20;
  saved.add.integrity = 1024;
  std::array<std::uint8_t, 36> key;
  key.fill(static_cast<std::uint8_t>(spi));
  saved.add.encryption_key = sa::Key(key);
  saved.add.mode = 2;
  saved.add.inbound = inbound;
  saved.session = 99;
  saved.added = MonoTime(3h);
  saved.soft_raised = inbound;
  if (inbound) saved.stale_until = MonoTime(4h);
  saved.progress.usage = {1, 2, 3, 4, 5, 6};
  saved.progress.window_top = 77;
  saved.progress.window = {1, 2};
  return saved;
}

/// 128 frames, two slots, two programs, two host ports.
HandedTables tables() {
  HandedTables h;
  h.instance = 0x1122334455667788;
  h.frames = 128;
  h.slots = 2;
  h.generation = Generation(5);
  h.watchdog = 5s;
  h.programs = {{"wan0", 4, xdp::AttachMode::kNative, true}, {"fab0", 9, xdp::AttachMode::kGeneric, false}};
  h.host_ports = {ipc::AttachmentRef::vpc(Vni(100)), ipc::AttachmentRef::tunnel(TunnelId(7))};
  h.tables = {1, 2, 3};
  return h;
}

/// Three uplinks, the third with a backlog, two SAs, one of everything else.
HandedTraffic traffic() {
  HandedTraffic h;
  h.stopped = MonoTime(2h);
  h.all_frames = tables().all_frames();
  h.uplinks = {{"wan0", 4, MacAddress{{2, 0, 0, 0, 0, 1}}, xdp::AttachMode::kNative, false, {queue(0, 0x0f), queue(1, 0xf00)}},
               {"fab0", 9, MacAddress{{2, 0, 0, 0, 0, 2}}, xdp::AttachMode::kGeneric, false, {queue(0, 0xf0000)}},
               {"fab1", 12, MacAddress{{2, 0, 0, 0, 0, 3}}, xdp::AttachMode::kNative, true, {}}};
  h.connections = {4, 5};
  h.sas.session = 99;
  h.sas.sas = {saved_sa(0xc0000001, true), saved_sa(0x1000, false)};
  sa::Policy policy;
  policy.direction = sa::Direction::kOut;
  policy.tunnel = TunnelId(7);
  policy.spi = Spi(0x1000);
  policy.source.to = policy.destination.to = IpAddress::v4(0xffffffff);
  h.sas.policies = {{policy, 99}};
  h.sas.reserved = {{Spi(0xc0000005), MonoTime(5h)}};
  h.events = {99, {{1, 2, 3, 4}}};
  return h;
}

/// With the checksum made right again: what a forwarder of ours with a bug might write.
SecretBytes resealed(HandedPart part, std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kHeader = 32;
  return seal_handover(part, bytes.subspan(kHeader));
}

TEST(HandedTables, SurviveTheRoundTrip) {
  const HandedTables before = tables();
  EXPECT_EQ(before.descriptors(), 1U + 2U);
  const auto bytes = encode_handover(before);
  const auto after = decode_tables(bytes);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_EQ(after->instance, before.instance);
  EXPECT_EQ(after->generation, before.generation);
  EXPECT_EQ(after->slots, 2U);
  EXPECT_EQ(after->watchdog, 5s);
  EXPECT_EQ(after->programs, before.programs);
  EXPECT_EQ(after->host_ports, before.host_ports);
  EXPECT_EQ(after->tables, before.tables);
  EXPECT_EQ(encode_handover(*after), bytes);
}

TEST(HandedTraffic, SurvivesTheRoundTrip) {
  const HandedTraffic before = traffic();
  // The links, the sockets, control rings of two queues, a backlog.
  EXPECT_EQ(before.descriptors(), 3U + 3U + 2U + 1U);
  const auto bytes = encode_handover(before);
  const auto after = decode_traffic(bytes);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_EQ(after->uplinks, before.uplinks);
  EXPECT_EQ(after->in_use[0] & 0xffff, 0x0f0fU);
  EXPECT_EQ(after->connections, before.connections);
  ASSERT_EQ(after->sas.sas.size(), 2U);
  EXPECT_EQ(after->sas.sas[0].stale_until, MonoTime(4h));
  EXPECT_EQ(after->sas.sas[1].progress.usage.sequence, 3U);
  EXPECT_EQ(after->events.events, before.events.events);
  // Everything else, too: the second encoding is the first.
  EXPECT_EQ(encode_handover(*after), bytes);
}

struct Part {
  HandedPart part;
  SecretBytes bytes;
  bool (*decodes)(std::span<const std::uint8_t>);
};
std::vector<Part> parts() {
  return {{HandedPart::kTables, encode_handover(tables()), [](auto bytes) { return decode_tables(bytes).has_value(); }},
          {HandedPart::kTraffic, encode_handover(traffic()), [](auto bytes) { return decode_traffic(bytes).has_value(); }}};
}

TEST(HandedParts, OfALongerOrShorterLengthAreRefused) {
  for (const Part& part : parts()) {
    ASSERT_TRUE(part.decodes(part.bytes));
    for (std::size_t size = 0; size < part.bytes.size(); ++size) {
      EXPECT_FALSE(part.decodes(view(part.bytes).first(size))) << size;
      if (size >= 32) {
        EXPECT_FALSE(part.decodes(resealed(part.part, view(part.bytes).first(size)))) << size;
      }
    }
    auto longer = part.bytes;
    longer.push_back(0);
    EXPECT_FALSE(part.decodes(longer));
    EXPECT_FALSE(part.decodes(resealed(part.part, longer)));
  }
}

TEST(HandedParts, WithAnyBitFlippedAreRefused) {
  for (Part& part : parts()) {
    for (std::size_t at = 0; at < part.bytes.size(); ++at) {
      const auto bit = static_cast<std::uint8_t>(1 << (at % 8));
      part.bytes[at] ^= bit;
      EXPECT_FALSE(part.decodes(part.bytes)) << at;
      // Also where the checksum says nothing, it is only read, never believed without a check.
      if (at >= 32) static_cast<void>(part.decodes(resealed(part.part, part.bytes)));
      part.bytes[at] ^= bit;
    }
  }
}

TEST(HandedParts, OfAnotherVersionOrKindAreNamed) {
  auto bytes = encode_handover(tables());
  const auto other = decode_traffic(bytes);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().what, HasSubstr("other part"));
  bytes[8] = 77;
  const auto decoded = decode_tables(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_THAT(decoded.error().what, HasSubstr("version 77"));
}

TEST(HandedTables, AreCheckedFieldByField) {
  const auto refused = [](const std::function<void(HandedTables&)>& spoil) {
    HandedTables h = tables();
    spoil(h);
    const auto decoded = decode_tables(encode_handover(h));
    return decoded ? std::string() : decoded.error().what;
  };
  EXPECT_THAT(refused([](HandedTables& h) { h.frames = 0; }), HasSubstr("0 frames"));
  EXPECT_THAT(refused([](HandedTables& h) { h.slots = 1 << 17; }), HasSubstr("131072 slots"));
  EXPECT_THAT(refused([](HandedTables& h) { h.watchdog = 48h; }), HasSubstr("watchdog"));
  EXPECT_THAT(refused([](HandedTables& h) { h.programs[0].interface = "an interface name too long"; }), HasSubstr("interface"));
  EXPECT_THAT(refused([](HandedTables& h) { h.host_ports[0].kind = ipc::AttachmentKind::kNone; }), HasSubstr("kind 0"));
}

TEST(HandedTraffic, NeverGivesAFrameTwoOwners) {
  const auto refused = [](const std::function<void(HandedTraffic&)>& spoil) {
    HandedTraffic h = traffic();
    spoil(h);
    const auto decoded = decode_traffic(encode_handover(h));
    return decoded ? std::string() : decoded.error().what;
  };
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[1].queues[0].receiving[0] = 1; }), HasSubstr("two owners"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[0].sending[0] = 1; }), HasSubstr("two owners"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[1].queues[0].sending.pop_back(); }), HasSubstr("wrong number"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.all_frames = 0; }), HasSubstr("0 frames"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues.clear(); }), HasSubstr("without queues"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].has_backlog = true; }), HasSubstr("queues and a backlog"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[2].has_backlog = false; }), HasSubstr("without queues"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[0].rx_ring = 1000; }), HasSubstr("ring of 1000"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[0].control_ring = 100; }), HasSubstr("control ring of 100"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[1].has_control = true; }), HasSubstr("without places"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].interface = "an interface name too long"; }), HasSubstr("interface"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[0].receiving[2] = 1 << 6; }), HasSubstr("do not exist"));
  EXPECT_THAT(refused([](HandedTraffic& h) { h.uplinks[0].queues[0].receiving[2] = h.uplinks[1].queues[0].sending[2] = 1 << 5; }),
              HasSubstr("two owners"));
}

TEST(HandedParts, ArePackedWithTheirDescriptorsAndTakenOnce) {
  const sys::UniqueFd other(::dup(0));
  const auto packed = pack(tables(), std::array{other.get(), other.get(), other.get()});
  ASSERT_TRUE(packed) << packed.error().message();
  const auto taken = unpack_tables(packed->get());
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_EQ(taken->state.tables, tables().tables);
  EXPECT_EQ(taken->descriptors.size(), 3U);
  EXPECT_FALSE(unpack_tables(packed->get()));
  const auto short_of_one = pack(tables(), std::array{other.get(), other.get()});
  ASSERT_TRUE(short_of_one);
  EXPECT_THAT(unpack_tables(short_of_one->get()).error().what, HasSubstr("2 descriptors"));
}

TEST(Predecessor, WhereNothingWasPassedThereIsNone) {
  ::unsetenv("LISTEN_FDS");
  const auto stored = Predecessor::stored();
  ASSERT_TRUE(stored);
  EXPECT_EQ(*stored, nullptr);
}

}  // namespace
}  // namespace simplon::forwarder
