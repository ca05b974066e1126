// SPDX-License-Identifier: GPL-2.0-or-later
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <optional>

#include "bgp/speaker.h"
#include "bgp/src/async_mutex.h"
#include "bgp/src/config_writer.h"
#include "bgp/src/fpm_feed.h"
#include "bgp/src/frr_config.h"
#include "bgp/src/frr_processes.h"
#include "bgp/src/frr_status.h"
#include "bgp/src/vty_client.h"
#include "platform/base/log.h"
#include "platform/sys/file.h"
#include "platform/sys/netns.h"

// One FRR instance and its routes.
//
// `reconcile` stores the configuration for restarts, starts what does not run, and writes the difference to what does. It
// does not ask who started a daemon: whoever holds the pid file of the pathspace is the daemon, so adopting the
// instance of a former simplond is the same code as the second `reconcile` of this one.
//
// `watch` looks every second: a dead daemon is started again (it reads its stored file by itself, so its sessions
// come back without us), with a pause that doubles up to 30 s. One that runs and does not answer any more is ended first:
// stop it in a debugger for longer than `hung_after` and it is another process. It also answers the question FPM leaves open, whether
// silence means "the dump is complete": only once bgpd is attached to zebra, and the neighbors of a bgpd that was started lately
// have announced their routes again, because before that it has nothing to announce. When zebra was restarted under a running bgpd, bgpd attaches again after
// 10 s and then announces nothing (FRR expects watchfrr to restart it as well); it is made to announce again, which flaps no
// session. All that time the old routes stay valid.
//
// Lifetime: coroutines hold the implementation alive; `close` makes them end.

