// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/af_xdp_io.h"
#include "gateway/forwarder/backlog.h"
#include "gateway/forwarder/handover.h"
#include "gateway/forwarder/port_ids.h"
#include "gateway/forwarder/xdp_tier.h"
#include "gateway/ipc/table_stats.h"
#include "platform/netlink/netlink.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::forwarder {

/// The uplinks: for each, the XDP program and the AF_XDP sockets, opened when the interface is there and opened again when it
/// comes back. Threads: the control thread's.
class Uplinks {
 public:
  /// `pools`: of each worker.
  Uplinks(forward::Tables& tables, std::span<forward::FramePool> pools, PortIds& ids, netlink::Netlink& netlink,
          const xdp::Steering& steering);
  ~Uplinks();

  /// Whether uplinks may have an MTU over one frame, where memory and kernel can; before the first `refresh`.
  void allow_jumbo(bool allowed) { jumbo_allowed_ = allowed; }
  /// Wanted from now on; `refresh` opens it.
  void upsert(const std::string& interface);
  void remove(const std::string& interface);
  /// Looks at the interfaces again: opens what can be opened, closes what is gone. True if something changed.
  bool refresh();
  /// The link of an interface went down, before `refresh` may look at it.
  void carrier_lost(std::uint32_t interface_index);

  /// Begins to load the program that takes the place of a former process's, beside everything else.
  void prepare(const HandedProgram& program);
  /// Returns when all are loaded, or have failed.
  void wait_until_prepared() const;
  /// What a former process left of an uplink. The next `refresh` goes on with it if the interface is the same; what is
  /// not used then is closed.
  struct Inherited {
    HandedUplink state;
    sys::UniqueFd link;
    /// Of its Backlog, if it has one.
    sys::UniqueFd backlog;
    /// In the order of `state.queues`; the second of those without control ring is none.
    std::vector<std::pair<sys::UniqueFd, sys::UniqueFd>> sockets;
  };
  void inherit(Inherited inherited);
  /// `refresh` has not got as far as to look at all of them.
  [[nodiscard]] bool has_inherited() const noexcept { return !inherited_.empty(); }
  /// Makes packets wait in devices from now on, not in sockets, on uplinks whose sockets no other process can use; on all with
  /// `all`. The workers still run, and have received what was in the sockets when this returns, unless that is more than they can
  /// in a tenth of a second. An uplink for which it fails loses what arrives until the next process has its sockets.
  void divert(bool all);
  /// What is prepared for all open uplinks.
  [[nodiscard]] std::vector<HandedProgram> programs() const;
  /// The same as inherited of all open uplinks, with descriptors appended in the order of `HandedTraffic`; they stay ours, but the sockets of
  /// diverted uplinks, which are closed. No worker uses the sockets any more.
  [[nodiscard]] std::vector<HandedUplink> hand_over(std::vector<int>& descriptors);

  /// The port of an interface, if it is open.
  struct Open {
    forward::PortId port;
    std::string name;
    MacAddress mac;
    std::uint32_t mtu_bytes = 0;
    std::uint32_t index = 0;
  };
  [[nodiscard]] std::optional<Open> find(std::uint32_t interface_index) const;
  /// Of open ones; empty and kNoPort if there is none.
  [[nodiscard]] std::string name_of(forward::PortId port) const;
  [[nodiscard]] forward::PortId port_of(const std::string& interface) const;
  [[nodiscard]] std::optional<Open> find(const std::string& interface) const;
  /// What the worker waits for.
  [[nodiscard]] std::vector<int> descriptors(unsigned worker) const;
  [[nodiscard]] std::vector<ipc::WorkerStats::Queue> queues_of(unsigned worker) const;
  [[nodiscard]] std::vector<ipc::UplinkStats> stats() const;
  /// Of all open ones, what the XDP tier may use them for.
  [[nodiscard]] std::vector<XdpTier::Uplink> for_xdp_tier() const;

