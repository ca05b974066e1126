// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace simplon::forward {

/// Anti-replay window of one inbound SA (RFC 4303 section 3.4.3, ring bitmap as in RFC 6479).
///
/// Two calls per packet, with ICV verification between them:
///
///     if (!window.would_accept(seq)) drop(Drop::kEspReplayed);   // before spending a decryption
///     ... AEAD open succeeds ...
///     window.commit(seq);                                        // only now may the window move
///
/// The order is the security property: committing an unauthenticated number would let one forged packet slide the
/// window past every genuine packet in flight.
///
/// Units: `seq` is a full 64-bit extended sequence number (ESN) in host byte order; the sender starts at 1, so 0 is
/// never accepted. Never allocates.
/// Threads: one at a time for what changes the window, each of them after asking `would_accept` again
/// (src/workers/sa_sharing.h). Any number may ask meanwhile: they may take for fresh what was so a moment ago, but never the
/// reverse, because `top_` moves after the words it moves over, and a word is given to newer numbers only when its old ones
/// are too old.
class ReplayWindow {
 public:
  static constexpr std::uint32_t kMaxSize = 4096;

  /// `size` in packets, rounded up to 64 and down to kMaxSize; 0 accepts everything but 0.
  explicit ReplayWindow(std::uint32_t size) noexcept
      : size_(size == 0 ? 0 : (size > kMaxSize ? kMaxSize : (size + 63) / 64 * 64)) {
    std::uint32_t words = 2;  // one word more than the window, so that sliding never clears a word still in it
    while (words < size_ / 64 + 1) words *= 2;
    mask_ = words - 1;
  }

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// The highest number committed; 0: none.
  [[nodiscard]] std::uint64_t top() const noexcept { return top_.load(std::memory_order_relaxed); }

  [[nodiscard]] bool would_accept(std::uint64_t seq) const noexcept {
    if (seq == 0) return false;
    const std::uint64_t at = top_.load(std::memory_order_acquire);
    if (seq > at || size_ == 0) return true;
    if (at - seq >= size_) return false;
    return (word(seq).load(std::memory_order_relaxed) & bit(seq)) == 0;
  }

  void commit(std::uint64_t seq) noexcept {
    const std::uint64_t at = top();
    if (seq > at) {
      const std::uint64_t from = at / 64;
      const std::uint64_t to = seq / 64;
      const std::uint64_t steps = to - from > mask_ ? mask_ + std::uint64_t{1} : to - from;
      for (std::uint64_t i = 1; i <= steps; ++i) bits_[(from + i) & mask_].store(0, std::memory_order_relaxed);
      top_.store(seq, std::memory_order_release);
    }
    std::atomic<std::uint64_t>& bits = bits_[(seq / 64) & mask_];
    bits.store(bits.load(std::memory_order_relaxed) | bit(seq), std::memory_order_relaxed);
  }

  /// The 64-bit number whose low half arrived (RFC 4303 appendix A2.1, for a window of any size).
  [[nodiscard]] std::uint64_t extend(std::uint32_t low) const noexcept {
    const std::uint32_t window = size_ == 0 ? 1 : size_;
    const std::uint64_t at = top();
    const auto top_low = static_cast<std::uint32_t>(at);
    auto high = static_cast<std::uint32_t>(at >> 32);
    if (top_low >= window - 1) {
      // Case A: the window lies inside one subspace.
      if (low < top_low - (window - 1)) ++high;
    } else {
      // Case B: the window spans two subspaces. In the first there is no lower one to belong to.
      if (low >= top_low - (window - 1) && high > 0) --high;
    }
    return (std::uint64_t{high} << 32) | low;
  }

  /// The bitmap in use, for another process to go on with: see `restore`.
  [[nodiscard]] std::vector<std::uint64_t> words() const {
    std::vector<std::uint64_t> words(mask_ + std::size_t{1});
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = bits_[i].load(std::memory_order_relaxed);
    return words;
  }
  /// Makes a new window of the same size what `top` and `words` were read from. False if `words` is of another size.
  [[nodiscard]] bool restore(std::uint64_t top, std::span<const std::uint64_t> words) noexcept {
    if (words.size() != mask_ + std::size_t{1}) return false;
    for (std::size_t i = 0; i < words.size(); ++i) bits_[i].store(words[i], std::memory_order_relaxed);
    top_.store(top, std::memory_order_relaxed);
    return true;
  }

 private:
  [[nodiscard]] const std::atomic<std::uint64_t>& word(std::uint64_t seq) const noexcept { return bits_[(seq / 64) & mask_]; }
  [[nodiscard]] static std::uint64_t bit(std::uint64_t seq) noexcept { return std::uint64_t{1} << (seq % 64); }

  std::atomic<std::uint64_t> top_{0};
  std::uint32_t size_ = 0;
  std::uint32_t mask_ = 0;
  std::array<std::atomic<std::uint64_t>, 128> bits_{};
};

}  // namespace simplon::forward
