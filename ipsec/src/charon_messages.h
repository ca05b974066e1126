// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipsec/tunnel_manager.h"
#include "ipsec/vici/message.h"

// What we tell charon about a tunnel and what it tells us about its SAs, as VICI messages. Pure.

namespace simplon::ipsec {

/// Name of the one child of a tunnel: "paris.t3" carries the tunnel id, so that another id is another child, and marks
/// the connection as ours to a later life of simplond.
[[nodiscard]] std::string child_name(const std::string& name, TunnelId id);
/// Name of the shared key of a tunnel in charon.
[[nodiscard]] std::string secret_name(const std::string& name);
/// Name of a second copy of the key, which is there while no SA of the tunnel was authenticated with it: so that a later life of
/// simplond does not take SAs of the key before for proof of it.
[[nodiscard]] std::string unproven_secret_name(const std::string& name);
/// The tunnel of a shared key's name, of either kind, if it is one of ours.
[[nodiscard]] std::optional<std::string> tunnel_of_secret(std::string_view secret);
[[nodiscard]] bool is_unproven_secret(std::string_view secret);
/// True if a connection with these children was loaded by us.
[[nodiscard]] bool is_our_connection(std::string_view name, const std::vector<std::string>& children);

/// Proposals that charon gets: those of the tunnel, or our defaults.
[[nodiscard]] std::vector<std::string> ike_proposals(const TunnelSpec& spec);
[[nodiscard]] std::vector<std::string> esp_proposals(const TunnelSpec& spec);

/// `keeps_others`: other IKE_SAs between the same identities are in use, and the peer must not be told that they are gone:
/// those of another tunnel, or those that an earlier life of charon negotiated.
[[nodiscard]] vici::Section load_conn_message(const TunnelSpec& spec, bool keeps_others);
/// Who the peer is to say it is; empty: anybody.
[[nodiscard]] std::string remote_identity(const TunnelSpec& spec);
/// `id`: one of the two names. charon takes for a peer's key whatever has one of a negotiation's two identities as its owner, so a key is
/// owned by the peer's alone. `by_pair`: by both, where only the pair tells which of the peer's keys is meant; then who has this key can
/// pass for each peer of our identity. Holds the key: wipe it.
[[nodiscard]] vici::Section load_shared_message(const TunnelSpec& spec, const std::string& id, bool by_pair);

/// How a changed tunnel gets into effect.
enum class Reconfigure : std::uint8_t {
  kNothing,
  kInPlace,      ///< charon uses it from the next negotiation on; what is up stays up
  kReestablish,  ///< the SAs that exist do not fit any more
};
[[nodiscard]] Reconfigure can_change(const TunnelSpec& from, const TunnelSpec& to);

struct ObservedChild {
  std::string name;
  std::uint32_t unique_id = 0;
  std::uint32_t if_id = 0;
  TunnelStatus::Child status;

  /// True in the states in which it carries packets.
  [[nodiscard]] bool is_installed() const {
    return status.state == "INSTALLED" || status.state == "REKEYING" || status.state == "REKEYED";
  }
};

/// One IKE_SA of list-sas, ike-updown or child-updown.
struct ObservedIke {
  std::string name;
  std::uint32_t unique_id = 0;
  std::string state;
  std::string local;
  std::string remote;
  std::string local_id;
  std::string remote_id;
  std::string suite;
  std::string initiator_spi;
  std::uint64_t age_seconds = 0;
  std::vector<ObservedChild> children;

  [[nodiscard]] bool is_ending() const { return state == "DELETING" || state == "DESTROYING"; }
  [[nodiscard]] bool is_established() const { return state == "ESTABLISHED" || state == "REKEYING"; }
  [[nodiscard]] const ObservedChild* installed_child() const;
};

/// Nothing if the message has no section with an IKE_SA.
[[nodiscard]] std::optional<ObservedIke> parse_sa(const vici::Section& message);

/// True if an existing IKE_SA is what the tunnel wants (addresses, interface id), so that it is adopted.
[[nodiscard]] bool fits(const ObservedIke& ike, const TunnelSpec& spec);

}  // namespace simplon::ipsec
