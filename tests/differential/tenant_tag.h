// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstring>
#include <optional>

#include "platform/base/ids.h"
#include "tests/differential/oracle/bytes.h"

// Every payload says whose it is, again and again, so that each fragment and quotation of it says so too.

namespace simplon::differential {

inline constexpr std::size_t kTagBytes = 16;

[[nodiscard]] inline oracle::Bytes tenant_tag(DomainId domain) {
  oracle::Bytes tag{0xf0, 't', 'e', 'n', 'a', 'n', 't', 0x0f};
  oracle::add32(tag, domain.value());
  oracle::add32(tag, ~domain.value());
  return tag;
}

/// Calls `see(domain)` for each whole tag in `bytes`.
template <class See>
void each_tag(oracle::View bytes, See&& see) {
  static const oracle::Bytes mark = oracle::copy(oracle::View(tenant_tag(DomainId{})).first(8));
  while (bytes.size() >= kTagBytes) {
    const void* found = ::memmem(bytes.data(), bytes.size(), mark.data(), mark.size());
    if (found == nullptr) return;
    bytes = bytes.subspan(static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes.data()));
    if (bytes.size() < kTagBytes) return;
    const std::uint32_t domain = oracle::get32(bytes, 8);
    if (domain == ~oracle::get32(bytes, 12)) see(DomainId{domain});
    bytes = bytes.subspan(8);
  }
}

}  // namespace simplon::differential
