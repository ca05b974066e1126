// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/utc.h"

#include <gtest/gtest.h>

#include <string>

namespace simplon {
namespace {

TEST(Utc, WhatIsWrittenIsRead) {
  for (const std::string text : {"2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z", "1678-01-01T00:00:00Z", "2261-12-31T23:59:59Z"}) {
    const auto time = parse_utc(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(format_utc(*time), text);
  }
}

TEST(Utc, NothingElseIs) {
  using namespace std::string_literals;
  for (const std::string& text : {""s, "2026-01-31"s, "2026-01-31T12:00:00"s, "2026-01-31T12:00:00Z "s, "2026-01-31T12:00:00Z\0"s,
                                  "2026-13-01T00:00:00Z"s, "1677-12-31T23:59:59Z"s, "2262-01-01T00:00:00Z"s, "-999-01-01T00:00:00Z"s}) {
    EXPECT_FALSE(parse_utc(text)) << text;
  }
}

}  // namespace
}  // namespace simplon
