// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/trace.h"

namespace simplon::forward {

std::string_view remedy(Drop drop) noexcept {
  switch (drop) {
#define SIMPLON_REMEDY(id, sentence) \
  case Drop::k##id:                  \
    return sentence;
#include "gateway/forward/remedy.def"
#undef SIMPLON_REMEDY
    default:
      return {};
  }
}

}  // namespace simplon::forward
