// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/secret.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/sys/file.h"

namespace simplon::config {
namespace {

std::string octal(mode_t mode) {
  std::string text = "0000";
  for (std::size_t i = 0; i < 4; ++i) text[3 - i] = static_cast<char>('0' + ((mode >> (3 * i)) & 7));
  return text;
}

}  // namespace

Result<void> check_secret_file(const std::string& path) {
  constexpr off_t kMaxSecretBytes = 4096;
  if (!path.starts_with('/')) {
    return fail(ErrorCode::kInvalidConfig, "'" + path + "' is not an absolute path", "simplond needs the path from /");
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT) {
      return fail(ErrorCode::kInvalidConfig, path + " does not exist", "create it: install -m 600 -o " + sys::own_user_name() + " /dev/null " + path);
    }
    return fail(ErrorCode::kInvalidConfig, "cannot look at " + path + ": " + std::strerror(error),
                error == EACCES ? "keep keys in /etc/simplon: its folder is closed to user " + sys::own_user_name() : "");
  }
  if (S_ISLNK(info.st_mode)) {
    return fail(ErrorCode::kInvalidConfig, path + " is a symbolic link", "name the file itself");
  }
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kInvalidConfig, path + " is not a regular file");
  if ((info.st_mode & 077) != 0) {
    const bool world = (info.st_mode & 07) != 0;
    return fail(
        ErrorCode::kInvalidConfig,
        path + " is open to " + (world ? "everybody" : "its group") + " (mode " + octal(info.st_mode & 07777) + ")",
        "chmod 0600 " + path);
  }
  if (::access(path.c_str(), R_OK) != 0) {
    const int error = errno;
    return fail(ErrorCode::kInvalidConfig, path + " cannot be read by simplond: " + std::strerror(error),
                "chown " + sys::own_user_name() + " " + path);
  }
  if (info.st_size == 0) return fail(ErrorCode::kInvalidConfig, path + " is empty", "write the key into it");
  if (info.st_size > kMaxSecretBytes) {
    return fail(ErrorCode::kInvalidConfig, path + " has " + std::to_string(info.st_size) + " bytes",
                "a key has at most 4096");
  }
  return {};
}

}  // namespace simplon::config
