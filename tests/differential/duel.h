// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/differential/engine.h"
#include "tests/differential/oracle/oracle.h"
#include "tests/differential/scenario.h"

namespace simplon::differential {

struct Disagreement {
  /// What differs, in one line.
  std::string what;
  /// The burst in which it showed.
  std::vector<Input> inputs;
  std::string engine;
  std::string oracle;
};

struct Tally {
  std::uint64_t packets = 0;
  std::uint64_t bursts = 0;
  std::uint64_t changes = 0;
  std::uint64_t sent = 0;
  std::uint64_t punted = 0;
  std::uint64_t originated = 0;
  /// Parts of outer packets, at the end.
  std::uint64_t waiting = 0;
  std::uint64_t esp_in = 0;
  std::uint64_t esp_out = 0;
  /// Tags seen in what was sent, all in the right place.
  std::uint64_t tags = 0;
  /// Sent by the XDP program.
  std::uint64_t in_xdp = 0;
  /// Of these, by one of several nexthops.
  std::uint64_t spread_in_xdp = 0;
  std::uint64_t circuit_in = 0;
  std::uint64_t circuit_out = 0;
  /// Of domains with policy: received, connections begun, with which translation, packets of them, errors about them.
  std::uint64_t policed = 0;
  std::uint64_t begun = 0;
  std::uint64_t begun_source_nat = 0;
  std::uint64_t begun_destination_nat = 0;
  std::uint64_t begun_hairpin = 0;
  std::uint64_t netmapped = 0;
  std::uint64_t followed = 0;
  std::uint64_t answered = 0;
  std::uint64_t errors_about = 0;
  std::uint64_t later_fragments = 0;
  std::uint64_t forgotten_fragments = 0;
  std::array<std::uint64_t, forward::kDropCount> drops{};

  Tally& operator+=(const Tally& other);
};

/// Engine and oracle side by side. Every burst is compared:
///
///   * each frame sent, byte for byte, and its port; in order within each flow
///   * each drop counter, ICMP errors made and suppressed
///   * received + originated = sent + punted + drops + parts of outer packets that wait, and no frame of the pool lost
///   * no tag of a tenant in what leaves towards another one (from the tables alone, without the oracle)
///
/// and with each change of the tables the counters of all attachments, ports and SAs.
///
/// What the documents leave to the engine is learned from it and then held against it: the nexthop and the UDP source
/// port that a flow gets, and the sequence of packets of different flows.
class Duel {
 public:
  explicit Duel(const Limits& limits);

  [[nodiscard]] std::optional<Disagreement> play(const Event& event);
  /// Counters of all objects.
  [[nodiscard]] std::optional<Disagreement> compare_counters();
  /// All lines of the connection table.
  [[nodiscard]] std::optional<Disagreement> compare_connections();

  [[nodiscard]] const oracle::World& world() const { return world_; }
  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  /// Packets whose order and source port are the flow's.
  using FlowKey = std::tuple<oracle::Origin, std::optional<forward::AttachmentId>, bool, oracle::Flow>;
  using SourcePorts = std::map<FlowKey, std::uint16_t>;

  using RouteKey = std::pair<DomainId, IpPrefix>;
  /// What was seen of a flow over a route with several nexthops, and when.
  struct Path {
    std::vector<forward::NextHopEntry> nexthops;
    std::vector<oracle::Hop> usable;
    oracle::Hop choice;
  };
  [[nodiscard]] std::optional<oracle::Hop> known_path(const oracle::RouteEntry& route, const oracle::Flow& flow) const;
  /// Before the world knows the change: what of `paths_` will still be so.
  void keep_paths(const oracle::Change& change);
  [[nodiscard]] std::vector<oracle::Hop> usable_of(const std::vector<forward::NextHopEntry>& nexthops) const;
  /// What the engine did with the packet that the oracle has in hand: those before it are compared, and it is run
  /// alone.
  [[nodiscard]] const Observed& asked();
  [[nodiscard]] std::optional<oracle::Outside> chosen_outside(const oracle::Ends& inside);

  [[nodiscard]] std::optional<oracle::Hop> chosen_nexthop(oracle::AttachmentId ingress, const IpAddress& destination,
                                                          const oracle::RouteEntry& route, const oracle::Flow& flow);

  [[nodiscard]] std::optional<Disagreement> play_burst(const Burst& burst);
  [[nodiscard]] std::optional<Disagreement> run(std::vector<Input>& inputs, std::vector<oracle::Outcome>& outcomes,
                                                std::optional<std::size_t> accept);
  /// As `run`, of what the engine did already.
  [[nodiscard]] std::optional<Disagreement> judge(std::vector<Input>& inputs, std::vector<oracle::Outcome>& outcomes,
                                                  const Observed& observed);
  [[nodiscard]] std::optional<Disagreement> compare_policy();
  /// Empty, or what differs if the packets ended as `endings`. `learned`: source ports of flows not seen before.
  [[nodiscard]] std::string differs(const std::vector<oracle::Outcome>& outcomes,
                                    const std::vector<const oracle::Ending*>& endings, const Observed& observed,
                                    SourcePorts& learned) const;
  [[nodiscard]] std::string leak_in(const forward::MemoryIo::Sent& sent);
  [[nodiscard]] bool one_at_a_time() const;
  void count(const oracle::Outcome& outcome);

  Limits limits_;
  Engine engine_;
  oracle::World world_;
  oracle::Oracle oracle_;
  std::map<RouteKey, std::map<oracle::Flow, Path>> paths_;
  SourcePorts source_ports_;
  std::map<forward::AttachmentId, DomainId> homes_;
  Tally tally_;

  /// The burst so far: what the engine has not seen yet.
  std::vector<Input> inputs_;
  std::vector<oracle::Outcome> outcomes_;
  /// Some packet of it has met policy.
  bool policed_ = false;
  /// The oracle is one packet ahead of the engine.
  bool ahead_ = false;
  /// The packet that the oracle has in hand, and what the engine did with it if it was asked.
  const Input* in_hand_ = nullptr;
  std::optional<std::size_t> accept_;
  std::optional<Observed> asked_;
  std::optional<Disagreement> wrong_;
};

}  // namespace simplon::differential
