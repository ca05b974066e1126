// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one rule everything here serves: the runtime of an SA is never made twice. An AES-GCM sequence number that starts
// again under the same key repeats a nonce, and a repeated nonce gives plaintexts away. Therefore ADD of a known SA only
// compares, UPDATE replaces the path and keeps the Sa, and no request resets anything. After an end by hard expiry
// the record is gone, and with it the key.
//
// Activation. ADD of an outbound SA does not use it; the OUT policies of the tunnel choose (policy_list.h). After each
// request that may change the choice, `activate` compares the choice with what the tables have.
//
// Sessions. When charon restarts, the SAs of its former life are of no one, but the peer still uses them until it learns
// better. They go on; as soon as the tunnel has an outbound SA of the new session they are given kStaleGrace and end.
#include "gateway/forwarder/sa_store.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <span>

#include "platform/crypto/secret.h"

namespace simplon::forwarder {
namespace {

using namespace ipc::sa;

// Given by RFC 7296 section 3.3.2 (IKEv2 transform ids) and by charon's kernel interface.
constexpr std::uint16_t kEncrNull = 11;
constexpr std::uint16_t kEncrAesCbc = 12;
constexpr std::uint16_t kEncrAesGcm16 = 20;
constexpr std::uint16_t kEncrChaCha20Poly1305 = 28;
constexpr std::uint16_t kAuthHmacSha256 = 12;
constexpr std::uint16_t kAuthHmacSha384 = 13;
constexpr std::uint16_t kAuthHmacSha512 = 14;
constexpr std::uint16_t kAuthNone = 1024;
constexpr std::uint16_t kAuthNoneIana = 0;
constexpr std::uint8_t kTunnelMode = 2;
constexpr std::uint8_t kEsp = 50;

// The range the SA protocol promises.
constexpr std::uint32_t kSpiBase = 0xc0000000;
constexpr std::uint32_t kSpiMask = 0x0fffffff;
// Chosen by us: longer than charon keeps trying to reach a peer (165 s).
constexpr auto kReservation = std::chrono::minutes(5);

// Without ESN an SA ends with its 32-bit sequence numbers (RFC 4303 section 3.3.3); rekeying starts at three quarters.
constexpr std::uint64_t kSequenceSoft = std::uint64_t{3} << 30;
constexpr std::uint64_t kSequenceHard = std::numeric_limits<std::uint32_t>::max();

struct Transforms {
  std::uint16_t encryption;
  std::uint16_t integrity;
  crypto::EspSuite suite;
};
constexpr Transforms kTransforms[] = {
    {kEncrAesGcm16, kAuthNone, crypto::EspSuite::kAes128Gcm16},
    {kEncrAesGcm16, kAuthNone, crypto::EspSuite::kAes192Gcm16},
    {kEncrAesGcm16, kAuthNone, crypto::EspSuite::kAes256Gcm16},
    {kEncrChaCha20Poly1305, kAuthNone, crypto::EspSuite::kChaCha20Poly1305},
    {kEncrAesCbc, kAuthHmacSha256, crypto::EspSuite::kAes128Sha256},
    {kEncrAesCbc, kAuthHmacSha256, crypto::EspSuite::kAes192Sha256},
    {kEncrAesCbc, kAuthHmacSha256, crypto::EspSuite::kAes256Sha256},
    {kEncrAesCbc, kAuthHmacSha384, crypto::EspSuite::kAes128Sha384},
    {kEncrAesCbc, kAuthHmacSha384, crypto::EspSuite::kAes192Sha384},
    {kEncrAesCbc, kAuthHmacSha384, crypto::EspSuite::kAes256Sha384},
    {kEncrAesCbc, kAuthHmacSha512, crypto::EspSuite::kAes128Sha512},
    {kEncrAesCbc, kAuthHmacSha512, crypto::EspSuite::kAes192Sha512},
    {kEncrAesCbc, kAuthHmacSha512, crypto::EspSuite::kAes256Sha512},
    {kEncrNull, kAuthHmacSha256, crypto::EspSuite::kNullSha256},
    {kEncrNull, kAuthHmacSha384, crypto::EspSuite::kNullSha384},
    {kEncrNull, kAuthHmacSha512, crypto::EspSuite::kNullSha512},
};

/// By transforms and length of the cipher's key.
std::optional<crypto::EspSuite> suite_of(const Add& add) {
  const std::uint16_t integrity = add.integrity == kAuthNoneIana ? kAuthNone : add.integrity;
  for (const auto& [encryption, wanted_integrity, suite] : kTransforms) {
    const crypto::EspSuiteFacts& facts = crypto::facts_of(suite);
    if (encryption == add.encryption && wanted_integrity == integrity &&
        add.encryption_key.bytes().size() == std::size_t{facts.cipher_key_bytes} + facts.salt_bytes &&
        add.integrity_key.bytes().size() == facts.integrity_key_bytes) {
      return suite;
    }
  }
  return std::nullopt;
}

bool is_same_key(std::span<const std::uint8_t> one, std::span<const std::uint8_t> other) {
  return one.size() == other.size() && crypto::equal_in_constant_time(one.data(), other.data(), one.size());
}

/// Addresses and limits may have changed meanwhile.
bool is_same_sa(const Add& one, const Add& other) {
  return one.inbound == other.inbound && one.esn == other.esn && one.tunnel == other.tunnel &&
         one.encryption == other.encryption && one.integrity == other.integrity &&
         one.replay_window == other.replay_window &&
         is_same_key(one.encryption_key.bytes(), other.encryption_key.bytes()) &&
         is_same_key(one.integrity_key.bytes(), other.integrity_key.bytes());
}

std::vector<forward::Selector> selectors_of(const std::vector<ipc::sa::Selector>& from) {
  std::vector<forward::Selector> selectors;
  for (const auto& s : from) selectors.push_back({s.from, s.to, s.protocol, s.port_from, s.port_to});
  return selectors;
}

std::string words(const Id& id) {
  char spi[16];
  std::snprintf(spi, sizeof spi, "%08x", id.spi.value());
  return std::string("SA ") + spi + " to " + id.destination.to_string();
}

bool used_within(const forward::Sa& sa, std::chrono::seconds time, MonoTime now) {
  const auto last_use = std::chrono::seconds(sa.usage().last_use);
  return last_use.count() != 0 && now.time_since_epoch() < last_use + time;
}

}  // namespace

SaStore::SaStore(forward::Tables& tables, const Clock& clock, std::uint64_t instance,
                 std::function<void(std::vector<std::uint8_t>)> on_event)
    : tables_(tables), clock_(clock), instance_(instance), on_event_(std::move(on_event)), random_(std::random_device{}()) {}

std::vector<std::uint8_t> SaStore::handle(const Request& request) {
  if (const auto* query = std::get_if<Query>(&request.body)) {
    const auto found = sas_.find(query->id);
    if (found == sas_.end()) return encode_usage(request.sequence, SIMPLON_SA_NOT_FOUND, {});
    const auto usage = found->second.sa->usage();
    return encode_usage(request.sequence, SIMPLON_SA_OK, {usage.bytes, usage.packets, usage.last_use});
  }
  const Answer reply = std::visit(
      [this](const auto& body) -> Answer {
        if constexpr (std::is_same_v<std::decay_t<decltype(body)>, Query>) {
          return {};
        } else {
          return answer(body);
        }
      },
      request.body);
  tables_.commit();
  return encode_reply(request.sequence, reply.status, reply.value);
}

SaStore::Answer SaStore::answer(const Hello& hello) {
  if (hello.session != session_) {
    if (!sas_.empty()) {
      spdlog::info("SA: {} began a new session; {} SAs of the former one go on until they are replaced", hello.software,
                   sas_.size());
    }
    session_ = hello.session;
  }
  return {SIMPLON_SA_OK, instance_};
}

SaStore::Answer SaStore::answer(const AllocSpi&) {
  const auto now = clock_.now();
  std::erase_if(reserved_, [this, now](const auto& entry) {
    if (entry.second > now) return false;
    tables_.expect_no_longer(entry.first);
    return true;
  });
  const auto in_use = [this](Spi spi) {
    return reserved_.count(spi) != 0 || spis_.count(spi) != 0;
  };
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const Spi spi(kSpiBase | (static_cast<std::uint32_t>(random_()) & kSpiMask));
    if (in_use(spi)) continue;
    reserved_[spi] = now + kReservation;
    tables_.expect_inbound(spi);
    return {SIMPLON_SA_OK, spi.value()};
  }
  return {SIMPLON_SA_FULL, 0};
}

