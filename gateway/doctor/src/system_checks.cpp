// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "gateway/doctor/src/sections.h"

namespace simplon::doctor {
namespace {

// 2026-01-01: no host of this release is older.
constexpr std::int64_t kNotBefore = 1767225600;
// 2046-01-01, chosen by us: this release is not in use any more.
constexpr std::int64_t kNotAfter = 2398377600;
// A clock may be stepped back by so much when it is set.
constexpr std::int64_t kStep = 60;
// BGP passwords are kept with bgpd's listening socket, 136 bytes each; 50-simplon.conf sets this.
constexpr std::uint64_t kOptmem = 131072;
// Debian's default: what netlink, VICI and FPM were tried with.
constexpr std::uint64_t kSocketBuffer = 212992;
// The packet buffers of the forwarder with its default of 16384 frames.
constexpr std::uint64_t kFrameBytes = 64U << 20;
// Files of the forwarder: a device for each VPC, tunnel and circuit, and two sockets that follow the neighbors of a circuit.
constexpr std::uint64_t kFilesOfACircuit = 3;
// Others: sockets, uplinks' queues, BPF maps. Chosen by us.
constexpr std::uint64_t kOtherFiles = 512;
// 10,000 VPCs, 10,000 tunnels and 4,000 circuits (gateway/config).
constexpr std::uint64_t kMostFiles = 20000 + 4000 * kFilesOfACircuit + kOtherFiles;
// What docs/install.md asks for, and what a gateway that runs needs for a large change: chosen by us.
constexpr std::uint64_t kWantedMemory = 512U << 20;
constexpr std::uint64_t kLittleMemory = 64U << 20;
constexpr std::uint64_t kLittleSpace = 200U << 20;
constexpr std::uint64_t kNoSpace = 20U << 20;
constexpr std::uint64_t kLittleInodes = 1000;

std::string mib(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

const std::string* find(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

std::optional<std::uint64_t> number_of(const Facts& facts, const std::string& key) {
  const auto* text = find(facts.sysctls, key);
  if (text == nullptr || text->empty() || text->size() > 18 ||
      !std::all_of(text->begin(), text->end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoull(*text);
}

/// "3 days"
std::string span(std::int64_t seconds) {
  const auto [unit, name] = seconds < 7200 ? std::pair(60, " minutes") : seconds < 172800 ? std::pair(3600, " hours") : std::pair(86400, " days");
  return std::to_string(seconds / unit) + name;
}

Finding check_memory(const Facts& facts) {
  if (!facts.available_memory_bytes) return {"memory", Verdict::kUnseen, "how much memory is available is not visible", ""};
  const std::uint64_t available = *facts.available_memory_bytes;
  const std::string what = mib(available) + " of memory are available";
  const std::string remedy = "give the host more; who has it: ps -eo rss,args --sort=-rss | head";
  // What a gateway that runs has taken is not available any more.
  if (!facts.gateway.forwarder_up && available < kWantedMemory) {
    return {"memory", Verdict::kWarning, "only " + what + ", a gateway wants " + mib(kWantedMemory), remedy};
  }
  if (available < kLittleMemory) return {"memory", Verdict::kWarning, "only " + what + ": a large change may not find enough", remedy};
  return {"memory", Verdict::kOk, what, ""};
}

Finding check_clock_time(const Facts& facts) {
  const std::string set = "apt-get install systemd-timesyncd, or: timedatectl set-ntp false; timedatectl set-time 'YYYY-MM-DD HH:MM:SS'";
  if (facts.clock.now < kNotBefore) {
    return {"clock.time", Verdict::kFailed,
            "the clock says that it is before 2026: certificates are not valid yet, and the history lies",
            set + "; is the battery of the hardware clock empty?"};
  }
  if (facts.clock.now >= kNotAfter) {
    return {"clock.time", Verdict::kFailed, "the clock says that it is after 2045: certificates have expired, and the history lies", set};
  }
  if (facts.clock.newest_version && facts.clock.now + kStep < *facts.clock.newest_version) {
    return {"clock.time", Verdict::kWarning,
            "the clock is " + span(*facts.clock.newest_version - facts.clock.now) +
                " behind the time at which the current configuration was applied: it is wrong now, or was then",
            set + "; simplon config history has the times"};
  }
  return {"clock.time", Verdict::kOk, "the clock is plausible", ""};
}

Finding check_clock_synchronized(const Facts& facts) {
  const std::string id = "clock.synchronized";
  if (!facts.clock.synchronized) return {id, Verdict::kUnseen, "whether the clock is synchronized is not visible", ""};
  if (*facts.clock.synchronized) return {id, Verdict::kOk, "the clock is synchronized", ""};
  return {id, Verdict::kWarning, "the clock is not synchronized: logs of the two sides of a tunnel cannot be compared",
          "apt-get install systemd-timesyncd (or chrony), and let it reach its servers"};
}

Finding check_forwarding(const Facts& facts) {
  std::string on;
  for (const char* key : {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}) {
    if (const auto value = number_of(facts, key); value && *value != 0) on += (on.empty() ? "" : " and ") + std::string(key);
  }
  if (on.empty()) return {"sysctl.forwarding", Verdict::kOk, "the host's kernel does not forward; the forwarder does", ""};
  return {"sysctl.forwarding", Verdict::kWarning,
          on + ": the host's kernel forwards too, so what is not for the gateway takes a second way through this host",
          "unless it shall be a router as well: set it to 0 in /etc/sysctl.d and run sysctl --system"};
}

Finding check_rp_filter(const Facts& facts) {
  const std::uint64_t all = number_of(facts, "net.ipv4.conf.all.rp_filter").value_or(0);
  std::string strict;
  for (const auto& nic : facts.nics) {
    const auto own = number_of(facts, "net.ipv4.conf." + nic.name + ".rp_filter");
    if (own && std::max(*own, all) == 1) strict += (strict.empty() ? "" : ", ") + nic.name;
  }
  if (strict.empty() || facts.nics.size() < 2) {
    return {"sysctl.rp-filter", Verdict::kOk, "the reverse path filter is not in the way", ""};
  }
  return {"sysctl.rp-filter", Verdict::kWarning,
          "the reverse path filter is strict on " + strict +
              ": IKE that comes in by another uplink than the answer goes out is dropped without a trace",
          "set net.ipv4.conf.all.rp_filter = 2 in /etc/sysctl.d and run sysctl --system"};
}

Finding check_optmem(const Facts& facts) {
  const auto value = number_of(facts, "net.core.optmem_max");
  if (!value) return {"sysctl.optmem", Verdict::kUnseen, "net.core.optmem_max is not visible", ""};
  if (*value >= kOptmem) {
    return {"sysctl.optmem", Verdict::kOk, "net.core.optmem_max is " + std::to_string(*value), ""};
  }
  return {"sysctl.optmem", Verdict::kWarning,
          "net.core.optmem_max is " + std::to_string(*value) + ": bgpd has room for the passwords of " +
              std::to_string(*value / 136) + " neighbors of a domain",
          "sysctl -w net.core.optmem_max=131072; package simplon sets it at boot (50-simplon.conf)"};
}

Finding check_socket_buffers(const Facts& facts) {
  std::string small;
  std::string remedy = "sysctl -w";
  for (const std::string key : {"net.core.rmem_max", "net.core.wmem_max"}) {
    const auto value = number_of(facts, key);
    if (!value || *value >= kSocketBuffer) continue;
    small += (small.empty() ? "" : " and ") + key;
    remedy += " " + key + "=" + std::to_string(kSocketBuffer);
  }
  if (small.empty()) return {"sysctl.socket-buffers", Verdict::kOk, "socket buffers may be as large as usual", ""};
  return {"sysctl.socket-buffers", Verdict::kWarning,
          small + " below Debian's " + std::to_string(kSocketBuffer) + ": bursts of routes from FRR take longer", remedy};
}

Finding check_memlock(const Facts& facts) {
  const std::string id = "limit.memlock";
  if (!facts.forwarder_memlock_bytes) {
    return {id, Verdict::kUnseen, "the forwarder does not run, or its limits are not visible",
            facts.root ? "" : "run simplon doctor as root"};
  }
  if (facts.forwarder_locks_freely || *facts.forwarder_memlock_bytes >= kFrameBytes) {
    return {id, Verdict::kOk, "the forwarder may lock the memory it needs", ""};
  }
  return {id, Verdict::kFailed,
          "the forwarder may lock only " + mib(*facts.forwarder_memlock_bytes) + ": packet buffers and keys need " + mib(kFrameBytes),
          "LimitMEMLOCK=infinity in simplon-forwarder.service, or CAP_IPC_LOCK"};
}

Finding check_open_files(const Facts& facts) {
  const std::string id = "limit.open-files";
  if (!facts.forwarder_open_files) {
    return {id, Verdict::kUnseen, "the forwarder does not run, or its limits are not visible",
            facts.root ? "" : "run simplon doctor as root"};
  }
  const std::uint64_t limit = *facts.forwarder_open_files;
  const auto& config = facts.gateway.config;
  const std::uint64_t wanted =
      config.vpcs.size() + config.tunnels.size() + config.circuits.size() * kFilesOfACircuit + kOtherFiles;
  const std::string remedy = "LimitNOFILE=65536 in simplon-forwarder.service, then systemctl restart simplon-forwarder";
  if (limit < wanted) {
    return {id, Verdict::kFailed,
            "the forwarder may have only " + std::to_string(limit) + " files open, and wants " + std::to_string(wanted) +
                " for its VPCs, tunnels and circuits: the last ones do not work",
            remedy};
  }
  if (limit < kMostFiles) {
    return {id, Verdict::kWarning,
            "the forwarder may have only " + std::to_string(limit) + " files open: that is enough for " +
                std::to_string(limit - kOtherFiles) + " VPCs and tunnels",
            remedy};
  }
  return {id, Verdict::kOk, "the forwarder may open a file for each VPC, tunnel and circuit", ""};
}

void check_disk(const Facts& facts, Findings& findings) {
  const std::string where = facts.state_folder.empty() ? "/var/lib/simplon" : facts.state_folder;
  if (!facts.disk) {
    findings.push_back({"disk.space", Verdict::kUnseen, "the space below " + where + " is not visible", ""});
    return;
  }
  const std::string consequence = ": changes of the configuration are refused, the gateway goes on as it is";
  const std::string remedy = "make room: journalctl --vacuum-size=100M; apt-get clean; du -x /var | sort -n | tail";
  const Disk& disk = *facts.disk;
  if (disk.free_bytes < kNoSpace) {
    findings.push_back({"disk.space", Verdict::kFailed, where + " has " + mib(disk.free_bytes) + " left" + consequence, remedy});
  } else if (disk.free_bytes < kLittleSpace) {
    findings.push_back({"disk.space", Verdict::kWarning, where + " has only " + mib(disk.free_bytes) + " left", remedy});
  } else {
    findings.push_back({"disk.space", Verdict::kOk, where + " has " + mib(disk.free_bytes) + " left", ""});
  }
  if (!disk.counts_inodes) return;
  if (disk.free_inodes < kLittleInodes) {
    findings.push_back({"disk.inodes", disk.free_inodes == 0 ? Verdict::kFailed : Verdict::kWarning,
                        where + " has room for " + std::to_string(disk.free_inodes) + " more files" +
                            (disk.free_inodes == 0 ? consequence : ""),
                        "find who made so many: du --inodes -x /var | sort -n | tail"});
  } else {
    findings.push_back({"disk.inodes", Verdict::kOk, where + " has room for more files", ""});
  }
}

Finding check_locale(const Facts& facts) {
  const std::string name = facts.locale.empty() ? "C" : facts.locale;
  if (!facts.locale_exists) {
    return {"locale", Verdict::kWarning,
            "locale " + name + " does not exist here: Simplon does not care, other programs complain",
            "dpkg-reconfigure locales, or LC_ALL=C.UTF-8"};
  }
  return {"locale", Verdict::kOk, "locale " + name + "; Simplon speaks the same in all", ""};
}

/// Collects the first IPv6 address or prefix and whose it is.
class Ipv6User {
 public:
  void look(const IpAddress& address, const std::string& whose) { take(address.is_v4(), address.to_string(), whose); }
  void look(const InterfaceAddress& address, const std::string& whose) { look(address.address, whose); }
  void look(const IpPrefix& prefix, const std::string& whose) { take(prefix.address().is_v4(), prefix.to_string(), whose); }
  void look(const PrefixRule& rule, const std::string& whose) { look(rule.prefix, whose); }
  template <class T>
  void look(const std::optional<T>& one, const std::string& whose) {
    if (one) look(*one, whose);
  }
  template <class T>
  void look(const std::vector<T>& all, const std::string& whose) {
    for (const auto& one : all) look(one, whose);
  }
  /// "2001:db8::1 of tunnel paris"; empty if nobody uses IPv6.
  [[nodiscard]] const std::string& words() const { return words_; }

 private:
  void take(bool v4, const std::string& text, const std::string& whose) {
    if (!v4 && words_.empty()) words_ = text + " of " + whose;
  }
  std::string words_;
};

/// Addresses on the wire: of the host itself, and of who it talks to.
std::string outer_ipv6(const GatewayConfig& config) {
  Ipv6User user;
  user.look(config.vtep, "the gateway's VTEP");
  for (const auto& tunnel : config.tunnels) {
    user.look(tunnel.local, "tunnel " + tunnel.name);
    user.look(tunnel.remote, "tunnel " + tunnel.name);
  }
  for (const auto& vpc : config.vpcs) {
    for (const auto& endpoint : vpc.endpoints) user.look(endpoint.vtep, "a compute host of VPC " + vpc.name);
  }
  return user.words();
}

/// Addresses inside domains, which have namespaces of their own.
std::string inner_ipv6(const GatewayConfig& config) {
  Ipv6User user;
  for (const auto& tunnel : config.tunnels) user.look(tunnel.inside, "tunnel " + tunnel.name);
  for (const auto& circuit : config.circuits) user.look(circuit.addresses, "circuit " + circuit.name);
  for (const auto& vpc : config.vpcs) {
    user.look(vpc.prefixes, "VPC " + vpc.name);
    user.look(vpc.gateway, "VPC " + vpc.name);
    for (const auto& endpoint : vpc.endpoints) user.look(endpoint.address, "an endpoint of VPC " + vpc.name);
  }
  for (const auto& domain : config.domains) {
    for (const auto& route : domain.static_routes) {
      user.look(route.prefix, "a static route of domain " + domain.name);
      user.look(route.gateway, "a static route of domain " + domain.name);
    }
    for (const auto& rule : domain.nat) {
      user.look(rule.source, "NAT rule " + rule.name);
      user.look(rule.outside, "NAT rule " + rule.name);
      user.look(rule.inside, "NAT rule " + rule.name);
    }
    if (!domain.bgp) continue;
    for (const auto& neighbor : domain.bgp->neighbors) {
      user.look(neighbor.address, "BGP neighbor " + neighbor.name);
      user.look(neighbor.import, "the import of BGP neighbor " + neighbor.name);
      user.look(neighbor.export_, "the export of BGP neighbor " + neighbor.name);
    }
  }
  return user.words();
}

Finding check_ipv6_of_uplinks(const Facts& facts) {
  std::string off;
  for (const auto& uplink : facts.gateway.config.uplinks) {
    const auto* value = find(facts.sysctls, "net.ipv6.conf." + uplink.interface + ".disable_ipv6");
    if (value != nullptr && *value != "0") off += (off.empty() ? "" : ", ") + uplink.interface;
  }
  const std::string outer = outer_ipv6(facts.gateway.config);
  if (off.empty() || outer.empty()) return {"ipv6", Verdict::kOk, "the host has IPv6", ""};
  return {"ipv6", Verdict::kWarning,
          "the configuration uses IPv6 outside of domains (" + outer + "), which is off on uplink " + off,
          "if " + outer + " is reached through it: sysctl -w net.ipv6.conf.NAME.disable_ipv6=0, and the same in /etc/sysctl.d"};
}

Finding check_ipv6(const Facts& facts) {
  if (facts.ipv6 && !facts.host_ipv6_off) return check_ipv6_of_uplinks(facts);
  const std::string outer = outer_ipv6(facts.gateway.config);
  const std::string used = outer.empty() ? inner_ipv6(facts.gateway.config) : outer;
  if (!facts.ipv6) {
    if (used.empty()) return {"ipv6", Verdict::kOk, "the kernel has IPv6 switched off, and the configuration does not need it", ""};
    return {"ipv6", Verdict::kFailed, "the configuration uses IPv6 (" + used + "), which is switched off in the kernel",
            "remove ipv6.disable=1 from the kernel's command line and boot again"};
  }
  if (!outer.empty()) {
    return {"ipv6", Verdict::kFailed,
            "the configuration uses IPv6 outside of domains (" + outer + "), which is off on the interfaces of this host",
            "remove net.ipv6.conf.all.disable_ipv6=1 from /etc/sysctl.d; now: sysctl -w net.ipv6.conf.all.disable_ipv6=0"};
  }
  return {"ipv6", Verdict::kOk,
          used.empty() ? "IPv6 is off on the interfaces of this host, and the configuration does not need it"
                       : "IPv6 is off on the interfaces of this host, but not in the namespaces of domains, which use it", ""};
}

Finding check_apparmor(const Facts& facts) {
  if (!facts.apparmor || !*facts.apparmor) {
    return {"apparmor", Verdict::kWarning, "AppArmor is off: the programs are confined by systemd and capabilities only",
            "apt-get install apparmor; without `apparmor=0` on the kernel's command line"};
  }
  std::string names;
  for (const auto& name : facts.unconfined) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) {
    return {"apparmor", Verdict::kWarning, "no AppArmor profile confines " + names,
            "apparmor_parser -r /etc/apparmor.d/simplon*; then restart them"};
  }
  return {"apparmor", Verdict::kOk, "AppArmor is on", ""};
}

// Programs.

struct WantedPackage {
  const char* name;
  /// Exactly this upstream version; empty: any.
  const char* version;
  Verdict otherwise;
  const char* why;
};

constexpr std::array<WantedPackage, 4> kPackages = {{
    {"strongswan-libcharon", "5.9.8", Verdict::kFailed, "the plugin that brings keys to the forwarder fits this version only"},
    {"charon-systemd", "5.9.8", Verdict::kFailed, "it does IKE"},
    {"libstrongswan-standard-plugins", "5.9.8", Verdict::kFailed, "without it charon has no AES-GCM for IKE"},
    {"frr", "8.4.4", Verdict::kWarning, "its configuration language and its FPM messages were tried with this version"},
}};

/// "5.9.8" of "1:5.9.8-5+deb12u1".
std::string upstream(const std::string& version) {
  const std::size_t colon = version.find(':');
  const std::string rest = colon == std::string::npos ? version : version.substr(colon + 1);
  return rest.substr(0, rest.find_first_of("-+~"));
}

Finding check_package(const Facts& facts, const WantedPackage& wanted) {
  const std::string id = std::string("package.") + wanted.name;
  if (!facts.packages) return {id, Verdict::kUnseen, std::string(wanted.name) + ": dpkg-query does not tell", ""};
  const auto* version = find(*facts.packages, wanted.name);
  if (version == nullptr) {
    return {id, Verdict::kFailed, std::string(wanted.name) + " is not installed: " + wanted.why,
            std::string("apt-get install ") + wanted.name};
  }
  const std::string found = std::string(wanted.name) + " " + *version;
  if (upstream(*version) != wanted.version) {
    return {id, wanted.otherwise, found + " is not " + wanted.version + ": " + wanted.why,
            std::string("install Debian 12's: apt-get install ") + wanted.name + "; or a release of Simplon for this version"};
  }
  return {id, Verdict::kOk, found, ""};
}

/// Ours are of one release.
Finding check_own_packages(const Facts& facts) {
  const std::string id = "package.simplon";
  if (!facts.packages) return {id, Verdict::kUnseen, "simplon: dpkg-query does not tell", ""};
  std::string names;
  std::set<std::string> versions;
  for (const char* name : {"simplon", "simplon-forwarder", "simplon-charon"}) {
    const auto* version = find(*facts.packages, name);
    if (version == nullptr) continue;
    names += (names.empty() ? "" : ", ") + (name + (" " + *version));
    versions.insert(*version);
  }
  if (versions.size() > 1) {
    return {id, Verdict::kWarning, names + ": these are of different releases, which is meant for the time of an upgrade only",
            "apt-get install simplon simplon-forwarder simplon-charon, or their files of one release; what still runs the old one: "
            "systemctl restart simplond simplon-forwarder simplon-charon"};
  }
  return {id, Verdict::kOk, names.empty() ? "no package of Simplon is installed: it runs from elsewhere" : names, ""};
}

Finding check_ike_ports(const Facts& facts) {
  const std::string id = "port.ike";
  std::string others;
  std::string remedy;
  bool hidden = false;
  bool ours = false;
  for (const auto& owner : facts.ike_ports) {
    if (!owner.process) {
      hidden = true;
    } else if (owner.process->has_plugin) {
      ours = true;
    } else {
      const std::string words = owner.process->name + " (process " + std::to_string(owner.process->pid) + ")";
      if (others.find(words) != std::string::npos) continue;
      others += (others.empty() ? "" : ", ") + words;
      const bool service = !owner.process->unit.empty() && owner.process->unit.ends_with(".service");
      remedy = service ? "systemctl disable --now " + owner.process->unit : "end it: kill " + std::to_string(owner.process->pid);
    }
  }
  const bool wanted = !facts.gateway.config.tunnels.empty();
  if (!others.empty() && facts.gateway.reachable && !wanted) {
    return {id, Verdict::kOk, "UDP port 500 or 4500 belongs to " + others + ", and Simplon has no tunnels", ""};
  }
  if (!others.empty()) {
    return {id, Verdict::kFailed,
            "UDP port 500 or 4500 is taken by " + others + ", which is not Simplon's charon: no tunnel can come up",
            "two IKE daemons cannot share a host. If Simplon shall do IKE here: " + remedy};
  }
  if (hidden) return {id, Verdict::kUnseen, "UDP port 500 or 4500 is taken, by whom is not visible", "run simplon doctor as root"};
  if (ours) return {id, Verdict::kOk, "UDP ports 500 and 4500 belong to Simplon's charon", ""};
  if (!wanted) return {id, Verdict::kOk, "UDP ports 500 and 4500 are free", ""};
  return {id, Verdict::kWarning, "there are tunnels, and nobody has UDP ports 500 and 4500",
          "systemctl start simplon-charon; if it waits for another IKE daemon of this host: systemctl status simplon-charon-wait"};
}

Finding check_host_frr(const Facts& facts) {
  if (facts.host_frr.empty() && facts.frr_somewhere) {
    return {"frr.host", Verdict::kUnseen, "FRR runs; whether for the host itself only root may see", "run simplon doctor as root"};
  }
  if (facts.host_frr.empty()) return {"frr.host", Verdict::kOk, "FRR does not run for the host itself", ""};
  std::string names;
  for (const auto& process : facts.host_frr) names += (names.empty() ? "" : ", ") + process.name;
  return {"frr.host", Verdict::kOk,
          "FRR runs for the host itself (" + names + "): fine, Simplon runs its own, one per domain, in namespaces", ""};
}

void check_units(const Facts& facts, Findings& findings) {
  if (!facts.units) {
    findings.push_back({"units", Verdict::kUnseen, "systemd does not run here: who starts Simplon's programs is not visible", ""});
    return;
  }
  for (const auto& [unit, state] : *facts.units) {
    const std::string id = "unit." + unit.substr(0, unit.find('.'));
    const bool needless = unit == "simplon-charon.service" && facts.gateway.reachable && facts.gateway.config.tunnels.empty();
    if (state == "active") {
      findings.push_back({id, Verdict::kOk, unit + " is active", ""});
    } else if (state == "inactive" && needless) {
      findings.push_back({id, Verdict::kOk, unit + " is inactive, and there are no tunnels", ""});
    } else if (state == "absent") {
      findings.push_back({id, Verdict::kWarning, unit + " is not installed",
                          "apt-get install " + (unit == "simplond.service" ? std::string("simplon") : unit.substr(0, unit.find('.')))});
    } else {
      findings.push_back({id, Verdict::kFailed, unit + " is " + state,
                          "systemctl start " + unit + "; if it does not run then: journalctl -u " + unit});
    }
  }
}

void check_polkit(const Facts& facts, Findings& findings) {
  if (!facts.units || !facts.units->contains("simplond.service") || facts.units->at("simplond.service") != "active") return;
  const std::string id = "polkit";
  if (!facts.polkit_permits) {
    findings.push_back({id, Verdict::kUnseen, "whether polkit lets simplond start the units of domains is not visible",
                        "run simplon doctor as root"});
  } else if (*facts.polkit_permits) {
    findings.push_back({id, Verdict::kOk, "polkit lets simplond start the units of domains", ""});
  } else {
    findings.push_back({id, Verdict::kFailed, "polkit does not let simplond start the units of domains: new domains get no namespace",
                        "apt-get install --reinstall polkitd simplon (/usr/share/polkit-1/rules.d/50-simplon.rules); if that "
                        "does not help: journalctl -u polkit"});
  }
}

void check_gateway(const Facts& facts, Findings& findings) {
  if (!facts.gateway.reachable) {
    findings.push_back({"simplond", Verdict::kFailed,
                        facts.gateway.problem + "; nobody says which interfaces are uplinks, so all that are up were looked at",
                        "systemctl start simplond; journalctl -u simplond"});
    return;
  }
  findings.push_back({"simplond", Verdict::kOk, "simplond answers", ""});
  if (!facts.gateway.unreadable.empty()) {
    findings.push_back({"configuration", Verdict::kFailed,
                        "nothing is managed: " + facts.gateway.unreadable + "; findings about uplinks, tunnels and circuits are not about yours",
                        "simplon config history; then simplon config undo VERSION, or simplon apply FILE"});
  }
  if (facts.gateway.forwarder_up) {
    findings.push_back({"forwarder", Verdict::kOk, "the forwarder is connected", ""});
  } else {
    findings.push_back({"forwarder", Verdict::kFailed,
                        "simplond does not reach the forwarder: changes and learned routes do not get there; if it runs, "
                        "it forwards on with what it has",
                        "systemctl start simplon-forwarder; journalctl -u simplon-forwarder"});
  }
  if (facts.gateway.charon_up || facts.gateway.config.tunnels.empty()) {
    findings.push_back({"charon", Verdict::kOk, facts.gateway.charon_up ? "charon is connected" : "no tunnels, so charon is not needed", ""});
  } else {
    findings.push_back({"charon", Verdict::kFailed, "simplond does not reach charon: tunnels cannot be negotiated",
                        "systemctl start simplon-charon; journalctl -u simplon-charon"});
  }
}

}  // namespace

void judge_system(const Facts& facts, Findings& findings) {
  findings.push_back(check_clock_time(facts));
  findings.push_back(check_clock_synchronized(facts));
  findings.push_back(check_forwarding(facts));
  findings.push_back(check_rp_filter(facts));
  findings.push_back(check_optmem(facts));
  findings.push_back(check_socket_buffers(facts));
  findings.push_back(check_memlock(facts));
  findings.push_back(check_open_files(facts));
  findings.push_back(check_memory(facts));
  check_disk(facts, findings);
  findings.push_back(check_locale(facts));
  findings.push_back(check_ipv6(facts));
  findings.push_back(check_apparmor(facts));
}

void judge_programs(const Facts& facts, Findings& findings) {
  for (const auto& wanted : kPackages) findings.push_back(check_package(facts, wanted));
  findings.push_back(check_own_packages(facts));
  findings.push_back(check_ike_ports(facts));
  findings.push_back(check_host_frr(facts));
  check_units(facts, findings);
  check_polkit(facts, findings);
  check_gateway(facts, findings);
}

}  // namespace simplon::doctor
