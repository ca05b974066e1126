// SPDX-License-Identifier: GPL-2.0-or-later
// One coroutine, `run`, does everything that changes charon: it connects, loads what is wanted and not yet loaded, and
// supervises. `reconcile`, `up` and `down` change what is wanted and wake it; so there is one order of events, and a
// charon that restarts in the middle of anything is only another reason to connect and load.
//
//     wake: reconcile, up, down, an event of charon, a timer
//       -> connect if needed -> load what differs -> list-sas -> terminate what does not fit, initiate what is down
#include "ipsec/tunnel_manager.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <set>

#include "ipsec/src/charon_messages.h"
#include "ipsec/src/charon_session.h"
#include "ipsec/src/key_renewal.h"
#include "ipsec/src/negotiation_observer.h"
#include "ipsec/src/supervision.h"
#include "ipsec/src/tunnel_state.h"
#include "ipsec/src/wanted_tunnels.h"
#include "ipsec/vici/message.h"
#include "platform/base/clock.h"
#include "platform/base/log.h"
#include "platform/sys/file.h"

namespace simplon::ipsec {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using std::chrono::milliseconds;
using std::chrono::seconds;
using vici::Section;

// Chosen by us.
constexpr seconds kReconcileLimit{5};         // the contract of reconcile
constexpr milliseconds kFirstReconnect{100};  // charon opens its socket about 200 ms after it starts
constexpr milliseconds kLastReconnect{3000};
constexpr milliseconds kBusyPeriod{1000};    // between looks at the SAs while a tunnel is down
constexpr milliseconds kQuietPeriod{10000};  // and while all are up; events come in between

MonoTime now() { return std::chrono::steady_clock::now(); }

/// charon names the key it did not like, not its value.
std::string refusal(const TunnelSpec& spec, const Error& error) {
  std::string text = error.what;
  const bool esp = text.find("esp_proposals") != std::string::npos;
  if (!esp && text.find("proposals") == std::string::npos) return text;
  for (const std::string& proposal : esp ? spec.esp_proposals : spec.ike_proposals) text += " '" + proposal + "'";
  return text;
}

class Charon final : public std::enable_shared_from_this<Charon> {
 public:
  Charon(asio::io_context& io, std::string path)
      : io_(io), path_(std::move(path)), wake_(io), session_(io, path_) {}

  void start() { asio::co_spawn(io_, run(shared_from_this()), asio::detached); }

  void stop() {
    stopped_ = true;
    disconnect();
    wake_.cancel();
    notify();
  }

  [[nodiscard]] bool connected() const { return session_.connected(); }
  [[nodiscard]] std::uint64_t hold_changes() const { return tunnels_.hold_changes(); }
  [[nodiscard]] std::set<std::string> held() const { return tunnels_.held(); }

  asio::awaitable<Result<void>> reconcile(std::vector<TunnelSpec> wanted) {
    want(std::move(wanted));
    const bool loaded = co_await load_wanted();
    if (!loaded) {
      co_return fail(ErrorCode::kUnavailable, unavailable_,
                     "the tunnels are loaded as soon as charon answers (systemctl status simplon-charon)");
    }
    std::string what;
    for (const auto& [name, tunnel] : tunnels_) {
      if (tunnel.load_error) what += (what.empty() ? "" : "; ") + tunnel.load_error->what;
    }
    if (!what.empty()) {
      co_return fail(ErrorCode::kInvalidConfig, what, "strongSwan's proposal keywords are joined by '-'");
    }
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> up(std::string name) {
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr) co_return unknown(name);
    if (!tunnel->wanted.remote && !tunnel->held) {
      co_return fail(ErrorCode::kInvalidConfig, "tunnel '" + name + "' has no remote address",
                     "only the peer can initiate it");
    }
    tunnels_.hold(*tunnel, false);
    tunnel->asked = true;
    tunnel->next_try = now();
    tunnel->retry = kFirstRetry;
    const bool loaded = co_await load_wanted();
    if (!loaded) co_return not_told(name, "to come up");
    tunnel = tunnels_.find(name);
    if (tunnel != nullptr && tunnel->load_error) co_return Unexpected(*tunnel->load_error);
    co_return Result<void>{};  // `supervise` comes next and initiates
  }

