// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "gateway/control/reconciler.h"
#include "platform/sys/netns.h"
#include "platform/sys/process.h"

namespace simplon::daemon {

/// Makes and deletes namespaces itself. For a process that shares the mount namespace of the host.
[[nodiscard]] std::unique_ptr<control::Namespaces> make_own_namespaces();

/// Asks for unit simplon-netns@NAME, because a mount made inside the sandbox of a unit stays inside (docs/adr/0008).
///
/// A namespace that was there once in our life is not asked for again as long as it stays the same one. A service manager
/// that did not answer is not asked again for a second, so many namespaces cost one timeout.
[[nodiscard]] std::unique_ptr<control::Namespaces> make_unit_namespaces(
    boost::asio::io_context& io, std::shared_ptr<sys::ServiceSupervisor> units,
    std::function<std::optional<sys::NetnsId>(const std::string&)> identity = sys::netns_id);

}  // namespace simplon::daemon
