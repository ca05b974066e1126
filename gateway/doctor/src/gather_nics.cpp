// SPDX-License-Identifier: GPL-2.0-or-later
//
// Asked by netlink and ioctl: a socket belongs to the network namespace it was made in, while /sys/class/net shows the
// namespace of whoever mounted /sys.
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "gateway/doctor/src/sections.h"
#include "platform/netlink/netlink.h"
#include "platform/sys/unique_fd.h"

namespace simplon::doctor {
namespace {

void copy_name(char (&to)[IFNAMSIZ], const std::string& name) {
  std::memcpy(to, name.c_str(), std::min(name.size(), sizeof to - 1));
}

bool ask_ethtool(int fd, const std::string& interface, void* command) {
  struct ifreq request {};
  copy_name(request.ifr_name, interface);
  request.ifr_data = static_cast<char*>(command);
  return ::ioctl(fd, SIOCETHTOOL, &request) == 0;
}

std::string driver_of(int fd, const std::string& interface) {
  struct ethtool_drvinfo info {};
  info.cmd = ETHTOOL_GDRVINFO;
  if (!ask_ethtool(fd, interface, &info)) return {};
  return {info.driver, ::strnlen(info.driver, sizeof info.driver)};
}

std::optional<std::uint32_t> queues_of(int fd, const std::string& interface) {
  struct ethtool_channels channels {};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (!ask_ethtool(fd, interface, &channels)) return std::nullopt;
  return channels.rx_count + channels.combined_count;
}

/// Structures of ethtool end in arrays; words keep them aligned.
using Words = std::vector<std::uint32_t>;

std::vector<std::string> feature_names(int fd, const std::string& interface) {
  Words sets_words(sizeof(struct ethtool_sset_info) / 4 + 2);
  auto* sets = reinterpret_cast<struct ethtool_sset_info*>(sets_words.data());
  sets->cmd = ETHTOOL_GSSET_INFO;
  sets->sset_mask = 1ULL << ETH_SS_FEATURES;
  if (!ask_ethtool(fd, interface, sets) || sets->sset_mask == 0) return {};
  const std::uint32_t count = sets->data[0];
  if (count == 0 || count > 1024) return {};
  Words strings_words((sizeof(struct ethtool_gstrings) + std::size_t{count} * ETH_GSTRING_LEN) / 4 + 1);
  auto* strings = reinterpret_cast<struct ethtool_gstrings*>(strings_words.data());
  strings->cmd = ETHTOOL_GSTRINGS;
  strings->string_set = ETH_SS_FEATURES;
  strings->len = count;
  if (!ask_ethtool(fd, interface, strings)) return {};
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < std::min(count, strings->len); ++i) {
    const char* name = reinterpret_cast<const char*>(strings->data) + std::size_t{i} * ETH_GSTRING_LEN;
    names.emplace_back(name, ::strnlen(name, ETH_GSTRING_LEN));
  }
  return names;
}

std::map<std::string, bool> features_of(int fd, const std::string& interface) {
  const auto names = feature_names(fd, interface);
  const std::size_t blocks = (names.size() + 31) / 32;
  Words words((sizeof(struct ethtool_gfeatures) + blocks * sizeof(struct ethtool_get_features_block)) / 4 + 1);
  auto* features = reinterpret_cast<struct ethtool_gfeatures*>(words.data());
  features->cmd = ETHTOOL_GFEATURES;
  features->size = static_cast<std::uint32_t>(blocks);
  if (names.empty() || !ask_ethtool(fd, interface, features)) return {};
  std::map<std::string, bool> found;
  for (std::size_t i = 0; i < names.size() && i / 32 < features->size; ++i) {
    found[names[i]] = (features->features[i / 32].active >> (i % 32) & 1U) != 0;
  }
  return found;
}

/// The interface below `interface` if that is a VLAN.
std::string below_vlan(int fd, const std::string& interface) {
  struct vlan_ioctl_args request {};
  request.cmd = GET_VLAN_REALDEV_NAME_CMD;
  std::memcpy(request.device1, interface.c_str(), std::min(interface.size(), sizeof request.device1 - 1));
  if (::ioctl(fd, SIOCGIFVLAN, &request) != 0) return {};
  return {request.u.device2, ::strnlen(request.u.device2, sizeof request.u.device2)};
}

bool looks_like_nic(const std::string& driver) {
  return !driver.empty() && driver != "tun" && driver != "bridge" && driver != "vxlan" && driver != "dummy" &&
         driver != "ifb" && driver != "802.1Q VLAN Support";
}

}  // namespace

void gather_nics(const GatherOptions& options, Facts& facts) {
  std::vector<std::string> wanted = options.interfaces;
  if (wanted.empty()) {
    for (const auto& uplink : options.gateway.config.uplinks) wanted.push_back(uplink.interface);
  }
  const sys::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::vector<netlink::Interface> links;
  if (auto opened = netlink::Netlink::open(); opened) {
    if (auto all = (*opened)->interfaces(); all) links = *std::move(all);
  }
  if (wanted.empty()) {
    for (const auto& link : links) {
      if (link.running && looks_like_nic(driver_of(fd.get(), link.name))) wanted.push_back(link.name);
    }
  }
  for (const auto& name : wanted) {
    Nic nic;
    nic.name = name;
    if (const auto told = options.uplinks.find(name); told != options.uplinks.end()) nic.forwarded = told->second;
    const auto link = std::find_if(links.begin(), links.end(), [&](const auto& one) { return one.name == name; });
    if (link != links.end()) {
      nic.present = true;
      nic.running = link->running;
      nic.mtu_bytes = link->mtu_bytes;
      nic.driver = driver_of(fd.get(), name);
      nic.queues = queues_of(fd.get(), name);
      nic.features = features_of(fd.get(), name);
      for (const auto& other : links) {
        if (below_vlan(fd.get(), other.name) == name) nic.vlans.push_back(other.name);
      }
    }
    facts.nics.push_back(std::move(nic));
  }
}

}  // namespace simplon::doctor
