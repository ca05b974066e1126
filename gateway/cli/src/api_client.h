// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::cli {

/// A client of the local API (gateway/ipc/api.h): one connection per request, blocking.
class ApiClient {
 public:
  explicit ApiClient(std::string socket, std::chrono::milliseconds timeout = std::chrono::seconds(120))
      : socket_(std::move(socket)), timeout_(timeout) {}

  /// Called after each second of waiting with the seconds so far, and with 0 when that is over.
  using OnWait = std::function<void(std::chrono::seconds)>;
  void on_wait(OnWait on_wait) { on_wait_ = std::move(on_wait); }

  /// The reply, also if it is a refusal (its "errors" tell). Errors: kUnavailable if simplond cannot be reached or does
  /// not answer in time, with a hint that a change may still happen once it was sent; kPeer if what answers is not
  /// simplond, or speaks another version of the API.
  [[nodiscard]] Result<nlohmann::json> get(const std::string& target) const;
  [[nodiscard]] Result<nlohmann::json> post(const std::string& target, const nlohmann::json& body) const;

  /// Takes pieces of the reply's body; false ends the exchange.
  using OnBytes = std::function<bool(std::string_view)>;
  /// POST, with a reply that goes on until its end, until `on_bytes` has enough, or `stop` says so (asked at least twice a
  /// second and after a signal). The value is empty, or a refusal. Errors: as above.
  [[nodiscard]] Result<nlohmann::json> stream(const std::string& target, const nlohmann::json& body, const OnBytes& on_bytes,
                                              const std::function<bool()>& stop) const;

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] Result<sys::UniqueFd> connect() const;
  [[nodiscard]] Result<nlohmann::json> exchange(int fd, const std::string& request) const;
  [[nodiscard]] Result<nlohmann::json> exchange(int fd, const std::string& request, bool& ret_told) const;
  [[nodiscard]] Result<void> wait(int fd, short events, Clock::time_point started, bool& ret_told) const;

  std::string socket_;
  std::chrono::milliseconds timeout_;
  OnWait on_wait_;
};

}  // namespace simplon::cli
