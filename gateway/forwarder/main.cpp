// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include "gateway/forwarder/forwarder.h"
#include "gateway/forwarder/launch.h"
#include "gateway/forwarder/manual_text.h"
#include "gateway/forwarder/privileges.h"
#include "platform/base/log.h"
#include "platform/manual/manual.h"
#include "platform/sys/descriptor_limit.h"
#include "platform/sys/service_notify.h"

namespace {

using namespace simplon;

namespace asio = boost::asio;

/// Signs of life come from the control loop, and only after every worker has shown one.
asio::awaitable<void> keep_watchdog_quiet(asio::io_context& io, forwarder::Forwarder& forwarder,
                                          std::chrono::milliseconds interval) {
  asio::steady_timer timer(io);
  for (;;) {
    co_await forwarder.writes_settled();
    sys::notify_alive();
    boost::system::error_code ignored;
    timer.expires_after(interval);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

/// Ends the process at once when there may be a successor: it waits for our end, and packets wait for it. The service
/// manager throws away what it keeps for a service that is not started again.
void leave(forwarder::Forwarder* forwarder) {
  if (auto handed = forwarder->hand_over(); !handed) {
    spdlog::warn("the next process starts from nothing: {}", handed.error().message());
    return;
  }
  spdlog::info("handed over");
  spdlog::shutdown();
  std::_Exit(0);
}

/// `launch`: this process is to succeed the one that runs; nullptr: it is started.
Result<void> run(const forwarder::ForwarderOptions& options, forwarder::Launch* launch) {
  struct stat info {};
  if (::stat(options.run_dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::kUnavailable, "run directory " + options.run_dir + " does not exist",
                "mkdir -p " + options.run_dir);
  }
  if (auto ok = forwarder::check_capabilities(); !ok) return ok;
  if (auto ok = forwarder::restrict_process(); !ok) return ok;
  // Before a former process hands over its descriptors: one for each attachment.
  spdlog::debug("up to {} open files", sys::raise_descriptor_limit());
  boost::asio::io_context io(1);
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  auto running = launch == nullptr ? forwarder::Forwarder::start(io, options)
                                   : forwarder::Forwarder::succeed(io, options, [launch] { return launch->become_main(); });
  if (!running) return Unexpected(running.error());
  spdlog::info("{} ready in {}", options.software, options.run_dir);
  sys::notify_ready("serving " + options.run_dir + "/forwarder.sock and sa.sock");
  if (launch != nullptr) launch->ready();
  if (const auto interval = (*running)->watchdog(); interval.count() != 0) {
    asio::co_spawn(io, keep_watchdog_quiet(io, **running, interval), asio::detached);
  }
  signals.async_wait([&](const boost::system::error_code&, int signal) {
    sys::notify_stopping();
    spdlog::info("ending on signal {}", signal);
    if (signal == SIGTERM && sys::has_service_manager()) leave((*running).get());
    io.stop();
  });
  io.run();
  running->reset();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  forwarder::ForwarderOptions options;
  options.run_dir = "/run/simplon";
  options.software = "simplon-forwarder " SIMPLON_VERSION;
  std::string level = "info";
  std::string workers = "1";
  std::string cpus;
  std::string handover = "auto";
  CLI::App app{"Simplon's data path: forwards between VXLAN, ESP and host ports with the tables simplond gives it.\n"
               "Runs in the network namespace of the underlay.",
               "simplon-forwarder"};
  app.set_version_flag("--version", options.software);
  app.add_option("--run-dir", options.run_dir, "Directory of forwarder.sock, sa.sock and succession.sock")->type_name("PATH")->capture_default_str();
  app.add_option("--log-level", level, "How much is logged: trace, debug, info, warn or error")->type_name("LEVEL")->capture_default_str();
  app.add_option("--workers", workers, "Threads that forward: a number, or auto for one per CPU")
      ->capture_default_str()
      ->type_name("N|auto");
  app.add_option("--worker-cpus", cpus, "CPUs that the workers are bound to, in their order, for example 2-5,8")
      ->type_name("LIST");
  app.add_option("--frames", options.frames, "Packet buffers, 4 KiB each; as many as the workers need if not given")
      ->type_name("COUNT")
      ->check(CLI::Range(std::size_t{4096}, std::size_t{1} << 20));
  app.add_option("--xdp-forwarding", options.xdp_forwarding,
                 "Whether the XDP programs of the uplinks forward between VPCs and circuits by themselves: on or off")
      ->default_str("on")
      ->type_name("on|off");
  app.add_option("--jumbo", options.jumbo, "Whether uplinks may have an MTU over 3698, up to 9216: on or off")
      ->default_str("on")
      ->type_name("on|off");
  app.add_option("--handover", handover,
                 "Where packets wait in a planned restart: in the sockets where the kernel gives them to the next process, else in a "
                 "device (auto); or always in a device")
      ->capture_default_str()
      ->type_name("auto|device")
      ->check(CLI::IsMember({"auto", "device"}));
  bool succeed = false;
  app.add_flag("--succeed", succeed,
               "Take the place of the forwarder that runs with the same --run-dir, which forwards until this one has made its tables its own; "
               "returns when that is done. systemctl reload does it");
  add_manual_flag(app, forwarder::manual_text(SIMPLON_VERSION));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 2: bad usage, as for the other programs.
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto placed = forwarder::place_workers(workers, cpus, forwarder::usable_cpus());
  if (!placed) {
    std::fprintf(stderr, "simplon-forwarder: %s\n", placed.error().message().c_str());
    return 2;
  }
  options.workers = *placed;
  options.wait_in_devices = handover == "device";
  options.watchdog = sys::watchdog_interval().value_or(std::chrono::milliseconds(0));
  if (auto ok = init_logging("simplon-forwarder", level); !ok) {
    std::fprintf(stderr, "simplon-forwarder: %s\n", ok.error().message().c_str());
    return 2;
  }
  auto launch = succeed ? std::optional(forwarder::Launch::begin()) : std::nullopt;
  if (launch && !*launch) {
    std::fprintf(stderr, "simplon-forwarder: %s\n", launch->error().message().c_str());
    return 1;
  }
  if (auto ok = run(options, launch ? &**launch : nullptr); !ok) {
    std::fprintf(stderr, "simplon-forwarder: %s\n", ok.error().message().c_str());
    return 1;
  }
  return 0;
}
