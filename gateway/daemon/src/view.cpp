// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/view.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "gateway/config/json.h"
#include "gateway/control/table_compiler.h"
#include "gateway/ipc/table_model.h"

namespace simplon::daemon {

using nlohmann::json;

namespace {

std::string spi_text(std::uint32_t spi) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(8, '0');
  for (std::size_t i = 0; i < 8; ++i) text[i] = kDigits[(spi >> (28U - 4U * i)) & 0xfU];
  return text;
}

/// What is to be known of a circuit besides its counters.
struct CircuitObservation {
  const char* state = "up";
  json neighbors = json::array();
  std::string problem;
  std::string hint;
};

/// BGP neighbors of the domain that are on the circuit.
std::vector<IpAddress> expected_on(const CircuitConfig& circuit, const GatewayConfig& config) {
  std::vector<IpAddress> expected;
  for (const auto& domain : config.domains) {
    if (domain.name != circuit.domain || !domain.bgp) continue;
    for (const auto& neighbor : domain.bgp->neighbors) {
      const bool here = std::any_of(circuit.addresses.begin(), circuit.addresses.end(), [&](const auto& ours) {
        return ours.network().contains(neighbor.address);
      });
      if (here) expected.push_back(neighbor.address);
    }
  }
  return expected;
}

CircuitObservation observe(const CircuitConfig& circuit, CircuitId id, const GatewayConfig& config,
                           const ipc::Stats* stats, const std::string& netns_prefix) {
  CircuitObservation seen;
  if (!circuit.enabled) {
    seen.state = "disabled";
    return seen;
  }
  if (stats == nullptr) {
    seen.state = "down";
    seen.problem = "the forwarder is away";
    seen.hint = "simplon status";
    return seen;
  }
  const auto uplink = std::find_if(stats->uplinks.begin(), stats->uplinks.end(),
                                   [&](const auto& candidate) { return candidate.interface == circuit.uplink; });
  if (uplink == stats->uplinks.end() || !uplink->up) {
    seen.state = "down";
    seen.problem = "its uplink " + circuit.uplink + " is down";
    seen.hint = "ip link show " + circuit.uplink;
  }
  std::set<IpAddress> resolved;
  std::set<IpAddress> silent;
  for (const auto& neighbor : stats->neighbors) {
    if (neighbor.circuit != id) continue;
    (neighbor.resolved ? resolved : silent).insert(neighbor.destination);
    seen.neighbors.push_back({{"address", neighbor.destination.to_string()},
                              {"mac", neighbor.mac.to_string()},
                              {"resolved", neighbor.resolved}});
  }
  for (const auto& expected : expected_on(circuit, config)) {
    if (!resolved.contains(expected)) silent.insert(expected);
  }
  if (!silent.empty() && seen.problem.empty()) {
    seen.state = "no-neighbor";
    seen.problem = silent.begin()->to_string() + " does not answer " + (silent.begin()->is_v4() ? "ARP" : "neighbor discovery");
    seen.hint = "has the other end the same VLAN? ip netns exec " + netns_prefix + circuit.domain + " tcpdump -i " +
                control::circuit_interface(id);
  }
  return seen;
}

json attachment_json(const ipc::AttachmentStats& attachment, const Programmed& programmed) {
  return {{"generation", programmed.stats().generation.value()},
          {"current", programmed.status().current()},
          {"mtu", attachment.mtu},
          {"host_port_up", attachment.host_port_up},
          {"rx_packets", attachment.rx_packets},
          {"rx_bytes", attachment.rx_bytes},
          {"tx_packets", attachment.tx_packets},
          {"tx_bytes", attachment.tx_bytes},
          {"punted", attachment.punted},
          {"dropped", attachment.dropped}};
}

json path_json(const ipc::NeighborStats& neighbor) {
  return {{"destination", neighbor.destination.to_string()},
          {"mtu", neighbor.mtu},
          {"learned_mtu", neighbor.learned_mtu},
          {"learned_for_seconds", neighbor.learned_for_seconds}};
}

/// Of the packets that leave with one of these.
json path_of(const std::vector<const ipc::SaStats*>& sas, const Programmed& programmed) {
  for (const auto* sa : sas) {
    if (sa->inbound || !sa->active) continue;
    const auto* neighbor = programmed.neighbor(sa->destination);
    return neighbor == nullptr ? json(nullptr) : path_json(*neighbor);
  }
  return nullptr;
}

json sa_json(const ipc::SaStats& sa) {
  return {{"spi", spi_text(sa.spi.value())},
          {"inbound", sa.inbound},
          {"active", sa.active},
          {"encap", sa.encap},
          {"esn", sa.esn},
          {"suite", sa.suite},
          {"packets", sa.packets},
          {"bytes", sa.bytes},
          {"sequence", sa.sequence},
          {"replayed", sa.replayed},
          {"failed", sa.failed},
          {"age_seconds", sa.age_seconds}};
}

json child_json(const ipsec::TunnelStatus::Child& child) {
  return {{"state", child.state},
          {"spi_in", spi_text(child.spi_in)},
          {"spi_out", spi_text(child.spi_out)},
          {"suite", child.suite},
          {"encap", child.encap},
          {"bytes_in", child.bytes_in},
          {"bytes_out", child.bytes_out},
          {"age_seconds", child.age_seconds},
          {"rekey_in_seconds", child.rekey_in_seconds}};
}

std::set<IpAddress> vteps_of(const VpcConfig& vpc) {
  std::set<IpAddress> vteps;
  for (const auto& endpoint : vpc.endpoints) vteps.insert(endpoint.vtep);
  return vteps;
}

std::string origin_of(const control::RouteView& route) {
  if (route.source != control::RouteSource::kConnected) return std::string(to_string(route.source));
  const bool vpc = !route.hops.empty() && route.hops.front().attachment &&
                   route.hops.front().attachment->kind == ipc::AttachmentKind::kVpc;
  return vpc ? "vpc" : "inside";
}

}  // namespace

