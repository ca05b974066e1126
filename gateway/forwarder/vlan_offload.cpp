// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel names offloads ("features") by strings whose places are bits; both are asked for, since the places differ from
// kernel to kernel.
#include "gateway/forwarder/vlan_offload.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {
namespace {

constexpr std::string_view kNames[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};

class Ethtool {
 public:
  explicit Ethtool(const std::string& interface) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    std::memcpy(request_.ifr_name, interface.c_str(), std::min(interface.size(), sizeof request_.ifr_name - 1));
  }
  /// 0 or more, or -1 with errno.
  int ask(void* command) {
    request_.ifr_data = static_cast<char*>(command);
    return ::ioctl(fd_.get(), SIOCETHTOOL, &request_);
  }

 private:
  sys::UniqueFd fd_;
  struct ifreq request_ {};
};

std::vector<std::string> feature_names(Ethtool& ethtool) {
  alignas(ethtool_sset_info) char info_bytes[sizeof(ethtool_sset_info) + sizeof(__u32)] = {};
  auto* info = reinterpret_cast<ethtool_sset_info*>(info_bytes);
  info->cmd = ETHTOOL_GSSET_INFO;
  info->sset_mask = std::uint64_t{1} << ETH_SS_FEATURES;
  if (ethtool.ask(info) < 0 || info->sset_mask == 0) return {};
  const std::uint32_t count = info->data[0];
  std::vector<char> bytes(sizeof(ethtool_gstrings) + std::size_t{count} * ETH_GSTRING_LEN);
  auto* strings = reinterpret_cast<ethtool_gstrings*>(bytes.data());
  strings->cmd = ETHTOOL_GSTRINGS;
  strings->string_set = ETH_SS_FEATURES;
  strings->len = count;
  if (ethtool.ask(strings) < 0) return {};
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* name = bytes.data() + sizeof(ethtool_gstrings) + std::size_t{i} * ETH_GSTRING_LEN;
    names.emplace_back(name, ::strnlen(name, ETH_GSTRING_LEN));
  }
  return names;
}

}  // namespace

Result<void> leave_vlan_tags(const std::string& interface) {
  Ethtool ethtool(interface);
  const auto names = feature_names(ethtool);
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
