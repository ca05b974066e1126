// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/config/diff.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/validate.h"
#include "gateway/daemon/src/policy_view.h"
#include "gateway/daemon/src/view.h"

namespace simplon::daemon {

using nlohmann::json;
namespace asio = boost::asio;

namespace {

std::uint64_t seconds_since(MonoTime start, MonoTime now) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now - start).count());
}

json problems_json(const std::vector<control::Problem>& problems) {
  json list = json::array();
  for (const auto& problem : problems) {
    list.push_back({{"object", problem.object}, {"what", problem.what}, {"hint", problem.hint}});
  }
  return list;
}

void merge(json& into, const json& from) { into.update(from); }

}  // namespace

asio::awaitable<std::optional<ipc::Stats>> Backend::ask_forwarder(std::uint32_t connections) {
  // Before a configuration is loaded only the observer is connected.
  auto& client = parts_.forwarder.connected() ? parts_.forwarder : parts_.observer;
  if (!client.connected()) co_return std::nullopt;
  auto stats = co_await client.stats(connections);
  if (!stats) co_return std::nullopt;
  co_return std::optional<ipc::Stats>(*std::move(stats));
}

Result<GatewayConfig> Backend::load(std::uint64_t version) const {
  if (version == 0) return GatewayConfig{};
  auto stored = parts_.store.load(version);
  if (!stored) return Unexpected(stored.error());
  if (stored->text.empty()) return GatewayConfig{};
  auto document = config::parse_document(stored->text);
  if (!document.ok()) return Unexpected(config::to_error(document.issues));
  return std::move(document.config);
}

asio::awaitable<ApiResult> Backend::status() {
  const auto stats = co_await ask_forwarder();
  const auto told = co_await parts_.tunnels.status();
  const TunnelStatuses statuses(told);
  // Copied: an apply may go on while FRR is asked.
  const GatewayConfig config = parts_.reconciler.config();
  const auto programmed = parts_.reconciler.programmed();
  auto problems = parts_.reconciler.problems();
  const bool managed = parts_.reconciler.loaded();
  const bool forwarding = programmed.connected || (!managed && parts_.observer.connected());

  json programs = json::array();
  programs.push_back({{"name", "simplon-forwarder"},
                      {"up", forwarding},
                      {"detail", programmed.connected ? "generation " + std::to_string(programmed.confirmed)
                                 : forwarding         ? "goes on with what it has"
                                                      : programmed.problem}});
  const bool charon = parts_.tunnels.connected();
  programs.push_back({{"name", "charon"},
                      {"up", charon},
                      {"detail", charon                   ? ""
                                 : !managed               ? "not asked"
                                 : config.tunnels.empty() ? "not needed: there are no tunnels"
                                                          : "not reachable"}});

  std::size_t neighbors = 0;
  std::size_t established = 0;
  for (const auto& domain : config.domains) {
    if (!domain.bgp) continue;
    const auto speaker = co_await parts_.reconciler.speaker_status(domain.name);
    if (!speaker) continue;
    programs.push_back({{"name", "frr/" + domain.name},
                        {"up", speaker->running},
                        {"detail", speaker->fpm_connected ? "" : "does not send routes (FPM not connected)"}});
    neighbors += domain.bgp->neighbors.size();
    established += static_cast<std::size_t>(std::count_if(speaker->neighbors.begin(), speaker->neighbors.end(),
                                                          [](const auto& n) { return n.state == "Established"; }));
    add_bgp_problems(domain, *speaker, problems);
  }
  add_tunnel_problems(config, statuses, problems);
  if (stats) {
    add_forwarder_problems(config, *stats, problems);
    add_circuit_problems(config, parts_.ids, *stats, parts_.reconciler.netns_prefix(), problems);
  }
  if (const auto& problem = parts_.audit.problem()) problems.push_back({"audit log", problem->what, problem->hint});
  // The same fact may have been noted by the reconciler and observed by the part itself.
  std::vector<control::Problem> once;
  std::set<std::tuple<std::string_view, std::string_view, std::string_view>> seen;
  for (const auto& problem : problems) {
    if (seen.emplace(problem.object, problem.what, problem.hint).second) once.push_back(problem);
  }

  std::size_t endpoints = 0;
  for (const auto& vpc : config.vpcs) endpoints += vpc.endpoints.size();
  const auto tunnels_up = std::count_if(config.tunnels.begin(), config.tunnels.end(), [&](const auto& tunnel) {
    return tunnel_state(tunnel, statuses.find(tunnel.name)) == "up";
  });
  json confirmed = nullptr;
  if (programmed.connected) {
    confirmed = {{"generation_wanted", programmed.wanted},
                 {"generation_confirmed", programmed.confirmed},
                 {"current", programmed.current()},
                 {"waiting_operations", programmed.waiting_operations}};
    if (stats) {
      confirmed["routes"] = stats->routes;
      confirmed["endpoints"] = stats->endpoints;
      confirmed["routes_on_backup"] = stats->routes_on_backup;
      confirmed["switches_to_backup"] = stats->switches_to_backup;
    }
  }
  const char* verdict = !forwarding ? "down" : !managed ? "unmanaged" : once.empty() ? "ok" : "degraded";
  co_return json{{"gateway", config.name},
                 {"software", software_},
                 {"uptime_seconds", seconds_since(started_, parts_.clock.now())},
                 {"verdict", verdict},
                 {"config",
                  {{"version", parts_.store.current()},
                   {"pending", pending_json()}}},
                 {"programs", std::move(programs)},
                 {"programmed", std::move(confirmed)},
                 {"accounting", stats ? accounting_json(stats->accounting) : json(nullptr)},
                 {"uplinks", stats ? uplinks_json(stats->uplinks) : json::array()},
                 {"workers", stats ? workers_json(stats->workers) : json::array()},
                 {"counts",
                  {{"tunnels", config.tunnels.size()},
                   {"tunnels_up", tunnels_up},
                   {"bgp_neighbors", neighbors},
                   {"bgp_established", established},
                   {"vpcs", config.vpcs.size()},
                   {"endpoints", endpoints},
                   {"domains", config.domains.size()},
                   {"circuits", config.circuits.size()}}},
                 {"problems", problems_json(once)}};
}