  asio::awaitable<Result<void>> down(std::string name) {
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr) co_return unknown(name);
    tunnels_.hold(*tunnel, true);
    tunnel->asked = false;
    tunnel->up = false;
    tunnel->in_charon = InCharon::kUnknown;
    tunnel->renewal.reset();
    tunnel->forget_diagnosis();
    // A charon that came back is connected to now, not when the next try is due.
    if (!connected()) co_await load_wanted();
    if (!connected() || !co_await unload_held(name) || !co_await end_sas(name)) co_return not_told(name, "taken down");
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> rekey(std::string name, bool ike) {
    const Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr) co_return unknown(name);
    if (!connected()) co_return fail(ErrorCode::kUnavailable, unavailable_);
    std::string child;
    if (!ike) child = child_name(name, tunnel->wanted.id);
    auto done = co_await session_.rekey(name, std::move(child));
    if (!done && done.error().code != ErrorCode::kUnavailable) {
      co_return fail(ErrorCode::kUnavailable, "tunnel '" + name + "' is not up, there is nothing to rekey");
    }
    co_return done;
  }

  asio::awaitable<std::vector<TunnelStatus>> status() {
    const std::string of_all;
    auto listed = co_await session_.list_sas(of_all);
    CharonSession::Observed sas;
    if (listed) sas = std::move(*listed);
    std::vector<TunnelStatus> all;
    const std::string unavailable = connected() ? std::string{} : unavailable_;
    for (const auto& [name, tunnel] : tunnels_) all.push_back(describe(tunnel, sas[name], unavailable));
    co_return all;
  }

 private:
  // --- what is wanted

  void want(std::vector<TunnelSpec> wanted) {
    for (const std::string& name : tunnels_.want(std::move(wanted), now())) observer_.forget_connection(name);
    observer_.index_addresses();
    have_wanted_ = true;
  }

  static Unexpected unknown(const std::string& name) {
    return fail(ErrorCode::kInvalidConfig, "there is no tunnel '" + name + "'", "simplon tunnel show lists them");
  }

  /// What the operator asked for stands, and charon has not heard of it.
  [[nodiscard]] Unexpected not_told(const std::string& name, const std::string& state) const {
    return fail(ErrorCode::kUnavailable, "tunnel '" + name + "' is " + state + ", but charon could not be told: " + unavailable_,
                "it is told as soon as it answers (systemctl status simplon-charon)");
  }

  /// False if charon did not take it all in time, or if there is none to connect to.
  asio::awaitable<bool> load_wanted() {
    const std::uint64_t mine = ++wanted_generation_;
    const std::uint64_t refused = refused_connections_;
    const MonoTime deadline = now() + kReconcileLimit;
    poke();
    while (loaded_generation_ < mine && !stopped_ && now() < deadline && refused_connections_ == refused) {
      co_await changed_or(deadline);
    }
    co_return loaded_generation_ >= mine;
  }

  // --- waking and waiting

  void poke() {
    poked_ = true;
    wake_.cancel();
  }

  void notify() {
    for (const auto& waiter : std::exchange(waiters_, {})) waiter->cancel();
  }

  asio::awaitable<void> changed_or(MonoTime deadline) {
    const auto waiter = std::make_shared<asio::steady_timer>(io_, deadline);
    waiters_.push_back(waiter);
    boost::system::error_code ignored;
    co_await waiter->async_wait(asio::redirect_error(use_awaitable, ignored));
  }

  asio::awaitable<void> rest(milliseconds period) {
    if (!poked_ && !stopped_) {
      boost::system::error_code ignored;
      wake_.expires_after(period);
      co_await wake_.async_wait(asio::redirect_error(use_awaitable, ignored));
    }
    poked_ = false;
  }

  // --- the one coroutine that changes charon

  static asio::awaitable<void> run(std::shared_ptr<Charon> self) {
    milliseconds reconnect = kFirstReconnect;
    while (!self->stopped_) {
      if (!self->have_wanted_) {
        co_await self->rest(kQuietPeriod);
        continue;
      }
      if (!self->connected()) {
        auto result = co_await self->connect();
        if (!result) {
          self->report_unavailable(result.error());
          ++self->refused_connections_;
          self->notify();
          co_await self->rest(reconnect);
          reconnect = std::min(reconnect * 2, kLastReconnect);
          continue;
        }
        reconnect = kFirstReconnect;
        if (self->stopped_) break;
      }
      bool going_well = true;
      if (self->loaded_generation_ < self->wanted_generation_ || self->fresh_) going_well = co_await self->load();
      if (going_well && !self->stopped_) going_well = co_await self->supervise();
      if (!going_well) {
        self->disconnect();
        co_await self->rest(reconnect);
        continue;
      }
      const bool all_up = std::all_of(self->tunnels_.begin(), self->tunnels_.end(), [](const auto& named) {
        const Tunnel& tunnel = named.second;
        if (tunnel.renewal && (tunnel.renewal->succeeded || tunnel.should_initiate())) return false;
        return tunnel.up || !tunnel.should_initiate();
      });
      co_await self->rest(all_up ? kQuietPeriod : kBusyPeriod);
    }
    self->disconnect();
  }

