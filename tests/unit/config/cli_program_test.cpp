// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <streambuf>
#include <tuple>

#include "gateway/audit/audit_log.h"
#include "gateway/cli/src/program.h"
#include "gateway/cli/src/render.h"
#include "tests/unit/config/fake_backend.h"
#include "tests/unit/config/page_width.h"

namespace simplon::cli {
namespace {

using daemon::ServedBackend;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Done {
  int code = 0;
  std::string out, err;
};

Done run(const ServedBackend* served, std::vector<std::string> words, Terminal terminal = {},
         const std::string& typed = {}) {
  std::vector<std::string> all = {"simplon", "--socket",
                                  served != nullptr ? served->socket() : "/nonexistent/api.sock"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<const char*> argv;
  for (const auto& word : all) argv.push_back(word.c_str());
  std::istringstream in(typed);
  std::ostringstream out, err;
  const int code = run_program(static_cast<int>(argv.size()), argv.data(), {in, out, err}, terminal);
  // JSON is for programs, a document is as its author wrote it, and color takes no room.
  if (!out.str().starts_with('{') && !out.str().starts_with('#') && !terminal.color) expect_fits(out.str());
  return {code, out.str(), err.str()};
}

TEST(Program, BadUsageIsExit2WithAGuess) {
  Done done = run(nullptr, {"tunel", "show"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_THAT(done.err, HasSubstr("did you mean 'tunnel'?"));
  done = run(nullptr, {"tunnel", "shwo"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_THAT(done.err, HasSubstr("did you mean 'show'?"));
  EXPECT_EQ(run(nullptr, {"tunnel", "show", "--nonsense"}).code, kExitUsage);
  EXPECT_EQ(run(nullptr, {"tunnel", "add", "x"}).code, kExitUsage);
  EXPECT_EQ(run(nullptr, {"apply", "x.yaml", "--confirm", "0"}).code, kExitUsage);
  EXPECT_EQ(run(nullptr, {}).code, kExitUsage);
}

/// Without the options that `run` adds, and without simplond.
Done run_bare(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"simplon"};
  for (const auto& word : words) argv.push_back(word.c_str());
  std::istringstream in;
  std::ostringstream out, err;
  Terminal terminal;
  terminal.socket = "/nonexistent/api.sock";
  const int code = run_program(static_cast<int>(argv.size()), argv.data(), {in, out, err}, terminal);
  return {code, out.str(), err.str()};
}

/// An output that takes nothing.
class Full final : public std::streambuf {
 public:
  explicit Full(int why) : why_(why) {}

 private:
  int_type overflow(int_type) override {
    errno = why_;
    return traits_type::eof();
  }
  int sync() override {
    errno = why_;
    return -1;
  }
  int why_;
};

TEST(Program, OutputThatCannotBeWrittenIsExit1) {
  const auto version = [](int why, std::string& ret_err) {
    const std::vector<const char*> argv = {"simplon", "--version"};
    Full full(why);
    std::istringstream in;
    std::ostream out(&full);
    std::ostringstream err;
    const int code = run_program(static_cast<int>(argv.size()), argv.data(), {in, out, err}, {});
    ret_err = err.str();
    return code;
  };
  std::string err;
  EXPECT_EQ(version(ENOSPC, err), kExitFailed);
  EXPECT_EQ(err, "simplon: cannot write the output: No space left on device\n");
  EXPECT_EQ(version(EPIPE, err), kExitDone);
  EXPECT_EQ(err, "") << "`simplon route show | head` ends quietly";
}

using Words = std::vector<std::string>;

/// Every command there is, as the completion tells.
std::vector<Words> all_commands(Words command = {}) {
  std::vector<Words> found = {command};
  Words asked = {"__complete"};
  asked.insert(asked.end(), command.begin(), command.end());
  asked.emplace_back();
  std::istringstream lines(run_bare(asked).out);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    Words inner = command;
    inner.push_back(line.substr(0, line.find('\t')));
    for (auto& one : all_commands(inner)) found.push_back(std::move(one));
  }
  return found;
}

std::string joined(const Words& words) {
  std::string text = "simplon";
  for (const auto& word : words) text += " " + word;
  return text;
}

TEST(Program, EveryHelpHasAnExampleThatIsUnderstood) {
  const auto commands = all_commands();
  EXPECT_GE(commands.size(), 34U);
  for (auto command : commands) {
    const std::string name = joined(command);
    command.push_back("--help");
    const Done help = run_bare(command);
    EXPECT_EQ(help.code, kExitDone) << name;
    EXPECT_THAT(help.out, HasSubstr("Usage: " + name)) << name;
    expect_fits(help.out);
    const std::size_t at = help.out.find("\nExample");
    ASSERT_NE(at, std::string::npos) << name;
    std::istringstream lines(help.out.substr(help.out.find('\n', at + 1) + 1));
    int examples = 0;
    for (std::string line; std::getline(lines, line) && line.starts_with("  ");) {
      for (std::string more; line.ends_with('\\') && std::getline(lines, more);) line = line.substr(0, line.size() - 1) + more;
      std::istringstream text(line.substr(0, line.find(" > ")));
      Words words;
      for (std::string word; text >> word;) words.push_back(word);
      ASSERT_FALSE(words.empty());
      EXPECT_EQ(words.front(), "simplon") << line;
      const Done done = run_bare({words.begin() + 1, words.end()});
      EXPECT_NE(done.code, kExitUsage) << line << "\n" << done.err;
      if (joined({words.begin() + 1, words.end()}).starts_with(name)) ++examples;
    }
    EXPECT_GT(examples, 0) << name << ": no example of its own";
  }
}

TEST(Program, OptionsAreGuessedAndTheirValuesAreNoVerbs) {
  EXPECT_THAT(run(nullptr, {"tunnel", "show", "--jsn"}).err, HasSubstr("did you mean '--json'?"));
  EXPECT_THAT(run(nullptr, {"config", "undo", "--too", "3"}).err, HasSubstr("did you mean '--to'?"));
  EXPECT_EQ(run(nullptr, {"route", "--domain", "prod"}).code, kExitUnreachable);
  EXPECT_EQ(run(nullptr, {"vpc", "add", "--prefix", "10.0.0.0/8", "red", "--domain", "d", "--vni", "1"}).code,
            kExitUnreachable);
  EXPECT_THAT(run(nullptr, {"--version"}).out, StartsWith("simplon "));
}

TEST(Program, CompletionKnowsNamesAndNeverFails) {
  const ServedBackend served;
  const auto complete = [&](Words words) {
    words.insert(words.begin(), {"__complete", "--socket=" + served.socket()});
    return run_bare(words).out;
  };
  EXPECT_EQ(complete({"tunnel", "show", "p"}), "words\nparis\tup\n");
  EXPECT_EQ(complete({"endpoint", "remove", "red", "10.20.0.12"}), "words\n10.20.0.12\tbehind 10.255.0.12\n");
  EXPECT_EQ(complete({"endpoint", "remove", "blue", ""}), "words\n");
  EXPECT_THAT(complete({"config", "diff", "1"}), StartsWith("files\n12\t2026-01-31T12:00:00Z root tunnel add berlin\n"));
  EXPECT_EQ(complete({"tunnel", "add", "--domain=pr"}), "words\n--domain=prod\trouting domain\n");
  EXPECT_EQ(complete({"apply", ""}), "files\n");
  EXPECT_EQ(complete({"trace", "--from", "tunnel:p"}), "words\ntunnel:paris\tup\n");
  EXPECT_THAT(complete({"trace", "--from", ""}), HasSubstr("vpc:red\tVNI "));
  EXPECT_EQ(complete({"capture", "up"}), "words\nuplink:wan0\tup\n");
  EXPECT_EQ(complete({"drop", "show", ""}), "words\n") << "the forwarder is away";
  EXPECT_EQ(complete({"nonsense", "x"}), "words\n");
  EXPECT_EQ(complete({"apply", "x.yaml", "--gate", "tu"}), "words\ntunnel:paris\tit has a CHILD_SA\n");
  EXPECT_EQ(complete({"config", "undo", "--gate=bgp:"}), "words\n--gate=bgp:prod/paris-router\tthe session is Established\n");
  EXPECT_EQ(complete({"tunnel", "remove", "paris", "--gate", "ping:169"}), "words\nping:169.254.10.2@prod\tit answers\n");
  EXPECT_EQ(complete({"apply", "--gate", "ping:10.1.0.10@"}), "words\nping:10.1.0.10@prod\trouting domain\n");
  EXPECT_THAT(complete({"doctor", "--interface", ""}), StartsWith("words\n"));
  EXPECT_EQ(run_bare({"__complete"}).code, kExitDone);
  EXPECT_EQ(run_bare({"__complete", "tunnel", "show", ""}).out, "words\n");
}

TEST(Program, ATraceIsAskedForInTheWordsOfTheOperator) {
  const ServedBackend served;
  Done done = run(&served, {"trace", "--from", "vpc:red", "--src", "10.20.0.5", "--dst", "9.9.9.9", "--proto", "tcp", "--dport",
                            "443", "--size", "1400", "--df", "--ttl", "9", "--flags", "syn,ack", "--tos", "0"});
  EXPECT_EQ(done.code, kExitDegraded) << done.err;
  const ipc::PacketQuery& asked = served.backend.asked;
  EXPECT_EQ(asked.from, "vpc:red");
  EXPECT_EQ(asked.source, "10.20.0.5");
  EXPECT_EQ(asked.destination, "9.9.9.9");
  EXPECT_EQ(asked.protocol, "tcp");
  EXPECT_EQ(asked.destination_port, 443U);
  EXPECT_EQ(asked.source_port, std::nullopt);
  EXPECT_EQ(asked.size, 1400U);
  EXPECT_TRUE(asked.df);
  EXPECT_EQ(asked.ttl, 9U);
  EXPECT_EQ(asked.tos, 0U);
  EXPECT_EQ(asked.flags, "syn,ack");
  EXPECT_EQ(run(&served, {"trace", "--from", "vpc:red", "--src", "fd00::5", "--dst", "fd01::9", "--proto", "47", "--json"}).code, kExitDone);
  EXPECT_EQ(served.backend.asked.source, "fd00::5");
  EXPECT_EQ(served.backend.asked.protocol, "47");
  done = run(&served, {"trace", "--from", "vpc:green", "--src", "1.2.3.4", "--dst", "1.2.3.5"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("did you mean vpc:red?"));
  // A live one.
  EXPECT_EQ(run(&served, {"trace", "--live", "--from", "vpc:red", "--host", "10.0.0.0/8", "--port", "53", "--wait", "3"}).code, kExitDone);
  EXPECT_EQ(served.backend.asked.host, "10.0.0.0/8");
  EXPECT_EQ(served.backend.asked.seconds, 3U);
  EXPECT_EQ(run(&served, {"trace", "--live", "--from", "vpc:red", "--df"}).code, kExitUsage);
  EXPECT_EQ(run(&served, {"trace", "--from", "vpc:red", "--host", "10.0.0.1"}).code, kExitUsage);
  EXPECT_EQ(run(&served, {"trace", "--src", "10.0.0.1"}).code, kExitUsage);
  EXPECT_EQ(run(&served, {"trace", "--from", "vpc:red", "--sport", "x"}).code, kExitUsage);
}

TEST(Program, AtATerminalRemovingIsAsked) {
  const ServedBackend served;
  Terminal person;
  person.interactive = true;
  const Words kAdd = {"endpoint", "add", "red", "10.20.0.99", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11", "--dry-run"};
  EXPECT_EQ(run(&served, kAdd, person).code, kExitDone) << "adding is not asked";
  Done done = run(&served, {"endpoint", "remove", "red", "10.20.0.11"}, person, "n\n");
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, AllOf(HasSubstr("~ tunnel paris remote"), HasSubstr("Remove endpoint 10.20.0.11 of VPC red? [y/N] "),
                              HasSubstr("nothing was changed")));
  EXPECT_EQ(served.backend.version, 12U);
  done = run(&served, {"config", "undo"}, person, "");
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("version 12 of 2026-01-31T12:00:00Z by root: why"));
  EXPECT_EQ(run(&served, {"tunnel", "down", "paris"}, person, "\n").code, kExitFailed);
  EXPECT_EQ(run(&served, {"tunnel", "down", "paris", "-y"}, person).code, kExitDone);
  EXPECT_EQ(run(&served, {"config", "undo"}, person, "y\n").code, kExitDone);
  EXPECT_EQ(run(&served, {"config", "undo"}).code, kExitDone) << "a script is not asked";
  EXPECT_FALSE(served.backend.undone.base_version);
}

TEST(Program, UndoTakesWhatApplyTakes) {
  const ServedBackend served;
  const auto& undone = served.backend.undone;
  Done done = run(&served, {"config", "undo", "3", "--dry-run"});
  EXPECT_THAT(done.out, StartsWith("dry run, nothing was changed: restarts 1 tunnel\n"));
  EXPECT_EQ(served.backend.version, 12U);
  done = run(&served, {"config", "undo", "--confirm", "60", "--gate", "tunnel:paris", "--comment", "it was slow", "--base", "12"});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, AllOf(StartsWith("version 11 is back, as version 13: restarts 1 tunnel\n"), HasSubstr("~ tunnel paris remote"),
                              HasSubstr("to keep it: simplon confirm")));
  EXPECT_EQ(undone.confirm_within, std::chrono::seconds(60));
  EXPECT_EQ(undone.gates, "tunnel:paris");
  EXPECT_EQ(undone.comment, "it was slow");
  EXPECT_EQ(undone.base_version, 12U);
  EXPECT_EQ(run(&served, {"config", "undo", "--base", "12"}).code, kExitFailed) << "it is version 13 by now";
  // The question comes after the difference, and what was looked at is what is gone back from.
  Terminal person;
  person.interactive = true;
  done = run(&served, {"config", "undo", "3"}, person, "n\n");
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_LT(done.err.find("~ tunnel paris remote"), done.err.find("Go back to version 3? [y/N]"));
  EXPECT_EQ(run(&served, {"config", "undo", "3"}, person, "y\n").code, kExitDone);
  EXPECT_EQ(undone.base_version, 13U);
}

TEST(Program, AtATerminalGatesAreWatched) {
  ServedBackend served;
  Terminal person;
  person.interactive = true;
  served.backend.undecided = 3;
  Done done = run(&served, {"config", "undo", "--gate", "bgp:paris-router", "--yes"}, person);
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.err, AllOf(HasSubstr("gate bgp:prod/paris-router: the session is Active\n"),
                              HasSubstr("gate bgp:prod/paris-router: healthy; counts when it stays so for 30 s\n"),
                              HasSubstr("waiting: 0 of 1 gate healthy, version 12 comes back in 3s")));
  EXPECT_THAT(done.out, HasSubstr("version 13 stays: all gates held\n"));
  served.backend.undecided = 2;
  person.dumb = true;
  done = run(&served, {"config", "undo", "--gate", "bgp:paris-router", "--yes"}, person);
  EXPECT_THAT(done.err, AllOf(StartsWith("  gate bgp:prod/paris-router: the session is Active\n"), Not(HasSubstr("\033"))));
  served.backend.undecided = 2;
  done = run(&served, {"config", "undo", "--gate", "bgp:paris-router"});
  EXPECT_EQ(done.err, "") << "nothing in a pipe";
}

TEST(Program, GatesOutliveARestartOfSimplond) {
  ServedBackend served;
  served.backend.undecided = 3;
  int asked = 0;
  served.backend.on_config = [&] {
    if (++asked == 2) served.restart(std::chrono::milliseconds(700));
  };
  const Done done = run(&served, {"config", "undo", "--gate", "bgp:paris-router"});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, HasSubstr("version 13 stays: all gates held\n"));
}

TEST(Program, NoDaemonIsExit3) {
  const Done done = run(nullptr, {"status"});
  EXPECT_EQ(done.code, kExitUnreachable);
  EXPECT_THAT(done.err, HasSubstr("hint: systemctl status simplond; journalctl -u simplond"));
  EXPECT_THAT(done.err, HasSubstr("simplond is not reachable"));
  const Done machine = run(nullptr, {"status", "--json"});
  EXPECT_EQ(machine.code, kExitUnreachable);
  EXPECT_EQ(json::parse(machine.out)["errors"][0]["code"], "unavailable");
}

TEST(Program, DegradedIsExit4ForPeopleAndInTheReplyForMachines) {
  const ServedBackend served;
  EXPECT_EQ(run(&served, {"status"}).code, kExitDegraded);
  const Done machine = run(&served, {"status", "--json"});
  EXPECT_EQ(machine.code, kExitDone);
  EXPECT_EQ(json::parse(machine.out)["verdict"], "degraded");
  EXPECT_EQ(run(&served, {"tunnel", "show", "paris"}).code, kExitDone);
}

TEST(Program, JsonIsTheReplyOfTheApi) {
  const ServedBackend served;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"status"},
                                                                                     {"tunnel"},
                                                                                     {"tunnel", "show"},
                                                                                     {"vpc"},
                                                                                     {"endpoint", "show"},
                                                                                     {"circuit"},
                                                                                     {"route", "show"},
                                                                                     {"bgp"},
                                                                                     {"config", "show"},
                                                                                     {"config", "history"},
                                                                                     {"config", "diff", "3"}}) {
    auto with_json = words;
    with_json.push_back("--json");
    const Done done = run(&served, with_json);
    EXPECT_EQ(done.code, kExitDone) << words[0];
    EXPECT_EQ(json::parse(done.out)["api"], 1) << words[0];
  }
  const json one = json::parse(run(&served, {"--json", "tunnel", "show", "berlin"}).out);
  ASSERT_EQ(one["tunnels"].size(), 1U);
  EXPECT_EQ(one["tunnels"][0]["name"], "berlin");
}

