// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/charon_messages.h"

#include <algorithm>

namespace simplon::ipsec {
namespace {

using vici::Section;

constexpr std::string_view kSecretPrefix = "simplon-";
constexpr std::string_view kUnprovenSuffix = "/unproven";  // no name of a tunnel has a slash

std::string seconds(std::chrono::seconds value) { return std::to_string(value.count()) + "s"; }

/// "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384", "AES_GCM_16-256/ECP_384/ESN"
std::string suite_of(const Section& sa) {
  std::string suite(sa.text("encr-alg"));
  if (const auto size = sa.text("encr-keysize"); !size.empty()) suite += "-" + std::string(size);
  for (const std::string_view part : {"integ-alg", "prf-alg", "dh-group"}) {
    if (const auto value = sa.text(part); !value.empty()) suite += "/" + std::string(value);
  }
  if (sa.text("esn") == "1") suite += "/ESN";
  return suite;
}

std::string local_identity(const TunnelSpec& spec) { return spec.local_id.empty() ? spec.local.to_string() : spec.local_id; }

ObservedChild parse_child(const Section& section) {
  ObservedChild child;
  child.name = section.text("name");
  child.unique_id = static_cast<std::uint32_t>(section.number("uniqueid"));
  child.if_id = section.hex("if-id-in");
  child.status.state = section.text("state");
  child.status.spi_in = section.hex("spi-in");
  child.status.spi_out = section.hex("spi-out");
  child.status.suite = suite_of(section);
  child.status.encap = section.is_yes("encap");
  child.status.bytes_in = section.number("bytes-in");
  child.status.bytes_out = section.number("bytes-out");
  child.status.age_seconds = section.number("install-time");
  child.status.rekey_in_seconds = section.number("rekey-time");
  return child;
}

}  // namespace

std::string child_name(const std::string& name, TunnelId id) { return name + ".t" + std::to_string(id.value()); }

std::string secret_name(const std::string& name) { return std::string(kSecretPrefix) + name; }

std::string unproven_secret_name(const std::string& name) { return secret_name(name) + std::string(kUnprovenSuffix); }

std::optional<std::string> tunnel_of_secret(std::string_view secret) {
  if (!secret.starts_with(kSecretPrefix)) return {};
  secret.remove_prefix(kSecretPrefix.size());
  if (is_unproven_secret(secret)) secret.remove_suffix(kUnprovenSuffix.size());
  return std::string(secret);
}

bool is_unproven_secret(std::string_view secret) { return secret.ends_with(kUnprovenSuffix); }

bool is_our_connection(std::string_view name, const std::vector<std::string>& children) {
  if (children.size() != 1) return false;
  std::string_view child = children.front();
  if (!child.starts_with(name)) return false;
  child.remove_prefix(name.size());
  if (!child.starts_with(".t") || child.size() == 2) return false;
  child.remove_prefix(2);
  return child.find_first_not_of("0123456789") == std::string_view::npos;
}

std::vector<std::string> ike_proposals(const TunnelSpec& spec) {
  if (!spec.ike_proposals.empty()) return spec.ike_proposals;
  return {"aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-ecp256"};
}

std::vector<std::string> esp_proposals(const TunnelSpec& spec) {
  if (!spec.esp_proposals.empty()) return spec.esp_proposals;
  // With perfect forward secrecy first; without it for peers that have none. ESN where the peer has it too.
  return {"aes256gcm16-ecp384-x25519-ecp256-esn-noesn", "aes128gcm16-ecp256-x25519-esn-noesn", "aes256gcm16-esn-noesn",
          "aes128gcm16-esn-noesn"};
}

Section load_conn_message(const TunnelSpec& spec, bool keeps_others) {
  const Section::List anything = {"0.0.0.0/0", "::/0"};

  Section child;
  child.set("mode", "tunnel")
      .set("local_ts", anything)
      .set("remote_ts", anything)
      .set("esp_proposals", esp_proposals(spec))
      .set("if_id_in", std::to_string(spec.id.value()))
      .set("if_id_out", std::to_string(spec.id.value()))
      .set("rekey_time", seconds(spec.child_rekey))
      // The forwarder raises the hard expiry then; enough for the retransmissions of a rekeying.
      .set("life_time", seconds(spec.child_rekey + std::max(spec.child_rekey / 10, std::chrono::seconds(30))))
      // Explicit: charon's default is the difference of the two, and over rekey_time it would mean no rekeying.
      .set("rand_time", seconds(std::max(spec.child_rekey / 10, std::chrono::seconds(1))))
      .set("replay_window", std::to_string(spec.replay_window))
      // The tunnel manager initiates (supervision.cpp says why charon must not).
      .set("dpd_action", "clear")
      .set("close_action", "none")
      .set("start_action", "none");

  Section local;
  local.set("auth", "psk").set("id", local_identity(spec));
  Section remote;
  remote.set("auth", "psk");
  if (const std::string id = remote_identity(spec); !id.empty()) remote.set("id", id);

  Section children;
  children.set(child_name(spec.name, spec.id), std::move(child));
  Section connection;
  connection.set("version", "2")
      .set("local_addrs", Section::List{spec.local.to_string()})
      .set("remote_addrs", Section::List{spec.remote ? spec.remote->to_string() : std::string("%any")})
      .set("proposals", ike_proposals(spec))
      .set("encap", spec.force_udp ? "yes" : "no")
      .set("mobike", "no")
      .set("fragmentation", "yes")
      .set("childless", "never")
      .set("send_certreq", "no")
      .set("keyingtries", "0")
      .set("dpd_delay", seconds(spec.dpd_delay))
      .set("reauth_time", "0s")
      .set("rekey_time", seconds(spec.ike_rekey))
      // "no": only INITIAL_CONTACT (RFC 7296 section 2.4) of a peer that lost its state replaces IKE_SAs. It goes by
      // the pair of identities, so it would also delete another tunnel with the same pair. And it ends what still forwards
      // before its successor is there.
      .set("unique", keeps_others ? "never" : "no")
      .set("local-1", std::move(local))
      .set("remote-1", std::move(remote))
      .set("children", std::move(children));

  Section message;
  message.set(spec.name, std::move(connection));
  return message;
}

std::string remote_identity(const TunnelSpec& spec) {
  if (!spec.remote_id.empty()) return spec.remote_id;
  return spec.remote ? spec.remote->to_string() : std::string();
}

Section load_shared_message(const TunnelSpec& spec, const std::string& id, bool by_pair) {
  Section::List owners;
  if (const std::string peer = remote_identity(spec); !peer.empty()) owners.push_back(peer);
  if (by_pair || owners.empty()) owners.push_back(local_identity(spec));
  Section message;
  message.set("id", id).set("type", "IKE").set("data", spec.psk).set("owners", std::move(owners));
  return message;
}

Reconfigure can_change(const TunnelSpec& from, const TunnelSpec& to) {
  if (from == to) return Reconfigure::kNothing;
  const bool same_sa = from.id == to.id && from.local == to.local && from.remote == to.remote &&
                       from.local_id == to.local_id && from.remote_id == to.remote_id &&
                       from.ike_proposals == to.ike_proposals && from.esp_proposals == to.esp_proposals &&
                       from.force_udp == to.force_udp && from.replay_window == to.replay_window;
  return same_sa ? Reconfigure::kInPlace : Reconfigure::kReestablish;
}

const ObservedChild* ObservedIke::installed_child() const {
  for (const ObservedChild& child : children) {
    if (child.is_installed()) return &child;
  }
  return nullptr;
}

std::optional<ObservedIke> parse_sa(const Section& message) {
  for (const vici::Entry& entry : message.entries()) {
    const auto* section = std::get_if<Section>(&entry.value);
    if (section == nullptr) continue;
    ObservedIke ike;
    ike.name = entry.name;
    ike.unique_id = static_cast<std::uint32_t>(section->number("uniqueid"));
    ike.state = section->text("state");
    ike.local = section->text("local-host");
    ike.remote = section->text("remote-host");
    ike.local_id = section->text("local-id");
    ike.remote_id = section->text("remote-id");
    ike.initiator_spi = section->text("initiator-spi");
    ike.suite = suite_of(*section);
    ike.age_seconds = section->number("established");
    if (const Section* children = section->section("child-sas")) {
      for (const vici::Entry& child : children->entries()) {
        if (const auto* inner = std::get_if<Section>(&child.value)) ike.children.push_back(parse_child(*inner));
      }
    }
    return ike;
  }
  return {};
}

bool fits(const ObservedIke& ike, const TunnelSpec& spec) {
  if (ike.local != spec.local.to_string()) return false;
  if (spec.remote && ike.remote != spec.remote->to_string()) return false;
  const std::string wanted = child_name(spec.name, spec.id);
  return std::all_of(ike.children.begin(), ike.children.end(),
                     [&](const ObservedChild& child) { return child.name == wanted; });
}

}  // namespace simplon::ipsec
