// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/policy_state.h"

#include <algorithm>

namespace simplon::oracle {

using forward::ConnectionState;

namespace {

bool in_prefixes(const std::vector<IpPrefix>& prefixes, const IpAddress& address) {
  return prefixes.empty() ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](const IpPrefix& p) { return p.contains(address); });
}
bool in_ranges(const std::vector<forward::NumberRange>& ranges, std::uint16_t value) {
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(),
                                       [value](const auto& r) { return r.first <= value && value <= r.last; });
}

}  // namespace

void AccessList::replace(const forward::AclEntry& other) {
  static std::uint64_t revisions = 0;
  if (revision != 0 && entry == other) return;
  entry = other;
  revision = ++revisions;
  std::map<std::string, std::uint64_t> kept;
  for (const auto& rule : entry.rules) kept[rule.name] = counts[rule.name];
  counts = std::move(kept);
}

AccessList::Decision AccessList::ask(forward::AclDirection direction, const Question& question) {
  for (const forward::AclRuleEntry& rule : entry.rules) {
    if (rule.direction != direction) continue;
    if (rule.protocol && *rule.protocol != question.protocol) continue;
    if (!in_prefixes(rule.sources, question.source) || !in_prefixes(rule.destinations, question.destination)) continue;
    if (!in_ranges(rule.source_ports, question.source_port)) continue;
    if (!in_ranges(rule.destination_ports, question.destination_port)) continue;
    ++counts[rule.name];
    return {rule.allow, rule.allow && rule.stateful};
  }
  return {entry.allow_by_default, false};
}

Meter::Verdict Meter::ask(std::uint64_t now) {
  const long double passed = static_cast<long double>(now - at) / 1e9L;
  at = now;
  bits = std::max(0.0L, bits - passed);
  packets = std::max(0.0L, packets - passed);
  constexpr long double kAhead = 0.1L, kAccuracy = 1e-6L;
  const long double ahead = std::max(bits, packets);
  if (ahead > kAhead + kAccuracy) return Verdict::kOver;
  return ahead > kAhead - kAccuracy ? Verdict::kUnclear : Verdict::kPass;
}

void Meter::count(const forward::RateEntry& rate, std::size_t bytes) {
  if (rate.bits_per_second != 0)
    bits += static_cast<long double>(bytes * 8) / static_cast<long double>(rate.bits_per_second);
  if (rate.packets_per_second != 0) packets += 1.0L / static_cast<long double>(rate.packets_per_second);
}

/// RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2.
std::uint64_t Connection::lifetime() const {
  switch (first.protocol) {
    case 6:
      return state == ConnectionState::kOpen ? 2 * 3600 + 4 * 60 : 4 * 60;
    case 17:
      return state == ConnectionState::kOpen ? 5 * 60 : 2 * 60;
    case 1:
    case 58:
      return 60;
    default:
      return 10 * 60;
  }
}

/// TCP is open when who began it acknowledged an answer. FINs of both close it, a RST unless traffic goes on (RFC 6146 section
/// 3.5.2.2), and the same ends may begin anew.
void Connection::note(unsigned direction, std::size_t length, std::uint8_t tcp_flags, std::uint64_t now) {
  seen = now;
  ++packets[direction];
  bytes[direction] += length;
  if (first.protocol != 6) {
    if (direction == 1) state = ConnectionState::kOpen;
    return;
  }
  const bool fin = (tcp_flags & 1) != 0, syn = (tcp_flags & 2) != 0, rst = (tcp_flags & 4) != 0,
             ack = (tcp_flags & 16) != 0;
  if (rst) {
    if (state == ConnectionState::kClosing) return;
    reset = true;
    was_open = state == ConnectionState::kOpen;
    state = ConnectionState::kClosing;
    return;
  }
  if (state == ConnectionState::kClosing && direction == 0 && syn && !ack) {
    state = ConnectionState::kOpening;
    answered = reset = false;
    fins = {};
    return;
  }
  if (fin) fins[direction] = true;
  if (fins[0] && fins[1]) {
    state = ConnectionState::kClosing;
    return;
  }
  if (reset) state = was_open ? ConnectionState::kOpen : ConnectionState::kOpening;
  reset = false;
  if (state == ConnectionState::kOpening) {
    if (direction == 1) answered = true;
    if (direction == 0 && answered && ack && !syn) state = ConnectionState::kOpen;
  }
}

void PolicyState::forget(std::uint64_t now) {
  if (now == forgot_at_) return;
  forgot_at_ = now;
  std::vector<Id> over;
  for (const auto& [id, connection] : connections) {
    if (now - connection.seen > connection.lifetime()) over.push_back(id);
  }
  for (const Id id : over) remove(id);
  std::erase_if(ways, [now](const auto& item) { return now >= item.second.until; });
}