  void report_unavailable(const Error& error) {
    if (unavailable_ != error.what) spdlog::warn("charon: {}", error.message());
    unavailable_ = error.what;
  }

  void disconnect() {
    if (session_.disconnect()) unavailable_ = "the connection to charon was lost";
  }

  asio::awaitable<Result<void>> connect() {
    disconnect();
    const std::weak_ptr<Charon> weak = weak_from_this();
    CharonSession::Handlers handlers;
    handlers.on_event = [weak](const std::string& event, const Section& message) {
      const auto self = weak.lock();
      if (self && self->observer_.observe(event, message, now())) self->poke();
    };
    handlers.on_close = [weak] {
      if (const auto self = weak.lock()) self->poke();
    };
    if (auto done = co_await session_.connect(std::move(handlers)); !done) co_return done;
    // Whatever charon this is, it has told us nothing yet.
    fresh_ = true;
    told_to_end_.clear();
    observer_.forget_ike_sas();
    for (auto& [name, tunnel] : tunnels_) {
      tunnel.in_charon = InCharon::kUnknown;
      tunnel.unproven.reset();
      if (tunnel.renewal) forget_ike_sas(*tunnel.renewal);
      tunnel.outlived = tunnel.outlived || tunnel.up;
      tunnel.up = false;
      tunnel.childless_since.reset();
      tunnel.next_try = now();
      tunnel.retry = kFirstRetry;
    }
    unavailable_ = "charon has not been asked yet";
    spdlog::info("charon: connected at {}", path_);
    co_return Result<void>{};
  }

  // --- loading

  /// False if the connection broke.
  asio::awaitable<bool> load() {
    const std::uint64_t generation = wanted_generation_;
    if (fresh_ && !co_await find_leftovers()) co_return false;
    fresh_ = false;
    const std::vector<std::string> removed = tunnels_.removed();
    for (const std::string& name : removed) {
      if (!co_await unload(name)) co_return false;
      tunnels_.forget_removed(name);  // nothing, if it is wanted again meanwhile: it is loaded below
    }
    const std::vector<std::string> names = tunnels_.names();
    for (const std::string& name : names) {
      if (!co_await load_one(name)) co_return false;
    }
    loaded_generation_ = std::max(loaded_generation_, generation);
    notify();
    co_return true;
  }

  /// Connections and keys that an earlier life of simplond loaded and nobody wants any more.
  asio::awaitable<bool> find_leftovers() {
    const auto connections = co_await session_.list_connections();
    if (!connections) co_return false;
    for (const std::string& name : *connections) {
      if (tunnels_.find(name) == nullptr) tunnels_.add_leftover(name);
    }
    const auto secrets = co_await session_.list_secrets();
    if (!secrets) co_return false;
    for (const std::string& secret : *secrets) {
      const auto name = tunnel_of_secret(secret);
      if (!name) continue;
      if (Tunnel* tunnel = tunnels_.find(*name); tunnel == nullptr) {
        tunnels_.add_leftover(*name);
      } else if (is_unproven_secret(secret)) {
        tunnel->unproven = kUnknownKey;
      }
    }
    co_return true;
  }

  /// charon sends the DELETE of one that ends until it is answered. Told again, it would forget it at once, and its peer never
  /// learn of it. False if the connection broke.
  asio::awaitable<bool> end_sa(std::uint32_t unique_id) {
    if (!told_to_end_.insert(unique_id).second) co_return true;
    co_return co_await session_.terminate(unique_id);
  }

  /// All of a tunnel. False if the connection broke.
  asio::awaitable<bool> end_sas(std::string name) {
    const auto listed = co_await session_.list_sas(name);
    if (!listed) co_return false;
    const auto of_tunnel = listed->find(name);
    if (of_tunnel == listed->end()) co_return true;
    for (const ObservedIke& ike : of_tunnel->second) {
      const std::uint32_t unique_id = ike.unique_id;
      if (!ike.is_ending() && !co_await end_sa(unique_id)) co_return false;
    }
    co_return true;
  }

  asio::awaitable<bool> unload(std::string name) {
    if (!co_await session_.unload_connection(name)) co_return false;
    if (!co_await end_sas(name)) co_return false;
    const std::vector<std::string> secrets = {secret_name(name), unproven_secret_name(name)};
    for (const std::string& secret : secrets) {
      if (!co_await session_.unload_secret(secret)) co_return false;
    }
    spdlog::info("tunnel {}: removed from charon", name);
    co_return true;
  }