SaStore::Answer SaStore::answer(const Add& add) {
  if (const auto found = sas_.find(add.id); found != sas_.end()) {
    if (!is_same_sa(found->second.add, add)) return {SIMPLON_SA_EXISTS, 0};
    found->second.session = session_;
    found->second.stale_until.reset();
    return {};
  }
  const Answer installed = install(add, nullptr);
  // Its policy may have come first.
  if (installed.status == SIMPLON_SA_OK && !add.inbound) activate(add.tunnel);
  return installed;
}

SaStore::Answer SaStore::install(const Add& add, const SavedSa* saved) {
  const auto suite = suite_of(add);
  if (add.id.protocol != kEsp || add.mode != kTunnelMode || !suite || add.tunnel.value() == 0) {
    spdlog::warn("SA: refused {}: protocol {}, mode {}, encryption {} with {} bytes, integrity {} with {} bytes, if_id {}",
                 words(add.id), add.id.protocol, add.mode, add.encryption, add.encryption_key.bytes().size(),
                 add.integrity, add.integrity_key.bytes().size(), add.tunnel.value());
    return {SIMPLON_SA_NOT_SUPPORTED, 0};
  }
  forward::SaSpec spec;
  spec.direction = add.inbound ? forward::SaDirection::kInbound : forward::SaDirection::kOutbound;
  spec.spi = add.id.spi;
  spec.tunnel = add.tunnel;
  spec.path.source = add.source;
  spec.path.destination = add.id.destination;
  spec.path.encap = add.encap;
  if (add.encap) {
    spec.path.source_port = add.source_port;
    spec.path.destination_port = add.destination_port;
  }
  spec.suite = *suite;
  spec.key = crypto::SecretKey(add.encryption_key.bytes());
  spec.integrity_key = crypto::SecretKey(add.integrity_key.bytes());
  spec.esn = add.esn;
  spec.replay_window = add.replay_window;
  spec.source_selectors = selectors_of(add.source_selectors);
  spec.destination_selectors = selectors_of(add.destination_selectors);
  spec.copy_dscp = add.copy_dscp;
  auto sa = forward::Sa::create(std::move(spec));
  if (!sa) {
    spdlog::warn("SA: refused {}: {}", words(add.id), sa.error().message());
    return {SIMPLON_SA_INVALID, 0};
  }
  // Before the workers can see it: its sequence numbers go on where they were.
  if (saved != nullptr && !(*sa)->resume(saved->progress)) return {SIMPLON_SA_INVALID, 0};
  if (add.inbound) {
    if (auto ok = tables_.install_inbound(*sa); !ok) {
      spdlog::warn("SA: refused {}: {}", words(add.id), ok.error().message());
      return {SIMPLON_SA_EXISTS, 0};
    }
  }
  Record record;
  record.sa = *std::move(sa);
  record.inbound = add.inbound;
  record.tunnel = add.tunnel;
  record.add = add;
  record.session = session_;
  record.added = clock_.now();
  record.age = next_age_++;
  if (saved != nullptr) {
    record.session = saved->session;
    record.added = saved->added;
    record.soft_raised = saved->soft_raised;
    record.stale_until = saved->stale_until;
  }
  // An outbound SA has the peer's number, which may be one of ours by chance.
  if (add.inbound) reserved_.erase(add.id.spi);
  insert(add.id, std::move(record));
  return {};
}

