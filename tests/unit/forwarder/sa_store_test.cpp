// SPDX-License-Identifier: GPL-2.0-or-later
//
// Message charts of the SA protocol: the sequences in which charon calls, as comments, one step each, and then which SAs
// exist and which is active. The sequences are those observed with strongSwan 5.9.8.
#include "gateway/forwarder/sa_store.h"

#include <gmock/gmock.h>

#include <cstring>

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;
namespace sa = ipc::sa;

constexpr TunnelId kTunnel{7};
const IpAddress kUs = IpAddress::v4(0xc0000201);
const IpAddress kPeer = IpAddress::v4(0xc0000202);

sa::Id in_id(std::uint32_t spi) { return {kUs, Spi(spi), 50}; }
sa::Id out_id(std::uint32_t spi) { return {kPeer, Spi(spi), 50}; }

struct Reply {
  std::uint32_t status;
  std::uint64_t value;
};

class SaStoreTest : public ::testing::Test {
 protected:
  forward::Tables tables_;
  FakeClock clock_;
  std::vector<std::vector<std::uint8_t>> events_;
  SaStore store_{tables_, clock_, 42, [this](std::vector<std::uint8_t> event) { events_.push_back(std::move(event)); }};
  std::uint32_t sequence_ = 0;

  void SetUp() override { EXPECT_EQ(ask(sa::Hello{1, "test"}).value, 42U); }

  Reply ask(sa::Body body) {
    const auto bytes = store_.handle({++sequence_, std::move(body)});
    simplon_sa_header header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    EXPECT_EQ(header.sequence, sequence_);
    EXPECT_EQ(header.length, bytes.size());
    if (header.type == SIMPLON_SA_USAGE) {
      simplon_sa_usage usage{};
      std::memcpy(&usage, bytes.data() + sizeof header, sizeof usage);
      return {usage.status, usage.packets};
    }
    simplon_sa_reply reply{};
    std::memcpy(&reply, bytes.data() + sizeof header, sizeof reply);
    return {reply.status, reply.value};
  }

  static sa::Add sa_of(std::uint32_t spi, bool inbound, std::uint8_t key = 1) {
    sa::Add add;
    add.id = inbound ? in_id(spi) : out_id(spi);
    add.source = inbound ? kPeer : kUs;
    add.tunnel = kTunnel;
    add.reqid = 1;
    add.encryption = 20;
    add.integrity = 1024;
    std::array<std::uint8_t, 36> bytes;
    bytes.fill(static_cast<std::uint8_t>(spi + key));
    add.encryption_key = sa::Key(bytes);
    add.replay_window = 1024;
    add.mode = 2;
    add.inbound = inbound;
    add.esn = true;
    sa::Selector any;
    any.to = IpAddress::v4(0xffffffff);
    add.source_selectors = add.destination_selectors = {any};
    return add;
  }
  static sa::Policy policy_of(sa::Direction direction, std::uint32_t spi, std::uint32_t priority = 1) {
    sa::Policy policy;
    policy.direction = direction;
    policy.tunnel = kTunnel;
    policy.reqid = 1;
    policy.priority = priority;
    policy.spi = Spi(spi);
    policy.source.to = policy.destination.to = IpAddress::v4(0xffffffff);
    return policy;
  }

  void add_in(std::uint32_t spi) { EXPECT_EQ(ask(sa_of(spi, true)).status, SIMPLON_SA_OK); }
  void add_out(std::uint32_t spi) { EXPECT_EQ(ask(sa_of(spi, false)).status, SIMPLON_SA_OK); }
  void policies_in(std::uint32_t spi) {
    ask(sa::AddPolicy{policy_of(sa::Direction::kIn, spi)});
    ask(sa::AddPolicy{policy_of(sa::Direction::kForward, spi)});
  }
  void policy_out(std::uint32_t spi) { ask(sa::AddPolicy{policy_of(sa::Direction::kOut, spi)}); }
  void no_policy_out(std::uint32_t spi) { ask(sa::DeletePolicy{policy_of(sa::Direction::kOut, spi)}); }
  void no_policies_in(std::uint32_t spi) {
    ask(sa::DeletePolicy{policy_of(sa::Direction::kIn, spi)});
    ask(sa::DeletePolicy{policy_of(sa::Direction::kForward, spi)});
  }
  void del_in(std::uint32_t spi) { EXPECT_EQ(ask(sa::Delete{in_id(spi)}).status, SIMPLON_SA_OK); }
  void del_out(std::uint32_t spi) { EXPECT_EQ(ask(sa::Delete{out_id(spi)}).status, SIMPLON_SA_OK); }