 private:
  struct Uplink {
    std::uint32_t index = 0;
    MacAddress mac;
    std::uint32_t mtu_bytes = 0;
    bool running = false;
    std::string error = "not opened yet";
    std::string driver;
    /// Frames that another uplink's program redirects here are sent; else why not.
    bool redirect_target = false;
    std::string no_target;
    std::string mode;
    forward::PortId port = forward::kNoPort;
    std::unique_ptr<xdp::UplinkProgram> program;
    /// In the order of `queues`.
    std::vector<std::weak_ptr<UplinkQueue>> sockets;
    /// Of each worker.
    std::vector<std::vector<int>> descriptors;
    /// How the sockets were opened; their frames are not filled in.
    std::vector<HandedQueue> queues;
    /// Receive queues that the interface had in use when it was opened.
    std::uint32_t queues_then = 0;
    /// That of a former process until it is finished, or that for the next one.
    std::shared_ptr<Backlog> backlog;

    /// Frames may be longer than a page.
    [[nodiscard]] bool jumbo() const { return !queues.empty() && queues.front().multi_buffer; }
    /// Its packets wait for the next process.
    [[nodiscard]] bool diverted() const { return backlog != nullptr && backlog->interface_index() != 0; }
  };

  /// To load a program takes the kernel longer than all else of a planned restart: of all uplinks at once, beside the tables.
  struct Prepared {
    HandedProgram wanted;
    std::future<Result<std::unique_ptr<xdp::UplinkProgram>>> program;
  };
  struct Adoption {
    Inherited inherited;
    Prepared prepared;
  };

  /// Program and sockets, ready to be used.
  struct Opened {
    std::unique_ptr<xdp::UplinkProgram> program;
    std::vector<std::unique_ptr<xdp::XskSocket>> sockets;
    std::vector<HandedQueue> queues;
    std::uint32_t queues_then = 0;
    std::shared_ptr<Backlog> backlog;
    /// The program of a former process is still at work: `take_over` when everything is in place.
    bool takes_over = false;
  };

  [[nodiscard]] static bool needs_jumbo(const netlink::Interface& link);
  [[nodiscard]] static std::uint32_t queues_in_use(const netlink::Interface& link);
  [[nodiscard]] static xdp::XskSocket::Options socket_options(const std::string& name, const HandedQueue& queue,
                                                              const forward::FramePool& pool);
  [[nodiscard]] unsigned workers() const noexcept { return static_cast<unsigned>(pools_.size()); }
  [[nodiscard]] bool takes_jumbo() const noexcept { return jumbo_allowed_ && pools_.front().slots() != 0; }
  /// Shares the sockets out: queue q is received from by worker q modulo their number. Each sends through its first one, or
  /// together with others.
  [[nodiscard]] std::vector<std::shared_ptr<AfXdpIo>> share_out(forward::PortId port,
                                                                std::vector<std::unique_ptr<xdp::XskSocket>> sockets,
                                                                Uplink& uplink);
  static void look_at_target(Uplink& uplink);
  void warn_of_frames();
  /// Which rings the sockets have, and what the kernel could not put into them.
  static void describe_rings(const Uplink& uplink, ipc::UplinkStats& stats);
  Result<void> open(const std::string& name, const netlink::Interface& link, Uplink& uplink);
  [[nodiscard]] Result<Opened> open_fresh(const std::string& name, const netlink::Interface& link);
  [[nodiscard]] Result<void> open_sockets(const std::string& name, const netlink::Interface& link, Opened& opened);
  [[nodiscard]] Result<Opened> adopt(const std::string& name, const netlink::Interface& link, Adoption adoption);
  [[nodiscard]] Result<void> adopt_sockets(const std::string& name, Inherited& inherited, Opened& opened);
  /// The frames of sockets that are closed.
  void give_back(const HandedUplink& uplink);
  void drop(Adoption adoption);
  static void end_backlog(const std::string& name, Uplink& uplink);
  void close(Uplink& uplink);

  forward::Tables& tables_;
  std::span<forward::FramePool> pools_;
  PortIds& ids_;
  netlink::Netlink& netlink_;
  const xdp::Steering& steering_;
  std::map<std::string, Uplink> uplinks_;
  std::map<std::string, Prepared> prepared_;
  std::map<std::string, Adoption> inherited_;
  bool jumbo_allowed_ = true;
  /// Frames in the receive rings of all open uplinks, when they are full.
  std::size_t stock_ = 0;
};

}  // namespace simplon::forwarder
