// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

namespace simplon::forward {

// Chosen by us: address space, not memory.
inline constexpr std::size_t kMaxAttachments = std::size_t{1} << 20;
inline constexpr std::size_t kMaxDomains = std::size_t{1} << 18;
inline constexpr std::size_t kMaxAdjacencies = std::size_t{1} << 20;
inline constexpr std::size_t kMaxGroups = std::size_t{1} << 18;
inline constexpr std::size_t kMaxPorts = std::size_t{1} << 18;
inline constexpr std::size_t kVnis = std::size_t{1} << 24;
/// Of what is counted for each domain: domains whose numbers are the same modulo it are counted as one. simplond numbers its domains,
/// at most 4,096, one by one.
inline constexpr std::size_t kDomainShares = std::size_t{1} << 12;
inline constexpr std::size_t kMaxAcls = std::size_t{1} << 16;

}  // namespace simplon::forward