Programmed::Programmed(ipc::Stats stats, control::TableProgrammer::Status status)
    : stats_(std::move(stats)), status_(std::move(status)) {
  for (std::size_t i = 0; i < stats_.attachments.size(); ++i) attachments_.emplace(stats_.attachments[i].attachment, i);
  for (std::size_t i = 0; i < stats_.neighbors.size(); ++i) {
    if (stats_.neighbors[i].circuit.value() == 0) neighbors_.emplace(stats_.neighbors[i].destination, i);
  }
  for (std::size_t i = 0; i < stats_.sas.size(); ++i) sas_.emplace(stats_.sas[i].tunnel, i);
}

const ipc::AttachmentStats* Programmed::attachment(ipc::AttachmentRef attachment) const {
  const auto found = attachments_.find(attachment);
  return found == attachments_.end() ? nullptr : &stats_.attachments[found->second];
}

const ipc::NeighborStats* Programmed::neighbor(const IpAddress& destination) const {
  const auto found = neighbors_.find(destination);
  return found == neighbors_.end() ? nullptr : &stats_.neighbors[found->second];
}

std::vector<const ipc::SaStats*> Programmed::sas_of(TunnelId tunnel) const {
  std::vector<const ipc::SaStats*> sas;
  for (auto [it, end] = sas_.equal_range(tunnel); it != end; ++it) sas.push_back(&stats_.sas[it->second]);
  return sas;
}

json accounting_json(const ipc::Accounting& accounting) {
  return {{"received", accounting.received},
          {"originated", accounting.originated},
          {"sent", accounting.sent},
          {"punted", accounting.punted},
          {"dropped", accounting.dropped},
          {"icmp_suppressed", accounting.icmp_suppressed}};
}

json drops_json(const ipc::Stats& stats) {
  json too_big = json::object();
  for (const auto& outcome : stats.too_big) too_big[outcome.name] = outcome.packets;
  json drops = json::array();
  for (const auto& drop : stats.drops) {
    drops.push_back(
        {{"name", drop.name}, {"reference", drop.reference}, {"sentence", drop.sentence}, {"packets", drop.packets}});
  }
  return {{"accounting", accounting_json(stats.accounting)},
          {"drops", std::move(drops)},
          {"packet_too_big", std::move(too_big)}};
}

