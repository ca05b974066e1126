// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "gateway/audit/audit_log.h"
#include "gateway/audit/denials.h"
#include "gateway/config/ids.h"
#include "gateway/config/store.h"
#include "gateway/control/reconciler.h"
#include "gateway/control/turns.h"
#include "gateway/daemon/api_server.h"
#include "gateway/ipc/capture_stream.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"

namespace simplon::daemon {

struct PacketPlace;

/// Answers the local API (gateway/ipc/api.h): puts what is configured, what charon and FRR observe and what the
/// forwarder confirmed side by side, and hands changes to the reconciler. Threads: the io_context's one. Lifetime: all
/// parts outlive it.
class Backend final : public ApiBackend {
 public:
  struct Parts {
    boost::asio::io_context& io;
    control::Reconciler& reconciler;
    ipc::TableClient& forwarder;
    ipsec::TunnelManager& tunnels;
    const config::Store& store;
    const config::IdRegistry& ids;
    const Clock& clock;
    const config::WallClock& wall_clock;
    audit::Log& audit;
    /// Of the journal of an import, and where an import may write secrets.
    std::string state_dir;
    std::string secrets_dir;
    /// For described packets.
    ipc::TableClient& observer;
    std::function<boost::asio::awaitable<Result<ipc::TraceReply>>(ipc::TraceRequest)> trace_live;
    std::function<std::unique_ptr<ipc::CaptureStream>()> open_capture;
  };

  Backend(Parts parts, std::string software)
      : parts_(parts), software_(std::move(software)), started_(parts.clock.now()), readings_(parts.io) {}

  boost::asio::awaitable<ApiResult> status() override;
  boost::asio::awaitable<ApiResult> config(std::optional<std::uint64_t> version) override;
  boost::asio::awaitable<ApiResult> history() override;
  boost::asio::awaitable<ApiResult> diff(std::uint64_t from, std::optional<std::uint64_t> to) override;
  boost::asio::awaitable<ApiResult> check(std::string document) override;
  boost::asio::awaitable<ApiResult> apply(ApplyRequest request) override;
  boost::asio::awaitable<ApiResult> confirm(config::Author who, std::optional<std::uint64_t> version) override;
  boost::asio::awaitable<ApiResult> undo(ApplyRequest request) override;
  boost::asio::awaitable<ApiResult> tunnels() override;
  boost::asio::awaitable<ApiResult> tunnel_action(config::Author who, std::string name, TunnelAction action) override;
  boost::asio::awaitable<ApiResult> vpcs() override;
  boost::asio::awaitable<ApiResult> circuits() override;
  boost::asio::awaitable<ApiResult> routes(RouteRequest request) override;
  boost::asio::awaitable<ApiResult> bgp() override;
  boost::asio::awaitable<ApiResult> drops() override;
  boost::asio::awaitable<ApiResult> acls() override;
  boost::asio::awaitable<ApiResult> nat() override;
  boost::asio::awaitable<ApiResult> connections() override;
  boost::asio::awaitable<ApiResult> export_archive(bool history) override;
  boost::asio::awaitable<ApiResult> import_archive(ApplyRequest request) override;
  boost::asio::awaitable<ApiResult> audit(std::size_t last) override;
  boost::asio::awaitable<ApiResult> trace(ipc::PacketQuery query) override;
  boost::asio::awaitable<ApiResult> trace_live(config::Author who, ipc::PacketQuery query) override;
  boost::asio::awaitable<ApiStreamResult> capture(config::Author who, ipc::PacketQuery query) override;
  void denied(const config::Author& who, const std::string& target) override;

  /// For the audit log: how many denied attempts it has no entry for. To be called every few seconds.
  void note_denials();
  /// At a start: the entry of the current version, if a kill or a full disk kept it out of the audit log.
  void note_unlogged();
  /// For the audit log: what simplond decided by itself.
  void note_probation_end(const control::ProbationEnd& end);

 private:
  boost::asio::awaitable<std::optional<ipc::Stats>> ask_forwarder(std::uint32_t connections = 0);
  boost::asio::awaitable<ApiResult> ask_trace(PacketPlace from, ipc::TraceRequest request);
  boost::asio::awaitable<ApiResult> apply_audited(std::string action, control::ApplyCommand command);
  [[nodiscard]] std::string detail_of(const control::ApplyOutcome& outcome, bool undo, const std::string& comment) const;
  [[nodiscard]] Result<GatewayConfig> load(std::uint64_t version) const;
  [[nodiscard]] nlohmann::json pending_json() const;
  /// Errors: of the disk; the entry is written later then. Only who looks at packets has to know.
  Result<void> note(const config::Author& who, const std::string& action, const std::string& subject, bool done,
                    const std::string& detail);
  Result<void> note(audit::Event event);

  Parts parts_;
  std::string software_;
  MonoTime started_;
  /// Of answers that read whole documents: between two of them everything else has its turn.
  control::Turns readings_;
  audit::Denials denials_;
};

}  // namespace simplon::daemon
