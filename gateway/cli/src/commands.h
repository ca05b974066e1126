// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gateway/cli/src/session.h"

// The commands of the program, registered by noun. A noun is one function `declare_NOUN(Commands&)` in a file of its
// own, listed at the end of this file and called in program.cpp: help, "did you mean", completion and the manual page
// are all made from what it registers.

namespace simplon::cli {

/// What the values of an option or argument are: completion asks simplond for them.
enum class Values : std::uint8_t {
  kFiles,
  kTunnels,
  kVpcs,
  kCircuits,
  kUplinks,
  kDomains,
  kVersions,
  kVersionsOrFiles,
  kDrops,
  kAcls,
  /// Addresses of the endpoints of the VPC that is the command's first argument.
  kEndpoints,
  /// vpc:NAME, tunnel:NAME and circuit:NAME.
  kPlaces,
  /// The same, and uplink:NAME.
  kCapturePlaces,
  /// bgp:DOMAIN/NAME, tunnel:NAME and ping:ADDRESS@DOMAIN.
  kGates,
  /// Of this host, in the network namespace we run in.
  kInterfaces,
};

class Commands {
 public:
  using Action = std::function<int()>;

  Commands(CLI::App& root, Session& session) : root_(root), session_(session) {}

  [[nodiscard]] Session& session() const { return session_; }
  [[nodiscard]] const CLI::App& root() const { return root_; }

  /// `examples`: complete command lines, one per line, beginning with "simplon "; a test parses each.
  CLI::App* noun(const std::string& name, const std::string& sentence, const std::string& examples) {
    return command(root_, name, sentence, examples);
  }
  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& sentence,
                    const std::string& examples);
  /// What the command does once the whole command line is understood; returns the exit code. Variables that options
  /// of `app` write to must live as long as the action: put them into one std::shared_ptr that it holds.
  void on(CLI::App* app, Action action);

  /// Completion knows the values of this option or argument.
  CLI::Option* values(CLI::Option* option, Values values);
  /// Completion offers these words.
  CLI::Option* words(CLI::Option* option, std::vector<std::string> words);

  [[nodiscard]] const Values* values_of(const CLI::Option* option) const;
  [[nodiscard]] const std::vector<std::string>& words_of(const CLI::Option* option) const;
  [[nodiscard]] const std::string& examples_of(const CLI::App* app) const;
  /// Of the innermost command that was parsed; empty if none was.
  [[nodiscard]] const Action& action() const { return action_; }

 private:
  CLI::App& root_;
  Session& session_;
  Action action_;
  std::map<const CLI::Option*, Values> values_;
  std::map<const CLI::Option*, std::vector<std::string>> words_;
  std::map<const CLI::App*, std::string> examples_;
};

/// A command line as far as it is understood, also when it is incomplete or wrong.
struct Walk {
  /// The root and each command below it that was named; never empty.
  std::vector<const CLI::App*> path;
  /// The option whose value comes next.
  const CLI::Option* waiting = nullptr;
  std::vector<std::string> arguments;
  /// A word where only a command could stand.
  std::string unknown_command;
  /// An option that the command does not have, without its value.
  std::string unknown_option;

  [[nodiscard]] const CLI::App& command() const { return *path.back(); }
};

[[nodiscard]] Walk walk(const CLI::App& root, const std::vector<std::string>& words);

/// Commands of `app` that are not hidden.
[[nodiscard]] std::vector<const CLI::App*> commands_of(const CLI::App& app);
/// Its own options and those of its parents, as typed: "--json".
[[nodiscard]] std::vector<const CLI::Option*> options_of(const CLI::App& app);
/// Its arguments in order.
[[nodiscard]] std::vector<const CLI::Option*> arguments_of(const CLI::App& app);
[[nodiscard]] bool takes_value(const CLI::Option& option);
/// "simplon tunnel add"
[[nodiscard]] std::string full_name(const CLI::App& app);

void declare_state(Commands& commands);   // status, route, bgp, drop
void declare_policy(Commands& commands);  // acl, nat, connection
void declare_config(Commands& commands);  // config, apply, confirm
void declare_tunnel(Commands& commands);
void declare_vpc(Commands& commands);  // vpc, endpoint
void declare_inspect(Commands& commands);  // trace, capture
void declare_circuit(Commands& commands);
void declare_doctor(Commands& commands);

}  // namespace simplon::cli
