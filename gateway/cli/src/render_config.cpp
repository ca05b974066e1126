// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "gateway/cli/src/document_header.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxShownChanges = 200;

std::string shown(const std::string& value) { return value.empty() ? "(none)" : value; }

}  // namespace

Page render_config(const json& reply, Style) {
  const std::string document = text(reply, "document");
  Page page;
  if (number(reply, "version") == 0) {
    page.text = "# nothing is configured yet\n# hint: simplon apply FILE\n";
    return page;
  }
  page.text = document_header(reply);
  // A document that was applied from such a page has the header of that one.
  page.text += below_header(document);
  if (!document.empty() && document.back() != '\n') page.text += "\n";
  if (document.empty()) page.text += "# the configuration is empty\n";
  return page;
}

Page render_history(const json& reply, Style style) {
  Page page;
  const json& versions = list(reply, "versions");
  const std::uint64_t current = number(reply, "current");
  if (versions.empty()) {
    page.text = "nothing was ever applied\n  hint: simplon apply FILE\n";
    return page;
  }
  page.text = "version " + std::to_string(current) + " is current, " + plural(versions.size(), "version") + " kept\n";
  Table table({"VERSION", "WHEN", "WHO", "OUTCOME", "COMMENT"}, 2);
  for (const auto& version : versions) {
    std::string label = std::to_string(number(version, "version"));
    if (number(version, "version") == current) label += has(reply, "pending") ? " probation" : " current";
    std::string who = text(version, "who");
    if (has(version, "uid")) who += " (" + std::to_string(number(version, "uid")) + ")";
    std::string outcome = text(version, "outcome");
    if (const std::string reason = text(version, "outcome_reason"); !reason.empty()) outcome += ": " + reason;
    table.add({label, text(version, "when"), who, outcome, text(version, "comment")});
  }
  page.text += table.render() + render_pending(at(reply, "pending"), style);
  return page;
}

std::string render_changes(const json& reply, Style) {
  std::string out;
  std::size_t count = 0;
  for (const auto& change : list(reply, "changes")) {
    if (++count > kMaxShownChanges) {
      out += "  ... and " + plural(list(reply, "changes").size() - kMaxShownChanges, "more change", "more changes") +
             ": see --json\n";
      break;
    }
    const std::string kind = text(change, "kind");
    const std::string object = text(change, "object") + " " + text(change, "name");
    if (kind == "added") {
      out += paragraph("+ " + object + "  " + text(change, "new"), 2, 6);
    } else if (kind == "removed") {
      out += paragraph("- " + object + "  " + text(change, "old"), 2, 6);
    } else {
      out += paragraph("~ " + object + "  " + text(change, "field") + ": " + shown(text(change, "old")) + " -> " +
                           shown(text(change, "new")),
                       2, 6);
    }
  }
  if (!list(reply, "impact").empty()) out += "impact:\n";
  count = 0;
  for (const auto& impact : list(reply, "impact")) {
    if (++count > kMaxShownChanges) break;
    out += paragraph(text(impact, "object") + " " + text(impact, "name") + ": " + text(impact, "words"), 2, 6);
  }
  return out;
}

std::string render_warnings(const json& reply, Style) {
  std::string out;
  for (const auto& warning : list(reply, "warnings")) {
    std::string line = "warning: ";
    if (const std::string path = text(warning, "path"); !path.empty()) line += path + ": ";
    out += paragraph(line + text(warning, "what"), 2, 4);
    if (const std::string hint = text(warning, "hint"); !hint.empty()) out += paragraph("hint: " + hint, 4, 10);
  }
  return out;
}

std::string render_errors(const json& reply, const std::string& verdict, Style style) {
  const json& errors = list(reply, "errors");
  std::string out;
  if (errors.size() == 1 && text(errors.front(), "path").empty() && !has(errors.front(), "line")) {
    const json& error = errors.front();
    out = colored(verdict, Mood::kBad, style) + ": ";
    out = paragraph(out + text(error, "what"), 0, 2);
    if (const std::string hint = text(error, "hint"); !hint.empty()) out += paragraph("hint: " + hint, 2, 8);
    return out;
  }
  out = colored(verdict, Mood::kBad, style) + ": " + plural(errors.size(), "error") + ", nothing was changed\n";
  for (const auto& error : errors) {
    std::string place;
    if (has(error, "line")) place = "line " + std::to_string(number(error, "line"));
    if (const std::string path = text(error, "path"); !path.empty()) place += (place.empty() ? "" : ": ") + path;
    if (const std::string value = text(error, "value"); !value.empty()) place += " = " + value;
    if (!place.empty()) out += paragraph(place, 2, 6);
    out += paragraph(text(error, "what"), 6, 8);
    if (const std::string hint = text(error, "hint"); !hint.empty()) out += paragraph("hint: " + hint, 6, 12);
  }
  return out;
}

}  // namespace simplon::cli
