// SPDX-License-Identifier: GPL-2.0-or-later
#include <chrono>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"
#include "gateway/config/document.h"
#include "gateway/doctor/checks.h"
#include "gateway/ipc/api.h"
#include "platform/base/utc.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

struct Options {
  std::vector<std::string> interfaces;
  bool all = false;
};

/// What simplond knows; that it does not answer is a finding, not an error.
void ask_gateway(const Session& session, doctor::GatherOptions& options) {
  const auto status = session.get("/v1/status");
  if (!status || status->contains("errors")) {
    options.gateway.problem = status ? text(list(*status, "errors").front(), "what") : status.error().what;
    return;
  }
  options.gateway.reachable = true;
  for (const auto& program : list(*status, "programs")) {
    if (text(program, "name") == "simplon-forwarder") options.gateway.forwarder_up = flag(program, "up");
    if (text(program, "name") == "charon") options.gateway.charon_up = flag(program, "up");
  }
  for (const auto& uplink : list(*status, "uplinks")) {
    auto& told = options.uplinks[text(uplink, "interface")];
    told.xdp_mode = text(uplink, "mode");
    told.error = text(uplink, "error");
    told.queues = static_cast<std::uint32_t>(number(uplink, "queues"));
    told.control_rings = static_cast<std::uint32_t>(number(uplink, "control_rings"));
    told.rx_packets = number(uplink, "rx_packets");
    told.rx_ring_full = number(uplink, "rx_ring_full");
    told.control_ring_full = number(uplink, "control_ring_full");
    told.fill_ring_empty = number(uplink, "fill_ring_empty");
  }
  for (const auto& worker : list(*status, "workers")) {
    auto& told = options.workers.emplace_back();
    if (has(worker, "cpu")) told.cpu = static_cast<std::uint32_t>(number(worker, "cpu"));
    told.queues = static_cast<std::uint32_t>(list(worker, "queues").size());
  }
  const auto config = session.get("/v1/config");
  const json refused = config ? at(*config, "errors") : json();
  const bool readable = config && !config->contains("errors");
  if (!config || (!readable && text(refused.front(), "code") == to_string(ErrorCode::kUnavailable))) {
    // Not known is not none.
    options.gateway.reachable = false;
    options.gateway.problem = config ? text(refused.front(), "what") : config.error().what;
    return;
  }
  if (text(*status, "verdict") == "unmanaged" || !readable) {
    options.gateway.unreadable = readable ? "the configuration is not in force" : text(refused.front(), "what");
  }
  if (readable) {
    options.gateway.config = config::parse_document(text(*config, "document")).config;
    if (const auto when = parse_utc(text(*config, "when"))) {
      options.gateway.applied_at = std::chrono::duration_cast<std::chrono::seconds>(when->time_since_epoch()).count();
    }
  }
}

json to_json(const std::vector<doctor::Finding>& findings, bool root) {
  json reply = {{"api", ipc::kApiVersion},
                {"verdict", std::string(to_string(overall(findings)))},
                {"root", root},
                {"findings", json::array()}};
  for (const auto& finding : findings) {
    reply["findings"].push_back({{"id", finding.id},
                                 {"verdict", std::string(to_string(finding.verdict))},
                                 {"what", finding.what},
                                 {"remedy", finding.remedy}});
  }
  return reply;
}

int examine(const Session& session, const Options& options) {
  doctor::GatherOptions gather;
  gather.interfaces = options.interfaces;
  gather.on_step = [&](const char* subject) { session.progress(std::string("looking at ") + subject); };
  ask_gateway(session, gather);
  const auto facts = doctor::gather(gather);
  session.progress({});
  const json reply = to_json(doctor::judge(facts), facts.root);
  return session.print(reply, render_doctor(reply, options.all, session.style()));
}

}  // namespace

Page render_doctor(const json& reply, bool all, Style style) {
  std::uint64_t good = 0, unseen = 0, warnings = 0, failures = 0;
  std::string body;
  const auto add = [&](const json& finding, const char* label, Mood mood) {
    const std::string first = paragraph(label + std::string("  ") + text(finding, "id") + ": " + text(finding, "what"), 2, 4);
    body += style.color ? "  " + colored(label, mood, style) + first.substr(2 + std::string(label).size()) : first;
    if (const std::string remedy = text(finding, "remedy"); !remedy.empty()) body += paragraph("hint: " + remedy, 4, 10);
  };
  // What is worst comes last, next to the prompt.
  for (const auto& [verdict, label, mood] : {std::tuple{"ok", "ok", Mood::kGood}, std::tuple{"unseen", "unseen", Mood::kNeutral},
                                             std::tuple{"warning", "warning", Mood::kBad},
                                             std::tuple{"failed", "FAILED", Mood::kBad}}) {
    for (const auto& finding : list(reply, "findings")) {
      if (text(finding, "verdict") != verdict) continue;
      auto& count = std::string_view(verdict) == "ok" ? good : std::string_view(verdict) == "unseen" ? unseen : std::string_view(verdict) == "warning" ? warnings : failures;
      ++count;
      if (all || std::string_view(verdict) != "ok") add(finding, label, mood);
    }
  }
  Page page;
  page.degraded = warnings + failures > 0;
  std::string verdict = "this host is fit for a gateway";
  if (failures > 0) {
    verdict = plural(failures, "check") + " failed";
    if (warnings > 0) verdict += ", " + plural(warnings, "warning");
  } else if (warnings > 0) {
    verdict = plural(warnings, "warning");
  }
  page.text = colored(verdict, page.degraded ? Mood::kBad : Mood::kGood, style) + "   " + plural(good, "check") + " passed" +
              (unseen > 0 ? ", " + std::to_string(unseen) + " not visible" : "") + "\n" + body;
  return page;
}

void declare_doctor(Commands& commands) {
  const auto options = std::make_shared<Options>();
  CLI::App* doctor = commands.noun("doctor", "what is wrong with this host and its NICs, and what to do about it",
                                   "simplon doctor\nsimplon doctor --interface eth0 --all");
  commands.values(doctor->add_option("--interface", options->interfaces, "this NIC; default: the uplinks of the configuration")
                      ->type_name("NAME")
                      ->allow_extra_args(false),
                  Values::kInterfaces);
  doctor->add_flag("--all", options->all, "also what is right");
  commands.on(doctor, [&session = commands.session(), options] { return examine(session, *options); });
}

}  // namespace simplon::cli
