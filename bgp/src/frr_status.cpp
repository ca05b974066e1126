// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_status.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

// Where the reason of a failed session is found (FRR 8.4.4): the JSON of a neighbor does not have it. `lastResetDueTo`
// tells why the last *established* session ended, not why the present attempts fail (those happen on a second, nameless
// peer structure). So the evidence is gathered elsewhere: NOTIFICATION messages from bgpd's log, TCP-MD5 failures from the
// kernel's counters of the namespace, reachability from zebra, liveness from bfdd.

namespace simplon::bgp {
namespace {

using Json = nlohmann::json;

/// How long a NOTIFICATION explains the present: attempts repeat every few seconds, so a cause that still exists is newer.
constexpr std::chrono::seconds kOpenErrorLife{60};

Unexpected bad_json(const char* command) {
  return fail(ErrorCode::kPeer, std::string("FRR's answer to '") + command + "' is not what FRR 8.4 writes",
              "check the installed version: simplon works with Debian's FRR 8.4.4");
}

std::uint64_t number(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() && *it >= 0 ? it->get<std::uint64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool truth(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

/// "advertised", "received", "advertisedAndReceived": of a capability.
bool is_received(std::string_view who) { return who.find("eceived") != std::string_view::npos; }

/// For each family that both sides have; IPv4 alone if the neighbor names none (RFC 4760 section 8).
bool has_end_of_rib(const Json& peer) {
  static const Json kNone = Json::object();
  const auto object = [](const Json& parent, const char* key) -> const Json& {
    const auto it = parent.find(key);
    return it != parent.end() && it->is_object() ? *it : kNone;
  };
  const Json& received = object(object(peer, "gracefulRestartInfo"), "endOfRibRecv");
  const Json& families = object(object(peer, "neighborCapabilities"), "multiprotocolExtensions");
  bool negotiated = false;
  for (const auto& [family, capability] : families.items()) {
    if (!capability.is_object() || !truth(capability, "advertisedAndReceived")) continue;
    if (!truth(received, family.c_str())) return false;
    negotiated = true;
  }
  return negotiated || truth(received, "ipv4Unicast");
}

bool announced_its_routes(const SessionView& session) {
  if (session.state != "Established") return session.was_established;
  const std::chrono::seconds age(static_cast<std::int64_t>(session.uptime_seconds));
  return session.end_of_rib || (!session.graceful_restart && age >= kWithoutEndOfRib);
}

/// FRR copies the host name that a neighbor gives itself (the FQDN capability) byte by byte: what is not ASCII, and so perhaps no
/// UTF-8 either, would make all of an answer unreadable. Nothing that we look for has such bytes.
Json parse_json(std::string json) {
  std::replace_if(json.begin(), json.end(), [](char byte) { return static_cast<unsigned char>(byte) >= 0x80; }, '?');
  return Json::parse(json, nullptr, false);
}

/// Words of a neighbor, for a terminal.
std::string printable(std::string_view words) {
  std::string text(words);
  std::replace_if(text.begin(), text.end(), [](char byte) { return byte < ' ' || byte > '~'; }, '?');
  return text;
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

template <class T>
bool take_number(std::string_view& rest, T& value) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc{}) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return true;
}

bool take(std::string_view& rest, std::string_view prefix) {
  if (!starts_with(rest, prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

/// "2026/11/21 08:33:22" at the start of a line, in local time.
std::optional<std::chrono::system_clock::time_point> take_time(std::string_view& rest) {
  std::tm tm{};
  if (!take_number(rest, tm.tm_year) || !take(rest, "/") || !take_number(rest, tm.tm_mon) || !take(rest, "/") ||
      !take_number(rest, tm.tm_mday) || !take(rest, " ") || !take_number(rest, tm.tm_hour) || !take(rest, ":") ||
      !take_number(rest, tm.tm_min) || !take(rest, ":") || !take_number(rest, tm.tm_sec)) {
    return std::nullopt;
  }
  if (tm.tm_year < 1970 || tm.tm_year > 9999 || tm.tm_mon < 1 || tm.tm_mon > 12) return std::nullopt;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  tm.tm_isdst = -1;
  return std::chrono::system_clock::from_time_t(std::mktime(&tm));
}

/// " BGP: [HZN6M-XRM1G][EC 33554451] ": what follows are bgpd's words. Those of a neighbor stand further behind, and may look the same.
bool take_marks(std::string_view& rest) {
  if (!take(rest, " BGP: ")) return false;
  while (take(rest, "[")) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
  take(rest, " ");
  return true;
}

std::optional<IpAddress> take_address(std::string_view& rest) {
  const auto end = std::min(rest.find_first_of(" ("), rest.size());
  auto address = IpAddress::parse(rest.substr(0, end));
  rest.remove_prefix(end);
  if (!address) return std::nullopt;
  return *address;
}

/// "received from neighbor A 6/2 (Cease/Administrative Shutdown) ..."
std::optional<std::pair<IpAddress, Notification>> parse_notification(std::string_view rest) {
  Notification notification;
  if (take(rest, "sent to neighbor ")) {
    notification.sent_by_us = true;
  } else if (!take(rest, "received from neighbor ")) {
    return std::nullopt;
  }
  const auto address = take_address(rest);
  if (!address || !take(rest, " ") || !take_number(rest, notification.code) || !take(rest, "/") ||
      !take_number(rest, notification.subcode) || !take(rest, " (")) {
    return std::nullopt;
  }
  notification.text = printable(rest.substr(0, rest.find(')')));
  return std::pair(*address, std::move(notification));
}

std::string seconds_text(std::chrono::system_clock::duration age) {
  return std::to_string(std::max<long long>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count())) + " s ago";
}

// RFC 4271 section 4.5, RFC 4486, RFC 5492.
std::optional<Diagnosis> explain(const NeighborSpec& neighbor, std::uint32_t local_asn, const Notification& cause,
                                 std::chrono::system_clock::time_point now) {
  const auto age = now - cause.at;
  const std::string ago = " (" + seconds_text(age) + ")";
  const std::string remote_as = std::to_string(neighbor.remote_asn);
  if (cause.code == 2) {
    if (age > kOpenErrorLife) return std::nullopt;
    switch (cause.subcode) {
      case 2:
        if (cause.sent_by_us) {
          return Diagnosis{"the neighbor is in another AS than " + remote_as,
                           "set asn to the AS of the other side, or correct the other side"};
        }
        return Diagnosis{"the neighbor refuses our AS " + std::to_string(local_asn),
                         "the other side must expect AS " + std::to_string(local_asn)};
      case 3:
        return Diagnosis{"both sides have the same router id, or the neighbor's is not valid",
                         "give each side its own router id"};
      case 6:
        return Diagnosis{"the hold times are not acceptable to each other", "use the same timers on both sides"};
      case 7:
        return Diagnosis{"no address family in common with the neighbor",
                         "activate the family of the rules (IPv4 or IPv6 unicast) on both sides"};
      default:
        return Diagnosis{"the session is refused: " + cause.text + ago, "compare the BGP configuration of both sides"};
    }
  }
  // FRR 8.4 ends a session over IPv6 whose interface has no link-local address in this way.
  if (cause.code == 5 && cause.subcode == 0 && cause.sent_by_us && neighbor.address.is_v6() && age < kOpenErrorLife) {
    return Diagnosis{"our interface to the neighbor has no IPv6 link-local address",
                     "FRR needs one: 'ip -6 addr add fe80::1/64 dev INTERFACE' in the domain's namespace"};
  }
  if (cause.code == 6 && !cause.sent_by_us) {
    switch (cause.subcode) {
      case 1:
        return Diagnosis{"the neighbor's limit of prefixes was exceeded by our announcements" + ago,
                         "announce less (export rules), or raise the limit on the other side"};
      case 2:
        return Diagnosis{"the neighbor shut the session down" + ago, "it must be enabled on the other side"};
      case 3:
        return Diagnosis{"the neighbor removed us from its configuration" + ago,
                         "add this gateway as a neighbor on the other side"};
      case 5:
        return Diagnosis{"the neighbor rejects the connection" + ago, "add this gateway as a neighbor on the other side"};
      default:
        break;
    }
  }
  return std::nullopt;
}

std::string last_words(const std::optional<Notification>& notification, std::chrono::system_clock::time_point now) {
  if (!notification) return {};
  return "; last NOTIFICATION " + std::string(notification->sent_by_us ? "sent" : "received") + " " +
         seconds_text(now - notification->at) + ": " + notification->text;
}

}  // namespace

Result<std::map<IpAddress, SessionView>> parse_neighbors(std::string_view json) {
  const Json document = parse_json(std::string(json));
  if (!document.is_object()) return bad_json("show bgp neighbors json");
  std::map<IpAddress, SessionView> sessions;
  for (const auto& [key, peer] : document.items()) {
    const auto address = IpAddress::parse(key);
    if (!address || !peer.is_object()) continue;
    SessionView view;
    view.state = text(peer, "bgpState");
    view.uptime_seconds = view.state == "Established" ? number(peer, "bgpTimerUpMsec") / 1000 : 0;
    view.was_established = number(peer, "connectionsEstablished") != 0;
    if (const auto capabilities = peer.find("neighborCapabilities"); capabilities != peer.end() && capabilities->is_object()) {
      view.graceful_restart = is_received(text(*capabilities, "gracefulRestartCapability"));
    }
    view.end_of_rib = has_end_of_rib(peer);
    view.prefix_limit_exceeded = truth(peer, "prefixesConfigExceedMax");
    view.shut_down_here = truth(peer, "adminShutDown");
    view.restart_in_seconds = (number(peer, "restartInTimerMsec") + 999) / 1000;
    if (const auto families = peer.find("addressFamilyInfo"); families != peer.end() && families->is_object()) {
      for (const auto& family : *families) {
        if (!family.is_object()) continue;
        view.accepted += number(family, "acceptedPrefixCounter");
        view.sent += number(family, "sentPrefixCounter");
      }
    }
    sessions.emplace(*address, std::move(view));
  }
  return sessions;
}

Result<std::map<IpAddress, std::string>> parse_bfd_peers(std::string_view json) {
  const Json document = parse_json(std::string(json));
  if (!document.is_array()) return bad_json("show bfd peers json");
  std::map<IpAddress, std::string> peers;
  for (const auto& peer : document) {
    if (!peer.is_object()) continue;
    if (const auto address = IpAddress::parse(text(peer, "peer"))) peers[*address] = text(peer, "status");
  }
  return peers;
}

Result<std::uint64_t> parse_received_count(std::string_view json) {
  const Json document = parse_json(std::string(json));
  if (!document.is_object()) return bad_json("show bgp neighbors prefix-counts json");
  const auto counters = document.find("ribTableWalkCounters");
  if (counters == document.end() || !counters->is_object()) return bad_json("show bgp neighbors prefix-counts json");
  return number(*counters, "Adj-in");
}

Result<bool> parse_is_connected(std::string_view json) {
  const Json document = parse_json(std::string(json));
  if (!document.is_object()) return bad_json("show ip route json");
  for (const auto& routes : document) {
    if (!routes.is_array()) continue;
    for (const auto& route : routes) {
      if (route.is_object() && text(route, "protocol") == "connected" && truth(route, "selected")) return true;
    }
  }
  return false;
}

bool bgp_is_attached(std::string_view client_summary) {
  return starts_with(client_summary, "bgp ") || client_summary.find("\nbgp ") != std::string_view::npos;
}

bool has_its_routes(const std::vector<NeighborSpec>& neighbors, const std::map<IpAddress, SessionView>& sessions,
                    std::chrono::seconds age) {
  if (age >= kRestartTime) return true;
  return std::all_of(neighbors.begin(), neighbors.end(), [&](const NeighborSpec& neighbor) {
    const auto session = sessions.find(neighbor.address);
    if (session == sessions.end()) return neighbor.keep_as_is;
    return announced_its_routes(session->second);
  });
}

std::map<IpAddress, Notification> parse_notifications(std::string_view log) {
  std::map<IpAddress, Notification> notifications;
  while (!log.empty()) {
    const auto end = std::min(log.find('\n'), log.size());
    auto line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));

    const auto at = take_time(line);
    if (!at || !take_marks(line)) continue;
    if (take(line, "%NOTIFICATION: ")) {
      if (auto parsed = parse_notification(line)) {
        parsed->second.at = *at;
        notifications[parsed->first] = std::move(parsed->second);
      }
    } else if (take(line, "%ADJCHANGE: neighbor ")) {
      const auto address = take_address(line);
      if (address && line.size() >= 3 && line.substr(line.size() - 3) == " Up") notifications.erase(*address);
    }
  }
  return notifications;
}

Diagnosis diagnose(const NeighborSpec& neighbor, std::uint32_t local_asn, const SessionEvidence& evidence) {
  const auto& session = evidence.session;
  const std::string address = neighbor.address.to_string();
  if (session.state == "Established") return {};
  if (session.prefix_limit_exceeded) {
    return {"the neighbor announced more than " + std::to_string(neighbor.max_prefixes) + " prefixes",
            "those that import denies count too: raise max-prefixes or have the neighbor announce less; FRR tries again in " +
                std::to_string(session.restart_in_seconds) + " s"};
  }
  if (session.shut_down_here) {
    return {"the session is shut down in FRR by hand", "undo it: 'no neighbor " + address + " shutdown' in vtysh"};
  }
  if (evidence.connected == false) {
    return {"no interface that is up has a network with " + address,
            "is the tunnel up, and is its inside address in the neighbor's network? see 'simplon tunnel show'"};
  }
  if (evidence.notification) {
    if (auto explained = explain(neighbor, local_asn, *evidence.notification, evidence.now)) return *std::move(explained);
  }
  if (evidence.md5_failures) {
    if (neighbor.password.empty()) {
      return {"TCP segments with an MD5 signature arrive, but no password is configured here",
              "set password-file, or remove the password on the other side"};
    }
    return {"TCP-MD5 signatures do not match", "the password must be the same on both sides"};
  }
  if (evidence.bfd_state == "down") {
    return {"BFD gets no answer from " + address + last_words(evidence.notification, evidence.now),
            "the path is down, or BFD is not configured on the other side"};
  }
  if (session.state == "OpenSent" || session.state == "OpenConfirm") {
    return {"the session is being negotiated" + last_words(evidence.notification, evidence.now), ""};
  }
  const char* about_password = evidence.md5_failures_of_some ? "; signatures (TCP-MD5) of some neighbor of this domain do not match: check its password on both sides"
                               : neighbor.password.empty()   ? ""
                                                             : "; also check that both sides have the same password";
  return {"no TCP connection to " + address + " port 179" + last_words(evidence.notification, evidence.now),
          std::string("BGP may not run on the other side, or something filters it") + about_password};
}

std::optional<std::uint64_t> parse_md5_failures(std::string_view netstat) {
  // Pairs of lines "TcpExt: NAME NAME ..." and "TcpExt: VALUE VALUE ...".
  std::vector<std::string_view> names;
  while (!netstat.empty()) {
    const auto end = std::min(netstat.find('\n'), netstat.size());
    auto line = netstat.substr(0, end);
    netstat.remove_prefix(std::min(end + 1, netstat.size()));
    if (!starts_with(line, "TcpExt: ")) continue;
    std::vector<std::string_view> words;
    for (std::size_t at = 8; at < line.size();) {
      const auto stop = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, stop - at));
      at = stop + 1;
    }
    if (names.empty()) {
      names = std::move(words);
      continue;
    }
    std::optional<std::uint64_t> sum;
    for (std::size_t i = 0; i < std::min(names.size(), words.size()); ++i) {
      if (!starts_with(names[i], "TCPMD5")) continue;
      std::uint64_t value = 0;
      auto rest = words[i];
      if (take_number(rest, value)) sum = sum.value_or(0) + value;
    }
    return sum;
  }
  return std::nullopt;
}

}  // namespace simplon::bgp
