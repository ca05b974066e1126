// SPDX-License-Identifier: GPL-2.0-or-later
//
// Each line proves itself (signature), its place (number) and the line before it (hash). One changed byte therefore is
// seen twice, by the signature of its own line and by the hash in the next one; the second is not reported, because it
// says nothing new. Lines that are missing at the end prove nothing: that is what the head is for.
//
// simplond may append and rotate meanwhile. A fault counts only if head and files are those that were read.

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "gateway/audit/audit_log.h"
#include "gateway/audit/src/signature.h"
#include "platform/crypto/sha256.h"
#include "platform/sys/file.h"

namespace simplon::audit {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLogBytes = 256U << 20;
constexpr std::size_t kMaxHeadBytes = 65536;
/// Chosen by us: a log that simplond rotates, or is in the middle of a line of, while it is read is read again.
constexpr int kMostReadings = 3;

struct Place {
  std::uint64_t number = 0;
  std::string prev;
};

template <class T>
std::optional<T> member(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return std::nullopt;
  } else {
    if (!found->is_number_unsigned()) return std::nullopt;
  }
  return found->get<T>();
}

std::optional<Place> read_place(std::string_view body) {
  const json object = json::parse(std::string(body) + "}", nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto number = member<std::uint64_t>(object, "seq");
  const auto prev = member<std::string>(object, "prev");
  if (!number || !prev) return std::nullopt;
  return Place{*number, *prev};
}

std::string entries(std::uint64_t from, std::uint64_t to) {
  if (from == to) return "entry " + std::to_string(from) + " is";
  return "entries " + std::to_string(from) + " to " + std::to_string(to) + " are";
}

class Checker {
 public:
  Checker(const Key& key, Verdict& verdict) : key_(key), verdict_(verdict) {}

  void check(const std::string& file, std::size_t number, std::string_view line) {
    const auto blame = [&](std::string what) { verdict_.faults.push_back({file, number, std::move(what)}); };
    ++verdict_.lines;
    const auto body = key_.open(kLineContext, line);
    const auto place = body ? read_place(*body) : std::nullopt;
    if (!place) {
      blame(body ? "this is not a line of an audit log" : "the line was changed: its signature is not valid");
      // Its number is what should have come; the next line cannot tell anything about it.
      if (expected_ != 0) {
        ++expected_;
      } else {
        ++leading_faults_;
      }
      after_fault_ = true;
      return;
    }
    if (expected_ == 0) {
      verdict_.first = place->number - std::min(leading_faults_, place->number - 1);
      if (place->number == 1 && place->prev != kNoHash) blame("the first entry of all refers to one before it");
    } else if (place->number > expected_) {
      blame(entries(expected_, place->number - 1) + " missing before this line");
    } else if (place->number < expected_) {
      blame("entry " + std::to_string(place->number) + " is here again, or out of order");
    } else if (place->prev != verdict_.last_hash && !after_fault_) {
      blame("the line before is not the one that this one was written after");
    }
    after_fault_ = false;
    expected_ = std::max(expected_, place->number + 1);
    verdict_.last = std::max(verdict_.last, place->number);
    verdict_.last_hash = crypto::sha256_hex(line);
    hash_at_[place->number % kRemembered] = {place->number, verdict_.last_hash};
  }

  void check_head(const std::string& file, Result<std::string> text, const std::string& log) {
    const auto blame = [&](const std::string& where, std::string what) {
      verdict_.faults.push_back({where, 0, std::move(what)});
    };
    if (!text) {
      blame(file, "the head cannot be read (" + text.error().what + "): entries cut off at the end would not be noticed");
      return;
    }
    if (!text->empty() && text->back() == '\n') text->pop_back();
    const auto body = key_.open(kHeadContext, *text);
    const json head = body ? json::parse(std::string(*body) + "}", nullptr, false) : json();
    const auto number = head.is_object() ? member<std::uint64_t>(head, "seq") : std::nullopt;
    const auto first = head.is_object() ? member<std::uint64_t>(head, "first") : std::nullopt;
    const auto hash = head.is_object() ? member<std::string>(head, "hash") : std::nullopt;
    if (!number || !first || !hash) {
      blame(file, "the head was changed: its signature is not valid");
      return;
    }
    if (verdict_.last < *number) {
      // A faulty last line is there, it is only not what it was.
      if (!(after_fault_ && expected_ == *number + 1)) {
        blame(log, entries(std::max(verdict_.last + 1, *first), *number) + " cut off at the end");
      }
    } else if (const auto& [at, seen] = hash_at_[*number % kRemembered];
               *number != 0 && at == *number && seen != *hash) {
      blame(log, "entry " + std::to_string(*number) + " is not the one that the head was written after");
    }
    if (verdict_.lines != 0 && verdict_.first > *first) {
      blame(log, entries(*first, verdict_.first - 1) + " missing at the beginning");
    }
  }

 private:
  /// A crash leaves the head a few entries behind.
  static constexpr std::size_t kRemembered = 4096;

  const Key& key_;
  Verdict& verdict_;
  std::uint64_t expected_ = 0;
  std::uint64_t leading_faults_ = 0;
  bool after_fault_ = false;
  std::vector<std::pair<std::uint64_t, std::string>> hash_at_ =
      std::vector<std::pair<std::uint64_t, std::string>>(kRemembered);
};

/// What there is to read. The head comes first: entries that are appended after it was read are no fault, as those that
/// a crash has kept out of the head are none.
struct Snapshot {
  Result<std::string> head;
  struct File {
    std::string path;
    ino_t inode = 0;
    off_t size = 0;
    friend bool operator==(const File&, const File&) = default;
  };
  std::vector<File> files;
};

Snapshot look(const std::string& log, const std::string& head) {
  Snapshot seen{sys::read_file(head, kMaxHeadBytes), {}};
  for (const auto& path : files_of(log)) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) seen.files.push_back({path, info.st_ino, info.st_size});
  }
  return seen;
}

