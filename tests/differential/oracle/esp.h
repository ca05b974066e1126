// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "gateway/forward/sa.h"
#include "tests/differential/oracle/bytes.h"

// ESP in tunnel mode with AES-GCM (RFC 4303, RFC 4106) on top of OpenSSL.

namespace simplon::oracle {

/// AES-GCM under one key.
class Gcm {
 public:
  /// `key`: with the four bytes of salt behind it (RFC 4106 section 8.1).
  explicit Gcm(View key);
  ~Gcm();
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;

  /// Ciphertext and the 16-byte tag behind it.
  [[nodiscard]] Bytes seal(View iv, View associated, View plain) const;
  /// Empty if the tag is wrong.
  [[nodiscard]] std::optional<Bytes> open(View iv, View associated, View cipher_and_tag) const;

 private:
  struct Contexts;
  [[nodiscard]] Bytes nonce(View iv) const;
  std::unique_ptr<Contexts> contexts_;
  Bytes salt_;
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
  [[nodiscard]] std::uint64_t whole(std::uint32_t low) const;

 private:
  std::uint64_t window_;
  std::uint64_t highest_ = 0;
  std::set<std::uint64_t> seen_;
};

/// A packet in tunnel mode: SPI, sequence number, IV (which is the sequence number), what `gcm` makes of `plain`.
[[nodiscard]] Bytes esp_packet(const Gcm& gcm, Spi spi, std::uint64_t sequence, bool esn, View plain);
/// The packet with padding 1, 2, 3, ..., the padding's length and the next header behind it (RFC 4303 section 2.4).
[[nodiscard]] Bytes esp_plaintext(View packet);

/// What authentic plaintext contains.
struct EspContents {
  std::uint8_t next_header = 0;
  Bytes packet;
};
/// Empty if the padding is not 1, 2, 3, ...
[[nodiscard]] std::optional<EspContents> without_padding(View plain);

}  // namespace simplon::oracle
