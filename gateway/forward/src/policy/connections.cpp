// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/policy/connections.h"

#include <algorithm>
#include <bit>

#include "gateway/forward/src/tables/table_limits.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/tcp.h"

namespace simplon::forward {
namespace {

/// Chosen by us: connections that are looked at between two bursts, whether they end or not. Each is a cache miss or several.
constexpr unsigned kLooksAtOnce = 512;

}  // namespace

void Connection::Key::store(const FlowKey& key) noexcept {
  source_low = key.source.low;
  source_high = key.source.high;
  destination_low = key.destination.low;
  destination_high = key.destination.high;
  context = key.context;
  ports = key.ports;
}

FlowKey Connection::inside() const noexcept {
  const FlowKey out = keys[0].load();
  const FlowKey back = keys[1].load();
  return {out.source, back.source, out.context, (out.ports & 0xffffU) | (back.ports << 16)};
}

ConnectionTable::ConnectionTable(std::size_t capacity, NatShare share, HashSeed seed)
    : seed_(seed),
      entries_(capacity + 1),
      buckets_(std::bit_ceil(capacity * 2)),
      owned_(kMaxAttachments),
      wheel_(kWheel),
      nat_(capacity + 1, share, seed) {}

std::uint32_t ConnectionTable::lifetime(std::uint8_t protocol, ConnectionState state) noexcept {
  switch (protocol) {
    case wire::kProtocolTcp:
      return state == ConnectionState::kOpen ? kTcpOpenSeconds : kTcpTransitorySeconds;
    case wire::kProtocolUdp:
      return state == ConnectionState::kOpen ? kUdpOpenSeconds : kUdpOpeningSeconds;
    case wire::kProtocolIcmp:
    case wire::kProtocolIcmpv6:
      return kIcmpQuerySeconds;
    default:
      return kOtherSeconds;
  }
}

ConnectionTable::Found ConnectionTable::find(const FlowKey& key) const noexcept {
  for (std::uint32_t link = head_of(key); link != 0;) {
    const Connection& entry = entries_[link / 2];
    const unsigned direction = link % 2;
    if (entry.keys[direction].load() == key) return {link / 2, direction};
    link = entry.chain[direction];
  }
  return {};
}

void ConnectionTable::count(const Connection& connection, std::uint32_t by) noexcept {
  Owned& owned = owned_[connection.owner];
  owned.all.add(by);
  if (connection.begun_by_other) owned.by_others.add(by);
}

void ConnectionTable::chain(std::uint32_t index, unsigned direction) noexcept {
  Connection& entry = entries_[index];
  std::uint32_t& head = head_of(entry.keys[direction].load());
  entry.chain[direction] = head;
  head = index * 2 + direction;
}

void ConnectionTable::unchain(std::uint32_t index, unsigned direction) noexcept {
  const std::uint32_t wanted = index * 2 + direction;
  std::uint32_t* link = &head_of(entries_[index].keys[direction].load());
  while (*link != wanted) link = &entries_[*link / 2].chain[*link % 2];
  *link = entries_[index].chain[direction];
}

std::uint32_t ConnectionTable::due_of(const Connection& connection) noexcept {
  const auto state = static_cast<ConnectionState>(std::uint8_t{connection.state});
  return connection.last_seen + lifetime(static_cast<std::uint8_t>(connection.keys[0].context), state);
}

void ConnectionTable::put_on_wheel(std::uint32_t index, std::uint32_t due) noexcept {
  Connection& entry = entries_[index];
  entry.due = std::max(due, wheel_time_);
  std::uint32_t& head = wheel_[entry.due % kWheel];
  entry.earlier = 0;
  entry.later = head;
  if (head != 0) entries_[head].earlier = index;
  head = index;
}

void ConnectionTable::take_off_wheel(std::uint32_t index) noexcept {
  const Connection& entry = entries_[index];
  if (entry.earlier == 0) {
    wheel_[entry.due % kWheel] = entry.later;
  } else {
    entries_[entry.earlier].later = entry.later;
  }
  if (entry.later != 0) entries_[entry.later].earlier = entry.earlier;
}

std::uint32_t ConnectionTable::add(const Beginning& beginning, std::uint32_t now) noexcept {
  std::uint32_t index = free_;
  if (index != 0) {
    free_ = entries_[index].later;
  } else {
    index = high_water_.load(std::memory_order_relaxed);
    if (index >= entries_.size()) return 0;
    entries_[index].version.store(1, std::memory_order_relaxed);
    high_water_.store(index + 1, std::memory_order_release);
  }
  if (wheel_time_ == 0) wheel_time_ = now;
  Connection& entry = entries_[index];
  for (unsigned direction = 0; direction < 2; ++direction) {
    entry.keys[direction].store(beginning.keys[direction]);
    entry.sides[direction] = beginning.sides[direction];
    entry.revisions[direction] = beginning.revisions[direction];
    entry.packets[direction] = 0;
    entry.bytes[direction] = 0;
    chain(index, direction);
  }
  entry.state = static_cast<std::uint8_t>(ConnectionState::kOpening);
  entry.closing = 0;
  entry.answered = false;
  entry.covered = beginning.covered;
  entry.owner = beginning.owner;
  entry.begun_by_other = beginning.sides[0] != beginning.owner;
  entry.mapping = beginning.mapping;
  entry.made = now;
  entry.last_seen = now;
  put_on_wheel(index, due_of(entry));
  count(entry, 1);
  size_.fetch_add(1, std::memory_order_relaxed);
  entry.version.fetch_add(1, std::memory_order_release);  // even: it is there
  return index;
}

void ConnectionTable::remove(std::uint32_t index) noexcept {
  Connection& entry = entries_[index];
  entry.version.fetch_add(1, std::memory_order_acq_rel);
  for (const unsigned direction : {0U, 1U}) unchain(index, direction);
  take_off_wheel(index);
  if (entry.mapping != 0) nat_.release(entry.mapping);
  count(entry, ~std::uint32_t{0});
  size_.fetch_sub(1, std::memory_order_relaxed);
  entry.later = free_;
  free_ = index;
}

void ConnectionTable::change_state(Connection& connection, std::uint32_t index, ConnectionState state) noexcept {
  connection.state = static_cast<std::uint8_t>(state);
  // A longer life is noticed when the wheel comes by.
  const std::uint32_t due = due_of(connection);
  if (due >= connection.due) return;
  take_off_wheel(index);
  put_on_wheel(index, due);
}

void ConnectionTable::note(std::uint32_t index, unsigned direction, std::size_t bytes, std::uint8_t tcp_flags,
                           std::uint32_t now) noexcept {
  Connection& entry = entries_[index];
  entry.last_seen = now;
  entry.packets[direction].add(1);
  entry.bytes[direction].add(bytes);
  const auto state = static_cast<ConnectionState>(std::uint8_t{entry.state});
  if (static_cast<std::uint8_t>(entry.keys[0].context) != wire::kProtocolTcp) {
    if (direction == 1 && state == ConnectionState::kOpening) change_state(entry, index, ConnectionState::kOpen);
    return;
  }
  // RFC 6146 section 3.5.2.2: a FIN of one side leaves the other all its time, and traffic behind a RST shows that it was not believed.
  const bool syn = (tcp_flags & wire::kTcpSyn) != 0;
  const bool ack = (tcp_flags & wire::kTcpAck) != 0;
  if ((tcp_flags & wire::kTcpRst) != 0) {
    if (state == ConnectionState::kClosing) return;
    const unsigned was_open = state == ConnectionState::kOpen ? Connection::kWasOpen : 0U;
    entry.closing = static_cast<std::uint8_t>(entry.closing | Connection::kReset | was_open);
    return change_state(entry, index, ConnectionState::kClosing);
  }
  if (syn && !ack && direction == 0 && state == ConnectionState::kClosing) {
    entry.closing = 0;  // the same ports again: RFC 9293 section 3.6.1
    entry.answered = false;
    return change_state(entry, index, ConnectionState::kOpening);
  }
  if ((tcp_flags & wire::kTcpFin) != 0) entry.closing = static_cast<std::uint8_t>(entry.closing | (1U << direction));
  if ((entry.closing & Connection::kBothFins) == Connection::kBothFins) {
    return change_state(entry, index, ConnectionState::kClosing);
  }
  ConnectionState open = state;
  if ((entry.closing & Connection::kReset) != 0) {
    open = (entry.closing & Connection::kWasOpen) != 0 ? ConnectionState::kOpen : ConnectionState::kOpening;
    entry.closing = static_cast<std::uint8_t>(entry.closing & Connection::kBothFins);
    change_state(entry, index, open);
  }
  if (open == ConnectionState::kOpening) {
    if (direction == 1) entry.answered = true;
    // The one who began it has heard the other: a forged SYN and the answer to it do not get this far.
    if (direction == 0 && entry.answered && ack && !syn) change_state(entry, index, ConnectionState::kOpen);
  }
}

void ConnectionTable::expire(std::uint32_t now) noexcept {
  if (now <= wheel_time_ || size_.load(std::memory_order_relaxed) == 0) {
    if (now > wheel_time_) wheel_time_ = now;
    return;
  }
  if (now - wheel_time_ > kWheel) wheel_time_ = now - kWheel;
  unsigned looks = 0;
  for (; wheel_time_ < now; ++wheel_time_) {
    std::uint32_t index = wheel_[wheel_time_ % kWheel];
    while (index != 0) {
      if (looks++ == kLooksAtOnce) return;  // it goes on at this second with the next burst
      const std::uint32_t later = entries_[index].later;
      const std::uint32_t due = due_of(entries_[index]);
      if (due >= now) {
        take_off_wheel(index);
        put_on_wheel(index, due);
      } else {
        remove(index);
      }
      index = later;
    }
  }
}

bool ConnectionTable::take_copy(std::uint32_t index, Copy& copy) const noexcept {
  const Connection& entry = entries_[index];
  const std::uint32_t before = entry.version.load(std::memory_order_acquire);
  if (before % 2 != 0) return false;
  for (const unsigned direction : {0U, 1U}) {
    copy.keys[direction] = entry.keys[direction].load();
    copy.sides[direction] = entry.sides[direction];
    copy.packets[direction] = entry.packets[direction];
    copy.bytes[direction] = entry.bytes[direction];
  }
  copy.owner = entry.owner;
  copy.made = entry.made;
  copy.last_seen = entry.last_seen;
  copy.state = entry.state;
  copy.closing = entry.closing;
  std::atomic_thread_fence(std::memory_order_acquire);
  return entry.version.load(std::memory_order_relaxed) == before;
}

}  // namespace simplon::forward
