// SPDX-License-Identifier: GPL-2.0-or-later
//
// Several writers at once, through the real server: each sees one version, one of them wins.

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <nlohmann/json.hpp>

#include "gateway/audit/audit_log.h"
#include "gateway/cli/src/api_client.h"
#include "gateway/config/archive.h"
#include "gateway/daemon/api_server.h"
#include "gateway/daemon/backend.h"
#include "platform/sys/file.h"
#include "tests/unit/control/reconciler_fixture.h"

namespace simplon::daemon {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class WritersTest : public ::testing::Test {
 protected:
  WritersTest() {
    backend_ = std::make_unique<Backend>(
        Backend::Parts{world_.io, *daemon_, *world_.forwarder, world_.charon, daemon_.store(), daemon_.ids(), world_.clock,
                       world_.wall_clock, *audit_, world_.directory.path(), world_.directory.path(),
                       *world_.forwarder, {}, [] { return nullptr; }},
        "test");
    ApiServer::Options options;
    options.socket = socket_;
    auto started = ApiServer::start(world_.io, *backend_, options);
    EXPECT_TRUE(started) << started.error().message();
    server_ = std::move(*started);
    daemon_->start();
    thread_ = std::thread([this] { world_.io.run(); });
  }
  ~WritersTest() override {
    world_.io.stop();
    thread_.join();
    server_.reset();
  }

  json post(const std::string& target, const json& body) const {
    const auto reply = cli::ApiClient(socket_).post(target, body);
    EXPECT_TRUE(reply) << reply.error().message();
    return reply.value_or(json::object());
  }
  json get(const std::string& target) const { return cli::ApiClient(socket_).get(target).value_or(json::object()); }
  std::string document(std::uint16_t mtu) const {
    auto changed = config_;
    changed.vpcs[0].mtu_bytes = mtu;
    return config::emit_document(changed);
  }
  audit::Verdict verdict() const {
    audit::VerifyOptions options;
    options.log = world_.directory.path() / "audit.log";
    return audit::verify(options).value_or(audit::Verdict{});
  }

  control::Daemon::World world_;
  GatewayConfig config_ = control::two_domains(world_.directory);
  control::Daemon daemon_{world_, 1000};
  std::unique_ptr<audit::Log> audit_ = audit::Log::open(world_.directory.path(), {}).value();
  std::string socket_ = world_.directory.path() / "api.sock";
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ApiServer> server_;
  std::thread thread_;
};

TEST_F(WritersTest, OneWinsTheOthersGetOneClearConflict) {
  ASSERT_TRUE(post("/v1/config/apply", {{"document", document(1400)}})["applied"].get<bool>());
  constexpr int kWriters = 8;
  std::latch ready(kWriters);
  std::vector<json> replies(kWriters);
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const json body = {{"document", document(static_cast<std::uint16_t>(1300 + i))}, {"base_version", 1}};
      ready.arrive_and_wait();
      replies[static_cast<std::size_t>(i)] = post("/v1/config/apply", body);
    });
  }
  for (auto& writer : writers) writer.join();
  int winners = 0;
  int winner = -1;
  for (int i = 0; i < kWriters; ++i) {
    const json& reply = replies[static_cast<std::size_t>(i)];
    if (reply.contains("applied")) {
      ++winners;
      winner = i;
      EXPECT_EQ(reply["version"], 2);
      continue;
    }
    ASSERT_EQ(reply["errors"].size(), 1U) << reply;
    EXPECT_EQ(reply["errors"][0]["code"], "conflict");
    EXPECT_THAT(reply["errors"][0]["what"].get<std::string>(), HasSubstr("version 2, not 1"));
    EXPECT_THAT(reply["errors"][0]["what"].get<std::string>(), HasSubstr("; since then: version 2 by "));
    EXPECT_THAT(reply["errors"][0]["hint"].get<std::string>(), HasSubstr("simplon config diff 1"));
    EXPECT_THAT(reply["errors"][0]["hint"].get<std::string>(), HasSubstr("--base 2"));
  }
  EXPECT_EQ(winners, 1);
  const json current = get("/v1/config");
  EXPECT_EQ(current["version"], 2);
  EXPECT_EQ(current["document"], document(static_cast<std::uint16_t>(1300 + winner)));
  // Each attempt is in the audit log.
  const json entries = get("/v1/audit?last=100")["entries"];
  ASSERT_EQ(entries.size(), 9U);
  EXPECT_EQ(std::count_if(entries.begin(), entries.end(), [](const json& e) { return e["outcome"] == "refused"; }),
            kWriters - 1);
  EXPECT_TRUE(verdict().sound());
}

