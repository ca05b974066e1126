// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/policy_list.h"
#include "gateway/ipc/sa_decode.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"

namespace simplon::forwarder {

/// The security associations charon negotiated: requests of the SA protocol in, replies and events out, `Tables` kept in step.
/// No sockets: the whole life of an SA is testable with a FakeClock.
///
/// An Sa is made once per key and never again: asking for the same one again finds it, and its sequence numbers go on.
/// Threads: the control thread's.
class SaStore {
 public:
  /// `instance` is random, and that of the former forwarder if its SAs are restored. `on_event` gets encoded EXPIRE and MAPPING messages.
  SaStore(forward::Tables& tables, const Clock& clock, std::uint64_t instance,
          std::function<void(std::vector<std::uint8_t>)> on_event);

  /// The encoded reply.
  [[nodiscard]] std::vector<std::uint8_t> handle(const ipc::sa::Request& request);
  /// Several times a second: expiry, mappings, the end of stale sessions.
  void tick();

  /// The SAs that the tunnel has now are not wanted any more. Those of the present charon are its to end; those of its earlier lives,
  /// which it knows nothing of, end with the next `tick`, or with this life of charon.
  void renounce(TunnelId tunnel);

  [[nodiscard]] std::vector<ipc::SaStats> stats() const;
  [[nodiscard]] std::size_t size() const noexcept { return sas_.size(); }
  [[nodiscard]] bool contains(const ipc::sa::Id& id) const { return sas_.count(id) != 0; }
  /// The outbound SA to the peer, in use or about to be; nullptr: there is none.
  [[nodiscard]] const forward::Sa* outbound(const IpAddress& destination, Spi spi) const;

  /// Everything another process needs to go on, once no worker uses the SAs any more. Holds keys.
  struct SavedSa {
    /// With the addresses of now.
    ipc::sa::Add add;
    std::uint64_t session = 0;
    MonoTime added;
    bool soft_raised = false;
    std::optional<MonoTime> stale_until;
    forward::SaProgress progress;
  };
  struct Snapshot {
    std::uint64_t session = 0;
    /// Oldest first, as are the policies.
    std::vector<SavedSa> sas;
    std::vector<PolicyList::Use> policies;
    std::vector<std::pair<Spi, MonoTime>> reserved;
  };
  [[nodiscard]] Snapshot snapshot() const;
  /// Into an empty store. Errors: kPeer naming the SA that cannot be installed.
  [[nodiscard]] Result<void> restore(const Snapshot& snapshot);

  /// After its tunnel's outbound SA is replaced, an SA of an earlier session still receives this long, and as long as its
  /// peer uses it.
  static constexpr std::chrono::seconds kStaleGrace{10};
  /// charon need not follow a peer to its new address (it does not if we are behind a NAT and began the IKE_SA), nor hear of it more
  /// often. Chosen by us.
  static constexpr std::chrono::seconds kMappingPause{30};

 private:
  struct Record {
    std::shared_ptr<forward::Sa> sa;
    bool inbound = false;
    TunnelId tunnel;
    /// As asked for; its addresses may be older than those of `sa`.
    ipc::sa::Add add;
    std::uint64_t session = 0;
    MonoTime added;
    std::uint64_t age = 0;
    bool soft_raised = false;
    std::optional<MonoTime> stale_until;
    bool renounced = false;
    /// The last one that charon was told of, and when.
    std::optional<std::pair<forward::SaMapping, MonoTime>> told_mapping;
  };
  struct Answer {
    simplon_sa_status status = SIMPLON_SA_OK;
    std::uint64_t value = 0;
  };

  Answer answer(const ipc::sa::Hello& hello);
  Answer answer(const ipc::sa::AllocSpi&);
  Answer answer(const ipc::sa::Add& add);
  Answer answer(const ipc::sa::Update& update);
  Answer answer(const ipc::sa::Delete& request);
  Answer answer(const ipc::sa::AddPolicy& request);
  Answer answer(const ipc::sa::DeletePolicy& request);

  /// Makes and installs an SA that is not there; `saved` is what it did in a former process.
  Answer install(const ipc::sa::Add& add, const SavedSa* saved);
  /// Points the tunnel at the outbound SA that its policies choose now.
  void activate(TunnelId tunnel);
  void insert(const ipc::sa::Id& id, Record record);
  std::optional<Record> extract(const ipc::sa::Id& id);
  void remove(const ipc::sa::Id& id);
  void expire(const ipc::sa::Id& id, Record& record, std::vector<ipc::sa::Id>& dead);

  forward::Tables& tables_;
  const Clock& clock_;
  std::uint64_t instance_;
  std::function<void(std::vector<std::uint8_t>)> on_event_;
  std::mt19937_64 random_;
  std::uint64_t session_ = 0;
  std::uint64_t next_age_ = 1;
  std::map<ipc::sa::Id, Record> sas_;
  /// Indices of `sas_`.
  std::map<TunnelId, std::set<ipc::sa::Id>> by_tunnel_;
  std::multiset<Spi> spis_;
  std::map<Spi, MonoTime> reserved_;
  PolicyList policies_;
};

}  // namespace simplon::forwarder
