// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <charconv>
#include <utility>

#include "gateway/doctor/src/sections.h"

namespace simplon::doctor {
namespace {

// The XDP program of the forwarder needs it (bpf_link, and what the verifier accepts); Debian 12 has 6.1.
constexpr KernelVersion kOldestKernel{5, 15};
constexpr KernelVersion kTestedKernel{6, 1};

Finding check_version(const Facts& facts) {
  const auto version = kernel_version(facts.kernel_release);
  const std::string what = "Linux " + facts.kernel_release;
  if (version < kOldestKernel) {
    return {"kernel.version", Verdict::kFailed, what + " is older than 5.15: it refuses the forwarder's XDP program",
            "boot a kernel of Debian 12 or newer: apt-get install linux-image-amd64"};
  }
  if (version < kTestedKernel) {
    return {"kernel.version", Verdict::kWarning, what + " is older than 6.1, with which Simplon is tested",
            "apt-get install linux-image-amd64"};
  }
  return {"kernel.version", Verdict::kOk, what, ""};
}

Finding check_feature(const std::string& id, const std::string& name, std::optional<bool> present,
                      const std::string& consequence, const std::string& remedy) {
  if (!present) return {id, Verdict::kUnseen, name + ": not visible", "run simplon doctor as root"};
  if (!*present) return {id, Verdict::kFailed, "the kernel has no " + name + ": " + consequence, remedy};
  return {id, Verdict::kOk, "the kernel has " + name, ""};
}

Finding check_btf(const Facts& facts) {
  if (facts.btf) return {"kernel.btf", Verdict::kOk, "the kernel describes its types (BTF)", ""};
  return {"kernel.btf", Verdict::kWarning,
          "/sys/kernel/btf/vmlinux is missing: the forwarder works without it, tracing tools and some drivers' XDP "
          "features do not",
          "boot a kernel with CONFIG_DEBUG_INFO_BTF (Debian's have it)"};
}

}  // namespace

KernelVersion kernel_version(const std::string& release) {
  KernelVersion version{0, 0};
  const char* end = release.data() + release.size();
  const auto major = std::from_chars(release.data(), end, version.first);
  if (major.ec == std::errc() && major.ptr != end) std::from_chars(major.ptr + 1, end, version.second);
  return version;
}

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kUnseen:
      return "unseen";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kFailed:
      return "failed";
  }
  return "failed";
}

void judge_kernel(const Facts& facts, Findings& findings) {
  const std::string kernel = "boot a kernel that has it: apt-get install linux-image-amd64";
  findings.push_back(check_version(facts));
  findings.push_back(check_feature("kernel.af-xdp", "AF_XDP", facts.af_xdp,
                                   "the forwarder receives nothing (CONFIG_XDP_SOCKETS)", kernel));
  findings.push_back(check_feature("kernel.bpf", "bpf(2)", facts.bpf,
                                   "no XDP program can be loaded (CONFIG_BPF_SYSCALL, or kernel lockdown)", kernel));
  findings.push_back(check_btf(facts));
  findings.push_back(check_feature("kernel.tun", "TUN", facts.tun, "domains have no host ports, so no BGP",
                                   "modprobe tun; in a container, give it /dev/net/tun"));
  findings.push_back(check_feature("kernel.netns", "network namespaces", facts.network_namespaces,
                                   "domains cannot be kept apart (CONFIG_NET_NS)", kernel));
}

std::vector<Finding> judge(const Facts& facts) {
  Findings findings;
  judge_kernel(facts, findings);
  judge_nics(facts, findings);
  judge_workers(facts, findings);
  judge_system(facts, findings);
  judge_programs(facts, findings);
  return findings;
}

Verdict overall(const std::vector<Finding>& findings) noexcept {
  Verdict worst = Verdict::kOk;
  for (const auto& finding : findings) {
    if (finding.verdict != Verdict::kUnseen) worst = std::max(worst, finding.verdict);
  }
  return worst;
}

}  // namespace simplon::doctor
