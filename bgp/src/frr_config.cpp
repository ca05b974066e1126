// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_config.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

// What the rendered configuration is made of, and why (FRR 8.4.4):
//
// - Policy is default deny, twice. Every neighbor has a route-map in and out for each family; it permits what the
//   prefix-list of the same name permits and ends in an explicit deny. A list without entries is not defined, which FRR
//   treats as "matches nothing". Policies stand before the neighbors, so no session ever runs without them.
// - Prefix-lists only have permits: a set, so an entry can be added or removed without renumbering the others.
// - `activate` is a neighbor's last line: until then it has no family and does not connect.
// - `bgp router-id` always: a domain with only link-local addresses would get 0.0.0.0 and never a session.
// - `no bgp network import-check`: our prefixes are not in the kernel of this namespace.
// - `maximum-prefix N force` with `soft-reconfiguration inbound`: what policy denies is kept (so that it can be counted and a
//   policy change needs nothing from the neighbor), so it has to count against the limit as well. FRR lets N + 1 pass.
// - Graceful restart only without BFD. FRR keeps a neighbor's routes as stale when a session with graceful restart ends,
//   also when BFD ended it: traffic into a dead path for the restart time. With BFD the session says so explicitly, because
//   the default (helper) does the same. Without BFD, bgpd may crash and come back without a withdrawal on either side:
//   `preserve-fw-state` tells the neighbor the truth, that forwarding goes on (the forwarder does not need FRR for it).
// - `no bgp fast-external-failover`: a host port loses its carrier while no forwarder holds it, for some tens of milliseconds
//   after a crash, and that says nothing about the neighbor. BFD and the hold time do.
// - `bgp route-map delay-timer 1`: policy changes apply after 1 s instead of 5.
// - zebra: `no zebra nexthop kernel enable` (after a link flap the kernel's nexthop group loses a member), and
//   `no fpm use-next-hop-groups` (each route carries its nexthops).
// - eBGP neighbors are one hop away. GTSM is not configured: with BFD it would make FRR choose multihop BFD.
// - Lines that equal FRR's defaults do not appear in `show running-config`; the diff knows them (frr_config_diff.cpp).

namespace simplon::bgp {
namespace {

constexpr std::size_t kMaxPathspace = 64;
constexpr std::size_t kMaxName = 48;
constexpr std::size_t kMaxPassword = 80;  // TCP_MD5SIG_MAXKEYLEN
constexpr unsigned kMultipath = 8;
constexpr unsigned kConnectRetrySeconds = 2;
/// How long a restarted bgpd waits for a neighbor's End-of-RIB before it selects routes without it (RFC 4724 section 4.1). Before
/// kRestartTime, when its routes of before are swept; FRR's own 360 s would be an outage in between.
constexpr unsigned kSelectionDeferralSeconds = 60;
constexpr unsigned kMaxPrefixRestartMinutes = 5;

bool is_word(std::string_view text, std::size_t max_size, std::string_view punctuation) {
  return !text.empty() && text.size() <= max_size && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           punctuation.find(c) != std::string_view::npos;
  });
}

struct Problems {
  std::string text;
  void add(const std::string& problem) {
    if (!text.empty()) text += "; ";
    text += problem;
  }
};

void check_rules(const NeighborSpec& neighbor, const char* direction, const std::vector<PrefixRule>& rules,
                 Problems& problems) {
  for (const auto& rule : rules) {
    if (rule.max_length < rule.prefix.length() || rule.max_length > rule.prefix.address().bits()) {
      problems.add("neighbor " + neighbor.name + ": " + direction + " rule " + rule.prefix.to_string() +
                   " has the maximum length " + std::to_string(rule.max_length) + ", which is not " +
                   std::to_string(rule.prefix.length()) + " to " + std::to_string(rule.prefix.address().bits()));
    }
  }
}

void check_neighbor(const NeighborSpec& neighbor, Problems& problems) {
  if (!is_word(neighbor.name, kMaxName, "-_.")) {
    problems.add("neighbor name '" + neighbor.name + "' is not 1 to 48 letters, digits, '-', '_' or '.'");
    return;
  }
  const std::string who = "neighbor " + neighbor.name + ": ";
  const auto& address = neighbor.address;
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback()) {
    problems.add(who + "address " + address.to_string() + " is not a neighbor's address");
  } else if (address.is_v6() && address.is_link_local()) {
    problems.add(who + "address " + address.to_string() + " is link-local; use a global or unique local address");
  }
  if (neighbor.remote_asn == 0) problems.add(who + "remote AS 0 is reserved (RFC 7607)");
  if (!is_password(neighbor.password)) {
    problems.add(who + "the password is not at most 80 printable ASCII characters without spaces");
  }
  const auto hold = neighbor.hold.count();
  const auto keepalive = neighbor.keepalive.count();
  // RFC 4271 section 4.2: zero or at least three seconds.
  if (hold < 0 || hold > 65535 || hold == 1 || hold == 2) {
    problems.add(who + "hold time " + std::to_string(hold) + " s is not 0 or 3 to 65535");
  }
  if (keepalive < 0 || keepalive > hold) {
    problems.add(who + "keepalive " + std::to_string(keepalive) + " s is longer than the hold time");
  }
  if (neighbor.max_prefixes == 0) problems.add(who + "max-prefixes is 0");
  check_rules(neighbor, "import", neighbor.import, problems);
  check_rules(neighbor, "export", neighbor.export_, problems);
}

