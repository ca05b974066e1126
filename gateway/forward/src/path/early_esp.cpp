// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/path/early_esp.h"

#include <algorithm>

#include "gateway/forward/src/path/burst.h"
#include "platform/wire/esp.h"

namespace simplon::forward {

bool EarlyEsp::has_share_left(std::uint32_t spi) const noexcept {
  constexpr unsigned kTimes = 4;
  const auto end = waiting_.begin() + count_;
  const auto held = std::count_if(waiting_.begin(), end, [spi](const Waiting& waiting) { return waiting.spi == spi; });
  return held < static_cast<std::ptrdiff_t>((kCapacity - count_) * kTimes);
}

bool EarlyEsp::keep(const Burst& burst, const Transit& packet) noexcept {
  if (packet.length < sizeof(wire::EspHeader)) return false;
  const std::uint32_t spi = reinterpret_cast<const wire::EspHeader*>(packet.data)->spi.host();
  if (burst.tables.inbound.find(spi) == nullptr || !has_share_left(spi)) return false;
  waiting_[count_++] = {packet.data, packet.outer,  burst.now_ns,        spi,
                        packet.port, packet.length, packet.outer_family, packet.encap};
  return true;
}

bool EarlyEsp::let_go(Burst& burst) noexcept {
  unsigned kept = 0;
  unsigned gone = 0;
  bool more = false;
  for (unsigned i = 0; i < count_; ++i) {
    const Waiting& waiting = waiting_[i];
    const Sa* const* sa = burst.tables.inbound.find(waiting.spi);
    const bool came = sa != nullptr && *sa != nullptr;
    const bool waits = !came && sa != nullptr && burst.now_ns - waiting.since < kPatience;
    if (waits || gone == Burst::kReceived) {
      more |= !waits;
      waiting_[kept++] = waiting;
      continue;
    }
    ++gone;
    const unsigned number = burst.add();
    Transit& packet = burst.packets[number];
    packet.data = waiting.data;
    packet.outer = waiting.outer;
    packet.port = waiting.port;
    packet.length = waiting.length;
    packet.outer_family = waiting.outer_family;
    packet.encap = waiting.encap;
    if (came) {
      burst.esp_in.push(number);
    } else {
      burst.drop(number, Drop::kEspUnknownSpi);
    }
  }
  count_ = kept;
  return more;
}

}  // namespace simplon::forward
