// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "platform/crypto/esp_batch.h"

namespace simplon::crypto {

struct EtmSecrets;

/// The round keys that ipsec-mb works with.
void expand_for_lanes(std::span<const std::uint8_t> cipher_key, EtmSecrets& secrets) noexcept;

/// The side-by-side half of an EspBatch; nullptr without ipsec-mb.
[[nodiscard]] EspBatch::Lanes* make_lanes();
void destroy_lanes(EspBatch::Lanes* lanes);

enum class LaneWork : std::uint8_t { kSeal, kOpen };
/// The items that are no AEADs, all of them when it returns.
void run_lanes(EspBatch::Lanes& lanes, std::span<EspBatch::Item> items, LaneWork work) noexcept;

}  // namespace simplon::crypto
