// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <tl/expected.hpp>

#include "bgp/speaker.h"
#include "gateway/config/diff.h"
#include "gateway/config/document.h"
#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/config/store.h"
#include "gateway/control/gates.h"
#include "gateway/control/ping.h"
#include "gateway/control/table_compiler.h"
#include "gateway/control/table_programmer.h"
#include "gateway/control/turns.h"
#include "gateway/ipc/table_client.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"
#include "platform/sys/netns.h"

namespace simplon::control {

/// The network namespaces of domains.
class Namespaces {
 public:
  virtual ~Namespaces() = default;
  /// Exists and is set up when it returns; idempotent.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> ensure(std::string name) = 0;
  /// Which one the name stands for; nothing if it does not exist.
  [[nodiscard]] virtual std::optional<sys::NetnsId> identity(const std::string& name) = 0;
  [[nodiscard]] bool exists(const std::string& name) { return identity(name).has_value(); }
  /// May go on after it returned: follow `exists`.
  [[nodiscard]] virtual Result<void> remove(const std::string& name) = 0;
};

using SpeakerFactory =
    std::function<Result<std::unique_ptr<bgp::Speaker>>(std::string netns, bgp::Speaker::RoutesChanged routes_changed)>;

/// Something an operator should know about, and what to do.
struct Problem {
  /// "forwarder", "charon", "tunnel paris", "domain prod".
  std::string object;
  std::string what;
  std::string hint;
  friend bool operator==(const Problem&, const Problem&) = default;
};

/// Milliseconds that the parts of an apply took.
struct ApplyTiming {
  double read = 0;     ///< parse and validate
  double compare = 0;  ///< diff
  double stage = 0;    ///< the new version on disk
  double compile = 0;
  double program = 0;  ///< namespaces, forwarder, charon, FRR
  double commit = 0;
};

struct ApplyOutcome {
  /// False for a dry run.
  bool applied = false;
  /// Current one; a dry run leaves it.
  std::uint64_t version = 0;
  std::uint64_t previous = 0;
  /// Of an undo: the version that is back; 0: the empty configuration.
  std::uint64_t restored = 0;
  config::Diff diff;
  /// Findings about the document, and processes that are away and get their part later.
  std::vector<config::Issue> warnings;
  ApplyTiming timing;
};

/// All reasons why nothing was changed.
template <class T>
using Transaction = tl::expected<T, std::vector<config::Issue>>;

struct ApplyCommand {
  std::string document;
  /// An undo, instead of the document: back to a version, or, without one, to the one before.
  struct Undo {
    std::optional<std::uint64_t> to;
  };
  std::optional<Undo> undo;
  std::optional<std::uint64_t> base_version;
  std::string comment;
  /// Goes back after this time unless `confirm` follows.
  std::optional<std::chrono::seconds> confirm_within;
  /// Health gates (gates.h). Without `confirm_within` the change is kept as soon as all have held, and goes back after
  /// `gate_window` otherwise; with it, `confirm` is refused while one fails.
  std::vector<std::string> gates;
  std::chrono::seconds gate_window{60};
  bool dry_run = false;
  config::Author who;
  /// Of an import: ids of the other box, and older versions for an empty history.
  std::optional<config::IdRegistry::Snapshot> ids;
  std::vector<config::StoredDocument> history;
  /// Called when it is this change's turn, before the document is judged; and, if it then does not come about, before
  /// anything goes back. Not for a dry run.
  std::function<Result<void>()> prepare;
  std::function<void()> abandon;
  /// Called at once when it is known whether this change came about, before the cleaning up that may take seconds; not for a dry run.
  std::function<void(const Transaction<ApplyOutcome>&)> decided;
  /// Look at the files of secrets. Not for the dry run of an import that would bring them.
  bool check_files = true;
};

/// A probation that ended by itself.
struct ProbationEnd {
  bool kept = false;
  /// The version that was on probation, and the one that is current now.
  std::uint64_t version = 0;
  std::uint64_t current = 0;
  std::string reason;
};

/// Makes namespaces, forwarder, charon and FRR be what the stored configuration says, and keeps them so.
///
/// Changes are transactions, one after the other: validate, stage on disk, compile, namespaces, forwarder, charon, FRR,
/// commit. What is refused (a document, an object, a proposal, a command) reverts everything to the configuration before. A process
/// that is merely away does not: the change is committed with a warning and the process gets its part when it is back.
/// At start everything that runs is adopted; see the essay in reconciler.cpp about what must not be removed when.
/// Threads: one io_context thread. Lifetime: destroyed only while no transaction is under way, or when the io_context
/// does not run any more.
class Reconciler {
 public:
  struct Parts {
    boost::asio::io_context& io;
    ipc::TableClient& forwarder;
    ipsec::TunnelManager& tunnels;
    Namespaces& namespaces;
    SpeakerFactory make_speaker;
    config::Store& store;
    config::IdRegistry& ids;
    const Clock& clock;
    const config::WallClock& wall_clock;
    Pinger& pinger;
  };
  struct Options {
    std::string netns_prefix = "simplon-";
    /// Different in each life of the daemon, growing.
    std::uint64_t first_epoch = 1;
    /// Longest wait for learned routes after a start before what nobody wants is removed from the forwarder. Chosen by
    /// us: zebra connects again within a few seconds, a bgpd that was started lately has its routes after 120 s at the
    /// latest, and the dump of a large table takes a minute.
    std::chrono::milliseconds sweep_cap{200000};
    /// Looks after retries and probations this often.
    std::chrono::milliseconds tick{250};
    std::chrono::milliseconds first_retry{1000};
    std::chrono::milliseconds last_retry{30000};
    /// Looks at health gates this often.
    std::chrono::milliseconds gate_tick{1000};
    config::ReadOptions read;
    /// Told when a probation ended without anybody asking. May be called by `start`.
    std::function<void(const ProbationEnd&)> probation_ended;
  };