  /// SPI of the active outbound SA; 0: none.
  [[nodiscard]] std::uint32_t active() const {
    const auto outbound = tables_.outbound(kTunnel);
    return outbound ? outbound->spi().value() : 0;
  }
  /// SPIs the tables receive on.
  [[nodiscard]] std::uint64_t inbound() const { return tables_.counts().inbound_sas; }

  void establish(std::uint32_t in, std::uint32_t out) {
    add_in(in);
    add_out(out);
    policies_in(in);
    policy_out(out);
  }

  struct Expired {
    std::uint32_t spi;
    bool hard;
    friend bool operator==(const Expired&, const Expired&) = default;
  };
  std::vector<Expired> take_expired() {
    std::vector<Expired> expired;
    for (const auto& event : std::exchange(events_, {})) {
      simplon_sa_header header{};
      simplon_sa_expire body{};
      std::memcpy(&header, event.data(), sizeof header);
      EXPECT_EQ(header.type, SIMPLON_SA_EXPIRE);
      EXPECT_EQ(header.sequence, 0U);
      std::memcpy(&body, event.data() + sizeof header, sizeof body);
      expired.push_back({body.id.spi, body.hard != 0});
    }
    return expired;
  }
};

TEST_F(SaStoreTest, SetUpActivatesWithThePolicy) {
  // add_sa IN, add_sa OUT
  add_in(0x1011);
  add_out(0x1021);
  EXPECT_EQ(inbound(), 1U);
  EXPECT_EQ(active(), 0U);
  // add_policy IN, FWD, OUT
  policies_in(0x1011);
  EXPECT_EQ(active(), 0U);
  policy_out(0x1021);
  EXPECT_EQ(active(), 0x1021U);
}

TEST_F(SaStoreTest, RekeyAsInitiator) {
  establish(0x1011, 0x1021);
  // add_sa IN new, add_sa OUT new: nothing switches yet
  add_in(0x1012);
  add_out(0x1022);
  EXPECT_EQ(inbound(), 2U);
  EXPECT_EQ(active(), 0x1021U);
  // add_policy IN, FWD, OUT new: switched
  policies_in(0x1012);
  policy_out(0x1022);
  EXPECT_EQ(active(), 0x1022U);
  // del_policy OUT old, del_sa OUT old
  no_policy_out(0x1021);
  del_out(0x1021);
  EXPECT_EQ(active(), 0x1022U);
  EXPECT_EQ(inbound(), 2U);
  // 5 s later: del_policy IN, FWD old, del_sa IN old
  no_policies_in(0x1011);
  del_in(0x1011);
  EXPECT_EQ(inbound(), 1U);
  EXPECT_EQ(store_.size(), 2U);
}

TEST_F(SaStoreTest, RekeyAsResponderSwitchesWhenThePeerDeletes) {
  establish(0x1011, 0x1021);
  // on the request: add_sa IN and OUT, add_policy IN, FWD
  add_in(0x1012);
  add_out(0x1022);
  policies_in(0x1012);
  EXPECT_EQ(active(), 0x1021U);
  // on the peer's DELETE: add_policy OUT new, del_policy OUT old, del_sa OUT old
  policy_out(0x1022);
  EXPECT_EQ(active(), 0x1022U);
  no_policy_out(0x1021);
  del_out(0x1021);
  EXPECT_EQ(active(), 0x1022U);
  no_policies_in(0x1011);
  del_in(0x1011);
  EXPECT_EQ(store_.size(), 2U);
}

