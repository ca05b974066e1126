// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/duel.h"

#include <algorithm>

#include "tests/differential/tenant_tag.h"

namespace simplon::differential {
namespace {

using oracle::Bytes;
using oracle::Departure;
using oracle::Ending;
using oracle::Origin;
using oracle::Outcome;
using oracle::View;

/// Packets of one burst, fragments included.
constexpr std::uint64_t kBurstRoom = 256;
constexpr std::uint16_t kFirstDynamicPort = 49152;  // RFC 7348 section 5

std::string number(std::uint64_t value) { return std::to_string(value); }

/// For the eye, and for comparison of what was dropped.
std::string drops_text(const std::array<std::uint64_t, forward::kDropCount>& drops) {
  std::string text;
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    if (drops[i] == 0) continue;
    text += "  dropped " + std::string(forward::kDropInfo[i].counter) + (drops[i] > 1 ? " x" + number(drops[i]) : "") +
            "\n";
  }
  return text;
}

std::string text_of(const Observed& observed, const oracle::World& world) {
  std::string text = drops_text(observed.drops);
  if (observed.suppressed > 0) text += "  suppressed " + number(observed.suppressed) + " ICMP errors\n";
  for (const auto& sent : observed.sent) {
    const auto port = world.ports.find(sent.port);
    const bool ethernet = port == world.ports.end() || port->second.kind == forward::PortKind::kUplink;
    text += "  sent on port " + number(sent.port.value()) + ": " + describe_frame(sent.bytes, ethernet) + "\n";
  }
  return text.empty() ? "  nothing\n" : text;
}

std::string text_of(const std::vector<Outcome>& outcomes) {
  std::string text;
  for (const Outcome& outcome : outcomes) {
    for (std::size_t i = 0; i < outcome.endings.size(); ++i) {
      const Ending& ending = outcome.endings[i];
      if (outcome.endings.size() > 1) text += " or:\n";
      for (const auto& dropped : ending.drops) text += "  dropped " + std::string(info(dropped.why).counter) + "\n";
      if (ending.suppressed > 0) text += "  suppressed an ICMP error\n";
      for (const Departure& departure : ending.departures) {
        if (departure.lost) continue;
        const std::uint64_t value = departure.sa == nullptr ? kFirstDynamicPort : departure.sa->sequence;
        text += "  sent on port " + number(departure.port.value()) + " to " + departure.egress.to_string() + ": " +
                describe_frame(frame_of(departure, 0, value), !departure.to_host) + "\n    with " +
                (departure.answer ? std::string("an answer about our MAC address") : describe_frame(departure.packets[0], false)) + "\n";
      }
    }
  }
  return text.empty() ? "  nothing\n" : text;
}

/// The ports take no more than `accept` packets; the rest is dropped.
void refuse(Outcome& outcome, std::size_t accept) {
  for (Ending& ending : outcome.endings) {
    std::size_t taken = 0;
    for (Departure& departure : ending.departures) {
      if (departure.lost || taken++ < accept) continue;
      departure.lost = forward::Drop::kTxRefused;
      ending.drops.push_back({forward::Drop::kTxRefused, departure.originated ? std::nullopt : outcome.ingress});
    }
  }
}

/// Sizes and what lies open, before a frame is made for comparison, which costs time.
bool may_be(const Departure& departure, const Bytes& packet, View frame) {
  if (frame.size() != frame_bytes(departure)) return false;
  if (departure.whole_frame) return true;
  if (departure.sa == nullptr) return std::equal(packet.rbegin(), packet.rend(), frame.rbegin());
  const oracle::SaSpec& sa = departure.sa->spec;
  return oracle::get32(frame, 14U + (sa.path.source.is_v4() ? 20U : 40U) + (sa.path.encap ? 8U : 0U)) == sa.spi.value();
}

std::uint16_t udp_source_port(const Departure& departure, View frame) {
  return oracle::get16(frame, departure.vpc->vtep.is_v4() ? 34 : 54);
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  packets += other.packets;
  bursts += other.bursts;
  changes += other.changes;
  sent += other.sent;
  punted += other.punted;
  originated += other.originated;
  waiting += other.waiting;
  esp_in += other.esp_in;
  esp_out += other.esp_out;
  tags += other.tags;
  circuit_in += other.circuit_in;
  circuit_out += other.circuit_out;
  policed += other.policed;
  begun += other.begun;
  begun_source_nat += other.begun_source_nat;
  begun_destination_nat += other.begun_destination_nat;
  begun_hairpin += other.begun_hairpin;
  netmapped += other.netmapped;
  followed += other.followed;
  answered += other.answered;
  errors_about += other.errors_about;
  later_fragments += other.later_fragments;
  forgotten_fragments += other.forgotten_fragments;
  in_xdp += other.in_xdp;
  spread_in_xdp += other.spread_in_xdp;
  for (std::size_t i = 0; i < drops.size(); ++i) drops[i] += other.drops[i];
  return *this;
}

Duel::Duel(const Limits& limits)
    : limits_(limits),
      engine_(limits),
      oracle_(world_, [this](const auto& route, const auto& flow) { return known_path(route, flow); },
              {[this](forward::Drop why) { return asked().drops[static_cast<std::size_t>(why)] > 0; },
               [this](const oracle::Ends& inside) { return chosen_outside(inside); },
               [this](oracle::AttachmentId ingress, const IpAddress& destination, const auto& route, const auto& flow) {
                 return chosen_nexthop(ingress, destination, route, flow);
               }}) {
  oracle_.now = engine_.now();
  if (!limits.icmp_errors) return;
  oracle_.bucket.emplace();
  oracle_.bucket->per_second = *limits.icmp_errors;
  oracle_.bucket->capacity = *limits.icmp_errors;
  oracle_.bucket->now = static_cast<std::uint64_t>(FakeClock().now().time_since_epoch().count());
}

std::vector<oracle::Hop> Duel::usable_of(const std::vector<forward::NextHopEntry>& nexthops) const {
  return world_.usable_of(oracle::World::hops_of(nexthops));
}

/// A flow stays where it was seen as long as that nexthop is usable, and none has become usable that was not: it may be
/// the flow's own.
std::optional<oracle::Hop> Duel::known_path(const oracle::RouteEntry& route, const oracle::Flow& flow) const {
  const auto paths = paths_.find({route.domain, route.prefix});
  if (paths == paths_.end()) return std::nullopt;
  const auto found = paths->second.find(flow);
  if (found == paths->second.end() || found->second.nexthops != route.nexthops) return std::nullopt;
  const Path& path = found->second;
  const std::vector<oracle::Hop> usable = usable_of(route.nexthops);
  if (std::find(usable.begin(), usable.end(), path.choice) == usable.end()) return std::nullopt;
  const bool none_back = std::all_of(usable.begin(), usable.end(), [&path](const oracle::Hop& hop) {
    return std::find(path.usable.begin(), path.usable.end(), hop) != path.usable.end();
  });
  return none_back ? std::optional(path.choice) : std::nullopt;
}

/// A route that only loses nexthops moves the flows of those, and no others.
void Duel::keep_paths(const oracle::Change& change) {
  if (const auto* removal = std::get_if<oracle::RemoveRoute>(&change)) {
    paths_.erase({removal->domain, removal->prefix});
    return;
  }
  const auto* upsert = std::get_if<oracle::RouteEntry>(&change);
  if (upsert == nullptr) return;
  const auto paths = paths_.find({upsert->domain, upsert->prefix});
  if (paths == paths_.end()) return;
  std::vector<forward::NextHopEntry> nexthops = upsert->nexthops;
  std::sort(nexthops.begin(), nexthops.end());
  for (auto item = paths->second.begin(); item != paths->second.end();) {
    Path& path = item->second;
    const bool was_its_own = path.usable.size() == oracle::World::hops_of(path.nexthops).size();
    const bool only_fewer = std::includes(path.nexthops.begin(), path.nexthops.end(), nexthops.begin(), nexthops.end());
    const bool stays = std::any_of(nexthops.begin(), nexthops.end(), [&path](const auto& hop) {
      return oracle::Hop{hop.attachment, hop.gateway} == path.choice;
    });
    if (upsert->action != forward::RouteAction::kForward || !was_its_own || !only_fewer || !stays) {
      item = paths->second.erase(item);
      continue;
    }
    path.nexthops = nexthops;
    path.usable = oracle::World::hops_of(nexthops);
    ++item;
  }
}

std::optional<Disagreement> Duel::play(const Event& event) {
  if (const auto* burst = std::get_if<Burst>(&event)) return play_burst(*burst);
  const auto& change = std::get<oracle::Change>(event);
  ++tally_.changes;
  if (auto wrong = compare_counters()) return wrong;
  if (!engine_.apply(change)) return std::nullopt;
  keep_paths(change);
  world_.apply(change);
  for (const auto& [attachment, entry] : world_.host_ports) {
    if (const auto domain = world_.domain_of(attachment)) homes_.insert_or_assign(attachment, *domain);
  }
  return std::nullopt;
}

/// When the packets of a burst share something whose order matters across flows, they come alone.
bool Duel::one_at_a_time() const {
  if (limits_.icmp_errors) return true;
  return std::any_of(world_.outbound.begin(), world_.outbound.end(), [](const auto& item) {
    return !item.second.spec.esn && item.second.sequence > 0xffffffff - kBurstRoom &&
           item.second.sequence != 0xffffffff;
  });
}

std::optional<Disagreement> Duel::play_burst(const Burst& burst) {
  engine_.advance(burst.nanoseconds);
  oracle_.now += burst.nanoseconds;
  if (oracle_.bucket) oracle_.bucket->now += burst.nanoseconds;
  const bool alone = burst.accept.has_value() || one_at_a_time();
  inputs_.clear();
  outcomes_.clear();
  policed_ = false;
  accept_ = burst.accept;
  std::optional<std::pair<Origin, bool>> kind;
  for (const Input& input : burst.inputs) {
    // The stages take packets by kind, and packets of one kind may change what others find: connections, ports, rates.
    in_hand_ = &input;
    asked_.reset();
    oracle_.on_origin = [&](Origin origin, bool later) {
      const std::pair mine(origin, later);
      if (kind && *kind != mine && !wrong_) wrong_ = run(inputs_, outcomes_, accept_);
      kind = mine;
    };
    oracle_.on_guess = [&] {
      if (!wrong_) wrong_ = run(inputs_, outcomes_, accept_);
    };
    Outcome outcome = oracle_.receive(input.port, input.bytes);
    in_hand_ = nullptr;
    if (wrong_) return std::exchange(wrong_, std::nullopt);
    if (!outcome.complaint.empty()) {
      return Disagreement{outcome.complaint, {input}, asked_ ? text_of(*asked_, world_) : "", text_of({outcome})};
    }
    count(outcome);
    if (burst.accept) refuse(outcome, *burst.accept);
    // A flow whose nexthop is not known yet comes alone, too: what the engine does with it tells.
    const bool unsure = outcome.endings.size() > 1;
    if ((unsure || alone) && !asked_) {
      ahead_ = true;
      auto wrong = run(inputs_, outcomes_, burst.accept);
      ahead_ = false;
      if (wrong) return wrong;
    }
    inputs_.push_back(input);
    outcomes_.push_back(std::move(outcome));
    if (asked_) {
      if (auto wrong = judge(inputs_, outcomes_, *asked_)) return wrong;
    } else if (unsure || alone) {
      if (auto wrong = run(inputs_, outcomes_, burst.accept)) return wrong;
    }
  }
  return run(inputs_, outcomes_, burst.accept);
}

const Observed& Duel::asked() {
  if (asked_) return *asked_;
  if (!wrong_) wrong_ = run(inputs_, outcomes_, accept_);
  asked_ = engine_.run({in_hand_, 1}, accept_);
  return *asked_;
}

/// As the connection table shows it.
std::optional<oracle::Outside> Duel::chosen_outside(const oracle::Ends& inside) {
  if (asked().drops[static_cast<std::size_t>(forward::Drop::kNatExhausted)] > 0) return std::nullopt;
  for (const auto& view : engine_.tables().list_connections(~std::size_t{0}, oracle_.now / 1'000'000'000)) {
    if (view.domain == inside.domain && view.protocol == inside.protocol && view.source == inside.source &&
        view.source_port == inside.source_port && view.destination == inside.destination &&
        view.destination_port == inside.destination_port) {
      return oracle::Outside{view.translated_source, view.translated_source_port};
    }
  }
  return std::nullopt;
}

std::optional<oracle::Hop> Duel::chosen_nexthop(oracle::AttachmentId ingress, const IpAddress& destination,
                                                const oracle::RouteEntry& route, const oracle::Flow& flow) {
  auto chosen = engine_.nexthop(ingress, destination, flow);
  if (!chosen) return std::nullopt;
  const std::vector<oracle::Hop> hops = world_.taking_part(route);
  if (!world_.domain_of(chosen->attachment)) {
    // Of a circuit that is not there nobody tells the gateway, only that there is one. The packet goes nowhere; but rules about the
    // circuit are met by what goes through itself only.
    const bool to_gateway = chosen->gateway.has_value();
    const auto named = [&](const oracle::Hop& hop) { return hop.attachment == chosen->attachment; };
    auto same = std::find_if(hops.begin(), hops.end(),
                             [&](const oracle::Hop& hop) { return named(hop) && hop.gateway.has_value() == to_gateway; });
    if (same == hops.end()) same = std::find_if(hops.begin(), hops.end(), named);
    if (same == hops.end()) return chosen;
    chosen = *same;
  }
  if (!known_path(route, flow)) {
    paths_[{route.domain, route.prefix}].insert_or_assign(flow,
                                                          Path{route.nexthops, usable_of(route.nexthops), *chosen});
  }
  return chosen;
}

void Duel::count(const Outcome& outcome) {
  if (outcome.origin == Origin::kEsp || outcome.origin == Origin::kEspInBatch) ++tally_.esp_in;
  if (outcome.origin == Origin::kCircuit) ++tally_.circuit_in;
  const oracle::PolicyVerdict& verdict = outcome.policy;
  if (!verdict.seen) return;
  ++tally_.policed;
  tally_.begun += verdict.begun;
  tally_.begun_source_nat += verdict.begun && verdict.source_nat;
  tally_.begun_destination_nat += verdict.begun && verdict.destination_nat;
  tally_.begun_hairpin += verdict.begun && verdict.source_nat && verdict.destination_nat;
  tally_.netmapped += verdict.netmapped;
  tally_.followed += verdict.known && !verdict.error && verdict.direction == 0;
  tally_.answered += verdict.known && !verdict.error && verdict.direction == 1;
  tally_.errors_about += verdict.known && verdict.error;
}

std::optional<Disagreement> Duel::run(std::vector<Input>& inputs, std::vector<Outcome>& outcomes,
                                      std::optional<std::size_t> accept) {
  if (inputs.empty()) return std::nullopt;
  return judge(inputs, outcomes, engine_.run(inputs, accept));
}

std::optional<Disagreement> Duel::judge(std::vector<Input>& inputs, std::vector<Outcome>& outcomes,
                                        const Observed& observed) {
  const auto disagree = [&](std::string what) {
    return Disagreement{std::move(what), inputs, text_of(observed, world_), text_of(outcomes)};
  };
  std::uint64_t dropped = 0;
  for (const std::uint64_t count : observed.drops) dropped += count;
  std::uint64_t kept = 0;
  std::uint64_t no_longer = 0;
  for (const Outcome& outcome : outcomes) {
    kept += outcome.parts.kept;
    no_longer += outcome.parts.given_up + outcome.parts.joined;
  }
  if (observed.received != inputs.size()) {
    return disagree(number(observed.received) + " packets counted as received, " + number(inputs.size()) + " were");
  }
  if (observed.received + observed.originated + no_longer != observed.sent_count + observed.punted + dropped + kept) {
    return disagree("accounting: received " + number(observed.received) + " + originated " +
                    number(observed.originated) + " + parts that waited " + number(no_longer) + " is not sent " +
                    number(observed.sent_count) + " + punted " + number(observed.punted) + " + dropped " + number(dropped) +
                    " + parts that wait " + number(kept));
  }
  if (observed.sent.size() != observed.sent_count + observed.punted) {
    return disagree(number(observed.sent.size()) + " packets came out, " +
                    number(observed.sent_count + observed.punted) + " are counted");
  }
  const std::size_t waiting = outcomes.back().parts.packets;
  if (observed.lost_frames != waiting) {
    return disagree("lost frames: " + number(observed.lost_frames) + " of the pool are not there, first parts that wait: " + number(waiting));
  }
  for (const auto& sent : observed.sent) {
    if (std::string leak = leak_in(sent); !leak.empty()) return disagree(std::move(leak));
  }

  std::vector<const Ending*> endings;
  for (const Outcome& outcome : outcomes) endings.push_back(&outcome.endings.front());
  SourcePorts learned;
  std::string why = differs(outcomes, endings, observed, learned);
  const Outcome& last = outcomes.back();
  if (last.endings.size() > 1) {
    SIMPLON_CHECK(outcomes.size() == 1);
    std::vector<std::size_t> possible;
    for (std::size_t i = 0; i < last.endings.size(); ++i) {
      SourcePorts ports;
      if (!differs(outcomes, {&last.endings[i]}, observed, ports).empty()) continue;
      // Two endings that look the same still count at different attachments.
      const Ending& ending = last.endings[i];
      engine_.count();
      const bool counted =
          std::all_of(ending.departures.begin(), ending.departures.end(), [&](const Departure& departure) {
            const auto totals = engine_.tables().totals(departure.egress);
            const auto sent = static_cast<std::uint64_t>(
                std::count_if(ending.departures.begin(), ending.departures.end(),
                              [&](const Departure& d) { return d.egress == departure.egress; }));
            const auto before = world_.traffic.find(departure.egress);
            const std::uint64_t was = before == world_.traffic.end() ? 0 : before->second.tx_packets;
            const bool closed = departure.circuit != nullptr && departure.circuit->port == forward::kNoPort;
            return totals && (closed || totals->tx_packets == was + sent);
          });
      if (!counted) continue;
      if (possible.empty()) learned = std::move(ports);
      possible.push_back(i);
    }
    if (possible.empty()) return disagree("none of the nexthops explains it: for the first, " + why);
    endings.front() = &last.endings[possible.front()];
    const bool one = !last.choices.empty() && std::all_of(possible.begin(), possible.end(), [&](std::size_t i) {
      return last.choices[i] == last.choices[possible.front()];
    });
    if (one && last.choices.front() != last.choices.back()) {
      const auto* route = world_.route_to(*world_.domain_of(*last.ingress), last.flow.destination);
      paths_[{route->domain, route->prefix}].insert_or_assign(
          last.flow, Path{route->nexthops, usable_of(route->nexthops), last.choices[possible.front()]});
    }
  } else if (!why.empty()) {
    return disagree(std::move(why));
  }
  source_ports_.merge(learned);
  for (const Ending* ending : endings) {
    for (const Departure& departure : ending->departures) {
      if (departure.circuit != nullptr) ++tally_.circuit_out;
      if (departure.sa == nullptr) continue;
      ++departure.sa->sequence;
      ++tally_.esp_out;
    }
    oracle_.settle(*ending);
  }

  tally_.packets += inputs.size();
  ++tally_.bursts;
  tally_.sent += observed.sent_count;
  tally_.punted += observed.punted;
  tally_.originated += observed.originated;
  tally_.waiting += kept;
  tally_.waiting -= no_longer;
  for (std::size_t i = 0; i < forward::kDropCount; ++i) tally_.drops[i] += observed.drops[i];
  if (in_hand_ == nullptr) {
    for (auto& [spi, sa] : world_.inbound) sa.settled = sa.seen.highest();
  }
  policed_ |= std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& o) { return o.policy.seen; });
  // The packet in hand may have begun one that the engine has not seen yet.
  const std::uint64_t connections = engine_.tables().connections();
  if (policed_ && !ahead_ && connections != world_.policy.connections.size()) {
    return disagree(number(connections) + " connections in the table, there must be " +
                    number(world_.policy.connections.size()));
  }
  inputs.clear();
  outcomes.clear();
  return std::nullopt;
}

