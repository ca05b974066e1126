// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/store.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

#include "gateway/config/document.h"
#include "platform/base/split.h"
#include "platform/crypto/sha256.h"
#include "platform/sys/file.h"

// A commit writes NNNN.yaml, then NNNN.meta, then `current`; each by temporary file, fsync and rename. Only the last
// step makes the version visible, and it carries the probation in the same file, so there is no point in time at which
// a version is current but its deadline is not on disk. Versions above the one that `current` names were never visible:
// they are what a crash left, and `open` removes them. Numbers therefore have no gaps and history only grows.
//
// `current` is there before the first version is (it says 0), so versions without it are not what a crash left, but a
// history whose pointer was lost. Without a pointer that can be read, or without the version it names, nothing is
// removed: the caller says so, the operator picks a version, and its text becomes a new one above all there are.
//
// The files of a version are written before anything else of the world changes (`stage`), because a full disk is found
// there; the pointer is one block. If writing the pointer fails after its rename (the directory cannot be flushed), the
// old pointer is put back, so that what the caller was told is also what the next start finds.
//
// What became of a probation is not written to its version but to the one that went back from it, which always is the
// next one: nothing that was written is ever rewritten.
//
// Undo never moves the pointer back: it commits the old text under a new number. Its `parent` is the parent of the
// restored version, so the next undo goes one further back instead of to and fro.

namespace simplon::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::system_clock;

constexpr std::uint64_t kKeptVersions = 1000;
constexpr std::size_t kMaxMetaBytes = 16U << 10;
constexpr std::size_t kMaxCommentBytes = 500;
constexpr std::int64_t kLongestWindow = 86400;
/// The author of what nobody asked for.
constexpr const char* kItself = "simplond";

/// One line of printable text.
std::string one_line(const std::string& text) {
  std::string line = text.substr(0, kMaxCommentBytes);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

std::int64_t to_seconds(system_clock::time_point time) {
  return std::chrono::ceil<std::chrono::seconds>(time.time_since_epoch()).count();
}

system_clock::time_point from_seconds(std::int64_t seconds) {
  return system_clock::time_point(std::chrono::seconds(seconds));
}

template <class Integer>
std::optional<Integer> parse_integer(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "key: value" lines.
std::map<std::string, std::string, std::less<>> parse_lines(const std::string& text) {
  std::map<std::string, std::string, std::less<>> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(": ");
    if (colon != std::string::npos) values[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return values;
}

template <class Integer>
std::optional<Integer> number_at(const std::map<std::string, std::string, std::less<>>& values, std::string_view key) {
  const auto found = values.find(key);
  return found == values.end() ? std::nullopt : parse_integer<Integer>(found->second);
}

std::string meta_text(const Version& version) {
  std::string text = "version: " + std::to_string(version.number) +
                     "\nwhen: " + std::to_string(to_seconds(version.when)) + "\nwho: " + version.who + "\n";
  if (version.uid) text += "uid: " + std::to_string(*version.uid) + "\n";
  text += "comment: " + version.comment + "\nparent: " + std::to_string(version.parent) + "\n";
  if (version.reverts != 0) {
    text += "reverts: " + std::to_string(version.reverts) + "\nreason: " + version.reason + "\n";
  }
  return text + "hash: " + version.hash + "\n";
}

std::string version_name(std::uint64_t number) { return "version " + std::to_string(number); }

/// "0007.yaml" -> 7, for both extensions.
std::optional<std::uint64_t> number_of(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos || (name.substr(dot) != ".yaml" && name.substr(dot) != ".meta")) return std::nullopt;
  return parse_integer<std::uint64_t>(std::string_view(name).substr(0, dot));
}

/// What an interrupted `sys::write_file_atomically` leaves beside our files.
bool is_leftover(const std::string& name) {
  const auto dot = name.rfind('.');
  if (dot == std::string::npos || name.size() - dot != 7) return false;
  const std::string whole = name.substr(0, dot);
  return whole == "current" || number_of(whole).has_value();
}

}  // namespace

std::string_view to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::kCommitted:
      return "committed";
    case Outcome::kUnconfirmed:
      return "unconfirmed";
    case Outcome::kReverted:
      return "reverted";
  }
  return "unknown";
}

fs::path Store::file(std::uint64_t number, const char* extension) const {
  std::string digits = std::to_string(number);
  if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
  return directory_ / (digits + extension);
}

