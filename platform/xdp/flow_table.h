// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "platform/base/result.h"
#include "platform/xdp/flow_layout.h"
#include "platform/xdp/kernel_grace.h"

namespace simplon::xdp {

/// The flows that the XDP programs of all uplinks forward by themselves: BPF maps, mapped into our memory and written
/// there.
///
/// A flow is good while the generation of its ingress attachment is the one it was made in. `invalidate` sets that to
/// 0, one store for all flows of the attachment; a program that looked before may still be at work on one packet, so
/// what must be certain waits for `settled`. What a program may be reading never changes: a flow is written where none
/// was, and seen from a grace period later on; one that goes leaves its place unused until a grace period has passed.
///
/// Threads: one. Nothing blocks.
class FlowTable {
 public:
  /// `grace` outlives it. Errors: kUnavailable if the kernel refuses a map.
  [[nodiscard]] static Result<std::unique_ptr<FlowTable>> create(Grace& grace);
  ~FlowTable();
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  /// Fills its generation in; `addresses`: if IPv6 is outside. False: it is there, or its bucket is full and another flow
  /// goes first; it will be reported again.
  bool put(const simplon_xdp_flow& flow, const simplon_xdp_addresses6& addresses = {});
  /// What flows with SIMPLON_XDP_SPREAD lead to: by bucket the number of a nexthop, 0: the worker's. Once for each number,
  /// unless no program can have met a flow with it.
  void set_spread(std::uint32_t number, const std::array<std::uint8_t, 256>& members);
  /// No flow that comes in as `ingress` (of whatever inner family) is good any more. False: there was none.
  bool invalidate(std::uint32_t ingress);
  bool invalidate_all();
  /// What grace periods that have passed allow; call it from time to time.
  void advance();
  /// No packet is forwarded by a flow that was invalidated before the call of `begin_settling` that gave `ticket`.
  [[nodiscard]] Grace::Ticket begin_settling();
  [[nodiscard]] bool settled(Grace::Ticket ticket) const noexcept { return grace_.passed(ticket); }

  /// Where flows with `egress` leave; 0: nowhere, their packets go to the worker. Errors: kUnavailable.
  [[nodiscard]] Result<void> set_egress(std::uint16_t egress, std::uint32_t interface_index);
  /// Sum over all CPUs since the start.
  [[nodiscard]] simplon_xdp_lane lane(std::uint32_t lane) const;

  /// Flows that some packets had that missed; at most `most` of them. `sample_fd` is readable when there are some.
  std::size_t take_samples(std::size_t most, const std::function<void(const simplon_xdp_sample&)>& visit);
  [[nodiscard]] int sample_fd() const noexcept;

  /// The flow that a program would use for it, or nullptr. `bucket`: that of the packet's flow hash
  /// (simplon_xdp_spread), if there are several nexthops.
  [[nodiscard]] const simplon_xdp_flow* find(const simplon_xdp_flow_key& key, std::uint8_t bucket) const noexcept;
  [[nodiscard]] const simplon_xdp_flow* find(const simplon_xdp_flow_key& key) const noexcept;
  /// Something waits for a grace period.
  [[nodiscard]] bool busy() const noexcept { return !arriving_.empty() || !leaving_.empty(); }

 private:
  friend class UplinkProgram;
  struct Maps;
  enum class Way : std::uint8_t { kFree, kPending, kLive, kLeaving };
  struct Pending {
    Grace::Ticket ticket;
    std::uint32_t place;
  };

  struct Fds {
    int generations, buckets, flows, addresses6, spreads, lanes, egresses, samples;
  };

  FlowTable(Grace& grace, std::unique_ptr<Maps> maps);
  /// For a program that takes frames in pieces, or for one that does not.
  [[nodiscard]] Fds fds(bool multi_buffer) const noexcept;
  [[nodiscard]] bool good(const simplon_xdp_flow& flow) const noexcept;
  void clear(std::uint32_t place);

  Grace& grace_;
  std::unique_ptr<Maps> maps_;
  std::uint64_t seed_ = 0;
  std::uint64_t last_generation_ = 0;
  std::vector<Way> ways_;
  /// In order of their tickets.
  std::vector<Pending> arriving_;
  std::vector<Pending> leaving_;
  std::uint32_t next_victim_ = 0;
  bool any_generation_ = false;
};

}  // namespace simplon::xdp
