// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/result.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace simplon {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidConfig:
      return "invalid-config";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kPeer:
      return "peer";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kExhausted:
      return "exhausted";
    case ErrorCode::kBug:
      return "bug";
  }
  return "bug";
}

std::string Error::message() const {
  return hint.empty() ? what : what + " (" + hint + ")";
}

Error make_error(ErrorCode code, std::string what, std::string hint) {
  return Error{code, std::move(what), std::move(hint)};
}

Unexpected fail_errno(std::string what, int errnum, std::string hint) {
  return fail(ErrorCode::kUnavailable, std::move(what) + ": " + std::generic_category().message(errnum),
              std::move(hint));
}

void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: invariant does not hold: %s\n", file, line, expression);
  std::abort();
}

}  // namespace simplon