TEST_F(SaStoreTest, CollisionLoserIsAddedNeverActiveAndDeleted) {
  establish(0x1011, 0x1021);
  // Both sides rekey at once: ours (0x1012, 0x1022) and the peer's (0x1013, 0x1023).
  add_in(0x1013);
  add_out(0x1023);
  policies_in(0x1013);
  add_in(0x1012);
  add_out(0x1022);
  policies_in(0x1012);
  policy_out(0x1022);
  EXPECT_EQ(active(), 0x1022U);
  EXPECT_EQ(inbound(), 3U);
  // The peer's has lost: deleted without ever having had an OUT policy.
  no_policies_in(0x1013);
  del_in(0x1013);
  del_out(0x1023);
  EXPECT_EQ(active(), 0x1022U);
  no_policy_out(0x1021);
  del_out(0x1021);
  no_policies_in(0x1011);
  del_in(0x1011);
  EXPECT_EQ(active(), 0x1022U);
  EXPECT_EQ(store_.size(), 2U);
}

TEST_F(SaStoreTest, DeletingTheNewPolicyFallsBackToTheOldOne) {
  establish(0x1011, 0x1021);
  add_in(0x1012);
  add_out(0x1022);
  policy_out(0x1022);
  EXPECT_EQ(active(), 0x1022U);
  no_policy_out(0x1022);
  EXPECT_EQ(active(), 0x1021U);
}

TEST_F(SaStoreTest, DeletingTheActiveSaFallsBackToo) {
  establish(0x1011, 0x1021);
  add_out(0x1022);
  policy_out(0x1022);
  del_out(0x1022);
  EXPECT_EQ(active(), 0x1021U);
  del_out(0x1021);
  EXPECT_EQ(active(), 0U);
}

TEST_F(SaStoreTest, RefusedAddIsFollowedByDeletionsOfWhatIsNotThere) {
  // add_sa IN refused: the suite is AES-CCM
  auto add = sa_of(0x1011, true);
  add.encryption = 16;
  EXPECT_EQ(ask(add).status, SIMPLON_SA_NOT_SUPPORTED);
  // charon still calls del_policy IN, FWD and del_sa for both
  no_policies_in(0x1011);
  del_in(0x1011);
  del_out(0x1021);
  EXPECT_EQ(store_.size(), 0U);
  // and the tunnel comes up with a good suite afterwards
  establish(0x1012, 0x1022);
  EXPECT_EQ(active(), 0x1022U);
}

TEST_F(SaStoreTest, RefusesWhatTheDataPathDoesNotDo) {
  const auto status_with = [this](auto change) {
    auto add = sa_of(0x1031, true);
    change(add);
    return ask(add).status;
  };
  EXPECT_EQ(status_with([](sa::Add& a) { a.mode = 1; }), SIMPLON_SA_NOT_SUPPORTED);
  EXPECT_EQ(status_with([](sa::Add& a) { a.id.protocol = 51; }), SIMPLON_SA_NOT_SUPPORTED);
  EXPECT_EQ(status_with([](sa::Add& a) { a.integrity = 12; }), SIMPLON_SA_NOT_SUPPORTED);
  EXPECT_EQ(status_with([](sa::Add& a) { a.tunnel = TunnelId(0); }), SIMPLON_SA_NOT_SUPPORTED);
  EXPECT_EQ(status_with([](sa::Add& a) { a.encryption_key = sa::Key(std::array<std::uint8_t, 17>{}); }),
            SIMPLON_SA_NOT_SUPPORTED);
  EXPECT_EQ(store_.size(), 0U);
}

