// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace simplon {

/// In a loop that waits for another core: lets the processor's other thread go first, and saves power.
inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace simplon