Result<Store> Store::open(fs::path directory, const WallClock& clock) {
  if (auto ok = sys::make_directories(directory.string(), 0700); !ok) return Unexpected(ok.error());
  Store store(std::move(directory), clock);
  store.load_pointer();
  std::error_code error;
  std::uint64_t newest = 0;
  std::vector<fs::path> rubbish;
  for (fs::directory_iterator entry(store.directory_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto number = number_of(name);
    if (number) newest = std::max(newest, *number);
    if (is_leftover(name) || (number && *number > store.current_)) rubbish.push_back(entry->path());
  }
  if (error) return fail(ErrorCode::kUnavailable, "cannot list " + store.directory_.string() + ": " + error.message());
  const std::string pointer = (store.directory_ / "current").string();
  if (!store.pointer_problem_ && store.current_ > newest) {
    store.pointer_problem_ = make_error(ErrorCode::kInvalidConfig,
                                        pointer + " names " + version_name(store.current_) + ", which is not there", {});
  } else if (!store.pointer_problem_ && store.pointer_text_.empty() && newest != 0) {
    store.pointer_problem_ = make_error(ErrorCode::kInvalidConfig, pointer + " is missing", {});
  }
  if (store.pointer_problem_) {
    store.current_ = newest;
    store.pending_.reset();
  } else if (store.current_ == 0 || store.load(store.current_)) {
    for (const auto& path : rubbish) fs::remove(path, error);
  }
  return store;
}

void Store::load_pointer() {
  std::error_code error;
  if (!fs::exists(directory_ / "current", error) && !error) return;
  if (auto read = read_pointer(); !read) pointer_problem_ = std::move(read.error());
}

Result<void> Store::read_pointer() {
  const fs::path path = directory_ / "current";
  auto text = sys::read_file(path.string(), kMaxMetaBytes);
  if (!text) return Unexpected(text.error());
  pointer_text_ = *text;
  const auto values = parse_lines(*text);
  const auto damaged = [&] { return fail(ErrorCode::kInvalidConfig, path.string() + " is damaged"); };
  const auto current = number_at<std::uint64_t>(values, "current");
  if (!current) return damaged();
  current_ = *current;
  if (values.contains("pending")) {
    const auto pending = number_at<std::uint64_t>(values, "pending");
    const auto reverts_to = number_at<std::uint64_t>(values, "reverts-to");
    const auto deadline = number_at<std::int64_t>(values, "deadline");
    // 9999-12-31: what still fits the clock's nanoseconds is far beyond.
    if (!pending || *pending != current_ || !reverts_to || !deadline || *deadline < 0 || *deadline > 9'000'000'000)
      return damaged();
    Pending probation;
    probation.number = *pending;
    probation.reverts_to = *reverts_to;
    probation.deadline = from_seconds(*deadline);
    const auto window = number_at<std::int64_t>(values, "window").value_or(kLongestWindow);
    if (window < 0 || window > kLongestWindow) return damaged();
    probation.window = std::chrono::seconds(window);
    const auto confirm = values.find("confirm");
    probation.confirm_required = confirm == values.end() || confirm->second != "no";
    if (const auto gates = values.find("gates"); gates != values.end()) probation.gates = split_words(gates->second);
    pending_ = std::move(probation);
    begin_probation();
  }
  return {};
}

Result<void> Store::store_pointer(std::uint64_t current, const std::optional<Pending>& pending) {
  std::string text = "current: " + std::to_string(current) + "\n";
  if (pending) {
    text += "pending: " + std::to_string(pending->number) + "\nreverts-to: " + std::to_string(pending->reverts_to) +
            "\ndeadline: " + std::to_string(to_seconds(pending->deadline)) +
            "\nwindow: " + std::to_string(pending->window.count()) +
            "\nconfirm: " + (pending->confirm_required ? "yes" : "no") + "\n";
    if (!pending->gates.empty()) {
      text += "gates:";
      for (const auto& gate : pending->gates) text += " " + gate;
      text += "\n";
    }
  }
  const std::string path = (directory_ / "current").string();
  if (auto ok = sys::write_file_atomically(path, text, 0600); !ok) {
    // The rename may have happened before the flush failed. Putting it back may fail the same way; then the disk holds
    // one whole state or the other, and both have their files.
    const auto found = sys::read_file(path, kMaxMetaBytes);
    if (found && *found == text && text != pointer_text_) {
      std::error_code ignored;
      if (pointer_text_.empty()) {
        fs::remove(path, ignored);
      } else {
        static_cast<void>(sys::write_file_atomically(path, pointer_text_, 0600));
      }
    }
    return ok;
  }
  pointer_text_ = text;
  pointer_problem_.reset();
  current_ = current;
  pending_ = pending;
  begin_probation();
  return {};
}

/// A machine without a battery for its clock may start in the past.
void Store::begin_probation() {
  if (!pending_) return;
  const auto left = pending_->deadline - clock_->now();
  steady_deadline_ = clock_->steady() + std::clamp<system_clock::duration>(left, {}, pending_->window);
}

Result<Version> Store::load_meta(std::uint64_t number) const {
  const auto text = sys::read_file(file(number, ".meta").string(), kMaxMetaBytes);
  if (!text)
    return fail(ErrorCode::kInvalidConfig, "there is no " + version_name(number),
                "`simplon config history` lists them");
  const auto values = parse_lines(*text);
  const auto stored = number_at<std::uint64_t>(values, "version");
  const auto when = number_at<std::int64_t>(values, "when");
  const auto parent = number_at<std::uint64_t>(values, "parent");
  const auto hash = values.find("hash");
  if (!stored || *stored != number || !when || *when < 0 || *when > 9'000'000'000 || !parent || hash == values.end()) {
    return fail(ErrorCode::kInvalidConfig, file(number, ".meta").string() + " is damaged");
  }
  const auto text_at = [&](std::string_view key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string() : found->second;
  };
  Version version;
  version.number = number;
  version.when = from_seconds(*when);
  version.who = text_at("who");
  version.comment = text_at("comment");
  version.hash = hash->second;
  version.parent = *parent;
  version.uid = number_at<std::uint32_t>(values, "uid");
  version.reverts = number_at<std::uint64_t>(values, "reverts").value_or(0);
  version.reason = text_at("reason");
  return version;
}

void Store::judge_outcome(Version& version) const {
  if (pending_ && pending_->number == version.number) {
    version.outcome = Outcome::kUnconfirmed;
  } else if (version.number < current_) {
    const auto next = load_meta(version.number + 1);
    if (!next || next->reverts != version.number) return;
    version.outcome = Outcome::kReverted;
    version.outcome_reason = next->reason;
  }
}

Version Store::next_version(const std::string& text, const Author& who, const std::string& comment,
                            std::uint64_t parent) const {
  Version version;
  version.number = current_ + 1;
  version.when = from_seconds(to_seconds(clock_->now()));
  version.who = one_line(who.name);
  version.uid = who.uid;
  version.comment = one_line(comment);
  version.hash = crypto::sha256_hex(text);
  version.parent = parent;
  return version;
}

Result<void> Store::store_files(const Version& version, const std::string& text) {
  if (auto ok = sys::write_file_atomically(file(version.number, ".yaml").string(), text, 0600); !ok) return ok;
  auto ok = sys::write_file_atomically(file(version.number, ".meta").string(), meta_text(version), 0600);
  if (!ok) remove_files(version.number, version.number);
  return ok;
}

void Store::remove_files(std::uint64_t first, std::uint64_t last) const noexcept {
  std::error_code ignored;
  for (std::uint64_t number = first; number <= last; ++number) {
    fs::remove(file(number, ".yaml"), ignored);
    fs::remove(file(number, ".meta"), ignored);
  }
}

std::vector<Version> Store::history() const {
  std::vector<Version> versions;
  const std::uint64_t oldest = current_ > kKeptVersions ? current_ - kKeptVersions : 1;
  for (std::uint64_t number = current_; number >= oldest && number > 0; --number) {
    auto version = load_meta(number);
    if (!version) continue;
    if (pending_ && pending_->number == number) version->outcome = Outcome::kUnconfirmed;
    if (!versions.empty() && versions.back().number == number + 1 && versions.back().reverts == number) {
      version->outcome = Outcome::kReverted;
      version->outcome_reason = versions.back().reason;
    }
    versions.push_back(std::move(*version));
  }
  return versions;
}

Result<StoredDocument> Store::load(std::uint64_t number) const {
  if (number == 0 || number > current_) {
    return fail(ErrorCode::kInvalidConfig, "there is no " + version_name(number),
                "`simplon config history` lists them");
  }
  auto version = load_meta(number);
  if (!version) return Unexpected(version.error());
  auto text = sys::read_file(file(number, ".yaml").string(), kMaxDocumentBytes);
  if (!text) return Unexpected(text.error());
  if (crypto::sha256_hex(*text) != version->hash) {
    return fail(ErrorCode::kInvalidConfig, file(number, ".yaml").string() + " does not match its hash",
                "it was changed by hand or by a fault of the disk");
  }
  judge_outcome(*version);
  return StoredDocument{std::move(*version), std::move(*text)};
}

std::string Store::way_out() const {
  const std::uint64_t oldest = current_ > kKeptVersions ? current_ - kKeptVersions : 1;
  for (std::uint64_t number = current_; number >= oldest && number > 0; --number) {
    if (load(number)) {
      return "simplon config undo " + std::to_string(number) + " takes " + version_name(number) + ", the newest that is whole";
    }
  }
  return "no version is whole: simplon apply FILE";
}

Result<StoredDocument> Store::load_current() const {
  if (pointer_problem_) {
    return fail(pointer_problem_->code, "nobody knows which version is current: " + pointer_problem_->what, way_out());
  }
  if (current_ == 0) return StoredDocument{};
  auto current = load(current_);
  if (!current) {
    return fail(current.error().code, "the current configuration is damaged: " + current.error().what, way_out());
  }
  return current;
}

Error Store::still_pending() const {
  return make_error(ErrorCode::kConflict, version_name(pending_ ? pending_->number : 0) + " still waits for its confirmation",
                    "first `simplon confirm` or `simplon config undo`");
}

Result<Store::Staged> Store::stage(const CommitRequest& request) {
  if (request.base_version && *request.base_version != current_) {
    return fail(ErrorCode::kConflict,
                "the configuration was changed meanwhile: you started from " + version_name(*request.base_version) +
                    ", now " + version_name(current_) + " is current",
                "look at `simplon config diff " + std::to_string(*request.base_version) + "`, then try again");
  }
  if (pending_) return Unexpected(still_pending());
  if (request.confirm_within && current_ != 0 && !load(current_)) {
    return fail(ErrorCode::kConflict, "there would be no way back: " + load(current_).error().what,
                "apply it without --confirm and --gate");
  }
  if (pointer_text_.empty() && !pointer_problem_) {
    if (auto ok = store_pointer(0, std::nullopt); !ok) return Unexpected(ok.error());
  }
  Staged staged;
  staged.first = current_ + 1;
  staged.window = request.confirm_within;
  staged.confirm_required = request.confirm_required;
  staged.gates = request.gates;
  staged.version = next_version(request.text, request.who, request.comment, current_);
  if (!request.history.empty()) {
    if (current_ != 0) {
      return fail(ErrorCode::kConflict, "a history can only begin an empty one, here " + version_name(current_) + " is current",
                  "leave the history out");
    }
    std::uint64_t number = 0;
    for (const auto& older : request.history) {
      Version version = older.version;
      for (std::string* words : {&version.who, &version.comment, &version.reason}) *words = one_line(*words);
      version.number = ++number;
      version.parent = number - 1;
      // Numbers of another history: what they pointed to may not be part of this one.
      version.reverts = version.reverts != 0 && number > 1 ? number - 1 : 0;
      version.hash = crypto::sha256_hex(older.text);
      if (auto ok = store_files(version, older.text); !ok) {
        remove_files(1, number);
        return Unexpected(ok.error());
      }
    }
    staged.version.number = number + 1;
    staged.version.parent = number;
  }
  if (auto ok = store_files(staged.version, request.text); !ok) {
    discard(staged);
    return Unexpected(ok.error());
  }
  return staged;
}

Result<Version> Store::commit(const Staged& staged) {
  const auto number = staged.version.number;
  std::optional<Pending> pending;
  if (staged.window) {
    Pending probation;
    probation.number = number;
    probation.reverts_to = current_;
    probation.deadline = from_seconds(to_seconds(clock_->now() + *staged.window));
    probation.window = *staged.window;
    probation.confirm_required = staged.confirm_required;
    probation.gates = staged.gates;
    pending = std::move(probation);
  }
  if (auto ok = store_pointer(number, pending); !ok) {
    discard(staged);
    return Unexpected(ok.error());
  }
  if (current_ > kKeptVersions) remove_files(current_ - kKeptVersions, current_ - kKeptVersions);
  Version version = staged.version;
  judge_outcome(version);
  return version;
}

void Store::discard(const Staged& staged) noexcept {
  if (staged.version.number <= current_) return;
  // A pointer that could not be put back still needs its files.
  const auto pointer = sys::read_file((directory_ / "current").string(), kMaxMetaBytes);
  if (pointer && number_at<std::uint64_t>(parse_lines(*pointer), "current") == staged.version.number) return;
  remove_files(staged.first, staged.version.number);
}

Result<Version> Store::commit(const CommitRequest& request) {
  const auto staged = stage(request);
  if (!staged) return Unexpected(staged.error());
  return commit(*staged);
}

Result<void> Store::may_confirm(std::optional<std::uint64_t> version) {
  if (version && (!pending_ || pending_->number != *version)) {
    return fail(ErrorCode::kConflict, version_name(*version) + " does not wait for a confirmation",
                pending_ ? version_name(pending_->number) + " does; what became of others: simplon config history"
                         : "what became of it: simplon config history");
  }
  if (!pending_)
    return fail(ErrorCode::kConflict, "there is nothing to confirm",
                "only `simplon apply --confirm SECONDS` waits for it");
  if (expired()) {
    return fail(ErrorCode::kConflict, "too late: the time to confirm " + version_name(pending_->number) + " is over",
                "apply it again");
  }
  return {};
}

Result<void> Store::confirm(std::optional<std::uint64_t> version) {
  if (auto ok = may_confirm(version); !ok) return ok;
  return store_pointer(current_, std::nullopt);
}

Result<StoredDocument> Store::undo_target(std::optional<std::uint64_t> to) const {
  const auto nothing = [] { return fail(ErrorCode::kConflict, "there is nothing to undo"); };
  if (current_ == 0) return nothing();
  if (to && *to == current_ && !pointer_problem_) {
    return fail(ErrorCode::kConflict, version_name(*to) + " is current already");
  }
  if (!to && pointer_problem_) {
    return fail(ErrorCode::kConflict, "nobody knows which version is current: " + pointer_problem_->what, way_out());
  }
  const auto current = load_meta(current_);
  if (!to && !pending_ && !current) return fail(current.error().code, current.error().what, way_out());
  if (!to && !pending_ && current->reverts != 0 && current->who == kItself && !current->uid) {
    return fail(ErrorCode::kConflict,
                version_name(current->reverts) + " is gone back from already, as " + version_name(current_) + ": " + current->reason,
                "to go further back, say where to: simplon config undo VERSION");
  }
  const std::uint64_t target = to.value_or(pending_ ? pending_->reverts_to : current ? current->parent : 0);
  if (target != 0) return load(target);
  if (current && current->hash == crypto::sha256_hex({})) return nothing();
  return StoredDocument{};
}

Result<Store::Staged> Store::stage_undo(const UndoRequest& request) {
  auto target = undo_target(request.to);
  if (!target) return Unexpected(target.error());
  if (pending_ && request.confirm_within) {
    // It would go back to what nobody has confirmed.
    return fail(ErrorCode::kConflict, version_name(pending_->number) + " is on probation: going back from it is not",
                "simplon config undo, without --confirm and --gate");
  }
  // What cannot be loaded is nothing to go back to, nor is what nobody has confirmed.
  const std::uint64_t kept = pending_ ? pending_->reverts_to : current_;
  const bool returns = request.to && !pointer_problem_ && (kept == 0 || load(kept));
  const std::uint64_t parent = returns ? kept : target->version.parent;
  std::string comment = target->version.number == 0 ? "undo: back to the empty configuration"
                                                    : "undo: back to " + version_name(target->version.number);
  if (!request.comment.empty()) comment += ": " + request.comment;
  Staged staged;
  staged.first = current_ + 1;
  staged.window = request.confirm_within;
  staged.confirm_required = request.confirm_required;
  staged.gates = request.gates;
  staged.version = next_version(target->text, request.who, comment, parent);
  if (pending_) {
    staged.version.reverts = pending_->number;
    staged.version.reason = one_line(request.reason.empty() ? "undone by " + request.who.name : request.reason);
  }
  if (auto ok = store_files(staged.version, target->text); !ok) return Unexpected(ok.error());
  return staged;
}

Result<Version> Store::undo(const Author& who, std::optional<std::uint64_t> to, const std::string& reason) {
  UndoRequest request;
  request.who = who;
  request.to = to;
  request.reason = reason;
  const auto staged = stage_undo(request);
  if (!staged) return Unexpected(staged.error());
  return commit(*staged);
}

bool Store::expired() {
  if (!pending_) return false;
  const auto left = steady_deadline_ - clock_->steady();
  // The calendar may have been set.
  pending_->deadline = clock_->now() + std::chrono::duration_cast<system_clock::duration>(left);
  return left <= MonoDuration::zero();
}

Result<std::optional<Version>> Store::revert_if_expired(const std::string& reason) {
  if (!expired()) return std::optional<Version>();
  auto version = undo(kItself, {}, reason.empty() ? "not confirmed in time" : reason);
  if (!version) return Unexpected(version.error());
  return std::optional<Version>(std::move(*version));
}

}  // namespace simplon::config