TEST_F(WritersTest, AttemptsAreInTheAuditLog) {
  post("/v1/config/apply", {{"document", "nonsense: 1"}});
  post("/v1/config/apply", {{"document", document(1400)}, {"dry_run", true}});
  post("/v1/config/apply", {{"document", document(1400)}, {"comment", "first"}, {"confirm_seconds", 60}});
  post("/v1/config/confirm", json::object());
  post("/v1/config/confirm", json::object());
  post("/v1/tunnels/site-a/down", json::object());
  post("/v1/tunnels/nobody/up", json::object());
  post("/v1/config/undo", json::object());
  std::vector<std::string> seen;
  const json entries = get("/v1/audit")["entries"];
  for (const json& entry : entries) {
    EXPECT_EQ(entry["uid"], ::geteuid());
    seen.push_back(entry["action"].get<std::string>() + " " + entry["outcome"].get<std::string>());
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("apply refused", "apply done", "confirm done", "confirm refused",
                                           "tunnel down done", "tunnel up refused", "undo done"));
}

TEST_F(WritersTest, RoutesAreListedUpToALimitOverAllDomains) {
  post("/v1/config/apply", {{"document", document(1400)}});
  const json all = get("/v1/routes");
  const auto total = all["total"].get<std::size_t>();
  EXPECT_FALSE(all["more"].get<bool>());
  ASSERT_EQ(all["domains"].size(), 2U);
  const auto of_red = all["domains"][0]["total"].get<std::size_t>();
  EXPECT_EQ(all["domains"][0]["routes"].size(), of_red);
  EXPECT_EQ(of_red + all["domains"][1]["routes"].size(), total);

  const json some = get("/v1/routes?limit=" + std::to_string(of_red + 1));
  EXPECT_TRUE(some["more"].get<bool>());
  EXPECT_EQ(some["total"], total);
  EXPECT_EQ(some["domains"][0]["routes"].size(), of_red);
  EXPECT_EQ(some["domains"][1]["routes"].size(), 1U);
  EXPECT_EQ(some["domains"][1]["total"], all["domains"][1]["total"]);

  const json one = get("/v1/routes?domain=blue&prefix=10.9.1.1");
  ASSERT_EQ(one["domains"].size(), 1U);
  ASSERT_EQ(one["total"], 1) << one;
  EXPECT_EQ(one["domains"][0]["routes"][0]["prefix"], "10.9.0.0/16");
  const json wrong = get("/v1/routes?domain=blu");
  EXPECT_EQ(wrong["errors"][0]["hint"], "did you mean 'blue'?");
  EXPECT_EQ(get("/v1/routes?domain=zebra")["errors"][0]["hint"], "there is red, blue");

  // Only the page about BGP makes bgpd count.
  get("/v1/status");
  EXPECT_EQ(world_.frr.counted, 0);
  get("/v1/bgp");
  EXPECT_EQ(world_.frr.counted, 1);
}

TEST_F(WritersTest, TheWholeBoxComesBackFromItsExport) {
  post("/v1/config/apply", {{"document", document(1400)}, {"comment", "first"}});
  post("/v1/config/apply", {{"document", document(1410)}, {"comment", "second"}});
  const std::string archive = get("/v1/config/export?history=1")["archive"];

  // Somebody changes things; the import brings all of it back, in one version.
  post("/v1/config/apply", {{"document", document(1300)}});
  const json tried = post("/v1/config/import", {{"archive", archive}, {"dry_run", true}});
  EXPECT_FALSE(tried["applied"].get<bool>()) << tried;
  const json done = post("/v1/config/import", {{"archive", archive}});
  ASSERT_TRUE(done.value("applied", false)) << done;
  EXPECT_EQ(get("/v1/config")["document"], document(1410));
  EXPECT_EQ(done["version"], 4);
  EXPECT_THAT(done["warnings"].dump(), HasSubstr("the history of the archive is left out"));

  // A damaged one changes nothing.
  std::string bad = archive;
  bad[bad.find("1410")] = '9';
  const json refused = post("/v1/config/import", {{"archive", bad}});
  ASSERT_TRUE(refused.contains("errors"));
  EXPECT_THAT(refused["errors"][0]["what"].get<std::string>(), HasSubstr("damaged"));
  EXPECT_EQ(get("/v1/config")["version"], 4);
}

TEST_F(WritersTest, AnImportWritesOnlySecretsThatItsConfigurationNames) {
  post("/v1/config/apply", {{"document", document(1400)}});
  auto archive = config::read_archive(get("/v1/config/export")["archive"].get<std::string>()).value();
  const std::string other = world_.directory.path() / "other.psk";
  archive.secrets[other] = "key";
  for (const bool dry_run : {true, false}) {
    const json refused = post("/v1/config/import", {{"archive", config::format_open_archive(archive)}, {"dry_run", dry_run}});
    ASSERT_TRUE(refused.contains("errors")) << refused;
    EXPECT_THAT(refused["errors"][0]["what"].get<std::string>(), HasSubstr("a secret for " + other));
  }
  EXPECT_FALSE(std::filesystem::exists(other));
  EXPECT_EQ(get("/v1/config")["version"], 1);
  EXPECT_EQ(get("/v1/audit")["entries"].back()["outcome"], "refused");
}

