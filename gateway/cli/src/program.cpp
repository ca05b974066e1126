// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/program.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/completion.h"
#include "gateway/cli/src/session.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/transaction_commands.h"
#include "gateway/config/validate.h"
#include "platform/manual/manual.h"

// Nouns show, verbs change. What there is to say is declared per noun (commands.h); this file parses a command line and
// explains what is wrong with it.
//
// CLI11 parses; only the "did you mean" is ours, before it: CLI11 takes an unknown noun for a stray argument.

namespace simplon::cli {
namespace {

constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 failed, 2 bad usage, 3 simplond not reachable, 4 valid but degraded.";

/// "NAME", not "NAME TEXT": what an argument is, its name says.
void name_arguments(CLI::App& app) {
  for (auto* option : app.get_options([](const CLI::Option* one) { return one->get_positional(); })) {
    option->type_name("");
  }
  for (auto* command : app.get_subcommands([](const CLI::App*) { return true; })) name_arguments(*command);
}

/// An empty value is an unset variable of a script rather than a wish for everything.
void refuse_empty_values(CLI::App& app) {
  for (auto* option : app.get_options([](const CLI::Option* one) { return takes_value(*one); })) {
    option->check([](const std::string& value) {
      return value.empty() ? std::string("the value is empty; give one, or leave it out") : std::string();
    });
  }
  for (auto* command : app.get_subcommands([](const CLI::App*) { return true; })) refuse_empty_values(*command);
}

void declare(Commands& commands, CLI::App& app) {
  Session& session = commands.session();
  app.description("simplon asks and changes a Simplon gateway.\n\nNouns show, verbs change. Every noun but capture takes --json.");
  commands.values(
      app.add_option("--socket", session.socket, "where simplond listens; also $SIMPLON_SOCKET")->type_name("PATH"),
      Values::kFiles);
  app.add_flag("--json", session.json, "print the reply of the local API instead of a page");
  app.add_flag("-y,--yes", session.yes, "do not ask before what cannot be taken back at once");
  commands.words(app.add_option("--color", session.color, "when to color; auto: on a terminal, unless $NO_COLOR is set")
                     ->type_name("WHEN")
                     ->check(CLI::IsMember({"auto", "always", "never"})),
                 {"auto", "always", "never"});
  app.set_version_flag("--version", "simplon " SIMPLON_VERSION, "print the version");
  app.footer(std::string("Example:\n  simplon status\n\n") + kExitCodes);
  declare_state(commands);
  declare_policy(commands);
  declare_config(commands);
  declare_audit(commands);
  declare_tunnel(commands);
  declare_vpc(commands);
  declare_inspect(commands);
  declare_circuit(commands);
  declare_doctor(commands);
  name_arguments(app);
  refuse_empty_values(app);
}

ManualText manual_text() {
  ManualText text;
  text.section = 1;
  text.summary = "ask and change a Simplon gateway";
  text.version = SIMPLON_VERSION;
  text.description =
      "simplon asks simplond(8), over its local socket, what a gateway does, and changes its configuration. Nouns show, "
      "verbs change.\n\n"
      "A page begins with the verdict, ends with the remedy, and fits 100 columns. Programs take --json, which prints "
      "the reply of the local API; /usr/share/simplon/schemas describes each. capture has none: it writes pcapng.\n\n"
      "A verb that edits fetches the configuration, changes it, and applies it on the version it has fetched: it is "
      "refused if somebody else was faster. So is apply, of a file that simplon config show has written: the first line "
      "says which version was current then; --base says so too. At a terminal a command shows what will happen, and "
      "asks before something is removed or disturbed, or less traffic passes; --yes does not ask, and neither does a script.";
  text.sections = {
      {"Exit status",
       "0\n\tDone.\n\n1\n\tFailed, refused, or gone back from.\n\n2\n\tBad usage.\n\n"
       "3\n\tsimplond is not reachable, or did not answer in time; a change may still happen then: simplon config history.\n\n"
       "4\n\tThe question was answered, and the answer is that something works less well than it was configured to. "
       "With --json it is 0 instead, and the reply tells. A trace that ends in a drop is "
       "such an answer."},
      {"Environment",
       "SIMPLON_SOCKET\n\tWhere simplond listens.\n\nNO_COLOR\n\tIf set and not empty, there is no color."},
      {"Files",
       "/run/simplon/api.sock\n\tWhere simplond listens. Everybody may ask; root and the members of the group of the "
       "administrators may change.\n\n"
       "/usr/share/simplon/schemas\n\tJSON Schemas of what --json prints, one per noun."}};
  text.see_also = {"simplon.yaml(5)", "simplond(8)", "simplon-forwarder(8)"};
  return text;
}

class Program {
 public:
  Program(const Streams& streams, const Terminal& terminal)
      : session_(streams, terminal), app_("", "simplon"), commands_(app_, session_) {
    declare(commands_, app_);
  }

