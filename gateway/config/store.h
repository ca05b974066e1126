// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/result.h"

namespace simplon::config {

/// Source of calendar time, so that tests own the time.
class WallClock {
 public:
  virtual ~WallClock() = default;
  [[nodiscard]] virtual std::chrono::system_clock::time_point now() const noexcept = 0;
};

class SystemWallClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const noexcept override {
    return std::chrono::system_clock::now();
  }
};

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

  friend bool operator==(const Version&, const Version&) = default;
};

/// The current version is on probation: it is undone at `deadline` unless confirmed.
struct Pending {
  std::uint64_t number = 0;
  std::uint64_t reverts_to = 0;
  std::chrono::system_clock::time_point deadline;

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
/// any point the old or the new state is there, never a mixture. When the disk is full the old state stays. The
/// probation's deadline is calendar time on disk, so it holds across a crash: call `revert_if_expired` at start and at
/// the deadline.
/// Threads: one. Blocks on the disk (small files).
class Store {
 public:
  struct CommitRequest {
    std::string text;
    std::string who;
    std::string comment;
    /// If set, commit is refused with kConflict unless this is the current version (0: none).
    std::optional<std::uint64_t> base_version;
    /// Undo after this time unless confirmed.
    std::optional<std::chrono::seconds> confirm_within;
  };

  /// Creates the directory (mode 0700) if needed; removes leftovers of a crash. `clock` must outlive the store.
  /// Errors: kUnavailable naming the path, kInvalidConfig if the current version is damaged.
  [[nodiscard]] static Result<Store> open(std::filesystem::path directory, const WallClock& clock);

  /// 0 if nothing was ever committed.
  [[nodiscard]] std::uint64_t current() const noexcept { return current_; }
  [[nodiscard]] const std::optional<Pending>& pending() const noexcept { return pending_; }
  /// Newest first. Versions whose files are damaged are left out.
  [[nodiscard]] std::vector<Version> history() const;
  /// Errors: kInvalidConfig if there is no such version or its text does not match its hash.
  [[nodiscard]] Result<StoredDocument> load(std::uint64_t number) const;
  /// As `load(current())`; an empty text with number 0 if there is none.
  [[nodiscard]] Result<StoredDocument> load_current() const;

  /// Stores a new version and makes it current. The text must have been validated.
  /// A commit while another is on probation needs a confirmation first: kConflict.
  /// Errors: kConflict, kUnavailable (disk full, read-only, ...); then nothing changed.
  [[nodiscard]] Result<Version> commit(const CommitRequest& request);

  /// Ends the probation. Errors: kConflict if there is none or it has expired.
  [[nodiscard]] Result<void> confirm();

  /// What `undo` would make current (its text), without doing it. `to`: a version, otherwise the parent of the current
  /// one. Errors: kConflict if there is nothing to go back to.
  [[nodiscard]] Result<StoredDocument> undo_target(std::optional<std::uint64_t> to = {}) const;
  /// Goes back: stores the target's text as a new version, so history only grows; ends a probation. A second undo goes
  /// one further back.
  [[nodiscard]] Result<Version> undo(const std::string& who, std::optional<std::uint64_t> to = {});

  /// If the probation has expired: undoes and returns the version that is current now; otherwise nothing.
  [[nodiscard]] Result<std::optional<Version>> revert_if_expired();

 private:
  Store(std::filesystem::path directory, const WallClock& clock) : directory_(std::move(directory)), clock_(&clock) {}
  Result<void> load_pointer();
  Result<void> store_pointer(std::uint64_t current, const std::optional<Pending>& pending);
  Result<Version> store_version(const std::string& text, const std::string& who, const std::string& comment,
                                std::uint64_t parent);
  [[nodiscard]] Result<Version> load_meta(std::uint64_t number) const;
  [[nodiscard]] std::filesystem::path file(std::uint64_t number, const char* extension) const;

  std::filesystem::path directory_;
  const WallClock* clock_;
  std::uint64_t current_ = 0;
  std::optional<Pending> pending_;
};

}  // namespace simplon::config