json uplinks_json(const std::vector<ipc::UplinkStats>& uplinks) {
  json list = json::array();
  for (const auto& uplink : uplinks) {
    list.push_back({{"interface", uplink.interface},
                    {"up", uplink.up},
                    {"mode", uplink.mode},
                    {"queues", uplink.queues},
                    {"error", uplink.error},
                    {"rx_packets", uplink.rx_packets},
                    {"rx_bytes", uplink.rx_bytes},
                    {"tx_packets", uplink.tx_packets},
                    {"tx_bytes", uplink.tx_bytes},
                    {"xdp_forwarding", uplink.xdp_forwarding},
                    {"xdp_packets", uplink.xdp_packets},
                    {"control_rings", uplink.control_rings},
                    {"rx_ring_full", uplink.rx_ring_full},
                    {"control_ring_full", uplink.control_ring_full},
                    {"fill_ring_empty", uplink.fill_ring_empty}});
  }
  return list;
}

json workers_json(const std::vector<ipc::WorkerStats>& workers) {
  json list = json::array();
  for (const auto& worker : workers) {
    json queues = json::array();
    for (const auto& queue : worker.queues) queues.push_back({{"interface", queue.interface}, {"queue", queue.queue}});
    list.push_back({{"name", "worker" + std::to_string(list.size())},
                    {"cpu", worker.cpu ? json(*worker.cpu) : json(nullptr)},
                    {"busy_percent", worker.busy_percent},
                    {"received", worker.received},
                    {"dropped", worker.dropped},
                    {"queues", std::move(queues)}});
  }
  return list;
}

std::string tunnel_state(const TunnelConfig& tunnel, const ipsec::TunnelStatus* status) {
  if (!tunnel.enabled) return "disabled";
  if (status == nullptr) return "down";
  switch (status->state) {
    case ipsec::TunnelState::kUp:
      return "up";
    case ipsec::TunnelState::kIkeOnly:
      return "ike-only";
    case ipsec::TunnelState::kConnecting:
      return "connecting";
    case ipsec::TunnelState::kDown:
      return "down";
  }
  return "down";
}

json tunnel_json(const TunnelConfig& tunnel, std::uint32_t id, const ipsec::TunnelStatus* status,
                 const std::optional<Programmed>& programmed) {
  json observed = {{"state", tunnel_state(tunnel, status)}, {"children", json::array()}, {"problem", ""}, {"hint", ""}};
  if (status != nullptr) {
    observed["ike_state"] = status->ike_state;
    observed["ike_suite"] = status->ike_suite;
    observed["local"] = status->local;
    observed["remote"] = status->remote;
    observed["ike_age_seconds"] = status->ike_age_seconds;
    observed["established_in_ms"] = status->established_in_ms ? json(*status->established_in_ms) : json(nullptr);
    for (const auto& child : status->children) observed["children"].push_back(child_json(child));
    observed["problem"] = status->problem;
    observed["hint"] = status->hint;
  }

  json confirmed = nullptr;
  if (programmed) {
    if (const auto* attachment = programmed->attachment(ipc::AttachmentRef::tunnel(TunnelId(id)))) {
      const auto sas = programmed->sas_of(TunnelId(id));
      confirmed = attachment_json(*attachment, *programmed);
      confirmed["path"] = path_of(sas, *programmed);
      confirmed["sas"] = json::array();
      for (const auto* sa : sas) confirmed["sas"].push_back(sa_json(*sa));
    }
  }
  return {{"name", tunnel.name},
          {"id", id},
          {"config", config::to_json(tunnel)},
          {"observed", std::move(observed)},
          {"programmed", std::move(confirmed)}};
}