TEST_F(SaStoreTest, EverySuiteIsKnownByItsTransformsAndKeyLengths) {
  struct Row {
    std::uint16_t encryption;
    std::size_t key;
    std::uint16_t integrity;
    std::size_t integrity_key;
    const char* suite;
  };
  // RFC 7296 section 3.3.2 for the numbers; RFC 4106 section 8.1, RFC 7634 section 2 and RFC 4868 section 2.1.1 for the keys.
  const Row rows[] = {{20, 20, 1024, 0, "aes128gcm16"},   {20, 28, 1024, 0, "aes192gcm16"},
                      {20, 36, 0, 0, "aes256gcm16"},      {28, 36, 1024, 0, "chacha20poly1305"},
                      {12, 16, 12, 32, "aes128-sha256"},  {12, 24, 12, 32, "aes192-sha256"},
                      {12, 32, 12, 32, "aes256-sha256"},  {12, 16, 13, 48, "aes128-sha384"},
                      {12, 24, 13, 48, "aes192-sha384"},  {12, 32, 13, 48, "aes256-sha384"},
                      {12, 16, 14, 64, "aes128-sha512"},  {12, 24, 14, 64, "aes192-sha512"},
                      {12, 32, 14, 64, "aes256-sha512"},  {11, 0, 12, 32, "null-sha256"},
                      {11, 0, 13, 48, "null-sha384"},     {11, 0, 14, 64, "null-sha512"}};
  std::uint32_t spi = 0x2000;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.suite);
    auto add = sa_of(++spi, true);
    add.encryption = row.encryption;
    add.integrity = row.integrity;
    add.encryption_key = sa::Key(std::vector<std::uint8_t>(row.key, 1));
    add.integrity_key = sa::Key(std::vector<std::uint8_t>(row.integrity_key, 2));
    EXPECT_EQ(ask(add).status, SIMPLON_SA_OK);
    EXPECT_EQ(store_.stats().back().suite, row.suite);
    EXPECT_EQ(ask(add).status, SIMPLON_SA_OK) << "the same again";
    if (row.integrity_key != 0) {
      add.integrity_key = sa::Key(std::vector<std::uint8_t>(row.integrity_key, 3));
      EXPECT_EQ(ask(add).status, SIMPLON_SA_EXISTS) << "another integrity key is another SA";
    }
    add.id.spi = Spi(0x3000);
    add.integrity_key = sa::Key(std::vector<std::uint8_t>(row.integrity_key == 0 ? 20 : row.integrity_key - 1, 2));
    EXPECT_EQ(ask(add).status, SIMPLON_SA_NOT_SUPPORTED);
  }
  EXPECT_EQ(store_.size(), std::size(rows));
}

TEST_F(SaStoreTest, AddingAgainKeepsTheRuntime) {
  establish(0x1011, 0x1021);
  const auto before = tables_.outbound(kTunnel);
  before->runtime().sequence.store(1000);
  EXPECT_EQ(ask(sa_of(0x1021, false)).status, SIMPLON_SA_OK);
  EXPECT_EQ(tables_.outbound(kTunnel), before);
  EXPECT_EQ(before->usage().sequence, 1000U);
  // With another key it is another SA: never under the same SPI.
  EXPECT_EQ(ask(sa_of(0x1021, false, 9)).status, SIMPLON_SA_EXISTS);
  EXPECT_EQ(tables_.outbound(kTunnel), before);
}

TEST_F(SaStoreTest, UpdateMovesTheSaAndKeepsTheRuntime) {
  establish(0x1011, 0x1021);
  const auto before = tables_.outbound(kTunnel);
  before->runtime().sequence.store(1000);
  const IpAddress moved = IpAddress::v4(0xc0000209);
  // update_sa: the peer moved behind a NAT
  EXPECT_EQ(ask(sa::Update{out_id(0x1021), kUs, moved, 4500, 61234, true}).status, SIMPLON_SA_OK);
  EXPECT_EQ(tables_.outbound(kTunnel), before);
  EXPECT_EQ(before->usage().sequence, 1000U);
  EXPECT_EQ(before->path().destination, moved);
  EXPECT_TRUE(before->path().encap);
  EXPECT_EQ(before->path().destination_port, 61234);
  // del_sa uses the new address
  EXPECT_EQ(ask(sa::Delete{{moved, Spi(0x1021), 50}}).status, SIMPLON_SA_OK);
  EXPECT_EQ(active(), 0U);
  EXPECT_EQ(ask(sa::Update{out_id(0x1021), kUs, moved, 4500, 61234, true}).status, SIMPLON_SA_NOT_FOUND);
}

