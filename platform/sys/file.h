// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "platform/base/result.h"

namespace simplon::sys {

/// Replaces `path` so that after a crash it holds either the old or the new content: temporary file beside it, fsync, rename,
/// fsync of the directory. Mode is exactly `mode`.
/// Errors: kExhausted when the disk is full, kUnavailable otherwise; `path` is untouched then, except when only the flush of the
/// directory failed: it may hold either content then.
[[nodiscard]] Result<void> write_file_atomically(const std::string& path, std::string_view content, mode_t mode);

/// Appends to `fd` (O_APPEND) and flushes. When it fails, the file has its former length again. `path` is for the error. Errors: as of
/// `write_file_atomically`.
[[nodiscard]] Result<void> append_durably(int fd, std::string_view content, const std::string& path);

/// What `fd` gives up to its end, a socket or a pipe too. `name` is for the error. Errors: as of `read_file`.
[[nodiscard]] Result<std::string> read_all(int fd, const std::string& name, std::size_t max_bytes);

/// The whole file. Errors: kUnavailable (errno text, e.g. no such file); kInvalidConfig if longer than `max_bytes`.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

/// A key or password: a regular file (no link followed), at most 4096 bytes, not readable or writable by group or others. One
/// trailing newline is removed. Errors: kInvalidConfig with the remedy; kUnavailable if it cannot be opened.
[[nodiscard]] Result<std::string> read_secret_file(const std::string& path);

/// Of our effective user, or its number: for hints.
[[nodiscard]] std::string own_user_name();

/// mkdir -p with `mode` for what it creates. Errors: kUnavailable.
[[nodiscard]] Result<void> make_directories(const std::string& path, mode_t mode);

/// Overwrites the characters in a way the compiler keeps, then clears the string.
void wipe(std::string& secret) noexcept;

}  // namespace simplon::sys
