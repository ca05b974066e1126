// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/gates.h"

#include <algorithm>
#include <map>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "gateway/config/validate.h"
#include "gateway/control/wait_group.h"

namespace simplon::control {

namespace asio = boost::asio;

namespace {

Unexpected no_such(const std::string& gate, const std::string& kind, const std::string& name,
                   const std::vector<std::string>& known) {
  Error error = config::no_such(kind, name, known).value();
  error.what = "gate " + gate + ": " + error.what;
  return Unexpected(std::move(error));
}

std::vector<std::string> domain_names(const GatewayConfig& config) {
  std::vector<std::string> names;
  for (const auto& domain : config.domains) names.push_back(domain.name);
  return names;
}

const DomainConfig* find_domain(const GatewayConfig& config, std::string_view name) {
  const auto found = std::find_if(config.domains.begin(), config.domains.end(),
                                  [&](const auto& domain) { return domain.name == name; });
  return found == config.domains.end() ? nullptr : &*found;
}

const BgpNeighborConfig* find_neighbor(const DomainConfig& domain, std::string_view name) {
  if (!domain.bgp) return nullptr;
  const auto& neighbors = domain.bgp->neighbors;
  const auto found =
      std::find_if(neighbors.begin(), neighbors.end(), [&](const auto& neighbor) { return neighbor.name == name; });
  return found == neighbors.end() ? nullptr : &*found;
}

Result<Gate> resolve_bgp(const std::string& text, std::string_view words, const GatewayConfig& config) {
  Gate gate;
  gate.kind = Gate::Kind::kBgp;
  const auto slash = words.find('/');
  gate.name = words.substr(slash == std::string_view::npos ? 0 : slash + 1);
  std::vector<std::string> known;
  std::vector<std::string> holders;
  for (const auto& domain : config.domains) {
    if (!domain.bgp) continue;
    for (const auto& neighbor : domain.bgp->neighbors) {
      known.push_back(slash == std::string_view::npos ? neighbor.name : domain.name + "/" + neighbor.name);
      if (neighbor.name == gate.name) holders.push_back(domain.name);
    }
  }
  if (slash != std::string_view::npos) {
    gate.domain = words.substr(0, slash);
    const auto* domain = find_domain(config, gate.domain);
    if (domain == nullptr) return no_such(text, "domain", gate.domain, domain_names(config));
    if (find_neighbor(*domain, gate.name) == nullptr) return no_such(text, "BGP neighbor", std::string(words), known);
    return gate;
  }
  if (holders.empty()) return no_such(text, "BGP neighbor", gate.name, known);
  if (holders.size() > 1) {
    return fail(ErrorCode::kInvalidConfig,
                "gate " + text + ": " + std::to_string(holders.size()) + " domains have a neighbor '" + gate.name + "'",
                "name the domain: bgp:" + holders.front() + "/" + gate.name);
  }
  gate.domain = holders.front();
  return gate;
}

Result<Gate> resolve_tunnel(const std::string& text, std::string_view name, const GatewayConfig& config) {
  std::vector<std::string> known;
  for (const auto& tunnel : config.tunnels) {
    known.push_back(tunnel.name);
    if (tunnel.name != name) continue;
    if (!tunnel.enabled) {
      return fail(ErrorCode::kInvalidConfig, "gate " + text + ": the tunnel is disabled", "it never comes up");
    }
    Gate gate;
    gate.kind = Gate::Kind::kTunnel;
    gate.name = tunnel.name;
    return gate;
  }
  return no_such(text, "tunnel", std::string(name), known);
}

Result<Gate> resolve_ping(const std::string& text, std::string_view words, const GatewayConfig& config) {
  Gate gate;
  gate.kind = Gate::Kind::kPing;
  const auto at = words.find('@');
  const auto address = IpAddress::parse(words.substr(0, at));
  if (!address || address->is_unspecified() || address->is_multicast()) {
    return fail(ErrorCode::kInvalidConfig,
                "gate " + text + ": '" + std::string(words.substr(0, at)) + "' is not the address of a host",
                "ping:ADDRESS or ping:ADDRESS@DOMAIN");
  }
  gate.address = *address;
  if (at != std::string_view::npos) {
    gate.domain = words.substr(at + 1);
    if (find_domain(config, gate.domain) == nullptr) return no_such(text, "domain", gate.domain, domain_names(config));
  } else if (config.domains.size() == 1) {
    gate.domain = config.domains.front().name;
  } else if (config.domains.empty()) {
    return no_such(text, "domain", "", {});
  } else {
    return fail(ErrorCode::kInvalidConfig,
                "gate " + text + ": there are " + std::to_string(config.domains.size()) + " domains to ping from",
                "name one: " + text + "@" + config.domains.front().name);
  }
  return gate;
}

/// charon counts in whole seconds, and so does the time of a version.
constexpr std::chrono::seconds kRounding{2};

/// The SAs are older than the key, or than what they would be negotiated with today.
std::string outdated(const ipsec::TunnelStatus& tunnel, const GateWatch::Renegotiated& renegotiated, MonoTime now) {
  const bool older = renegotiated.tunnels.contains(tunnel.name) &&
                     std::chrono::seconds(tunnel.ike_age_seconds) > now - renegotiated.changed + kRounding;
  if (!older && !tunnel.outdated) return {};
  return tunnel.problem.empty() ? "the tunnel is up with SAs from before the change" : tunnel.problem;
}

/// What charon negotiated carries packets only when the forwarder has it.
std::string missing_sas(const std::optional<ipc::Stats>& stats, std::optional<TunnelId> tunnel) {
  if (!stats) return "charon has it up, but the forwarder is away";
  bool sends = false;
  bool receives = false;
  for (const auto& sa : stats->sas) {
    if (!tunnel || sa.tunnel != *tunnel) continue;
    if (sa.inbound) receives = true;
    if (!sa.inbound && sa.active) sends = true;
  }
  if (sends && receives) return {};
  return std::string("charon has it up, but the forwarder has no SA to ") + (sends ? "receive" : "send") + " with";
}

}  // namespace

std::string Gate::to_string() const {
  switch (kind) {
    case Kind::kBgp:
      return "bgp:" + domain + "/" + name;
    case Kind::kTunnel:
      return "tunnel:" + name;
    case Kind::kPing:
      return "ping:" + address.to_string() + "@" + domain;
  }
  return {};
}

Result<Gate> resolve_gate(std::string_view text, const GatewayConfig& config) {
  const std::string shown(text.substr(0, 120));
  const auto colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const std::string_view words = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (!words.empty() && words.size() <= 100) {
    if (kind == "bgp") return resolve_bgp(shown, words, config);
    if (kind == "tunnel") return resolve_tunnel(shown, words, config);
    if (kind == "ping") return resolve_ping(shown, words, config);
  }
  const std::string guess = config::closest_match(kind, {"bgp", "tunnel", "ping"});
  return fail(ErrorCode::kInvalidConfig, "'" + shown + "' is not a gate",
              (guess.empty() || words.empty() ? "" : "did you mean '" + guess + ":" + std::string(words.substr(0, 100)) + "'? ") +
                  "bgp:NEIGHBOR, bgp:DOMAIN/NEIGHBOR, tunnel:NAME, ping:ADDRESS or ping:ADDRESS@DOMAIN");
}

std::chrono::seconds shortest_window(const Gate& gate, const GatewayConfig& config) {
  if (gate.kind == Gate::Kind::kBgp) {
    const auto* domain = find_domain(config, gate.domain);
    const auto* neighbor = domain == nullptr ? nullptr : find_neighbor(*domain, gate.name);
    if (neighbor != nullptr && !neighbor->bfd) return std::max(GateWatch::kGateHold, neighbor->hold);
  }
  return GateWatch::kGateHold;
}

// ---- the watch -----------------------------------------------------------------------------------------------------

struct GateWatch::State {
  explicit State(Parts wanted) : parts(std::move(wanted)) {}

