// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>

#include "platform/crypto/esp_batch.h"
#include "platform/crypto/iv_source.h"

namespace simplon::forward {

struct CompiledSaPath;

/// What of an outer header follows from the packet inside.
struct OuterMarks {
  std::uint8_t traffic_class = 0;
  bool dont_fragment = true;  ///< IPv4.
};

/// Packets of an ESP stage whose suite is worked on many at a time: prepared, waiting for the batch, then finished in
/// order of arrival.
struct EspJobs {
  struct Waiting {
    std::uint16_t number;       ///< In the burst.
    std::uint16_t inner_bytes;  ///< Outbound.
    OuterMarks marks;           ///< Outbound.
    /// Outbound: there is room for the headers of this one; the SA may have a longer one by now.
    const CompiledSaPath* path;
  };

  crypto::EspBatch batch;
  crypto::IvSource ivs;
  /// As many as the batch has items.
  std::array<Waiting, crypto::EspBatch::kCapacity> waiting;
};

}  // namespace simplon::forward
