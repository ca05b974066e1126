// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/tables.h"
#include "gateway/forward/worker.h"
#include "platform/base/clock.h"
#include "tests/differential/scenario.h"

namespace simplon::differential {

class XdpSide;

/// What the engine did with a burst.
struct Observed {
  /// In order of transmission.
  std::vector<forward::MemoryIo::Sent> sent;
  std::array<std::uint64_t, forward::kDropCount> drops{};
  std::uint64_t received = 0;
  std::uint64_t originated = 0;
  std::uint64_t sent_count = 0;
  std::uint64_t punted = 0;
  std::uint64_t suppressed = 0;
  /// Frames that are neither in the pool nor with a port.
  std::size_t lost_frames = 0;
};

/// The engine under test: the real tables and the real worker, on ports in memory.
class Engine {
 public:
  explicit Engine(const Limits& limits);
  ~Engine();

  /// False if the tables refuse it; then nothing was changed.
  [[nodiscard]] bool apply(const oracle::Change& change);
  [[nodiscard]] Observed run(std::span<const Input> inputs, std::optional<std::size_t> accept);
  void advance(std::uint64_t nanoseconds) { clock_.advance(std::chrono::nanoseconds(nanoseconds)); }
  /// Nanoseconds.
  [[nodiscard]] std::uint64_t now() const {
    return static_cast<std::uint64_t>(clock_.now().time_since_epoch().count());
  }

  [[nodiscard]] const forward::Tables& tables() const { return tables_; }
  /// Which of several nexthops it takes for packets of `flow` from there, at the route to `destination`: it may choose. The gateway is
  /// unspecified if it is on a circuit that is not there. nullopt: there is no such route.
  [[nodiscard]] std::optional<oracle::Hop> nexthop(oracle::AttachmentId ingress, const IpAddress& destination,
                                                   const oracle::Flow& flow) const;
  /// Totals are complete after this.
  void count();
  [[nodiscard]] std::uint64_t forwarded_in_xdp() const { return in_xdp_; }
  /// Of these, by one of several nexthops.
  [[nodiscard]] std::uint64_t spread_in_xdp() const;
  [[nodiscard]] forward::Sa* inbound(Spi spi) const;
  [[nodiscard]] forward::Sa* outbound(TunnelId tunnel) const { return tables_.outbound(tunnel).get(); }

 private:
  [[nodiscard]] Observed totals() const;
  void run_worker(Observed& result);

  FakeClock clock_;
  forward::FramePool pool_;
  forward::Tables tables_;
  std::shared_ptr<forward::MemoryIo> io_;
  std::map<Spi, std::shared_ptr<forward::Sa>> inbound_;
  forward::Worker worker_;
  /// With Limits::xdp.
  std::unique_ptr<XdpSide> xdp_;
  std::uint64_t in_xdp_ = 0;
};

}  // namespace simplon::differential