void PolicyState::forget(const std::function<bool(AttachmentId)>& gone, const std::function<bool(const Hop&)>& hop_gone) {
  const auto is_gone = [&](const Side& side) { return gone(side.attachment) || (side.nowhere && hop_gone(*side.nowhere)); };
  std::vector<Id> over;
  for (const auto& [id, connection] : connections) {
    if (gone(connection.owner) || is_gone(connection.sides[0]) || is_gone(connection.sides[1])) over.push_back(id);
  }
  for (const Id id : over) remove(id);
}

PolicyState::Id PolicyState::add(Connection connection) {
  const Id id = next++;
  by_ends.insert_or_assign(connection.first, std::pair(id, 0U));
  by_ends.insert_or_assign(connection.out.back(), std::pair(id, 1U));
  connections.emplace(id, std::move(connection));
  return id;
}

void PolicyState::remove(Id id) {
  const Connection& gone = connections.at(id);
  by_ends.erase(gone.first);
  by_ends.erase(gone.out.back());
  if (gone.mapping) {
    const Inner inner{gone.first.domain, gone.first.protocol, gone.first.source, gone.first.source_port};
    auto& of_inner = mappings.at(inner);
    const auto mapping = std::find_if(of_inner.begin(), of_inner.end(),
                                      [&gone](const Mapping& m) { return m.outside == *gone.mapping; });
    if (--mapping->connections == 0) {
      const Outside outside = mapping->outside;
      of_inner.erase(mapping);
      if (of_inner.empty()) mappings.erase(inner);
      taken.erase({gone.first.domain, outside.address, gone.first.protocol, outside.port});
      const auto block = blocks.find({gone.first.domain, outside.address, (outside.port - kFirstPort) / kBlockPorts});
      if (--block->second.second == 0) blocks.erase(block);
    }
  }
  connections.erase(id);
}

std::size_t PolicyState::owned_by(AttachmentId owner) const {
  return static_cast<std::size_t>(std::count_if(connections.begin(), connections.end(),
                                                [owner](const auto& item) { return item.second.owner == owner; }));
}

std::size_t PolicyState::begun_by_others(AttachmentId owner) const {
  return static_cast<std::size_t>(std::count_if(connections.begin(), connections.end(), [owner](const auto& item) {
    return item.second.owner == owner && item.second.beginner != owner;
  }));
}

void PolicyState::keep_counts(const forward::NatEntry& nat) {
  std::map<std::string, std::uint64_t> kept;
  for (const auto& rule : nat.rules) kept[rule.name] = hits[nat.domain][rule.name];
  hits[nat.domain] = std::move(kept);
}

void PolicyState::take(const Inner& inner, const Outside& outside, AttachmentId owner) {
  auto& of_inner = mappings[inner];
  for (Mapping& mapping : of_inner) {
    if (mapping.outside != outside) continue;
    ++mapping.connections;
    return;
  }
  of_inner.push_back({outside, 1});
  const DomainId domain = std::get<0>(inner);
  taken.insert({domain, outside.address, std::get<1>(inner), outside.port});
  auto& block = blocks[{domain, outside.address, (outside.port - kFirstPort) / kBlockPorts}];
  block.first = owner;
  ++block.second;
}

unsigned PolicyState::blocks_of(DomainId domain, const IpAddress& address, AttachmentId owner) const {
  unsigned count = 0;
  for (auto block = blocks.lower_bound({domain, address, 0});
       block != blocks.end() && std::get<0>(block->first) == domain && std::get<1>(block->first) == address; ++block) {
    if (block->second.first == owner) ++count;
  }
  return count;
}

bool PolicyState::port_left(DomainId domain, std::uint8_t protocol, const IpAddress& address, AttachmentId owner,
                            unsigned most_blocks) const {
  const bool may_have_more = blocks_of(domain, address, owner) < most_blocks;
  for (unsigned number = 0; number < kBlocks; ++number) {
    const auto block = blocks.find({domain, address, number});
    if (block == blocks.end()) {
      if (may_have_more) return true;
      continue;
    }
    if (block->second.first != owner) continue;
    const auto from = static_cast<std::uint16_t>(kFirstPort + number * kBlockPorts);
    const auto begin = taken.lower_bound({domain, address, protocol, from});
    const auto end =
        number + 1 == kBlocks
            ? taken.upper_bound({domain, address, protocol, 65535})
            : taken.lower_bound({domain, address, protocol, static_cast<std::uint16_t>(from + kBlockPorts)});
    if (static_cast<unsigned>(std::distance(begin, end)) < kBlockPorts) return true;
  }
  return false;
}

}  // namespace simplon::oracle
