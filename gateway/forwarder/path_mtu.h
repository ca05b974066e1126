// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/clock.h"
#include "platform/net/ip_address.h"

namespace simplon::forwarder {

struct TooBig;

/// The MTU of the path to one outer destination: the least of the kernel's route and of what a router told.
class PathMtu {
 public:
  /// RFC 1191 section 6.3 and RFC 8201 section 5.3: what was learned is forgotten after ten minutes, in case the path has changed.
  static constexpr std::chrono::minutes kLife{10};

  enum class Change : std::uint8_t { kLowered, kNone };

  void set_route(std::uint16_t bytes) noexcept { route_ = bytes; }
  /// Never raises it. Hearing the same again lets it live longer.
  Change lower(std::uint16_t bytes, MonoTime now) noexcept;
  /// True: it was time to forget, and `bytes` may have grown.
  [[nodiscard]] bool forget_old(MonoTime now) noexcept;

  [[nodiscard]] std::uint16_t bytes() const noexcept { return learned_ == 0 || route_ < learned_ ? route_ : learned_; }
  /// 0: nothing.
  [[nodiscard]] std::uint16_t learned() const noexcept { return learned_; }
  [[nodiscard]] std::chrono::seconds left(MonoTime now) const noexcept;

 private:
  std::uint16_t route_ = 0;
  std::uint16_t learned_ = 0;
  MonoTime until_;
};

/// What became of an ICMP "packet too big" about an outer packet.
enum class TooBigOutcome : std::uint8_t {
  kLearned,
  kKnown,
  kMalformed,
  kShortQuote,
  kForeign,
  kUnknownSa,
  kWrongPath,
  kNeverSent,
  kUnknownEndpoint,
  kMtuTooSmall,
  kNotTooBig,
};

/// Judges what routers say about our outer packets, and lowers path MTUs. Anyone can send such a message, so only what quotes a packet
/// that we sent is believed (RFC 5927 section 7.2, RFC 8201 section 6).
///
/// ESP: the quote has the SPI and both addresses (and ports) of an outbound SA, and a sequence number that was used not long ago. Who
/// does not see our packets has to guess the SPI and hit one of kRecent numbers.
///
/// VXLAN has no secret and no number. The quote must be of a packet to an endpoint that the tables have: VNI, address and MAC address of
/// the endpoint and of the gateway, both VTEPs and the port. Who knows all these can lie; down to the least MTU, which does harm but no
/// more.
///
/// Threads: the control thread's.
class PathMtuLearner {
 public:
  /// Lowers the path MTU of an outer destination.
  using Lower = std::function<PathMtu::Change(const IpAddress& destination, std::uint16_t bytes)>;

  /// Chosen by us: half a second of what one SA sends at two million packets a second, and one of 4,096 numbers.
  static constexpr std::uint64_t kRecent = std::uint64_t{1} << 20;
  /// What every host takes (RFC 791 section 3.1): no path of today is narrower, and ESP leaves little of less.
  static constexpr std::uint16_t kLeastV4 = 576;
  static constexpr std::uint16_t kLeastV6 = 1280;  // RFC 8201 section 4

  PathMtuLearner(const forward::Tables& tables, const SaStore& sas, Lower lower)
      : tables_(tables), sas_(sas), lower_(std::move(lower)) {}

  /// An IP packet as received.
  TooBigOutcome hear(std::span<const std::uint8_t> packet);

  /// How often there was each outcome, by name.
  [[nodiscard]] std::vector<ipc::RuleCount> counts() const;

 private:
  [[nodiscard]] TooBigOutcome judge(std::span<const std::uint8_t> packet);
  /// kLearned: it is about a packet of ours.
  [[nodiscard]] TooBigOutcome verify(const TooBig& about) const;

  const forward::Tables& tables_;
  const SaStore& sas_;
  Lower lower_;
  std::array<std::uint64_t, static_cast<std::size_t>(TooBigOutcome::kNotTooBig) + 1> counts_{};
};

}  // namespace simplon::forwarder
