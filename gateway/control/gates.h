// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "bgp/speaker.h"
#include "gateway/config/model.h"
#include "gateway/control/ping.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"
#include "platform/base/ids.h"
#include "platform/base/result.h"
#include "platform/net/ip_address.h"

// Health gates: what has to be healthy for a change to stay.

namespace simplon::control {

inline constexpr std::size_t kMaxGates = 16;

struct Gate {
  enum class Kind : std::uint8_t {
    kBgp,     ///< the neighbor's session is Established
    kTunnel,  ///< the tunnel has a CHILD_SA, and the forwarder its SAs both ways
    kPing,    ///< the address answers an ICMP echo from the domain's namespace
  };

  Kind kind = Kind::kTunnel;
  /// Empty for a tunnel.
  std::string domain;
  /// Neighbor or tunnel.
  std::string name;
  IpAddress address;

  /// "bgp:prod/paris", "tunnel:paris", "ping:10.1.0.10@prod"; `resolve_gate` reads it back.
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const Gate&, const Gate&) = default;
};

/// Understands "bgp:NAME", "bgp:DOMAIN/NAME", "tunnel:NAME", "ping:ADDRESS" and "ping:ADDRESS@DOMAIN" in view of what is
/// configured; the domain may be left out where there is only one answer.
/// Errors: kInvalidConfig for what does not exist (with what may have been meant), is ambiguous, or disabled.
[[nodiscard]] Result<Gate> resolve_gate(std::string_view text, const GatewayConfig& config);

/// How one gate fares, seen since the watch began.
struct GateState {
  Gate gate;
  /// Nothing before the first look.
  std::optional<bool> healthy;
  /// "neighbor paris of domain prod is Active: ..."; empty when healthy.
  std::string problem;
  std::optional<MonoTime> healthy_since;
  /// So long it has to stay healthy before it counts as held.
  std::chrono::seconds needed{0};
};

/// Looks after the gates of one version on probation.
///
/// Evidence. A ping and a session that was negotiated after the change prove the new configuration: they count as held
/// after `kGateHold`. A BGP session from before the change may be dead without anybody knowing yet: unless BFD guards it,
/// it has to outlive its hold time. An IKE_SA from before the change says nothing about another key or identity: of such a
/// tunnel only a younger one counts, also after a restart of the daemon.
/// Threads: one io_context thread. The parts outlive the coroutines of `look`, the watch itself need not.
class GateWatch {
 public:
  /// Chosen by us: longer than a flap, short enough to wait for.
  static constexpr std::chrono::seconds kGateHold{5};
  static constexpr std::chrono::milliseconds kPingTimeout{1000};

  struct Parts {
    boost::asio::io_context& io;
    ipsec::TunnelManager& tunnels;
    ipc::TableClient& forwarder;
    Pinger& pinger;
    const Clock& clock;
    /// nullptr if the domain has none.
    std::function<std::shared_ptr<bgp::Speaker>(const std::string& domain)> speaker;
    std::function<std::string(const std::string& domain)> netns;
    std::function<std::optional<TunnelId>(const std::string& tunnel)> tunnel_id;
  };

  explicit GateWatch(Parts parts);

  /// Tunnels whose SAs of before the change prove nothing: their key, or what they negotiate with, is another.
  struct Renegotiated {
    std::set<std::string> tunnels;
    MonoTime changed;
  };
  /// Forgets what was seen, and watches these for `version`. Gates that cannot be resolved fail.
  void begin(std::uint64_t version, const std::vector<std::string>& gates, const GatewayConfig& config,
             Renegotiated renegotiated = {});
  void end();

  /// 0: watches nothing.
  [[nodiscard]] std::uint64_t version() const noexcept;
  [[nodiscard]] bool empty() const noexcept;
  /// Asks everybody once. Takes at most about a second beyond what FRR and charon need.
  [[nodiscard]] boost::asio::awaitable<void> look();

  [[nodiscard]] std::vector<GateState> states() const;
  /// Each was healthy at the latest look.
  [[nodiscard]] bool healthy() const;
  /// Each was healthy at every look for as long as it needs.
  [[nodiscard]] bool held() const;
  /// Which gates stand in the way, and why: "gate bgp:prod/paris: ..."; empty if none does. With `held` also those that
  /// are healthy but not for long enough.
  [[nodiscard]] std::string complaint(bool held) const;

 private:
  struct State;
  static boost::asio::awaitable<void> look_at(std::shared_ptr<State> state, std::uint64_t round);

  std::shared_ptr<State> state_;
};

/// The shortest window in which this gate can be held, for a change that is to be kept without a confirmation.
[[nodiscard]] std::chrono::seconds shortest_window(const Gate& gate, const GatewayConfig& config);

}  // namespace simplon::control
