// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/file.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "platform/sys/unique_fd.h"

namespace simplon::sys {
namespace {

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// What an operator can do about a disk that does not take a file.
Unexpected fail_write(std::string what, int errnum) {
  if (errnum == ENOSPC || errnum == EDQUOT) {
    return fail(ErrorCode::kExhausted, what + ": the disk is full", "free some space there (df -h, df -i) and try again");
  }
  if (errnum == EIO) return fail_errno(std::move(what), errnum, "the disk has a fault: dmesg tells more");
  if (errnum == EROFS) return fail_errno(std::move(what), errnum, "mount it writable again; dmesg may tell why");
  return fail_errno(std::move(what), errnum);
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return fail_write("cannot write " + path, errno);
    }
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

Result<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return fail_write("cannot create a file beside " + path, errno);
  const auto abandon = [&](Unexpected why) -> Result<void> {
    ::unlink(temporary.c_str());
    return why;
  };
  if (auto ok = write_all(fd.get(), content, path); !ok) return abandon(Unexpected(ok.error()));
  if (::fchmod(fd.get(), mode) != 0) return abandon(fail_errno("cannot set the mode of " + path, errno));
  if (::fsync(fd.get()) != 0) return abandon(fail_write("cannot flush " + path, errno));
  fd.reset();
  if (::rename(temporary.c_str(), path.c_str()) != 0) return abandon(fail_write("cannot replace " + path, errno));
  const UniqueFd directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) {
    return fail_write("cannot flush the directory of " + path, errno);
  }
  return {};
}

Result<void> append_durably(int fd, std::string_view content, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return fail_errno("cannot inspect " + path, errno);
  auto written = write_all(fd, content, path);
  if (written && ::fdatasync(fd) != 0) written = fail_write("cannot flush " + path, errno);
  if (!written) static_cast<void>(::ftruncate(fd, info.st_size) == 0);
  return written;
}

Result<std::string> read_all(int fd, const std::string& name, std::size_t max_bytes) {
  std::string content;
  char chunk[16384];
  for (;;) {
    const ssize_t got = ::read(fd, chunk, sizeof chunk);
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail_errno("cannot read " + name, errno);
    }
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > max_bytes) {
      return fail(ErrorCode::kInvalidConfig, name + " is longer than " + std::to_string(max_bytes) + " bytes");
    }
    content.append(chunk, static_cast<std::size_t>(got));
  }
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("cannot open " + path, errno);
  return read_all(fd.get(), path, max_bytes);
}

Result<std::string> read_secret_file(const std::string& path) {
  // Non-blocking, so that a FIFO in its place is refused instead of waited for.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    const int error = errno;
    if (error == ELOOP) {
      return fail(ErrorCode::kInvalidConfig, "secret file " + path + " is a symbolic link", "name the file itself");
    }
    return fail_errno("cannot open secret file " + path, error,
                      error == EACCES ? "chown " + own_user_name() + " " + path : "");
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("cannot inspect secret file " + path, errno);
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kInvalidConfig, "secret file " + path + " is not a regular file");
  }
  if ((info.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777U);
    return fail(ErrorCode::kInvalidConfig, "secret file " + path + " is open to others (mode " + mode + ")",
                "chmod 600 " + path);
  }
  auto content = read_all(fd.get(), path, 4096);
  if (!content) return content;
  if (!content->empty() && content->back() == '\n') content->pop_back();
  if (content->empty()) return fail(ErrorCode::kInvalidConfig, "secret file " + path + " is empty");
  return content;
}

Result<void> make_directories(const std::string& path, mode_t mode) {
  for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (!part.empty() && ::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return fail_errno("cannot create directory " + part, errno);
    }
    if (at == std::string::npos) break;
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::kUnavailable, path + " is not a directory");
  }
  return {};
}

std::string own_user_name() {
  std::array<char, 4096> space;
  struct passwd entry {};
  struct passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return std::to_string(::geteuid());
}

void wipe(std::string& secret) noexcept {
  ::explicit_bzero(secret.data(), secret.capacity());
  secret.clear();
}

}  // namespace simplon::sys
