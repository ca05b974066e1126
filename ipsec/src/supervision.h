// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "ipsec/src/tunnel_state.h"
#include "platform/base/clock.h"

namespace simplon::ipsec {

/// What is to be done about a tunnel, in this order.
struct Steps {
  /// It is up again after charon had ended: what it is loaded with has changed.
  bool load_again = false;
  /// IKE_SAs, by unique id: those that do not fit or have had their time.
  std::vector<std::uint32_t> end;
  bool initiate = false;
};

/// `sas` are the IKE_SAs of the tunnel as charon had them at `now`. Notes in `tunnel` what follows from them; a tunnel
/// that is `stale` remains so until its SAs were told to end.
[[nodiscard]] Steps look_after(Tunnel& tunnel, const std::vector<ObservedIke>& sas, MonoTime now);

}  // namespace simplon::ipsec
