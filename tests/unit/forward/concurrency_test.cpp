// SPDX-License-Identifier: GPL-2.0-or-later
//
// Readers look things up while the writer changes them; ThreadSanitizer and AddressSanitizer do most of the checking.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/src/fib/fib.h"
#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/worker.h"

namespace simplon::forward {
namespace {

/// Tables of each form, and a map.
struct Shared {
  Quiescence quiescence{2};
  FibArena arena{quiescence};
  Fib<std::uint64_t> small{arena};
  Fib<std::uint64_t> large{arena};
  Fib<Uint128> large6{arena};
  /// Small and large in turn.
  Fib<std::uint64_t> border{arena};
  WaitFreeMap<std::uint32_t, std::uint64_t, SpiHash> map{quiescence, 4};

  template <class Change>
  void each4(Change&& change) {
    for (Fib<std::uint64_t>* fib : {&small, &large, &border}) change(*fib);
  }
};

Uint128 key6(std::uint64_t below) {
  return (static_cast<Uint128>(0xfd00000000000000U | (below & 0xffffffU)) << 64) | below;
}

TEST(Concurrency, LookupsSeeOldOrNewNeverNothing) {
  Shared shared;
  // Always there, while everything around them changes.
  shared.each4([](auto& fib) { fib.upsert(fib_key(0x0a000000U), 8, 1); });
  shared.large6.upsert(key6(0), 8, 1);
  std::mt19937_64 random(99);
  for (int i = 0; i < 5000; ++i) {
    shared.large.upsert(fib_key(0x0b000000U | (random() & 0xffffffU)), 24, 7);
    shared.large6.upsert(key6(random()) ^ (Uint128{1} << 120), 64, 7);
  }
  for (int i = 0; i < 108; ++i)
    shared.border.upsert(fib_key(0x0b000000U + (static_cast<std::uint32_t>(i) << 8)), 24, 7);
  for (std::uint32_t key = 0; key < 64; ++key) shared.map.upsert(key, key);
  shared.each4([](auto& fib) { fib.publish(); });
  shared.large6.publish();

  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0};
  const auto read = [&](unsigned worker) {
    std::mt19937_64 mine(worker);
    shared.quiescence.online(worker);
    for (unsigned turn = 0; !stop.load(std::memory_order_relaxed); ++turn) {
      FibQuery<std::uint64_t> queries[63];
      for (unsigned i = 0; i < 63; ++i) {
        const auto& fib = i % 3 == 0 ? shared.small : i % 3 == 1 ? shared.large : shared.border;
        queries[i] = {fib.form(), fib_key(0x0a000000U | (mine() & 0xffffffU)), 0};
      }
      fib_lookup(queries, 63);
      for (const auto& query : queries) {
        if (query.found == 0 || query.found > 100) wrong.fetch_add(1);
      }
      for (int i = 0; i < 16; ++i) {
        const std::uint32_t found = shared.large6.lookup(key6(mine()));
        if (found == 0 || found > 100) wrong.fetch_add(1);
        const auto key = static_cast<std::uint32_t>(mine() % 64);
        const std::uint64_t* value = shared.map.find(key);
        if (value == nullptr || *value % 1000 != key) wrong.fetch_add(1);
      }
      if (turn % 64 == 63) {
        shared.quiescence.offline(worker);
        shared.quiescence.online(worker);
      } else {
        shared.quiescence.quiescent(worker);
      }
    }
    shared.quiescence.offline(worker);
  };
  std::thread one(read, 0U);
  std::thread two(read, 1U);
  for (int step = 0; step < 20000; ++step) {
    const auto length = static_cast<unsigned>(9 + random() % 24);
    const std::uint64_t key = fib_key(0x0a000000U | (random() & 0xffffffU));
    const Uint128 wide = key6(random());
    const auto length6 = static_cast<unsigned>(9 + random() % 120);
    if (random() % 2 == 0 && shared.small.size() < 100) {
      const auto value = 2 + static_cast<std::uint32_t>(random() % 99);
      shared.each4([&](auto& fib) { fib.upsert(key, length, value); });
      shared.large6.upsert(wide, length6, value);
    } else {
      shared.each4([&](auto& fib) { fib.remove(key, length); });
      shared.large6.remove(wide, length6);
    }
    if (shared.border.size() > 140) {
      for (std::uint32_t low = 0; low < 64; ++low) shared.border.remove(fib_key(0x0b000000U + (low << 8)), 24);
    }
    const auto entry = static_cast<std::uint32_t>(random() % 4000);
    if (entry < 64) {
      shared.map.upsert(entry, entry + 1000 * (random() % 1000));
    } else if (random() % 2 == 0) {
      shared.map.upsert(entry, 0);
    } else {
      shared.map.erase(entry);
    }
    if (step % 4 == 0) {
      shared.each4([](auto& fib) { fib.publish(); });
      shared.large6.publish();
    }
    if (step % 16 == 0) shared.quiescence.advance();
  }
  stop = true;
  one.join();
  two.join();
  EXPECT_EQ(wrong.load(), 0U);
  shared.quiescence.advance();
  EXPECT_EQ(shared.quiescence.waiting(), 0U);
}

/// Sends the same packet again and again, and counts what comes back.
class LoopIo final : public PacketIo {
 public:
  explicit LoopIo(FramePool& pool) : pool_(pool) {}
  std::size_t receive(std::span<Packet> burst) noexcept override {
    std::size_t count = 0;
    for (; count < 16; ++count) {
      std::uint8_t* frame = pool_.allocate();
      if (frame == nullptr) break;
      // From a host port: an IPv4 packet from 10.0.0.1 to 10.0.0.5 without a checksum error.
      static constexpr std::uint8_t kPacket[20] = {0x45, 0,    0,  20, 0, 0, 0,  0, 64, 253,
                                                   0x65, 0xe8, 10, 0,  0, 1, 10, 0, 0,  5};
      std::copy(std::begin(kPacket), std::end(kPacket), frame + 256);
      burst[count] = {frame + 256, 20, PortId{2}};
    }
    return count;
  }
  std::size_t transmit(std::span<const Packet> packets) noexcept override {
    for (const Packet& packet : packets) pool_.release(packet.data);
    return packets.size();
  }