TEST_F(SaStoreTest, QueryCounts) {
  establish(0x1011, 0x1021);
  tables_.outbound(kTunnel)->runtime().packets.add(5);
  EXPECT_EQ(ask(sa::Query{out_id(0x1021)}).value, 5U);
  EXPECT_EQ(ask(sa::Query{out_id(0x1099)}).status, SIMPLON_SA_NOT_FOUND);
}

TEST_F(SaStoreTest, AllocatedSpisAreInTheRangeAndDiffer) {
  std::set<std::uint64_t> spis;
  for (int i = 0; i < 1000; ++i) {
    const auto reply = ask(sa::AllocSpi{});
    EXPECT_EQ(reply.status, SIMPLON_SA_OK);
    EXPECT_GE(reply.value, 0xc0000000U);
    EXPECT_LE(reply.value, 0xcfffffffU);
    EXPECT_TRUE(spis.insert(reply.value).second);
  }
}

TEST_F(SaStoreTest, TimeExpires) {
  auto add = sa_of(0x1021, false);
  add.limits.soft_seconds = 555;
  add.limits.hard_seconds = 660;
  ask(add);
  policy_out(0x1021);
  clock_.advance(554s);
  store_.tick();
  EXPECT_TRUE(take_expired().empty());
  clock_.advance(1s);
  store_.tick();
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, false}));
  EXPECT_EQ(active(), 0x1021U);
  clock_.advance(105s);
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, true}));
  EXPECT_EQ(active(), 0U);
  EXPECT_EQ(store_.size(), 0U);
  // charon deletes it then
  del_out(0x1021);
}

TEST_F(SaStoreTest, BytesAndPacketsExpire) {
  auto add = sa_of(0x1021, false);
  add.limits.soft_bytes = 1000;
  add.limits.hard_packets = 20;
  ask(add);
  policy_out(0x1021);
  auto& runtime = tables_.outbound(kTunnel)->runtime();
  runtime.packets.add(10);
  runtime.bytes.add(1000);
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, false}));
  runtime.packets.add(10);
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, true}));
}

TEST_F(SaStoreTest, WithoutEsnTheSequenceNumbersExpire) {
  auto add = sa_of(0x1021, false);
  add.esn = false;
  ask(add);
  policy_out(0x1021);
  auto& sequence = tables_.outbound(kTunnel)->runtime().sequence;
  sequence.store((std::uint64_t{3} << 30) - 1);
  store_.tick();
  EXPECT_TRUE(take_expired().empty());
  sequence.store(std::uint64_t{3} << 30);
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, false}));
  sequence.store(0xffffffff);
  store_.tick();
  EXPECT_THAT(take_expired(), ::testing::ElementsAre(Expired{0x1021, true}));
}

TEST_F(SaStoreTest, WithEsnTheyDoNot) {
  ask(sa_of(0x1021, false));
  policy_out(0x1021);
  tables_.outbound(kTunnel)->runtime().sequence.store(std::uint64_t{1} << 40);
  store_.tick();
  EXPECT_TRUE(take_expired().empty());
}