asio::awaitable<ApiResult> Backend::config(std::optional<std::uint64_t> version) {
  config::StoredDocument stored;
  const auto number = version.value_or(parts_.store.current());
  if (number != 0) {
    auto loaded = parts_.store.load(number);
    if (!loaded) co_return tl::unexpected(ApiFailure(loaded.error()));
    stored = *std::move(loaded);
  }
  json reply = {{"version", number}, {"when", nullptr}, {"who", ""}, {"comment", ""}, {"hash", ""}};
  if (number != 0) merge(reply, config::to_json(stored.version));
  reply["version"] = number;
  reply["current"] = parts_.store.current();
  reply["document"] = stored.text;
  reply["pending"] = pending_json();
  co_return reply;
}

asio::awaitable<ApiResult> Backend::history() {
  json versions = json::array();
  for (const auto& version : parts_.store.history()) versions.push_back(config::to_json(version));
  co_return json{{"current", parts_.store.current()},
                 {"versions", std::move(versions)},
                 {"pending", pending_json()}};
}

asio::awaitable<ApiResult> Backend::diff(std::uint64_t from, std::optional<std::uint64_t> to) {
  const auto turn = co_await readings_.take();
  co_await asio::post(parts_.io, asio::use_awaitable);
  const auto to_version = to.value_or(parts_.store.current());
  const auto old_config = load(from);
  if (!old_config) co_return tl::unexpected(ApiFailure(old_config.error()));
  const auto new_config = load(to_version);
  if (!new_config) co_return tl::unexpected(ApiFailure(new_config.error()));
  json reply = {{"from", from}, {"to", to_version}};
  merge(reply, config::to_json(config::diff(*old_config, *new_config)));
  co_return reply;
}

asio::awaitable<ApiResult> Backend::check(std::string document) {
  auto read = config::read_document(document);
  if (!read.ok()) co_return refuse(std::move(read.issues));
  json reply = {{"valid", true},
                {"version", parts_.store.current()},
                {"warnings", config::to_json(read.issues, config::Severity::kWarning)}};
  merge(reply, config::to_json(config::diff(parts_.reconciler.config(), read.config)));
  co_return reply;
}

asio::awaitable<ApiResult> Backend::tunnels() {
  auto stats = co_await ask_forwarder();
  const auto told = co_await parts_.tunnels.status();
  const TunnelStatuses statuses(told);
  std::optional<Programmed> programmed;
  if (stats) programmed.emplace(*std::move(stats), parts_.reconciler.programmed());
  json list = json::array();
  for (const auto& tunnel : parts_.reconciler.config().tunnels) {
    const auto id = parts_.ids.tunnel(tunnel.name);
    list.push_back(tunnel_json(tunnel, id ? id->value() : 0, statuses.find(tunnel.name), programmed));
    // The tunnel may be up all the same: with the key that charon still has.
    if (const auto* problem = parts_.reconciler.secret_problem(tunnel.name)) {
      list.back()["observed"]["problem"] = problem->what;
      list.back()["observed"]["hint"] = problem->hint;
    }
  }
  co_return json{{"generation", programmed ? json(programmed->stats().generation.value()) : json(nullptr)},
                 {"tunnels", std::move(list)}};
}

