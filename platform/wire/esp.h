// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 4303 section 2, as far as it is in the clear.
struct EspHeader {
  Be32 spi;
  Be32 sequence;  ///< Low half with ESN.
};
static_assert(sizeof(EspHeader) == 8 && alignof(EspHeader) == 1);

/// Last two bytes of what is encrypted.
struct EspTrailer {
  std::uint8_t pad_length;
  std::uint8_t next_header;
};
static_assert(sizeof(EspTrailer) == 2);

/// An ESP packet: header, IV, ciphertext in whole units of `alignment` and at least one, which has room for the trailer, ICV.
/// `overhead`: IV and ICV. `alignment`: a power of two, at least 4 (RFC 4303 section 2.4). nullptr if the length cannot be
/// that.
[[nodiscard]] inline const EspHeader* parse_esp(std::span<const std::uint8_t> bytes, std::size_t overhead,
                                                std::size_t alignment) noexcept {
  const std::size_t fixed = sizeof(EspHeader) + overhead;
  if (bytes.size() < fixed + alignment || ((bytes.size() - fixed) & (alignment - 1)) != 0) return nullptr;
  return reinterpret_cast<const EspHeader*>(bytes.data());
}

/// What `parse_esp_payload` found in the decrypted bytes.
struct EspPayload {
  bool padding_ok = false;
  std::uint8_t next_header = 0;
  std::size_t length = 0;
};

/// Trailer and padding of decrypted bytes (RFC 4303 section 2.4: 1, 2, 3, ...).
[[nodiscard]] inline EspPayload parse_esp_payload(std::span<const std::uint8_t> plain) noexcept {
  if (plain.size() < sizeof(EspTrailer)) return {};
  const std::size_t end = plain.size() - sizeof(EspTrailer);
  const std::size_t padding = plain[end];
  if (padding > end) return {};
  for (std::size_t i = 0; i < padding; ++i) {
    if (plain[end - padding + i] != static_cast<std::uint8_t>(i + 1)) return {};
  }
  return {true, plain[end + 1], end - padding};
}

}  // namespace simplon::wire
