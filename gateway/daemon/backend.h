// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "gateway/config/ids.h"
#include "gateway/config/store.h"
#include "gateway/control/reconciler.h"
#include "gateway/daemon/api_server.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"

namespace simplon::daemon {

/// Answers the local API (gateway/ipc/api.h): puts what is configured, what charon and FRR observe and what the
/// forwarder confirmed side by side, and hands changes to the reconciler. Threads: the io_context's one. Lifetime: all
/// parts outlive it.
class Backend final : public ApiBackend {
 public:
  struct Parts {
    control::Reconciler& reconciler;
    ipc::TableClient& forwarder;
    ipsec::TunnelManager& tunnels;
    const config::Store& store;
    const config::IdRegistry& ids;
    const Clock& clock;
    const config::WallClock& wall_clock;
  };

  Backend(Parts parts, std::string software)
      : parts_(parts), software_(std::move(software)), started_(parts.clock.now()) {}

  boost::asio::awaitable<ApiResult> status() override;
  boost::asio::awaitable<ApiResult> config(std::optional<std::uint64_t> version) override;
  boost::asio::awaitable<ApiResult> history() override;
  boost::asio::awaitable<ApiResult> diff(std::uint64_t from, std::optional<std::uint64_t> to) override;
  boost::asio::awaitable<ApiResult> check(std::string document) override;
  boost::asio::awaitable<ApiResult> apply(ApplyRequest request) override;
  boost::asio::awaitable<ApiResult> confirm(std::string who) override;
  boost::asio::awaitable<ApiResult> undo(std::string who, std::optional<std::uint64_t> to) override;
  boost::asio::awaitable<ApiResult> tunnels() override;
  boost::asio::awaitable<ApiResult> tunnel_action(std::string name, TunnelAction action) override;
  boost::asio::awaitable<ApiResult> vpcs() override;
  boost::asio::awaitable<ApiResult> routes(std::string domain) override;
  boost::asio::awaitable<ApiResult> bgp() override;
  boost::asio::awaitable<ApiResult> drops() override;

 private:
  boost::asio::awaitable<std::optional<ipc::Stats>> ask_forwarder();
  [[nodiscard]] Result<GatewayConfig> load(std::uint64_t version) const;

  Parts parts_;
  std::string software_;
  MonoTime started_;
};

}  // namespace simplon::daemon
