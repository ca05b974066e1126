// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/impact_words.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "gateway/config/src/fields.h"

namespace simplon::config {
namespace {

std::string of_added(std::string_view object) {
  if (object == "tunnel") return "a new tunnel is negotiated";
  if (object == "circuit") return "a new circuit is opened";
  if (object == "neighbor") return "a new BGP session is opened";
  return {};
}

std::string of_removed(std::string_view object) {
  if (object == "tunnel") return "the tunnel is closed, and its routes go";
  if (object == "circuit") return "the circuit is closed, and its routes and BGP sessions go";
  if (object == "neighbor") return "the BGP session is closed, and its routes go";
  if (object == "domain") return "the domain goes, with its FRR instance and routes";
  if (object == "vpc") return "the VPC goes, with its endpoints and routes";
  if (object == "acl") return "what only it let pass stops";
  if (object == "uplink") return "nothing is received from it any more";
  return {};
}

std::string of_change_in_place(std::string_view object, const std::vector<std::string>& because) {
  if (object == "circuit") return "no packet is lost";
  if (object == "neighbor") {
    return "the session stays; " + comma_separated(because) + " applies without a reset, timers from the next session on";
  }
  if (object != "tunnel") return {};
  const std::string key = "new SAs are negotiated with the new key beside those that forward, which stay until then";
  const bool has_key = std::find(because.begin(), because.end(), "psk-file") != because.end();
  if (has_key && because.size() == 1) return "no packet is lost; " + key;
  return "no packet is lost; " + comma_separated(because) + " applies without a new negotiation, or from the next one on" +
         (has_key ? "; psk-file: " + key : "");
}

/// Whom a field that lets less pass than before is felt by.
std::string of_less(const std::string& key) {
  static const std::map<std::string_view, std::string_view> kWords = {
      {"import", "routes that it no longer permits go at once"},
      {"export", "routes that it no longer permits are withdrawn at once"},
      {"max-prefixes", "the session ends if the neighbor has announced more"},
      {"static-routes", "what a route that goes carried takes another one or is dropped"},
      {"nat", "connections of a rule that goes or changes stop"},
      {"prefixes", "nothing is carried any more to and from one that goes"},
      {"gateway", "VMs that use an address that goes reach nothing"},
      {"gateway-mac", "VMs reach nothing until they ask for the gateway's MAC address again"},
      {"inside", "what uses an address that goes stops; a BGP session over the tunnel is opened again"},
      {"default", "open connections that the list no longer allows stop with their next packet"},
      {"rules", "open connections that the list no longer allows stop with their next packet"},
      {"policy.acl", "open connections that the list does not allow stop with their next packet"},
      {"policy.reverse-path", "packets are dropped that come from where no route leads back"},
      {"policy.max-connections", "new connections beyond it are refused"},
  };
  const auto words = kWords.find(key);
  return key + ": " + std::string(words == kWords.end() ? "what exceeds it is dropped" : words->second);
}

std::string of_change_that_narrows(const std::vector<std::string>& because) {
  std::string text;
  for (const auto& key : because) text += (text.empty() ? "" : "; ") + of_less(key);
  return text;
}

std::string of_restart(std::string_view object, const std::string& because) {
  if (object == "tunnel") return "IKE is negotiated again because " + because + " changes: traffic stops meanwhile";
  if (object == "circuit") {
    return "traffic and BGP sessions stop until the provider's side agrees, because " + because + " changes";
  }
  if (object == "neighbor") return "the BGP session is reset because " + because + " changes";
  if (object == "domain") return "all BGP sessions of the domain are reset because " + because + " changes";
  return {};
}

std::string of_replacement(std::string_view object, const std::string& because) {
  if (object == "tunnel") return "the tunnel is closed and made anew because " + because + " changes";
  if (object == "circuit") return "the circuit is closed and made anew because " + because + " changes";
  if (object == "neighbor") return "the BGP session is closed and another opened because " + because + " changes";
  if (object == "vpc") return "the VPC is removed and made anew because " + because + " changes";
  if (object == "gateway") return "compute hosts must use the new " + because + ", until then no overlay traffic passes";
  return {};
}

}  // namespace

std::string impact_words(const std::string& kind_of_object, ChangeKind kind, Reconfigure cost,
                         const std::vector<std::string>& because) {
  if (kind == ChangeKind::kAdded) return of_added(kind_of_object);
  if (kind == ChangeKind::kRemoved) return of_removed(kind_of_object);
  switch (cost) {
    case Reconfigure::kInPlace:
      return of_change_in_place(kind_of_object, because);
    case Reconfigure::kNarrows:
      return of_change_that_narrows(because);
    case Reconfigure::kRestartSession:
      return of_restart(kind_of_object, comma_separated(because));
    case Reconfigure::kReplace:
      return of_replacement(kind_of_object, comma_separated(because));
  }
  return {};
}

}  // namespace simplon::config