std::string Duel::differs(const std::vector<Outcome>& outcomes, const std::vector<const Ending*>& endings,
                          const Observed& observed, SourcePorts& learned) const {
  struct Expected {
    const Departure* departure;
    FlowKey flow;
    std::size_t arrival;
    bool found;
  };
  std::array<std::uint64_t, forward::kDropCount> drops{};
  std::uint64_t originated = 0;
  std::uint64_t suppressed = 0;
  std::vector<Expected> expected;
  for (std::size_t i = 0; i < endings.size(); ++i) {
    for (const auto& dropped : endings[i]->drops) ++drops[static_cast<std::size_t>(dropped.why)];
    originated += endings[i]->originated;
    suppressed += endings[i]->suppressed;
    for (const Departure& departure : endings[i]->departures) {
      if (departure.lost) continue;
      const FlowKey flow{outcomes[i].origin, outcomes[i].ingress, departure.error || departure.answer, outcomes[i].flow};
      expected.push_back({&departure, flow, expected.size(), false});
    }
  }
  for (const Outcome& outcome : outcomes) {
    drops[static_cast<std::size_t>(forward::Drop::kOuterFragment)] += outcome.parts.given_up;
    drops[static_cast<std::size_t>(forward::Drop::kOuterReassembled)] += outcome.parts.joined;
  }
  if (drops != observed.drops) return "drops: engine\n" + drops_text(observed.drops) + "  oracle\n" + drops_text(drops);
  if (originated != observed.originated) {
    return "originated: engine " + number(observed.originated) + ", oracle " + number(originated);
  }
  if (suppressed != observed.suppressed) {
    return "ICMP errors suppressed: engine " + number(observed.suppressed) + ", oracle " + number(suppressed);
  }
  // The likely order, which saves making frames in vain; the stages take packets by kind.
  std::stable_sort(expected.begin(), expected.end(), [](const Expected& a, const Expected& b) {
    return std::pair(a.departure->error, std::get<0>(a.flow)) < std::pair(b.departure->error, std::get<0>(b.flow));
  });

  std::map<const oracle::OutboundSa*, std::uint64_t> used;
  std::map<const bool*, std::uint16_t> identification_of_datagram;
  std::map<std::uint16_t, const bool*> datagram_with;
  std::map<std::tuple<FlowKey, oracle::AttachmentId, bool>, std::size_t> last_of_flow;
  for (const auto& sent : observed.sent) {
    Expected* found = nullptr;
    std::uint16_t source_port = 0;
    for (Expected& candidate : expected) {
      const Departure& departure = *candidate.departure;
      if (candidate.found || departure.port != sent.port) continue;
      std::uint64_t value = 0;
      if (departure.sa != nullptr) {
        const auto count = used.find(departure.sa);
        value = departure.sa->sequence + 1 + (count == used.end() ? 0 : count->second);
      }
      for (std::size_t which = 0; which < departure.packets.size() && found == nullptr; ++which) {
        if (!may_be(departure, departure.packets[which], sent.bytes)) continue;
        if (departure.vpc != nullptr) value = source_port = udp_source_port(departure, sent.bytes);
        const auto identification = identification_of(departure, which, value, sent.bytes);
        if (frame_of(departure, which, value, sent.bytes, identification) != sent.bytes) continue;
        found = &candidate;
        if (!identification) continue;
        const bool* datagram = departure.identified.get();
        if (identification_of_datagram.try_emplace(datagram, *identification).first->second != *identification ||
            datagram_with.try_emplace(*identification, datagram).first->second != datagram) {
          return "fragments of one datagram with several identifications, or of several with one: " + describe_frame(sent.bytes, false);
        }
      }
      if (found != nullptr) break;
    }
    if (found == nullptr) {
      return "a packet on port " + number(sent.port.value()) +
             " that must not be: " + describe_frame(sent.bytes, false);
    }
    found->found = true;
    const Departure& departure = *found->departure;
    if (departure.sa != nullptr) ++used[departure.sa];
    if (departure.vpc != nullptr) {
      if (source_port < kFirstDynamicPort) return "UDP source port " + number(source_port) + " is below 49152";
      auto known = source_ports_.find(found->flow);
      if (known == source_ports_.end()) known = learned.emplace(found->flow, source_port).first;
      if (known->second != source_port) {
        return "UDP source port " + number(source_port) + " of a flow that had " + number(known->second);
      }
    }
    if (std::get<2>(found->flow)) continue;
    // Behind NAT, packets without ports (ICMP errors, fragments) are of several connections and go several ways; one may be the
    // gateway's own.
    auto [place, first] = last_of_flow.try_emplace({found->flow, departure.egress, departure.to_host}, found->arrival);
    if (!first && found->arrival < place->second) return "packets of one flow left in another order than they came in";
    place->second = found->arrival;
  }
  for (const Expected& candidate : expected) {
    if (!candidate.found) {
      return "not sent on port " + number(candidate.departure->port.value()) + ": " +
             describe_frame(candidate.departure->packets.front(), false);
    }
  }
  return {};
}

