// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/host_namespaces.h"

#include <chrono>
#include <string>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "platform/sys/netns.h"

namespace simplon::daemon {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr auto kPoll = 10ms;
constexpr auto kUnitTimeout = 15s;

class OwnNamespaces final : public control::Namespaces {
 public:
  asio::awaitable<Result<void>> ensure(std::string name) override {
    if (auto created = sys::create_netns(name); !created) co_return created;
    co_return sys::prepare_domain_netns(name);
  }
  bool exists(const std::string& name) override { return sys::netns_exists(name); }
  Result<void> remove(const std::string& name) override { return sys::delete_netns(name); }
};

class UnitNamespaces final : public control::Namespaces {
 public:
  UnitNamespaces(asio::io_context& io, std::shared_ptr<sys::ServiceSupervisor> units) : io_(io), units_(std::move(units)) {}

  asio::awaitable<Result<void>> ensure(std::string name) override {
    sys::ServiceSpec unit;
    unit.name = unit_of(name);
    const auto deadline = std::chrono::steady_clock::now() + kUnitTimeout;
    asio::steady_timer timer(io_);
    for (;;) {
      const auto active = units_->running(unit.name);
      if (!active) co_return Unexpected(active.error());
      if (*active && sys::netns_exists(name)) co_return Result<void>{};
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
  bool exists(const std::string& name) override { return sys::netns_exists(name); }
  Result<void> remove(const std::string& name) override { return units_->request_stop(unit_of(name)); }

 private:
  static std::string unit_of(const std::string& name) { return "simplon-netns@" + name; }

  asio::io_context& io_;
  std::shared_ptr<sys::ServiceSupervisor> units_;
};

}  // namespace

std::unique_ptr<control::Namespaces> make_own_namespaces() { return std::make_unique<OwnNamespaces>(); }

std::unique_ptr<control::Namespaces> make_unit_namespaces(asio::io_context& io,
                                                          std::shared_ptr<sys::ServiceSupervisor> units) {
  return std::make_unique<UnitNamespaces>(io, std::move(units));
}

}  // namespace simplon::daemon
