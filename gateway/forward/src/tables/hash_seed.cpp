// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/hash_seed.h"

#include <sys/random.h>

#include "platform/base/result.h"

namespace simplon::forward {

HashSeed HashSeed::random() {
  HashSeed seed;
  // Up to 256 bytes come whole (getrandom(2)).
  SIMPLON_CHECK(::getrandom(&seed, sizeof seed, 0) == static_cast<::ssize_t>(sizeof seed));
  return seed;
}

}  // namespace simplon::forward