asio::awaitable<ApiResult> Backend::vpcs() {
  auto stats = co_await ask_forwarder();
  std::optional<Programmed> programmed;
  if (stats) programmed.emplace(*std::move(stats), parts_.reconciler.programmed());
  json list = json::array();
  for (const auto& vpc : parts_.reconciler.config().vpcs) list.push_back(vpc_json(vpc, programmed));
  co_return json{{"generation", programmed ? json(programmed->stats().generation.value()) : json(nullptr)},
                 {"vpcs", std::move(list)}};
}

asio::awaitable<ApiResult> Backend::circuits() {
  auto stats = co_await ask_forwarder();
  std::optional<Programmed> programmed;
  if (stats) programmed.emplace(*std::move(stats), parts_.reconciler.programmed());
  const auto& config = parts_.reconciler.config();
  json list = json::array();
  for (const auto& circuit : config.circuits) {
    const auto id = parts_.ids.circuit(circuit.name).value_or(CircuitId{0});
    list.push_back(circuit_json(circuit, id, config, programmed, parts_.reconciler.netns_prefix()));
  }
  co_return json{{"generation", programmed ? json(programmed->stats().generation.value()) : json(nullptr)},
                 {"circuits", std::move(list)}};
}

asio::awaitable<ApiResult> Backend::routes(RouteRequest request) {
  const auto status = parts_.reconciler.programmed();
  json domains = json::array();
  bool found = request.domain.empty();
  control::RouteQuery query;
  query.overlapping = request.prefix;
  std::size_t listed = 0;
  std::size_t total = 0;
  for (const auto& configured : parts_.reconciler.config().domains) {
    if (!request.domain.empty() && configured.name != request.domain) continue;
    found = true;
    const auto* routes = parts_.reconciler.compiler().domain(configured.name);
    if (routes == nullptr) continue;
    query.limit = request.limit - listed;
    const auto chosen = routes->view(query);
    listed += chosen.routes.size();
    total += chosen.total;
    json list = json::array();
    for (const auto& route : chosen.routes) list.push_back(route_json(route, routes->layout().id, status));
    domains.push_back({{"name", configured.name},
                       {"id", routes->layout().id.value()},
                       {"synchronized", !configured.bgp || parts_.reconciler.speaker_synchronized(configured.name)},
                       {"total", chosen.total},
                       {"routes", std::move(list)}});
  }
  if (!found) {
    std::vector<std::string> known;
    for (const auto& configured : parts_.reconciler.config().domains) known.push_back(configured.name);
    co_return tl::unexpected(ApiFailure(config::no_such("domain", request.domain, known).value()));
  }
  co_return json{{"generation", status.connected ? json(status.confirmed) : json(nullptr)},
                 {"current", status.current()},
                 {"total", total},
                 {"more", listed < total},
                 {"domains", std::move(domains)}};
}

asio::awaitable<ApiResult> Backend::bgp() {
  const GatewayConfig config = parts_.reconciler.config();
  json domains = json::array();
  for (const auto& domain : config.domains) {
    if (!domain.bgp) continue;
    const auto speaker = co_await parts_.reconciler.speaker_status(domain.name, bgp::StatusDetail::kReceivedPrefixes);
    if (speaker) domains.push_back(domain_bgp_json(domain, *speaker));
  }
  co_return json{{"domains", std::move(domains)}};
}

asio::awaitable<ApiResult> Backend::drops() {
  const auto stats = co_await ask_forwarder();
  if (!stats) {
    co_return tl::unexpected(ApiFailure(make_error(ErrorCode::kUnavailable, "the forwarder is not reachable",
                                                   "is simplon-forwarder running? It counts the drops")));
  }
  co_return drops_json(*stats);
}

asio::awaitable<ApiResult> Backend::acls() {
  const auto stats = co_await ask_forwarder();
  co_return acls_json(parts_.reconciler.config(), stats);
}

asio::awaitable<ApiResult> Backend::nat() {
  const auto stats = co_await ask_forwarder();
  co_return nat_json(parts_.reconciler.config(), parts_.ids, stats);
}

asio::awaitable<ApiResult> Backend::connections() {
  // Chosen by us: more than a person reads.
  const auto stats = co_await ask_forwarder(1000);
  if (!stats) {
    co_return tl::unexpected(ApiFailure(make_error(ErrorCode::kUnavailable, "the forwarder is not reachable",
                                                   "is simplon-forwarder running? It has the connections")));
  }
  co_return connections_json(parts_.reconciler.config(), parts_.ids, *stats);
}

}  // namespace simplon::daemon
