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
inline constexpr std::size_t kMaxAcls = std::size_t{1} << 16;

}  // namespace simplon::forward
