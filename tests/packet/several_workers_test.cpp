// SPDX-License-Identifier: GPL-2.0-or-later
//
// Workers in threads of their own, with packets of the same SAs: ThreadSanitizer does a part of the checking.
#include <gmock/gmock.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "gateway/forward/capture.h"
#include "gateway/forward/memory_io.h"
#include "gateway/forward/trace.h"
#include "gateway/forward/watchers.h"
#include "gateway/forward/worker.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::Drop;
using forward::FramePool;
using forward::MemoryIo;
using forward::Worker;

constexpr unsigned kWorkers = 3;

/// The gateway of topology.h with several workers, each with its share of every port.
class SeveralWorkers : public ::testing::Test {
 protected:
  struct One {
    FramePool pool;
    std::shared_ptr<MemoryIo> uplinks;
    std::shared_ptr<MemoryIo> hosts;
    std::unique_ptr<Worker> worker;
    explicit One(FramePool own)
        : pool(std::move(own)), uplinks(std::make_shared<MemoryIo>(pool)), hosts(std::make_shared<MemoryIo>(pool)) {}
  };

  SeveralWorkers() {
    for (unsigned i = 0; i < kWorkers; ++i) crew_.push_back(std::make_unique<One>(whole_.sibling()));
    std::vector<std::shared_ptr<forward::PacketIo>> uplinks;
    std::vector<std::shared_ptr<forward::PacketIo>> hosts;
    for (const auto& one : crew_) {
      uplinks.push_back(one->uplinks);
      hosts.push_back(one->hosts);
    }
    topology_ = std::make_unique<Topology>(tables_, std::move(uplinks), std::move(hosts));
    for (unsigned i = 0; i < kWorkers; ++i) {
      forward::WorkerOptions options;
      options.index = i;
      crew_[i]->worker = std::make_unique<Worker>(tables_, crew_[i]->pool, clock_, options);
    }
  }
  ~SeveralWorkers() override {
    for (const auto& one : crew_) one->worker->go_offline();
  }

  /// All at the same time: each forwards what was injected to it.
  void run() {
    std::vector<std::thread> threads;
    std::atomic<unsigned> ready{0};
    for (const auto& one : crew_) {
      threads.emplace_back([&ready, &worker = *one->worker] {
        worker.go_online();
        ++ready;
        while (ready < kWorkers) std::this_thread::yield();
        while (worker.poll_once() > 0) std::this_thread::yield();
        worker.go_offline();
      });
    }
    for (auto& thread : threads) thread.join();
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (const auto& one : crew_) {
      const auto& counters = one->worker->counters();
      in += counters.received.read() + counters.originated.read();
      out += counters.sent.read() + counters.punted.read() + counters.dropped();
    }
    EXPECT_EQ(in, out);
  }

  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& one : crew_) sum += one->worker->counters().sent.read();
    return sum;
  }
  [[nodiscard]] std::uint64_t dropped(Drop reason) const {
    std::uint64_t sum = 0;
    for (const auto& one : crew_) sum += one->worker->counters().dropped(reason);
    return sum;
  }
  [[nodiscard]] EspParameters peer_sends() const { return {topology_->in7.spi, topology_->in7.key, topology_->in7.esn}; }
  [[nodiscard]] Bytes from_site(std::uint64_t sequence) const {
    EspOptions options;
    options.sequence = sequence;
    const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1000, 2000}, payload(60)));
    return ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.1", "198.51.100.1"},
                                             udp({4500, 4500, std::nullopt, false}, esp_seal(peer_sends(), options, inner))));
  }
  [[nodiscard]] static Bytes to_site() {
    return Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1000, 2000}, payload(60))));
  }

  FakeClock clock_;
  FramePool whole_ = FramePool::create(8192).value();
  forward::Tables tables_{kWorkers};
  std::vector<std::unique_ptr<One>> crew_;
  std::unique_ptr<Topology> topology_;
};

