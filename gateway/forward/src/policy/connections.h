// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "gateway/forward/policy_objects.h"
#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/policy/nat_ports.h"
#include "gateway/forward/src/tables/stable_array.h"

namespace simplon::forward {

// Idle seconds after which a connection is forgotten, given by standards as the least that is allowed, or recommended.
inline constexpr std::uint32_t kTcpOpenSeconds = 7440;       // RFC 5382 REQ-5: 2 hours 4 minutes
inline constexpr std::uint32_t kTcpTransitorySeconds = 240;  // RFC 5382 REQ-5: opening, closed by both, reset
inline constexpr std::uint32_t kUdpOpenSeconds = 300;        // RFC 4787 REQ-5: recommended
inline constexpr std::uint32_t kUdpOpeningSeconds = 120;     // RFC 4787 REQ-5: the least
inline constexpr std::uint32_t kIcmpQuerySeconds = 60;       // RFC 5508 REQ-2
inline constexpr std::uint32_t kOtherSeconds = 600;          // chosen by us

/// A field with one writer (the worker) and readers on other threads, each of which sees some recent value.
template <class T>
class Relaxed {
 public:
  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }  // NOLINT(google-explicit-constructor)
  Relaxed& operator=(T value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  void add(T by) noexcept { *this = static_cast<T>(*this + by); }

 private:
  std::atomic<T> value_;
};

/// One connection. Direction 0 is that of its first packet.
struct alignas(64) Connection {
  struct Key {
    Relaxed<std::uint64_t> source_low, source_high, destination_low, destination_high, context;
    Relaxed<std::uint32_t> ports;
    [[nodiscard]] FlowKey load() const noexcept {
      return {{source_low, source_high}, {destination_low, destination_high}, context, ports};
    }
    void store(const FlowKey& key) noexcept;
  };
  /// As packets of each direction arrive. What goes out in direction d is keys[1 - d] reversed.
  std::array<Key, 2> keys;
  /// Odd while it is made or unmade: a reader on another thread takes it for absent.
  std::atomic<std::uint32_t> version;
  Relaxed<std::uint32_t> last_seen;  ///< Seconds.
  Relaxed<std::uint32_t> made;       ///< Seconds.
  Relaxed<std::uint8_t> state;
  Relaxed<std::uint8_t> closing;  ///< Bit d: FIN in direction d; kReset, kWasOpen.
  std::uint8_t covered;  ///< Bit d: the access list of `sides[d]` lets all of it pass.
  bool answered;
  bool begun_by_other;  ///< Than its owner. Who began it may appear elsewhere later; this stays.
  static constexpr std::uint8_t kBothFins = 3;
  /// RST; perhaps nobody believed it (RFC 5961 section 3.2).
  static constexpr std::uint8_t kReset = 4;
  /// Before the RST.
  static constexpr std::uint8_t kWasOpen = 8;
  /// Slots of the attachments of who began it, and of the other.
  std::array<Relaxed<std::uint32_t>, 2> sides;
  Relaxed<std::uint32_t> owner;
  /// Of the lists that let it pass.
  std::array<std::uint32_t, 2> revisions;
  std::array<Relaxed<std::uint64_t>, 2> packets;
  std::array<Relaxed<std::uint64_t>, 2> bytes;
  // Links, by index.
  std::array<std::uint32_t, 2> chain;
  std::uint32_t earlier;
  std::uint32_t later;
  std::uint32_t due;  ///< Second of the wheel that it stands in.
  std::uint32_t mapping;
  /// Of who began it; before ours is put in its place. Same as keys[0] but for where the packet really goes.
  [[nodiscard]] FlowKey inside() const noexcept;
};

/// All connections of one worker, with the NAT mappings they hold.
///
/// One table serves access lists and NAT: a connection is there because a stateful rule let its first packet pass, or
/// because an address of it is translated; and both its directions are found under one lookup each. Memory is reserved
/// once and used as connections come; nothing is allocated later.
///
/// Time costs a packet one store: a connection stands in a wheel of seconds where it would have ended if nothing had come,
/// and is looked at again when the wheel comes by.
///
/// With several workers each has its own table, and the packets of a connection are handed over to the one that has it
/// (shard.h).
///
/// Threads: one worker; `for_each`, `of_owner`, `begun_by_others`, `has_share_left` and `size` any.
class ConnectionTable {
 public:
  static constexpr std::size_t kDefaultCapacity = std::size_t{1} << 18;
  explicit ConnectionTable(std::size_t capacity = kDefaultCapacity, NatShare share = {}, HashSeed seed = {});

  struct Found {
    std::uint32_t index = 0;  ///< 0: none.
    unsigned direction = 0;
  };
  [[nodiscard]] Found find(const FlowKey& key) const noexcept;
  void prefetch(const FlowKey& key) const noexcept { __builtin_prefetch(&head_of(key)); }
  [[nodiscard]] Connection& operator[](std::uint32_t index) const noexcept { return entries_[index]; }

