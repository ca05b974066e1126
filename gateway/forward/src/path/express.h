// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace simplon::forward {

struct Attachment;

/// A plain packet on the express way: decapsulated, all that its tunnel asks for is checked, nothing of it is changed yet.
struct PlainPacket {
  static constexpr std::uint16_t kNoNumber = 0xffff;

  std::uint8_t* data;      ///< Its IPv4 header: no options, no fragment, at least two hops left.
  const Attachment* from;  ///< What it came in through.
  std::uint32_t destination;  ///< As it lies in memory.
  std::uint32_t flow_hash;
  std::uint16_t length;  ///< Without link padding.
  std::uint16_t number;  ///< Of its Transit, if it has one; `Transit::inner` may not be filled in.
  std::uint16_t way;     ///< Of express_out.
};
static_assert(sizeof(PlainPacket) == 32);

/// What nearly every packet needs, without the state that the stages hand on for all others: IPv4 without options or fragments
/// between VPCs and tunnels, in a domain without policy. Each such packet comes from `express_in` (VXLAN), from `esp_decrypt`, or, if the
/// stages let it pass, from `Burst::inner`, and is done when `express_out` is, or has gone over to the stages: whatever is rare or wrong is theirs.
///
/// A flow stays in order: of what came out of one tunnel protocol, once a packet has been left to the stages that may be of a flow
/// with plain ones, so are all behind it in the burst.
struct Express {
  static constexpr unsigned kCapacity = 64;

  unsigned count = 0;
  std::array<PlainPacket, kCapacity> packets;
  /// Nothing but IPv6 has been left to the stages of what came out of tunnels.
  bool takes_esp = false;
  /// Ready to be sent, all through the same port: the first ones of `Burst::io`.
  unsigned departed = 0;
  /// Slots of what they came in through.
  std::array<std::uint32_t, kCapacity> ingress;

  void begin() noexcept {
    count = departed = 0;
    takes_esp = false;
  }
};

}  // namespace simplon::forward
