// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/secret.h"

#include <string.h>

#include <algorithm>

namespace simplon::crypto {

void wipe(void* memory, std::size_t bytes) noexcept { explicit_bzero(memory, bytes); }

SecretKey::SecretKey(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() > kMaxBytes) return;
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  size_ = bytes.size();
}

SecretKey& SecretKey::operator=(const SecretKey& other) noexcept {
  if (this != &other) {
    wipe(bytes_.data(), bytes_.size());
    std::copy(other.bytes_.begin(), other.bytes_.end(), bytes_.begin());
    size_ = other.size_;
  }
  return *this;
}

SecretKey::~SecretKey() { wipe(bytes_.data(), bytes_.size()); }

}  // namespace simplon::crypto