TEST_F(WritersTest, AnImportSaysWhichKeysItReplaces) {
  post("/v1/config/apply", {{"document", document(1400)}});
  const std::string key_file = config_.tunnels[0].psk_file;
  const auto former = sys::read_file(key_file, 4096);
  auto archive = config::read_archive(get("/v1/config/export")["archive"].get<std::string>()).value();
  archive.secrets[key_file] = "another key";
  const json body = {{"archive", config::format_open_archive(archive)}};
  json tried = body;
  tried["dry_run"] = true;
  const json told = post("/v1/config/import", tried);
  EXPECT_EQ(told["replaces_secrets"], 1) << told;
  EXPECT_THAT(told["warnings"].dump(), HasSubstr("the key in " + key_file + " is replaced"));

  // While a change is on probation no key is touched.
  post("/v1/config/apply", {{"document", document(1300)}, {"confirm_seconds", 60}});
  EXPECT_THAT(post("/v1/config/import", body)["errors"].dump(), HasSubstr("still waits for its confirmation"));
  EXPECT_EQ(sys::read_file(key_file, 4096).value(), former.value());
  post("/v1/config/confirm", json::object());

  EXPECT_TRUE(post("/v1/config/import", body).value("applied", false));
  EXPECT_EQ(sys::read_file(key_file, 4096).value(), "another key\n");
  EXPECT_THAT(audit_->tail(1).back(), HasSubstr("; replaces 1 key file"));
}

TEST_F(WritersTest, AKeyInThePlaceOfItsPathIsNotInTheAuditLog) {
  std::string wrong = document(1400);
  const std::string path = config_.tunnels[0].psk_file;
  wrong.replace(wrong.find(path), path.size(), "hunter2");
  const json refused = post("/v1/config/apply", {{"document", wrong}});
  EXPECT_THAT(refused["errors"].dump(), HasSubstr("not an absolute path"));
  EXPECT_THAT(audit_->tail(1).back(), HasSubstr("not an absolute path"));
  EXPECT_THAT(audit_->tail(1).back(), ::testing::Not(HasSubstr("hunter2")));
}

TEST_F(WritersTest, AChangeWaitsForTheSecretsOfAnImportThatFailed) {
  post("/v1/config/apply", {{"document", document(1400)}});
  const std::string journal = world_.directory.path() / "import.journal";
  const std::string folder = world_.directory.path() / "no-folder";
  json files;
  files[folder + "/key"] = "6b";
  std::ofstream(journal) << json{{"current_version", 1}, {"files", files}};
  const json refused = post("/v1/config/apply", {{"document", document(1300)}});
  ASSERT_TRUE(refused.contains("errors")) << refused;
  EXPECT_THAT(refused["errors"][0]["what"].get<std::string>(), HasSubstr("cannot be put back"));
  std::filesystem::create_directory(folder);
  EXPECT_TRUE(post("/v1/config/apply", {{"document", document(1300)}}).value("applied", false));
  EXPECT_TRUE(std::filesystem::exists(folder + "/key"));
  EXPECT_FALSE(std::filesystem::exists(journal));
}

TEST_F(WritersTest, AnEntryThatAKillKeptOutOfTheAuditLogIsWrittenAtTheStart) {
  post("/v1/config/apply", {{"document", document(1400)}, {"comment", "kept"}});
  backend_->note_unlogged();
  EXPECT_EQ(audit_->sequence(), 1U) << "nothing is missing";
  post("/v1/config/apply", {{"document", document(1300)}, {"comment", "lost"}});
  // As if the second had not been written.
  const auto folder = world_.directory.path() / "log";
  const auto other = audit::Log::open(folder, {}).value();
  audit::Event first;
  first.version = 1;
  ASSERT_TRUE(other->append(first));
  Backend after({world_.io, *daemon_, *world_.forwarder, world_.charon, daemon_.store(), daemon_.ids(), world_.clock, world_.wall_clock,
                 *other, world_.directory.path(), world_.directory.path(), *world_.forwarder, {}, [] { return nullptr; }},
                "test");
  after.note_unlogged();
  after.note_unlogged();
  ASSERT_EQ(other->sequence(), 2U);
  EXPECT_THAT(other->tail(1).back(), HasSubstr("lost"));
  EXPECT_THAT(other->tail(1).back(), HasSubstr("\"version\":2"));
}

}  // namespace
}  // namespace simplon::daemon
