// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/file.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "platform/sys/unique_fd.h"

namespace simplon::sys {
namespace {

using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  std::string directory_ = ::testing::TempDir() + "file-" + std::to_string(::getpid());
  void SetUp() override { ASSERT_TRUE(make_directories(directory_, 0700)); }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path(const char* name) const { return directory_ + "/" + name; }
  static unsigned mode_of(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777U;
  }
};

TEST_F(FileTest, AtomicWriteReplacesContentAndMode) {
  ASSERT_TRUE(write_file_atomically(path("a"), "first", 0644));
  ASSERT_TRUE(write_file_atomically(path("a"), "second", 0600));
  EXPECT_EQ(read_file(path("a"), 100).value(), "second");
  EXPECT_EQ(mode_of(path("a")), 0600U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1) << "no temporary file is left";
}

TEST_F(FileTest, AFailedWriteLeavesTheOldFile) {
  ASSERT_TRUE(make_directories(path("d"), 0700));
  const auto written = write_file_atomically(path("d"), "x", 0600);
  ASSERT_FALSE(written);
  EXPECT_TRUE(std::filesystem::is_directory(path("d")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);
  EXPECT_FALSE(write_file_atomically(path("missing/a"), "x", 0600));
}

TEST_F(FileTest, ReadingIsBounded) {
  ASSERT_TRUE(write_file_atomically(path("a"), std::string(100, 'x'), 0600));
  EXPECT_TRUE(read_file(path("a"), 100));
  const auto refused = read_file(path("a"), 99);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(read_file(path("b"), 99).error().code, ErrorCode::kUnavailable);
}

TEST_F(FileTest, ASocketIsReadToItsEnd) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ASSERT_EQ(::write(writer.get(), "hello", 5), 5);
  writer.reset();
  EXPECT_EQ(read_all(reader.get(), "it", 5).value(), "hello");
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const UniqueFd long_reader(ends[0]);
  const UniqueFd long_writer(ends[1]);
  ASSERT_EQ(::write(long_writer.get(), "hello", 5), 5);
  EXPECT_THAT(read_all(long_reader.get(), "it", 4).error().what, HasSubstr("it is longer than 4 bytes"));
}

TEST_F(FileTest, ASecretIsReadWithoutItsNewline) {
  ASSERT_TRUE(write_file_atomically(path("psk"), "pass word\n", 0600));
  EXPECT_EQ(read_secret_file(path("psk")).value(), "pass word");
}

TEST_F(FileTest, ASecretOpenToOthersIsRefusedWithTheRemedy) {
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0644}) {
    ASSERT_TRUE(write_file_atomically(path("psk"), "x", mode));
    const auto refused = read_secret_file(path("psk"));
    ASSERT_FALSE(refused) << std::oct << mode;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidConfig);
    EXPECT_EQ(refused.error().hint, "chmod 600 " + path("psk"));
  }
}

TEST_F(FileTest, ASecretIsARegularFile) {
  ASSERT_TRUE(write_file_atomically(path("psk"), "x", 0600));
  std::filesystem::create_symlink(path("psk"), path("link"));
  EXPECT_THAT(read_secret_file(path("link")).error().what, HasSubstr("symbolic link"));
  EXPECT_THAT(read_secret_file(directory_).error().what, HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(read_secret_file(path("fifo")).error().what, HasSubstr("not a regular file"));
  EXPECT_EQ(read_secret_file(path("none")).error().code, ErrorCode::kUnavailable);
  ASSERT_TRUE(write_file_atomically(path("empty"), "\n", 0600));
  EXPECT_THAT(read_secret_file(path("empty")).error().what, HasSubstr("empty"));
  ASSERT_TRUE(write_file_atomically(path("long"), std::string(5000, 'x'), 0600));
  EXPECT_FALSE(read_secret_file(path("long")));
}

TEST_F(FileTest, DirectoriesAreMadeDeepAndOnce) {
  EXPECT_TRUE(make_directories(path("x/y/z"), 0750));
  EXPECT_TRUE(make_directories(path("x/y/z"), 0750));
  EXPECT_TRUE(std::filesystem::is_directory(path("x/y/z")));
  ASSERT_TRUE(write_file_atomically(path("f"), "", 0600));
  EXPECT_FALSE(make_directories(path("f"), 0750));
  EXPECT_FALSE(make_directories(path("f/g"), 0750));
}

TEST(Wipe, LeavesNothing) {
  std::string secret = "0123456789012345678901234567890123456789";
  const char* memory = secret.data();
  wipe(secret);
  EXPECT_TRUE(secret.empty());
  EXPECT_EQ(memory[0], '\0');
}

}  // namespace
}  // namespace simplon::sys
