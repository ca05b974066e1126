// SPDX-License-Identifier: GPL-2.0-or-later
//
// An append is: the line (write, fdatasync), then the head (atomic). Killed in between, the log is a line ahead of its
// head, which the next start recognizes by the chain and catches up with. Killed in the middle of the line, the line has
// no end, nobody was ever told of it, and it is removed. Everything else that does not fit was not done by us. The log goes
// on after the last entry that the head vouches for, so that `verify` keeps finding the gap; without a head nobody knows
// what was cut off, and one number is left out. Either way the next entry says what was found.
//
// The first start writes the head before the key: a key without a head is one that lost it.
//
// Rotation. The first line of a new file follows the last one of the file before, and so may be ahead of the head as well.
// Before the oldest file is removed, the head says which entry is the oldest one from now on; so a removed file is either
// told by the head or missing.

#include "gateway/audit/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

#include "gateway/audit/denials.h"
#include "gateway/audit/src/signature.h"
#include "platform/base/utc.h"
#include "platform/crypto/sha256.h"
#include "platform/sys/file.h"
#include "platform/sys/unique_fd.h"

namespace simplon::audit {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t kMaxTextBytes = 2000;
constexpr std::size_t kMaxLogBytes = 256U << 20;
constexpr std::size_t kMaxHeadBytes = 65536;

std::string bounded(const std::string& text) {
  return text.size() <= kMaxTextBytes ? text : text.substr(0, kMaxTextBytes) + "...";
}

std::string_view without_end(std::string_view line) { return line.ends_with('\n') ? line.substr(0, line.size() - 1) : line; }

/// The object without its closing brace.
std::string open_body(const ordered_json& object) {
  std::string text = object.dump(-1, ' ', false, json::error_handler_t::replace);
  text.pop_back();
  return text;
}

std::uint64_t number_of(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return 0;
  const auto found = object.find("seq");
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::uint64_t first_number(const std::string& file) {
  const auto text = sys::read_file(file, kMaxLogBytes);
  if (!text) return 0;
  return number_of(std::string_view(*text).substr(0, text->find('\n')));
}

/// Whether there is a log that `key` cannot have signed: the key is gone, or another one lies in its place.
bool is_of_another_key(const fs::path& directory, bool has_key, const Key& key) {
  const auto known = Key::load_public((directory / "audit.pub").string());
  if (!has_key) return known.has_value() || !files_of((directory / "audit.log").string()).empty();
  const auto head = sys::read_file((directory / "audit.head").string(), kMaxHeadBytes);
  return known && head && !key.open(kHeadContext, without_end(*head)) && known->open(kHeadContext, without_end(*head));
}

/// Moves the log with its head and its public key to a directory where `simplon audit verify --file` can check it.
Result<std::string> set_aside(const fs::path& directory) {
  fs::path target;
  std::error_code error;
  for (int number = 1; target.empty() || fs::exists(target, error); ++number) {
    target = directory / ("audit.former." + std::to_string(number));
  }
  if (auto made = sys::make_directories(target.string(), 0700); !made) return Unexpected(made.error());
  std::vector<fs::path> moved;
  for (const auto& file : files_of((directory / "audit.log").string())) moved.emplace_back(file);
  for (const char* name : {"audit.head", "audit.pub"}) moved.push_back(directory / name);
  for (const auto& file : moved) {
    if (!fs::exists(file, error)) continue;
    if (::rename(file.c_str(), (target / file.filename()).c_str()) != 0) return fail_errno("cannot move " + file.string(), errno);
  }
  return target.string();
}

}  // namespace

struct Log::Impl {
  Impl(fs::path folder, Options chosen, Key loaded)
      : directory(std::move(folder)), options(std::move(chosen)), key(std::move(loaded)) {}

  [[nodiscard]] std::string path(const char* name) const { return (directory / name).string(); }

  [[nodiscard]] static Event finding(std::string detail) {
    Event made;
    made.who = "simplond";
    made.action = "audit";
    made.outcome = "refused";
    made.detail = std::move(detail);
    return made;
  }

