// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/workers/esp_posts.h"

#include <algorithm>
#include <thread>

#include "platform/base/pause.h"

namespace simplon::forward {
namespace {

/// Chosen by us. Small enough that a helper's own packets wait for no more than some microseconds; AES-CBC with HMAC
/// takes as long for one packet as for sixteen.
constexpr std::size_t kChunk = 8;
constexpr std::size_t kLanesChunk = 16;
/// Looks before the processor is left to others: the helper may have none.
constexpr unsigned kSpins = 2000;

constexpr std::uint64_t join(std::uint64_t post, std::uint64_t chunks) noexcept { return (post << 32) | (chunks << 16); }
constexpr std::uint64_t next_of(std::uint64_t claims) noexcept { return claims & 0xffff; }
constexpr std::uint64_t chunks_of(std::uint64_t claims) noexcept { return claims >> 16 & 0xffff; }

}  // namespace

int EspPosts::claim(Post& post) noexcept {
  std::uint64_t claims = post.claims.load(std::memory_order_relaxed);
  while (next_of(claims) < chunks_of(claims)) {
    if (post.claims.compare_exchange_weak(claims, claims + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
      return static_cast<int>(next_of(claims));
    }
  }
  return -1;
}

void EspPosts::do_chunk(const Post& post, std::size_t number, crypto::EspBatch& lanes) noexcept {
  const std::size_t first = number * post.chunk;
  const Items items = post.items.subspan(first, std::min(post.chunk, post.items.size() - first));
  if (post.work == Work::kSeal) {
    lanes.seal(items);
  } else {
    lanes.open(items);
  }
}

void EspPosts::run(unsigned owner, crypto::EspBatch& batch, Work work) noexcept {
  Post& post = posts_[owner];
  post.items = batch.items();
  post.work = work;
  const auto uses_lanes = [](const crypto::EspBatch::Item& item) { return !item.key->is_aead(); };
  post.chunk = std::any_of(post.items.begin(), post.items.end(), uses_lanes) ? kLanesChunk : kChunk;
  const auto chunks = static_cast<std::uint32_t>((post.items.size() + post.chunk - 1) / post.chunk);
  post.finished.store(0, std::memory_order_relaxed);
  post.claims.store(join((post.claims.load(std::memory_order_relaxed) >> 32) + 1, chunks), std::memory_order_release);

  std::uint32_t mine = 0;
  for (int number = claim(post); number >= 0; number = claim(post), ++mine) {
    do_chunk(post, static_cast<std::size_t>(number), batch);
  }
  for (unsigned spins = 0; post.finished.load(std::memory_order_acquire) != chunks - mine; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

bool EspPosts::help(unsigned helper, crypto::EspBatch& lanes) noexcept {
  for (unsigned i = 1; i < workers_; ++i) {
    Post& post = posts_[(helper + i) % workers_];
    const int number = claim(post);
    if (number < 0) continue;
    do_chunk(post, static_cast<std::size_t>(number), lanes);
    post.finished.fetch_add(1, std::memory_order_release);
    return true;
  }
  return false;
}

}  // namespace simplon::forward
