// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <string>
#include <vector>

#include "gateway/doctor/src/sections.h"

namespace simplon::doctor {
namespace {

/// "worker0", "worker1 and worker2": of those numbers.
std::string names_of(const std::vector<std::size_t>& numbers) {
  std::string names;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) names += i + 1 == numbers.size() ? " and " : ", ";
    names += "worker" + std::to_string(numbers[i]);
  }
  return names;
}

/// A worker without packets of its own helps with the cryptography of tunnels, and has its share of the connections of access
/// lists and NAT (adr/0015).
bool has_work_without_queues(const GatewayConfig& config) {
  return !config.tunnels.empty() || !config.acls.empty() ||
         std::any_of(config.domains.begin(), config.domains.end(), [](const auto& domain) { return !domain.nat.empty(); });
}

/// Queue q of an uplink is worker (q modulo their number)'s, so one may have several, and none only where every uplink has
/// fewer queues than there are workers.
Finding check_queues(const Facts& facts) {
  std::vector<std::size_t> idle;
  std::uint32_t queues = 0;
  for (std::size_t i = 0; i < facts.workers.size(); ++i) {
    queues += facts.workers[i].queues;
    if (facts.workers[i].queues == 0) idle.push_back(i);
  }
  const std::string sum = std::to_string(facts.workers.size()) + (facts.workers.size() == 1 ? " worker" : " workers") + " for " +
                          std::to_string(queues) + (queues == 1 ? " receive queue" : " receive queues");
  // Without uplinks, or while they are down, there is nothing to share out.
  if (idle.empty() || queues == 0) return {"workers.queues", Verdict::kOk, sum, ""};
  const std::string who = sum + ": " + names_of(idle) + (idle.size() == 1 ? " receives" : " receive") + " nothing from any uplink";
  if (has_work_without_queues(facts.gateway.config)) {
    return {"workers.queues", Verdict::kOk, who + " and only helps with tunnels, and with connections of access lists and NAT", ""};
  }
  const std::size_t useful = facts.workers.size() - idle.size();
  return {"workers.queues", Verdict::kWarning, who + ": no uplink has that many queues, and there are no tunnels, lists or NAT to help with",
          "give the uplinks more queues (ethtool -L NAME combined " + std::to_string(facts.workers.size()) + "), or set --workers " +
              std::to_string(useful) + " in /etc/default/simplon-forwarder and systemctl restart simplon-forwarder"};
}

Finding check_cpus(const Facts& facts) {
  const std::string id = "workers.cpus";
  std::vector<std::size_t> lost;
  std::string places;
  for (std::size_t i = 0; i < facts.workers.size(); ++i) {
    const auto& cpu = facts.workers[i].cpu;
    if (!cpu) continue;
    if (facts.online_cpus && !facts.online_cpus->contains(*cpu)) lost.push_back(i);
    places += (places.empty() ? "" : ", ") + std::string("worker") + std::to_string(i) + " on CPU " + std::to_string(*cpu) +
              (facts.isolated_cpus.contains(*cpu) ? " (isolated: nothing else runs there)" : "");
  }
  if (places.empty()) return {id, Verdict::kOk, "the workers run where the kernel puts them", ""};
  if (!facts.online_cpus) return {id, Verdict::kUnseen, "whether the CPUs of the workers run is not visible: " + places, ""};
  if (lost.empty()) return {id, Verdict::kOk, "the workers are bound: " + places, ""};
  return {id, Verdict::kFailed,
          names_of(lost) + (lost.size() == 1 ? " is bound to a CPU that is" : " are bound to CPUs that are") +
              " offline, so the kernel runs it elsewhere, and the forwarder would not start again: " + places,
          "echo 1 > /sys/devices/system/cpu/cpuN/online; or name others in --worker-cpus in /etc/default/simplon-forwarder"};
}

}  // namespace

void judge_workers(const Facts& facts, Findings& findings) {
  if (facts.workers.empty()) return;  // that the forwarder does not answer is a finding of its own
  findings.push_back(check_queues(facts));
  findings.push_back(check_cpus(facts));
}

}  // namespace simplon::doctor