/// Whom a frame reaches is read from the frame and the tables: VNI, SPI or host port. What it carries is its tags.
std::string Duel::leak_in(const forward::MemoryIo::Sent& sent) {
  std::optional<DomainId> receiver;
  std::optional<oracle::AttachmentId> egress;
  Bytes plain;
  // The kernel's frames on a circuit may end where another tag would be.
  constexpr std::size_t kTwoTags = 22;
  Bytes frame = sent.bytes;
  frame.resize(std::max(frame.size(), kTwoTags));
  View inside = frame;
  const auto tied = world_.tied.find(sent.port);
  const bool to_host = tied != world_.tied.end();
  if (to_host) {
    // Of an attachment that is not configured (any more) the tables do not say whose it is: the tenant who had it last.
    egress = tied->second;
    const auto home = homes_.find(tied->second);
    if (home != homes_.end()) receiver = home->second;
  } else if (const std::uint16_t tag = oracle::get16(inside, 12); tag == 0x8100 || tag == 0x88a8) {
    const std::uint16_t next = oracle::get16(inside, 16);
    const bool two = next == 0x8100 || next == 0x88a8;
    const auto vlan = [&inside](std::size_t at) {
      return static_cast<std::uint16_t>(oracle::get16(inside, at) & 0xfff);
    };
    const auto* circuit = world_.circuit_with(sent.port, two ? vlan(14) : 0, vlan(two ? 18 : 14));
    if (circuit != nullptr) egress = oracle::AttachmentId::circuit(circuit->id);
    inside = inside.subspan(two ? 22 : 18);
  } else {
    const bool v4 = oracle::get16(inside, 12) == 0x0800;
    const std::uint8_t protocol = inside[v4 ? 23 : 20];
    inside = inside.subspan(v4 ? 34 : 54);
    const bool udp = protocol == 17;
    // SPIs are the receivers' to choose, so two peers may have chosen the same one: whoever can open it is meant.
    bool is_esp = false;
    for (const auto& [tunnel, sa] : world_.outbound) {
      const std::size_t around = 8 + sa.cipher.iv_bytes() + sa.cipher.icv_bytes();
      if (sa.spec.path.encap != udp || inside.size() < (udp ? 8U : 0U) + around + sa.cipher.alignment()) continue;
      if (udp && oracle::get16(inside, 2) != sa.spec.path.destination_port) continue;
      const View esp = inside.subspan(udp ? 8 : 0);
      if (oracle::get32(esp, 0) != sa.spec.spi.value()) continue;
      is_esp = true;
      if ((esp.size() - around) % sa.cipher.alignment() != 0) continue;
      // The next number with this low half.
      std::uint64_t sequence = (sa.sequence & ~std::uint64_t{0xffffffff}) | oracle::get32(esp, 4);
      if (sequence <= sa.sequence) sequence += std::uint64_t{1} << 32;
      auto opened = sa.cipher.open(esp, sequence, sa.spec.esn);
      if (!opened) continue;
      plain = std::move(*opened);
      egress = oracle::AttachmentId::tunnel(tunnel);
    }
    if (is_esp && !egress) return "an ESP packet that no receiver can open: " + describe_frame(sent.bytes, true);
    if (is_esp) {
      inside = plain;
    } else {
      egress = oracle::AttachmentId::vpc(Vni{oracle::get32(inside, 12) >> 8});
    }
  }
  if (egress && !to_host) receiver = world_.domain_of(*egress);
  std::string leak;
  each_tag(inside, [&](DomainId owner) {
    ++tally_.tags;
    if (receiver == owner || (to_host && !receiver) || (egress && world_.leads_to(owner, *egress))) return;
    leak = "LEAK: bytes of domain " + number(owner.value()) + " leave towards " +
           (receiver ? "domain " + number(receiver->value()) : std::string("nobody known"));
  });
  return leak;
}

