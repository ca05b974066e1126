// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "platform/crypto/esp_batch.h"

namespace simplon::forward {

/// Where a worker posts the cryptography of a burst, so that workers without packets of their own take some of it.
///
/// Fork and join inside one burst: the owner has numbered or checked its packets in order, posts them, seals or opens chunks of
/// them itself until none is left, and waits for the chunks that others have begun. Then it goes on in order. So it depends on
/// nobody: a helper that comes late finds nothing to do.
///
///     owner    number all --> post --> chunk 0 --> chunk 2 --> (wait) --> second halves, in order
///     helper                       \-> chunk 1 --> own ports --> chunk 3
///
/// Why a helper may touch what it finds: `claims` changes with every post and every chunk, so a claim that succeeds is of the
/// post that stands, and its owner waits for it before it changes or forgets anything: the items, the frames, and the keys,
/// which the SAs that the owner reads keep alive, because the owner is not quiescent before its burst has ended. It does not matter
/// what the helper's own announcement to the table writer is. Keys are read only; state of the cipher is in the helper's lanes.
///
/// Threads: `run` is the owner's, `help` any other worker's. Never allocates.
class EspPosts {
 public:
  enum class Work : std::uint8_t { kSeal, kOpen };

  /// Bytes of packets in a burst. Chosen by us: several times as long to seal as a cache line takes to another core and back.
  static constexpr std::size_t kWorthIt = 8192;

  explicit EspPosts(unsigned workers) : workers_(workers), posts_(std::make_unique<Post[]>(workers)) {}

  /// All items of the batch are done when it returns.
  void run(unsigned owner, crypto::EspBatch& batch, Work work) noexcept;
  /// One chunk of somebody's, with `lanes` of the helper; false if there is none. So the helper looks at its own ports after each.
  [[nodiscard]] bool help(unsigned helper, crypto::EspBatch& lanes) noexcept;

 private:
  using Items = std::span<crypto::EspBatch::Item>;
  struct Post {
    /// How many posts there were, chunks of this one, and the next of them: 32, 16 and 16 bits.
    alignas(64) std::atomic<std::uint64_t> claims{0};
    // Written before `claims`, and read after a chunk was claimed.
    Items items;
    std::size_t chunk = 0;
    Work work = Work::kSeal;
    /// Chunks that helpers have done.
    alignas(64) std::atomic<std::uint32_t> finished{0};
  };

  /// Its number, or -1.
  [[nodiscard]] static int claim(Post& post) noexcept;
  static void do_chunk(const Post& post, std::size_t number, crypto::EspBatch& lanes) noexcept;

  unsigned workers_;
  std::unique_ptr<Post[]> posts_;
};

}  // namespace simplon::forward