  Reconciler(Parts parts, Options options);
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  /// Loads the stored configuration and starts working towards it. A store that never had one is an empty gateway.
  /// A stored configuration that cannot be read leaves everything as it is (the forwarder goes on) and is a problem, until
  /// a transaction succeeds.
  void start();
  /// False: the stored configuration could not be read, what runs goes on and is nobody's.
  [[nodiscard]] bool loaded() const noexcept { return loaded_; }

  [[nodiscard]] boost::asio::awaitable<Transaction<ApplyOutcome>> apply(ApplyCommand command);
  /// Ends the probation of the current version and returns its number. Errors: kConflict if there is none, it is too
  /// late, or a gate fails.
  [[nodiscard]] boost::asio::awaitable<Result<std::uint64_t>> confirm(std::optional<std::uint64_t> version = {});

  /// What is worked towards.
  [[nodiscard]] const GatewayConfig& config() const noexcept { return config_; }
  [[nodiscard]] const TableCompiler& compiler() const noexcept { return compiler_; }
  [[nodiscard]] TableProgrammer::Status programmed() const { return programmer_.status(); }
  /// Asks FRR; nothing for a domain that speaks no BGP.
  [[nodiscard]] boost::asio::awaitable<std::optional<bgp::SpeakerStatus>> speaker_status(
      std::string domain, bgp::StatusDetail detail = bgp::StatusDetail::kSessions);
  [[nodiscard]] bool speaker_synchronized(std::string_view domain) const;
  /// Of the version on probation, as of the latest look.
  [[nodiscard]] std::vector<GateState> gates() const { return gates_.states(); }
  /// The namespace of a domain is this and its name.
  [[nodiscard]] const std::string& netns_prefix() const noexcept { return options_.netns_prefix; }
  /// Why the secret of this tunnel cannot be read; nothing if it can.
  [[nodiscard]] const Error* secret_problem(const std::string& tunnel) const;
  /// Of the reconciliation; what the parts observe about themselves is not in here.
  [[nodiscard]] std::vector<Problem> problems() const;
  /// True when nothing is left to be done or retried.
  [[nodiscard]] bool settled() const;

 private:
  struct DomainState {
    std::shared_ptr<bgp::Speaker> speaker;
    /// The namespace that the speaker's sockets are in.
    std::optional<sys::NetnsId> netns;
    std::optional<Error> problem;
    bool settled = false;
  };
  enum class Mode : std::uint8_t {
    kStrict,    ///< a transaction: the first refusal ends it
    kTolerant,  ///< start, retry, revert: as much as possible, refusals become problems
  };