TEST(Program, AnUnknownNameIsGuessed) {
  const ServedBackend served;
  Done done = run(&served, {"tunnel", "show", "pariss"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("did you mean 'paris'?"));
  done = run(&served, {"vpc", "show", "zzz"});
  EXPECT_THAT(done.err, HasSubstr("there is red"));
  done = run(&served, {"route", "show", "--domain", "prd"});
  EXPECT_THAT(done.err, HasSubstr("did you mean 'prod'?"));
}

TEST(Program, RoutesAreAskedForByDomainAndPrefix) {
  const ServedBackend served;
  const Done done = run(&served, {"route", "show", "--domain", "prod", "--prefix", "10.1.0.0/16", "--limit", "5"});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_EQ(served.backend.routes_asked.domain, "prod");
  EXPECT_EQ(served.backend.routes_asked.prefix, IpPrefix::parse("10.1.0.0/16").value());
  EXPECT_EQ(served.backend.routes_asked.limit, 5U);
  const Done wrong = run(&served, {"route", "--prefix", "10.1.0.0/16&limit=1"});
  EXPECT_EQ(wrong.code, kExitUsage);
  EXPECT_THAT(wrong.err, HasSubstr("--prefix: '10.1.0.0/16&limit=1' has a bad prefix length"));
}

TEST(Program, RoutesOfWhatIsNoDomainOrPrefixAreRefusedInTheWordsTyped) {
  const ServedBackend served;
  const std::vector<std::tuple<const char*, const char*, int, const char*, const char*>> kBad = {
      {"--prefix", "10.0.0.0 /8", kExitUsage, "'10.0.0.0 ' is not an IP address", ""},
      {"--prefix", "10.1.2.3/16", kExitUsage, "'10.1.2.3/16' has host bits set", "the network is 10.1.0.0/16"},
      {"--prefix", "ten", kExitUsage, "'ten' is neither a prefix nor an address", "10.1.0.0/16"},
      {"--domain", "prod,red", kExitFailed, "there is no domain 'prod,red'", "did you mean 'prod'?"},
      {"--domain", "Zebra", kExitFailed, "there is no domain 'Zebra'", "there is prod"}};
  for (const auto& [option, word, code, what, hint] : kBad) {
    for (const auto& command : {std::vector<std::string>{"route"}, {"route", "show"}}) {
      std::vector<std::string> words = command;
      words.insert(words.end(), {option, word});
      const Done done = run(&served, words);
      EXPECT_EQ(done.code, code) << word;
      EXPECT_THAT(done.err, AllOf(HasSubstr(what), HasSubstr(hint))) << word;
    }
  }
  for (const char* option : {"--domain", "--prefix"}) {
    const Done done = run(&served, {"route", "show", option, ""});
    EXPECT_EQ(done.code, kExitUsage) << option;
    EXPECT_EQ(done.out, "") << option;
    EXPECT_THAT(done.err, AllOf(HasSubstr(option), HasSubstr("the value is empty; give one, or leave it out")));
  }
}

TEST(Program, ARefusalFromTheApiIsExit1) {
  const ServedBackend served;
  const Done done = run(&served, {"drop", "show"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, AllOf(HasSubstr("the forwarder is away"), HasSubstr("hint: systemctl")));
}

class ProgramWithFile : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = (folder_.path() / "document.yaml").string();
    std::ofstream(path) << text;
    return path;
  }
  config::TemporaryFolder folder_;
  ServedBackend served_;
};