  Parts parts;
  std::uint64_t version = 0;
  /// Changes with every `begin` and `end`: what a look saw before belongs to nobody.
  std::uint64_t round = 0;
  MonoTime begun{};
  std::vector<GateState> states;
  /// Of gates that no longer exist.
  std::vector<std::string> unresolved;
  /// Hold time without BFD, by gate.
  std::vector<std::chrono::seconds> longest;
  Renegotiated renegotiated;

  void note(std::size_t index, const std::string& problem, std::chrono::seconds needed) {
    auto& state = states[index];
    state.healthy = problem.empty();
    state.problem = problem;
    state.needed = needed;
    if (!problem.empty()) {
      state.healthy_since.reset();
    } else if (!state.healthy_since) {
      state.healthy_since = parts.clock.now();
    }
  }
};

GateWatch::GateWatch(Parts parts) : state_(std::make_shared<State>(std::move(parts))) {}

void GateWatch::begin(std::uint64_t version, const std::vector<std::string>& gates, const GatewayConfig& config,
                      Renegotiated renegotiated) {
  end();
  state_->version = version;
  state_->renegotiated = std::move(renegotiated);
  state_->begun = state_->parts.clock.now();
  for (const auto& text : gates) {
    auto gate = resolve_gate(text, config);
    if (!gate) {
      state_->unresolved.push_back(gate.error().what);
      continue;
    }
    state_->longest.push_back(shortest_window(*gate, config));
    GateState fresh;
    fresh.gate = *std::move(gate);
    state_->states.push_back(std::move(fresh));
  }
}

void GateWatch::end() {
  ++state_->round;
  state_->version = 0;
  state_->states.clear();
  state_->unresolved.clear();
  state_->longest.clear();
  state_->renegotiated = {};
}

std::uint64_t GateWatch::version() const noexcept { return state_->version; }
bool GateWatch::empty() const noexcept { return state_->states.empty() && state_->unresolved.empty(); }
std::vector<GateState> GateWatch::states() const { return state_->states; }

bool GateWatch::healthy() const {
  return state_->unresolved.empty() && std::all_of(state_->states.begin(), state_->states.end(),
                                                   [](const auto& state) { return state.healthy.value_or(false); });
}

bool GateWatch::held() const {
  const auto now = state_->parts.clock.now();
  return healthy() && std::all_of(state_->states.begin(), state_->states.end(), [&](const auto& state) {
           return state.healthy_since && now - *state.healthy_since >= state.needed;
         });
}

std::string GateWatch::complaint(bool held) const {
  std::string text;
  const auto add = [&](const std::string& words) { text += (text.empty() ? "" : "; ") + words; };
  for (const auto& words : state_->unresolved) add(words);
  const auto now = state_->parts.clock.now();
  for (const auto& state : state_->states) {
    const std::string name = "gate " + state.gate.to_string();
    if (!state.healthy) {
      add(name + " was not looked at yet");
    } else if (!*state.healthy) {
      add(name + ": " + state.problem);
    } else if (held && now - *state.healthy_since < state.needed) {
      const auto so_far = std::chrono::duration_cast<std::chrono::seconds>(now - *state.healthy_since).count();
      add(name + " is healthy only for " + std::to_string(so_far) + " of " + std::to_string(state.needed.count()) + " s");
    }
  }
  return text;
}

asio::awaitable<void> GateWatch::look() { return look_at(state_, state_->round); }

asio::awaitable<void> GateWatch::look_at(std::shared_ptr<State> state, std::uint64_t round) {
  const std::vector<GateState> gates = state->states;
  const MonoTime begun = state->begun;

  // All echo requests at once, while charon and FRR are asked.
  const WaitGroup pings(state->parts.io);
  const auto unanswered = std::make_shared<std::map<std::size_t, std::string>>();
  for (std::size_t i = 0; i < gates.size(); ++i) {
    if (gates[i].gate.kind != Gate::Kind::kPing) continue;
    pings.add();
    const std::string netns = state->parts.netns(gates[i].gate.domain);
    asio::co_spawn(
        state->parts.io,
        [state, pings, unanswered, i, netns, to = gates[i].gate.address]() -> asio::awaitable<void> {
          const auto answered = co_await state->parts.pinger.ping(netns, to, kPingTimeout);
          if (!answered) (*unanswered)[i] = answered.error().what;
          pings.done();
        },
        asio::detached);
  }

  const bool with_tunnels =
      std::any_of(gates.begin(), gates.end(), [](const auto& one) { return one.gate.kind == Gate::Kind::kTunnel; });
  std::vector<ipsec::TunnelStatus> tunnels;
  std::optional<ipc::Stats> stats;
  if (with_tunnels) {
    tunnels = co_await state->parts.tunnels.status();
    if (state->parts.forwarder.connected()) {
      auto told = co_await state->parts.forwarder.stats();
      if (told) stats = *std::move(told);
    }
  }
  std::map<std::string, bgp::SpeakerStatus> speakers;
  for (const auto& one : gates) {
    if (one.gate.kind != Gate::Kind::kBgp || speakers.contains(one.gate.domain)) continue;
    bgp::SpeakerStatus status;
    status.problem = "FRR does not run";
    if (const auto speaker = state->parts.speaker(one.gate.domain)) {
      status = co_await speaker->status(bgp::StatusDetail::kSessions);
    }
    speakers.emplace(one.gate.domain, std::move(status));
  }
  co_await pings.wait();

  if (state->round != round) co_return;
  for (std::size_t i = 0; i < gates.size(); ++i) {
    const Gate& gate = gates[i].gate;
    std::string problem;
    std::chrono::seconds needed = kGateHold;
    if (gate.kind == Gate::Kind::kPing) {
      problem = (*unanswered)[i];
    } else if (gate.kind == Gate::Kind::kTunnel) {
      const auto found =
          std::find_if(tunnels.begin(), tunnels.end(), [&](const auto& tunnel) { return tunnel.name == gate.name; });
      if (found == tunnels.end()) {
        problem = "charon does not know the tunnel";
      } else if (found->state != ipsec::TunnelState::kUp) {
        problem = found->problem.empty() ? "the tunnel is not up" : "the tunnel is not up: " + found->problem;
      } else if (problem = outdated(*found, state->renegotiated, state->parts.clock.now()); problem.empty()) {
        problem = missing_sas(stats, state->parts.tunnel_id(gate.name));
      }
    } else {
      const auto& speaker = speakers[gate.domain];
      const auto found = std::find_if(speaker.neighbors.begin(), speaker.neighbors.end(),
                                      [&](const auto& neighbor) { return neighbor.name == gate.name; });
      if (found == speaker.neighbors.end()) {
        problem = speaker.problem.empty() ? "FRR does not know the neighbor" : speaker.problem;
      } else if (found->state != "Established") {
        problem = "the session is " + found->state + (found->problem.empty() ? "" : ": " + found->problem);
      } else if (std::chrono::seconds(static_cast<std::int64_t>(found->uptime_seconds)) >=
                 state->parts.clock.now() - begun) {
        needed = state->longest[i];
      }
    }
    state->note(i, problem, needed);
  }
}

}  // namespace simplon::control
