// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/secret_swap.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <system_error>

#include "platform/base/hex.h"
#include "platform/sys/file.h"

// simplond writes these files because somebody asked who may not: so they go into one folder, under plain names, and
// nowhere else; and of what is there, only private files are replaced: no settings of a daemon.

namespace simplon::config {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMaxJournalBytes = 256U << 20;
constexpr std::size_t kMaxSecretBytes = 4096;

Result<void> check(const std::string& folder, const std::string& path, const std::string& content) {
  const fs::path file(path);
  const std::string name = file.filename().string();
  const bool plain = !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
  if (!plain || path != folder + "/" + name) {
    return fail(ErrorCode::kInvalidConfig, "secret file " + path + " is not directly in " + folder,
                "put it there by hand and import an archive without secrets, or start simplond with another --secrets-dir");
  }
  if (content.empty() || content.size() > kMaxSecretBytes || content.find('\0') != std::string::npos) {
    return fail(ErrorCode::kInvalidConfig, "the secret for " + path + " is empty or too long", "1 to 4096 bytes");
  }
  std::error_code error;
  const auto status = fs::symlink_status(file, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return fail(ErrorCode::kInvalidConfig, path + " is not a regular file", "remove it first");
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return fail(ErrorCode::kInvalidConfig, path + " is there and is no secret: others than its owner may use it",
                "if it is a key: chmod 0600 " + path);
  }
  return {};
}

Result<std::optional<std::string>> content_of(const std::string& path) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return std::optional<std::string>();
  auto text = sys::read_file(path, 1U << 20);
  if (!text) return Unexpected(text.error());
  return std::optional<std::string>(*std::move(text));
}

}  // namespace

Result<std::map<std::string, bool>> SecretSwap::inspect(const std::string& folder,
                                                        const std::map<std::string, std::string>& secrets) {
  std::map<std::string, bool> changes;
  for (const auto& [path, content] : secrets) {
    if (auto ok = check(folder, path, content); !ok) return Unexpected(ok.error());
    const auto former = content_of(path);
    if (!former) return Unexpected(former.error());
    changes[path] = *former && **former != content && **former != content + "\n";
  }
  return changes;
}

Result<SecretSwap> SecretSwap::begin(const fs::path& state_directory, const std::string& folder,
                                     std::uint64_t current_version, const std::map<std::string, std::string>& secrets) {
  std::map<std::string, std::optional<std::string>> former;
  json journal = {{"current_version", current_version}, {"files", json::object()}};
  for (const auto& [path, content] : secrets) {
    if (auto ok = check(folder, path, content); !ok) return Unexpected(ok.error());
    auto before = content_of(path);
    if (!before) return Unexpected(before.error());
    journal["files"][path] = *before ? json(to_hex(**before)) : json(nullptr);
    former.emplace(path, *std::move(before));
  }
  SecretSwap swap((state_directory / "import.journal").string(), std::move(former));
  if (auto ok = sys::make_directories(folder, 0755); !ok) return Unexpected(ok.error());
  if (auto ok = sys::write_file_atomically(swap.journal_, journal.dump(-1, ' ', false, json::error_handler_t::replace), 0600);
      !ok) {
    return Unexpected(ok.error());
  }
  for (const auto& [path, content] : secrets) {
    if (auto ok = sys::write_file_atomically(path, content + "\n", 0600); !ok) {
      const Error error = ok.error();
      static_cast<void>(swap.go_back());
      return Unexpected(error);
    }
  }
  return swap;
}

void SecretSwap::keep() noexcept {
  std::error_code ignored;
  fs::remove(journal_, ignored);
}

Result<void> SecretSwap::go_back() {
  Result<void> result;
  for (const auto& [path, content] : former_) {
    std::error_code error;
    if (!content) {
      fs::remove(path, error);
    } else if (auto ok = sys::write_file_atomically(path, *content, 0600); !ok) {
      result = ok;
    }
  }
  // Otherwise `recover` tries again.
  if (result) keep();
  return result;
}

Result<bool> SecretSwap::recover(const fs::path& state_directory, std::uint64_t current_version) {
  const std::string path = (state_directory / "import.journal").string();
  std::error_code error;
  if (!fs::exists(path, error)) return false;
  const auto text = sys::read_file(path, kMaxJournalBytes);
  if (!text) return Unexpected(text.error());
  const json journal = json::parse(*text, nullptr, false);
  const bool sane = journal.is_object() && journal.contains("current_version") && journal.contains("files") &&
                    journal["current_version"].is_number_unsigned() && journal["files"].is_object();
  if (!sane) return fail(ErrorCode::kInvalidConfig, path + " is damaged", "remove it; secret files may be those of an import");
  std::map<std::string, std::optional<std::string>> former;
  for (const auto& [file, content] : journal["files"].items()) {
    former[file] = content.is_string() ? from_hex<std::string>(content.get<std::string>()) : std::nullopt;
  }
  SecretSwap swap(path, std::move(former));
  if (journal["current_version"].get<std::uint64_t>() != current_version) {
    swap.keep();  // the import was committed
    return false;
  }
  if (auto back = swap.go_back(); !back) {
    return fail(back.error().code, "the secret files of before an import cannot be put back: " + back.error().what, back.error().hint);
  }
  return true;
}

}  // namespace simplon::config