  /// Makes charon remember, for a later life of ours, whether the key of the tunnel is proven. False if the connection broke.
  asio::awaitable<bool> note_proof(std::string name) {
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr || tunnel->in_charon != InCharon::kLoaded) co_return true;
    const std::optional<std::size_t> unproven = tunnel->is_renewing() ? std::optional(tunnel->given->key) : std::nullopt;
    if (tunnel->unproven == unproven) co_return true;
    tunnel->unproven = unproven;
    const std::string secret = unproven_secret_name(name);
    if (!unproven) co_return co_await session_.unload_secret(secret);
    Section message = load_shared_message(tunnel->wanted, secret, tunnels_.shares_peer_with_another_key(tunnel->wanted));
    const auto done = co_await session_.load_secret(std::move(message));
    co_return done || done.error().code != ErrorCode::kUnavailable;
  }

  /// Without its connection charon refuses the peer's attempts too. False if the connection broke.
  asio::awaitable<bool> unload_held(std::string name) {
    if (!co_await session_.unload_connection(name)) co_return false;
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel != nullptr && tunnel->held) tunnel->in_charon = InCharon::kUnloaded;
    co_return true;
  }

  asio::awaitable<bool> load_one(std::string name) {
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr) co_return true;
    if (tunnel->held) co_return tunnel->in_charon == InCharon::kUnloaded || co_await unload_held(name);
    if (tunnel->wanted.keep_as_is) co_return true;
    const bool keeps_others = tunnel->outlived || tunnels_.shares_identities(tunnel->wanted);
    const std::size_t key = key_mark(tunnel->wanted.psk);
    TunnelSpec spec = tunnel->wanted;
    const bool by_pair = tunnels_.shares_peer_with_another_key(tunnel->wanted);
    Section secret = load_shared_message(spec, secret_name(name), by_pair);
    sys::wipe(spec.psk);
    const Given* known = tunnel->in_charon == InCharon::kLoaded ? &*tunnel->given : nullptr;
    const std::optional<bool> known_by_pair = known == nullptr ? std::nullopt : std::optional(known->key_by_pair);
    const bool new_key = known == nullptr || known->key != key || known->key_by_pair != by_pair || known->spec.local_id != spec.local_id ||
                         known->spec.remote_id != spec.remote_id || known->spec.local != spec.local ||
                         known->spec.remote != spec.remote;
    const bool new_connection = known == nullptr || known->keeps_others != keeps_others ||
                                can_change(known->spec, spec) != Reconfigure::kNothing;
    if (!new_key) secret.wipe();
    if (!new_key && !new_connection) co_return true;
    tunnel->in_charon = InCharon::kLoading;
    // Whoever takes the tunnel down or wants another one meanwhile has told charon so, or makes `load` come again.
    const auto is_still_wanted = [&] {
      tunnel = tunnels_.find(name);
      return tunnel != nullptr && tunnel->in_charon == InCharon::kLoading;
    };
    Result<void> result;
    if (new_key) result = co_await session_.load_secret(std::move(secret));
    if (result && new_connection) {
      if (!is_still_wanted()) co_return true;
      Section connection = load_conn_message(spec, keeps_others);
      result = co_await session_.load_connection(std::move(connection));
    }
    if (!result && result.error().code == ErrorCode::kUnavailable) co_return false;

    if (!is_still_wanted()) co_return true;
    if (!result) {
      tunnel->in_charon = InCharon::kUnknown;
      tunnel->load_error = make_error(ErrorCode::kInvalidConfig,
                                      "charon refuses tunnel '" + name + "': " + refusal(spec, result.error()), {});
      spdlog::error("{}", tunnel->load_error->what);
      co_return true;
    }
    tunnel->load_error.reset();
    if (tunnel->given && can_change(tunnel->given->spec, spec) == Reconfigure::kReestablish) {
      tunnel->stale = true;
      tunnel->renewal.reset();
    } else if (tunnel->given && tunnel->given->key != key) {
      renew_key(*tunnel, key, now());
    } else if (!tunnel->given && tunnel->unproven) {
      resume_renewal(*tunnel, now());
    }
    // The second copy of the key is owned as the first.
    if (tunnel->unproven && known_by_pair != by_pair) tunnel->unproven = kUnknownKey;
    tunnel->given = Given{std::move(spec), key, keeps_others, by_pair};
    tunnel->in_charon = InCharon::kLoaded;
    co_return true;
  }

  // --- supervising

  /// False if the connection broke.
  asio::awaitable<bool> supervise() {
    const std::string of_all;
    auto listed = co_await session_.list_sas(of_all);
    if (!listed) co_return false;
    std::set<std::uint32_t> present;
    for (const auto& [name, sas] : *listed) {
      for (const ObservedIke& ike : sas) present.insert(ike.unique_id);
    }
    std::erase_if(told_to_end_, [&present](std::uint32_t unique_id) { return !present.contains(unique_id); });
    const std::vector<std::string> names = tunnels_.names();
    for (const std::string& name : names) {
      if (!co_await supervise_one(name, (*listed)[name])) co_return false;
    }
    co_return true;
  }

  asio::awaitable<bool> supervise_one(std::string name, const std::vector<ObservedIke>& sas) {
    Tunnel* tunnel = tunnels_.find(name);
    if (tunnel == nullptr) co_return true;
    const Steps steps = look_after(*tunnel, sas, now());
    if (steps.load_again) ++wanted_generation_;
    const std::string child = child_name(name, tunnel->wanted.id);
    // `tunnel` may be gone after the first co_await.
    if (!co_await note_proof(name)) co_return false;
    for (const std::uint32_t unique_id : steps.end) {
      if (!co_await end_sa(unique_id)) co_return false;
    }
    tunnel = tunnels_.find(name);
    if (tunnel != nullptr) tunnel->stale = false;
    if (!steps.initiate || tunnel == nullptr || !tunnel->should_initiate()) co_return true;
    const auto result = co_await session_.initiate(name, child);
    if (!result && result.error().code == ErrorCode::kUnavailable) co_return false;
    tunnel = tunnels_.find(name);
    if (tunnel != nullptr) tunnel->asked = false;
    co_return true;
  }

  asio::io_context& io_;
  std::string path_;
  asio::steady_timer wake_;
  bool poked_ = false;
  bool stopped_ = false;
  std::vector<std::shared_ptr<asio::steady_timer>> waiters_;

  WantedTunnels tunnels_;
  NegotiationObserver observer_{tunnels_.by_name()};
  /// IKE_SAs of this charon, by unique id.
  std::set<std::uint32_t> told_to_end_;
  bool have_wanted_ = false;
  std::uint64_t wanted_generation_ = 0;
  std::uint64_t loaded_generation_ = 0;
  std::uint64_t refused_connections_ = 0;

  CharonSession session_;
  bool fresh_ = true;
  std::string unavailable_ = "charon has not been asked yet";
};

