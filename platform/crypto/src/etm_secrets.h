// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

// These functions are deprecated in OpenSSL 3 (CMakeLists.txt silences that), but only they keep an HMAC key as two plain
// states that can be copied: EVP_MAC allocates memory for every packet.
#include <openssl/sha.h>

#include <cstdint>

#include "platform/crypto/src/locked_memory.h"

namespace simplon::crypto {

/// Hash states after the padded key (RFC 2104 section 4). Either of both, by the hash.
struct EtmSecrets {
  struct Of256 {
    SHA256_CTX inner, outer;
  };
  struct Of512 {  // SHA-384, too
    SHA512_CTX inner, outer;
  };
  union {
    Of256 of256;
    Of512 of512;
  };
  // For ipsec-mb: AES round keys.
  alignas(16) std::uint8_t encryption[15 * 16];
  alignas(16) std::uint8_t decryption[15 * 16];
};
static_assert(sizeof(EtmSecrets) <= kLockedBlockBytes);

}  // namespace simplon::crypto
