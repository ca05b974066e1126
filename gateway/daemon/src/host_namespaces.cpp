// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/host_namespaces.h"

#include <chrono>
#include <map>
#include <string>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace simplon::daemon {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr auto kPoll = 10ms;
constexpr auto kUnitTimeout = 15s;
constexpr auto kPauseAfterTimeout = 1s;

class OwnNamespaces final : public control::Namespaces {
 public:
  asio::awaitable<Result<void>> ensure(std::string name) override {
    if (auto created = sys::create_netns(name); !created) co_return created;
    co_return sys::prepare_domain_netns(name);
  }
  std::optional<sys::NetnsId> identity(const std::string& name) override { return sys::netns_id(name); }
  Result<void> remove(const std::string& name) override { return sys::delete_netns(name); }
};

class UnitNamespaces final : public control::Namespaces {
 public:
  using Identity = std::function<std::optional<sys::NetnsId>(const std::string&)>;

  UnitNamespaces(asio::io_context& io, std::shared_ptr<sys::ServiceSupervisor> units, Identity identity)
      : io_(io), units_(std::move(units)), identity_(std::move(identity)) {}

  asio::awaitable<Result<void>> ensure(std::string name) override {
    if (const auto found = ensured_.find(name); found != ensured_.end()) {
      if (identity_(name) == found->second) co_return Result<void>{};
      ensured_.erase(found);
    }
    if (no_answer_ && std::chrono::steady_clock::now() < no_answer_->second) co_return Unexpected(no_answer_->first);
    sys::ServiceSpec unit;
    unit.name = unit_of(name);
    const auto deadline = std::chrono::steady_clock::now() + kUnitTimeout;
    asio::steady_timer timer(io_);
    for (;;) {
      const auto active = units_->running(unit.name);
      if (!active) {
        no_answer_.emplace(active.error(), std::chrono::steady_clock::now() + kPauseAfterTimeout);
        co_return Unexpected(active.error());
      }
      no_answer_.reset();
      if (const auto present = identity_(name); *active && present) {
        ensured_.insert_or_assign(name, *present);
        co_return Result<void>{};
      }
      // Active without a namespace: somebody deleted it behind the unit's back.
      const auto asked = *active ? units_->request_stop(unit.name) : units_->start(unit);
      if (!asked) co_return asked;
      if (std::chrono::steady_clock::now() >= deadline) {
        co_return fail(ErrorCode::kUnavailable, "network namespace " + name + " was not made", units_->output_of(unit.name));
      }
      timer.expires_after(kPoll);
      boost::system::error_code ignored;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }
  std::optional<sys::NetnsId> identity(const std::string& name) override { return identity_(name); }
  Result<void> remove(const std::string& name) override {
    ensured_.erase(name);
    return units_->request_stop(unit_of(name));
  }

 private:
  static std::string unit_of(const std::string& name) { return "simplon-netns@" + name; }

  asio::io_context& io_;
  std::shared_ptr<sys::ServiceSupervisor> units_;
  Identity identity_;
  /// Those that were there, with their unit active.
  std::map<std::string, sys::NetnsId> ensured_;
  /// What the service manager's silence looked like, and until when it is not asked again.
  std::optional<std::pair<Error, std::chrono::steady_clock::time_point>> no_answer_;
};

}  // namespace

std::unique_ptr<control::Namespaces> make_own_namespaces() { return std::make_unique<OwnNamespaces>(); }

std::unique_ptr<control::Namespaces> make_unit_namespaces(
    asio::io_context& io, std::shared_ptr<sys::ServiceSupervisor> units,
    std::function<std::optional<sys::NetnsId>(const std::string&)> identity) {
  return std::make_unique<UnitNamespaces>(io, std::move(units), std::move(identity));
}

}  // namespace simplon::daemon
