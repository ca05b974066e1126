// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "gateway/cli/src/table.h"

namespace simplon::cli {

inline void expect_fits(const std::string& page) {
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), kPageWidth) << line;
  EXPECT_THAT(page, ::testing::Not(::testing::HasSubstr(" \n"))) << "trailing spaces";
}

}  // namespace simplon::cli