TEST_F(ProgramWithFile, ApplySendsTheDocumentAsItIs) {
  const Done done = run(&served_, {"apply", write(config::kSmallDocument), "--confirm", "60", "--comment", "new site"});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, StartsWith("applied as version 13: restarts 1 tunnel\n"));
  EXPECT_THAT(done.out, HasSubstr("to keep it: simplon confirm"));
  EXPECT_EQ(served_.backend.applied.document, config::kSmallDocument);
  EXPECT_EQ(served_.backend.applied.comment, "new site");
  EXPECT_EQ(served_.backend.applied.confirm_within, std::chrono::seconds(60));
  EXPECT_FALSE(served_.backend.applied.base_version);
  EXPECT_EQ(run(&served_, {"confirm", "12"}).code, kExitFailed);
  EXPECT_EQ(run(&served_, {"confirm", "13"}).out, "version 13 stays\n");
  EXPECT_EQ(run(&served_, {"confirm"}).out, "version 13 stays\n");
}

TEST_F(ProgramWithFile, OptionsOfAGateNeedOne) {
  const std::string path = write(config::kSmallDocument);
  Done done = run(&served_, {"apply", path, "--within", "2m"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_EQ(done.err, "simplon: --within is of --gate\n  hint: to go back unless confirmed: --confirm 2m\n");
  done = run(&served_, {"config", "undo", "--no-wait", "--confirm", "60"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_THAT(done.err, StartsWith("simplon: --no-wait is of --gate\n"));
  EXPECT_EQ(served_.backend.version, 12U);
}

/// Two people take the same version, and both change it.
TEST_F(ProgramWithFile, WhoAppliesAnOldVersionIsTold) {
  const std::string taken = run(&served_, {"config", "show"}).out;
  const std::string path = write(taken);
  Done done = run(&served_, {"apply", path});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_EQ(served_.backend.applied.base_version, 12U);
  EXPECT_EQ(served_.backend.applied.document, taken) << "lines keep their numbers";
  EXPECT_THAT(done.err, AllOf(HasSubstr("is made of version 12; before you change it again:"), HasSubstr("simplon config show > ")));
  done = run(&served_, {"apply", path});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, StartsWith("refused: the configuration was changed meanwhile"));
  EXPECT_EQ(served_.backend.version, 13U);
  EXPECT_EQ(run(&served_, {"apply", path, "--dry-run"}).code, kExitFailed);
  EXPECT_EQ(run(&served_, {"apply", path, "--base", "13"}).code, kExitDone) << "on purpose";
  // One header, however often it went round.
  const std::string shown = run(&served_, {"config", "show"}).out;
  EXPECT_THAT(shown, StartsWith("# version 14, "));
  EXPECT_THAT(shown, Not(HasSubstr("# version 12")));
  EXPECT_EQ(shown.substr(shown.find('\n')), taken.substr(taken.find('\n')));
  // What was current counts, not what was looked at.
  const std::string old = run(&served_, {"config", "show", "3"}).out;
  EXPECT_THAT(old, StartsWith("# version 3, 2026-01-31T12:00:00Z by root: why\n# version 14 is current\n"));
  EXPECT_EQ(run(&served_, {"apply", write(old)}).code, kExitDone);
  EXPECT_EQ(served_.backend.applied.base_version, 14U);
}

TEST_F(ProgramWithFile, ALongSummaryFitsThePage) {
  for (int i = 0; i < 12; ++i) served_.backend.summary += (i == 0 ? "restarts " : ", ") + std::to_string(100 + i) + " objects";
  const std::string path = write(config::kSmallDocument);
  for (const Words& words : {Words{"apply", path}, Words{"config", "check", path}, Words{"config", "diff", "3"}, Words{"config", "undo"}}) {
    const Done done = run(&served_, words);  // looks at the width
    EXPECT_EQ(done.code, kExitDone) << done.err;
    EXPECT_THAT(done.out, HasSubstr("111")) << joined(words);
  }
  Terminal person;
  person.interactive = true;
  const Done asked = run(&served_, {"apply", path}, person, "n\n");
  EXPECT_THAT(asked.err, HasSubstr("111"));
  expect_fits(asked.err.substr(0, asked.err.find("Apply it?")));
}

TEST_F(ProgramWithFile, ASoundAuditLogIsToldInNarrowLines) {
  const auto log = audit::Log::open(folder_.path(), {});
  ASSERT_TRUE(log);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*log)->append({}));
  const Done done = run(nullptr, {"audit", "verify", "--file", (folder_.path() / "audit.log").string()});
  EXPECT_EQ(done.out, "sound: 3 entries, 1 to 3\n  hash " + (*log)->hash() + "\n");
}

TEST_F(ProgramWithFile, AnExportReplacesFilesOnly) {
  namespace fs = std::filesystem;
  const fs::path folder = folder_.path();
  const auto exported = [&](const fs::path& file) { return run(&served_, {"config", "export", file.string()}); };
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder / "to-pipe");
  for (const fs::path& odd : {folder / "pipe", folder / "to-pipe", folder, fs::path("/dev/null")}) {
    const Done done = exported(odd);
    EXPECT_EQ(done.code, kExitUsage) << odd;
    EXPECT_THAT(done.err, AllOf(HasSubstr(odd.string() + " is no regular file"), HasSubstr("hint: - prints it"))) << odd;
  }
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
  EXPECT_TRUE(fs::is_symlink(folder / "to-pipe"));
  // A link stays one, and what it names is written, whether it is there or not.
  fs::create_symlink("new.json", folder / "link");
  for (int round = 0; round < 2; ++round) {
    const Done done = exported(folder / "link");
    EXPECT_EQ(done.code, kExitDone) << done.err;
    EXPECT_TRUE(fs::is_symlink(folder / "link"));
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(folder / "new.json")));
  }
  fs::create_symlink("loop", folder / "loop");
  EXPECT_EQ(exported(folder / "loop").code, kExitUsage);
  EXPECT_TRUE(fs::is_symlink(folder / "loop"));
}

