// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.h"
#include "platform/base/result.h"

namespace simplon::config {

/// Source of calendar time, and of time that nobody sets, so that tests own both.
class WallClock {
 public:
  virtual ~WallClock() = default;
  [[nodiscard]] virtual std::chrono::system_clock::time_point now() const noexcept = 0;
  [[nodiscard]] virtual MonoTime steady() const noexcept = 0;
};

class SystemWallClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const noexcept override {
    return std::chrono::system_clock::now();
  }
  [[nodiscard]] MonoTime steady() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// Who asked for something, as the kernel said (SO_PEERCRED).
struct Author {
  /// User name, or who we are ("simplond").
  std::string name;
  std::optional<std::uint32_t> uid;

  Author() = default;
  /* implicit */ Author(std::string known_as, std::optional<std::uint32_t> user = {})
      : name(std::move(known_as)), uid(user) {}
  /* implicit */ Author(const char* known_as) : name(known_as) {}

  friend bool operator==(const Author&, const Author&) = default;
};

/// What became of a version.
enum class Outcome : std::uint8_t {
  kCommitted,    ///< Kept: at once, by a confirmation, or by its gates.
  kUnconfirmed,  ///< On probation now.
  kReverted,     ///< Its probation ended by going back.
};

/// "committed", "unconfirmed", "reverted".
[[nodiscard]] std::string_view to_string(Outcome outcome) noexcept;

/// One stored version of the document.
struct Version {
  std::uint64_t number = 0;
  std::chrono::system_clock::time_point when;
  std::string who;
  std::string comment;
  /// SHA-256 of the text, hexadecimal; checked at every load.
  std::string hash;
  /// The version that `undo` goes back to; 0: the empty configuration.
  std::uint64_t parent = 0;
  std::optional<std::uint32_t> uid;
  /// The version whose probation this one ended by going back, and why; 0: none.
  std::uint64_t reverts = 0;
  std::string reason;
  /// Drawn from the versions after it, not stored; the reason is that of a revert.
  Outcome outcome = Outcome::kCommitted;
  std::string outcome_reason;

  friend bool operator==(const Version&, const Version&) = default;
};

/// The current version is on probation: it is undone at `deadline` unless it is kept before.
struct Pending {
  std::uint64_t number = 0;
  std::uint64_t reverts_to = 0;
  std::chrono::system_clock::time_point deadline;
  std::chrono::seconds window{0};
  /// Somebody must confirm; otherwise it is kept as soon as its gates have held.
  bool confirm_required = true;
  /// Health gates as words ("bgp:prod/paris"), see gateway/control/gates.h.
  std::vector<std::string> gates;

  friend bool operator==(const Pending&, const Pending&) = default;
};

/// An empty text stands for the empty configuration: what there is before the first commit, and after undoing that.
struct StoredDocument {
  Version version;
  std::string text;
};

/// History of configuration documents in a directory; what is current; what is on probation.
///
/// Files: NNNN.yaml (the text as given), NNNN.meta, and `current`, one small file with the number of the current
/// version and the probation. Each is written to a temporary name, synced and renamed, `current` last: after a crash at
/// any point the old or the new state is there, never a mixture. When the disk is full or broken the old state stays;
/// `stage` finds out before anything else has to be changed. The probation's deadline is calendar time on disk, so it
/// holds across a crash and a loss of power: call `revert_if_expired` at start and at the deadline. While the store is
/// open, the calendar may be set without making the probation longer or shorter.
/// Threads: one. Blocks on the disk (small files).
class Store {
 public:
  struct CommitRequest {
    std::string text;
    Author who;
    std::string comment;
    /// If set, commit is refused with kConflict unless this is the current version (0: none).
    std::optional<std::uint64_t> base_version;
    /// Undo after this time unless confirmed.
    std::optional<std::chrono::seconds> confirm_within;
    /// Of the probation; see Pending.
    bool confirm_required = true;
    std::vector<std::string> gates;
    /// Older versions to begin the history with, oldest first. Only for a store that never had one (kConflict).
    std::vector<StoredDocument> history;
  };
  struct UndoRequest {
    Author who;
    /// A version; otherwise the parent of the current one, or what the probation reverts to.
    std::optional<std::uint64_t> to;
    /// Why a probation ends, for the history.
    std::string reason;
    /// Added to "undo: back to version N".
    std::string comment;
    /// As of a commit.
    std::optional<std::chrono::seconds> confirm_within;
    bool confirm_required = true;
    std::vector<std::string> gates;
  };
  /// A version that is on disk, complete, and not current: `commit` or `discard` it. A crash discards it.
  struct Staged {
    Version version;
    std::optional<std::chrono::seconds> window;
    bool confirm_required = true;
    std::vector<std::string> gates;
    /// Numbers of the files written, `version` included.
    std::uint64_t first = 0;
  };

