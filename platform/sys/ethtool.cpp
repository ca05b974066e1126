// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace simplon::sys {

Ethtool::Ethtool(std::string interface)
    : interface_(std::move(interface)), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

int Ethtool::ask(void* command) const {
  struct ifreq request {};
  std::memcpy(request.ifr_name, interface_.c_str(), std::min(interface_.size(), sizeof request.ifr_name - 1));
  request.ifr_data = static_cast<char*>(command);
  return ::ioctl(fd_.get(), SIOCETHTOOL, &request);
}

std::string Ethtool::driver() const {
  struct ethtool_drvinfo info {};
  info.cmd = ETHTOOL_GDRVINFO;
  if (ask(&info) < 0) return {};
  return {info.driver, ::strnlen(info.driver, sizeof info.driver)};
}

std::optional<std::uint32_t> Ethtool::receive_queues() const {
  struct ethtool_channels channels {};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ask(&channels) < 0) return std::nullopt;
  return channels.rx_count + channels.combined_count;
}

std::vector<std::string> Ethtool::feature_names() const {
  alignas(ethtool_sset_info) char info_bytes[sizeof(ethtool_sset_info) + sizeof(__u32)] = {};
  auto* info = reinterpret_cast<ethtool_sset_info*>(info_bytes);
  info->cmd = ETHTOOL_GSSET_INFO;
  info->sset_mask = std::uint64_t{1} << ETH_SS_FEATURES;
  if (ask(info) < 0 || info->sset_mask == 0) return {};
  const std::uint32_t count = info->data[0];
  std::vector<char> bytes(sizeof(ethtool_gstrings) + std::size_t{count} * ETH_GSTRING_LEN);
  auto* strings = reinterpret_cast<ethtool_gstrings*>(bytes.data());
  strings->cmd = ETHTOOL_GSTRINGS;
  strings->string_set = ETH_SS_FEATURES;
  strings->len = count;
  if (ask(strings) < 0) return {};
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* name = bytes.data() + sizeof(ethtool_gstrings) + std::size_t{i} * ETH_GSTRING_LEN;
    names.emplace_back(name, ::strnlen(name, ETH_GSTRING_LEN));
  }
  return names;
}

}  // namespace simplon::sys
