// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gateway/forward/tables.h"

namespace simplon::forward {

class Watch;

/// Who looks at packets now; any number of traces and captures at once. Threads: the table writer's.
class Watchers {
 public:
  /// `install`: gives the workers what they call from now on (Worker::watch); nullptr: nobody looks.
  Watchers(Tables& tables, std::function<void(Watch*)> install);
  /// The workers have ended.
  ~Watchers();
  Watchers(const Watchers&) = delete;
  Watchers& operator=(const Watchers&) = delete;

  void add(std::shared_ptr<Watch> watch);
  /// Workers may call it for a moment yet; it lives that long.
  void remove(const std::shared_ptr<Watch>& watch);

 private:
  class All;
  void publish();

  Tables& tables_;
  std::function<void(Watch*)> install_;
  std::vector<std::shared_ptr<Watch>> watches_;
  std::unique_ptr<All> all_;
};

}  // namespace simplon::forward
