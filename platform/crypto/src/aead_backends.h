// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <span>

#include "platform/crypto/aead.h"

namespace simplon::crypto {

/// `key` has the right length. nullptr: not in this build, or this processor lacks the instructions.
[[nodiscard]] std::unique_ptr<AeadKey> make_ipsec_mb_key(AeadSuite suite, std::span<const std::uint8_t> key);
[[nodiscard]] bool ipsec_mb_available() noexcept;
[[nodiscard]] std::unique_ptr<AeadKey> make_openssl_key(AeadSuite suite, std::span<const std::uint8_t> key);

}  // namespace simplon::crypto
