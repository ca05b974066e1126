// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/charon_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipsec/src/negotiation_log.h"

namespace simplon::ipsec {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;
using vici::Section;

TunnelSpec paris() {
  TunnelSpec spec;
  spec.name = "paris";
  spec.id = TunnelId(3);
  spec.local = IpAddress::v4(0xc0000201);
  spec.remote = IpAddress::v4(0xc0000202);
  spec.local_id = "gw1";
  spec.remote_id = "onprem";
  spec.psk = "secret";
  return spec;
}

const Section& child_of(const Section& message, const std::string& name, const std::string& child) {
  const Section* found = message.section(name);
  EXPECT_NE(found, nullptr);
  found = found->section("children")->section(child);
  EXPECT_NE(found, nullptr);
  return *found;
}

TEST(CharonMessages, ATunnelIsARouteBasedConnectionWithItsIdAsInterface) {
  const Section message = load_conn_message(paris(), false);
  const Section* connection = message.section("paris");
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(connection->text("version"), "2");
  EXPECT_EQ(connection->text("mobike"), "no");
  EXPECT_EQ(connection->text("keyingtries"), "0");
  EXPECT_EQ(connection->text("encap"), "no");
  EXPECT_EQ(connection->text("unique"), "no");
  EXPECT_THAT(*connection->list("local_addrs"), ElementsAre("192.0.2.1"));
  EXPECT_THAT(*connection->list("remote_addrs"), ElementsAre("192.0.2.2"));
  EXPECT_EQ(connection->section("local-1")->text("id"), "gw1");
  EXPECT_EQ(connection->section("remote-1")->text("id"), "onprem");
  const Section& child = child_of(message, "paris", "paris.t3");
  EXPECT_EQ(child.text("if_id_in"), "3");
  EXPECT_EQ(child.text("if_id_out"), "3");
  EXPECT_THAT(*child.list("local_ts"), ElementsAre("0.0.0.0/0", "::/0"));
  EXPECT_THAT(*child.list("remote_ts"), ElementsAre("0.0.0.0/0", "::/0"));
  EXPECT_EQ(child.text("rekey_time"), "3600s");
  EXPECT_EQ(child.text("life_time"), "3960s");
  EXPECT_EQ(child.text("start_action"), "none");
}

TEST(CharonMessages, TheKeyIsOnlyInTheMessageOfTheKey) {
  const auto encoded = vici::encode_packet({vici::Operation::kCommand, "load-conn", load_conn_message(paris(), false)});
  ASSERT_TRUE(encoded);
  EXPECT_EQ(std::string(encoded->begin(), encoded->end()).find("secret"), std::string::npos);
  const Section shared = load_shared_message(paris(), secret_name("paris"), false);
  EXPECT_EQ(shared.text("data"), "secret");
  EXPECT_EQ(shared.text("id"), "simplon-paris");
  EXPECT_THAT(*shared.list("owners"), ElementsAre("onprem")) << "ours would make it everybody's";
  EXPECT_THAT(*load_shared_message(paris(), "x", true).list("owners"), ElementsAre("onprem", "gw1"));
}

TEST(CharonMessages, OptionsReachCharon) {
  TunnelSpec spec = paris();
  spec.remote.reset();
  spec.remote_id.clear();
  spec.force_udp = true;
  spec.ike_proposals = {"aes256-sha256-modp2048"};
  spec.esp_proposals = {"aes128gcm16"};
  spec.child_rekey = std::chrono::seconds(20);
  const Section message = load_conn_message(spec, true);
  const Section* connection = message.section("paris");
  EXPECT_THAT(*connection->list("remote_addrs"), ElementsAre("%any"));
  EXPECT_EQ(connection->section("remote-1")->text("id"), "");
  EXPECT_EQ(connection->text("encap"), "yes");
  EXPECT_EQ(connection->text("unique"), "never");
  EXPECT_THAT(*connection->list("proposals"), ElementsAre("aes256-sha256-modp2048"));
  EXPECT_THAT(*child_of(message, "paris", "paris.t3").list("esp_proposals"), ElementsAre("aes128gcm16"));
  EXPECT_EQ(child_of(message, "paris", "paris.t3").text("life_time"), "50s");
  EXPECT_EQ(child_of(message, "paris", "paris.t3").text("rand_time"), "2s");
}

TEST(CharonMessages, WithoutIdentitiesTheAddressesAreUsed) {
  TunnelSpec spec = paris();
  spec.local_id.clear();
  spec.remote_id.clear();
  const Section message = load_conn_message(spec, false);
  EXPECT_EQ(message.section("paris")->section("local-1")->text("id"), "192.0.2.1");
  EXPECT_EQ(message.section("paris")->section("remote-1")->text("id"), "192.0.2.2");
  EXPECT_THAT(*load_shared_message(spec, secret_name(spec.name), true).list("owners"), ElementsAre("192.0.2.2", "192.0.2.1"));
  spec.remote.reset();
  EXPECT_THAT(*load_shared_message(spec, secret_name(spec.name), false).list("owners"), ElementsAre("192.0.2.1"));
}

TEST(CharonMessages, OurConnectionsAreKnownByTheirChild) {
  EXPECT_TRUE(is_our_connection("paris", {"paris.t3"}));
  EXPECT_TRUE(is_our_connection("paris", {child_name("paris", TunnelId(4294967295))}));
  EXPECT_FALSE(is_our_connection("paris", {"net"}));
  EXPECT_FALSE(is_our_connection("paris", {"paris.t"}));
  EXPECT_FALSE(is_our_connection("paris", {"paris.t3x"}));
  EXPECT_FALSE(is_our_connection("paris", {"rome.t3"}));
  EXPECT_FALSE(is_our_connection("paris", {"paris.t3", "other"}));
  EXPECT_FALSE(is_our_connection("paris", {}));
  EXPECT_EQ(tunnel_of_secret(secret_name("paris")), "paris");
  EXPECT_EQ(tunnel_of_secret(unproven_secret_name("paris")), "paris");
  EXPECT_TRUE(is_unproven_secret(unproven_secret_name("paris")));
  EXPECT_FALSE(is_unproven_secret(secret_name("paris")));
  EXPECT_EQ(tunnel_of_secret("ike-gw"), std::nullopt);
}

TEST(CharonMessages, OnlyWhatAnSaIsMadeOfBreaksIt) {
  const TunnelSpec from = paris();
  EXPECT_EQ(can_change(from, from), Reconfigure::kNothing);
  const auto with = [&](auto change) {
    TunnelSpec to = from;
    change(to);
    return can_change(from, to);
  };
  EXPECT_EQ(with([](TunnelSpec& to) { to.psk = "other"; }), Reconfigure::kInPlace);
  EXPECT_EQ(with([](TunnelSpec& to) { to.child_rekey = std::chrono::seconds(60); }), Reconfigure::kInPlace);
  EXPECT_EQ(with([](TunnelSpec& to) { to.initiate = false; }), Reconfigure::kInPlace);
  EXPECT_EQ(with([](TunnelSpec& to) { to.remote = IpAddress::v4(0xc0000203); }), Reconfigure::kReestablish);
  EXPECT_EQ(with([](TunnelSpec& to) { to.id = TunnelId(4); }), Reconfigure::kReestablish);
  EXPECT_EQ(with([](TunnelSpec& to) { to.esp_proposals = {"aes128gcm16"}; }), Reconfigure::kReestablish);
  EXPECT_EQ(with([](TunnelSpec& to) { to.force_udp = true; }), Reconfigure::kReestablish);
}

Section observed_sa() {
  Section child;
  child.set("name", "paris.t3").set("uniqueid", "2").set("reqid", "1").set("state", "INSTALLED").set("mode", "TUNNEL");
  child.set("protocol", "ESP").set("encap", "yes").set("spi-in", "c0f1fe75").set("spi-out", "e7a6ab39");
  child.set("if-id-in", "00000003").set("encr-alg", "AES_GCM_16").set("encr-keysize", "256").set("dh-group", "ECP_384");
  child.set("esn", "1").set("bytes-in", "1000").set("bytes-out", "18446744073709551615").set("rekey-time", "3314");
  child.set("install-time", "7").set("local-ts", Section::List{"0.0.0.0/0"});
  Section children;
  children.set("paris.t3-2", child);
  Section ike;
  ike.set("uniqueid", "1").set("version", "2").set("state", "ESTABLISHED").set("local-host", "192.0.2.1");
  ike.set("remote-host", "192.0.2.2").set("encr-alg", "AES_GCM_16").set("encr-keysize", "256");
  ike.set("prf-alg", "PRF_HMAC_SHA2_384").set("dh-group", "ECP_384").set("established", "9").set("child-sas", children);
  Section message;
  message.set("up", "yes").set("paris", ike);
  return message;
}

TEST(CharonMessages, AnSaIsReadAsCharonListsIt) {
  const auto ike = parse_sa(observed_sa());
  ASSERT_TRUE(ike);
  EXPECT_EQ(ike->name, "paris");
  EXPECT_EQ(ike->unique_id, 1u);
  EXPECT_EQ(ike->suite, "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384");
  EXPECT_EQ(ike->age_seconds, 9u);
  ASSERT_EQ(ike->children.size(), 1u);
  const ObservedChild& child = ike->children.front();
  EXPECT_EQ(child.if_id, 3u);
  EXPECT_EQ(child.status.spi_in, 0xc0f1fe75u);
  EXPECT_EQ(child.status.spi_out, 0xe7a6ab39u);
  EXPECT_EQ(child.status.suite, "AES_GCM_16-256/ECP_384/ESN");
  EXPECT_TRUE(child.status.encap);
  EXPECT_EQ(child.status.bytes_out, 18446744073709551615u);
  EXPECT_EQ(child.status.rekey_in_seconds, 3314u);
  EXPECT_EQ(ike->installed_child(), &child);
  EXPECT_FALSE(parse_sa(Section{}.set("up", "yes")));
}

TEST(CharonMessages, AnSaIsAdoptedOnlyIfItFits) {
  const auto ike = parse_sa(observed_sa());
  ASSERT_TRUE(ike);
  EXPECT_TRUE(fits(*ike, paris()));
  TunnelSpec spec = paris();
  spec.remote.reset();
  EXPECT_TRUE(fits(*ike, spec));
  spec = paris();
  spec.id = TunnelId(4);
  EXPECT_FALSE(fits(*ike, spec));
  spec = paris();
  spec.local = IpAddress::v4(0xc0000209);
  EXPECT_FALSE(fits(*ike, spec));
  spec = paris();
  spec.remote = IpAddress::v4(0xc0000209);
  EXPECT_FALSE(fits(*ike, spec));
}

Section log_line(unsigned unique_id, const std::string& name, const std::string& text) {
  Section event;
  event.set("group", "IKE").set("level", "1").set("thread", "4");
  if (unique_id != 0) event.set("ikesa-name", name).set("ikesa-uniqueid", std::to_string(unique_id));
  event.set("msg", text);
  return event;
}

TEST(NegotiationLog, LinesAreSortedByIkeSa) {
  NegotiationLog log;
  FakeClock clock;
  EXPECT_EQ(log.add(log_line(0, "", "loaded plugins"), clock.now()), nullptr);
  log.add(log_line(1, "paris", "initiating IKE_SA paris[1] to 192.0.2.2"), clock.now());
  const Negotiation* other = log.add(log_line(2, "(unnamed)", "192.0.2.9 is initiating an IKE_SA"), clock.now());
  ASSERT_NE(other, nullptr);
  EXPECT_FALSE(other->initiator);
  EXPECT_EQ(other->remote, "192.0.2.9");
  EXPECT_EQ(other->name, "");
  other = log.add(log_line(2, "rome", "selected peer config 'rome'"), clock.now());
  EXPECT_EQ(other->name, "rome");
  const Negotiation* ours = log.add(log_line(1, "paris", "received NO_PROPOSAL_CHOSEN notify error"), clock.now());
  ASSERT_NE(ours, nullptr);
  EXPECT_TRUE(ours->initiator);
  EXPECT_THAT(ours->lines,
              ElementsAre("initiating IKE_SA paris[1] to 192.0.2.2", "received NO_PROPOSAL_CHOSEN notify error"));
}

TEST(NegotiationLog, ARefusedStrangerIsKnownByItsAddress) {
  NegotiationLog log;
  const Negotiation* stranger =
      log.add(log_line(7, "(unnamed)", "no IKE config found for 192.0.2.2...192.0.2.1, sending NO_PROPOSAL_CHOSEN"),
              MonoTime{});
  ASSERT_NE(stranger, nullptr);
  EXPECT_EQ(stranger->remote, "192.0.2.1");
}

TEST(NegotiationLog, EachAttemptStartsAnewAndIsTimed) {
  NegotiationLog log;
  FakeClock clock;
  log.add(log_line(1, "paris", "initiating IKE_SA paris[1] to 192.0.2.2"), clock.now());
  log.add(log_line(1, "paris", "retransmit 1 of request with message ID 0"), clock.now());
  clock.advance(std::chrono::seconds(30));
  const MonoTime second = clock.now();
  const Negotiation* again = log.add(log_line(1, "paris", "initiating IKE_SA paris[1] to 192.0.2.2"), second);
  EXPECT_THAT(again->lines, Not(Contains("retransmit 1 of request with message ID 0")));
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(log.finish(1), second);
  EXPECT_EQ(log.finish(1), std::nullopt);
}

TEST(NegotiationLog, ALaterChildIsTimedByItself) {
  NegotiationLog log;
  FakeClock clock;
  const MonoTime first = clock.now();
  log.add(log_line(1, "paris", "initiating IKE_SA paris[1] to 192.0.2.2"), first);
  clock.advance(std::chrono::seconds(1));
  log.add(log_line(1, "paris", "establishing CHILD_SA paris.t3{1}"), clock.now());
  EXPECT_EQ(log.finish(1), first);
  // A rekeying, and much later a child that replaces an expired one.
  clock.advance(std::chrono::seconds(100));
  log.add(log_line(1, "paris", "establishing CHILD_SA paris.t3{2} reqid 1"), clock.now());
  clock.advance(std::chrono::seconds(100));
  const MonoTime later = clock.now();
  log.add(log_line(1, "paris", "establishing CHILD_SA paris.t3{3} reqid 1"), later);
  EXPECT_EQ(log.finish(1), later);
  // Nothing said when this one began.
  log.add(log_line(1, "paris", "CHILD_SA paris.t3{4} established"), clock.now());
  EXPECT_EQ(log.finish(1), std::nullopt);
}

TEST(NegotiationLog, IsBounded) {
  NegotiationLog log;
  for (unsigned i = 1; i <= NegotiationLog::kMaxNegotiations + 10; ++i) {
    log.add(log_line(i, "paris", "initiating IKE_SA"), MonoTime{});
  }
  EXPECT_EQ(log.size(), NegotiationLog::kMaxNegotiations);
  const Negotiation* last = nullptr;
  for (unsigned i = 0; i < 1000; ++i) last = log.add(log_line(99999, "paris", std::to_string(i)), MonoTime{});
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->lines.size(), NegotiationLog::kMaxLines);
  EXPECT_EQ(last->lines.back(), "999");
  log.forget_connection("paris");
  EXPECT_EQ(log.size(), 0u);
}

}  // namespace
}  // namespace simplon::ipsec
