// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "gateway/doctor/src/sections.h"

namespace simplon::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kIkePorts[] = {500, 4500};

/// Sockets of our network namespace that are bound to a port of IKE: inode to port.
std::map<std::string, std::uint16_t> ike_sockets() {
  std::map<std::string, std::uint16_t> found;
  for (const char* path : {"/proc/self/net/udp", "/proc/self/net/udp6"}) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      // sl local_address rem_address st queues timer retransmits uid timeout inode
      std::istringstream words(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      const std::size_t colon = local.find(':');
      if (colon == std::string::npos || inode.empty()) continue;
      std::uint16_t port = 0;
      std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
      if (std::find(std::begin(kIkePorts), std::end(kIkePorts), port) != std::end(kIkePorts)) found[inode] = port;
    }
  }
  return found;
}

std::string link_target(const fs::path& link) {
  std::error_code error;
  return fs::read_symlink(link, error).string();
}

bool mentions(const fs::path& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.find(word) != std::string::npos) return true;
  }
  return false;
}

/// "strongswan.service" of "0::/system.slice/strongswan.service".
std::string unit_of(const fs::path& process) {
  const std::string line = first_line((process / "cgroup").string());
  return line.substr(line.find_last_of('/') + 1);
}

/// The value behind `key` in lines "KEY   VALUE ...".
std::string value_of(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t from = line.find_first_not_of(" \t", key.size());
    if (from == std::string::npos) return {};
    return line.substr(from, line.find_first_of(" \t", from) - from);
  }
  return {};
}

/// The soft limit of that name in /proc/PID/limits; unset if it is not visible.
std::optional<std::uint64_t> limit_of(const fs::path& process, const std::string& name) {
  const std::string limit = value_of(process / "limits", name);
  if (limit == "unlimited") return UINT64_MAX;
  std::uint64_t value = 0;
  if (limit.empty() || std::from_chars(limit.data(), limit.data() + limit.size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

void look_at_forwarder(const fs::path& process, Facts& facts) {
  facts.forwarder_memlock_bytes = limit_of(process, "Max locked memory");
  facts.forwarder_open_files = limit_of(process, "Max open files");
  const std::string rights = value_of(process / "status", "CapEff:");
  std::uint64_t mask = 0;
  std::from_chars(rights.data(), rights.data() + rights.size(), mask, 16);
  facts.forwarder_locks_freely = (mask >> CAP_IPC_LOCK & 1U) != 0;
}

}  // namespace

void gather_processes(Facts& facts) {
  std::map<std::string, std::uint16_t> sockets = ike_sockets();
  const std::string own_network = link_target("/proc/self/ns/net");
  static const std::set<std::string> kFrr = {"zebra", "bgpd", "ospfd", "isisd", "staticd", "watchfrr"};
  // comm holds 15 characters.
  static const std::set<std::string> kOurs = {"simplond", "simplon-forward"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string number = entry.path().filename().string();
    int pid = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), pid).ec != std::errc() || pid <= 0) continue;
    const std::string name = first_line((entry.path() / "comm").string());
    const std::string network = link_target(entry.path() / "ns/net");
    const bool here = !own_network.empty() && network == own_network;
    if (kFrr.contains(name)) {
      if (here) facts.host_frr.push_back({pid, name, false, unit_of(entry.path())});
      facts.frr_somewhere = facts.frr_somewhere || network.empty();
    }
    if (kOurs.contains(name)) {
      if (name == "simplon-forward") look_at_forwarder(entry.path(), facts);
      if (first_line((entry.path() / "attr/current").string()) == "unconfined") facts.unconfined.push_back(name);
    }
    if (sockets.empty() || !here) continue;
    std::error_code denied;
    for (const auto& fd : fs::directory_iterator(entry.path() / "fd", denied)) {
      const std::string target = link_target(fd.path());
      if (!target.starts_with("socket:[")) continue;
      const auto socket = sockets.find(target.substr(8, target.size() - 9));
      if (socket == sockets.end()) continue;
      facts.ike_ports.push_back({socket->second, Process{pid, name, mentions(entry.path() / "maps", "kernel-simplon"),
                                                         unit_of(entry.path())}});
      sockets.erase(socket);
    }
  }
  for (const auto& [inode, port] : sockets) facts.ike_ports.push_back({port, std::nullopt});
}

}  // namespace simplon::doctor
