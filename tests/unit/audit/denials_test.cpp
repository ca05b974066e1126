// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/audit/denials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace simplon::audit {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Denials, OneEntryPerUserAndMinuteSaysHowManyThereWere) {
  FakeClock clock;
  Denials denials;
  const auto attempt = [&](std::uint32_t uid) { return denials.admit("mallory", uid, "/v1/config/apply", clock.now()); };
  const auto first = attempt(1000);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->who, "mallory");
  EXPECT_EQ(first->uid, 1000U);
  EXPECT_EQ(first->action, "denied");
  EXPECT_EQ(first->outcome, "refused");
  EXPECT_EQ(first->subject, "/v1/config/apply");
  EXPECT_EQ(first->detail, "not an administrator");
  for (int i = 0; i < 10'000; ++i) EXPECT_FALSE(attempt(1000));
  EXPECT_TRUE(attempt(1001)) << "another user has a minute of his own";
  clock.advance(59s);
  EXPECT_FALSE(attempt(1000));
  EXPECT_TRUE(denials.due(clock.now()).empty());
  clock.advance(1s);
  const auto next = attempt(1000);
  ASSERT_TRUE(next);
  EXPECT_THAT(next->detail, HasSubstr("attempts since the entry before: 10001"));
  EXPECT_FALSE(attempt(1000));
}

TEST(Denials, WhatWasCountedIsToldAlsoIfNobodyTriesAgain) {
  FakeClock clock;
  Denials denials;
  ASSERT_TRUE(denials.admit("mallory", 1000, "/v1/config/apply", clock.now()));
  EXPECT_FALSE(denials.admit("mallory", 1000, "/v1/config/undo", clock.now()));
  clock.advance(60s);
  const auto due = denials.due(clock.now());
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due.front().uid, 1000U);
  EXPECT_EQ(due.front().subject, "/v1/config/undo");
  EXPECT_THAT(due.front().detail, HasSubstr("attempts since the entry before: 1"));
  clock.advance(60s);
  EXPECT_TRUE(denials.due(clock.now()).empty());
  const auto again = denials.admit("mallory", 1000, "/v1/config/apply", clock.now());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->detail, "not an administrator");
}

TEST(Denials, ManyUidsAreOneUser) {
  FakeClock clock;
  Denials denials;
  int entries = 0;
  for (std::uint32_t uid = 100'000; uid < 165'536; ++uid) entries += denials.admit("somebody", uid, "/", clock.now()) ? 1 : 0;
  EXPECT_LT(entries, 100);
  clock.advance(60s);
  const auto due = denials.due(clock.now());
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due.front().who, "other users");
  EXPECT_FALSE(due.front().uid);
}

}  // namespace
}  // namespace simplon::audit
