// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/forward/policy_objects.h"
#include "tests/differential/oracle/conversation.h"

// What policy remembers from packet to packet, in plain maps.

namespace simplon::oracle {

using forward::AttachmentId;

/// What a rule of an access list sees of a packet.
struct Question {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;  ///< Of ICMP: the type.
};

struct AccessList {
  forward::AclEntry entry;
  /// Another one for each list that ever was.
  std::uint64_t revision = 0;
  std::map<std::string, std::uint64_t> counts;

  void replace(const forward::AclEntry& other);
  struct Decision {
    bool allow = false;
    bool stateful = false;
  };
  [[nodiscard]] Decision ask(forward::AclDirection direction, const Question& question);
};

/// How far ahead of its rate an attachment is, in seconds that it would have to be silent; one for bits, one for
/// packets. A packet may pass while it is not more than 100 ms ahead.
struct Meter {
  long double bits = 0;
  long double packets = 0;
  std::uint64_t at = 0;  ///< Nanoseconds.

  enum class Verdict : std::uint8_t { kPass, kOver, kUnclear };
  [[nodiscard]] Verdict ask(std::uint64_t now);
  void count(const forward::RateEntry& rate, std::size_t bytes);
};

/// Where a route leads: an attachment and, on a circuit, the neighbor there that takes it further.
struct Hop {
  AttachmentId attachment;
  std::optional<IpAddress> gateway;
  friend auto operator<=>(const Hop&, const Hop&) = default;
};

struct Side {
  AttachmentId attachment;
  /// Its list let the whole connection pass, when it was asked last: then it was this one.
  bool covered = false;
  std::uint64_t revision = 0;
  /// Of a side on a circuit that is not configured, which is no attachment: as the route had it.
  std::optional<Hop> nowhere;
};

struct Outside {
  IpAddress address;
  std::uint16_t port = 0;
  friend auto operator<=>(const Outside&, const Outside&) = default;
};

struct Connection {
  /// As its first packet had them, where it really went, and as it left.
  Ends first, inside, out;
  std::array<Side, 2> sides;
  AttachmentId owner, beginner;
  std::optional<Outside> mapping;
  forward::ConnectionState state = forward::ConnectionState::kOpening;
  bool answered = false;
  std::array<bool, 2> fins{};
  /// Before a RST.
  bool reset = false, was_open = false;
  std::uint64_t seen = 0;  ///< Seconds.
  std::array<std::uint64_t, 2> packets{}, bytes{};

  /// A packet of `direction` went on.
  void note(unsigned direction, std::size_t length, std::uint8_t tcp_flags, std::uint64_t now);
  [[nodiscard]] std::uint64_t lifetime() const;
};

/// Inner address and port, and what stands for them.
struct Mapping {
  Outside outside;
  std::size_t connections = 0;
};

struct PolicyState {
  using Id = std::uint64_t;
  std::map<Id, Connection> connections;
  /// Either way round.
  std::map<Ends, std::pair<Id, unsigned>> by_ends;
  Id next = 1;

  using Inner = std::tuple<DomainId, std::uint8_t, IpAddress, std::uint16_t>;
  std::map<Inner, std::vector<Mapping>> mappings;
  /// Outer ports in use, of each protocol.
  std::set<std::tuple<DomainId, IpAddress, std::uint8_t, std::uint16_t>> taken;
  /// Whose a block of an outer address is, and how many ports of it are in use.
  std::map<std::tuple<DomainId, IpAddress, unsigned>, std::pair<AttachmentId, std::size_t>> blocks;

  /// The way of a datagram's first piece, by where it came from, its addresses, protocol and identification.
  using Datagram = std::tuple<DomainId, AttachmentId, IpAddress, IpAddress, std::uint8_t, std::uint32_t>;
  struct Way {
    IpAddress source, destination;
    AttachmentId egress;
    std::optional<IpAddress> gateway;
    std::uint64_t until = 0;
  };
  std::map<Datagram, Way> ways;
  /// Pieces that the engine had forgotten the way of, and that it had not.
  std::uint64_t forgotten = 0, followed = 0;

  std::map<AttachmentId, std::pair<Meter, Meter>> meters;
  /// Of NAT rules.
  std::map<DomainId, std::map<std::string, std::uint64_t>> hits;

  /// Forgets what is over. `now` in seconds.
  void forget(std::uint64_t now);
  /// And what belongs to attachments that are gone.
  void forget(const std::function<bool(AttachmentId)>& gone, const std::function<bool(const Hop&)>& hop_gone);
  Id add(Connection connection);
  void remove(Id id);
  [[nodiscard]] std::size_t owned_by(AttachmentId owner) const;
  [[nodiscard]] std::size_t begun_by_others(AttachmentId owner) const;
  /// Counters of rules that are still there go on.
  void keep_counts(const forward::NatEntry& nat);

  static constexpr unsigned kFirstPort = 1024;
  static constexpr unsigned kBlockPorts = 512;
  static constexpr unsigned kBlocks = (65536 - kFirstPort) / kBlockPorts;
  void take(const Inner& inner, const Outside& outside, AttachmentId owner);
  /// Is there a port of the address that `owner` may have?
  [[nodiscard]] bool port_left(DomainId domain, std::uint8_t protocol, const IpAddress& address, AttachmentId owner,
                               unsigned most_blocks) const;
  [[nodiscard]] unsigned blocks_of(DomainId domain, const IpAddress& address, AttachmentId owner) const;

 private:
  std::uint64_t forgot_at_ = 0;
};

}  // namespace simplon::oracle
