// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/completion.h"

#include <net/if.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "gateway/cli/src/json_view.h"
#include "gateway/config/document.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kPatience{1000};

struct Candidate {
  std::string word, about;
};
using Candidates = std::vector<Candidate>;

class Completion {
 public:
  Completion(const Commands& commands, const std::vector<std::string>& words) : commands_(commands) {
    typed_ = words.empty() ? std::string() : words.back();
    const std::vector<std::string> before(words.begin(), words.empty() ? words.end() : words.end() - 1);
    walk_ = walk(commands.root(), before);
    socket_ = commands.session().socket;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].starts_with("--socket=")) socket_ = before[i].substr(9);
      if (before[i] == "--socket" && i + 1 < before.size()) socket_ = before[i + 1];
    }
  }

  std::string answer() {
    if (walk_.unknown_command.empty()) find();
    std::string out = files_ ? "files\n" : "words\n";
    for (const auto& [word, about] : found_) {
      if (word.starts_with(typed_) && word.find_first_of("\t\n") == std::string::npos)
        out += word + "\t" + about + "\n";
    }
    return out;
  }

 private:
  void find() {
    if (walk_.waiting != nullptr) return add_values(*walk_.waiting, "");
    if (const std::size_t equals = typed_.find('='); typed_.starts_with("--") && equals != std::string::npos) {
      const std::string name = typed_.substr(0, equals);
      for (const auto* option : options_of(walk_.command())) {
        if (option->check_name(name)) add_values(*option, name + "=");
      }
      return;
    }
    if (typed_.starts_with('-')) {
      for (const auto* option : options_of(walk_.command())) {
        found_.push_back({"--" + option->get_single_name(), option->get_description()});
      }
      return;
    }
    if (walk_.arguments.empty()) {
      for (const auto* command : commands_of(walk_.command())) {
        found_.push_back({command->get_name(), command->get_description()});
      }
    }
    const auto arguments = arguments_of(walk_.command());
    if (walk_.arguments.size() < arguments.size()) add_values(*arguments[walk_.arguments.size()], "");
  }

  void add_values(const CLI::Option& option, const std::string& before) {
    for (const auto& word : commands_.words_of(&option)) found_.push_back({before + word, ""});
    const Values* values = commands_.values_of(&option);
    if (values == nullptr) return;
    for (auto& [word, about] : ask(*values)) found_.push_back({before + word, about});
  }

  json reply(const std::string& target) const {
    auto reply = ApiClient(socket_, kPatience).get(target);
    return reply ? *std::move(reply) : json();
  }

  Candidates named(const char* target, const char* key, const std::function<std::string(const json&)>& about) const {
    Candidates found;
    const json objects = reply(target);
    for (const auto& object : list(objects, key)) found.push_back({text(object, "name"), about(object)});
    return found;
  }

  /// From the document: a list of routes may be long.
  Candidates domains() const {
    Candidates found;
    const auto document = config::parse_document(text(reply("/v1/config"), "document"));
    for (const auto& domain : document.config.domains) found.push_back({domain.name, "routing domain"});
    return found;
  }

  Candidates versions() const {
    Candidates found;
    const json history = reply("/v1/config/history");
    for (const auto& version : list(history, "versions")) {
      found.push_back({std::to_string(number(version, "version")), text(version, "when") + " " + text(version, "who") +
                                                                       " " + text(version, "comment")});
    }
    return found;
  }

  Candidates endpoints() const {
    Candidates found;
    const json vpcs = reply("/v1/vpcs");
    for (const auto& vpc : list(vpcs, "vpcs")) {
      if (walk_.arguments.empty() || text(vpc, "name") != walk_.arguments.front()) continue;
      for (const auto& endpoint : list(at(vpc, "config"), "endpoints")) {
        found.push_back({text(endpoint, "address"), "behind " + text(endpoint, "vtep")});
      }
    }
    return found;
  }

  /// From the document that is in force: BGP neighbors are what there is to ping, and behind "@" the domains to ping from.
  Candidates gates() const {
    Candidates found;
    const auto config = config::parse_document(text(reply("/v1/config"), "document")).config;
    for (const auto& tunnel : config.tunnels) found.push_back({"tunnel:" + tunnel.name, "it has a CHILD_SA"});
    for (const auto& domain : config.domains) {
      if (!domain.bgp) continue;
      for (const auto& neighbor : domain.bgp->neighbors) {
        found.push_back({"bgp:" + domain.name + "/" + neighbor.name, "the session is Established"});
        found.push_back({"ping:" + neighbor.address.to_string() + "@" + domain.name, "it answers"});
      }
    }
    if (const std::size_t at = typed_.find('@'); at != std::string::npos) {
      found.clear();
      const std::size_t from = typed_.find("ping:");
      const std::string before = typed_.substr(std::min(from, at), at + 1 - std::min(from, at));
      for (const auto& domain : config.domains) found.push_back({before + domain.name, "routing domain"});
    }
    return found;
  }

  static Candidates interfaces() {
    Candidates found;
    struct if_nameindex* const all = ::if_nameindex();
    for (auto* one = all; one != nullptr && one->if_name != nullptr; ++one) {
      if (std::string_view(one->if_name) != "lo") found.push_back({one->if_name, "interface"});
    }
    if (all != nullptr) ::if_freenameindex(all);
    return found;
  }

  /// As `named`, with their kind in front.
  static Candidates prefixed(const char* kind, Candidates candidates) {
    for (auto& candidate : candidates) candidate.word = kind + candidate.word;
    return candidates;
  }

  Candidates places() {
    Candidates found = prefixed("vpc:", ask(Values::kVpcs));
    for (auto& tunnel : prefixed("tunnel:", ask(Values::kTunnels))) found.push_back(std::move(tunnel));
    for (auto& circuit : prefixed("circuit:", ask(Values::kCircuits))) found.push_back(std::move(circuit));
    return found;
  }

  Candidates uplinks() const {
    Candidates found;
    const json status = reply("/v1/status");
    for (const auto& uplink : list(status, "uplinks")) {
      found.push_back({text(uplink, "interface"), flag(uplink, "up") ? "up" : "down"});
    }
    return found;
  }

  Candidates ask(Values values) {
    switch (values) {
      case Values::kFiles:
        files_ = true;
        return {};
      case Values::kTunnels:
        return named("/v1/tunnels", "tunnels", [](const json& tunnel) { return text(at(tunnel, "observed"), "state"); });
      case Values::kVpcs:
        return named("/v1/vpcs", "vpcs", [](const json& vpc) { return "VNI " + std::to_string(number(vpc, "vni")); });
      case Values::kCircuits:
        return named("/v1/circuits", "circuits", [](const json& circuit) { return text(at(circuit, "observed"), "state"); });
      case Values::kUplinks:
        return uplinks();
      case Values::kDomains:
        return domains();
      case Values::kDrops:
        return named("/v1/drops", "drops", [](const json& drop) { return text(drop, "sentence"); });
      case Values::kAcls:
        return named("/v1/acls", "acls", [](const json& acl) { return joined(acl, "used_by"); });
      case Values::kVersionsOrFiles:
        files_ = true;
        return versions();
      case Values::kVersions:
        return versions();
      case Values::kEndpoints:
        return endpoints();
      case Values::kPlaces:
        return places();
      case Values::kCapturePlaces: {
        Candidates found = places();
        for (auto& uplink : prefixed("uplink:", uplinks())) found.push_back(std::move(uplink));
        return found;
      }
      case Values::kGates:
        return gates();
      case Values::kInterfaces:
        return interfaces();
    }
    return {};
  }

  const Commands& commands_;
  std::string typed_;
  Walk walk_;
  std::string socket_;
  Candidates found_;
  bool files_ = false;
};

}  // namespace

std::string complete(const Commands& commands, const std::vector<std::string>& words) {
  return Completion(commands, words).answer();
}

}  // namespace simplon::cli
