// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <linux/bpf.h>
#include <locale.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

#include "gateway/doctor/src/sections.h"
#include "platform/sys/cpu_list.h"
#include "platform/sys/unique_fd.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

namespace simplon::doctor {
namespace {

/// A feature is there unless the kernel says that it does not know it; a refusal for want of rights proves it too.
std::optional<bool> known_unless(int error, std::initializer_list<int> unknown) {
  for (const int one : unknown) {
    if (error == one) return false;
  }
  return true;
}

std::optional<bool> has_af_xdp() {
  const sys::UniqueFd fd(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  return fd.valid() ? true : known_unless(errno, {EAFNOSUPPORT});
}

std::optional<bool> has_bpf(bool root) {
  union bpf_attr request {};
  request.map_type = BPF_MAP_TYPE_ARRAY;
  request.key_size = 4;
  request.value_size = 4;
  request.max_entries = 1;
  const sys::UniqueFd fd(static_cast<int>(::syscall(SYS_bpf, BPF_MAP_CREATE, &request, sizeof request)));
  if (fd.valid()) return true;
  if (errno == EPERM) return root ? std::optional<bool>(false) : std::nullopt;
  return known_unless(errno, {ENOSYS});
}

/// A list of CPUs of the kernel; unset if it has none of that name.
std::optional<std::set<std::uint32_t>> look_at_cpus(const std::string& name) {
  const std::string path = "/sys/devices/system/cpu/" + name;
  const auto cpus = sys::parse_cpu_list(first_line(path));
  if (!cpus || ::access(path.c_str(), R_OK) != 0) return std::nullopt;
  return std::set<std::uint32_t>(cpus->begin(), cpus->end());
}

std::optional<bool> has_tun() {
  const sys::UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  return fd.valid() ? true : known_unless(errno, {ENOENT, ENODEV, ENXIO});
}

/// MemAvailable of /proc/meminfo.
std::optional<std::uint64_t> available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (std::uint64_t kib = 0; file >> key >> kib; std::getline(file, unit)) {
    if (key == "MemAvailable:") return kib << 10U;
  }
  return std::nullopt;
}

Clock look_at_clock(std::optional<std::int64_t> newest_version) {
  Clock clock;
  clock.newest_version = newest_version;
  clock.now = static_cast<std::int64_t>(::time(nullptr));
  struct timex state {};
  const int told = ::adjtimex(&state);
  if (told >= 0) clock.synchronized = told != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  return clock;
}

void read_sysctls(Facts& facts) {
  std::vector<std::string> keys = {"net.ipv4.ip_forward",    "net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.disable_ipv6",
                                   "net.core.optmem_max",    "net.core.rmem_max",            "net.core.wmem_max",
                                   "net.ipv4.conf.all.rp_filter"};
  for (const auto& key : keys) {
    std::string path = "/proc/sys/" + key;
    for (char& c : path) {
      if (c == '.') c = '/';
    }
    if (const std::string value = first_line(path); !value.empty()) facts.sysctls[key] = value;
  }
  // Interfaces may have dots in their names.
  for (const auto& nic : facts.nics) {
    const std::string filter = first_line("/proc/sys/net/ipv4/conf/" + nic.name + "/rp_filter");
    if (!filter.empty()) facts.sysctls["net.ipv4.conf." + nic.name + ".rp_filter"] = filter;
    const std::string off = first_line("/proc/sys/net/ipv6/conf/" + nic.name + "/disable_ipv6");
    if (!off.empty()) facts.sysctls["net.ipv6.conf." + nic.name + ".disable_ipv6"] = off;
  }
}

/// What a command without arguments of others prints; nothing if it cannot be run or fails.
std::optional<std::string> output_of(const char* command) {
  FILE* pipe = ::popen(command, "re");
  if (pipe == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 4096> chunk{};
  for (std::size_t got = 0; (got = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) text.append(chunk.data(), got);
  const int status = ::pclose(pipe);
  return status == -1 || (status != 0 && text.empty()) ? std::nullopt : std::optional(text);
}

std::optional<std::map<std::string, std::string>> look_at_packages() {
  // Ends with 1 when one is unknown; the others are printed all the same.
  const auto text = output_of(
      "{ command -v dpkg-query >/dev/null && echo 'dpkg - there'; "
      "LC_ALL=C dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' "
      "strongswan-libcharon charon-systemd libstrongswan-standard-plugins frr simplon simplon-forwarder simplon-charon; "
      "} 2>/dev/null");
  if (!text || text->empty()) return std::nullopt;
  std::map<std::string, std::string> packages;
  std::istringstream lines(*text);
  std::string name, version, status;
  while (lines >> name >> version >> status) {
    if (status == "installed") packages[name] = version;
  }
  return packages;
}

std::optional<std::map<std::string, std::string>> look_at_units() {
  if (::access("/run/systemd/system", F_OK) != 0) return std::nullopt;
  const auto text = output_of(
      "systemctl show --property=Id,LoadState,ActiveState simplond.service simplon-forwarder.service "
      "simplon-charon.service 2>/dev/null");
  if (!text) return std::nullopt;
  std::map<std::string, std::string> units;
  std::istringstream lines(*text);
  std::string id, load, active;
  const auto keep = [&] {
    if (!id.empty()) units[id] = load == "not-found" ? "absent" : active;
    id.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) keep();
    if (line.starts_with("Id=")) id = line.substr(3);
    if (line.starts_with("LoadState=")) load = line.substr(10);
    if (line.starts_with("ActiveState=")) active = line.substr(12);
  }
  keep();
  return units;
}

/// polkit's own answer about the process that asks; only root is told.
std::optional<bool> ask_polkit() {
  const auto text = output_of(
      "pid=$(systemctl show --property=MainPID --value simplond.service 2>/dev/null); "
      "[ \"${pid:-0}\" -gt 0 ] && "
      "if timeout 10 pkcheck --process \"$pid\" --action-id org.freedesktop.systemd1.manage-units "
      "--detail unit simplon-netns@simplon-doctor.service --detail verb start >/dev/null 2>&1; then echo yes; else echo no; fi");
  if (!text || text->empty()) return std::nullopt;
  return text->starts_with("yes");
}

void look_at_disk(const std::string& wanted, Facts& facts) {
  std::string folder = wanted;
  struct stat info {};
  while (folder.size() > 1 && ::stat(folder.c_str(), &info) != 0) {
    const std::size_t slash = folder.find_last_of('/');
    folder = slash == 0 || slash == std::string::npos ? "/" : folder.substr(0, slash);
  }
  facts.state_folder = folder;
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0) return;
  facts.disk = Disk{static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize, space.f_favail, space.f_files != 0};
}

void look_at_locale(Facts& facts) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    facts.locale = value;
    break;
  }
  const locale_t made = ::newlocale(LC_ALL_MASK, "", nullptr);
  facts.locale_exists = made != nullptr;
  if (made != nullptr) ::freelocale(made);
}

}  // namespace

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Facts gather(const GatherOptions& options) {
  const auto step = [&](const char* subject) {
    if (options.on_step) options.on_step(subject);
  };
  Facts facts;
  facts.root = ::geteuid() == 0;
  struct utsname kernel {};
  if (::uname(&kernel) == 0) facts.kernel_release = kernel.release;
  facts.af_xdp = has_af_xdp();
  facts.bpf = has_bpf(facts.root);
  facts.tun = has_tun();
  facts.network_namespaces = ::access("/proc/self/ns/net", F_OK) == 0;
  facts.btf = ::access("/sys/kernel/btf/vmlinux", F_OK) == 0;
  facts.gateway = options.gateway;
  step("network interfaces");
  gather_nics(options, facts);
  facts.workers = options.workers;
  facts.online_cpus = look_at_cpus("online");
  facts.isolated_cpus = look_at_cpus("isolated").value_or(std::set<std::uint32_t>());
  facts.clock = look_at_clock(options.gateway.applied_at);
  read_sysctls(facts);
  step("packages");
  facts.packages = look_at_packages();
  step("processes");
  gather_processes(facts);
  look_at_disk(options.state_folder, facts);
  look_at_locale(facts);
  const sys::UniqueFd ipv6(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto disabled = facts.sysctls.find("net.ipv6.conf.all.disable_ipv6");
  facts.ipv6 = ipv6.valid() && disabled != facts.sysctls.end();
  facts.host_ipv6_off = facts.ipv6 && disabled->second != "0";
  facts.available_memory_bytes = available_memory();
  facts.apparmor = first_line("/sys/module/apparmor/parameters/enabled") == "Y";
  step("units");
  facts.units = look_at_units();
  step("polkit");
  if (facts.root && facts.units) facts.polkit_permits = ask_polkit();
  return facts;
}

}  // namespace simplon::doctor
