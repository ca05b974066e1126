// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/forward/packet_filter.h"
#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/policy/policy_notes.h"
#include "gateway/forward/src/watch/watch.h"

namespace simplon::forward {

/// What one packet was when a stage was done with it. Values, no pointers into the tables: it is read later, by another thread.
struct Sighting {
  /// What became of the packet, or was made of it.
  enum class Role : std::uint8_t { kPacket, kAnswer, kFragment };

  Stage stage = Stage::kClassify;
  Role role = Role::kPacket;
  bool dropped = false;
  Drop drop = Drop::kIpv4Malformed;
  bool from_host = false;
  bool to_host = false;
  std::uint8_t outer_family = 0;
  PortId port = kNoPort;
  std::uint16_t length = 0;
  std::uint16_t mtu = 0;
  std::uint32_t flow_hash = 0;
  /// Slots.
  std::uint32_t ingress = 0;
  std::uint32_t egress = 0;
  InnerPacket inner;
  WireAddress outer_source;
  WireAddress outer_destination;
  /// Of a VXLAN packet: its VNI.
  std::uint32_t vni = 0;
  bool has_endpoint = false;
  Endpoint endpoint;
  bool has_adjacency = false;
  Adjacency adjacency{};
  struct SaView {
    Spi spi;
    bool inbound = false;
    bool esn = false;
    bool encap = false;
    crypto::EspSuite suite = crypto::EspSuite::kAes256Gcm16;
    WireAddress source;
    WireAddress destination;
    std::uint64_t sequence = 0;
  };
  bool has_sa = false;
  SaView sa;
  /// The first bytes, as they lay then.
  std::array<std::uint8_t, 192> head{};
  std::uint8_t head_bytes = 0;
};

/// Follows one packet, and what is made of it, through the stages. Of several workers each may have a Recorder; one that follows a
/// packet which is handed over to another worker gives what it saw to that one's.
///
/// Threads: the worker's as a Watch, until `done`; then everybody's.
class Recorder final : public Watch {
  static constexpr std::size_t kMostSightings = 64;
  static constexpr std::size_t kMostFollowed = 10;

 public:
  /// Between the Recorders of several workers.
  class Luggage {
    friend class Recorder;
    /// Of the packet that is on its way; nullptr: none is.
    std::atomic<const std::uint8_t*> frame_{nullptr};
    std::array<Sighting, kMostSightings> sightings_{};
    std::size_t count_ = 0;
  };

  /// Follows the only packet of the burst.
  Recorder() = default;
  /// Follows the first packet that came in through the attachment and that the filter lets pass.
  /// `use`: of its slot, so that no later attachment is taken for it.
  Recorder(std::uint32_t ingress, std::uint32_t use, const PacketFilter& filter, std::shared_ptr<Luggage> luggage)
      : wanted_(Wanted{ingress, use, filter}), luggage_(std::move(luggage)) {}

  void entering(Burst& burst, Stage stage) noexcept override;
  void passed(Burst& burst, Stage stage) noexcept override;
  void dropped(const Burst& burst, unsigned number, Drop reason) noexcept override;
  void handed_over(const Burst& burst, unsigned number) noexcept override;
  void taken_over(const Burst& burst, unsigned number) noexcept override;
  void policed(const Burst& burst, unsigned number, const PolicyNotes& notes) noexcept override;
  void ended(const Burst& burst) noexcept override;

  [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire); }
  [[nodiscard]] std::span<const Sighting> sightings() const noexcept { return {sightings_.data(), count_}; }
  /// Of the packet in `police`; nullptr: it did not come by there.
  [[nodiscard]] const PolicyNotes* policy() const noexcept { return policy_ ? &*policy_ : nullptr; }

 private:
  struct Wanted {
    std::uint32_t ingress;
    std::uint32_t use;
    PacketFilter filter;
  };
  struct Followed {
    unsigned number = 0;
    Sighting::Role role = Sighting::Role::kPacket;
    bool alive = true;
    bool unanswered = false;
  };

  [[nodiscard]] bool wants(const Burst& burst, unsigned number) const noexcept;
  Followed* find(unsigned number) noexcept;
  void follow(unsigned number, Sighting::Role role) noexcept;
  /// One that was chosen late: what is known of the stages it has passed.
  void catch_up(const Burst& burst, unsigned number, Stage until) noexcept;
  Sighting* look(const Burst& burst, const Followed& followed, Stage stage) noexcept;
  void look_for_fragments(const Burst& burst) noexcept;

  std::optional<Wanted> wanted_;
  std::shared_ptr<Luggage> luggage_;
  std::array<Followed, kMostFollowed> followed_{};
  std::size_t following_ = 0;
  Stage running_ = Stage::kClassify;
  unsigned used_before_ = 0;
  std::array<Sighting, kMostSightings> sightings_{};
  std::size_t count_ = 0;
  std::optional<PolicyNotes> policy_;
  std::atomic<bool> done_{false};
};

}  // namespace simplon::forward
