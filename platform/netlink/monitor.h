// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "platform/base/result.h"
#include "platform/netlink/netlink.h"

namespace simplon::netlink {

/// Changes of links, addresses, neighbors and routes of one namespace, as they happen.
///
/// Neighbor changes carry the new state; for everything else the event says only that something changed, and the owner
/// looks again: events may be lost (ENOBUFS), a fresh look never lies. After a loss `on_resync` is called.
/// Threads: callbacks come from the io_context's thread. Destruction ends them.
class Monitor {
 public:
  struct Events {
    std::function<void(const Neighbor&)> on_neighbor;
    /// A link or an address changed.
    std::function<void()> on_link;
    /// The state that a changed link has now: whether it is up, with carrier. Before `on_link`.
    std::function<void(std::uint32_t interface, bool running)> on_carrier;
    /// Unset: changes of routes are not listened to at all.
    std::function<void()> on_route;
    std::function<void()> on_resync;
  };

  [[nodiscard]] static Result<std::unique_ptr<Monitor>> open(boost::asio::io_context& io, Events events,
                                                             const std::optional<std::string>& netns = {});
  virtual ~Monitor() = default;
};

}  // namespace simplon::netlink
