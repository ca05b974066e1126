// SPDX-License-Identifier: GPL-2.0-or-later
//
// simplond: composition only. Everything that decides is in gateway/control; everything that talks is behind the
// interfaces given to it here.
//
// Ends at SIGTERM or SIGINT without touching namespaces, FRR, charon or the forwarder: they go on, and the next start
// adopts them.

#include <sys/file.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bgp/speaker.h"
#include "gateway/audit/audit_log.h"
#include "gateway/config/ids.h"
#include "gateway/config/secret_swap.h"
#include "gateway/config/store.h"
#include "gateway/control/ping.h"
#include "gateway/control/reconciler.h"
#include "gateway/daemon/api_server.h"
#include "gateway/daemon/backend.h"
#include "gateway/daemon/src/host_namespaces.h"
#include "gateway/daemon/src/manual_text.h"
#include "gateway/ipc/api.h"
#include "gateway/ipc/live_trace.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"
#include "platform/base/log.h"
#include "platform/base/result.h"
#include "platform/sys/file.h"
#include "platform/sys/process.h"
#include "platform/sys/service_notify.h"
#include "platform/sys/unique_fd.h"

namespace simplon::daemon {
namespace {

struct Flags {
  std::string run_dir = "/run/simplon";
  std::string state_dir = "/var/lib/simplon";
  std::string vici = "/var/run/charon.vici";
  std::string netns_prefix = "simplon-";
  std::string supervisor = "auto";
  std::string secrets_dir = "/etc/simplon";
  std::string log_level = "info";

  [[nodiscard]] bool uses_units() const {
    return supervisor == "systemd" || (supervisor == "auto" && sys::runs_as_systemd_unit());
  }
};

/// Signs of life come from the loop that does the work: what blocks it stops them.
void keep_watchdog_quiet(boost::asio::steady_timer& timer, std::chrono::milliseconds interval) {
  sys::notify_alive();
  timer.expires_after(interval);
  timer.async_wait([&timer, interval](const boost::system::error_code& error) {
    if (!error) keep_watchdog_quiet(timer, interval);
  });
}

/// What a full disk kept out of the log goes in when there is room again, not only with the next change; and how many attempts
/// were denied.
void keep_audit_complete(boost::asio::steady_timer& timer, audit::Log& log, Backend& backend) {
  timer.expires_after(std::chrono::seconds(5));
  timer.async_wait([&timer, &log, &backend](const boost::system::error_code& error) {
    if (error) return;
    static_cast<void>(log.catch_up());
    backend.note_denials();
    keep_audit_complete(timer, log, backend);
  });
}

/// One daemon for one state directory: two would overwrite each other's history.
Result<sys::UniqueFd> lock_state(const std::string& directory) {
  const std::string path = directory + "/lock";
  sys::UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return fail_errno("cannot open " + path, errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("cannot lock " + path, errno);
    return fail(ErrorCode::kConflict, "another simplond uses " + directory,
                "stop it, or give this one its own --state-dir");
  }
  return lock;
}

Result<void> run(const Flags& flags) {
  if (auto made = sys::make_directories(flags.run_dir, 0755); !made) return made;
  if (auto made = sys::make_directories(flags.state_dir, 0700); !made) return made;
  auto lock = lock_state(flags.state_dir);
  if (!lock) return Unexpected(lock.error());

  const SteadyClock clock;
  const config::SystemWallClock wall_clock;
  auto store = config::Store::open(flags.state_dir + "/config", wall_clock);
  if (!store) return Unexpected(store.error());
  auto ids = config::IdRegistry::open(flags.state_dir);
  if (!ids) return Unexpected(ids.error());
  auto audit = audit::Log::open(flags.state_dir, {});
  if (!audit) return Unexpected(audit.error());
  spdlog::info("audit log at entry {}, hash {}", (*audit)->sequence(), (*audit)->hash());
  // Before anybody reads a secret.
  auto recovered = config::SecretSwap::recover(flags.state_dir, store->current());
  if (!recovered) spdlog::error("{}", recovered.error().message());
  if (recovered && *recovered) spdlog::warn("an import was cut off: the secret files are the former ones again");

  // Microseconds since 1970: grows from one life to the next, with room for synchronizations in between.
  const auto epoch = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(wall_clock.now().time_since_epoch()).count());
  const std::string software = "simplond " SIMPLON_VERSION;