TEST_F(SeveralWorkers, NoSequenceNumberIsUsedTwice) {
  constexpr unsigned kEach = 1000;
  for (const auto& one : crew_) {
    for (unsigned i = 0; i < kEach; ++i) ASSERT_TRUE(one->uplinks->inject(kFabric, to_site()));
  }
  run();
  const EspParameters keys{topology_->out7.spi, topology_->out7.key, topology_->out7.esn};
  std::set<std::uint32_t> numbers;
  std::set<Bytes> vectors;
  for (const auto& one : crew_) {
    std::uint32_t before = 0;
    for (const auto& packet : one->uplinks->take_sent()) {
      const auto opened = esp_open(keys, from(packet.bytes, 14 + 20 + 8));
      ASSERT_TRUE(opened);
      EXPECT_GT(opened->sequence, before) << "in order, of each worker";
      before = opened->sequence;
      EXPECT_TRUE(numbers.insert(opened->sequence).second) << opened->sequence;
      EXPECT_TRUE(vectors.insert(opened->iv).second);
    }
  }
  // And none is left out, because every packet had room.
  EXPECT_EQ(numbers.size(), kEach * kWorkers);
  EXPECT_EQ(*numbers.rbegin(), kEach * kWorkers);
  EXPECT_EQ(topology_->sa7_out->usage().sequence, kEach * kWorkers);
  EXPECT_EQ(topology_->sa7_out->usage().packets, kEach * kWorkers);
  EXPECT_EQ(topology_->sa7_out->usage().bytes, kEach * kWorkers * std::uint64_t{88});
}

TEST_F(SeveralWorkers, NumbersEndWithTheLastOneWhoeverTakesIt) {
  // No extended numbers: tunnel 9.
  forward::SaProgress progress = topology_->sa9_out->progress();
  progress.usage.sequence = 0xffffffffU - 100;
  ASSERT_TRUE(topology_->sa9_out->resume(progress));
  for (const auto& one : crew_) {
    for (unsigned i = 0; i < 64; ++i) {
      ASSERT_TRUE(one->uplinks->inject(
          kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.19.0.9"}, udp({1000, 2000}, payload(60))))));
    }
  }
  run();
  EXPECT_EQ(sent(), 100U);
  EXPECT_EQ(dropped(Drop::kEspSequenceExhausted), kWorkers * 64U - 100U);
  EXPECT_EQ(topology_->sa9_out->usage().sequence, 0xffffffffU);
}

TEST_F(SeveralWorkers, EveryNumberIsAcceptedOnce) {
  // Each packet comes to all workers; a window behind the highest, so that none is too old.
  constexpr unsigned kPackets = 900;
  for (std::uint64_t sequence = 1; sequence <= kPackets; ++sequence) {
    const Bytes packet = from_site(sequence);
    for (const auto& one : crew_) ASSERT_TRUE(one->uplinks->inject(kWan, packet));
  }
  run();
  EXPECT_EQ(sent(), kPackets);
  EXPECT_EQ(dropped(Drop::kEspReplayed), (kWorkers - 1) * kPackets);
  const auto usage = topology_->sa7_in->usage();
  EXPECT_EQ(usage.packets, kPackets);
  EXPECT_EQ(usage.replayed, (kWorkers - 1) * kPackets);
  EXPECT_EQ(usage.sequence, kPackets);
}

TEST_F(SeveralWorkers, NoneOfASharedFlowIsLost) {
  // As a card with several queues would deal it out.
  constexpr unsigned kPackets = 3000;
  for (std::uint64_t sequence = 1; sequence <= kPackets; ++sequence) {
    ASSERT_TRUE(crew_[(sequence / 7) % kWorkers]->uplinks->inject(kWan, from_site(sequence)));
  }
  run();
  EXPECT_EQ(sent(), kPackets);
  // Every commit was kept: a second time, none passes.
  for (std::uint64_t sequence = 1; sequence <= kPackets; ++sequence) {
    ASSERT_TRUE(crew_[(sequence / 5) % kWorkers]->uplinks->inject(kWan, from_site(sequence)));
  }
  run();
  EXPECT_EQ(sent(), kPackets);
  EXPECT_EQ(dropped(Drop::kEspReplayed), kPackets);
}

TEST_F(SeveralWorkers, FramesFreedElsewhereComeBack) {
  // Frames of one pool go out through the others, more often than there are frames.
  for (unsigned turn = 0; turn < 40; ++turn) {
    for (unsigned i = 0; i < 600; ++i) {
      std::uint8_t* frame = crew_[0]->pool.allocate();
      ASSERT_NE(frame, nullptr) << turn;
      crew_[1 + i % 2]->pool.release(frame);
    }
  }
  std::set<const std::uint8_t*> all;
  while (const std::uint8_t* frame = crew_[0]->pool.allocate()) all.insert(frame);
  // All but those that the others keep.
  EXPECT_GE(all.size() + 2 * FramePool::kKept, whole_.frames());
  EXPECT_EQ(all.size() + crew_[1]->pool.available() + crew_[2]->pool.available(), whole_.frames());
  for (const std::uint8_t* frame : all) crew_[0]->pool.release_remote(frame);
  EXPECT_EQ(crew_[0]->pool.available() + crew_[1]->pool.available() + crew_[2]->pool.available() - 2 * whole_.available(),
            whole_.frames());
}

TEST_F(SeveralWorkers, ANewMappingIsToldOnce) {
  for (std::uint64_t sequence = 1; sequence <= 300; ++sequence) {
    EspOptions options;
    options.sequence = sequence;
    const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1000, 2000}, payload(60)));
    // Behind its NAT the peer has another port.
    const Bytes moved = ethernet({kWanMac, kIspMac},
                                 ipv4({"203.0.113.1", "198.51.100.1"},
                                      udp({4999, 4500, std::nullopt, false}, esp_seal(peer_sends(), options, inner))));
    ASSERT_TRUE(crew_[sequence % kWorkers]->uplinks->inject(kWan, moved));
  }
  run();
  const auto mapping = topology_->sa7_in->take_mapping();
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->port, 4999);
  EXPECT_FALSE(topology_->sa7_in->take_mapping());
}

