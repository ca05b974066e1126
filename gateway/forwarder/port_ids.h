// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <deque>

#include "gateway/forward/packet.h"

namespace simplon::forwarder {

/// Gives out dense port ids; the one given back longest ago is used first. Threads: one.
class PortIds {
 public:
  [[nodiscard]] forward::PortId take() {
    // Keeping some unused ones back means that an id does not change its meaning while packets that carry it are on
    // their way.
    if (free_.size() < 16) return forward::PortId(next_++);
    const auto id = free_.front();
    free_.pop_front();
    return id;
  }
  void give_back(forward::PortId id) { free_.push_back(id); }

 private:
  std::uint32_t next_ = 1;
  std::deque<forward::PortId> free_;
};

}  // namespace simplon::forwarder