  Result<void> store_head() {
    const ordered_json head = {{"audit_head", 1},
                               {"seq", sequence},
                               {"hash", hash},
                               {"first", first},
                               {"when", format_utc(options.now())}};
    return sys::write_file_atomically(path("audit.head"), key.seal(kHeadContext, open_body(head)) + "\n", 0600);
  }

  struct Head {
    std::uint64_t sequence = 0;
    std::string hash = kNoHash;
    std::uint64_t first = 1;
  };

  /// Nothing: it is missing, or not sealed with our key.
  Result<std::optional<Head>> read_head() const {
    std::error_code error;
    if (!fs::exists(path("audit.head"), error)) return std::optional<Head>();
    auto text = sys::read_file(path("audit.head"), kMaxHeadBytes);
    if (!text) return Unexpected(text.error());
    const auto body = key.open(kHeadContext, without_end(*text));
    if (!body) return std::optional<Head>();
    const json head = json::parse(std::string(*body) + "}", nullptr, false);
    if (!head.is_object() || !head.contains("seq") || !head.contains("hash") || !head.contains("first")) {
      return std::optional<Head>();
    }
    return std::optional<Head>(
        {head["seq"].get<std::uint64_t>(), head["hash"].get<std::string>(), head["first"].get<std::uint64_t>()});
  }

  /// Hash and number of the last whole line; removes what has no end.
  Result<void> load() {
    const auto files = files_of(path("audit.log"));
    const auto head = read_head();
    if (!head) return Unexpected(head.error());
    if (*head) {
      sequence = (*head)->sequence;
      hash = (*head)->hash;
      first = (*head)->first;
    }
    if (files.empty()) {
      if (!*head) to_note = "the log begins anew: there was neither an audit.log nor an audit.head";
      if (sequence != 0) complain("the audit log is gone, its head is at entry " + std::to_string(sequence));
      return {};
    }
    auto text = sys::read_file(files.back(), kMaxLogBytes);
    if (!text) return Unexpected(text.error());
    const auto end = text->rfind('\n');
    const std::size_t whole = end == std::string::npos ? 0 : end + 1;
    if (whole != text->size() && files.back() == path("audit.log")) {
      if (::truncate(files.back().c_str(), static_cast<off_t>(whole)) != 0) {
        return fail_errno("cannot shorten " + files.back(), errno);
      }
      text->resize(whole);
    }
    size = files.back() == path("audit.log") ? text->size() : 0;
    bool found = sequence == 0;
    const auto follow = [&](std::string_view rest) {
      while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        const auto number = number_of(line);
        const std::string now = crypto::sha256_hex(line);
        if (*head && number == (*head)->sequence && now == (*head)->hash) {
          found = true;
        } else if ((!*head || (found && number == sequence + 1)) && key.open(kLineContext, line)) {
          // Written, but the head did not learn of it; or there is no head to ask.
          sequence = number;
          hash = now;
        }
      }
    };
    // The head may name a line of the file before: killed after a rotation and before the head was written again.
    if (files.size() > 1) follow(sys::read_file(files[files.size() - 2], kMaxLogBytes).value_or(std::string()));
    follow(*text);
    if (!*head) {
      first = std::max<std::uint64_t>(first_number(files.front()), 1);
      complain(path("audit.head") + " is missing or was changed: entries after " + std::to_string(sequence) +
               " may be gone, and none has number " + std::to_string(sequence + 1));
      ++sequence;
    } else if (!found) {
      complain("the audit log does not contain entry " + std::to_string((*head)->sequence) + ", which its head names");
    }
    return {};
  }

  void complain(std::string what) {
    spdlog::error("audit: {}", what);
    to_note = what;
    damage = make_error(ErrorCode::kConflict, std::move(what), "simplon audit verify tells where; keep a copy of " + directory.string());
  }

