// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "platform/base/hex.h"
#include "platform/base/result.h"

namespace simplon::crypto {

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned length = 0;
  SIMPLON_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  return to_hex(digest);
}

}  // namespace simplon::crypto