bool same(const Snapshot& a, const Snapshot& b) {
  return a.head.value_or(std::string()) == b.head.value_or(std::string()) && a.files == b.files;
}

Result<Verdict> read_once(const VerifyOptions& options, const std::string& head, const Key& key, const Snapshot& seen) {
  Verdict verdict;
  Checker checker(key, verdict);
  for (const auto& [file, inode, size] : seen.files) {
    const auto text = sys::read_file(file, kMaxLogBytes);
    if (!text) return Unexpected(text.error());
    std::string_view rest = *text;
    for (std::size_t number = 1; !rest.empty(); ++number) {
      if (options.on_line) options.on_line(file, verdict.lines);
      const auto end = rest.find('\n');
      checker.check(file, number, rest.substr(0, end));
      if (end == std::string_view::npos) {
        verdict.faults.push_back({file, number, "the last line has no end"});
        break;
      }
      rest.remove_prefix(end + 1);
    }
  }
  checker.check_head(head, seen.head, options.log);
  return verdict;
}

}  // namespace

Result<Verdict> verify(const VerifyOptions& options) {
  const std::filesystem::path log(options.log);
  const auto beside = [&](const char* name) { return (log.parent_path() / name).string(); };
  const auto key = Key::load_public(options.key.empty() ? beside("audit.pub") : options.key);
  if (!key) return Unexpected(key.error());
  const std::string head = options.head.empty() ? beside("audit.head") : options.head;
  Snapshot seen = look(options.log, head);
  if (seen.files.empty()) {
    return fail(ErrorCode::kUnavailable, "there is no audit log " + options.log, "another one: --file PATH");
  }
  for (int reading = 1;; ++reading) {
    auto verdict = read_once(options, head, *key, seen);
    if ((verdict && verdict->sound()) || reading == kMostReadings) return verdict;
    Snapshot now = look(options.log, head);
    if (same(seen, now)) return verdict;
    seen = std::move(now);
  }
}

}  // namespace simplon::audit