/// charon may decline to follow; every packet tells of the new address again.
TEST_F(SaStoreTest, APeersNewAddressIsToldNowAndThen) {
  auto add = sa_of(0x1011, true);
  add.encap = true;
  add.source_port = add.destination_port = 4500;
  ASSERT_EQ(ask(add).status, SIMPLON_SA_OK);
  forward::Sa::Runtime& runtime = tables_.inbound(Spi(0x1011))->runtime();
  const auto packets_come_from = [&](std::uint16_t port, std::chrono::seconds later) {
    clock_.advance(later);
    runtime.mapping = {kPeer, port};
    runtime.mailbox.store(forward::Sa::Mailbox::kFull);
    store_.tick();
    return std::exchange(events_, {}).size();
  };
  using std::chrono::seconds;
  EXPECT_EQ(packets_come_from(1024, seconds(0)), 1U);
  EXPECT_EQ(packets_come_from(1024, seconds(1)), 0U);
  EXPECT_EQ(packets_come_from(1025, seconds(1)), 1U);
  EXPECT_EQ(packets_come_from(1025, seconds(29)), 0U);
  EXPECT_EQ(packets_come_from(1025, seconds(1)), 1U);
}

TEST_F(SaStoreTest, CharonRestartsAndTheOldSasServeUntilReplaced) {
  establish(0x1011, 0x1021);
  // HELLO with another session
  EXPECT_EQ(ask(sa::Hello{2, "test"}).value, 42U);
  clock_.advance(1h);
  store_.tick();
  EXPECT_EQ(active(), 0x1021U);
  EXPECT_EQ(inbound(), 1U);
  // The new life negotiates.
  add_in(0x1012);
  add_out(0x1022);
  policies_in(0x1012);
  EXPECT_EQ(active(), 0x1021U);
  policy_out(0x1022);
  EXPECT_EQ(active(), 0x1022U);
  // The old inbound SA receives for the grace time.
  clock_.advance(SaStore::kStaleGrace - 1s);
  store_.tick();
  EXPECT_EQ(inbound(), 2U);
  clock_.advance(1s);
  store_.tick();
  EXPECT_EQ(inbound(), 1U);
  EXPECT_EQ(store_.size(), 2U);
  EXPECT_EQ(active(), 0x1022U);
  EXPECT_TRUE(events_.empty());
}

/// What the operator does not want any more does not outlive its charon.
TEST_F(SaStoreTest, WhatIsRenouncedEndsWithItsCharon) {
  establish(0x1011, 0x1021);
  store_.renounce(kTunnel);
  clock_.advance(1h);
  store_.tick();
  EXPECT_EQ(active(), 0x1021U) << "this charon's to end";
  // Negotiated since.
  establish(0x1012, 0x1022);
  ask(sa::Hello{2, "test"});
  store_.tick();
  EXPECT_EQ(store_.size(), 2U);
  EXPECT_EQ(inbound(), 1U);
  EXPECT_EQ(active(), 0x1022U);
  EXPECT_TRUE(events_.empty());
  store_.renounce(TunnelId(99));
  store_.renounce(kTunnel);
  store_.tick();
  EXPECT_EQ(store_.size(), 0U);
  EXPECT_EQ(active(), 0U);
  EXPECT_EQ(inbound(), 0U);
}

TEST_F(SaStoreTest, AnOldInboundSaServesAsLongAsThePeerUsesIt) {
  establish(0x1011, 0x1021);
  const auto old = tables_.inbound(Spi(0x1011));
  ask(sa::Hello{2, "test"});
  add_in(0x1012);
  add_out(0x1022);
  policy_out(0x1022);
  for (int i = 0; i < 5; ++i) {
    clock_.advance(SaStore::kStaleGrace - 1s);
    using std::chrono::seconds;
    old->runtime().last_use = std::chrono::duration_cast<seconds>(clock_.now().time_since_epoch()).count();
    store_.tick();
    EXPECT_EQ(inbound(), 2U);
  }
  clock_.advance(SaStore::kStaleGrace);
  store_.tick();
  EXPECT_EQ(inbound(), 1U);
}

TEST_F(SaStoreTest, StaleSasExpireSilently) {
  auto add = sa_of(0x1021, false);
  add.limits.hard_seconds = 60;
  ask(add);
  policy_out(0x1021);
  ask(sa::Hello{2, "test"});
  clock_.advance(60s);
  store_.tick();
  EXPECT_EQ(active(), 0U);
  EXPECT_TRUE(events_.empty());
}

