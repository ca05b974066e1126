// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/vlan_offload.h"

#include <linux/ethtool.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <vector>

#include "platform/sys/ethtool.h"

namespace simplon::forwarder {
namespace {

constexpr std::string_view kNames[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};

}  // namespace

Result<void> leave_vlan_tags(const std::string& interface) {
  const sys::Ethtool ethtool(interface);
  const auto names = ethtool.feature_names();
  const std::size_t blocks = (names.size() + 31) / 32;
  if (blocks == 0) return {};
  std::vector<std::uint32_t> bytes((sizeof(ethtool_sfeatures) + blocks * sizeof(ethtool_set_features_block)) / 4 + 1);
  auto* wanted = reinterpret_cast<ethtool_sfeatures*>(bytes.data());
  wanted->cmd = ETHTOOL_SFEATURES;
  wanted->size = static_cast<std::uint32_t>(blocks);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::find(std::begin(kNames), std::end(kNames), names[i]) == std::end(kNames)) continue;
    wanted->features[i / 32].valid |= 1U << (i % 32);
  }
  const auto mask = [&](std::size_t block) { return wanted->features[block].valid; };
  // A driver that cannot change one of them says so (a positive answer); what counts is what is on afterwards.
  static_cast<void>(ethtool.ask(wanted));
  std::vector<std::uint32_t> state((sizeof(ethtool_gfeatures) + blocks * sizeof(ethtool_get_features_block)) / 4 + 1);
  auto* present = reinterpret_cast<ethtool_gfeatures*>(state.data());
  present->cmd = ETHTOOL_GFEATURES;
  present->size = static_cast<std::uint32_t>(blocks);
  if (ethtool.ask(present) < 0) return {};
  for (std::size_t block = 0; block < blocks; ++block) {
    if ((present->features[block].active & mask(block)) != 0) {
      return fail(ErrorCode::kUnavailable, interface + " takes VLAN tags out of received frames, and cannot be told not to",
                  "its circuits receive nothing; use another network card for them");
    }
  }
  return {};
}

}  // namespace simplon::forwarder
