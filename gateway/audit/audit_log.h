// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/result.h"

// Who changed what, so that it cannot be changed afterwards without being noticed.
//
// Files of a directory:  audit.log     one JSON object per line, the newest last
//                        audit.log.1   older ones, the highest number is the oldest
//                        audit.head    number and hash of the last line, apart from the log
//                        audit.key     Ed25519 private key (PEM, mode 0600); audit.pub its public half
// A line     {"audit":1,"seq":42,"when":"2026-01-31T12:00:00Z","who":"root","uid":0,"action":"apply","outcome":"done",
//             "version":7,"subject":"","detail":"...","prev":"<hash>","sig":"<signature>"}
// prev       SHA-256 of the whole line before (without its line end); 64 zeros in the first line of all.
// sig        Ed25519 (RFC 8032) over "simplon-audit-1\n" and the line up to `,"sig"`; both are hexadecimal.
// audit.head the same way: {"audit_head":1,"seq":42,"hash":"...","first":1,"when":"...","sig":"..."}; "first" is the
//            oldest line that rotation has left, "sig" is over "simplon-audit-head-1\n" and what is before it.

namespace simplon::audit {

/// One attempt to change something, and what became of it.
struct Event {
  std::string who;
  std::optional<std::uint32_t> uid;
  /// "apply", "undo", "confirm", "import", "tunnel up", "denied" ...; "revert" and "keep" for what simplond did by itself,
  /// "audit" for what it found of this log.
  std::string action;
  /// "done" or "refused".
  std::string outcome;
  /// Current version of the configuration afterwards; 0: none.
  std::uint64_t version = 0;
  /// "tunnel paris", or empty.
  std::string subject;
  std::string detail;

  friend bool operator==(const Event&, const Event&) = default;
};

/// Appends to the log of a directory.
///
/// An event that cannot be written (disk full) is kept in memory; `problem` tells, until `catch_up` or the next `append`
/// has written it. When there are too many, the oldest denied attempt is given up, or else the oldest event; an entry tells
/// how many were.
/// Threads: one. Blocks on the disk: an append is synced before it returns.
class Log {
 public:
  struct Options {
    /// A file that would become larger is rotated; that many files are kept besides. Chosen by us: 40 MiB in all.
    std::size_t max_file_bytes = 4U << 20;
    unsigned kept_files = 9;
    /// Events kept in memory.
    std::size_t max_waiting = 1000;
    std::function<std::chrono::system_clock::time_point()> now = [] { return std::chrono::system_clock::now(); };
  };

  /// Makes the key at the first start. Finishes what a crash has cut off: a line without its end is removed, a head
  /// that is behind catches up. A log that does not fit its head, or has none, is continued: a `problem`, an entry that
  /// says so, and a gap in the numbers that `verify` finds for as long as the log is kept. A log of another key is moved to
  /// audit.former.N with the public key that it was signed for, and a new one begins.
  /// Errors: kUnavailable or kExhausted naming the file; kInvalidConfig for a damaged key.
  [[nodiscard]] static Result<std::unique_ptr<Log>> open(std::filesystem::path directory, Options options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Errors: as of the disk; the event is kept and written later then.
  Result<void> append(Event event);
  /// Writes what could not be written before. Nothing to do: costs nothing. Errors: as of the disk.
  Result<void> catch_up();
  /// Why the log is not complete or not sound; nothing if it is.
  [[nodiscard]] const std::optional<Error>& problem() const noexcept;
  /// The last lines, oldest first.
  [[nodiscard]] std::vector<std::string> tail(std::size_t lines) const;
  /// Number and hash of the last line.
  [[nodiscard]] std::uint64_t sequence() const noexcept;
  [[nodiscard]] const std::string& hash() const noexcept;

 private:
  struct Impl;
  explicit Log(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// One place where a log is not what was written.
struct Fault {
  std::string file;
  /// 1-based; 0: the file as a whole.
  std::size_t line = 0;
  std::string what;
  friend bool operator==(const Fault&, const Fault&) = default;
};

struct Verdict {
  std::uint64_t lines = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::string last_hash;
  std::vector<Fault> faults;
  [[nodiscard]] bool sound() const noexcept { return faults.empty(); }
};

struct VerifyOptions {
  /// audit.log; rotated files beside it are part of it.
  std::string log;
  /// Default: audit.pub beside the log.
  std::string key;
  /// Default: audit.head beside the log.
  std::string head;
  /// Told of each line before it is checked: how many were. Begins again if the log has changed and is read again.
  std::function<void(const std::string& file, std::uint64_t lines)> on_line;
};

/// Checks every line: signature, number, hash of the line before, and the head. A changed byte is one fault, at its
/// line; missing lines are one at the line after them. Needs no simplond; one may append meanwhile. Errors: a file that cannot be read.
[[nodiscard]] Result<Verdict> verify(const VerifyOptions& options);

}  // namespace simplon::audit