  struct Beginning {
    std::array<FlowKey, 2> keys;
    std::array<std::uint32_t, 2> sides{};
    std::array<std::uint32_t, 2> revisions{};
    std::uint8_t covered = 0;
    std::uint32_t owner = 0;
    std::uint32_t mapping = 0;
  };
  /// 0: all entries are in use. `now` in seconds. The connection is the owner of `mapping` then.
  std::uint32_t add(const Beginning& beginning, std::uint32_t now) noexcept;
  void remove(std::uint32_t index) noexcept;
  /// A packet of it goes on.
  void note(std::uint32_t index, unsigned direction, std::size_t bytes, std::uint8_t tcp_flags, std::uint32_t now) noexcept;
  /// Removes those whose time is over, as far as it comes: it looks at so many at once and goes on with the next call.
  void expire(std::uint32_t now) noexcept;
  /// Removes those of attachments that are gone: `gone(slot)`. `settled` (which never goes back) says how many have gone so far. It looks at
  /// so many at once; true: it is to be called again.
  template <class Gone>
  bool forget(std::uint32_t settled, Gone&& gone) noexcept {
    if (settled == forgotten_.load(std::memory_order_relaxed)) return false;
    if (sweep_at_ == 0) {
      sweep_for_ = settled;
      sweep_at_ = 1;
    }
    const std::uint32_t end = high_water_.load(std::memory_order_relaxed);
    for (unsigned looks = 0; sweep_at_ < end; ++sweep_at_) {
      if (looks++ == kSweptAtOnce) return true;
      const Connection& entry = entries_[sweep_at_];
      if (entry.version.load(std::memory_order_relaxed) % 2 != 0) continue;
      if (gone(entry.owner) || gone(entry.sides[0]) || gone(entry.sides[1])) remove(sweep_at_);
    }
    sweep_at_ = 0;
    forgotten_.store(sweep_for_, std::memory_order_release);
    return sweep_for_ != settled;
  }
  [[nodiscard]] std::uint32_t of_owner(std::uint32_t slot) const noexcept { return owned_[slot].all; }
  /// Of these, those that another attachment began.
  [[nodiscard]] std::uint32_t begun_by_others(std::uint32_t slot) const noexcept { return owned_[slot].by_others; }
  /// It may have four times as many as there are free entries: so the last ones are for whoever has few, however many others want
  /// all they can get, and limits need not be counted against the capacity.
  [[nodiscard]] bool has_share_left(std::uint32_t slot) const noexcept {
    constexpr std::size_t kTimes = 4;
    return of_owner(slot) <= (capacity() - size()) * kTimes;
  }
  [[nodiscard]] NatPorts& nat() noexcept { return nat_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return entries_.size() - 1; }

  /// The same for both directions of an untranslated connection.
  [[nodiscard]] static std::uint64_t shard_hash(const FlowKey& key) noexcept {
    return key.public_hash() + key.reversed().public_hash();
  }

  // Any thread.

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// Of the attachments that have gone, none of the first so many has connections.
  [[nodiscard]] std::uint32_t forgotten() const noexcept { return forgotten_.load(std::memory_order_acquire); }
  struct Copy {
    std::array<FlowKey, 2> keys;
    std::array<std::uint32_t, 2> sides{};
    std::array<std::uint64_t, 2> packets{}, bytes{};
    std::uint32_t owner = 0, made = 0, last_seen = 0;
    std::uint8_t state = 0, closing = 0;
  };
  /// `visit(copy)` for each connection until it returns false. What is being made or unmade meanwhile may be left out.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const std::uint32_t end = high_water_;
    for (std::uint32_t index = 1; index < end; ++index) {
      Copy copy;
      if (take_copy(index, copy) && !visit(copy)) return;
    }
  }

  [[nodiscard]] static std::uint32_t lifetime(std::uint8_t protocol, ConnectionState state) noexcept;

 private:
  static constexpr std::uint32_t kWheel = 16384;  ///< Seconds; longer than the longest lifetime.
  static_assert(kTcpOpenSeconds < kWheel);
  struct Owned {
    Relaxed<std::uint32_t> all;
    Relaxed<std::uint32_t> by_others;
  };
  /// Chosen by us: some ten microseconds a burst, while there is something to forget.
  static constexpr unsigned kSweptAtOnce = 1024;

  [[nodiscard]] bool take_copy(std::uint32_t index, Copy& copy) const noexcept;
  [[nodiscard]] std::uint32_t& head_of(const FlowKey& key) const noexcept {
    return buckets_[key.hash(seed_) & (buckets_.size() - 1)];
  }
  /// One more, or one less.
  void count(const Connection& connection, std::uint32_t by) noexcept;
  void chain(std::uint32_t index, unsigned direction) noexcept;
  void unchain(std::uint32_t index, unsigned direction) noexcept;
  void put_on_wheel(std::uint32_t index, std::uint32_t due) noexcept;
  void take_off_wheel(std::uint32_t index) noexcept;
  void change_state(Connection& connection, std::uint32_t index, ConnectionState state) noexcept;
  [[nodiscard]] static std::uint32_t due_of(const Connection& connection) noexcept;

  HashSeed seed_;
  StableArray<Connection> entries_;
  /// Heads of chains of links: index * 2 + direction, 0 is none.
  StableArray<std::uint32_t> buckets_;
  StableArray<Owned> owned_;
  std::vector<std::uint32_t> wheel_;
  NatPorts nat_;
  std::uint32_t wheel_time_ = 0;
  std::uint32_t free_ = 0;
  std::uint32_t sweep_at_ = 0;  ///< The next entry that `forget` looks at; 0: it has nothing to do.
  std::uint32_t sweep_for_ = 0;
  std::atomic<std::uint32_t> forgotten_{0};
  std::atomic<std::uint32_t> high_water_{1};
  std::atomic<std::uint32_t> size_{0};
};

}  // namespace simplon::forward