  boost::asio::awaitable<void> background();
  boost::asio::awaitable<void> adopt();
  boost::asio::awaitable<void> end_probation();
  boost::asio::awaitable<void> watch_gates();
  boost::asio::awaitable<void> keep_by_gates();
  void follow_probation();
  [[nodiscard]] GateWatch::Renegotiated renegotiated_by(const config::Pending& pending) const;
  Result<std::vector<std::string>> admit_gates(const ApplyCommand& command, const GatewayConfig& config) const;
  [[nodiscard]] std::string why_reverted(bool at_start) const;
  Result<bool> store_going_back(bool at_start);
  [[nodiscard]] Result<GatewayConfig> read_wanted() const;
  [[nodiscard]] std::shared_ptr<bgp::Speaker> speaker_of(const std::string& domain) const;
  void tell_end(bool kept, std::uint64_t version, const std::string& reason) const;
  boost::asio::awaitable<void> retry();

  boost::asio::awaitable<Result<std::vector<config::Issue>>> switch_to(GatewayConfig config, Mode mode,
                                                                     ApplyTiming* timing = nullptr);
  boost::asio::awaitable<void> revert_to(GatewayConfig config);
  /// After a transaction that failed: to the configuration before if there is one.
  boost::asio::awaitable<void> take_back(GatewayConfig before);
  boost::asio::awaitable<void> doom_unknown();
  boost::asio::awaitable<Result<void>> ensure_namespaces(Mode mode);
  boost::asio::awaitable<Result<void>> reconcile_forwarder(std::vector<ipc::Operation> operations);
  boost::asio::awaitable<Result<void>> reconcile_tunnels(Mode mode);
  boost::asio::awaitable<std::vector<Error>> reconcile_peers(Mode mode, bool only_unsettled);
  boost::asio::awaitable<Result<void>> reconcile_speaker(std::string domain, Mode mode);
  boost::asio::awaitable<void> tidy();
  void look_at_namespaces();
  /// After it the speaker's sockets are in the namespace that has the domain's name now. What was learned in another one is
  /// forgotten, and FRR of it has ended: two speakers never write to one FRR. Errors: kUnavailable, retried.
  boost::asio::awaitable<Result<void>> ensure_speaker(std::string domain);

  [[nodiscard]] const DomainConfig* find_domain(std::string_view name) const;
  [[nodiscard]] bool wants_bgp(std::string_view domain) const;
  [[nodiscard]] std::string netns_of(const std::string& domain) const { return options_.netns_prefix + domain; }
  [[nodiscard]] bool may_sweep() const;
  [[nodiscard]] Result<GatewayConfig> read_stored(const config::StoredDocument& stored, bool check_files = false) const;
  /// What the command wants to be current.
  struct Target {
    GatewayConfig config;
    std::vector<config::Issue> warnings;
    std::uint64_t restored = 0;
  };
  [[nodiscard]] Transaction<Target> target_of(const ApplyCommand& command) const;
  [[nodiscard]] Result<config::Store::Staged> stage(ApplyCommand& command, std::vector<std::string> gates);
  void schedule_retry();

  // Kept by the background coroutine too: tells it that we are gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Parts parts_;
  Options options_;
  Turns turns_;
  TableCompiler compiler_;
  TableProgrammer programmer_;
  GateWatch gates_;

  GatewayConfig config_;
  bool loaded_ = false;
  /// What runs was found and compared with a configuration once; before that nothing may be swept.
  bool adopted_ = false;
  /// Of the tunnels, when the tables were compiled.
  std::uint64_t hold_changes_ = 0;
  std::optional<Error> load_problem_;
  std::map<std::string, Error> namespace_problems_;
  std::optional<Error> tunnels_problem_;
  std::map<std::string, Error> secret_problems_;
  bool tunnels_settled_ = false;
  std::map<std::string, DomainState, std::less<>> domains_;
  /// Namespaces of domains that are gone; deleted when the forwarder has let go of their host ports.
  std::set<std::string> doomed_;
  bool ids_settled_ = false;

  MonoTime sweep_deadline_{};
  bool was_current_ = false;
  bool had_charon_ = false;
  MonoTime retry_at_{};
  MonoTime namespaces_seen_{};
  /// Not before this time if going back failed (the disk is full, say).
  MonoTime probation_retry_at_{};
  /// A version that is over, but the disk does not take the one that goes back from it.
  struct Unstored {
    std::uint64_t version = 0;
    std::string reason;
    Error error;
  };
  std::optional<Unstored> unstored_;
  /// A probation is over, but what it goes back to cannot be read: why.
  std::optional<Error> no_way_back_;
  MonoDuration retry_delay_{};
};

}  // namespace simplon::control