const forward::Sa* SaStore::outbound(const IpAddress& destination, Spi spi) const {
  const auto found = sas_.find({destination, spi, kEsp});
  return found == sas_.end() || found->second.inbound ? nullptr : found->second.sa.get();
}

SaStore::Snapshot SaStore::snapshot() const {
  Snapshot snapshot;
  snapshot.session = session_;
  std::vector<const std::pair<const Id, Record>*> aged;
  for (const auto& entry : sas_) aged.push_back(&entry);
  std::sort(aged.begin(), aged.end(), [](const auto* a, const auto* b) { return a->second.age < b->second.age; });
  for (const auto* entry : aged) {
    const auto& [id, record] = *entry;
    SavedSa saved{record.add, record.session, record.added, record.soft_raised, record.stale_until, record.sa->progress()};
    const auto& path = record.sa->path();
    saved.add.id = id;
    saved.add.source = path.source;
    saved.add.encap = path.encap;
    saved.add.source_port = path.source_port;
    saved.add.destination_port = path.destination_port;
    snapshot.sas.push_back(std::move(saved));
  }
  snapshot.policies = policies_.uses();
  snapshot.reserved.assign(reserved_.begin(), reserved_.end());
  return snapshot;
}

Result<void> SaStore::restore(const Snapshot& snapshot) {
  session_ = snapshot.session;
  for (const SavedSa& saved : snapshot.sas) {
    if (sas_.count(saved.add.id) != 0 || install(saved.add, &saved).status != SIMPLON_SA_OK) {
      return fail(ErrorCode::kPeer, words(saved.add.id) + " that was handed over cannot be installed");
    }
  }
  std::set<TunnelId> tunnels;
  for (const auto& use : snapshot.policies) {
    policies_.add(use.policy, use.session);
    if (use.policy.direction == Direction::kOut) tunnels.insert(use.policy.tunnel);
  }
  for (const auto& [spi, until] : snapshot.reserved) {
    reserved_.emplace(spi, until);
    tables_.expect_inbound(spi);
  }
  for (const TunnelId tunnel : tunnels) activate(tunnel);
  tables_.commit();
  return {};
}