std::optional<Disagreement> Duel::compare_counters() {
  engine_.count();
  tally_.in_xdp = engine_.forwarded_in_xdp();
  tally_.spread_in_xdp = engine_.spread_in_xdp();
  const auto disagree = [](std::string what) { return Disagreement{std::move(what), {}, {}, {}}; };
  const auto text = [](const forward::TrafficTotals& t) {
    return "rx " + number(t.rx_packets) + "/" + number(t.rx_bytes) + " tx " + number(t.tx_packets) + "/" +
           number(t.tx_bytes) + " punted " + number(t.punted) + " dropped " + number(t.dropped);
  };
  const auto equal = [](const forward::TrafficTotals& a, const forward::TrafficTotals& b) {
    return a.rx_packets == b.rx_packets && a.rx_bytes == b.rx_bytes && a.tx_packets == b.tx_packets &&
           a.tx_bytes == b.tx_bytes && a.punted == b.punted && a.dropped == b.dropped;
  };
  const auto check = [&](const std::string& name, const std::optional<forward::TrafficTotals>& engine,
                         const forward::TrafficTotals& expected) -> std::optional<Disagreement> {
    if (engine && equal(*engine, expected)) return std::nullopt;
    return disagree("counters of " + name + ": engine " + (engine ? text(*engine) : "none") + ", oracle " +
                    text(expected));
  };
  for (const auto& [attachment, expected] : world_.traffic) {
    if (auto wrong = check(attachment.to_string(), engine_.tables().totals(attachment), expected)) return wrong;
  }
  for (const auto& [id, port] : world_.ports) {
    if (auto wrong = check("port " + number(id.value()), engine_.tables().totals(id), world_.port_traffic[id]))
      return wrong;
  }
  const auto check_sa = [&](const std::string& name, const forward::Sa* sa, const oracle::Usage& usage,
                            std::uint64_t sequence) -> std::optional<Disagreement> {
    if (sa == nullptr) return disagree(name + " is gone");
    const forward::SaUsage engine = sa->usage();
    if (engine.packets == usage.packets && engine.bytes == usage.bytes && engine.replayed == usage.replayed &&
        engine.failed == usage.failed && engine.sequence == sequence) {
      return std::nullopt;
    }
    const auto line = [](std::uint64_t packets, std::uint64_t bytes, std::uint64_t replayed, std::uint64_t failed,
                         std::uint64_t last) {
      return number(packets) + "/" + number(bytes) + " replayed " + number(replayed) + " failed " + number(failed) +
             " sequence " + number(last);
    };
    return disagree("usage of " + name + ": engine " +
                    line(engine.packets, engine.bytes, engine.replayed, engine.failed, engine.sequence) + ", oracle " +
                    line(usage.packets, usage.bytes, usage.replayed, usage.failed, sequence));
  };
  if (auto wrong = compare_policy()) return wrong;
  for (auto& [spi, sa] : world_.inbound) {
    forward::Sa* engine = engine_.inbound(spi);
    const std::string name = "inbound SA " + number(spi.value());
    if (auto wrong = check_sa(name, engine, sa.usage, sa.seen.highest())) return wrong;
    const auto mapping = engine->take_mapping();
    auto expected = std::exchange(sa.mapping, std::nullopt);
    if (expected && expected->source == sa.spec.path.source && expected->port == sa.spec.path.source_port)
      expected.reset();
    if (mapping.has_value() != expected.has_value() ||
        (mapping && (mapping->source != expected->source || mapping->port != expected->port))) {
      return disagree("new address of the peer of " + name + ": engine " +
                      (mapping ? mapping->source.to_string() : "none") + ", oracle " +
                      (expected ? expected->source.to_string() : "none"));
    }
  }
  for (const auto& [tunnel, sa] : world_.outbound) {
    const std::string name = "outbound SA of tunnel " + number(tunnel.value());
    if (auto wrong = check_sa(name, engine_.outbound(tunnel), sa.usage, sa.sequence)) return wrong;
  }
  return std::nullopt;
}