TEST_F(SaStoreTest, TheSameSessionReconnectsAndNothingChanges) {
  establish(0x1011, 0x1021);
  ask(sa::Hello{1, "test"});
  policy_out(0x1021);
  clock_.advance(1h);
  store_.tick();
  EXPECT_EQ(active(), 0x1021U);
  EXPECT_EQ(inbound(), 1U);
}

TEST_F(SaStoreTest, AnotherProcessGoesOn) {
  establish(0xc0000001, 0x1001);
  // A rekey in its middle: two SAs per direction, the newer outbound one active.
  establish(0xc0000002, 0x1002);
  tables_.outbound(kTunnel)->runtime().sequence = 4711;
  tables_.outbound(kTunnel)->runtime().bytes.add(1000);
  const auto reserved = ask(sa::AllocSpi{}).value;
  clock_.advance(100s);
  const auto snapshot = store_.snapshot();
  ASSERT_EQ(snapshot.sas.size(), 4U);

  forward::Tables tables;
  std::vector<std::vector<std::uint8_t>> events;
  SaStore store(tables, clock_, 42, [&](std::vector<std::uint8_t> event) { events.push_back(std::move(event)); });
  const auto restored = store.restore(snapshot);
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(tables.counts().inbound_sas, 2U);
  ASSERT_NE(tables.outbound(kTunnel), nullptr);
  EXPECT_EQ(tables.outbound(kTunnel)->spi(), Spi(0x1002));
  EXPECT_EQ(tables.outbound(kTunnel)->usage().sequence, 4711U);
  EXPECT_EQ(tables.outbound(kTunnel)->usage().bytes, 1000U);
  for (const auto& stats : store.stats()) EXPECT_EQ(stats.age_seconds, 100U);
  // The plugin sees the same instance, adds nothing, and may add again what it added: sequence numbers go on.
  const auto again = store.handle({1, sa_of(0x1002, false)});
  EXPECT_EQ(store.size(), 4U);
  EXPECT_EQ(tables.outbound(kTunnel)->usage().sequence, 4711U);
  // The end of the rekey.
  static_cast<void>(store.handle({2, sa::DeletePolicy{policy_of(sa::Direction::kOut, 0x1002)}}));
  EXPECT_EQ(tables.outbound(kTunnel)->spi(), Spi(0x1001));
  EXPECT_TRUE(std::any_of(snapshot.reserved.begin(), snapshot.reserved.end(),
                          [&](const auto& entry) { return entry.first.value() == reserved; }));
}

TEST_F(SaStoreTest, AnOutboundSaWithTheSameNumberLeavesAReservationAlone) {
  const auto spi = static_cast<std::uint32_t>(ask(sa::AllocSpi{}).value);
  const auto is_reserved = [&] {
    const auto snapshot = store_.snapshot();
    return std::any_of(snapshot.reserved.begin(), snapshot.reserved.end(), [&](const auto& entry) { return entry.first.value() == spi; });
  };
  EXPECT_EQ(ask(sa_of(spi, false)).status, SIMPLON_SA_OK);
  EXPECT_TRUE(is_reserved());
  EXPECT_EQ(ask(sa::Delete{out_id(spi)}).status, SIMPLON_SA_OK);
  EXPECT_TRUE(is_reserved());
  EXPECT_EQ(ask(sa_of(spi, true)).status, SIMPLON_SA_OK);
  EXPECT_FALSE(is_reserved());
}

TEST_F(SaStoreTest, AnSaThatWasNotLeftAsItMustBeIsRefused) {
  establish(0xc0000001, 0x1001);
  auto snapshot = store_.snapshot();
  snapshot.sas[0].progress.window.pop_back();
  forward::Tables tables;
  SaStore store(tables, clock_, 42, [](std::vector<std::uint8_t>) {});
  EXPECT_FALSE(store.restore(snapshot));
}

}  // namespace
}  // namespace simplon::forwarder