SaStore::Answer SaStore::answer(const ipc::sa::Update& update) {
  const auto found = sas_.find(update.id);
  if (found == sas_.end()) return {SIMPLON_SA_NOT_FOUND, 0};
  Id id = update.id;
  id.destination = update.new_destination;
  if (id != update.id && sas_.count(id) != 0) return {SIMPLON_SA_EXISTS, 0};
  forward::SaPath path;
  path.source = update.new_source;
  path.destination = update.new_destination;
  path.encap = update.new_encap;
  if (update.new_encap) {
    path.source_port = update.new_source_port;
    path.destination_port = update.new_destination_port;
  }
  if (auto ok = tables_.set_path(*found->second.sa, path); !ok) {
    spdlog::warn("SA: cannot update {}: {}", words(update.id), ok.error().message());
    return {SIMPLON_SA_INVALID, 0};
  }
  if (id != update.id) {
    insert(id, *extract(update.id));
  }
  return {};
}

SaStore::Answer SaStore::answer(const Delete& request) {
  const auto found = sas_.find(request.id);
  const bool outbound = found != sas_.end() && !found->second.inbound;
  if (!outbound && reserved_.erase(request.id.spi) != 0) tables_.expect_no_longer(request.id.spi);
  remove(request.id);
  return {};
}

SaStore::Answer SaStore::answer(const AddPolicy& request) {
  policies_.add(request.policy, session_);
  if (request.policy.direction == Direction::kOut) activate(request.policy.tunnel);
  return {};
}

SaStore::Answer SaStore::answer(const DeletePolicy& request) {
  policies_.remove(request.policy);
  if (request.policy.direction == Direction::kOut) activate(request.policy.tunnel);
  return {};
}

void SaStore::insert(const Id& id, Record record) {
  by_tunnel_[record.tunnel].insert(id);
  spis_.insert(id.spi);
  sas_.emplace(id, std::move(record));
}

std::optional<SaStore::Record> SaStore::extract(const Id& id) {
  auto node = sas_.extract(id);
  if (node.empty()) return std::nullopt;
  spis_.erase(spis_.find(id.spi));
  const auto siblings = by_tunnel_.find(node.mapped().tunnel);
  siblings->second.erase(id);
  if (siblings->second.empty()) by_tunnel_.erase(siblings);
  return std::move(node.mapped());
}

void SaStore::remove(const Id& id) {
  const auto record = extract(id);
  if (!record) return;
  if (record->inbound) {
    tables_.remove_inbound(id.spi);
  } else {
    activate(record->tunnel);
  }
}

