// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/esp_suite.h"

namespace simplon::crypto {
namespace {

constexpr EspLayout cbc(std::uint8_t icv) { return {16, icv, 16}; }  // RFC 3602 sections 2.2, 2.4 and 3
constexpr EspLayout null(std::uint8_t icv) { return {0, icv, 4}; }   // RFC 2410 section 2.2

// In the order of the enumeration.
constexpr std::array<EspSuiteFacts, kAllEspSuites.size()> kFacts = {{
    {"aes128gcm16", 16, 4, 0, kAeadLayout},
    {"aes192gcm16", 24, 4, 0, kAeadLayout},
    {"aes256gcm16", 32, 4, 0, kAeadLayout},
    {"chacha20poly1305", 32, 4, 0, kAeadLayout},
    {"aes128-sha256", 16, 0, 32, cbc(16)},
    {"aes192-sha256", 24, 0, 32, cbc(16)},
    {"aes256-sha256", 32, 0, 32, cbc(16)},
    {"aes128-sha384", 16, 0, 48, cbc(24)},
    {"aes192-sha384", 24, 0, 48, cbc(24)},
    {"aes256-sha384", 32, 0, 48, cbc(24)},
    {"aes128-sha512", 16, 0, 64, cbc(32)},
    {"aes192-sha512", 24, 0, 64, cbc(32)},
    {"aes256-sha512", 32, 0, 64, cbc(32)},
    {"null-sha256", 0, 0, 32, null(16)},
    {"null-sha384", 0, 0, 48, null(24)},
    {"null-sha512", 0, 0, 64, null(32)},
}};

}  // namespace

const EspSuiteFacts& facts_of(EspSuite suite) noexcept { return kFacts[static_cast<std::size_t>(suite)]; }

}  // namespace simplon::crypto
