// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/circuits.h"
#include "gateway/forwarder/host_ports.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/forwarder/tun_io.h"
#include "gateway/forwarder/underlay.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/forwarder/worker_threads.h"
#include "gateway/forwarder/xdp_tier.h"
#include "platform/base/result.h"
#include "platform/netlink/monitor.h"

namespace simplon::forwarder {

/// What the control thread does without being asked: makes tables, uplinks and circuits follow the kernel's links, routes and neighbors,
/// tries again what failed, and looks at everything now and then, in case an event was lost. Threads: the control thread's.
class Upkeep {
 public:
  struct Parts {
    forward::Tables& tables;
    Uplinks& uplinks;
    HostPorts& host_ports;
    const TunDevices& tuns;
    Underlay& underlay;
    Circuits& circuits;
    SaStore& sas;
    /// nullptr: nothing is forwarded in XDP.
    XdpTier* tier;
  };

  /// Hears of every change from now on. Errors: those of netlink::Monitor::open.
  [[nodiscard]] static Result<std::unique_ptr<Upkeep>> open(boost::asio::io_context& io, const Parts& parts);
  ~Upkeep();
  Upkeep(const Upkeep&) = delete;
  Upkeep& operator=(const Upkeep&) = delete;

  /// The workers wait for what is open now and whatever is opened later; what is regular begins.
  void start(WorkerThreads& workers);

  /// They were upserted or removed: `after_write` opens and closes what that needs.
  void uplinks_changed() noexcept { uplinks_changed_ = true; }
  void circuits_changed() noexcept { circuits_changed_ = true; }
  /// At the end of every change of the tables.
  void after_write();
  /// Resolves destinations that became wanted.
  void catch_up();

 private:
  Upkeep(boost::asio::io_context& io, const Parts& parts);

  [[nodiscard]] bool refresh_uplinks();
  void publish_descriptors();
  void look_again();
  void refresh_underlay();
  void repair_host_ports();
  void do_in_portions(bool& under_way, std::function<bool()> portion);
  void ask_for_neighbors();
  void tick();

  boost::asio::io_context& io_;
  Parts parts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  /// nullptr: they do not run yet.
  WorkerThreads* workers_ = nullptr;
  std::unique_ptr<netlink::Monitor> monitor_;
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer debounce_timer_;
  boost::asio::steady_timer asked_timer_;
  std::uint32_t ticks_ = 0;
  bool looking_ = false;
  bool refreshing_ = false;
  bool repairing_ = false;
  bool asking_ = false;
  bool uplinks_changed_ = false;
  bool circuits_changed_ = false;
};

}  // namespace simplon::forwarder
