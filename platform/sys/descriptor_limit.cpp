// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/descriptor_limit.h"

#include <sys/resource.h>

namespace simplon::sys {

std::uint64_t raise_descriptor_limit() noexcept {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const struct rlimit raised {limit.rlim_max, limit.rlim_max};
  if (limit.rlim_cur < limit.rlim_max && ::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return limit.rlim_cur;
}

}  // namespace simplon::sys