  boost::asio::io_context io(1);
  auto forwarder = ipc::TableClient::create(io, {flags.run_dir + "/forwarder.sock", software, epoch, false});
  auto tunnels = ipsec::TunnelManager::create(io, flags.vici);
  // Unset without systemd: FRR's daemons are then detached processes.
  const std::shared_ptr<sys::ServiceSupervisor> units =
      flags.uses_units() ? std::shared_ptr(sys::make_systemd_supervisor()) : nullptr;
  const auto namespaces = units ? make_unit_namespaces(io, units) : make_own_namespaces();
  control::Reconciler::Options options;
  options.netns_prefix = flags.netns_prefix;
  options.first_epoch = epoch;
  Backend* listening = nullptr;
  options.probation_ended = [&listening](const control::ProbationEnd& end) {
    if (listening != nullptr) listening->note_probation_end(end);
  };
  const auto pinger = control::make_icmp_pinger(io);
  control::Reconciler reconciler({io, *forwarder, *tunnels, *namespaces,
                                  [&io, &units](std::string netns, bgp::Speaker::RoutesChanged routes_changed) {
                                    bgp::Speaker::Options speaker;
                                    speaker.supervisor = units;
                                    return bgp::Speaker::create(io, std::move(netns), speaker, std::move(routes_changed));
                                  },
                                  *store, *ids, clock, wall_clock, *pinger},
                                 options);
  const std::string forwarder_socket = flags.run_dir + "/forwarder.sock";
  auto observer = ipc::TableClient::create(io, {forwarder_socket, software + " (observer)", epoch, true});
  observer->start();
  Backend backend({io, reconciler, *forwarder, *tunnels, *store, *ids, clock, wall_clock, **audit, flags.state_dir,
                   flags.secrets_dir, *observer,
                   [&](ipc::TraceRequest request) {
                     return ipc::trace_live(io, forwarder_socket, software + " (live trace)", std::move(request));
                   },
                   [&] { return ipc::CaptureStream::create(io, forwarder_socket, software + " (capture)"); }},
                  software);
  backend.note_unlogged();
  listening = &backend;
  ApiServer::Options api;
  api.socket = flags.run_dir + "/" + ipc::kApiSocketName;
  auto server = ApiServer::start(io, backend, api);
  if (!server) return Unexpected(server.error());

  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&io](const boost::system::error_code& error, int signal) {
    if (error) return;
    sys::notify_stopping();
    spdlog::info("ending on signal {}; namespaces, FRR, charon and the forwarder go on", signal);
    io.stop();
  });
  reconciler.start();
  spdlog::info("{} serves {}", software, api.socket);
  sys::notify_ready("serving " + api.socket);
  boost::asio::steady_timer watchdog(io);
  if (const auto interval = sys::watchdog_interval()) keep_watchdog_quiet(watchdog, *interval);
  boost::asio::steady_timer audit_retry(io);
  keep_audit_complete(audit_retry, **audit, backend);
  io.run();
  // Suspended coroutines refer to the objects above and are not resumed any more. The process ends without destroying
  // either, after the socket is gone; all state that matters is on disk or in other processes.
  server->reset();
  spdlog::shutdown();
  std::_Exit(EXIT_SUCCESS);
}

}  // namespace
}  // namespace simplon::daemon

int main(int argc, char** argv) {
  simplon::daemon::Flags flags;
  CLI::App app{"Simplon's control daemon: keeps FRR, charon and the forwarder as the configuration says", "simplond"};
  app.set_version_flag("--version", "simplond " SIMPLON_VERSION);
  app.add_option("--run-dir", flags.run_dir, "Sockets: forwarder.sock (connected to), api.sock (served)")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option("--state-dir", flags.state_dir, "Configuration, history and ids")->type_name("PATH")->capture_default_str();
  app.add_option("--vici", flags.vici, "VICI socket of charon")->type_name("PATH")->capture_default_str();
  app.add_option("--netns-prefix", flags.netns_prefix, "Network namespaces of domains are PREFIX and the domain's name")
      ->type_name("PREFIX")
      ->capture_default_str();
  app.add_option("--secrets-dir", flags.secrets_dir, "The one folder where an import may write keys and passwords")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option("--supervisor", flags.supervisor,
                 "Who runs FRR and makes namespaces: systemd (template units), process (this program), or auto: systemd "
                 "if simplond is a unit itself")
      ->type_name("WORD")
      ->check(CLI::IsMember({"auto", "systemd", "process"}))
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "How much is logged: trace, debug, info, warn or error")->type_name("LEVEL")->capture_default_str();
  simplon::add_manual_flag(app, simplon::daemon::manual_text(SIMPLON_VERSION));
  CLI11_PARSE(app, argc, argv);

  if (auto logging = simplon::init_logging("simplond", flags.log_level); !logging) {
    std::fprintf(stderr, "simplond: %s\n", logging.error().message().c_str());
    return 2;
  }
  // A peer that closes its socket is an error code, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  const auto ended = simplon::daemon::run(flags);
  if (!ended) spdlog::error("{}", ended.error().message());
  return ended ? EXIT_SUCCESS : EXIT_FAILURE;
}
