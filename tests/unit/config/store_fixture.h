// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "gateway/config/store.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {

class FakeWallClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const noexcept override { return now_; }
  void advance(std::chrono::seconds by) { now_ += by; }

 private:
  std::chrono::system_clock::time_point now_{std::chrono::seconds(1'800'000'000)};
};

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
