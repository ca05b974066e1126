// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

std::string render_pending(const json& pending, Style style) {
  if (!pending.is_object()) return {};
  const std::string words = "version " + number_or_dash(pending, "version") + " is on probation: in " +
                            format_age(number(pending, "seconds_left")) + " version " +
                            number_or_dash(pending, "reverts_to") + " comes back";
  const bool by_hand = !has(pending, "confirm_required") || flag(pending, "confirm_required");
  std::string out = problem_lines(
      {}, words, by_hand ? "to keep it: simplon confirm " + number_or_dash(pending, "version") : "it stays as soon as all gates have held", style);
  for (const auto& gate : list(pending, "gates")) {
    std::string state = "not looked at yet";
    if (flag(gate, "healthy")) {
      state = "healthy for " + std::to_string(number(gate, "held_seconds")) + " of " +
              std::to_string(number(gate, "needed_seconds")) + " s";
    } else if (has(gate, "healthy")) {
      state = text(gate, "problem");
    }
    out += paragraph("gate " + text(gate, "gate") + ": " + state, 4, 6);
  }
  return out;
}

namespace {

/// What is not as it should be between the kernel and the workers; empty if all is.
std::string ring_words(const json& uplink) {
  std::string words;
  const std::uint64_t queues = number(uplink, "queues");
  if (has(uplink, "control_rings") && number(uplink, "control_rings") < queues) {
    words += ", no ring for control packets";
    if (number(uplink, "control_rings") > 0) {
      words += " on " + std::to_string(queues - number(uplink, "control_rings")) + " of " + plural(queues, "queue");
    }
  }
  if (const auto lost = number(uplink, "rx_ring_full"); lost > 0) {
    words += ", " + plural(lost, "packet") + " lost because no worker took them in time";
  }
  if (const auto lost = number(uplink, "control_ring_full"); lost > 0) {
    words += ", " + plural(lost, "control packet") + " lost so too";
  }
  if (const auto times = number(uplink, "fill_ring_empty"); times > 0) {
    words += ", no frame to receive into " + plural(times, "time");
  }
  return words;
}

std::string on_backup(const json& programmed) {
  const std::uint64_t routes = has(programmed, "routes_on_backup") ? number(programmed, "routes_on_backup") : 0;
  return routes == 0 ? "" : ", " + std::to_string(routes) + " of them on backups";
}

/// What became of ICMP "packet too big" about outer packets.
std::string too_big_words(const json& outcomes) {
  std::string refused;
  std::uint64_t sum = 0;
  if (!outcomes.is_object()) return {};
  for (const auto& [name, packets] : outcomes.items()) {
    if (name == "learned" || name == "known" || number(outcomes, name.c_str()) == 0) continue;
    sum += number(outcomes, name.c_str());
    refused += (refused.empty() ? ": " : ", ") + name + " " + format_count(number(outcomes, name.c_str()));
  }
  const std::uint64_t learned = number(outcomes, "learned");
  const std::uint64_t known = number(outcomes, "known");
  if (learned + known + sum == 0) return {};
  return paragraph("ICMP packet too big about our packets: " + format_count(learned) + " learned, " + format_count(known) +
                       " known, " + format_count(sum) + " refused" + refused,
                   0, 2);
}

}  // namespace

