// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/store.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

#include "gateway/config/document.h"
#include "platform/sys/file.h"

// A commit writes NNNN.yaml, then NNNN.meta, then `current`; each by temporary file, fsync and rename. Only the last
// step makes the version visible, and it carries the probation in the same file, so there is no point in time at which
// a version is current but its deadline is not on disk. Versions above the one that `current` names were never visible:
// they are what a crash left, and `open` removes them. Numbers therefore have no gaps and history only grows.
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

std::string sha256(const std::string& text) {
  std::array<unsigned char, 32> digest{};
  unsigned length = 0;
  SIMPLON_CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (const unsigned char byte : digest) {
    constexpr char kHex[] = "0123456789abcdef";
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

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

fs::path Store::file(std::uint64_t number, const char* extension) const {
  std::string digits = std::to_string(number);
  if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
  return directory_ / (digits + extension);
}

Result<Store> Store::open(fs::path directory, const WallClock& clock) {
  if (auto ok = sys::make_directories(directory.string(), 0700); !ok) return Unexpected(ok.error());
  Store store(std::move(directory), clock);
  if (auto ok = store.load_pointer(); !ok) return Unexpected(ok.error());
  std::error_code error;
  std::vector<fs::path> rubbish;
  for (fs::directory_iterator entry(store.directory_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto number = number_of(name);
    if (is_leftover(name) || (number && *number > store.current_)) rubbish.push_back(entry->path());
  }
  if (error) return fail(ErrorCode::kUnavailable, "cannot list " + store.directory_.string() + ": " + error.message());
  for (const auto& path : rubbish) fs::remove(path, error);
  if (store.current_ != 0) {
    if (auto current = store.load(store.current_); !current) {
      return fail(ErrorCode::kInvalidConfig, "the current configuration is damaged: " + current.error().what,
                  "restore " + store.file(store.current_, ".yaml").string() + " from a backup, or remove " +
                      (store.directory_ / "current").string() + " to start without a configuration");
    }
  }
  return store;
}

Result<void> Store::load_pointer() {
  const fs::path path = directory_ / "current";
  std::error_code error;
  if (!fs::exists(path, error) && !error) return {};
  auto text = sys::read_file(path.string(), kMaxMetaBytes);
  if (!text) return Unexpected(text.error());
  const auto values = parse_lines(*text);
  const auto damaged = [&] {
    return fail(ErrorCode::kInvalidConfig, path.string() + " is damaged", "remove it to start without a configuration");
  };
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
    pending_ = Pending{*pending, *reverts_to, from_seconds(*deadline)};
  }
  return {};
}

Result<void> Store::store_pointer(std::uint64_t current, const std::optional<Pending>& pending) {
  std::string text = "current: " + std::to_string(current) + "\n";
  if (pending) {
    text += "pending: " + std::to_string(pending->number) + "\nreverts-to: " + std::to_string(pending->reverts_to) +
            "\ndeadline: " + std::to_string(to_seconds(pending->deadline)) + "\n";
  }
  if (auto ok = sys::write_file_atomically((directory_ / "current").string(), text, 0600); !ok) return ok;
  current_ = current;
  pending_ = pending;
  return {};
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
  return Version{number, from_seconds(*when), text_at("who"), text_at("comment"), hash->second, *parent};
}

Result<Version> Store::store_version(const std::string& text, const std::string& who, const std::string& comment,
                                     std::uint64_t parent) {
  const Version version{
      current_ + 1, from_seconds(to_seconds(clock_->now())), one_line(who), one_line(comment), sha256(text), parent};
  const std::string meta = "version: " + std::to_string(version.number) +
                           "\nwhen: " + std::to_string(to_seconds(version.when)) + "\nwho: " + version.who +
                           "\ncomment: " + version.comment + "\nparent: " + std::to_string(parent) +
                           "\nhash: " + version.hash + "\n";
  if (auto ok = sys::write_file_atomically(file(version.number, ".yaml").string(), text, 0600); !ok)
    return Unexpected(ok.error());
  if (auto ok = sys::write_file_atomically(file(version.number, ".meta").string(), meta, 0600); !ok) {
    std::error_code ignored;
    fs::remove(file(version.number, ".yaml"), ignored);
    return Unexpected(ok.error());
  }
  return version;
}

std::vector<Version> Store::history() const {
  std::vector<Version> versions;
  const std::uint64_t oldest = current_ > kKeptVersions ? current_ - kKeptVersions : 1;
  for (std::uint64_t number = current_; number >= oldest && number > 0; --number) {
    if (auto version = load_meta(number)) versions.push_back(std::move(*version));
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
  if (sha256(*text) != version->hash) {
    return fail(ErrorCode::kInvalidConfig, file(number, ".yaml").string() + " does not match its hash",
                "it was changed by hand or by a fault of the disk");
  }
  return StoredDocument{std::move(*version), std::move(*text)};
}

Result<StoredDocument> Store::load_current() const {
  if (current_ == 0) return StoredDocument{};
  return load(current_);
}

Result<Version> Store::commit(const CommitRequest& request) {
  if (request.base_version && *request.base_version != current_) {
    return fail(ErrorCode::kConflict,
                "the configuration was changed meanwhile: you started from " + version_name(*request.base_version) +
                    ", now " + version_name(current_) + " is current",
                "look at `simplon config diff " + std::to_string(*request.base_version) + "`, then try again");
  }
  if (pending_) {
    return fail(ErrorCode::kConflict, version_name(pending_->number) + " still waits for its confirmation",
                "first `simplon confirm` or `simplon config undo`");
  }
  auto version = store_version(request.text, request.who, request.comment, current_);
  if (!version) return version;
  std::optional<Pending> pending;
  if (request.confirm_within) {
    pending = Pending{version->number, current_, from_seconds(to_seconds(clock_->now() + *request.confirm_within))};
  }
  if (auto ok = store_pointer(version->number, pending); !ok) {
    std::error_code ignored;
    fs::remove(file(version->number, ".yaml"), ignored);
    fs::remove(file(version->number, ".meta"), ignored);
    return Unexpected(ok.error());
  }
  if (current_ > kKeptVersions) {
    std::error_code ignored;
    fs::remove(file(current_ - kKeptVersions, ".yaml"), ignored);
    fs::remove(file(current_ - kKeptVersions, ".meta"), ignored);
  }
  return version;
}

Result<void> Store::confirm() {
  if (!pending_)
    return fail(ErrorCode::kConflict, "there is nothing to confirm",
                "only `simplon apply --confirm SECONDS` waits for it");
  if (clock_->now() >= pending_->deadline) {
    return fail(ErrorCode::kConflict, "too late: the time to confirm " + version_name(pending_->number) + " is over",
                "apply it again");
  }
  return store_pointer(current_, std::nullopt);
}

Result<StoredDocument> Store::undo_target(std::optional<std::uint64_t> to) const {
  const auto nothing = [] { return fail(ErrorCode::kConflict, "there is nothing to undo"); };
  if (current_ == 0) return nothing();
  if (to && *to == current_) return fail(ErrorCode::kConflict, version_name(*to) + " is current already");
  auto current = load_meta(current_);
  if (!current) return Unexpected(current.error());
  const std::uint64_t target = to.value_or(pending_ ? pending_->reverts_to : current->parent);
  if (target != 0) return load(target);
  if (current->hash == sha256({})) return nothing();
  return StoredDocument{};
}

Result<Version> Store::undo(const std::string& who, std::optional<std::uint64_t> to) {
  auto target = undo_target(to);
  if (!target) return Unexpected(target.error());
  const std::uint64_t parent = to ? current_ : target->version.parent;
  const std::string comment = target->version.number == 0 ? "undo: back to the empty configuration"
                                                          : "undo: back to " + version_name(target->version.number);
  auto version = store_version(target->text, who, comment, parent);
  if (!version) return version;
  if (auto ok = store_pointer(version->number, std::nullopt); !ok) return Unexpected(ok.error());
  return version;
}

Result<std::optional<Version>> Store::revert_if_expired() {
  if (!pending_ || clock_->now() < pending_->deadline) return std::optional<Version>();
  auto version = undo("simplond (not confirmed in time)");
  if (!version) return Unexpected(version.error());
  return std::optional<Version>(std::move(*version));
}

}  // namespace simplon::config
