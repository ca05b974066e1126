// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/commands.h"

#include <algorithm>
#include <utility>

namespace simplon::cli {
namespace {

std::string as_footer(const std::string& examples) {
  std::string footer = examples.find('\n') == std::string::npos ? "Example:" : "Examples:";
  for (std::size_t at = 0; at <= examples.size();) {
    const std::size_t end = std::min(examples.find('\n', at), examples.size());
    footer += "\n  " + examples.substr(at, end - at);
    at = end + 1;
  }
  return footer;
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const auto* candidate : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (candidate->get_name() == name) return candidate;
  }
  return nullptr;
}

const CLI::Option* find_option(const CLI::App& app, const std::string& word) {
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    if (const auto* option = at->get_option_no_throw(word); option != nullptr) return option;
  }
  return nullptr;
}

}  // namespace

CLI::App* Commands::command(CLI::App& parent, const std::string& name, const std::string& sentence,
                            const std::string& examples) {
  CLI::App* created = parent.add_subcommand(name, sentence);
  created->footer(as_footer(examples));
  created->fallthrough();
  examples_[created] = examples;
  return created;
}

void Commands::on(CLI::App* app, Action action) {
  app->callback([this, app, action = std::move(action)] {
    // The innermost command decides; callbacks of its parents run afterwards.
    if (app->get_subcommands().empty()) action_ = action;
  });
}

CLI::Option* Commands::values(CLI::Option* option, Values values) {
  values_[option] = values;
  return option;
}

CLI::Option* Commands::words(CLI::Option* option, std::vector<std::string> words) {
  words_[option] = std::move(words);
  return option;
}

const Values* Commands::values_of(const CLI::Option* option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? nullptr : &found->second;
}

const std::vector<std::string>& Commands::words_of(const CLI::Option* option) const {
  static const std::vector<std::string> kNone;
  const auto found = words_.find(option);
  return found == words_.end() ? kNone : found->second;
}

const std::string& Commands::examples_of(const CLI::App* app) const {
  static const std::string kNone;
  const auto found = examples_.find(app);
  return found == examples_.end() ? kNone : found->second;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  auto commands = app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
  return {commands.begin(), commands.end()};
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const auto* option : at->get_options()) {
      const bool known = std::any_of(options.begin(), options.end(),
                                     [&](const auto* other) { return other->get_name() == option->get_name(); });
      if (option->nonpositional() && !option->get_group().empty() && !known) options.push_back(option);
    }
  }
  return options;
}

std::vector<const CLI::Option*> arguments_of(const CLI::App& app) {
  std::vector<const CLI::Option*> arguments;
  for (const auto* option : app.get_options()) {
    if (option->get_positional()) arguments.push_back(option);
  }
  return arguments;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

Walk walk(const CLI::App& root, const std::vector<std::string>& words) {
  Walk walk;
  walk.path = {&root};
  bool options_ended = false;
  for (const auto& word : words) {
    if (walk.waiting != nullptr) {
      walk.waiting = nullptr;
    } else if (word == "--" && !options_ended) {
      options_ended = true;
    } else if (word.size() > 1 && word.front() == '-' && !options_ended) {
      const std::string name = word.substr(0, word.find('='));
      const auto* option = find_option(walk.command(), name);
      if (option == nullptr) {
        if (walk.unknown_option.empty()) walk.unknown_option = name;
      } else if (takes_value(*option) && name.size() == word.size()) {
        walk.waiting = option;
      }
    } else if (const auto* command = find_command(walk.command(), word); command != nullptr && walk.arguments.empty()) {
      walk.path.push_back(command);
    } else if (walk.arguments.empty() && arguments_of(walk.command()).empty() && !commands_of(walk.command()).empty()) {
      walk.unknown_command = word;
      return walk;
    } else {
      walk.arguments.push_back(word);
    }
  }
  return walk;
}

}  // namespace simplon::cli
