// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "gateway/forward/worker.h"

// Many tenants in memory, for the in-memory benchmarks.
//
// Tenant i: domain i + 1 with VPC 1000 + i (10.0.0.0/16), VPC 1000000 + i (10.1.0.0/16), tunnel i + 1 (172.16.0.0/16 and 45
// routes beside it), each VPC with 4 endpoints (.0.1 to .0.4) at one of 64 VTEPs; ESP in UDP, AES-256-GCM, ESN, window 4096.

namespace simplon::bench {

using Bytes = std::vector<std::uint8_t>;

inline constexpr forward::PortId kUplink{0};

/// Hands out prepared packets and takes back what is sent, without copying.
class BenchIo final : public forward::PacketIo {
 public:
  explicit BenchIo(forward::FramePool& pool) : pool_(pool) {}
  [[nodiscard]] std::size_t receive(std::span<forward::Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const forward::Packet> packets) noexcept override;

  /// What `receive` hands out, in this order.
  std::vector<forward::Packet> waiting;
  std::size_t next = 0;
  std::size_t sent = 0;
  /// Bytes of the last packet sent, if asked for.
  bool keep_last = false;
  Bytes last;

 private:
  forward::FramePool& pool_;
};

class Cloud {
 public:
  /// `worker` is the first of the workers; the others have queues without packets.
  explicit Cloud(unsigned tenants, std::size_t frames, unsigned workers = 1);
  ~Cloud();

  enum class Kind { kVxlanToVxlan, kVxlanToEsp, kEspToVxlan };
  /// Whose packets come one after the other.
  enum class Traffic {
    kRandom,   ///< A random tenant, one of its endpoints, a random port.
    kOneFlow,  ///< The same tenant, endpoint and ports.
    kZipf,     ///< Flows, as many as endpoints on one side, with their tenants in random order: the n-th comes 1/n times as often as the first.
  };
  /// Puts `count` packets into frames, `inner_bytes` each. Not part of what is measured.
  void prepare(Kind kind, std::size_t count, std::size_t inner_bytes, Traffic traffic = Traffic::kRandom);
  /// Forwards everything prepared; returns how many packets were sent.
  std::size_t run();
  /// One packet through, compared with the right answer; nullptr, or what is wrong.
  [[nodiscard]] const char* known_answer(Kind kind, std::size_t inner_bytes);

  FakeClock clock;
  forward::FramePool pool;
  forward::Tables tables;
  std::shared_ptr<BenchIo> io;
  std::unique_ptr<forward::Worker> worker;

 private:
  struct Tenant {
    Bytes key_in;   ///< With the salt.
    Bytes key_out;
    std::unique_ptr<crypto::AeadKey> peer;  ///< Seals what the site sends.
    std::uint64_t sequence = 0;
  };
  void add_tenant(unsigned i);
  /// A tenant and the source port, which says the endpoint.
  struct Flow {
    unsigned tenant;
    std::uint16_t port;
  };
  [[nodiscard]] Flow next_flow(Traffic traffic);
  [[nodiscard]] Bytes frame(Kind kind, const Flow& flow, std::size_t inner_bytes);

  std::mt19937 random_{1};
  std::vector<Tenant> tenants_;
  /// kZipf: the flows by rank, and the sum of the weights up to each.
  std::vector<Flow> ranked_;
  std::vector<double> weights_;
};

}  // namespace simplon::bench