json vpc_json(const VpcConfig& vpc, const std::optional<Programmed>& programmed) {
  json observed = {{"vteps", json::array()}, {"problem", ""}, {"hint", ""}};
  json confirmed = nullptr;
  if (programmed) {
    std::size_t unresolved = 0;
    for (const auto& vtep : vteps_of(vpc)) {
      json entry = {{"address", vtep.to_string()}, {"resolved", false}};
      if (const auto* neighbor = programmed->neighbor(vtep)) {
        entry["interface"] = neighbor->interface;
        entry["mac"] = neighbor->mac.to_string();
        entry["resolved"] = neighbor->resolved;
        entry["mtu"] = neighbor->mtu;
        entry["learned_mtu"] = neighbor->learned_mtu;
      }
      if (!entry["resolved"].get<bool>()) ++unresolved;
      observed["vteps"].push_back(std::move(entry));
    }
    if (unresolved != 0) {
      observed["problem"] = std::to_string(unresolved) + " of its VTEPs have no resolved neighbor";
      observed["hint"] = "is the compute host up, and is there a route to it? (ip neigh; ip route get VTEP)";
    }
    if (const auto* attachment = programmed->attachment(ipc::AttachmentRef::vpc(vpc.vni))) {
      confirmed = attachment_json(*attachment, *programmed);
    }
  }
  return {{"name", vpc.name},
          {"vni", vpc.vni.value()},
          {"config", config::to_json(vpc)},
          {"observed", std::move(observed)},
          {"programmed", std::move(confirmed)}};
}

json circuit_json(const CircuitConfig& circuit, CircuitId id, const GatewayConfig& config,
                  const std::optional<Programmed>& programmed, const std::string& netns_prefix) {
  auto seen = observe(circuit, id, config, programmed ? &programmed->stats() : nullptr, netns_prefix);
  json confirmed = nullptr;
  if (programmed) {
    if (const auto* attachment = programmed->attachment(ipc::AttachmentRef::circuit(id))) {
      confirmed = attachment_json(*attachment, *programmed);
    }
  }
  return {{"name", circuit.name},
          {"id", id.value()},
          {"interface", control::circuit_interface(id)},
          {"config", config::to_json(circuit)},
          {"observed",
           {{"state", seen.state},
            {"neighbors", std::move(seen.neighbors)},
            {"problem", seen.problem},
            {"hint", seen.hint}}},
          {"programmed", std::move(confirmed)}};
}

json route_json(const control::RouteView& route, DomainId domain, const control::TableProgrammer::Status& status) {
  json nexthops = json::array();
  for (const auto& hop : route.hops) {
    json entry = {{"name", hop.attachment ? hop.attachment_name : hop.interface},
                  {"gateway", hop.gateway ? json(hop.gateway->to_string()) : json(nullptr)},
                  {"weight", hop.weight}};
    if (hop.attachment) {
      const auto kind = hop.attachment->kind;
      entry["kind"] = kind == ipc::AttachmentKind::kVpc       ? "vpc"
                      : kind == ipc::AttachmentKind::kCircuit ? "circuit"
                                                              : "tunnel";
    } else {
      entry["kind"] = "unresolved";
      if (entry["name"].get<std::string>().empty()) entry["name"] = hop.attachment_name;
      entry["problem"] = hop.problem;
    }
    nexthops.push_back(std::move(entry));
  }
  bool refused = false;
  if (!status.refused.empty()) {
    ipc::Route key;
    key.domain = domain;
    key.prefix = route.prefix;
    refused = status.refused.contains(ipc::key_of(key));
  }
  return {{"prefix", route.prefix.to_string()},
          {"origin", origin_of(route)},
          {"action", route.source == control::RouteSource::kLocal ? "local" : "forward"},
          {"distance", route.distance},
          {"nexthops", std::move(nexthops)},
          {"resolved", route.resolved},
          {"selected", route.selected},
          {"backup", route.backup},
          {"programmed", route.selected && status.synchronized && !refused},
          {"reason", route.reason}};
}

