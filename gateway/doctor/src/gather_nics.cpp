// SPDX-License-Identifier: GPL-2.0-or-later
//
// Asked by netlink and ioctl: a socket belongs to the network namespace it was made in, while /sys/class/net shows the
// namespace of whoever mounted /sys.
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>

#include "gateway/doctor/src/sections.h"
#include "platform/netlink/netlink.h"
#include "platform/sys/ethtool.h"
#include "platform/sys/unique_fd.h"

namespace simplon::doctor {
namespace {

std::map<std::string, bool> features_of(const sys::Ethtool& ethtool) {
  const auto names = ethtool.feature_names();
  const std::size_t blocks = (names.size() + 31) / 32;
  // The structure ends in an array; words keep it aligned.
  std::vector<std::uint32_t> words((sizeof(struct ethtool_gfeatures) + blocks * sizeof(struct ethtool_get_features_block)) / 4 + 1);
  auto* features = reinterpret_cast<struct ethtool_gfeatures*>(words.data());
  features->cmd = ETHTOOL_GFEATURES;
  features->size = static_cast<std::uint32_t>(blocks);
  if (names.empty() || ethtool.ask(features) < 0) return {};
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
  const std::set<std::string> asked_for(options.interfaces.begin(), options.interfaces.end());
  std::vector<std::string> wanted = options.interfaces;
  for (const auto& uplink : options.gateway.config.uplinks) {
    if (!asked_for.contains(uplink.interface)) wanted.push_back(uplink.interface);
  }
  const sys::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::vector<netlink::Interface> links;
  if (auto opened = netlink::Netlink::open(); opened) {
    if (auto all = (*opened)->interfaces(); all) links = *std::move(all);
  }
  if (wanted.empty()) {
    for (const auto& link : links) {
      if (link.running && looks_like_nic(sys::Ethtool(link.name).driver())) wanted.push_back(link.name);
    }
  }
  for (const auto& name : wanted) {
    Nic nic;
    nic.name = name;
    nic.asked_for = asked_for.empty() || asked_for.contains(name);
    if (const auto told = options.uplinks.find(name); told != options.uplinks.end()) nic.forwarded = told->second;
    const auto link = std::find_if(links.begin(), links.end(), [&](const auto& one) { return one.name == name; });
    if (link != links.end()) {
      nic.present = true;
      nic.running = link->running;
      nic.mtu_bytes = link->mtu_bytes;
      nic.promiscuous = link->promiscuous;
      const sys::Ethtool ethtool(name);
      nic.driver = ethtool.driver();
      nic.queues = ethtool.receive_queues();
      nic.features = features_of(ethtool);
      for (const auto& other : links) {
        if (below_vlan(fd.get(), other.name) == name) nic.vlans.push_back(other.name);
      }
    }
    facts.nics.push_back(std::move(nic));
  }
}

}  // namespace simplon::doctor
