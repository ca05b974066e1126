// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/sa_decode.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "tests/unit/ipc/sa_wire.h"

namespace simplon::ipc::sa {
namespace {

using ::testing::HasSubstr;

using test::sa_any_ipv4;

constexpr std::uint32_t kSequence = 7;

template <class... Body>
std::vector<std::uint8_t> message(std::uint16_t type, const Body&... body) {
  return test::sa_message(type, kSequence, body...);
}

simplon_sa_address v4(std::uint8_t last) { return test::sa_address(IpAddress::v4(0xc0000000U | last)); }

simplon_sa_add add() {
  simplon_sa_add add{};
  add.id.destination = v4(1);
  add.id.spi = 0xc0000001;
  add.id.protocol = 50;
  add.source = v4(2);
  add.if_id = 7;
  add.encryption = 20;
  add.integrity = 1024;
  add.encryption_key_length = 36;
  for (std::uint8_t i = 0; i < 36; ++i) add.encryption_key[i] = i;
  add.mode = 2;
  add.inbound = 1;
  add.source_selectors = add.destination_selectors = 1;
  add.source_selector[0] = add.destination_selector[0] = sa_any_ipv4();
  add.limits.hard_seconds = 660;
  return add;
}

std::string complaint_of(const simplon_sa_add& body) {
  const auto decoded = decode_request(message(SIMPLON_SA_ADD, body));
  EXPECT_TRUE(decoded);
  const auto* malformed = std::get_if<Malformed>(&*decoded);
  if (malformed == nullptr) return "";
  EXPECT_EQ(malformed->sequence, 7U);
  EXPECT_EQ(malformed->status, SIMPLON_SA_INVALID);
  return malformed->why;
}

TEST(SaDecode, ReadsEveryFieldOfAnAdd) {
  const auto decoded = decode_request(message(SIMPLON_SA_ADD, add()));
  ASSERT_TRUE(decoded);
  const auto& request = std::get<Request>(*decoded);
  EXPECT_EQ(request.sequence, 7U);
  const auto& body = std::get<Add>(request.body);
  EXPECT_EQ(body.id, (Id{IpAddress::v4(0xc0000001), Spi(0xc0000001), 50}));
  EXPECT_EQ(body.source, IpAddress::v4(0xc0000002));
  EXPECT_EQ(body.tunnel, TunnelId(7));
  EXPECT_EQ(body.encryption_key.bytes().size(), 36U);
  EXPECT_EQ(body.encryption_key.bytes()[35], 35);
  EXPECT_TRUE(body.inbound);
  EXPECT_FALSE(body.esn);
  EXPECT_EQ(body.limits.hard_seconds, 660U);
  ASSERT_EQ(body.source_selectors.size(), 1U);
  EXPECT_EQ(body.source_selectors[0].to, IpAddress::v4(0xffffffff));
}

TEST(SaDecode, EveryLieInAnAddIsNamed) {
  EXPECT_EQ(complaint_of(add()), "");
  auto body = add();
  body.encryption_key_length = 65;
  EXPECT_THAT(complaint_of(body), HasSubstr("encryption key has 65 bytes"));
  body = add();
  body.source_selectors = 17;
  EXPECT_THAT(complaint_of(body), HasSubstr("17 source selectors"));
  body = add();
  body.destination_selectors = 0xffffffff;
  EXPECT_THAT(complaint_of(body), HasSubstr("over the limit of 16"));
  body = add();
  body.id.destination.family = 5;
  EXPECT_THAT(complaint_of(body), HasSubstr("address family 5"));
  body = add();
  body.source.family = 6;
  EXPECT_THAT(complaint_of(body), HasSubstr("two families"));
  body = add();
  body.encap = 1;
  EXPECT_THAT(complaint_of(body), HasSubstr("UDP port 0"));
  body = add();
  std::swap(body.source_selector[0].from, body.source_selector[0].to);
  EXPECT_THAT(complaint_of(body), HasSubstr("is not a range"));
  body = add();
  body.source_selector[0].port_from = 10;
  body.source_selector[0].port_to = 9;
  EXPECT_THAT(complaint_of(body), HasSubstr("ports 10 to 9"));
}

TEST(SaDecode, ReadsTheOtherRequests) {
  simplon_sa_hello hello{};
  hello.session = 5;
  std::memset(hello.software, 'x', sizeof hello.software);  // not terminated
  auto decoded = decode_request(message(SIMPLON_SA_HELLO, hello));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<Hello>(std::get<Request>(*decoded).body).software, std::string(32, 'x'));

