// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "platform/base/ids.h"
#include "platform/base/result.h"
#include "platform/net/ip_address.h"

namespace simplon::ipsec {

/// One wanted tunnel, as charon needs it. The name is the VICI connection name and unique.
struct TunnelSpec {
  std::string name;
  TunnelId id;
  IpAddress local;
  std::optional<IpAddress> remote;
  std::string local_id;
  std::string remote_id;
  /// The pre-shared key itself. Passed on to charon, wiped by its owner, never logged.
  std::string psk;
  /// The key cannot be read at present: what charon holds under this name, SAs included, stays as it is, and nothing is
  /// loaded.
  bool keep_as_is = false;
  std::vector<std::string> ike_proposals;
  std::vector<std::string> esp_proposals;
  bool force_udp = false;
  bool initiate = true;
  std::chrono::seconds dpd_delay{10};
  std::chrono::seconds ike_rekey{14400};
  std::chrono::seconds child_rekey{3600};
  std::uint32_t replay_window = 1024;

  friend bool operator==(const TunnelSpec&, const TunnelSpec&) = default;
};

enum class TunnelState : std::uint8_t { kDown, kConnecting, kIkeOnly, kUp };

/// What charon says about one wanted tunnel.
struct TunnelStatus {
  struct Child {
    std::string state;
    std::uint32_t spi_in = 0;
    std::uint32_t spi_out = 0;
    std::string suite;
    bool encap = false;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t age_seconds = 0;
    std::uint64_t rekey_in_seconds = 0;
  };

  std::string name;
  TunnelState state = TunnelState::kDown;
  std::string ike_state;
  std::string ike_suite;
  std::string local;
  std::string remote;
  std::uint64_t ike_age_seconds = 0;
  std::vector<Child> children;
  /// Milliseconds from the start of the negotiation to the CHILD_SA, of the latest establishment.
  std::optional<std::uint64_t> established_in_ms;
  /// Up, but all SAs were negotiated before the latest change of its key or of what they are negotiated with: says nothing
  /// about the configuration of now.
  bool outdated = false;
  /// Why it is down, in words an operator can act on, and what to do; empty when up, unless a new key is not accepted.
  std::string problem;
  std::string hint;
};

/// Makes charon hold exactly the wanted tunnels, and says how they fare.
///
/// Survives charon: when the VICI connection is lost it is made again and everything is loaded again (VICI
/// configuration is not persistent). Survives simplond: at the first `reconcile` SAs that charon already holds are
/// adopted, not negotiated again. A new key is proven without an outage: new SAs are negotiated beside those that forward,
/// which end when the new ones are up, and not before (a tunnel that may not initiate waits for its peer to do it). Only connections this manager loaded are touched. Threads: one io_context thread;
/// nothing here blocks it.
class TunnelManager {
 public:
  /// Connects lazily. `vici_socket` is a path.
  static std::unique_ptr<TunnelManager> create(boost::asio::io_context& io, std::string vici_socket);
  virtual ~TunnelManager() = default;

  /// Idempotent; tunnels that are already right are not disturbed. Returns when charon accepted the configuration,
  /// not when the tunnels are up. Errors: kUnavailable at once if there is no charon,
  /// and within 5 s if it does not answer (`wanted` is remembered and
  /// loaded when it is back); kInvalidConfig if charon rejects a proposal, naming the tunnel.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> reconcile(std::vector<TunnelSpec> wanted) = 0;
  /// `down` ends IKE_SA and CHILD_SAs and holds the tunnel down, also against the peer, until `up`, another configuration
  /// of this tunnel, or the end of this manager; `up` starts a negotiation, once also if the tunnel leaves that to its peer.
  /// Errors: kInvalidConfig for an unknown name, kUnavailable (a `down` that gets it holds all the same).
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> up(std::string name) = 0;
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> down(std::string name) = 0;
  /// Rekeys the CHILD_SA (or the IKE_SA) now, make before break.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> rekey(std::string name, bool ike) = 0;

  /// Those that `down` holds; `hold_changes` is another number after each change of them.
  [[nodiscard]] virtual std::set<std::string> held() const = 0;
  [[nodiscard]] virtual std::uint64_t hold_changes() const = 0;

  /// True while VICI is connected.
  [[nodiscard]] virtual bool connected() const = 0;
  /// Fresh state of all wanted tunnels. Errors: none; an unreachable charon shows as each tunnel's problem.
  [[nodiscard]] virtual boost::asio::awaitable<std::vector<TunnelStatus>> status() = 0;
};

}  // namespace simplon::ipsec
