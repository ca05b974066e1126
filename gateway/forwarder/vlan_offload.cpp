// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/vlan_offload.h"

#include <linux/ethtool.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "platform/sys/ethtool.h"

namespace simplon::forwarder {
namespace {

constexpr std::string_view kParse[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
// Of VLANs that no VLAN device is made for.
constexpr std::string_view kFilter[] = {"rx-vlan-filter", "rx-vlan-stag-filter"};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

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
    if (is_one_of(kParse, names[i]) || is_one_of(kFilter, names[i])) wanted->features[i / 32].valid |= 1U << (i % 32);
  }
  // A driver that cannot change one of them says so (a positive answer); what counts is what is on afterwards.
  static_cast<void>(ethtool.ask(wanted));
  std::vector<std::uint32_t> state((sizeof(ethtool_gfeatures) + blocks * sizeof(ethtool_get_features_block)) / 4 + 1);
  auto* present = reinterpret_cast<ethtool_gfeatures*>(state.data());
  present->cmd = ETHTOOL_GFEATURES;
  present->size = static_cast<std::uint32_t>(blocks);
  if (ethtool.ask(present) < 0) return {};
  const auto is_on = [&](std::span<const std::string_view> wanted_names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (is_one_of(wanted_names, names[i]) && (present->features[i / 32].active >> (i % 32) & 1U) != 0) return true;
    }
    return false;
  };
  if (is_on(kParse)) {
    return fail(ErrorCode::kUnavailable, interface + " takes VLAN tags out of received frames, and cannot be told not to",
                "its circuits receive nothing; use another network card for them");
  }
  if (is_on(kFilter)) {
    return fail(ErrorCode::kUnavailable, interface + " drops frames of VLANs that no VLAN device is made for, and cannot be told not to",
                "its circuits receive nothing unless: ip link set " + interface + " promisc on");
  }
  return {};
}

}  // namespace simplon::forwarder
