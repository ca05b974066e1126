// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/policy_objects.h"
#include "gateway/ipc/table_stats.h"

namespace simplon::forwarder {

/// A line of the connection table, as it is shown.
[[nodiscard]] ipc::ConnectionStats connection_stats(const forward::ConnectionView& view);
/// And back.
[[nodiscard]] forward::ConnectionView connection_view(const ipc::ConnectionStats& stats);

}  // namespace simplon::forwarder
