// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "gateway/forward/tables.h"
#include "platform/xdp/flow_table.h"
#include "platform/xdp/kernel_grace.h"

namespace simplon::forwarder {

/// The XDP tier: packets between VPCs and circuits that the XDP program of an uplink forwards by itself.
///
///     XDP program --a packet without flow--> worker (forwards it)
///          |                                          Tables --something of the domain changed--+
///          +--sample of its addresses--> learn: Tables::shortcut --> xdp::FlowTable <--invalidate+
///
/// Where a route has several nexthops, the addresses lead to a spread, which leads by the packet's hash to a flow of that nexthop.
///
/// The tables decide, the flow table remembers: a flow is what they said of two addresses, until a write says that
/// something of its domain changed; then all flows of the domain are gone at once, and are learned anew from the
/// packets that miss them. The acknowledgment of a write waits until no program forwards by a flow older than the write
/// (`settling`).
///
/// Threads: the control thread's.
class XdpTier {
 public:
  /// `grace` null: that of the kernel. Errors: kUnavailable naming what the kernel lacks; then the worker forwards
  /// everything.
  [[nodiscard]] static Result<std::unique_ptr<XdpTier>> create(boost::asio::io_context& io, forward::Tables& tables,
                                                               std::unique_ptr<xdp::Grace> grace = nullptr);
  ~XdpTier();
  XdpTier(const XdpTier&) = delete;
  XdpTier& operator=(const XdpTier&) = delete;

  /// An open uplink, and which of the two it can be for the tier.
  struct Uplink {
    forward::PortId port;
    std::uint32_t index = 0;
    bool ingress = false;
    bool egress = false;
    /// Its frames may come in several pieces, which the program leaves to the worker.
    bool jumbo = false;
    friend bool operator==(const Uplink&, const Uplink&) = default;
  };
  void set_uplinks(std::vector<Uplink> uplinks);

  /// From now on nothing is forwarded here until `resume`: before the process hands over, or for whoever wants to see
  /// every packet in the worker.
  void pause();
  void resume() { paused_ = false; }

  /// When `settled`, no packet is forwarded by what the tables said before the last change.
  [[nodiscard]] xdp::Grace::Ticket settling();
  [[nodiscard]] bool settled(xdp::Grace::Ticket ticket) const noexcept { return table_->settled(ticket); }

  /// Looks at the waiting samples and at what grace periods allow; true if there is more to come soon. Called by itself
  /// from the io_context.
  bool step();

  /// Adds what was forwarded since the last call to the totals in `Tables`, and to these.
  void count();
  [[nodiscard]] std::uint64_t forwarded() const noexcept { return forwarded_; }
  [[nodiscard]] std::uint64_t forwarded(forward::PortId received_on) const;

  [[nodiscard]] const xdp::FlowTable& table() const noexcept { return *table_; }

 private:
  /// What is counted apart.
  struct Lane {
    forward::AttachmentId ingress;
    forward::AttachmentId egress;
    forward::PortId in;
    forward::PortId out;
    /// In front of the inner packet as it leaves.
    std::uint32_t header_bytes = 0;
    friend auto operator<=>(const Lane&, const Lane&) = default;
  };

  XdpTier(boost::asio::io_context& io, forward::Tables& tables, std::unique_ptr<xdp::Grace> grace,
          std::unique_ptr<xdp::FlowTable> table);
  void on_change(DomainId domain);
  void invalidate_all();
  [[nodiscard]] bool learn(const simplon_xdp_sample& sample);
  [[nodiscard]] std::optional<std::uint32_t> lane_of(const Lane& lane);
  [[nodiscard]] std::optional<std::uint32_t> spread_of(const forward::Shortcut::Spread& members);
  /// Lanes or spreads have run out: all start anew, once no program uses the old ones any more.
  void recycle();
  void finish_recycling();
  void listen();
  void go_on();

  forward::Tables& tables_;
  std::unique_ptr<xdp::Grace> grace_;
  std::unique_ptr<xdp::FlowTable> table_;
  boost::asio::posix::stream_descriptor samples_;
  boost::asio::steady_timer timer_;
  std::vector<Uplink> uplinks_;
  /// `ingress` of flows since the last change, without inner family and nexthop.
  std::map<DomainId, std::set<std::uint32_t>> members_;
  bool paused_ = false;
  bool unsettled_ = false;
  xdp::Grace::Ticket settling_ = 0;
  unsigned fruitless_ = 0;

  std::map<Lane, std::uint32_t> lanes_;
  /// As read last, of each lane ever used.
  std::vector<simplon_xdp_lane> counted_;
  std::vector<std::uint32_t> free_lanes_;
  /// Most groups share theirs: it says which of two or three takes which buckets.
  std::map<forward::Shortcut::Spread, std::uint32_t> spreads_;
  std::optional<xdp::Grace::Ticket> recycling_;
  std::optional<std::chrono::steady_clock::time_point> recycled_;

  std::uint64_t forwarded_ = 0;
  std::unordered_map<forward::PortId, std::uint64_t> forwarded_from_;
};

}  // namespace simplon::forwarder
