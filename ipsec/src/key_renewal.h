// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ipsec/src/tunnel_state.h"

namespace simplon::ipsec {

/// `key`, loaded just now, is not the one given before: the tunnel is to be initiated, beside what forwards.
void renew_key(Tunnel& tunnel, std::size_t key, MonoTime now);

/// `tunnel` has just been loaded for the first time, and an earlier life left a key in charon that is not proven: SAs that are
/// up were authenticated with another one.
void resume_renewal(Tunnel& tunnel, MonoTime now);

/// After a loss of the connection to charon, whose IKE_SAs may have other numbers then: those it has are taken for old ones.
void forget_ike_sas(Renewal& renewal);

/// `tunnel` has a renewal, `sas` are its IKE_SAs. Those that have had their time: of the key before, once a successor forwards.
[[nodiscard]] std::vector<std::uint32_t> follow_renewal(Tunnel& tunnel, const std::vector<ObservedIke>& sas, MonoTime looked);

}  // namespace simplon::ipsec