/// What rules decided. Those of netmap count mapped addresses, which is not compared.
std::optional<Disagreement> Duel::compare_policy() {
  const auto disagree = [](std::string what) { return Disagreement{std::move(what), {}, {}, {}}; };
  for (const auto& [name, list] : world_.acls) {
    for (const auto& engine : engine_.tables().acl_counts(name)) {
      const std::uint64_t expected = list.counts.at(engine.name);
      if (engine.packets == expected) continue;
      return disagree("rule " + engine.name + " of list " + name + ": engine " + number(engine.packets) + ", oracle " +
                      number(expected));
    }
  }
  for (const auto& [domain, nat] : world_.nats) {
    const auto counts = engine_.tables().nat_counts(domain);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (nat.rules[i].kind != forward::NatKind::kSource && nat.rules[i].kind != forward::NatKind::kDestination)
        continue;
      const auto& hits = world_.policy.hits[domain];
      const auto expected = hits.find(counts[i].name);
      if (expected != hits.end() && expected->second == counts[i].packets) continue;
      return disagree("NAT rule " + counts[i].name + ": engine " + number(counts[i].packets) + ", oracle " +
                      (expected == hits.end() ? "none" : number(expected->second)));
    }
  }
  tally_.later_fragments = world_.policy.followed;
  tally_.forgotten_fragments = world_.policy.forgotten;
  return std::nullopt;
}