void SaStore::activate(TunnelId tunnel) {
  static const std::set<Id> kNone;
  const auto members = by_tunnel_.find(tunnel);
  const std::set<Id>& ids = members == by_tunnel_.end() ? kNone : members->second;
  const Record* chosen = nullptr;
  for (const Spi spi : policies_.outbound(tunnel, session_)) {
    // Two peers may have chosen the same SPI for their SAs: the newest of the tunnel is meant.
    for (const Id& id : ids) {
      const Record& record = sas_.at(id);
      if (record.inbound || id.spi != spi) continue;
      if (chosen == nullptr || record.age > chosen->age) chosen = &record;
    }
    if (chosen != nullptr) break;
  }
  const auto wanted = chosen == nullptr ? nullptr : chosen->sa;
  if (tables_.outbound(tunnel) != wanted) {
    if (auto ok = tables_.set_outbound(tunnel, wanted); !ok) spdlog::error("SA: {}", ok.error().message());
  }
  if (chosen == nullptr || chosen->session != session_) return;
  const auto deadline = clock_.now() + kStaleGrace;
  for (const Id& id : ids) {
    Record& record = sas_.at(id);
    if (record.session != session_ && !record.stale_until) record.stale_until = deadline;
  }
  policies_.forget_stale(tunnel, session_);
}

void SaStore::expire(const Id& id, Record& record, std::vector<Id>& dead) {
  const auto usage = record.sa->usage();
  const auto age = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - record.added).count());
  const auto reached = [](std::uint64_t value, std::uint64_t limit) { return limit != 0 && value >= limit; };
  const bool wrapping = !record.sa->esn();
  const bool hard = reached(age, record.add.limits.hard_seconds) || reached(usage.bytes, record.add.limits.hard_bytes) ||
                    reached(usage.packets, record.add.limits.hard_packets) || (wrapping && usage.sequence >= kSequenceHard);
  const bool ours = record.session == session_;
  if (hard) {
    spdlog::info("SA: {} reached the end of its life", words(id));
    if (ours) on_event_(encode_expire(id, true));
    dead.push_back(id);
    return;
  }
  const bool soft = reached(age, record.add.limits.soft_seconds) || reached(usage.bytes, record.add.limits.soft_bytes) ||
                    reached(usage.packets, record.add.limits.soft_packets) || (wrapping && usage.sequence >= kSequenceSoft);
  if (soft && !record.soft_raised && ours) {
    record.soft_raised = true;
    on_event_(encode_expire(id, false));
  }
}

void SaStore::renounce(TunnelId tunnel) {
  const auto members = by_tunnel_.find(tunnel);
  if (members == by_tunnel_.end()) return;
  for (const Id& id : members->second) sas_.at(id).renounced = true;
}

void SaStore::tick() {
  const auto now = clock_.now();
  std::vector<Id> dead;
  for (auto& [id, record] : sas_) {
    if (record.renounced && record.session != session_) {
      spdlog::info("SA: {} is of an earlier charon and not wanted any more", words(id));
      dead.push_back(id);
      continue;
    }
    if (record.stale_until && *record.stale_until <= now) {
      // A peer that never heard of the restart of charon may go on sending on the old one.
      if (!record.inbound || !used_within(*record.sa, kStaleGrace, now)) {
        dead.push_back(id);
        continue;
      }
    }
    expire(id, record, dead);
    if (!record.inbound) continue;
    const auto mapping = record.sa->take_mapping();
    if (!mapping || record.session != session_) continue;
    const auto& told = record.told_mapping;
    if (told && told->first == *mapping && now - told->second < kMappingPause) continue;
    record.told_mapping.emplace(*mapping, now);
    on_event_(encode_mapping(id, mapping->source, mapping->port));
  }
  for (const Id& id : dead) remove(id);
  if (!dead.empty()) tables_.commit();
}

std::vector<ipc::SaStats> SaStore::stats() const {
  std::vector<ipc::SaStats> all;
  for (const auto& [id, record] : sas_) {
    const auto usage = record.sa->usage();
    ipc::SaStats stats;
    stats.spi = id.spi;
    stats.tunnel = record.tunnel;
    stats.inbound = record.inbound;
    stats.active = record.inbound || tables_.outbound(record.tunnel) == record.sa;
    stats.encap = record.sa->path().encap;
    stats.esn = record.sa->esn();
    stats.suite = std::string(crypto::to_string(record.sa->suite()));
    stats.source = record.sa->path().source;
    stats.destination = record.sa->path().destination;
    stats.packets = usage.packets;
    stats.bytes = usage.bytes;
    stats.sequence = usage.sequence;
    stats.replayed = usage.replayed;
    stats.failed = usage.failed;
    stats.age_seconds = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - record.added).count());
    all.push_back(std::move(stats));
  }
  return all;
}

}  // namespace simplon::forwarder