TEST_F(ProgramWithFile, AByteOrderMarkDoesNotHideTheVersion) {
  const std::string taken = run(&served_, {"config", "show"}).out;
  ASSERT_EQ(run(&served_, {"apply", write("\xef\xbb\xbf" + taken)}).code, kExitDone);
  EXPECT_EQ(served_.backend.applied.base_version, 12U);
  EXPECT_EQ(served_.backend.applied.document, taken);
}

TEST_F(ProgramWithFile, AHistoryThatIsTooLargeIsLeftOutByAnImport) {
  const std::string box = (folder_.path() / "box.json").string();
  served_.backend.history_bytes = 1000;
  Done done = run(&served_, {"config", "export", box, "--with-history"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, Not(HasSubstr("warning")));
  ASSERT_EQ(run(&served_, {"config", "import", box}).code, kExitDone);
  EXPECT_EQ(served_.backend.imported_history, 1U);
  served_.backend.history_bytes = 11U << 20;
  done = run(&served_, {"config", "export", box, "--with-history"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, AllOf(HasSubstr("warning: an import will leave the older versions out: "), HasSubstr("11.0 MiB")));
  done = run(&served_, {"config", "import", box});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.out, AllOf(HasSubstr("warning: 1 older version is left out: "), HasSubstr("11.0 MiB")));
  EXPECT_EQ(served_.backend.imported_history, 0U);
}

TEST_F(ProgramWithFile, AtATerminalApplyShowsTheImpactAndAsks) {
  Terminal person;
  person.interactive = true;
  const std::string path = write(config::kSmallDocument);
  Done done = run(&served_, {"apply", path}, person, "n\n");
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_EQ(served_.backend.version, 12U);
  EXPECT_THAT(done.err, AllOf(StartsWith("to be applied: restarts 1 tunnel\n"), HasSubstr("impact:\n"), HasSubstr("Apply it? [y/N] "),
                              HasSubstr("nothing was changed")));
  EXPECT_EQ(run(&served_, {"apply", path}, person, "y\n").code, kExitDone);
  EXPECT_EQ(served_.backend.applied.base_version, 12U) << "what the rehearsal saw";
  done = run(&served_, {"apply", path, "--yes"}, person);
  EXPECT_EQ(done.code, kExitDone);
  EXPECT_EQ(done.err, "");
  EXPECT_FALSE(served_.backend.applied.base_version);
  done = run(&served_, {"apply", path, "--dry-run"}, person);
  EXPECT_EQ(done.code, kExitDone);
  EXPECT_EQ(done.err, "");
  // What disturbs nobody is not asked.
  served_.backend.harmless = true;
  done = run(&served_, {"apply", path}, person);
  EXPECT_EQ(done.code, kExitDone);
  EXPECT_EQ(done.err, "");
  served_.backend.harmless = false;
  // So is an import.
  const std::string box = write("");
  ASSERT_EQ(run(&served_, {"config", "export", box}).code, kExitDone);
  done = run(&served_, {"config", "import", box}, person, "\n");
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("Apply it? [y/N] "));
  EXPECT_EQ(served_.backend.version, 15U);
  EXPECT_EQ(run(&served_, {"config", "import", box, "--base", "14"}).code, kExitFailed);
  EXPECT_EQ(run(&served_, {"config", "import", box, "--base", "15"}).code, kExitDone);
}