/// Each line of the connection table.
std::optional<Disagreement> Duel::compare_connections() {
  const auto disagree = [](std::string what) { return Disagreement{std::move(what), {}, {}, {}}; };
  const std::uint64_t now = oracle_.now / 1'000'000'000;
  world_.policy.forget(now);
  for (const auto& view : engine_.tables().list_connections(~std::size_t{0}, now)) {
    const oracle::Ends ends{view.domain,      view.protocol,    view.source,
                            view.destination, view.source_port, view.destination_port};
    const auto found = world_.policy.by_ends.find(ends);
    const std::string name = "connection " + view.source.to_string() + ":" + number(view.source_port) + " -> " +
                             view.destination.to_string() + ":" + number(view.destination_port) + " protocol " +
                             number(view.protocol);
    if (found == world_.policy.by_ends.end()) {
      if (view.expires_in_seconds == 0) continue;  // over, and not looked at since
      return disagree(name + " is there, but must not be");
    }
    const oracle::Connection& mine = world_.policy.connections.at(found->second.first);
    const oracle::Ends out{view.domain,
                           view.protocol,
                           view.translated_source,
                           view.translated_destination,
                           view.translated_source_port,
                           view.translated_destination_port};
    if (mine.first != ends || mine.out != out) return disagree(name + " is translated otherwise");
    if (mine.state != view.state) {
      return disagree(name + ": state of the engine " + number(static_cast<std::uint64_t>(view.state)) +
                      ", of the oracle " + number(static_cast<std::uint64_t>(mine.state)));
    }
    if (mine.packets != std::array{view.packets_out, view.packets_back} ||
        mine.bytes != std::array{view.bytes_out, view.bytes_back}) {
      return disagree(name + ": counters of the engine " + number(view.packets_out) + "/" + number(view.packets_back) +
                      ", of the oracle " + number(mine.packets[0]) + "/" + number(mine.packets[1]));
    }
  }
  return std::nullopt;
}

}  // namespace simplon::differential
