// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/negotiation_log.h"

namespace simplon::ipsec {
namespace {

/// "192.0.2.1" of "192.0.2.1 is initiating an IKE_SA".
std::string_view initiating_peer(std::string_view line) {
  const std::size_t at = line.find(" is initiating a");
  return at == std::string_view::npos ? std::string_view{} : line.substr(0, at);
}

struct AddressPair {
  std::string_view local;
  std::string_view remote;
};

/// Of "no IKE config found for 192.0.2.2...192.0.2.1, sending NO_PROPOSAL_CHOSEN".
std::optional<AddressPair> unknown_pair(std::string_view line) {
  constexpr std::string_view kStart = "no IKE config found for ";
  if (!line.starts_with(kStart)) return {};
  line.remove_prefix(kStart.size());
  const std::size_t dots = line.find("...");
  if (dots == std::string_view::npos) return {};
  const std::string_view remote = line.substr(dots + 3);
  return AddressPair{line.substr(0, dots), remote.substr(0, remote.find(','))};
}

}  // namespace

const Negotiation* NegotiationLog::add(const vici::Section& event, MonoTime now) {
  const auto unique_id = static_cast<std::uint32_t>(event.number("ikesa-uniqueid"));
  const std::string_view line = event.text("msg");
  if (unique_id == 0 || line.empty()) return nullptr;

  const auto at = negotiations_.try_emplace(unique_id).first;
  Negotiation& negotiation = at->second;
  negotiation.refused_local.clear();
  if (line.starts_with("initiating IKE_SA ")) {
    negotiation.lines.clear();
    negotiation.initiator = true;
    negotiation.started = now;
    negotiation.first_child = true;
  } else if (const auto peer = initiating_peer(line); !peer.empty()) {
    negotiation.lines.clear();
    negotiation.initiator = false;
    negotiation.started = now;
    negotiation.first_child = true;
    negotiation.remote = peer;
  } else if (!negotiation.first_child && line.starts_with("establishing CHILD_SA ")) {
    negotiation.started = now;
  } else if (const auto unknown = unknown_pair(line)) {
    negotiation.initiator = false;
    negotiation.refused_local = unknown->local;
    negotiation.remote = unknown->remote;
  }
  if (const auto name = event.text("ikesa-name"); !name.empty() && name != "(unnamed)") negotiation.name = name;
  if (negotiation.lines.size() == kMaxLines) negotiation.lines.erase(negotiation.lines.begin());
  negotiation.lines.emplace_back(line);
  if (negotiations_.size() > kMaxNegotiations) {
    auto oldest = negotiations_.begin();
    if (oldest == at) ++oldest;
    negotiations_.erase(oldest);
  }
  return &negotiation;
}

std::optional<MonoTime> NegotiationLog::finish(std::uint32_t unique_id) {
  const auto at = negotiations_.find(unique_id);
  if (at == negotiations_.end()) return {};
  const auto started = at->second.started;
  negotiations_.erase(at);
  return started;
}

void NegotiationLog::forget_connection(const std::string& name) {
  std::erase_if(negotiations_, [&](const auto& entry) { return entry.second.name == name; });
}

}  // namespace simplon::ipsec
