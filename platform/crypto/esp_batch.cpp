// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/esp_batch.h"

#include <algorithm>
#include <span>

#include "platform/crypto/src/etm_key.h"
#include "platform/crypto/src/etm_lanes.h"

namespace simplon::crypto {

EspBatch::EspBatch(CryptoBackend backend)
    : lanes_(backend == CryptoBackend::kIpsecMb ? make_lanes() : nullptr, destroy_lanes) {}

EspBatch::~EspBatch() = default;

bool EspBatch::use_lanes(std::span<const Item> items) const noexcept {
  if (lanes_ == nullptr || items.size() < kWorthIt) return false;
  const auto is_etm = [](const Item& item) { return !item.key->is_aead(); };
  return static_cast<std::size_t>(std::count_if(items.begin(), items.end(), is_etm)) >= kWorthIt;
}

void EspBatch::seal(std::span<Item> items) noexcept {
  const bool lanes = use_lanes(items);
  if (lanes) run_lanes(*lanes_, items, LaneWork::kSeal);
  for (Item& item : items) {
    if (item.key->is_aead()) {
      item.key->seal(item.esp, item.bytes, item.sequence);
    } else if (!lanes) {
      item.key->etm()->seal(item.esp, item.bytes, item.sequence);
    }
  }
}

void EspBatch::open(std::span<Item> items) noexcept {
  const bool lanes = use_lanes(items);
  if (lanes) run_lanes(*lanes_, items, LaneWork::kOpen);
  for (Item& item : items) {
    if (item.key->is_aead()) {
      item.authentic = item.key->open(item.esp, item.bytes, item.sequence);
    } else if (!lanes) {
      item.authentic = item.key->etm()->open(item.esp, item.bytes, item.sequence);
    }
  }
}

}  // namespace simplon::crypto
