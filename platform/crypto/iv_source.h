// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace simplon::crypto {

/// Initialization vectors that nobody can predict, as AES-CBC needs (RFC 3602 section 3): the key stream of AES-256 in
/// counter mode under a key drawn from the operating system, made a few hundred IVs at a time (some nanoseconds each).
///
/// Threads: one at a time. `write` neither allocates nor makes system calls.
class IvSource {
 public:
  /// Ends the process if the operating system gives no random bytes.
  IvSource();
  ~IvSource();
  IvSource(const IvSource&) = delete;
  IvSource& operator=(const IvSource&) = delete;

  /// At most 16 bytes.
  void write(std::uint8_t* to, std::size_t bytes) noexcept;

 private:
  void refill() noexcept;

  struct Stream;
  std::unique_ptr<Stream> stream_;
  std::array<std::uint8_t, 4096> ready_;
  std::size_t used_;
};

}  // namespace simplon::crypto