json domain_bgp_json(const DomainConfig& domain, const bgp::SpeakerStatus& status) {
  json neighbors = json::array();
  for (const auto& neighbor : domain.bgp->neighbors) {
    json observed = {{"state", "Unknown"}, {"problem", ""}, {"hint", ""}};
    const auto found = std::find_if(status.neighbors.begin(), status.neighbors.end(),
                                    [&](const auto& candidate) { return candidate.name == neighbor.name; });
    if (found != status.neighbors.end()) {
      observed = {{"state", found->state},
                  {"uptime_seconds", found->uptime_seconds},
                  {"prefixes_received", found->prefixes_received},
                  {"prefixes_accepted", found->prefixes_accepted},
                  {"prefixes_sent", found->prefixes_sent},
                  {"bfd_state", found->bfd_state},
                  {"problem", found->problem},
                  {"hint", found->hint}};
    }
    neighbors.push_back(
        {{"name", neighbor.name}, {"config", config::to_json(neighbor)}, {"observed", std::move(observed)}});
  }
  return {{"name", domain.name},
          {"config", config::to_json(*domain.bgp)},
          {"observed",
           {{"running", status.running},
            {"fpm_connected", status.fpm_connected},
            {"problem", status.problem},
            {"hint", status.hint}}},
          {"neighbors", std::move(neighbors)}};
}

void add_tunnel_problems(const GatewayConfig& config, const TunnelStatuses& statuses,
                         std::vector<control::Problem>& problems) {
  for (const auto& tunnel : config.tunnels) {
    const auto* found = statuses.find(tunnel.name);
    const auto state = tunnel_state(tunnel, found);
    if (state == "up" || state == "disabled") continue;
    control::Problem problem{"tunnel " + tunnel.name, state, {}};
    if (found != nullptr && !found->problem.empty()) {
      problem.what = state + ": " + found->problem;
      problem.hint = found->hint;
    }
    problems.push_back(std::move(problem));
  }
}

void add_bgp_problems(const DomainConfig& domain, const bgp::SpeakerStatus& status,
                      std::vector<control::Problem>& problems) {
  if (!status.problem.empty()) problems.push_back({"frr/" + domain.name, status.problem, status.hint});
  for (const auto& neighbor : status.neighbors) {
    if (neighbor.state == "Established") continue;
    control::Problem problem{"neighbor " + domain.name + "/" + neighbor.name, neighbor.state, neighbor.hint};
    if (!neighbor.problem.empty()) problem.what += ": " + neighbor.problem;
    problems.push_back(std::move(problem));
  }
}

void add_forwarder_problems(const GatewayConfig& config, const ipc::Stats& stats,
                            std::vector<control::Problem>& problems) {
  for (const auto& uplink : stats.uplinks) {
    if (!uplink.error.empty()) {
      problems.push_back({"uplink " + uplink.interface, uplink.error, "it is tried again every second; simplon doctor looks at the NIC"});
    } else if (!uplink.up) {
      problems.push_back({"uplink " + uplink.interface, "the link is down", "ip link show " + uplink.interface});
    }
  }
  std::set<IpAddress> lost;
  for (const auto& neighbor : stats.neighbors) {
    if (neighbor.circuit.value() == 0 && !neighbor.resolved) lost.insert(neighbor.destination);
  }
  std::set<IpAddress> unresolved;
  for (const auto& vpc : config.vpcs) {
    for (const auto& vtep : vteps_of(vpc)) {
      if (lost.contains(vtep)) unresolved.insert(vtep);
    }
  }
  for (const auto& vtep : unresolved) {
    problems.push_back({"vtep " + vtep.to_string(), "there is no route or no neighbor for it",
                        "is the compute host up? (ip route get " + vtep.to_string() + "; ip neigh)"});
  }
}

void add_circuit_problems(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::Stats& stats,
                          const std::string& netns_prefix, std::vector<control::Problem>& problems) {
  for (const auto& circuit : config.circuits) {
    const auto id = ids.circuit(circuit.name);
    if (!id) continue;
    const auto seen = observe(circuit, *id, config, &stats, netns_prefix);
    if (!seen.problem.empty()) problems.push_back({"circuit " + circuit.name, seen.problem, seen.hint});
  }
}

}  // namespace simplon::daemon
