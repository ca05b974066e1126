// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/xdp/too_big_ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "platform/sys/unique_fd.h"
#include "platform/xdp/steering_keys.h"

namespace simplon::xdp {

struct TooBigRing::Maps {
  sys::UniqueFd messages;
  sys::UniqueFd overrun;
  struct ring_buffer* ring = nullptr;
  const Visit* visit = nullptr;
  std::size_t left = 0;

  ~Maps() { ring_buffer__free(ring); }

  /// Negative ends the reading; the message was taken anyway.
  static int on_message(void* context, void* data, std::size_t size) {
    auto& maps = *static_cast<Maps*>(context);
    const auto& message = *static_cast<const simplon_xdp_too_big*>(data);
    if (size >= sizeof message) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(message.words);
      (*maps.visit)({bytes, std::min<std::size_t>(message.bytes, sizeof message.words)});
    }
    return --maps.left == 0 ? -ECANCELED : 0;
  }
};

TooBigRing::TooBigRing(std::unique_ptr<Maps> maps) : maps_(std::move(maps)) {}
TooBigRing::~TooBigRing() = default;

Result<std::unique_ptr<TooBigRing>> TooBigRing::create() {
  const auto refused = [] { return fail_errno("cannot create the BPF maps for ICMP messages about path MTUs", errno); };
  auto maps = std::make_unique<Maps>();
  maps->messages.reset(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "too_big", 0, 0, SIMPLON_XDP_TOO_BIG_RING, nullptr));
  if (!maps->messages.valid()) return refused();
  maps->overrun.reset(bpf_map_create(BPF_MAP_TYPE_ARRAY, "too_big_overrun", 4, 8, 1, nullptr));
  if (!maps->overrun.valid()) return refused();
  maps->ring = ring_buffer__new(maps->messages.get(), &Maps::on_message, maps.get(), nullptr);
  if (maps->ring == nullptr) return refused();
  return std::unique_ptr<TooBigRing>(new TooBigRing(std::move(maps)));
}

std::size_t TooBigRing::take(std::size_t most, const Visit& visit) {
  if (most == 0) return 0;
  maps_->visit = &visit;
  maps_->left = most;
  ring_buffer__consume(maps_->ring);
  return most - maps_->left;
}

int TooBigRing::poll_fd() const noexcept { return ring_buffer__epoll_fd(maps_->ring); }

std::uint64_t TooBigRing::overrun() const {
  const std::uint32_t zero = 0;
  std::uint64_t messages = 0;
  bpf_map_lookup_elem(maps_->overrun.get(), &zero, &messages);
  return messages;
}

int TooBigRing::ring_fd() const noexcept { return maps_->messages.get(); }
int TooBigRing::overrun_fd() const noexcept { return maps_->overrun.get(); }

}  // namespace simplon::xdp
