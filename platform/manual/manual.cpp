// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/manual/manual.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <sstream>
#include <utility>

// In man(7) a line that begins with a dot or an apostrophe is a request, a backslash begins an escape, and a plain "-"
// may be printed as a hyphen that nobody can paste into a shell.

namespace simplon {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += "\\&";
      out += c;
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '`') {
      out += "\\(ga";
    } else if (c == '^') {
      out += "\\(ha";
    } else if (c == '~') {
      out += "\\(ti";
    } else {
      out += c;
    }
  }
  return out;
}

std::string bold(const std::string& text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + escaped(text) + "\\fR"; }

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return text;
}

void add_paragraphs(std::string& page, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find("\n\n", at), text.size());
    const std::string paragraph = text.substr(at, end - at);
    const std::size_t tab = paragraph.find("\n\t");
    if (tab != std::string::npos) {
      page += ".TP\n" + bold(paragraph.substr(0, tab)) + "\n" + escaped(paragraph.substr(tab + 2)) + "\n";
    } else {
      if (at != 0) page += ".PP\n";
      page += escaped(paragraph) + "\n";
    }
    at = end + 2;
  }
}

/// Every command has --help; it is said once.
bool shown(const CLI::App& app, const CLI::Option& option) {
  return !option.get_group().empty() && (app.get_parent() == nullptr || &option != app.get_help_ptr());
}

/// Begins with a capital, unless the first word is a name or literal: those ("mTLS", "frr.conf", "vpc:NAME", "syn,ack",
/// "charon's") are no plain words. One that is made of letters only ("auto or udp") cannot be told from a word: do not
/// begin a description with it.
std::string sentence(std::string text) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto end = std::find_if_not(text.begin(), text.end(), lower);
  const bool lists = end != text.end() && *end == ',';
  const bool plain = end == text.end() || *end == ' ' || *end == ';' || (*end == ':' && end + 1 != text.end() && end[1] == ' ');
  if (!text.empty() && end != text.begin() && plain && !lists) text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::string option_words(const CLI::Option& option) {
  std::string words;
  for (const auto& name : option.get_snames()) words += (words.empty() ? "" : ", ") + bold("-" + name);
  for (const auto& name : option.get_lnames()) words += (words.empty() ? "" : ", ") + bold("--" + name);
  if (takes_value(option)) {
    std::string type = option.get_type_name();
    words += " " + italic(type.substr(0, type.find(':')));
  }
  return words;
}

void add_definitions(std::string& page, const CLI::App& app) {
  for (const bool arguments : {true, false}) {
    for (const auto* option : app.get_options()) {
      if (!shown(app, *option) || option->get_positional() != arguments) continue;
      page += ".TP\n" + (arguments ? italic(option->get_name(true)) : option_words(*option)) + "\n";
      page += escaped(sentence(option->get_description()));
      if (const std::string type = option->get_type_name(); type.find(":{") != std::string::npos) {
        page += escaped(" (" + type.substr(type.find(":{") + 2, type.size() - type.find(":{") - 3) + ")");
      }
      if (!arguments && option->get_required()) page += "; required";
      if (!option->get_default_str().empty()) page += ". Default: " + bold(option->get_default_str());
      page += ".\n";
    }
  }
}

void add_examples(std::string& page, const CLI::App& app) {
  std::istringstream lines(app.get_footer());
  std::string examples;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  ")) examples += escaped(line.substr(2)) + "\n";
  }
  if (!examples.empty()) page += ".PP\n.RS 4\n.EX\n" + examples + ".EE\n.RE\n";
}

std::string synopsis(const CLI::App& app, const std::string& name) {
  std::string line = bold(name);
  for (const auto* option : app.get_options()) {
    if (!shown(app, *option) || !option->get_required() || option->get_positional()) continue;
    line += " " + option_words(*option);
  }
  bool optional = false;
  for (const auto* option : app.get_options()) {
    if (shown(app, *option) && option->nonpositional() && !option->get_required()) optional = true;
  }
  if (optional) line += " [" + italic("OPTIONS") + "]";
  for (const auto* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string word = italic(option->get_name(true));
    line += option->get_required() ? " " + word : " [" + word + "]";
  }
  return line;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  auto commands = app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
  return {commands.begin(), commands.end()};
}

void add_command(std::string& page, const CLI::App& app, const std::string& before) {
  const std::string name = before + " " + app.get_name();
  page += ".SS " + synopsis(app, name) + "\n" + escaped(sentence(app.get_description())) + ".\n";
  // Of a noun, only what its verbs do not say again.
  add_definitions(page, app);
  add_examples(page, app);
  for (const auto* command : commands_of(app)) add_command(page, *command, name);
}

}  // namespace

std::string manual_page(const CLI::App& root, const ManualText& text) {
  const std::string name = root.get_name();
  std::string page = ".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n.TH " + upper(escaped(name)) + " " +
                     std::to_string(text.section) + " \"\" \"simplon " + escaped(text.version) + "\" \"Simplon\"\n";
  page += ".SH NAME\n" + escaped(name) + " \\- " + escaped(text.summary) + "\n.SH SYNOPSIS\n";
  page += synopsis(root, name);
  if (!commands_of(root).empty()) page += " " + italic("NOUN") + " [" + italic("VERB") + "] [" + italic("...") + "]";
  page += "\n.SH DESCRIPTION\n";
  add_paragraphs(page, text.description);
  page += ".SH OPTIONS\n";
  add_definitions(page, root);
  if (!commands_of(root).empty()) page += ".SH COMMANDS\n";
  for (const auto* command : commands_of(root)) add_command(page, *command, name);
  for (const auto& section : text.sections) {
    page += ".SH " + escaped(upper(section.title)) + "\n";
    add_paragraphs(page, section.text);
  }
  if (!text.see_also.empty()) {
    page += ".SH SEE ALSO\n";
    for (const auto& other : text.see_also) {
      const std::size_t open = std::min(other.find('('), other.size());
      page += ".BR " + escaped(other.substr(0, open)) + " " + other.substr(open) +
              (&other == &text.see_also.back() ? "\n" : " ,\n");
    }
  }
  return page;
}

void add_manual_flag(CLI::App& app, ManualText text) {
  app.add_flag_callback("--manual",
                        [&app, text = std::move(text)] {
                          std::cout << manual_page(app, text);
                          throw CLI::Success();
                        })
      ->group("");
}

}  // namespace simplon
