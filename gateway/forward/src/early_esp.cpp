// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/early_esp.h"

#include "gateway/forward/src/burst.h"
#include "platform/wire/esp.h"

namespace simplon::forward {

bool EarlyEsp::keep(const Burst& burst, const Transit& packet) noexcept {
  if (count_ == kCapacity || packet.length < sizeof(wire::EspHeader)) return false;
  const std::uint32_t spi = reinterpret_cast<const wire::EspHeader*>(packet.data)->spi.host();
  if (burst.tables.inbound.find(spi) == nullptr) return false;
  waiting_[count_++] = {packet.data, packet.outer,  burst.now_ns,        spi,
                        packet.port, packet.length, packet.outer_family, packet.encap};
  return true;
}

void EarlyEsp::let_go(Burst& burst) noexcept {
  unsigned kept = 0;
  for (unsigned i = 0; i < count_; ++i) {
    const Waiting& waiting = waiting_[i];
    const Sa* const* sa = burst.tables.inbound.find(waiting.spi);
    const bool came = sa != nullptr && *sa != nullptr;
    const bool in_time = sa != nullptr && burst.now_ns - waiting.since < kPatience;
    const bool stays = came ? burst.esp_in.size() == Burst::kReceived : in_time;
    if (stays) {
      waiting_[kept++] = waiting;
      continue;
    }
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
}

}  // namespace simplon::forward
