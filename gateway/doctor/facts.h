// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/config/model.h"
#include "platform/base/result.h"

// What is so on this host, without an opinion. An unset optional means that we could not see it.

namespace simplon::doctor {

/// What the forwarder says of an uplink.
struct ForwardedUplink {
  /// "native, zero-copy", and why it has not got the interface; the other is empty.
  std::string xdp_mode;
  std::string error;
  std::uint32_t queues = 0;
  /// Of them: have a receive ring for control packets.
  std::uint32_t control_rings = 0;
  std::uint64_t rx_packets = 0;
  /// Packets that no worker took in time, and how often there was no frame to receive into; since it was opened.
  std::uint64_t rx_ring_full = 0, control_ring_full = 0, fill_ring_empty = 0;
};

/// A thread of the forwarder that forwards; worker0 is the first.
struct Worker {
  /// It is bound to; unset: to none.
  std::optional<std::uint32_t> cpu;
  /// Receive queues that are its own.
  std::uint32_t queues = 0;
};

struct Nic {
  std::string name;
  /// Looked at by itself, not only beside others.
  bool asked_for = true;
  bool present = false;
  bool running = false;
  bool promiscuous = false;
  std::string driver;
  std::uint32_t mtu_bytes = 0;
  /// Receive queues that are in use.
  std::optional<std::uint32_t> queues;
  /// ethtool's names of features; empty if unknown.
  std::map<std::string, bool> features;
  /// VLAN interfaces above it.
  std::vector<std::string> vlans;
  /// Unset if the forwarder has not tried.
  std::optional<ForwardedUplink> forwarded;
};

struct Process {
  int pid = 0;
  std::string name;
  /// Has our charon plugin in its memory.
  bool has_plugin = false;
  std::string unit;
};

/// A UDP socket that is bound to a port, in the network namespace we run in.
struct PortOwner {
  std::uint16_t port = 0;
  /// Unset if we may not see whose it is.
  std::optional<Process> process;
};

struct Disk {
  std::uint64_t free_bytes = 0;
  std::uint64_t free_inodes = 0;
  /// Some file systems count none.
  bool counts_inodes = true;
};

struct Clock {
  /// Seconds since 1970.
  std::int64_t now = 0;
  std::optional<bool> synchronized;
  /// When the current version of the configuration was applied, as its history says.
  std::optional<std::int64_t> newest_version;
};

/// What simplond says, if it answers.
struct Gateway {
  bool reachable = false;
  std::string problem;
  /// Why nothing is managed: the stored configuration cannot be read. `config` is empty then.
  std::string unreadable;
  GatewayConfig config;
  bool forwarder_up = false;
  bool charon_up = false;
  /// When the current version was applied, in seconds since 1970.
  std::optional<std::int64_t> applied_at;
};

struct Facts {
  bool root = false;
  std::string kernel_release;
  std::optional<bool> af_xdp, bpf, tun, network_namespaces;
  bool btf = false;

  Gateway gateway;
  std::vector<Nic> nics;
  /// Of the forwarder; empty if it does not answer.
  std::vector<Worker> workers;
  /// CPUs that run, and those that the kernel keeps its scheduler away from; unset without sysfs.
  std::optional<std::set<std::uint32_t>> online_cpus;
  std::set<std::uint32_t> isolated_cpus;

  Clock clock;
  /// "net.ipv4.ip_forward" and so on; absent if the kernel has no such key.
  std::map<std::string, std::string> sysctls;
  /// Of the forwarder if it runs: bytes it may lock, and whether that limit does not bind it.
  std::optional<std::uint64_t> forwarder_memlock_bytes;
  bool forwarder_locks_freely = false;
  /// How many files it may have open.
  std::optional<std::uint64_t> forwarder_open_files;

  /// Installed packages and their versions; unset without dpkg.
  std::optional<std::map<std::string, std::string>> packages;
  std::vector<PortOwner> ike_ports;
  /// FRR's daemons in the namespace we run in: those of the host.
  std::vector<Process> host_frr;
  /// Daemons of FRR whose namespace we may not see.
  bool frr_somewhere = false;
  /// Where simplond keeps its state, or the nearest folder above it that exists.
  std::string state_folder;
  std::optional<Disk> disk;
  /// As set in the environment, and whether it exists here.
  std::string locale;
  bool locale_exists = true;
  /// The kernel has it; and it is off on the interfaces of the host, which says nothing about the namespaces of domains.
  bool ipv6 = true;
  bool host_ipv6_off = false;
  /// What programs may still get without swapping.
  std::optional<std::uint64_t> available_memory_bytes;
  std::optional<bool> apparmor;
  /// Processes of ours that no profile confines: their names.
  std::vector<std::string> unconfined;
  /// Units and their state ("active", "failed", "inactive", "absent"); unset without systemd.
  std::optional<std::map<std::string, std::string>> units;
  /// polkit lets simplond start the units of domains; unset if simplond does not run as a unit, or we may not ask.
  std::optional<bool> polkit_permits;
};

struct GatherOptions {
  /// These, those of the configuration, or all that look like NICs and are up.
  std::vector<std::string> interfaces;
  std::string state_folder = "/var/lib/simplon";
  Gateway gateway;
  /// From the status reply; uplinks by interface.
  std::map<std::string, ForwardedUplink> uplinks;
  std::vector<Worker> workers;
  /// Told what is looked at next, where that may take time.
  std::function<void(const char* subject)> on_step;
};

/// Looks at everything, in the network namespace we run in. Reads only. Cost: some tens of milliseconds, and as long as
/// dpkg, systemd and polkit take to answer.
[[nodiscard]] Facts gather(const GatherOptions& options);

}  // namespace simplon::doctor
