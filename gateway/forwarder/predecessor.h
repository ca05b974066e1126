// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gateway/forwarder/handover.h"
#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// The forwarder whose work this one goes on with. Blocks; threads: one.
class Predecessor {
 public:
  /// One that has ended, and left everything with the service manager; nullptr if there is none. Errors: what it left cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<Predecessor>> stored();
  /// One that runs, by its socket below `run_dir`. It keeps its tables as they are from now on, and goes on forwarding until `take_traffic`; if
  /// this process ends before, it goes on for good. `before_end` is called in between. Errors: kUnavailable if there is none.
  [[nodiscard]] static Result<std::unique_ptr<Predecessor>> running(const std::string& run_dir, std::function<Result<void>()> before_end);
  virtual ~Predecessor() = default;
  Predecessor(const Predecessor&) = delete;
  Predecessor& operator=(const Predecessor&) = delete;

  [[nodiscard]] Taken<HandedTables>& tables() noexcept { return tables_; }
  /// What it forwards with. It has stopped when this returns. Once. Errors: kPeer and kUnavailable.
  [[nodiscard]] virtual Result<Taken<HandedTraffic>> take_traffic() = 0;
  /// It does not forward any more, or may not: only starting from nothing helps if this process cannot go on.
  [[nodiscard]] virtual bool has_ended() const noexcept = 0;

 protected:
  explicit Predecessor(Taken<HandedTables> tables) : tables_(std::move(tables)) {}

 private:
  Taken<HandedTables> tables_;
};

/// Both parts to the service manager, for the next process of this service. Errors: kUnavailable.
[[nodiscard]] Result<void> leave_handover(const sys::UniqueFd& tables, const sys::UniqueFd& traffic);

/// Where a forwarder that runs waits for its successor.
[[nodiscard]] std::string succession_path(const std::string& run_dir);

}  // namespace simplon::forwarder