TEST_F(SeveralWorkers, ACaptureSeesThePacketsOfAll) {
  forward::CaptureSpec spec;
  spec.points = static_cast<std::uint8_t>(forward::CapturePoint::kWireIn);
  spec.snaplen = 64;
  auto capture = forward::Capture::create(tables_, spec);
  ASSERT_TRUE(capture);
  forward::Watchers watchers(tables_, [this](forward::Watch* watch) {
    for (const auto& one : crew_) one->worker->watch(watch);
  });
  watchers.add((*capture)->watch());
  constexpr unsigned kEach = 200;
  for (const auto& one : crew_) {
    for (unsigned i = 0; i < kEach; ++i) ASSERT_TRUE(one->uplinks->inject(kFabric, to_site()));
  }
  run();
  std::size_t seen = 0;
  for (auto packets = (*capture)->take(256); !packets.empty(); packets = (*capture)->take(256)) {
    EXPECT_LE(packets.size(), 256U);
    seen += packets.size();
  }
  EXPECT_EQ(seen, kEach * kWorkers);
  EXPECT_EQ((*capture)->lost(), 0U);
  watchers.remove((*capture)->watch());
}

TEST_F(SeveralWorkers, ATraceFindsItsPacketWhoeverHasIt) {
  auto live = forward::LiveTrace::create(tables_, forward::AttachmentId::vpc(Vni{5001}), {});
  ASSERT_TRUE(live);
  forward::Watchers watchers(tables_, [this](forward::Watch* watch) {
    for (const auto& one : crew_) one->worker->watch(watch);
  });
  watchers.add((*live)->watch());
  EXPECT_FALSE((*live)->done());
  ASSERT_TRUE(crew_[2]->uplinks->inject(kFabric, to_site()));
  run();
  ASSERT_TRUE((*live)->done());
  EXPECT_EQ((*live)->explain(tables_).verdict, forward::TraceVerdict::kForwarded);
  watchers.remove((*live)->watch());
}

}  // namespace
}  // namespace simplon::test