  Result<void> rotate() {
    auto files = files_of(path("audit.log"));
    if (files.size() > options.kept_files) {
      if (const auto oldest = files.size() > 1 ? first_number(files[1]) : 0; oldest != 0) first = oldest;
      if (auto ok = store_head(); !ok) return ok;
      std::error_code ignored;
      fs::remove(files.front(), ignored);
      files.erase(files.begin());
    }
    // Oldest first: the highest number makes room.
    for (std::size_t i = 0; i < files.size(); ++i) {
      const std::string to = path("audit.log") + "." + std::to_string(files.size() - i);
      if (::rename(files[i].c_str(), to.c_str()) != 0) return fail_errno("cannot rename " + files[i], errno);
    }
    size = 0;
    return {};
  }

  Result<void> write(const Event& event, std::chrono::system_clock::time_point when) {
    ordered_json entry = {{"audit", 1},
                          {"seq", sequence + 1},
                          {"when", format_utc(when)},
                          {"who", bounded(event.who)},
                          {"uid", nullptr},
                          {"action", bounded(event.action)},
                          {"outcome", event.outcome},
                          {"version", event.version},
                          {"subject", bounded(event.subject)},
                          {"detail", bounded(event.detail)},
                          {"prev", hash}};
    if (event.uid) entry["uid"] = *event.uid;
    const std::string line = key.seal(kLineContext, open_body(entry));
    if (size != 0 && size + line.size() + 1 > options.max_file_bytes) {
      if (auto ok = rotate(); !ok) return ok;
    }
    const std::string file = path("audit.log");
    const sys::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid()) return fail_errno("cannot open " + file, errno);
    if (auto ok = sys::append_durably(fd.get(), line + "\n", file); !ok) return ok;
    size += line.size() + 1;
    ++sequence;
    hash = crypto::sha256_hex(line);
    spdlog::info("audit {} {}: {} {}by {}: {}", sequence, hash.substr(0, 16), event.action,
                 event.subject.empty() ? "" : event.subject + " ", event.who, event.outcome);
    return store_head();
  }

  Result<void> write_waiting() {
    while (!waiting.empty() || given_up != 0) {
      if (waiting.empty()) {
        const auto lost = std::exchange(given_up, 0);
        waiting.emplace_back(options.now(),
                             finding(std::to_string(lost) + " entries were given up while the log could not be written"));
      }
      const auto before = sequence;
      const auto written = write(waiting.front().second, waiting.front().first);
      // The line may be there although the head is not.
      if (sequence != before) waiting.pop_front();
      if (!written) {
        if (!unwritten) spdlog::error("audit: {}", written.error().message());
        const std::string what = waiting.empty() ? std::string("the head of the audit log is behind")
                                                 : std::to_string(waiting.size()) + " entries are not in the audit log yet";
        unwritten = make_error(written.error().code, what + ": " + written.error().what, written.error().hint);
        return written;
      }
    }
    unwritten.reset();
    return {};
  }

  fs::path directory;
  Options options;
  Key key;
  std::uint64_t sequence = 0;
  std::uint64_t first = 1;
  std::string hash = kNoHash;
  std::size_t size = 0;
  std::deque<std::pair<std::chrono::system_clock::time_point, Event>> waiting;
  /// Of those waiting, since the last that was written.
  std::size_t given_up = 0;
  /// What the next entry has to say of the log itself.
  std::string to_note;
  std::optional<Error> damage;
  std::optional<Error> unwritten;
};

