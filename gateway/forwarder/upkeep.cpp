// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/upkeep.h"

#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;

// Chosen by us: how late expiry may be noticed. Soft expiry has seconds of margin.
constexpr auto kTick = 250ms;
constexpr std::uint32_t kTicksPerRetry = 4;
// Chosen by us: in case an event was lost.
constexpr std::uint32_t kTicksPerRefresh = 40;
// Route and link changes come in bursts.
constexpr auto kDebounce = 20ms;
// How long a packet to an unknown neighbor may wait until the neighbor is asked for.
constexpr auto kAskInterval = 50ms;

}  // namespace

Upkeep::Upkeep(asio::io_context& io, const Parts& parts)
    : io_(io), parts_(parts), tick_timer_(io), debounce_timer_(io), asked_timer_(io) {}

Upkeep::~Upkeep() { *alive_ = false; }

Result<std::unique_ptr<Upkeep>> Upkeep::open(asio::io_context& io, const Parts& parts) {
  std::unique_ptr<Upkeep> upkeep(new Upkeep(io, parts));
  Upkeep& self = *upkeep;
  netlink::Monitor::Events events;
  events.on_neighbor = [&self](const netlink::Neighbor& neighbor) { self.parts_.underlay.on_neighbor(neighbor); };
  // At once: every packet until then is lost.
  events.on_carrier = [&self](std::uint32_t interface, bool running) {
    if (!running) self.parts_.uplinks.carrier_lost(interface);
  };
  events.on_link = events.on_route = events.on_resync = [&self] { self.look_again(); };
  auto monitor = netlink::Monitor::open(io, std::move(events));
  if (!monitor) return Unexpected(monitor.error());
  self.monitor_ = *std::move(monitor);
  return upkeep;
}

void Upkeep::start(WorkerThreads& workers) {
  workers_ = &workers;
  publish_descriptors();
  tick();
}

void Upkeep::after_write() {
  if (std::exchange(uplinks_changed_, false)) {
    static_cast<void>(refresh_uplinks());
    publish_descriptors();
    parts_.underlay.refresh();
    circuits_changed_ = true;
  }
  if (std::exchange(circuits_changed_, false)) parts_.circuits.refresh();
  catch_up();
  if (!parts_.circuits.empty() && !asking_) ask_for_neighbors();
}

void Upkeep::catch_up() {
  parts_.underlay.catch_up();
  parts_.circuits.catch_up();
}

/// Looks at the interfaces; true if uplinks changed.
bool Upkeep::refresh_uplinks() {
  const bool changed = parts_.uplinks.refresh();
  if (parts_.tier != nullptr) parts_.tier->set_uplinks(parts_.uplinks.for_xdp_tier());
  return changed;
}

void Upkeep::publish_descriptors() {
  if (workers_ == nullptr) return;
  for (unsigned i = 0; i < parts_.tables.workers(); ++i) {
    auto descriptors = parts_.uplinks.descriptors(i);
    descriptors.push_back(parts_.tuns.descriptor(i));
    workers_->set_descriptors(i, std::move(descriptors));
  }
}

void Upkeep::look_again() {
  if (std::exchange(looking_, true)) return;
  debounce_timer_.expires_after(kDebounce);
  debounce_timer_.async_wait([this](const error_code& error) {
    if (error) return;
    looking_ = false;
    if (refresh_uplinks()) {
      publish_descriptors();
      parts_.circuits.refresh();
    }
    refresh_underlay();
  });
}

void Upkeep::refresh_underlay() {
  parts_.underlay.begin_refresh();
  if (!refreshing_) do_in_portions(refreshing_, [this] { return parts_.underlay.refresh_some(); });
}

void Upkeep::repair_host_ports() {
  parts_.host_ports.begin_repair();
  if (!repairing_) do_in_portions(repairing_, [this] { return parts_.host_ports.repair_some(); });
}

/// Calls `portion` until it returns false, with others between: of ten thousand objects it takes seconds. `under_way` is
/// true meanwhile.
void Upkeep::do_in_portions(bool& under_way, std::function<bool()> portion) {
  under_way = portion();
  if (!under_way) return;
  asio::post(io_, [this, alive = alive_, &under_way, portion = std::move(portion)]() mutable {
    if (*alive) do_in_portions(under_way, std::move(portion));
  });
}

/// Workers cannot wake this thread up: while there are circuits it looks for itself what they miss.
void Upkeep::ask_for_neighbors() {
  asking_ = !parts_.circuits.empty();
  if (!asking_) return;
  asked_timer_.expires_after(kAskInterval);
  asked_timer_.async_wait([this](const error_code& error) {
    if (error) return;
    parts_.circuits.catch_up();
    ask_for_neighbors();
  });
}

void Upkeep::tick() {
  tick_timer_.expires_after(kTick);
  tick_timer_.async_wait([this](const error_code& error) {
    if (error) return;
    ++ticks_;
    parts_.tables.reclaim();
    parts_.sas.tick();
    catch_up();
    if (ticks_ % kTicksPerRetry == 0) {
      workers_->measure();
      // While the attachments that they are of are there.
      if (parts_.tier != nullptr) parts_.tier->count();
      if (refresh_uplinks()) {
        publish_descriptors();
        refresh_underlay();
        parts_.circuits.refresh();
      }
      parts_.underlay.retry();
      parts_.circuits.retry();
      repair_host_ports();
    }
    if (ticks_ % kTicksPerRefresh == 0) refresh_underlay();
    tick();
  });
}

}  // namespace simplon::forwarder