const char* family_word(IpFamily family) { return family == IpFamily::kV4 ? "ip" : "ipv6"; }
const char* address_family_word(IpFamily family) { return family == IpFamily::kV4 ? "ipv4 unicast" : "ipv6 unicast"; }

/// Longest permitted length by prefix, of one family: duplicates would be refused by FRR.
std::map<IpPrefix, unsigned> rules_of(const std::vector<PrefixRule>& rules, IpFamily family) {
  std::map<IpPrefix, unsigned> longest;
  for (const auto& rule : rules) {
    if (rule.prefix.family() != family) continue;
    auto& length = longest[rule.prefix];
    length = std::max<unsigned>(length, rule.max_length);
  }
  return longest;
}

class Text {
 public:
  Text& line(unsigned indent, const std::string& text) {
    out_.append(indent, ' ').append(text).push_back('\n');
    return *this;
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  std::string out_ = "! Written by simplond; changes made here are lost.\nfrr defaults traditional\n!\n";
};

void render_policy(Text& text, const NeighborSpec& neighbor, PolicyDirection direction, IpFamily family) {
  const auto name = policy_name(neighbor, direction, family);
  const auto& rules = direction == PolicyDirection::kIn ? neighbor.import : neighbor.export_;
  const std::string word = family_word(family);
  for (const auto& [prefix, max_length] : rules_of(rules, family)) {
    std::string entry = word + " prefix-list " + name + " permit " + prefix.to_string();
    if (max_length > prefix.length()) entry += " le " + std::to_string(max_length);
    text.line(0, entry);
  }
  text.line(0, "route-map " + name + " permit 10");
  text.line(1, "match " + word + " address prefix-list " + name);
  text.line(0, "exit");
  text.line(0, "route-map " + name + " deny 65535");
  text.line(0, "exit");
  text.line(0, "!");
}

void render_neighbor(Text& text, const NeighborSpec& neighbor) {
  const std::string prefix = "neighbor " + neighbor.address.to_string() + " ";
  text.line(1, prefix + "remote-as " + std::to_string(neighbor.remote_asn));
  text.line(1, prefix + "description " + neighbor.name);
  if (!neighbor.password.empty()) text.line(1, prefix + "password " + neighbor.password);
  // As FRR keeps it, whatever it is told: RFC 4271 section 4.4.
  const auto keepalive = std::min(neighbor.keepalive, neighbor.hold / 3);
  text.line(1, prefix + "timers " + std::to_string(keepalive.count()) + " " + std::to_string(neighbor.hold.count()));
  text.line(1, prefix + "timers connect " + std::to_string(kConnectRetrySeconds));
  const auto families = active_families(neighbor);
  if (neighbor.address.is_v6() && std::find(families.begin(), families.end(), IpFamily::kV4) != families.end()) {
    text.line(1, prefix + "capability extended-nexthop");  // RFC 8950
  }
  if (neighbor.bfd) {
    text.line(1, prefix + "bfd");
    text.line(1, prefix + "bfd profile simplon");
    text.line(1, prefix + "graceful-restart-disable");
  } else {
    text.line(1, prefix + "graceful-restart");
  }
}

void render_neighbor_family(Text& text, const NeighborSpec& neighbor, IpFamily family) {
  const std::string prefix = "neighbor " + neighbor.address.to_string() + " ";
  text.line(2, prefix + "soft-reconfiguration inbound");
  text.line(2, prefix + "maximum-prefix " + std::to_string(neighbor.max_prefixes) + " restart " +
                   std::to_string(kMaxPrefixRestartMinutes) + " force");
  text.line(2, prefix + "route-map " + policy_name(neighbor, PolicyDirection::kIn, family) + " in");
  text.line(2, prefix + "route-map " + policy_name(neighbor, PolicyDirection::kOut, family) + " out");
  text.line(2, prefix + "activate");
}

std::string render_bgpd(const SpeakerSpec& spec) {
  Text text;
  text.line(0, "log file " + bgpd_log_path(spec.netns) + " informational");
  text.line(0, "bgp route-map delay-timer 1");
  text.line(0, "!");
  for (const auto& neighbor : spec.neighbors) {
    for (const auto family : active_families(neighbor)) {
      render_policy(text, neighbor, PolicyDirection::kIn, family);
      render_policy(text, neighbor, PolicyDirection::kOut, family);
    }
  }

  text.line(0, "router bgp " + std::to_string(spec.asn));
  text.line(1, "bgp router-id " + spec.router_id.to_string());
  text.line(1, "bgp log-neighbor-changes");
  text.line(1, "no bgp default ipv4-unicast");
  text.line(1, "no bgp fast-external-failover");
  text.line(1, "bgp bestpath as-path multipath-relax");
  text.line(1, "no bgp network import-check");
  text.line(1, "bgp graceful-restart select-defer-time " + std::to_string(kSelectionDeferralSeconds));
  text.line(1, "bgp graceful-restart preserve-fw-state");
  for (const auto& neighbor : spec.neighbors) render_neighbor(text, neighbor);

  const std::set<IpPrefix> originated(spec.originate.begin(), spec.originate.end());
  for (const auto family : {IpFamily::kV4, IpFamily::kV6}) {
    text.line(1, "!");
    text.line(1, std::string("address-family ") + address_family_word(family));
    for (const auto& prefix : originated) {
      if (prefix.family() == family) text.line(2, "network " + prefix.to_string());
    }
    text.line(2, "maximum-paths " + std::to_string(kMultipath));
    text.line(2, "maximum-paths ibgp " + std::to_string(kMultipath));
    for (const auto& neighbor : spec.neighbors) {
      const auto families = active_families(neighbor);
      if (std::find(families.begin(), families.end(), family) != families.end()) {
        render_neighbor_family(text, neighbor, family);
      }
    }
    text.line(1, "exit-address-family");
  }
  text.line(0, "exit");
  return text.take();
}

}  // namespace

