// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/unix_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace simplon::sys {
namespace {

using ::testing::HasSubstr;

class UnixSocketTest : public ::testing::Test {
 protected:
  std::string path_ = ::testing::TempDir() + "unix-" + std::to_string(::getpid()) + ".sock";
  void TearDown() override { ::unlink(path_.c_str()); }
};

TEST_F(UnixSocketTest, ListensWithTheModeAndKnowsItsPeer) {
  const auto listener = listen_unix(path_, SOCK_SEQPACKET, 0660);
  ASSERT_TRUE(listener) << listener.error().message();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0660U);
  const auto client = connect_unix(path_, SOCK_SEQPACKET, false);
  ASSERT_TRUE(client);
  const UniqueFd accepted(::accept(listener->get(), nullptr, nullptr));
  const auto peer = peer_credentials(accepted.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->uid, ::getuid());
}

TEST_F(UnixSocketTest, WhoIsTrusted) {
  EXPECT_TRUE(is_trusted_user(0, "no-such-user"));
  EXPECT_TRUE(is_trusted_user(::geteuid(), "no-such-user"));
  EXPECT_TRUE(is_trusted_user(1, "daemon"));
  const uid_t other = ::geteuid() == 2 ? 3 : 2;
  EXPECT_FALSE(is_trusted_user(other, "daemon"));
  EXPECT_FALSE(is_trusted_user(other, "no-such-user"));
  EXPECT_FALSE(is_trusted_user(other, ""));
}

TEST_F(UnixSocketTest, AStaleSocketIsReplaced) {
  {
    const auto former = listen_unix(path_, SOCK_STREAM, 0660);
    ASSERT_TRUE(former);
  }
  EXPECT_TRUE(listen_unix(path_, SOCK_STREAM, 0660));
}

TEST_F(UnixSocketTest, ALivingOneIsNot) {
  const auto former = listen_unix(path_, SOCK_STREAM, 0660);
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    const auto second = listen_unix(path_, type, 0660);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  }
}

TEST_F(UnixSocketTest, MistakesAreNamed) {
  EXPECT_EQ(listen_unix(std::string(108, 'x'), SOCK_STREAM, 0660).error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(listen_unix("/nonexistent/dir/s", SOCK_STREAM, 0660).error().hint, HasSubstr("/nonexistent/dir"));
  const UniqueFd file(::creat(path_.c_str(), 0600));
  EXPECT_EQ(listen_unix(path_, SOCK_STREAM, 0660).error().code, ErrorCode::kConflict);
  EXPECT_THAT(connect_unix("/nonexistent/s", SOCK_STREAM, true).error().what, HasSubstr("/nonexistent/s"));
}

}  // namespace
}  // namespace simplon::sys
