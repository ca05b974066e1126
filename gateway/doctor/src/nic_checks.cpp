// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <string_view>

#include "gateway/doctor/src/sections.h"

namespace simplon::doctor {
namespace {

// Drivers of Linux 6.1 with XDP in the driver, and those that hand frames to AF_XDP without a copy.
constexpr std::array<std::string_view, 21> kNativeDrivers = {
    "atlantic", "bnxt_en", "dpaa2-eth", "ena",     "fec",        "fun",   "hv_netvsc",
    "igb",      "ixgbevf", "mana",      "mlx4_en", "mvneta",     "mvpp2", "octeontx2-nicpf",
    "qede",     "sfc",     "tsnep",     "tun",     "virtio_net", "veth",  "xen_netfront"};
// Drivers that got it later, and when.
struct LaterDriver {
  std::string_view name;
  KernelVersion since;
  const char* words;
};
constexpr std::array<LaterDriver, 2> kLaterDrivers = {{{"gve", {6, 4}, "6.4"}, {"vmxnet3", {6, 6}, "6.6"}}};
constexpr std::array<std::string_view, 8> kZeroCopyDrivers = {"i40e", "ice", "igc",    "ixgbe",
                                                              "mlx5_core", "st_gmac", "stmmac", "nfp"};

// What an AF_XDP frame holds: a page less XDP's 256 bytes, our headroom of 128, and the Ethernet header.
constexpr std::uint32_t kLargestMtu = 4096 - 256 - 128 - 14;
// What the forwarder takes at most, in several frames, where the kernel can (Linux 6.6).
constexpr std::uint32_t kLargestJumboMtu = 9216;
// VXLAN around an inner packet: Ethernet 14, IP 20 or 40, UDP 8, VXLAN 8.
constexpr std::uint32_t kVxlanBytes = 50;
constexpr std::uint32_t kVxlanBytesV6 = 70;
// ESP in UDP around an inner packet, with AES-GCM: IP 20 or 40, UDP 8, ESP 8, IV 8, padding and trailer 5, ICV 16.
constexpr std::uint32_t kEspBytes = 65;
constexpr std::uint32_t kEspBytesV6 = 85;
// RFC 8200 section 5.
constexpr std::uint32_t kLeastIpv6Mtu = 1280;

// Chosen by us: a packet of ten thousand is lost in any start or pause of the host.
constexpr std::uint64_t kLostAtLeast = 10000;

std::string queues_of(std::uint32_t count) { return std::to_string(count) + (count == 1 ? " queue" : " queues"); }

const LaterDriver* later(std::string_view driver) {
  const auto found = std::find_if(kLaterDrivers.begin(), kLaterDrivers.end(), [&](const auto& one) { return one.name == driver; });
  return found == kLaterDrivers.end() ? nullptr : &*found;
}

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

Finding check_link(const Nic& nic) {
  const std::string id = "nic." + nic.name + ".link";
  if (!nic.present) {
    return {id, Verdict::kFailed, nic.name + " does not exist",
            "compare `ip link` with `uplinks` in `simplon config show`"};
  }
  if (!nic.running) {
    return {id, Verdict::kFailed, nic.name + " is down or has no carrier", "ip link set " + nic.name + " up; is the cable in?"};
  }
  return {id, Verdict::kOk, nic.name + " is up" + (nic.driver.empty() ? "" : ", driver " + nic.driver), ""};
}

Finding check_xdp(const Nic& nic, KernelVersion kernel) {
  const std::string id = "nic." + nic.name + ".xdp";
  const bool zero_copy = contains(kZeroCopyDrivers, nic.driver);
  const LaterDriver* newer = later(nic.driver);
  const bool native = zero_copy || contains(kNativeDrivers, nic.driver) || (newer != nullptr && kernel >= newer->since);
  const std::string mode = nic.forwarded ? nic.forwarded->xdp_mode : "";
  if (nic.forwarded && !nic.forwarded->error.empty()) {
    return {id, Verdict::kFailed, "the forwarder cannot use " + nic.name + ": " + nic.forwarded->error,
            "it tries again every second; ip -details link show " + nic.name};
  }
  if (mode.starts_with("native")) {
    return {id, Verdict::kOk, "the forwarder has " + nic.name + " in mode " + mode, ""};
  }
  if (!mode.empty()) {
    if (native) {
      return {id, Verdict::kWarning,
              "the forwarder has " + nic.name + " in mode " + mode + ", although driver " + nic.driver +
                  " has XDP: it refuses it with these queues, this MTU or these offloads",
              "ethtool -K " + nic.name + " lro off rx-gro-hw off; or fewer queues, as ena wants: ethtool -L " + nic.name +
                  " combined N; or a smaller MTU; then systemctl restart simplon-forwarder"};
    }
    return {id, Verdict::kWarning,
            "the forwarder has " + nic.name + " in mode " + mode + ": it works, at about half the speed",
            "use a NIC whose driver has XDP, such as i40e, ice, ixgbe, mlx5_core or virtio_net"};
  }
  if (zero_copy) return {id, Verdict::kOk, "driver " + nic.driver + " of " + nic.name + " has XDP with zero-copy", ""};
  if (native) return {id, Verdict::kOk, "driver " + nic.driver + " of " + nic.name + " has XDP", ""};
  if (newer != nullptr) {
    return {id, Verdict::kWarning,
            "driver " + nic.driver + " of " + nic.name + " has XDP since Linux " + newer->words +
                ": with this kernel the forwarder will use the generic mode, at about half the speed",
            "boot a newer kernel, for example that of bookworm-backports"};
  }
  if (nic.driver == "bonding") {
    return {id, Verdict::kWarning, nic.name + " is a bond: the forwarder will use the generic mode, at about half the speed",
            "make the members uplinks of their own"};
  }
  if (nic.driver.empty()) {
    return {id, Verdict::kUnseen, "the driver of " + nic.name + " is not known",
            "simplon status says what the forwarder got, once it is an uplink"};
  }
  return {id, Verdict::kWarning,
          "driver " + nic.driver + " of " + nic.name + " is not known to have XDP: the forwarder will use the generic mode, "
          "at about half the speed",
          "use a NIC whose driver has XDP, such as i40e, ice, ixgbe, mlx5_core or virtio_net"};
}

Finding check_queues(const Nic& nic) {
  const std::string id = "nic." + nic.name + ".queues";
  if (!nic.queues) return {id, Verdict::kOk, nic.name + " does not tell its queues: the forwarder takes one", ""};
  if (*nic.queues > 256) {
    return {id, Verdict::kFailed, nic.name + " has " + std::to_string(*nic.queues) + " queues, more than 256",
            "ethtool -L " + nic.name + " combined 16"};
  }
  return {id, Verdict::kOk, nic.name + " has " + queues_of(*nic.queues), ""};
}

Finding check_control_rings(const Nic& nic) {
  const std::string id = "nic." + nic.name + ".control-ring";
  const ForwardedUplink& uplink = *nic.forwarded;
  if (uplink.control_rings >= uplink.queues) {
    return {id, Verdict::kOk, "control packets of " + nic.name + " have a receive ring of their own", ""};
  }
  return {id, Verdict::kWarning,
          "the kernel gives " + std::to_string(uplink.queues - uplink.control_rings) + " of " + queues_of(uplink.queues) +
              " of " + nic.name + " no receive ring for control packets: more data than the workers carry pushes out BGP, BFD and ARP too",
          "the kernel or the driver refuses a second AF_XDP socket on a queue: Debian 12's kernel or a newer one, and a driver "
          "that has it; until then keep the workers below their limit (busy in simplon status)"};
}

Finding check_receive_rings(const Nic& nic, std::size_t workers) {
  const std::string id = "nic." + nic.name + ".lost";
  const ForwardedUplink& uplink = *nic.forwarded;
  const std::uint64_t lost = uplink.rx_ring_full + uplink.control_ring_full;
  const std::uint64_t came = uplink.rx_packets + lost;
  std::string what = std::to_string(lost) + " of " + std::to_string(came) + " packets of " + nic.name +
                     " were lost because no worker took them in time";
  if (uplink.control_ring_full > 0) what += ", " + std::to_string(uplink.control_ring_full) + " of them control packets";
  if (uplink.fill_ring_empty > 0) {
    what += "; the kernel had no frame to receive into " + std::to_string(uplink.fill_ring_empty) + " times";
  }
  // In zero-copy it counts attempts of the driver, which asks ahead.
  const std::uint64_t without_frame = uplink.xdp_mode.find(", copy") != std::string::npos ? uplink.fill_ring_empty : 0;
  if (std::max(lost, without_frame) <= came / kLostAtLeast && uplink.control_ring_full == 0) return {id, Verdict::kOk, what, ""};
  std::string remedy = "look at busy in simplon status while it happens";
  if (workers < uplink.queues) {
    remedy += "; more workers: --workers in /etc/default/simplon-forwarder, up to the " + queues_of(uplink.queues);
  } else {
    remedy += "; more queues: ethtool -L " + nic.name + " combined N, with as many --workers in /etc/default/simplon-forwarder";
  }
  return {id, Verdict::kWarning, what, remedy + "; CPUs of their own: --worker-cpus"};
}

Finding check_offloads(const Nic& nic) {
  const std::string id = "nic." + nic.name + ".offloads";
  if (nic.forwarded && nic.forwarded->xdp_mode.starts_with("native")) {
    return {id, Verdict::kOk, "the driver of " + nic.name + " accepted XDP with its offloads", ""};
  }
  std::string bad;
  std::string words;
  const auto look = [&](const char* feature, const char* option) {
    const auto found = nic.features.find(feature);
    if (found == nic.features.end() || !found->second) return;
    bad += (bad.empty() ? "" : " and ") + std::string(feature);
    words += std::string(" ") + option + " off";
  };
  look("rx-lro", "lro");
  look("rx-gro-hw", "rx-gro-hw");
  if (!bad.empty()) {
    return {id, Verdict::kWarning,
            bad + " of " + nic.name + " merges packets in the NIC: drivers refuse XDP then, or hand over frames that are too large",
            "ethtool -K " + nic.name + words};
  }
  if (nic.features.empty()) return {id, Verdict::kUnseen, nic.name + " does not tell its offloads", ""};
  return {id, Verdict::kOk, "no offload of " + nic.name + " is in the way", ""};
}

Finding check_vlans(const Nic& nic, const std::vector<CircuitConfig>& circuits) {
  const std::string id = "nic." + nic.name + ".vlan";
  const auto on = [&](const char* feature) {
    const auto found = nic.features.find(feature);
    return found != nic.features.end() && found->second;
  };
  const bool inner = on("rx-vlan-hw-parse");
  const bool outer = on("rx-vlan-stag-hw-parse");
  const auto concerned = [&](bool by_inner, bool by_outer) {
    return std::find_if(circuits.begin(), circuits.end(), [&](const auto& one) {
      const bool service = one.outer_vlan && one.outer_type == OuterTag::k8021ad;
      return one.uplink == nic.name && one.enabled && (service ? by_outer : by_inner);
    });
  };
  const bool filters = on("rx-vlan-filter");
  const bool filters_outer = on("rx-vlan-stag-filter");
  const auto filtered = nic.promiscuous ? circuits.end() : concerned(filters, filters_outer);
  const auto circuit = concerned(inner, inner || outer);
  if (filtered != circuits.end()) {
    return {id, Verdict::kWarning,
            nic.name + " drops frames of VLANs that no VLAN device is made for: circuit " + filtered->name +
                " receives nothing (the forwarder switches that off when it can)",
            std::string("ethtool -K ") + nic.name + (filters ? " rx-vlan-filter off" : "") + (filters_outer ? " rx-vlan-stag-filter off" : "") +
                "; if the card cannot: ip link set " + nic.name + " promisc on"};
  }
  if (circuit != circuits.end()) {
    return {id, Verdict::kWarning,
            nic.name + " takes VLAN tags out of the frames before XDP sees them: circuit " + circuit->name +
                " receives nothing (the forwarder switches that off when it can)",
            "ethtool -K " + nic.name + (inner ? " rxvlan off" : "") + (outer ? " rx-vlan-stag-hw-parse off" : "")};
  }
  if (nic.vlans.empty() || !inner) {
    return {id, Verdict::kOk, nic.vlans.empty() ? "no VLANs above " + nic.name : nic.name + " leaves VLAN tags in the frames", ""};
  }
  std::string names;
  for (const auto& vlan : nic.vlans) names += (names.empty() ? "" : ", ") + vlan;
  return {id, Verdict::kWarning,
          nic.name + " takes VLAN tags out of the frames before XDP sees them: traffic of " + names +
              " to a tunnel address of this gateway would be taken for untagged traffic",
          "ethtool -K " + nic.name + " rxvlan off"};
}

Finding check_mtu(const Nic& nic) {
  const std::string id = "nic." + nic.name + ".mtu";
  const std::string what = nic.name + " has MTU " + std::to_string(nic.mtu_bytes);
  if (nic.mtu_bytes > kLargestJumboMtu) {
    return {id, Verdict::kFailed, what + ", over the limit of " + std::to_string(kLargestJumboMtu),
            "ip link set " + nic.name + " mtu " + std::to_string(kLargestJumboMtu)};
  }
  if (nic.mtu_bytes > kLargestMtu && nic.forwarded && nic.forwarded->xdp_mode.ends_with("jumbo")) {
    return {id, Verdict::kOk, what + ": the forwarder takes packets of up to that many bytes, in several frames", ""};
  }
  if (nic.mtu_bytes > kLargestMtu && !nic.forwarded) {
    return {id, Verdict::kWarning, what + ": over " + std::to_string(kLargestMtu) + " the forwarder needs Linux 6.6 or newer",
            "start it and look again; on an older kernel: ip link set " + nic.name + " mtu " + std::to_string(kLargestMtu)};
  }
  if (nic.mtu_bytes > kLargestMtu) {
    return {id, Verdict::kFailed, what + ", over the limit of " + std::to_string(kLargestMtu) + " of one AF_XDP frame",
            "the forwarder takes more with Linux 6.6 and without --jumbo off; else: ip link set " + nic.name + " mtu " +
                std::to_string(kLargestMtu)};
  }
  return {id, Verdict::kOk, what, ""};
}

/// The overlay as a whole: no uplink takes what a VPC may send.
void check_overlay_mtu(const Facts& facts, Findings& findings) {
  std::uint32_t room = 0;
  for (const auto& nic : facts.nics) room = std::max(room, nic.mtu_bytes);
  const VpcConfig* largest = nullptr;
  for (const auto& vpc : facts.gateway.config.vpcs) {
    if (largest == nullptr || vpc.mtu_bytes > largest->mtu_bytes) largest = &vpc;
  }
  if (room == 0 || largest == nullptr) return;
  const bool v6 = facts.gateway.config.vtep && !facts.gateway.config.vtep->is_v4();
  const std::uint32_t needed = largest->mtu_bytes + (v6 ? kVxlanBytesV6 : kVxlanBytes);
  const std::string sum = "VPC " + largest->name + " sends packets of " + std::to_string(largest->mtu_bytes) + " bytes, " +
                          std::to_string(needed) + " in VXLAN";
  if (needed > room) {
    findings.push_back({"mtu.overlay", Verdict::kWarning, sum + ", and no uplink has an MTU over " + std::to_string(room),
                        "raise the MTU of the uplink, or set `mtu: " + std::to_string(room - (needed - largest->mtu_bytes)) +
                            "` in the VPC and in its VMs"});
  } else {
    findings.push_back({"mtu.overlay", Verdict::kOk, sum + ": an uplink has room for " + std::to_string(room), ""});
  }
}

/// The MTU of a tunnel is computed; only what is too small for IPv6 is wrong.
void check_tunnel_mtu(const Facts& facts, Findings& findings) {
  std::uint32_t room = 0;
  for (const auto& nic : facts.nics) room = std::max(room, nic.mtu_bytes);
  if (room == 0 || facts.gateway.config.tunnels.empty()) return;
  const auto& tunnels = facts.gateway.config.tunnels;
  const bool v6 = std::any_of(tunnels.begin(), tunnels.end(), [](const auto& tunnel) { return !tunnel.local.is_v4(); });
  const std::uint32_t left = room - std::min(room, v6 ? kEspBytesV6 : kEspBytes);
  const std::string sum = "ESP leaves " + std::to_string(left) + " of the " + std::to_string(room) + " bytes of an uplink";
  if (left < kLeastIpv6Mtu) {
    findings.push_back({"mtu.tunnels", Verdict::kWarning, sum + ": less than the 1280 that IPv6 needs in a tunnel",
                        "raise the MTU of the uplink; IPv4 works"});
  } else {
    findings.push_back({"mtu.tunnels", Verdict::kOk, sum, ""});
  }
}

/// An Ethernet device has room for one tag beside its MTU.
void check_circuit_mtu(const Facts& facts, Findings& findings) {
  constexpr std::uint32_t kTagBytes = 4;
  for (const auto& circuit : facts.gateway.config.circuits) {
    const auto nic = std::find_if(facts.nics.begin(), facts.nics.end(), [&](const auto& one) { return one.name == circuit.uplink; });
    if (nic == facts.nics.end() || !nic->present || !circuit.enabled) continue;
    const std::string id = "mtu.circuit." + circuit.name;
    const std::uint32_t needed = circuit.mtu_bytes + (circuit.outer_vlan ? kTagBytes : 0);
    const std::string sum = "circuit " + circuit.name + " carries packets of " + std::to_string(circuit.mtu_bytes) + " bytes";
    if (needed > nic->mtu_bytes) {
      findings.push_back({id, Verdict::kWarning,
                          sum + ", but " + nic->name + " has room for " +
                              std::to_string(nic->mtu_bytes - (needed - circuit.mtu_bytes)) + " only: that is its MTU",
                          "ip link set " + nic->name + " mtu " + std::to_string(needed) + ", or lower the MTU of the circuit at both ends"});
    } else {
      findings.push_back({id, Verdict::kOk, sum + ": " + nic->name + " has room for them", ""});
    }
  }
}

}  // namespace

void judge_nics(const Facts& facts, Findings& findings) {
  if (facts.nics.empty()) {
    findings.push_back({"nic", Verdict::kWarning, "there is no network interface to look at: none is configured, and none is up",
                        "simplon doctor --interface NAME"});
  }
  for (const auto& nic : facts.nics) {
    if (!nic.asked_for) continue;
    findings.push_back(check_link(nic));
    if (!nic.present) continue;
    findings.push_back(check_xdp(nic, kernel_version(facts.kernel_release)));
    findings.push_back(check_queues(nic));
    findings.push_back(check_offloads(nic));
    findings.push_back(check_vlans(nic, facts.gateway.config.circuits));
    findings.push_back(check_mtu(nic));
    if (!nic.forwarded || nic.forwarded->queues == 0) continue;
    findings.push_back(check_control_rings(nic));
    findings.push_back(check_receive_rings(nic, facts.workers.size()));
  }
  check_overlay_mtu(facts, findings);
  check_tunnel_mtu(facts, findings);
  check_circuit_mtu(facts, findings);
}

}  // namespace simplon::doctor