 private:
  FramePool& pool_;
};

TEST(Concurrency, AWorkerForwardsWhileEverythingIsReplaced) {
  FramePool pool = FramePool::create(256).value();
  Tables tables;
  SteadyClock clock;
  const auto ip = [](const std::string& text) { return IpAddress::parse(text).value(); };
  const auto mac = [](const char* text) { return MacAddress::parse(text).value(); };
  const auto io = std::make_shared<LoopIo>(pool);
  const auto vpc = [&](std::uint16_t mtu) {
    return VpcEntry{Vni{1},
                    DomainId{1},
                    ip("192.0.2.1"),
                    4789,
                    mac("02:00:00:00:00:01"),
                    {IpPrefix::parse("10.0.0.0/8").value()},
                    {ip("192.0.2.11")},
                    mtu};
  };
  SaSpec spec;
  spec.direction = SaDirection::kOutbound;
  spec.spi = Spi{1000};
  spec.tunnel = TunnelId{1};
  spec.path = {ip("198.51.100.1"), ip("203.0.113.1"), true, 4500, 4500};
  spec.key = crypto::SecretKey(std::vector<std::uint8_t>(36, 1));
  tables.upsert_domain(DomainId{1});
  tables.upsert_vpc(vpc(1450));
  tables.upsert_tunnel({TunnelId{1}, DomainId{1}, 0, true});
  tables.upsert_port({PortId{1}, PortKind::kUplink, {}, false, {io}});
  tables.upsert_port({PortId{2}, PortKind::kHost, {}, false, {io}});
  tables.upsert_host_port({AttachmentId::tunnel(TunnelId{1}), PortId{2}, {ip("10.0.0.1")}});
  Worker worker(tables, pool, clock);
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    int idle = 0;
    worker.run(stop, 1, [&idle] { ++idle; });
  });
  std::shared_ptr<Sa> current;
  for (std::uint32_t step = 0; step < 3000; ++step) {
    if (step % 10 == 0) {
      spec.spi = Spi{1000 + step};
      current = Sa::create(spec).value();
      tables.set_outbound(TunnelId{1}, current);
    }
    SaPath path = spec.path;
    path.destination = ip("203.0.113." + std::to_string(1 + step % 3));
    tables.set_path(*current, path);
    tables.set_adjacency(path.destination, {step % 7 != 0, PortId{1}, mac("02:00:00:00:00:01"),
                                            mac("02:00:00:00:00:02"), static_cast<std::uint16_t>(1400 + step % 100)});
    tables.upsert_tunnel({TunnelId{1}, DomainId{1}, static_cast<std::uint16_t>(1000 + step % 100), true});
    tables.upsert_host_port({AttachmentId::tunnel(TunnelId{step % 2 == 0 ? 1U : 2U}), PortId{2}, {ip("10.0.0.1")}});
    if (step % 2 == 0) tables.remove_host_port(AttachmentId::tunnel(TunnelId{2}));
    tables.upsert_port({PortId{1}, PortKind::kUplink, {}, step % 2 == 0, {io}});
    tables.commit();
    static_cast<void>(current->usage());
    static_cast<void>(tables.totals(AttachmentId::tunnel(TunnelId{1})));
  }
  // A grace period passes: the worker goes through quiescent states all the time.
  const auto token = tables.commit();
  while (!tables.applied(token)) std::this_thread::yield();
  while (worker.counters().received.read() < 1000) std::this_thread::yield();
  stop = true;
  thread.join();
  const WorkerCounters& counters = worker.counters();
  EXPECT_GT(counters.sent.read(), 0U);
  EXPECT_EQ(counters.received.read() + counters.originated.read(),
            counters.sent.read() + counters.punted.read() + counters.dropped());
  EXPECT_EQ(pool.available(), pool.frames());
}

}  // namespace
}  // namespace simplon::forward