Page render_status(const json& reply, Style style) {
  const std::string verdict = text(reply, "verdict");
  const bool good = verdict == "ok";
  const json& programmed = at(reply, "programmed");
  std::string forwarder = verdict == "unmanaged" ? "forwarder: goes on with what it has" : "forwarder: not connected";
  if (programmed.is_object()) {
    const auto confirmed = number(programmed, "generation_confirmed");
    const auto wanted = number(programmed, "generation_wanted");
    forwarder = "forwarder: generation " + std::to_string(confirmed) +
                (confirmed == wanted ? " (current)" : " (wanted: " + std::to_string(wanted) + ")");
  }
  Page page;
  page.degraded = !good;
  page.text = headline(
      {or_dash(text(reply, "gateway")), colored(upper(or_dash(verdict)), good ? Mood::kGood : Mood::kBad, style),
       "up " + format_age(number(reply, "uptime_seconds")),
       "configuration: version " + number_or_dash(at(reply, "config"), "version"), forwarder},
      style);

  const json& counts = at(reply, "counts");
  const auto of = [&](const char* part, const char* whole, const char* word) {
    return std::to_string(number(counts, part)) + " of " + std::to_string(number(counts, whole)) + " " + word;
  };
  page.text += "  tunnels " + of("tunnels_up", "tunnels", "up") + ", BGP " +
               of("bgp_established", "bgp_neighbors", "established") + ", " +
               plural(number(counts, "domains"), "domain") + ", " + plural(number(counts, "vpcs"), "VPC") + ", " +
               plural(number(counts, "endpoints"), "endpoint") +
               (number(counts, "circuits") > 0 ? ", " + plural(number(counts, "circuits"), "circuit") : "") +
               (has(programmed, "routes") ? ", " + plural(number(programmed, "routes"), "route") : "") + on_backup(programmed) + "\n";

  Table table({}, kIndent);
  for (const auto& program : list(reply, "programs")) {
    table.add({text(program, "name"), up_or_down(flag(program, "up")), text(program, "detail")});
  }
  for (const auto& uplink : list(reply, "uplinks")) {
    std::string detail = or_dash(text(uplink, "mode")) + ", " + plural(number(uplink, "queues"), "queue");
    detail +=
        ", in " + traffic(uplink, "rx_packets", "rx_bytes") + ", out " + traffic(uplink, "tx_packets", "tx_bytes");
    if (const std::string forwarding = text(uplink, "xdp_forwarding"); forwarding == "on") {
      detail += ", " + format_count(number(uplink, "xdp_packets")) + " forwarded in XDP";
    } else if (!forwarding.empty()) {
      detail += ", no forwarding in XDP: " + forwarding;
    }
    detail += ring_words(uplink);
    table.add({"uplink " + text(uplink, "interface"), up_or_down(flag(uplink, "up")), detail});
  }
  for (const auto& worker : list(reply, "workers")) {
    std::string detail = std::to_string(number(worker, "busy_percent")) + " % busy";
    if (has(worker, "cpu")) detail += " on CPU " + std::to_string(number(worker, "cpu"));
    std::string queues;
    for (const auto& queue : list(worker, "queues")) {
      queues += (queues.empty() ? "" : " ") + text(queue, "interface") + "/" + std::to_string(number(queue, "queue"));
    }
    detail += ", queues " + or_dash(queues) + ", in " + plural(number(worker, "received"), "packet");
    table.add({text(worker, "name"), "up", detail});
  }
  page.text += table.render();

  if (const json& accounting = at(reply, "accounting"); accounting.is_object()) {
    const auto count = [&](const char* key) { return format_count(number(accounting, key)) + " " + key; };
    page.text += paragraph("packets: " + count("received") + " + " + count("originated") + " = " + count("sent") +
                               " + " + count("punted") + " + " + count("dropped"),
                           kIndent, kIndent + 2);
  }
  page.text += render_pending(at(at(reply, "config"), "pending"), style);
  for (const auto& problem : list(reply, "problems")) {
    page.text += problem_lines(text(problem, "object"), text(problem, "what"), text(problem, "hint"), style);
  }
  return page;
}

Page render_drops(const json& reply, bool all, Style style) {
  Page page;
  const json& accounting = at(reply, "accounting");
  const auto count = [&](const char* key) { return number(accounting, key); };
  std::vector<json> drops;
  std::uint64_t sum = 0;
  for (const auto& drop : list(reply, "drops")) {
    sum += number(drop, "packets");
    if (all || number(drop, "packets") > 0) drops.push_back(drop);
  }
  std::stable_sort(drops.begin(), drops.end(),
                   [](const json& a, const json& b) { return number(a, "packets") > number(b, "packets"); });
  const bool exact = count("received") + count("originated") == count("sent") + count("punted") + count("dropped") &&
                     sum == count("dropped");
  page.text = plural(count("dropped"), "packet") + " dropped of " + format_count(count("received")) + " received and " +
              format_count(count("originated")) + " originated; " + format_count(count("sent")) + " sent, " +
              format_count(count("punted")) + " to the host\n";
  Table table({"PACKETS", "NAME", "WHY", "REFERENCE"}, kIndent);
  for (const auto& drop : drops)
    table.add(
        {format_count(number(drop, "packets")), text(drop, "name"), text(drop, "sentence"), text(drop, "reference")});
  if (!drops.empty()) page.text += table.render();
  if (const std::uint64_t suppressed = count("icmp_suppressed"); suppressed > 0) {
    page.text += plural(suppressed, "ICMP error") + " not sent: over the limit of an attachment or of all\n";
  }
  page.text += too_big_words(at(reply, "packet_too_big"));
  if (!exact) {
    page.degraded = true;
    page.text += problem_lines(
        {}, "the counters do not add up",
        "received + originated must be sent + to the host + dropped: please report it with `simplon drop show --json`",
        style);
  }
  return page;
}

Page render_drop(const json& drop, Style) {
  Page page;
  page.text = or_dash(text(drop, "name")) + "   " + plural(number(drop, "packets"), "packet") + " dropped\n" +
              paragraph(or_dash(text(drop, "sentence")), kIndent, kIndent);
  if (const std::string reference = text(drop, "reference"); !reference.empty()) {
    page.text += paragraph(reference, kIndent, kIndent);
  }
  return page;
}

}  // namespace simplon::cli
