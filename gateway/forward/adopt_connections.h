// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/forward/policy_objects.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {

/// Goes on with connections of a former process, as Tables::list_connections gave them; `now` is the workers' time in
/// seconds. Access lists are asked again at the next packet of each. Returns how many were taken: those whose
/// translated port or attachment is not there any more are not. There may have been another number of workers: each connection
/// goes to the worker that its packets go to, or that has its translated port. No worker may run yet.
std::size_t adopt_connections(Tables& tables, std::span<const ConnectionView> connections, std::uint64_t now);

}  // namespace simplon::forward
