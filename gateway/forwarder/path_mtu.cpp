// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP and VXLAN leave with "don't fragment" set, from user space: the kernel does not know them, and what routers say about them is
// ours to hear. A learned MTU belongs to the outer destination, so one message serves all tunnels and endpoints there.
#include "gateway/forwarder/path_mtu.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "gateway/forwarder/too_big.h"

namespace simplon::forwarder {
namespace {

constexpr std::array<const char*, static_cast<std::size_t>(TooBigOutcome::kNotTooBig) + 1> kNames = {
    "learned",    "known",      "malformed",        "short_quote",   "foreign",    "unknown_sa",
    "wrong_path", "never_sent", "unknown_endpoint", "mtu_too_small", "not_too_big"};

TooBigOutcome outcome_of(TooBigFault fault) {
  switch (fault) {
    case TooBigFault::kShortQuote:
      return TooBigOutcome::kShortQuote;
    case TooBigFault::kForeign:
      return TooBigOutcome::kForeign;
    case TooBigFault::kMalformed:
      break;
  }
  return TooBigOutcome::kMalformed;
}

/// `low`: the low half of a number of an SA whose last was `last`.
bool used_recently(std::uint32_t low, std::uint64_t last) {
  const auto back = static_cast<std::uint32_t>(last) - low;
  return back < PathMtuLearner::kRecent && back < last;  // the first number is 1
}

TooBigOutcome verify_esp(const TooBig& about, const QuotedEsp& esp, const SaStore& sas) {
  const forward::Sa* sa = sas.outbound(about.destination, esp.spi);
  if (sa == nullptr) return TooBigOutcome::kUnknownSa;
  const forward::SaPath& path = sa->path();
  if (path.source != about.source || path.encap != esp.encap ||
      (esp.encap && (path.source_port != esp.source_port || path.destination_port != esp.destination_port))) {
    return TooBigOutcome::kWrongPath;
  }
  return used_recently(esp.sequence, sa->usage().sequence) ? TooBigOutcome::kLearned : TooBigOutcome::kNeverSent;
}

TooBigOutcome verify_vxlan(const TooBig& about, const QuotedVxlan& vxlan, const forward::Tables& tables) {
  const auto vpc = tables.vpc(vxlan.vni);
  const auto endpoint = tables.endpoint(vxlan.vni, vxlan.inner_address);
  if (!vpc || !endpoint || endpoint->mac != vxlan.inner_destination || vpc->gateway_mac != vxlan.inner_source) {
    return TooBigOutcome::kUnknownEndpoint;
  }
  const bool same = vpc->vtep == about.source && endpoint->vtep == about.destination && vpc->udp_port == vxlan.destination_port;
  return same ? TooBigOutcome::kLearned : TooBigOutcome::kWrongPath;
}

}  // namespace

PathMtu::Change PathMtu::lower(std::uint16_t bytes, MonoTime now) noexcept {
  if (bytes == learned_) until_ = now + kLife;
  if (bytes >= this->bytes()) return Change::kNone;
  learned_ = bytes;
  until_ = now + kLife;
  return Change::kLowered;
}

bool PathMtu::forget_old(MonoTime now) noexcept {
  if (learned_ == 0 || now < until_) return false;
  learned_ = 0;
  return true;
}

std::chrono::seconds PathMtu::left(MonoTime now) const noexcept {
  if (learned_ == 0 || now >= until_) return std::chrono::seconds(0);
  return std::chrono::duration_cast<std::chrono::seconds>(until_ - now);
}

TooBigOutcome PathMtuLearner::hear(std::span<const std::uint8_t> packet) {
  const TooBigOutcome outcome = judge(packet);
  ++counts_[static_cast<std::size_t>(outcome)];
  return outcome;
}

TooBigOutcome PathMtuLearner::judge(std::span<const std::uint8_t> packet) {
  const auto parsed = parse_too_big(packet);
  if (const auto* fault = std::get_if<TooBigFault>(&parsed)) return outcome_of(*fault);
  const auto& about = std::get<TooBig>(parsed);
  if (const TooBigOutcome verified = verify(about); verified != TooBigOutcome::kLearned) return verified;
  const bool v4 = about.destination.is_v4();
  const std::uint32_t mtu = v4 && about.mtu_bytes == 0 ? plateau_below(about.packet_bytes) : about.mtu_bytes;
  if (mtu < (v4 ? kLeastV4 : kLeastV6)) return TooBigOutcome::kMtuTooSmall;
  if (mtu >= about.packet_bytes) return TooBigOutcome::kNotTooBig;
  if (lower_(about.destination, static_cast<std::uint16_t>(mtu)) == PathMtu::Change::kNone) return TooBigOutcome::kKnown;
  spdlog::info("the path to {} has an MTU of {}, says {}", about.destination.to_string(), mtu, about.router.to_string());
  return TooBigOutcome::kLearned;
}

TooBigOutcome PathMtuLearner::verify(const TooBig& about) const {
  if (const auto* esp = std::get_if<QuotedEsp>(&about.content)) return verify_esp(about, *esp, sas_);
  return verify_vxlan(about, std::get<QuotedVxlan>(about.content), tables_);
}

std::vector<ipc::RuleCount> PathMtuLearner::counts() const {
  std::vector<ipc::RuleCount> counts;
  for (std::size_t i = 0; i < counts_.size(); ++i) counts.push_back({kNames[i], counts_[i]});
  return counts;
}

}  // namespace simplon::forwarder
