// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "gateway/config/store.h"
#include "tests/unit/config/fake_wall_clock.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {

/// A store in a folder of its own.
class StoreFixture : public ::testing::Test {
 protected:
  Store open() {
    auto store = Store::open(directory_, clock_);
    EXPECT_TRUE(store) << store.error().message();
    return std::move(*store);
  }

  TemporaryFolder folder_;
  std::filesystem::path directory_ = folder_.path() / "state" / "config";
  FakeWallClock clock_;
};

}  // namespace simplon::config