/// The handle; `Charon` outlives it as long as one of its coroutines is suspended.
class CharonTunnelManager final : public TunnelManager {
 public:
  CharonTunnelManager(asio::io_context& io, std::string path) : charon_(std::make_shared<Charon>(io, std::move(path))) {
    charon_->start();
  }
  ~CharonTunnelManager() override { charon_->stop(); }
  CharonTunnelManager(const CharonTunnelManager&) = delete;
  CharonTunnelManager& operator=(const CharonTunnelManager&) = delete;

  asio::awaitable<Result<void>> reconcile(std::vector<TunnelSpec> wanted) override {
    return keep(charon_, charon_->reconcile(std::move(wanted)));
  }
  asio::awaitable<Result<void>> up(std::string name) override { return keep(charon_, charon_->up(std::move(name))); }
  asio::awaitable<Result<void>> down(std::string name) override {
    return keep(charon_, charon_->down(std::move(name)));
  }
  asio::awaitable<Result<void>> rekey(std::string name, bool ike) override {
    return keep(charon_, charon_->rekey(std::move(name), ike));
  }
  std::set<std::string> held() const override { return charon_->held(); }
  std::uint64_t hold_changes() const override { return charon_->hold_changes(); }
  bool connected() const override { return charon_->connected(); }
  asio::awaitable<std::vector<TunnelStatus>> status() override { return keep(charon_, charon_->status()); }

 private:
  /// A coroutine starts when it is first resumed, which may be after the handle is gone.
  template <class T>
  static asio::awaitable<T> keep(std::shared_ptr<Charon> charon, asio::awaitable<T> awaited) {
    T result = co_await std::move(awaited);
    charon.reset();
    co_return result;
  }

  std::shared_ptr<Charon> charon_;
};

}  // namespace

std::unique_ptr<TunnelManager> TunnelManager::create(boost::asio::io_context& io, std::string vici_socket) {
  return std::make_unique<CharonTunnelManager>(io, std::move(vici_socket));
}

}  // namespace simplon::ipsec