  /// Creates the directory (mode 0700) if needed; removes leftovers of a crash. `clock` must outlive the store.
  /// A pointer or a current version that is damaged is not an error here but one of `load_current`; then nothing is
  /// removed, and `undo` to another version, or a commit, mends it. Errors: kUnavailable naming the path.
  [[nodiscard]] static Result<Store> open(std::filesystem::path directory, const WallClock& clock);

  /// 0 if nothing was ever committed. While the pointer is damaged: the newest there is.
  [[nodiscard]] std::uint64_t current() const noexcept { return current_; }
  [[nodiscard]] const std::optional<Pending>& pending() const noexcept { return pending_; }
  /// Newest first. Versions whose files are damaged are left out.
  [[nodiscard]] std::vector<Version> history() const;
  /// Errors: kInvalidConfig if there is no such version or its text does not match its hash.
  [[nodiscard]] Result<StoredDocument> load(std::uint64_t number) const;
  /// As `load(current())`; an empty text with number 0 if there is none. The hint of an error names the newest version that
  /// is whole.
  [[nodiscard]] Result<StoredDocument> load_current() const;
  /// Which version is the newest that is whole, and how it becomes current: a hint.
  [[nodiscard]] std::string way_out() const;

  /// Writes a new version without making it current. The text must have been validated.
  /// While another version is on probation it needs a confirmation first: kConflict.
  /// Errors: kConflict, kExhausted (disk full), kUnavailable (read-only, broken, ...); then nothing changed.
  [[nodiscard]] Result<Staged> stage(const CommitRequest& request);
  /// What `stage` says while `pending`.
  [[nodiscard]] Error still_pending() const;
  /// Makes it current; the probation begins now. Errors as of `stage`; the old version is current then.
  [[nodiscard]] Result<Version> commit(const Staged& staged);
  void discard(const Staged& staged) noexcept;
  /// `stage` and `commit`.
  [[nodiscard]] Result<Version> commit(const CommitRequest& request);

  /// Ends the probation. `version`: only of that one. Errors: those of `may_confirm`; the disk's.
  [[nodiscard]] Result<void> confirm(std::optional<std::uint64_t> version = {});
  /// Errors: kConflict if there is no probation, it is another version's, or it has expired.
  [[nodiscard]] Result<void> may_confirm(std::optional<std::uint64_t> version = {});

  /// What `undo` would make current (its text), without doing it. `to`: a version, otherwise the parent of the current
  /// one. Errors: kConflict if there is nothing to go back to, or if the current one is already what an expired probation went
  /// back to: who wants to undo that change must not lose another.
  [[nodiscard]] Result<StoredDocument> undo_target(std::optional<std::uint64_t> to = {}) const;
  /// Goes back: stores the target's text as a new version, so history only grows; ends a probation. A second undo goes
  /// one further back. What ends a probation has none of its own: kConflict.
  [[nodiscard]] Result<Staged> stage_undo(const UndoRequest& request);
  /// `stage_undo` and `commit`.
  [[nodiscard]] Result<Version> undo(const Author& who, std::optional<std::uint64_t> to = {},
                                     const std::string& reason = {});

  /// The deadline has passed.
  [[nodiscard]] bool expired();
  /// If the probation has expired: undoes with `reason` and returns the version that is current now; otherwise nothing.
  [[nodiscard]] Result<std::optional<Version>> revert_if_expired(const std::string& reason = {});

 private:
  Store(std::filesystem::path directory, const WallClock& clock) : directory_(std::move(directory)), clock_(&clock) {}
  void load_pointer();
  [[nodiscard]] Result<void> read_pointer();
  void begin_probation();
  Result<void> store_pointer(std::uint64_t current, const std::optional<Pending>& pending);
  Result<void> store_files(const Version& version, const std::string& text);
  [[nodiscard]] Version next_version(const std::string& text, const Author& who, const std::string& comment,
                                     std::uint64_t parent) const;
  void remove_files(std::uint64_t first, std::uint64_t last) const noexcept;
  [[nodiscard]] Result<Version> load_meta(std::uint64_t number) const;
  void judge_outcome(Version& version) const;
  [[nodiscard]] std::filesystem::path file(std::uint64_t number, const char* extension) const;

  std::filesystem::path directory_;
  const WallClock* clock_;
  /// What `current` holds.
  std::string pointer_text_;
  std::uint64_t current_ = 0;
  /// Why nobody knows which version is current.
  std::optional<Error> pointer_problem_;
  std::optional<Pending> pending_;
  MonoTime steady_deadline_{};
};

}  // namespace simplon::config