  EXPECT_TRUE(std::holds_alternative<AllocSpi>(
      std::get<Request>(decode_request(message(SIMPLON_SA_ALLOC_SPI)).value()).body));
  EXPECT_TRUE(std::holds_alternative<Delete>(
      std::get<Request>(decode_request(message(SIMPLON_SA_DELETE, add().id)).value()).body));
  EXPECT_TRUE(std::holds_alternative<Query>(
      std::get<Request>(decode_request(message(SIMPLON_SA_QUERY, add().id)).value()).body));

  simplon_sa_policy policy{};
  policy.direction = SIMPLON_SA_OUT;
  policy.if_id = 7;
  policy.spi = 9;
  policy.source = policy.destination = sa_any_ipv4();
  const auto added = std::get<Request>(decode_request(message(SIMPLON_SA_ADD_POLICY, policy)).value());
  EXPECT_EQ(std::get<AddPolicy>(added.body).policy.spi, Spi(9));
  policy.direction = 4;
  EXPECT_TRUE(std::holds_alternative<Malformed>(decode_request(message(SIMPLON_SA_DELETE_POLICY, policy)).value()));
}

TEST(SaDecode, UnknownTypesAndWrongSizesAreAnswered) {
  EXPECT_TRUE(std::holds_alternative<Malformed>(decode_request(message(63)).value()));
  EXPECT_TRUE(std::holds_alternative<Malformed>(decode_request(message(SIMPLON_SA_ADD, add().id)).value()));
  EXPECT_TRUE(std::holds_alternative<Malformed>(decode_request(message(SIMPLON_SA_ALLOC_SPI, std::uint8_t{0})).value()));
}

TEST(SaDecode, ABadHeaderEndsTheConnection) {
  auto bytes = message(SIMPLON_SA_ALLOC_SPI);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{4}, std::size_t{8}}) {
    auto bad = bytes;
    bad[offset] ^= 0x40;
    EXPECT_FALSE(decode_request(bad)) << offset;
  }
  bytes.pop_back();
  EXPECT_FALSE(decode_request(bytes));
  EXPECT_FALSE(decode_request({}));
  EXPECT_FALSE(decode_request(std::vector<std::uint8_t>(SIMPLON_SA_MAX_MESSAGE + 1)));
}

TEST(SaDecode, DamagedMessagesAreAnsweredOrRefused) {
  const auto whole = message(SIMPLON_SA_ADD, add());
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    auto damaged = whole;
    for (int k = 0; k < 4; ++k) damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    static_cast<void>(decode_request(damaged));
  }
}

TEST(SaDecode, TheLargestMessageFits) { EXPECT_LE(message(SIMPLON_SA_ADD, add()).size(), SIMPLON_SA_MAX_MESSAGE); }

TEST(SaEncode, IsWhatWasDecoded) {
  simplon_sa_add body = add();
  body.reqid = 3;
  body.integrity_key_length = 2;
  body.integrity_key[1] = 9;
  body.replay_window = 128;
  body.esn = body.encap = body.copy_df = body.copy_ecn = body.copy_dscp = 1;
  body.source_port = 4500;
  body.destination_port = 1025;
  body.limits = {1, 2, 3, 4, 5, 6};
  body.source_selectors = 2;
  body.source_selector[1] = sa_any_ipv4();
  body.source_selector[1].protocol = 17;
  auto bytes = message(SIMPLON_SA_ADD, body);
  std::memset(bytes.data() + 12, 0, 4);  // the sequence number
  const auto decoded = decode_request(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(encode_add(std::get<Add>(std::get<Request>(*decoded).body)), bytes);

  simplon_sa_policy policy{SIMPLON_SA_OUT, {}, 7, 1, 2, 0x1001, sa_any_ipv4(), sa_any_ipv4()};
  bytes = message(SIMPLON_SA_ADD_POLICY, policy);
  std::memset(bytes.data() + 12, 0, 4);
  const auto decoded_policy = decode_request(bytes);
  ASSERT_TRUE(decoded_policy);
  EXPECT_EQ(encode_add_policy(std::get<AddPolicy>(std::get<Request>(*decoded_policy).body).policy), bytes);
}

}  // namespace
}  // namespace simplon::ipc::sa
