// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "gateway/forward/sa.h"
#include "tests/differential/oracle/bytes.h"

// ESP in tunnel mode (RFC 4303) on top of OpenSSL.

namespace simplon::oracle {

/// What encrypts and authenticates the packets of an SA: AES-GCM (RFC 4106) or ChaCha20-Poly1305 (RFC 7634), AES-CBC
/// (RFC 3602) or nothing (RFC 2410) with HMAC-SHA2 (RFC 4868).
class EspCipher {
 public:
  /// `key`: of an AEAD with four bytes of salt behind it.
  EspCipher(crypto::EspSuite suite, View key, View integrity_key);
  ~EspCipher();
  EspCipher(EspCipher&&) noexcept;
  EspCipher& operator=(EspCipher&&) = delete;

  [[nodiscard]] std::size_t iv_bytes() const { return iv_bytes_; }
  [[nodiscard]] std::size_t icv_bytes() const { return icv_bytes_; }
  /// The encrypted part is a multiple of it.
  [[nodiscard]] std::size_t alignment() const { return alignment_; }
  [[nodiscard]] bool is_aead() const { return aead_; }
  /// The IV that belongs to a number; AES-CBC's must not be predictable, so anything will do.
  [[nodiscard]] Bytes iv_of(std::uint64_t sequence) const;

  /// SPI, sequence number, `iv`, ciphertext and ICV. `plain` is of the right length.
  [[nodiscard]] Bytes protect(Spi spi, std::uint64_t sequence, bool esn, View iv, View plain) const;
  /// `packet` is long enough for SPI, number, IV and ICV, and its ciphertext of the right length. Empty: the ICV is
  /// wrong.
  [[nodiscard]] std::optional<Bytes> open(View packet, std::uint64_t sequence, bool esn) const;

 private:
  struct Contexts;
  [[nodiscard]] Bytes integrity(View packet, std::uint64_t sequence, bool esn) const;
  [[nodiscard]] Bytes nonce(View iv) const;

  std::unique_ptr<Contexts> contexts_;
  Bytes salt_;
  Bytes cipher_key_;
  Bytes integrity_key_;
  std::size_t iv_bytes_ = 8;
  std::size_t icv_bytes_ = 16;
  std::size_t alignment_ = 4;
  bool aead_ = true;
  bool null_ = false;
};

/// Which numbers an inbound SA has seen (RFC 4303 section 3.4.3): all of them, in a set.
class SeenNumbers {
 public:
  /// `window`: rounded up to a multiple of 64, at most 4096; 0: everything but 0 is accepted.
  explicit SeenNumbers(std::uint32_t window);
  [[nodiscard]] std::uint64_t highest() const { return highest_; }
  [[nodiscard]] bool is_new(std::uint64_t number) const;
  void see(std::uint64_t number);
  /// The 64-bit number whose low half arrived: the lowest one that is not left of the window (RFC 4303 appendix A2.1).
  [[nodiscard]] std::uint64_t whole(std::uint32_t low) const { return whole(low, highest_); }
  /// If `highest` were the highest.
  [[nodiscard]] std::uint64_t whole(std::uint32_t low, std::uint64_t highest) const;

 private:
  std::uint64_t window_;
  std::uint64_t highest_ = 0;
  std::set<std::uint64_t> seen_;
};

/// The packet with padding 1, 2, 3, ..., the padding's length and the next header behind it (RFC 4303 section 2.4).
[[nodiscard]] Bytes esp_plaintext(View packet, std::size_t alignment);

/// What authentic plaintext contains.
struct EspContents {
  std::uint8_t next_header = 0;
  Bytes packet;
};
/// Empty if the padding is not 1, 2, 3, ...
[[nodiscard]] std::optional<EspContents> without_padding(View plain);

}  // namespace simplon::oracle