  int run(int argc, const char* const* argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    // What the completion scripts and the build ask.
    if (!words.empty() && words.front() == "__complete") {
      session_.out() << complete(commands_, {words.begin() + 1, words.end()});
      return kExitDone;
    }
    if (words == std::vector<std::string>{"__manual"}) {
      session_.out() << manual_page(app_, manual_text());
      return kExitDone;
    }
    const Walk walked = walk(app_, words);
    if (!walked.unknown_command.empty()) return unknown_command(walked);
    if (!walked.unknown_option.empty()) return unknown_option(walked);
    try {
      std::reverse(words.begin(), words.end());
      app_.parse(words);
    } catch (const CLI::CallForHelp&) {
      return help(walked.command());
    } catch (const CLI::CallForVersion& version) {
      session_.out() << version.what() << "\n";
      return kExitDone;
    } catch (const CLI::ParseError& error) {
      return usage(error.what(), full_name(walked.command()) + " --help");
    }
    if (!commands_.action()) return help(app_), kExitUsage;
    return commands_.action()();
  }

 private:
  int usage(const std::string& what, const std::string& hint) {
    session_.err() << paragraph("simplon: " + what, 0, 2) << paragraph("hint: " + hint, 2, 8);
    return kExitUsage;
  }

  int help(const CLI::App& app) {
    const std::string before = app.get_parent() == nullptr ? "" : full_name(*app.get_parent());
    // CLI11 fills its columns with spaces, also where nothing follows.
    std::istringstream lines(app.help(before));
    for (std::string line; std::getline(lines, line);) {
      session_.out() << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
    }
    return kExitDone;
  }

  int unknown(const std::string& what, const std::string& word, const std::vector<std::string>& known,
              const CLI::App& app) {
    std::string hint = "did you mean '" + config::closest_match(word, known) + "'?";
    if (config::closest_match(word, known).empty()) {
      hint = known.empty() ? "there is none" : "known are ";
      for (const auto& one : known) hint += (&one == &known.front() ? "" : ", ") + one;
      hint += "; see " + full_name(app) + " --help";
    }
    return usage("there is no " + what + " '" + word + "'", hint);
  }

  int unknown_command(const Walk& walked) {
    std::vector<std::string> known;
    for (const auto* command : commands_of(walked.command())) known.push_back(command->get_name());
    return unknown(walked.path.size() == 1 ? "noun" : "verb", walked.unknown_command, known, walked.command());
  }

  int unknown_option(const Walk& walked) {
    std::vector<std::string> known;
    for (const auto* option : options_of(walked.command())) known.push_back("--" + option->get_single_name());
    return unknown("option", walked.unknown_option, known, walked.command());
  }

  Session session_;
  CLI::App app_;
  Commands commands_;
};

}  // namespace

namespace {

/// The code of the run, unless what it printed did not arrive. A reader that has left (`| head`) is no failure: SIGPIPE
/// ends the program, and EPIPE is seen only where it is blocked.
int deliver(const Streams& streams, int code) {
  // Of a write that failed before: printing is the last thing that a command does.
  const int before = streams.out ? 0 : errno;
  errno = 0;
  if (streams.out && streams.out.flush()) return code;
  const int why = before != 0 ? before : errno;
  if (why == EPIPE) return code;
  streams.err << paragraph("simplon: cannot write the output" + (why == 0 ? std::string() : std::string(": ") + std::strerror(why)), 0, 2);
  return kExitFailed;
}

}  // namespace

int run_program(int argc, const char* const* argv, const Streams& streams, const Terminal& terminal) {
  return deliver(streams, Program(streams, terminal).run(argc, argv));
}

}  // namespace simplon::cli
