// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace simplon {

/// Who must act on an error.
enum class ErrorCode : std::uint8_t {
  kInvalidConfig,  ///< The operator: what was asked for is not valid.
  kConflict,       ///< The operator: valid alone, but not beside what exists.
  kPeer,           ///< The other end: it refused or broke the protocol.
  kUnavailable,    ///< Nobody yet: a process or resource is away; the only code that is retried.
  kExhausted,      ///< The operator: a limit of this machine was reached.
  kBug,            ///< Us.
};

[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;

/// What went wrong (`what`, naming the offending value) and what to do next (`hint`, or empty).
struct Error {
  ErrorCode code = ErrorCode::kBug;
  std::string what;
  std::string hint;

  /// "what (hint)" for logs and one-line replies.
  [[nodiscard]] std::string message() const;

  friend bool operator==(const Error&, const Error&) = default;
};

/// As `Error{code, what, hint}`; for coroutines, where GCC 12 destroys the strings of a braced temporary twice.
[[nodiscard]] Error make_error(ErrorCode code, std::string what, std::string hint = {});

template <class T>
using Result = tl::expected<T, Error>;

using Unexpected = tl::unexpected<Error>;

/// `return fail(ErrorCode::kPeer, "charon closed the connection");`
[[nodiscard]] inline Unexpected fail(ErrorCode code, std::string what, std::string hint = {}) {
  return Unexpected(Error{code, std::move(what), std::move(hint)});
}

/// kUnavailable with strerror(`errnum`) appended to `what`.
[[nodiscard]] Unexpected fail_errno(std::string what, int errnum, std::string hint = {});

[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace simplon

/// Our own invariants; aborts in every build. Never for input from outside.
#define SIMPLON_CHECK(cond) \
  ((cond) ? static_cast<void>(0) : ::simplon::check_failed(#cond, __FILE__, __LINE__))

/// Invariants on the packet path; checked in debug builds only.
#ifdef NDEBUG
#define SIMPLON_ASSERT(cond) static_cast<void>(0)
#else
#define SIMPLON_ASSERT(cond) SIMPLON_CHECK(cond)
#endif
