// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

std::string verdict_words(const json& reply) {
  const std::string verdict = text(reply, "verdict");
  if (verdict == "dropped") return "DROPPED";
  if (verdict == "to-kernel") return "to our own kernel";
  if (verdict == "waiting") return "WAITING for its SA";
  return or_dash(verdict);
}

/// "icmp_errors", and whose step it is if it is not the packet's own.
std::string stage_words(const json& step) {
  const std::string packet = text(step, "packet");
  const std::string stage = text(step, "stage");
  if (packet == "icmp-error") return stage + " (ICMP error)";
  if (packet == "fragment") return stage + " (fragment)";
  return stage;
}

std::string heading(const json& reply) {
  const json& from = at(reply, "from");
  return "from " + or_dash(text(from, "kind")) + " " + or_dash(text(from, "name"));
}

}  // namespace

Page render_trace(const json& reply, Style style) {
  Page page;
  const std::string verdict = text(reply, "verdict");
  const json& drop = at(reply, "drop");
  page.degraded = verdict != "forwarded" && verdict != "to-kernel";
  page.text = colored(verdict_words(reply), page.degraded ? Mood::kBad : Mood::kGood, style);
  if (drop.is_object()) page.text += " " + or_dash(text(drop, "name"));
  page.text += "   " + heading(reply) + (flag(reply, "live") ? "   a real packet" : "");
  if (has(reply, "generation")) page.text += "   generation " + std::to_string(number(reply, "generation"));
  page.text += "\n" + paragraph(or_dash(text(reply, "packet")), 2, 2) + "\n";

  Table table({}, 2);
  for (const json& step : list(reply, "steps")) {
    std::string stage = stage_words(step);
    for (const json& fact : list(step, "facts")) {
      table.add({stage, text(fact, "name"), text(fact, "value")});
      stage.clear();
    }
    const std::string reason = text(step, "drop");
    if (!reason.empty()) {
      table.add({stage, "DROPPED", reason});
    } else if (!stage.empty()) {
      table.add({stage, "", ""});
    }
  }
  page.text += table.render();
  if (drop.is_object()) {
    page.text += "\n" + paragraph(or_dash(text(drop, "name")) + ": " + text(drop, "sentence") + " (" + or_dash(text(drop, "reference")) + ")", 2, 2);
    if (const std::string remedy = text(drop, "remedy"); !remedy.empty()) page.text += paragraph("hint: " + remedy, 2, 8);
  }
  return page;
}

}  // namespace simplon::cli
