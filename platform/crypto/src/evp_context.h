// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <openssl/evp.h>

#include <atomic>
#include <memory>
#include <thread>

namespace simplon::crypto {

struct CipherContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { ::EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, CipherContextDeleter>;

/// A context belongs to a key, and packets under one key may be with several threads: one at a time uses it. Held for one
/// packet.
class ContextLock {
 public:
  void lock() noexcept {
    while (held_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  void unlock() noexcept { held_.clear(std::memory_order_release); }

 private:
  std::atomic_flag held_;
};

}  // namespace simplon::crypto