namespace simplon::bgp {
namespace asio = boost::asio;
namespace {

using boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto kCommandTimeout = 10s;
constexpr auto kStatusTimeout = 3s;
constexpr auto kStartTimeout = 10s;
// Twice this is more than TimeoutStopSec= of the units, after which systemd kills.
constexpr auto kStopTimeout = 6s;
constexpr auto kPoll = 20ms;
constexpr auto kWatchInterval = 1s;
// Until bgpd is attached to zebra.
constexpr auto kWatchIntervalDetached = 250ms;
constexpr auto kMaxRestartPause = 30s;
// So often in `hung_after` a daemon is asked for a sign of life; so many in a row it has to miss: we may have been stopped
// ourselves.
constexpr int kProbes = 9;
constexpr int kMissedProbes = 3;
constexpr auto kMd5Memory = 30s;

constexpr off_t kMaxLogBytes = 1 << 20;
constexpr std::size_t kLogTailBytes = 64 * 1024;

/// Text of a file of the proc file system, from the start.
std::string read_again(int fd, std::size_t max_bytes) {
  std::string text(max_bytes, '\0');
  const auto got = ::pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

std::chrono::seconds age_of(const sys::ProcessId& process) {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const auto started = process.start_ticks / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return std::chrono::seconds(now.tv_sec) - std::chrono::seconds(started);
}

/// Counts TCP-MD5 failures of a namespace: /proc/net is that of the thread that opened it, so the file stays open.
class Md5Monitor {
 public:
  explicit Md5Monitor(const std::string& netns) {
    auto opened = sys::run_in_netns(netns, [&]() -> Result<void> {
      file_.reset(::open("/proc/thread-self/net/netstat", O_RDONLY | O_CLOEXEC));
      return {};
    });
    if (!opened) file_.reset();
    sample();
    changed_at_.reset();
  }

  void sample() {
    if (!file_.valid()) return;
    const auto count = parse_md5_failures(read_again(file_.get(), 65536));
    if (count && count != count_) {
      count_ = count;
      changed_at_ = std::chrono::steady_clock::now();
    }
  }

  [[nodiscard]] bool failed_lately() const {
    return changed_at_ && std::chrono::steady_clock::now() - *changed_at_ < kMd5Memory;
  }

 private:
  sys::UniqueFd file_;
  std::optional<std::uint64_t> count_;
  std::optional<MonoTime> changed_at_;
};

class Implementation : public std::enable_shared_from_this<Implementation> {
 public:
  Implementation(asio::io_context& io, std::string netns, Speaker::Options options, std::shared_ptr<FpmFeed> feed)
      : io_(io),
        netns_(std::move(netns)),
        options_(options),
        feed_(std::move(feed)),
        processes_(netns_, options_.supervisor),
        mutex_(io),
        watch_timer_(io),
        md5_(netns_) {}

  void close() {
    closed_ = true;
    feed_->close();
    watch_timer_.cancel();
  }

  [[nodiscard]] const FpmFeed& feed() const noexcept { return *feed_; }

  asio::awaitable<Result<void>> reconcile(SpeakerSpec wanted) {
    const auto self = shared_from_this();
    if (wanted.netns != netns_) {
      co_return fail(ErrorCode::kBug, "speaker of " + netns_ + " was asked for " + wanted.netns);
    }
    if (auto valid = check_spec(wanted); !valid) co_return valid;
    if (auto installed = processes_.check_installed(); !installed) co_return installed;
    if (!sys::netns_exists(netns_)) {
      co_return fail(ErrorCode::kUnavailable, "network namespace " + netns_ + " does not exist");
    }
    auto guard = co_await mutex_.lock();
    if (closed_) co_return closed();
    wanted_ = std::move(wanted);
    if (!watching_) {
      watching_ = true;
      asio::co_spawn(io_, watch(self), asio::detached);
    }
    co_return co_await apply();
  }

  asio::awaitable<Result<void>> stop() {
    const auto self = shared_from_this();
    auto guard = co_await mutex_.lock();
    wanted_.reset();
    for (auto it = kFrrDaemons.rbegin(); it != kFrrDaemons.rend(); ++it) {
      if (auto ended = co_await end(*it); !ended) co_return ended;
    }
    if (auto removed = processes_.remove_files(); !removed) co_return removed;
    if (!closed_) feed_->clear();
    co_return Result<void>();
  }

  asio::awaitable<SpeakerStatus> status(StatusDetail detail) {
    const auto self = shared_from_this();
    SpeakerStatus status;
    status.fpm_connected = feed_->connected();
    status.running = true;
    for (const auto daemon : kFrrDaemons) {
      if (processes_.running(daemon)) continue;
      status.running = false;
      status.problem = std::string(to_string(daemon)) + " of " + netns_ + " does not run";
      status.hint = wanted_ ? "it is started again; its output: " + processes_.output_of(daemon)
                            : "it has not been configured yet";
    }
    for (const auto& [daemon, answers] : answers_) {
      if (answers.missed == 0 || !status.running) continue;
      status.problem = std::string(to_string(daemon)) + " of " + netns_ + " runs but does not answer";
      status.hint = "after " + std::to_string(options_.hung_after / 1s) + " s of that it is ended and started again; its output: " +
                    processes_.output_of(daemon);
    }
    if (!wanted_) co_return status;
    const SpeakerSpec spec = *wanted_;  // may change while this coroutine waits
    for (const auto& neighbor : spec.neighbors) {
      NeighborStatus unknown;
      unknown.name = neighbor.name;
      unknown.address = neighbor.address;
      unknown.remote_asn = neighbor.remote_asn;
      unknown.state = "Unknown";
      status.neighbors.push_back(std::move(unknown));
    }
    auto observed = co_await observe(spec, detail, status.neighbors);
    if (!observed && status.problem.empty()) {
      status.problem = observed.error().what;
      status.hint = observed.error().hint;
    }
    if (status.problem.empty() && !status.fpm_connected) {
      status.problem = "zebra of " + netns_ + " is not connected to FPM port " + std::to_string(options_.fpm_port);
      status.hint = "zebra tries every 3 s; until then no change of a learned route is seen";
    }
    co_return status;
  }

 private:
  [[nodiscard]] asio::any_io_executor executor() { return io_.get_executor(); }

  asio::awaitable<void> pause(std::chrono::milliseconds time) {
    asio::steady_timer timer(io_, time);
    error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }

  static const std::string& part_of(const FrrConfig& config, FrrDaemon daemon) {
    switch (daemon) {
      case FrrDaemon::kZebra:
        return config.zebra;
      case FrrDaemon::kBgpd:
        return config.bgpd;
      case FrrDaemon::kBfdd:
        break;
    }
    return config.bfdd;
  }

  [[nodiscard]] Unexpected closed() const {
    return fail(ErrorCode::kUnavailable, "the speaker of " + netns_ + " is closed");
  }

  /// Brings the instance to `wanted_`. Holds the mutex. After `close` another speaker may be at work: nothing is changed any more.
  asio::awaitable<Result<void>> apply() {
    const auto spec = co_await with_known_passwords();
    if (closed_) co_return closed();
    if (!spec) co_return Unexpected(spec.error());
    const FrrConfig config = render(*spec, options_.fpm_port);
    if (auto stored = processes_.store(config); !stored) co_return stored;
    for (auto it = kFrrDaemons.rbegin(); it != kFrrDaemons.rend(); ++it) {
      if (!processes_.running(*it)) continue;
      const std::string path = processes_.vty_path(*it);
      const auto vty = co_await VtyClient::connect(executor(), path, kStatusTimeout);
      if (closed_) co_return closed();
      if (!vty || !processes_.is_left_behind(*it)) continue;
      spdlog::warn("{} of {} is in a namespace that had this name before; it is ended and started again", to_string(*it),
                   netns_);
      auto ended = co_await end(*it);
      if (closed_) co_return closed();
      if (!ended) co_return ended;
    }
    for (const auto daemon : kFrrDaemons) {
      const bool starts = !processes_.running(daemon);
      auto vty = co_await ready(daemon);
      if (closed_) co_return closed();
      if (!vty) co_return Unexpected(std::move(vty).error());
      const std::string name = to_string(daemon);
      const std::string& part = part_of(config, daemon);
      if (starts) owed_resets_.erase(daemon);
      auto written = co_await write_config(**vty, name, part, starts, owed_resets_[daemon]);
      if (closed_) co_return closed();
      if (!written) co_return written;
    }
    co_return Result<void>();
  }

  /// `wanted_`, in which neighbors that are kept as they are have the passwords that bgpd knows; without those that it does not know.
  asio::awaitable<Result<SpeakerSpec>> with_known_passwords() {
    SpeakerSpec spec = *wanted_;
    auto& neighbors = spec.neighbors;
    const bool all_known = std::none_of(neighbors.begin(), neighbors.end(), [](const auto& neighbor) { return neighbor.keep_as_is; });
    if (all_known) co_return spec;
    std::string running;
    if (processes_.running(FrrDaemon::kBgpd)) {
      const std::string path = processes_.vty_path(FrrDaemon::kBgpd);
      auto vty = co_await VtyClient::connect(executor(), path, kCommandTimeout);
      if (!vty) co_return Unexpected(std::move(vty).error());
      const std::string show = "show running-config";
      auto reply = co_await (*vty)->command(show);
      if (!reply) co_return Unexpected(std::move(reply).error());
      running = std::move(reply->text);
    }
    for (auto& neighbor : neighbors) {
      if (neighbor.keep_as_is) neighbor.password = password_in(running, neighbor.address);
    }
    std::erase_if(neighbors, [](const auto& neighbor) { return neighbor.keep_as_is && neighbor.password.empty(); });
    co_return spec;
  }

  /// Starts the daemon if needed and waits until it answers.
  asio::awaitable<Result<std::unique_ptr<VtyClient>>> ready(FrrDaemon daemon) {
    const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
    if (auto started = processes_.start(daemon); !started) co_return Unexpected(std::move(started).error());
    for (;;) {
      if (processes_.running(daemon)) {
        const std::string path = processes_.vty_path(daemon);
        auto vty = co_await VtyClient::connect(executor(), path, kCommandTimeout);
        if (vty) co_return vty;
      }
      if (std::chrono::steady_clock::now() >= deadline) {
        co_return fail(ErrorCode::kUnavailable,
                       std::string(to_string(daemon)) + " of " + netns_ + " did not start within 10 s",
                       "its output: " + processes_.output_of(daemon));
      }
      co_await pause(kPoll);
    }
  }

  asio::awaitable<Result<void>> end(FrrDaemon daemon) {
    // The lock goes before the process does, and a process that ends still removes its sockets.
    const auto process = processes_.running(daemon);
    // A unit whose daemon crashes again and again has none at this moment.
    if (!process) co_return processes_.request_stop(daemon);
    for (const bool kill : {false, true}) {
      if (auto sent = processes_.request_stop(daemon, kill); !sent) co_return sent;
      const auto deadline = std::chrono::steady_clock::now() + kStopTimeout;
      while (sys::process_alive(*process) && std::chrono::steady_clock::now() < deadline) co_await pause(kPoll);
      if (!sys::process_alive(*process)) co_return Result<void>();
    }
    co_return fail(ErrorCode::kUnavailable, std::string(to_string(daemon)) + " of " + netns_ + " does not end");
  }

  /// `self` keeps this alive for as long as the coroutine runs.
  asio::awaitable<void> watch([[maybe_unused]] std::shared_ptr<Implementation> self) {
    auto pause_after_failure = std::chrono::milliseconds(kWatchInterval);
    while (!closed_) {
      const bool failed = wanted_ && !co_await look_after();
      pause_after_failure = failed ? std::min<std::chrono::milliseconds>(pause_after_failure * 2, kMaxRestartPause)
                                   : std::chrono::milliseconds(kWatchInterval);
      if (closed_) break;
      const bool detached = wanted_ && feed_->waits_for_source() && !bgpd_attached_;
      watch_timer_.expires_after(failed     ? pause_after_failure
                                 : detached ? std::chrono::milliseconds(kWatchIntervalDetached)
                                            : std::chrono::milliseconds(kWatchInterval));
      error_code ignored;
      co_await watch_timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }

  /// One round of `watch`; false if something could not be started.
  asio::awaitable<bool> look_after() {
    md5_.sample();
    shorten_log();
    const bool dead = std::any_of(kFrrDaemons.begin(), kFrrDaemons.end(),
                                  [this](FrrDaemon daemon) { return !processes_.running(daemon); });
    if (dead) {
      auto guard = co_await mutex_.lock();
      // It may be `reconcile` or `stop` that had the mutex.
      if (!wanted_ || closed_) co_return true;
      for (const auto daemon : kFrrDaemons) {
        if (!processes_.running(daemon)) spdlog::warn("{} of {} is not running; starting it", to_string(daemon), netns_);
      }
      auto applied = co_await apply();
      if (closed_) co_return true;
      if (!applied) {
        spdlog::warn("FRR of {}: {}", netns_, applied.error().message());
        co_return false;
      }
    }
    co_await end_hung();
    if (!feed_->waits_for_source()) {
      bgpd_attached_ = false;  // of the next connection that is not known yet
    } else {
      auto guard = co_await mutex_.lock();
      if (!wanted_ || closed_) co_return true;
      co_await check_source();
    }
    co_return true;
  }

  /// Asks each daemon for a sign of life, from time to time; ends what has given none for too long.
  asio::awaitable<void> end_hung() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_probe_) co_return;
    next_probe_ = now + options_.hung_after / kProbes;
    for (const auto daemon : kFrrDaemons) {
      const auto process = processes_.running(daemon);
      if (!process) {
        answers_.erase(daemon);
        continue;
      }
      const std::string path = processes_.vty_path(daemon);
      const auto vty = co_await VtyClient::connect(executor(), path, kStatusTimeout);
      if (closed_) co_return;
      auto& answers = answers_[daemon];
      answers.missed = vty ? 0 : answers.missed + 1;
      if (vty || answers.process != *process) {
        answers.process = *process;
        answers.last = std::chrono::steady_clock::now();
      }
      const auto silence = std::chrono::steady_clock::now() - answers.last;
      if (answers.missed < kMissedProbes || silence < options_.hung_after) continue;
      auto guard = co_await mutex_.lock();
      if (!wanted_ || closed_) co_return;
      if (processes_.running(daemon) != process) continue;
      spdlog::error("{} of {} runs but has not answered for {} s; it is ended and started again", to_string(daemon), netns_,
                    options_.hung_after / 1s);
      auto ended = co_await end(daemon);
      if (!ended) spdlog::error("FRR of {}: {}", netns_, ended.error().message());
    }
  }

  /// Tells the feed when the routes of bgpd are on their way. Holds the mutex.
  asio::awaitable<void> check_source() {
    const auto zebra = processes_.running(FrrDaemon::kZebra);
    const auto bgpd = processes_.running(FrrDaemon::kBgpd);
    if (!zebra || !bgpd) co_return;

    const std::string zebra_path = processes_.vty_path(FrrDaemon::kZebra);
    auto zebra_vty = co_await VtyClient::connect(executor(), zebra_path, kStatusTimeout);
    if (!zebra_vty) co_return;
    const std::string question = "show zebra client summary";
    auto clients = co_await (*zebra_vty)->command(question);
    bgpd_attached_ = clients && bgp_is_attached(clients->text);
    if (!bgpd_attached_) co_return;

    if (zebra->start_ticks > bgpd->start_ticks && announced_to_ != *zebra) {
      const std::string bgpd_path = processes_.vty_path(FrrDaemon::kBgpd);
      auto bgpd_vty = co_await VtyClient::connect(executor(), bgpd_path, kCommandTimeout);
      if (!bgpd_vty || !wanted_ || closed_) co_return;
      auto announced = co_await announce_again(**bgpd_vty, wanted_->asn);
      if (!announced) {
        spdlog::warn("FRR of {}: {}", netns_, announced.error().message());
        co_return;
      }
      announced_to_ = *zebra;
    }
    const auto age = age_of(*bgpd);
    if (!co_await bgpd_has_its_routes(age)) co_return;
    if (!closed_) feed_->source_ready();
  }

  /// Holds the mutex.
  asio::awaitable<bool> bgpd_has_its_routes(std::chrono::seconds age) {
    // Whatever it would answer: who is not there by then is not waited for.
    if (!wanted_ || wanted_->neighbors.empty() || age >= kRestartTime) co_return true;
    const std::string path = processes_.vty_path(FrrDaemon::kBgpd);
    auto bgpd = co_await VtyClient::connect(executor(), path, kStatusTimeout);
    if (!bgpd) co_return false;
    const std::string question = "show bgp neighbors json";
    auto reply = co_await (*bgpd)->command(question);
    if (!reply || !wanted_) co_return false;
    const auto sessions = parse_neighbors(reply->text);
    co_return sessions && has_its_routes(wanted_->neighbors, *sessions, age);
  }

  void shorten_log() {
    // The directory belongs to user frr: no link is followed. bgpd appends, so it goes on at the new end.
    const sys::UniqueFd file(::open(bgpd_log_path(netns_).c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info {};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= kMaxLogBytes) return;
    if (::ftruncate(file.get(), 0) != 0) spdlog::debug("truncate {}: errno {}", bgpd_log_path(netns_), errno);
  }

  [[nodiscard]] std::map<IpAddress, Notification> recent_notifications() const {
    const sys::UniqueFd file(::open(bgpd_log_path(netns_).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info {};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
    std::string tail(kLogTailBytes, '\0');
    const auto from = std::max<off_t>(0, info.st_size - static_cast<off_t>(tail.size()));
    const auto got = ::pread(file.get(), tail.data(), tail.size(), from);
    tail.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return parse_notifications(tail);
  }

  /// Asks the daemons about the neighbors of `spec`; `neighbors` stands in the same order.
  asio::awaitable<Result<void>> observe(const SpeakerSpec& spec, StatusDetail detail, std::vector<NeighborStatus>& neighbors) {
    const std::string bgpd_path = processes_.vty_path(FrrDaemon::kBgpd);
    const std::string bfdd_path = processes_.vty_path(FrrDaemon::kBfdd);
    const std::string zebra_path = processes_.vty_path(FrrDaemon::kZebra);
    auto bgpd = co_await VtyClient::connect(executor(), bgpd_path, kStatusTimeout);
    if (!bgpd) co_return Unexpected(std::move(bgpd).error());
    const std::string show_neighbors = "show bgp neighbors json";
    auto reply = co_await (*bgpd)->command(show_neighbors);
    if (!reply) co_return Unexpected(std::move(reply).error());
    auto sessions = parse_neighbors(reply->text);
    if (!sessions) co_return Unexpected(std::move(sessions).error());

    std::map<IpAddress, std::string> bfd;
    auto bfdd = co_await VtyClient::connect(executor(), bfdd_path, kStatusTimeout);
    if (bfdd) {
      const std::string show_bfd = "show bfd peers json";
      auto peers = co_await (*bfdd)->command(show_bfd);
      if (peers) bfd = parse_bfd_peers(peers->text).value_or(std::map<IpAddress, std::string>());
    }
    auto zebra = co_await VtyClient::connect(executor(), zebra_path, kStatusTimeout);
    const auto notifications = recent_notifications();
    // The kernel counts them of all neighbors together.
    const auto without_session = std::count_if(spec.neighbors.begin(), spec.neighbors.end(), [&](const NeighborSpec& neighbor) {
      const auto session = sessions->find(neighbor.address);
      return session == sessions->end() || session->second.state != "Established";
    });

    for (std::size_t i = 0; i < neighbors.size(); ++i) {
      NeighborStatus& status = neighbors[i];
      const NeighborSpec& neighbor = spec.neighbors[i];
      const auto session = sessions->find(status.address);
      if (session == sessions->end()) {
        status.problem = neighbor.keep_as_is ? "its password is not known" : "FRR does not have this neighbor";
        status.hint = neighbor.keep_as_is ? "see simplon status for what is wrong with its password-file"
                                          : "the last change of the configuration was not complete; see the log of simplond";
        continue;
      }
      status.state = session->second.state;
      status.uptime_seconds = session->second.uptime_seconds;
      status.prefixes_accepted = session->second.accepted;
      status.prefixes_sent = session->second.sent;
      if (const auto peer = bfd.find(status.address); peer != bfd.end()) status.bfd_state = peer->second;
      if (status.state == "Established") {
        if (detail != StatusDetail::kReceivedPrefixes) continue;
        auto received = co_await count_received(**bgpd, neighbor);
        if (!received) co_return Unexpected(std::move(received).error());
        status.prefixes_received = *received;
        continue;
      }

      SessionEvidence evidence;
      evidence.session = session->second;
      evidence.bfd_state = neighbor.bfd ? status.bfd_state : std::string();
      evidence.md5_failures = md5_.failed_lately() && without_session == 1;
      evidence.md5_failures_of_some = md5_.failed_lately() && without_session > 1;
      evidence.now = std::chrono::system_clock::now();
      if (const auto last = notifications.find(status.address); last != notifications.end()) {
        evidence.notification = last->second;
      }
      if (zebra) {
        const std::string question = std::string("show ") + (status.address.is_v4() ? "ip" : "ipv6") + " route " +
                                     status.address.to_string() + " json";
        auto route = co_await (*zebra)->command(question);
        if (!route) co_return Unexpected(std::move(route).error());
        if (const auto connected = parse_is_connected(route->text)) evidence.connected = *connected;
      }
      auto diagnosis = diagnose(neighbor, spec.asn, evidence);
      status.problem = std::move(diagnosis.problem);
      status.hint = std::move(diagnosis.hint);
    }
    co_return Result<void>();
  }

  asio::awaitable<Result<std::uint64_t>> count_received(VtyClient& bgpd, const NeighborSpec& neighbor) {
    std::uint64_t received = 0;
    for (const auto family : active_families(neighbor)) {
      const std::string question = std::string("show bgp ") + (family == IpFamily::kV4 ? "ipv4" : "ipv6") +
                                   " unicast neighbors " + neighbor.address.to_string() + " prefix-counts json";
      auto reply = co_await bgpd.command(question);
      if (!reply) co_return Unexpected(std::move(reply).error());
      // A family that the neighbor did not negotiate has no counts.
      received += parse_received_count(reply->text).value_or(0);
    }
    co_return received;
  }

  asio::io_context& io_;
  std::string netns_;
  Speaker::Options options_;
  std::shared_ptr<FpmFeed> feed_;
  FrrProcesses processes_;
  AsyncMutex mutex_;
  asio::steady_timer watch_timer_;
  Md5Monitor md5_;
  std::optional<SpeakerSpec> wanted_;
  std::map<FrrDaemon, OwedResets> owed_resets_;
  /// The zebra that bgpd was last made to announce to.
  sys::ProcessId announced_to_;
  struct Answers {
    sys::ProcessId process;
    /// The last one, or when the process was seen first.
    MonoTime last{};
    int missed = 0;
  };
  std::map<FrrDaemon, Answers> answers_;
  MonoTime next_probe_{};
  /// To the zebra of a connection that waits for its source.
  bool bgpd_attached_ = false;
  bool watching_ = false;
  bool closed_ = false;
};

class FrrSpeaker final : public Speaker {
 public:
  explicit FrrSpeaker(std::shared_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
  FrrSpeaker(const FrrSpeaker&) = delete;
  FrrSpeaker& operator=(const FrrSpeaker&) = delete;
  ~FrrSpeaker() override { implementation_->close(); }

  asio::awaitable<Result<void>> reconcile(SpeakerSpec wanted) override {
    return implementation_->reconcile(std::move(wanted));
  }
  asio::awaitable<SpeakerStatus> status(StatusDetail detail) override { return implementation_->status(detail); }
  asio::awaitable<Result<void>> stop() override { return implementation_->stop(); }
  bool synchronized() const override { return implementation_->feed().synchronized(); }

 private:
  std::shared_ptr<Implementation> implementation_;
};

}  // namespace

Result<std::unique_ptr<Speaker>> Speaker::create(asio::io_context& io, std::string netns, Options options,
                                                 RoutesChanged routes_changed) {
  auto feed = FpmFeed::open(io, netns, {.port = options.fpm_port, .sweep_idle = options.sweep_idle},
                            std::move(routes_changed));
  if (!feed) return Unexpected(std::move(feed).error());
  (*feed)->start();
  return std::make_unique<FrrSpeaker>(std::make_shared<Implementation>(io, std::move(netns), options, *std::move(feed)));
}

}  // namespace simplon::bgp
