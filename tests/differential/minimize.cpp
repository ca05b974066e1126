// SPDX-License-Identifier: GPL-2.0-or-later
//
// Leaves out what is not needed for the disagreement, in halves and ever smaller parts (delta debugging, after Zeller
// and Hildebrandt, 2002): first packets, then changes of the tables.
#include "tests/differential/minimize.h"

#include <algorithm>
#include <functional>
#include <string>

namespace simplon::differential {
namespace {

/// What kind of disagreement it is, without numbers and names; empty: it is none.
std::string kind_of(const std::optional<Disagreement>& wrong) {
  if (!wrong) return {};
  std::string kind = wrong->what.substr(0, wrong->what.find(':'));
  std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
  return kind;
}

bool is_burst(const Event& event) { return std::holds_alternative<Burst>(event); }

/// Tries to remove runs of the events that `removable` names.
bool leave_out(Scenario& scenario, const std::string& kind, const std::function<bool(const Event&)>& removable) {
  bool smaller = false;
  const auto count = [&] {
    return static_cast<std::size_t>(std::count_if(scenario.events.begin(), scenario.events.end(), removable));
  };
  for (std::size_t run = count(); run > 0; run /= 2) {
    for (std::size_t start = 0; start < count();) {
      Scenario shorter{scenario.limits, {}};
      std::size_t index = 0;
      for (const Event& event : scenario.events) {
        const bool candidate = removable(event);
        if (candidate && index >= start && index < start + run) {
          ++index;
          continue;
        }
        if (candidate) ++index;
        shorter.events.push_back(event);
      }
      if (kind_of(replay(shorter)) == kind) {
        scenario = std::move(shorter);
        smaller = true;
      } else {
        start += run;
      }
    }
  }
  return smaller;
}

/// One packet a burst, if it still fails then; otherwise only what stands behind the failure goes.
Scenario split(const Scenario& scenario) {
  Scenario single{scenario.limits, {}};
  for (const Event& event : scenario.events) {
    const auto* burst = std::get_if<Burst>(&event);
    if (burst == nullptr) {
      single.events.push_back(event);
      continue;
    }
    bool first = true;
    for (const Input& input : burst->inputs) {
      single.events.emplace_back(Burst{{input}, burst->accept, first ? burst->nanoseconds : 0});
      first = false;
    }
  }
  return single;
}

bool thin_out_bursts(Scenario& scenario, const std::string& kind) {
  bool smaller = false;
  for (std::size_t at = 0; at < scenario.events.size(); ++at) {
    for (std::size_t i = 0; is_burst(scenario.events[at]) && i < std::get<Burst>(scenario.events[at]).inputs.size();) {
      Scenario shorter = scenario;
      auto& inputs = std::get<Burst>(shorter.events[at]).inputs;
      inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(i));
      if (inputs.empty() || kind_of(replay(shorter)) != kind) {
        ++i;
        continue;
      }
      scenario = std::move(shorter);
      smaller = true;
    }
  }
  return smaller;
}

}  // namespace

std::optional<Disagreement> replay(const Scenario& scenario) {
  Duel duel(scenario.limits);
  for (const Event& event : scenario.events) {
    if (auto wrong = duel.play(event)) return wrong;
  }
  if (auto wrong = duel.compare_connections()) return wrong;
  return duel.compare_counters();
}

Scenario minimize(Scenario scenario) {
  const std::string kind = kind_of(replay(scenario));
  // Most packets leave no state behind, so the last burst alone fails often enough, and everything after is fast.
  Scenario last{scenario.limits, {}};
  for (const Event& event : scenario.events) {
    if (!is_burst(event)) last.events.push_back(event);
  }
  if (!scenario.events.empty() && is_burst(scenario.events.back())) last.events.push_back(scenario.events.back());
  if (kind_of(replay(last)) == kind) scenario = std::move(last);
  if (Scenario single = split(scenario); kind_of(replay(single)) == kind) scenario = std::move(single);
  leave_out(scenario, kind, is_burst);
  thin_out_bursts(scenario, kind);
  while (leave_out(scenario, kind, [](const Event& event) { return !is_burst(event); })) {
  }
  return scenario;
}

std::string report(const Scenario& scenario) {
  std::string text;
  if (scenario.limits.icmp_errors)
    text += "at most " + std::to_string(*scenario.limits.icmp_errors) + " ICMP errors a second\n";
  for (const Event& event : scenario.events) {
    if (const auto* change = std::get_if<oracle::Change>(&event)) {
      text += describe(*change) + "\n";
      continue;
    }
    const auto& burst = std::get<Burst>(event);
    text += "burst of " + std::to_string(burst.inputs.size());
    if (burst.accept) text += ", ports take " + std::to_string(*burst.accept);
    if (burst.nanoseconds > 0) text += ", " + std::to_string(burst.nanoseconds) + " ns later";
    text += "\n";
    for (const Input& input : burst.inputs) {
      text += "  on port " + std::to_string(input.port.value()) + ": " +
              describe_frame(input.bytes, input.port.value() < 3) + "\n";
    }
  }
  const auto wrong = replay(scenario);
  if (!wrong) return text + "no disagreement\n";
  return text + "\n" + wrong->what + "\nengine:\n" + wrong->engine + "oracle:\n" + wrong->oracle;
}

}  // namespace simplon::differential