TEST_F(ProgramWithFile, ADryRunSaysSo) {
  const Done done = run(&served_, {"apply", write(config::kSmallDocument), "--dry-run"});
  EXPECT_THAT(done.out, StartsWith("dry run, nothing was changed: restarts 1 tunnel\n"));
  EXPECT_EQ(served_.backend.version, 12U);
}

TEST_F(ProgramWithFile, ARefusedDocumentShowsAllErrors) {
  const std::string path = write("gateway: {name: GW}\nuplink: []\n");
  const Done done = run(&served_, {"apply", path});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, AllOf(StartsWith("refused: 2 errors, nothing was changed\n"),
                              HasSubstr("line 1: gateway.name = GW"), HasSubstr("hint: did you mean 'uplinks'?")));
  expect_fits(done.err);
  const Done machine = run(&served_, {"apply", path, "--json"});
  EXPECT_EQ(machine.code, kExitFailed);
  EXPECT_EQ(json::parse(machine.out)["errors"].size(), 2U);
}

TEST_F(ProgramWithFile, AMissingFileIsNamed) {
  const Done done = run(&served_, {"apply", "/nonexistent/x.yaml"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("/nonexistent/x.yaml"));
}

TEST_F(ProgramWithFile, CheckComparesOrJudgesAlone) {
  const std::string path = write(config::kSmallDocument);
  EXPECT_THAT(run(&served_, {"config", "check", path}).out, StartsWith("valid: restarts 1 tunnel\n"));
  EXPECT_THAT(run(&served_, {"config", "diff", path}).out, StartsWith("valid: restarts 1 tunnel\n"));
  const std::string bad = write("gateway: {name: GW}\n");
  const Done alone = run(nullptr, {"config", "check", bad});
  EXPECT_EQ(alone.code, kExitFailed);
  EXPECT_THAT(alone.err, AllOf(HasSubstr("checked here"), HasSubstr("gateway.name")));
}

TEST_F(ProgramWithFile, VersionsAreComparedAndRestored) {
  EXPECT_THAT(run(&served_, {"config", "diff", "3", "5"}).out, StartsWith("version 3 to 5: restarts 1 tunnel\n"));
  EXPECT_THAT(run(&served_, {"config", "diff"}).out, StartsWith("version 11 to 12: "));
  EXPECT_THAT(run(&served_, {"config", "undo", "--to", "3"}).out, StartsWith("version 3 is back, as version 13: "));
}

TEST_F(ProgramWithFile, ShowIsADocumentAgain) {
  const Done done = run(&served_, {"config", "show"});
  EXPECT_THAT(done.out, StartsWith("# version 12, 2026-01-31T12:00:00Z by root: why\n"));
  EXPECT_EQ(config::parse_document(done.out).config, config::parse_document(config::kSmallDocument).config);
}

TEST_F(ProgramWithFile, VerbsEditTheDocumentOnItsVersion) {
  Done done =
      run(&served_, {"endpoint", "add", "red", "10.20.0.99", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  EXPECT_EQ(served_.backend.applied.base_version, 12U);
  EXPECT_EQ(served_.backend.applied.comment, "endpoint add red 10.20.0.99");
  EXPECT_THAT(served_.backend.document, HasSubstr("10.20.0.99"));
  done = run(&served_, {"endpoint", "remove", "red", "10.20.0.99"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(served_.backend.document, Not(HasSubstr("10.20.0.99")));
  done = run(&served_, {"tunnel", "add", "berlin", "--domain", "prod", "--local", "203.0.113.1", "--remote",
                        "198.51.100.9", "--psk-file", "/k", "--inside", "169.254.20.1/30", "--mtu", "1400"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  const auto tunnels = config::parse_document(served_.backend.document).config.tunnels;
  ASSERT_EQ(tunnels.size(), 2U);
  EXPECT_EQ(tunnels[1].mtu_bytes, 1400);
  EXPECT_EQ(tunnels[1].remote_id, "198.51.100.9");
  done = run(&served_,
             {"vpc", "add", "blue", "--domain", "lab", "--new-domain", "--vni", "300", "--prefix", "10.20.0.0/24"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  EXPECT_EQ(config::parse_document(served_.backend.document).config.domains.size(), 2U);
  EXPECT_EQ(run(&served_, {"vpc", "remove", "blue"}).code, kExitDone);
  EXPECT_EQ(run(&served_, {"tunnel", "remove", "berlin"}).code, kExitDone);
}

TEST_F(ProgramWithFile, CircuitsComeAndGo) {
  Done done = run(&served_, {"circuit", "add", "dallas", "--domain", "prod", "--uplink", "wan0", "--vlan", "7", "--outer-vlan",
                             "300", "--outer-type", "802.1q", "--address", "192.168.15.1/30", "--address", "fd00:15::1/126",
                             "--mtu", "1492", "--service-key", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "--secondary"});
  ASSERT_EQ(done.code, kExitDone) << done.err;
  const auto circuits = config::parse_document(served_.backend.document).config.circuits;
  ASSERT_EQ(circuits.size(), 1U);
  EXPECT_EQ(circuits[0].outer_vlan, 300);
  EXPECT_EQ(circuits[0].outer_type, OuterTag::k8021q);
  EXPECT_EQ(circuits[0].addresses.size(), 2U);
  EXPECT_EQ(circuits[0].path, CircuitPath::kSecondary);
  done = run(&served_, {"circuit", "add", "austin", "--domain", "prod", "--uplink", "wan0", "--vlan", "4095", "--address",
                        "192.168.16.1/30"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_THAT(done.err, HasSubstr("4095 is not a VLAN"));
  EXPECT_EQ(run(&served_, {"circuit", "remove", "dalas"}).code, kExitFailed);
  EXPECT_EQ(run(&served_, {"circuit", "remove", "dallas"}).code, kExitDone);
  EXPECT_TRUE(config::parse_document(served_.backend.document).config.circuits.empty());
}

TEST_F(ProgramWithFile, MistakesInVerbsAreTold) {
  EXPECT_EQ(
      run(&served_, {"endpoint", "add", "red", "10.20.0", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11"}).code,
      kExitUsage);
  Done done =
      run(&served_, {"endpoint", "add", "red", "10.99.0.1", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("10.99.0.1 is outside VPC 'red'"));
  done = run(&served_, {"tunnel", "add", "paris", "--domain", "prod", "--local", "203.0.113.1", "--psk-file", "/k"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("already"));
  done = run(&served_, {"tunnel", "remove", "pari"});
  EXPECT_THAT(done.err, HasSubstr("did you mean 'paris'?"));
  EXPECT_EQ(served_.backend.version, 12U);
}

TEST_F(ProgramWithFile, TunnelsAreMoved) {
  EXPECT_EQ(run(&served_, {"tunnel", "up", "paris"}).code, kExitDone);
  EXPECT_EQ(served_.backend.action, "paris 0");
  EXPECT_EQ(run(&served_, {"tunnel", "rekey", "paris", "--ike"}).code, kExitDone);
  EXPECT_EQ(served_.backend.action, "paris 3");
  const Done done = run(&served_, {"tunnel", "down", "rome"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("no tunnel 'rome'"));
  EXPECT_THAT(run(&served_, {"tunnel", "up", "Paris!"}).err, HasSubstr("did you mean 'paris'?"));
}

TEST_F(ProgramWithFile, ACaptureIsWrittenAsItComes) {
  const std::string path = (folder_.path() / "out.pcapng").string();
  Done done = run(&served_, {"capture", "tunnel:paris", "--host", "10.1.0.5", "--before-crypto", "--after-crypto", "--count", "9",
                             "--duration", "60", "--snaplen", "128", "-w", path});
  EXPECT_EQ(done.code, kExitDone) << done.err;
  EXPECT_THAT(done.err, HasSubstr("3 packets captured, 0 lost, in "));
  std::stringstream written;
  written << std::ifstream(path).rdbuf();
  EXPECT_EQ(written.str().size(), 96U);
  const ipc::PacketQuery& asked = served_.backend.asked;
  EXPECT_EQ(asked.from, "tunnel:paris");
  EXPECT_TRUE(asked.before_crypto && asked.after_crypto && !asked.kernel && !asked.drops);
  EXPECT_EQ(asked.count, 9U);
  EXPECT_EQ(asked.seconds, 60U);
  EXPECT_EQ(asked.snaplen, 128U);
  // Drops, to the standard output.
  done = run(&served_, {"capture", "--drops", "no_route", "-w", "-"});
  EXPECT_EQ(done.out.size(), 96U);
  EXPECT_EQ(served_.backend.asked.reason, "no_route");
  EXPECT_TRUE(run(&served_, {"capture", "-w", "-", "--drops"}).code == kExitDone && served_.backend.asked.drops);
  EXPECT_EQ(served_.backend.asked.reason, "");
}

TEST_F(ProgramWithFile, ACaptureThatIsRefusedLeavesNoFile) {
  const std::string path = (folder_.path() / "out.pcapng").string();
  const Done done = run(&served_, {"capture", "uplink:none", "-w", path});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, AllOf(HasSubstr("there is no open uplink none"), HasSubstr("simplon status")));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(run(&served_, {"capture", "uplink:eth1"}).code, kExitUsage) << "where to?";
  EXPECT_EQ(run(&served_, {"capture", "uplink:eth1", "-w", path, "--json"}).code, kExitUsage);
  EXPECT_EQ(run(&served_, {"capture", "uplink:eth1", "-w", "/nonexistent/x"}).code, kExitFailed);
  EXPECT_EQ(run(nullptr, {"capture", "uplink:eth1", "-w", path}).code, kExitUnreachable);
}

TEST(Program, ColorOnlyWhenWanted) {
  const ServedBackend served;
  EXPECT_THAT(run(&served, {"tunnel", "show"}).out, Not(HasSubstr("\033")));
  Terminal terminal;
  terminal.color = true;
  EXPECT_THAT(run(&served, {"tunnel", "show"}, terminal).out, HasSubstr("\033["));
  EXPECT_THAT(run(&served, {"tunnel", "show", "--color", "never"}, terminal).out, Not(HasSubstr("\033")));
  EXPECT_THAT(render_tunnels(replies::tunnels(), {true}).text, HasSubstr("\033[1;31m1 of 2"));
}

}  // namespace
}  // namespace simplon::cli
