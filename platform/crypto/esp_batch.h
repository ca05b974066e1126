// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "platform/crypto/esp_key.h"

namespace simplon::crypto {

/// ESP packets to be sealed or opened together, in place, each with its own key. Any mixture of suites.
///
/// ipsec-mb computes AES-CBC and HMAC of up to sixteen packets side by side, and a lone packet costs as much as sixteen:
/// so all of a burst are submitted, then drained once. Fewer than kWorthIt go through OpenSSL, one by one.
///
/// Threads: one at a time; a worker has its own. Items may be of another worker's batch, and of keys that others work with at
/// the same time. Never allocates after construction.
class EspBatch {
 public:
  static constexpr std::size_t kCapacity = 256;
  /// Chosen by measurement (tests/bench/crypto_bench): all lanes together take as long as 2.1 to 2.4 packets of OpenSSL at
  /// 512 and 1,420 bytes, with AVX-512.
  static constexpr std::size_t kWorthIt = 3;

  /// `backend`: of the keys that will be added; kOpenSsl takes any.
  explicit EspBatch(CryptoBackend backend = default_crypto_backend());
  ~EspBatch();
  EspBatch(const EspBatch&) = delete;
  EspBatch& operator=(const EspBatch&) = delete;

  struct Item {
    const EspKey* key;
    /// SPI and sequence number, IV, `bytes` of plaintext or ciphertext, room for or the ICV.
    std::uint8_t* esp;
    std::size_t bytes;
    std::uint64_t sequence;
    /// After `open`: authentic. If not, what lies behind the IV is meaningless.
    bool authentic;
  };

  /// At most kCapacity.
  void add(const EspKey& key, std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) noexcept {
    items_[size_++] = {&key, esp, bytes, sequence, false};
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const Item& operator[](std::size_t i) const noexcept { return items_[i]; }
  [[nodiscard]] std::span<Item> items() noexcept { return {items_.data(), size_}; }
  void clear() noexcept { size_ = 0; }

  /// Encrypts and writes the ICVs. The caller has written the IVs of AES-CBC, unpredictable ones; those of AEADs are
  /// written here.
  void seal() noexcept { seal(items()); }
  /// Checks the ICVs and decrypts. The bytes of the ICVs are overwritten.
  void open() noexcept { open(items()); }
  /// The same for other items than its own, at most kCapacity.
  void seal(std::span<Item> items) noexcept;
  void open(std::span<Item> items) noexcept;

  struct Lanes;

 private:
  [[nodiscard]] bool use_lanes(std::span<const Item> items) const noexcept;

  std::unique_ptr<Lanes, void (*)(Lanes*)> lanes_;
  std::size_t size_ = 0;
  std::array<Item, kCapacity> items_;
};

}  // namespace simplon::crypto
