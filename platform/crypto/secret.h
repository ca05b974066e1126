// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace simplon::crypto {

/// Overwrites memory in a way the compiler keeps.
void wipe(void* memory, std::size_t bytes) noexcept;

/// Key bytes that are overwritten when they are no longer needed. Has no output operator and no comparison, so that a
/// key is neither printed nor compared in variable time by accident.
class SecretKey {
 public:
  static constexpr std::size_t kMaxBytes = 64;

  SecretKey() noexcept = default;
  /// What exceeds kMaxBytes makes the key empty, which every user of a key refuses.
  explicit SecretKey(std::span<const std::uint8_t> bytes) noexcept;
  SecretKey(const SecretKey& other) noexcept : SecretKey(other.bytes()) {}
  SecretKey& operator=(const SecretKey& other) noexcept;
  ~SecretKey();

  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.data(), size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::array<std::uint8_t, kMaxBytes> bytes_{};
  std::size_t size_ = 0;
};

/// Constant time in the contents. By words, and inline: each received packet has an ICV to compare.
[[nodiscard]] inline bool equal_in_constant_time(const std::uint8_t* a, const std::uint8_t* b, std::size_t bytes) noexcept {
  std::uint64_t difference = 0;
  std::size_t i = 0;
  for (; bytes - i >= sizeof difference; i += sizeof difference) {
    std::uint64_t left;
    std::uint64_t right;
    std::memcpy(&left, a + i, sizeof left);
    std::memcpy(&right, b + i, sizeof right);
    difference |= left ^ right;
  }
  for (; i < bytes; ++i) difference |= static_cast<std::uint64_t>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace simplon::crypto