bool is_password(std::string_view text) noexcept {
  return text.size() <= kMaxPassword && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::string password_in(std::string_view running, const IpAddress& neighbor) {
  const std::string prefix = "\n neighbor " + neighbor.to_string() + " password ";
  const auto found = running.find(prefix);
  if (found == std::string_view::npos) return {};
  const auto rest = running.substr(found + prefix.size());
  return std::string(rest.substr(0, rest.find_first_of("\r\n")));
}

Result<void> check_spec(const SpeakerSpec& spec) {
  Problems problems;
  // FRR: "slashes or dots are not permitted in the --pathspace option"; the name is a directory, too.
  if (!is_word(spec.netns, kMaxPathspace, "-_")) {
    problems.add("namespace name '" + spec.netns + "' is not 1 to 64 letters, digits, '-' or '_'");
  }
  if (spec.asn == 0) problems.add("AS 0 is reserved (RFC 7607)");
  if (!spec.router_id.is_v4() || spec.router_id.is_unspecified() || spec.router_id.is_multicast()) {
    problems.add("router id " + spec.router_id.to_string() + " is not a unicast IPv4 address");
  }
  std::set<std::string> names;
  std::set<IpAddress> addresses;
  for (const auto& neighbor : spec.neighbors) {
    check_neighbor(neighbor, problems);
    if (!names.insert(neighbor.name).second) problems.add("two neighbors are called " + neighbor.name);
    if (!addresses.insert(neighbor.address).second) {
      problems.add("two neighbors have the address " + neighbor.address.to_string());
    }
  }
  if (problems.text.empty()) return {};
  return fail(ErrorCode::kInvalidConfig, "BGP of " + spec.netns + ": " + problems.text);
}

FrrConfig render(const SpeakerSpec& spec, std::uint16_t fpm_port) {
  FrrConfig config;
  config.zebra = Text()
                     .line(0, "no zebra nexthop kernel enable")
                     .line(0, "fpm address 127.0.0.1 port " + std::to_string(fpm_port))
                     .line(0, "no fpm use-next-hop-groups")
                     .take();
  config.bgpd = render_bgpd(spec);
  config.bfdd = Text()
                    .line(0, "bfd")
                    .line(1, "profile simplon")
                    .line(2, "detect-multiplier 3")
                    .line(2, "receive-interval 300")
                    .line(2, "transmit-interval 300")
                    .line(1, "exit")
                    .line(0, "exit")
                    .take();
  return config;
}

std::string policy_name(const NeighborSpec& neighbor, PolicyDirection direction, IpFamily family) {
  return std::string(direction == PolicyDirection::kIn ? "IN-" : "OUT-") + neighbor.name +
         (family == IpFamily::kV4 ? "-4" : "-6");
}

std::vector<IpFamily> active_families(const NeighborSpec& neighbor) {
  const auto names = [&](IpFamily family) {
    const auto is_of = [&](const PrefixRule& rule) { return rule.prefix.family() == family; };
    return neighbor.address.family() == family || std::any_of(neighbor.import.begin(), neighbor.import.end(), is_of) ||
           std::any_of(neighbor.export_.begin(), neighbor.export_.end(), is_of);
  };
  std::vector<IpFamily> families;
  for (const auto family : {IpFamily::kV4, IpFamily::kV6}) {
    if (names(family)) families.push_back(family);
  }
  return families;
}

std::string redacted(std::string_view command) {
  constexpr std::string_view kWord = " password ";
  const auto at = command.find(kWord);
  if (at == std::string_view::npos) return std::string(command);
  return std::string(command.substr(0, at + kWord.size())) + "<hidden>";
}

std::string bgpd_log_path(const std::string& pathspace) { return "/var/run/frr/" + pathspace + "/bgpd.log"; }

}  // namespace simplon::bgp
