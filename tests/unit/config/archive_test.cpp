// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "gateway/config/document.h"
#include "gateway/config/secret_swap.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Archive sample() {
  Archive archive;
  archive.created = "2026-01-31T12:00:00Z";
  archive.gateway = "gw";
  archive.version = 7;
  archive.document = kSmallDocument;
  archive.ids.domains = {{"prod", 2}};
  archive.ids.tunnels = {{"paris", 4}};
  archive.ids.next_domain = 3;
  archive.ids.next_tunnel = 9;
  archive.secrets = {{"/etc/simplon/paris.psk", std::string("key with \0 and \xff", 17)}, {"/etc/simplon/bgp", "word"}};
  return archive;
}

Archive read(const std::string& text) {
  auto archive = read_archive(text);
  EXPECT_TRUE(archive) << archive.error().message();
  return archive ? *std::move(archive) : Archive{};
}

TEST(Archive, WhatIsWrittenIsRead) {
  const auto written = sample();
  const auto text = format_archive(written, "correct horse");
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, Not(HasSubstr("word")));
  auto archive = read(*text);
  EXPECT_EQ(archive.document, written.document);
  EXPECT_EQ(archive.ids, written.ids);
  EXPECT_EQ(archive.version, 7U);
  EXPECT_TRUE(archive.secrets.empty());
  ASSERT_TRUE(open_secrets(archive, "correct horse"));
  EXPECT_EQ(archive.secrets, written.secrets);
  // As it goes over the local socket.
  EXPECT_EQ(read(format_open_archive(archive)).secrets, written.secrets);
}

TEST(Archive, AWrongPassphraseOpensNothing) {
  auto archive = read(*format_archive(sample(), "correct horse"));
  const auto opened = open_secrets(archive, "battery staple");
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().what, HasSubstr("passphrase"));
  EXPECT_TRUE(archive.secrets.empty());
}

TEST(Archive, EachDamageIsRefused) {
  auto written = sample();
  written.secrets.clear();
  const std::string good = *format_archive(written, "");
  read(good);
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    if (const auto archive = read_archive(bad)) {
      // Only space between members may change unseen; the result is the same then.
      ++accepted;
      EXPECT_EQ(archive->document, written.document) << at;
      EXPECT_EQ(archive->ids, written.ids) << at;
    }
  }
  EXPECT_LT(accepted, 10U);
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 3}) {
    EXPECT_FALSE(read_archive(good.substr(0, length))) << length;
  }
  EXPECT_FALSE(read_archive(kSmallDocument));
}

TEST(Archive, DepthIsRefused) {
  const auto nested = [](std::size_t depth) {
    return R"({"simplon_archive": 1, "x": )" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  for (const std::size_t depth : {16U, 1'000'000U}) {
    EXPECT_THAT(read_archive(nested(depth)).error().what, HasSubstr("nested more than 16 levels deep")) << depth;
  }
  EXPECT_THAT(read_archive(nested(15)).error().what, HasSubstr("checksum"));
  EXPECT_FALSE(read_archive(std::string(1'000'000, '[')));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"x":)";
  EXPECT_FALSE(read_archive(objects));
}

TEST(Archive, SecretsAreBoundToTheirDocument) {
  const std::string sealed = *format_archive(sample(), "correct horse");
  auto other = sample();
  other.document += "# another\n";
  auto archive = read(*format_archive(other, "correct horse"));
  archive.document = sample().document;
  EXPECT_FALSE(open_secrets(archive, "correct horse"));
}

TEST(Archive, SecretFilesAreFoundOnce) {
  GatewayConfig config;
  config.tunnels.resize(3);
  config.tunnels[0].psk_file = "/b";
  config.tunnels[1].psk_file = "/a";
  config.tunnels[2].psk_file = "/b";
  EXPECT_THAT(secret_files(config), ElementsAre("/a", "/b"));
}

class SecretSwapTest : public ::testing::Test {
 protected:
  std::string path(const char* name) const { return (secrets_ / name).string(); }
  void put(const char* name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    ::chmod(path(name).c_str(), 0600);
  }
  std::string content(const char* name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }
  Result<SecretSwap> begin() {
    return SecretSwap::begin(folder_.path(), secrets_, 4, {{path("old"), "new key"}, {path("fresh"), "other key"}});
  }

  TemporaryFolder folder_;
  fs::path secrets_ = [this] {
    fs::create_directory(folder_.path() / "secrets");
    return folder_.path() / "secrets";
  }();
};

TEST_F(SecretSwapTest, KeepsOrGoesBack) {
  put("old", "former key\n");
  auto swap = begin();
  ASSERT_TRUE(swap) << swap.error().message();
  EXPECT_EQ(content("old"), "new key\n");
  struct stat info {};
  ASSERT_EQ(::stat(path("fresh").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_TRUE(swap->go_back());
  EXPECT_EQ(content("old"), "former key\n");
  EXPECT_FALSE(fs::exists(path("fresh")));
  swap = begin();
  swap->keep();
  EXPECT_EQ(content("old"), "new key\n");
  EXPECT_FALSE(*SecretSwap::recover(folder_.path(), 4));
}

TEST_F(SecretSwapTest, AStartFinishesWhatAKillInterrupted) {
  put("old", "former key\n");
  ASSERT_TRUE(begin());
  EXPECT_TRUE(*SecretSwap::recover(folder_.path(), 4)) << "not committed";
  EXPECT_EQ(content("old"), "former key\n");
  ASSERT_TRUE(begin());
  EXPECT_FALSE(*SecretSwap::recover(folder_.path(), 5)) << "committed as version 5";
  EXPECT_EQ(content("old"), "new key\n");
}

TEST_F(SecretSwapTest, WritesNowhereElse) {
  const auto refused = [&](const std::string& where, const std::string& text = "key") {
    const auto swap = SecretSwap::begin(folder_.path(), secrets_, 4, {{where, text}});
    EXPECT_FALSE(swap) << where;
    EXPECT_FALSE(fs::exists(folder_.path() / "import.journal"));
  };
  refused("/etc/cron.d/simplon");
  refused(secrets_.string() + "/../outside");
  refused(secrets_.string() + "/sub/key");
  refused(secrets_.string() + "/.hidden");
  refused(path("empty"), "");
  fs::create_symlink("/etc/passwd", path("link"));
  refused(path("link"));
  put("charon.conf", "charon {}");
  ::chmod(path("charon.conf").c_str(), 0644);
  refused(path("charon.conf"));
  EXPECT_EQ(content("charon.conf"), "charon {}");
}

}  // namespace
}  // namespace simplon::config