Result<std::unique_ptr<Log>> Log::open(fs::path directory, Options options) {
  if (auto ok = sys::make_directories(directory.string(), 0700); !ok) return Unexpected(ok.error());
  const std::string private_file = (directory / "audit.key").string();
  const std::string public_file = (directory / "audit.pub").string();
  std::error_code error;
  const bool has_key = fs::exists(private_file, error);
  auto key = has_key ? Key::load_private(private_file) : Result<Key>(Key::generate());
  if (!key) return Unexpected(key.error());
  std::string former;
  if (is_of_another_key(directory, has_key, *key)) {
    auto moved = set_aside(directory);
    if (!moved) return Unexpected(moved.error());
    former = *std::move(moved);
  }
  auto impl = std::make_unique<Impl>(std::move(directory), std::move(options), *std::move(key));
  if (!has_key || !former.empty()) {
    if (auto stored = impl->store_head(); !stored) return Unexpected(stored.error());
  }
  if (!has_key) {
    std::string pem = impl->key.private_pem();
    const auto stored = sys::write_file_atomically(private_file, pem, 0600);
    sys::wipe(pem);
    if (!stored) return Unexpected(stored.error());
  }
  const std::string public_pem = impl->key.public_pem();
  if (const auto known = sys::read_file(public_file, 16384); !known || *known != public_pem) {
    if (auto stored = sys::write_file_atomically(public_file, public_pem, 0644); !stored) {
      return Unexpected(stored.error());
    }
  }
  if (auto loaded = impl->load(); !loaded) return Unexpected(loaded.error());
  if (!former.empty()) impl->complain("audit.key is not the one that the log was signed with; the log is in " + former + ", a new one begins");
  std::unique_ptr<Log> log(new Log(std::move(impl)));
  if (auto& found = log->impl_->to_note; !found.empty()) {
    // What cannot be written now waits, as every entry does.
    (void)log->append(log->impl_->finding(std::exchange(found, {})));
  }
  return log;
}

Log::Log(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Log::~Log() = default;

namespace {

std::string words_of(const Event& event) {
  return event.action + " " + (event.subject.empty() ? "" : event.subject + " ") + "by " + event.who + ": " + event.outcome +
         (event.detail.empty() ? "" : ", " + event.detail);
}

}  // namespace

Result<void> Log::append(Event event) {
  impl_->waiting.emplace_back(impl_->options.now(), std::move(event));
  if (impl_->waiting.size() > impl_->options.max_waiting) {
    const auto denied = std::find_if(impl_->waiting.begin(), impl_->waiting.end(),
                                     [](const auto& one) { return one.second.action == kDeniedAction; });
    const auto given_up = denied == impl_->waiting.end() ? impl_->waiting.begin() : denied;
    spdlog::error("audit: given up: {}", words_of(given_up->second));
    impl_->waiting.erase(given_up);
    ++impl_->given_up;
  }
  auto written = impl_->write_waiting();
  // The journal has it, if we end before there is room.
  if (!written && !impl_->waiting.empty()) spdlog::error("audit: not written yet: {}", words_of(impl_->waiting.back().second));
  return written;
}

Result<void> Log::catch_up() {
  if (!impl_->unwritten) return {};
  if (auto ok = impl_->waiting.empty() ? impl_->store_head() : impl_->write_waiting(); !ok) return ok;
  impl_->unwritten.reset();
  spdlog::info("audit: caught up at entry {}", impl_->sequence);
  return {};
}

const std::optional<Error>& Log::problem() const noexcept {
  return impl_->unwritten ? impl_->unwritten : impl_->damage;
}
std::uint64_t Log::sequence() const noexcept { return impl_->sequence; }
const std::string& Log::hash() const noexcept { return impl_->hash; }

std::vector<std::string> Log::tail(std::size_t lines) const {
  std::vector<std::string> found;
  auto files = files_of(impl_->path("audit.log"));
  for (auto file = files.rbegin(); file != files.rend() && found.size() < lines; ++file) {
    const auto text = sys::read_file(*file, kMaxLogBytes);
    if (!text) continue;
    std::string_view rest = *text;
    while (!rest.empty() && found.size() < lines) {
      rest.remove_suffix(rest.back() == '\n' ? 1 : 0);
      const auto start = rest.rfind('\n');
      const std::string_view line = start == std::string_view::npos ? rest : rest.substr(start + 1);
      if (!line.empty()) found.emplace_back(line);
      rest = start == std::string_view::npos ? std::string_view{} : rest.substr(0, start + 1);
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

}  // namespace simplon::audit
