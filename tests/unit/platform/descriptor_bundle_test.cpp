// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/descriptor_bundle.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <numeric>
#include <string>

#include "platform/sys/descriptor_limit.h"

namespace simplon::sys {
namespace {

using ::testing::HasSubstr;

struct Pipe {
  UniqueFd out, in;
};
Pipe make_pipe() {
  int pair[2];
  EXPECT_EQ(::pipe2(pair, O_CLOEXEC), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

bool is_closed_at_the_other_end(const Pipe& pipe) {
  struct pollfd polled {pipe.out.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLHUP) != 0;
}

TEST(DescriptorBundle, GivesThemBackInOrderAndOnce) {
  // More than one message carries.
  std::array<Pipe, 300> pipes;
  std::vector<int> numbers;
  for (Pipe& pipe : pipes) {
    pipe = make_pipe();
    numbers.push_back(pipe.in.get());
  }
  const auto bundle = bundle_descriptors(numbers);
  ASSERT_TRUE(bundle) << bundle.error().message();
  for (Pipe& pipe : pipes) pipe.in.reset();
  const auto taken = unbundle_descriptors(bundle->get());
  ASSERT_TRUE(taken) << taken.error().message();
  ASSERT_EQ(taken->size(), pipes.size());
  for (std::size_t i = 0; i < pipes.size(); ++i) {
    const auto number = static_cast<std::uint8_t>(i);
    std::uint8_t got = 0;
    ASSERT_EQ(::write((*taken)[i].get(), &number, 1), 1);
    ASSERT_EQ(::read(pipes[i].out.get(), &got, 1), 1);
    EXPECT_EQ(got, number);
  }
  const auto again = unbundle_descriptors(bundle->get());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kPeer);
}

TEST(DescriptorBundle, HoldsAsManyAsAGatewayHasTunnelsAndMore) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  constexpr std::size_t kMany = 12'000;
  const struct rlimit low {1024, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  ASSERT_GT(raise_descriptor_limit(), kMany + 100) << "the hard limit of this machine is too low";
  const Pipe pipe = make_pipe();
  const std::vector<int> numbers(kMany, pipe.in.get());
  const auto bundle = bundle_descriptors(numbers);
  ASSERT_TRUE(bundle) << bundle.error().message();
  auto taken = unbundle_descriptors(bundle->get());
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_EQ(taken->size(), kMany);
  taken->clear();
  // All of them fit into a bundle; a process that may not have them is told why, and none is left over.
  const std::vector<int> most(kMaxBundledDescriptors, pipe.in.get());
  const auto full = ::geteuid() == 0 ? bundle_descriptors(most) : bundle_descriptors(numbers);
  ASSERT_TRUE(full) << full.error().message();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto refused = unbundle_descriptors(full->get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().hint, HasSubstr("LimitNOFILE"));
}

TEST(DescriptorBundle, ClosesWhatNobodyTookOut) {
  Pipe pipe = make_pipe();
  const int number = pipe.in.get();
  auto bundle = bundle_descriptors({&number, 1});
  ASSERT_TRUE(bundle);
  pipe.in.reset();
  EXPECT_FALSE(is_closed_at_the_other_end(pipe));
  bundle->reset();
  EXPECT_TRUE(is_closed_at_the_other_end(pipe));
}

TEST(DescriptorBundle, RefusesWhatIsNone) {
  EXPECT_FALSE(bundle_descriptors({}));
  const Pipe pipe = make_pipe();
  const auto no_socket = unbundle_descriptors(pipe.out.get());
  ASSERT_FALSE(no_socket);
  EXPECT_EQ(no_socket.error().code, ErrorCode::kPeer);
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd reader(pair[0]), writer(pair[1]);
  const auto empty = unbundle_descriptors(reader.get());
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::kPeer);
  ASSERT_EQ(::send(writer.get(), "something else", 14, 0), 14);
  const auto taken = unbundle_descriptors(reader.get());
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().what, HasSubstr("broken"));
}

}  // namespace
}  // namespace simplon::sys
