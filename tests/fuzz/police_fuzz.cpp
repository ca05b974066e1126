// SPDX-License-Identifier: GPL-2.0-or-later
//
// Inner packets of any bytes through a domain with all kinds of policy: lists, reverse path, rates, netmap, both kinds
// of NAT, fragments, ICMP errors. Connections stay from record to record. After every record each packet is accounted
// for, each frame is back in the pool, no limit is passed, and no address of the domain leaves where it is hidden.
//
// Input: records of one byte "where", two bytes length (big endian) and the bytes.
//   bits 0 and 1 of where   from the VM of vpc 5001, from the site of tunnel 7, from that of tunnel 9, from the kernel
//   bits 2 to 7             seconds since the record before
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/worker.h"
#include "tests/packet/topology.h"

namespace {

using namespace simplon;
using forward::AclDirection;
using forward::AttachmentId;
using forward::NatKind;
using test::Topology;

constexpr std::uint32_t kMostConnections = 40;

class Gateway {
 public:
  Gateway()
      : pool_(forward::FramePool::create(512).value()),
        uplinks_(std::make_shared<forward::MemoryIo>(pool_)),
        hosts_(std::make_shared<forward::MemoryIo>(pool_)),
        topology_(tables_, uplinks_, hosts_),
        worker_(tables_, pool_, clock_) {
    add_policy();
    worker_.go_online();
  }
  ~Gateway() { worker_.go_offline(); }

  void send(std::uint8_t where, std::span<const std::uint8_t> inner) {
    clock_.advance(std::chrono::seconds(where >> 2));
    if (inner.size() > 1900) return;
    switch (where & 3) {
      case 0:
        inject(test::kFabric, behind_vxlan(inner));
        break;
      case 1:
        inject(test::kWan, sealed7(inner));
        break;
      case 2:
        inject(test::kWan, sealed9(inner));
        break;
      default:
        inject(test::kHostRedTunnel, {inner.begin(), inner.end()});
    }
    while (worker_.poll_once() > 0) {
    }
    static_cast<void>(uplinks_->take_sent());
    static_cast<void>(hosts_->take_sent());
    const forward::WorkerCounters& counters = worker_.counters();
    const bool accounted = counters.received.read() + counters.originated.read() ==
                           counters.sent.read() + counters.punted.read() + counters.dropped();
    if (!accounted || pool_.available() != pool_.frames()) std::abort();
    if (tables_.connections_of(kVpc) > kMostConnections) std::abort();
    for (const auto& line : tables_.list_connections(kMostConnections * 2, 0)) {
      // Who leaves by source NAT has an address of the pool.
      const bool hidden = line.to == kTunnel7 && line.protocol != 47 && line.source.is_v4() && line.from == kVpc &&
                          Topology::prefix("10.1.0.0/16").contains(line.source);
      if (hidden && !Topology::prefix("100.64.0.0/30").contains(line.translated_source)) std::abort();
    }
  }

 private:
  const AttachmentId kVpc = AttachmentId::vpc(Vni{5001});
  const AttachmentId kTunnel7 = AttachmentId::tunnel(TunnelId{7});
  const AttachmentId kTunnel9 = AttachmentId::tunnel(TunnelId{9});

  void add_policy() {
    forward::AclRuleEntry out;
    out.name = "out";
    out.allow = true;
    out.direction = AclDirection::kFrom;
    forward::AclRuleEntry web = out;
    web.name = "web";
    web.direction = AclDirection::kTo;
    web.protocol = 6;
    web.destination_ports = {{80, 90}, {8080, 8080}};
    web.stateful = false;
    Topology::must(tables_.upsert_acl({"vpc", false, {web, out}}));
    forward::PolicyEntry policy;
    policy.attachment = kVpc;
    policy.domain = test::kRed;
    policy.acl = "vpc";
    policy.max_connections = kMostConnections;
    policy.from = {.bits_per_second = 1'000'000, .packets_per_second = 500};
    Topology::must(tables_.upsert_policy(policy));
    policy = {};
    policy.attachment = kTunnel7;
    policy.domain = test::kRed;
    policy.reverse_path = forward::ReversePath::kStrict;
    Topology::must(tables_.upsert_policy(policy));

    forward::NatEntry nat{test::kRed, {}};
    const auto rule = [&nat](const char* name, NatKind kind, AttachmentId attachment, const char* outside,
                             const char* inside) -> auto& {
      forward::NatRuleEntry& added = nat.rules.emplace_back();
      added.name = name;
      added.kind = kind;
      added.attachment = attachment;
      added.outside = Topology::prefix(outside);
      added.inside = Topology::prefix(inside);
      return added;
    };
    rule("source", NatKind::kSource, kTunnel7, "100.64.0.0/30", "0.0.0.0/0").sources = {
        Topology::prefix("10.1.0.0/16")};
    auto& web80 = rule("web", NatKind::kDestination, {}, "100.64.0.9/32", "10.1.0.5/32");
    web80.protocol = 6;
    web80.outside_port = 80;
    web80.inside_port = 8080;
    rule("all", NatKind::kDestination, {}, "100.64.0.10/32", "10.1.0.5/32");
    rule("ours", NatKind::kNetmap, kTunnel9, "100.70.0.0/16", "10.1.0.0/16");
    rule("theirs", NatKind::kNetmapRemote, kTunnel9, "10.1.0.0/16", "172.19.0.0/16");
    Topology::must(tables_.upsert_nat(nat));
    tables_.commit();
  }

  void inject(forward::PortId port, const std::vector<std::uint8_t>& frame) {
    static_cast<void>((port == test::kHostRedTunnel ? hosts_ : uplinks_)->inject(port, frame));
  }
  static void put16(std::vector<std::uint8_t>& bytes, std::size_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
  }
  static void put_ipv4(std::vector<std::uint8_t>& bytes, std::size_t payload, std::uint8_t protocol,
                       const IpAddress& source, const IpAddress& destination) {
    const std::size_t start = bytes.size();
    bytes.insert(bytes.end(), {0x45, 0});
    put16(bytes, 20 + payload);
    bytes.insert(bytes.end(), {0, 0, 0x40, 0, 64, protocol, 0, 0});
    bytes.insert(bytes.end(), source.bytes().begin(), source.bytes().end());
    bytes.insert(bytes.end(), destination.bytes().begin(), destination.bytes().end());
    std::uint32_t sum = 0;
    for (std::size_t i = start; i < bytes.size(); i += 2) sum += (std::uint32_t{bytes[i]} << 8) | bytes[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    bytes[start + 10] = static_cast<std::uint8_t>(~sum >> 8);
    bytes[start + 11] = static_cast<std::uint8_t>(~sum);
  }
  static void put_udp(std::vector<std::uint8_t>& bytes, std::size_t payload, std::uint16_t source,
                      std::uint16_t destination) {
    put16(bytes, source);
    put16(bytes, destination);
    put16(bytes, 8 + payload);
    put16(bytes, 0);
  }
  static std::uint16_t type_of(std::span<const std::uint8_t> inner) {
    return !inner.empty() && inner[0] >> 4 == 6 ? 0x86dd : 0x0800;
  }
  static std::vector<std::uint8_t> behind_vxlan(std::span<const std::uint8_t> inner) {
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf0, 2, 0, 0, 0, 1, 0x11, 8, 0};
    put_ipv4(frame, 8 + 8 + 14 + inner.size(), 17, Topology::ip("192.0.2.11"), Topology::ip("192.0.2.1"));
    put_udp(frame, 8 + 14 + inner.size(), 50000, 4789);
    frame.insert(frame.end(), {8, 0, 0, 0, 0, 0x13, 0x89, 0, 2, 0x53, 0x4c, 0, 0x13, 0x89, 2, 0xaa, 0, 0, 0, 5});
    put16(frame, type_of(inner));
    frame.insert(frame.end(), inner.begin(), inner.end());
    return frame;
  }
  static std::unique_ptr<crypto::AeadKey> key_of(const test::SaKeys& keys) {
    const auto key = std::span(keys.key).first(keys.key.size() - 4);
    return crypto::AeadKey::create(crypto::AeadSuite::kAes256Gcm16, key).value();
  }
  static std::vector<std::uint8_t> esp(const test::SaKeys& keys, const crypto::AeadKey& key, std::uint64_t sequence,
                                       std::span<const std::uint8_t> inner) {
    std::vector<std::uint8_t> plain(inner.begin(), inner.end());
    std::uint8_t padding = 0;
    while ((plain.size() + 2) % 4 != 0) plain.push_back(++padding);
    plain.push_back(padding);
    plain.push_back(type_of(inner) == 0x0800 ? 4 : 41);
    const auto put32 = [](std::vector<std::uint8_t>& bytes, std::uint64_t value) {
      put16(bytes, (value >> 16) & 0xffff);
      put16(bytes, value & 0xffff);
    };
    std::vector<std::uint8_t> packet, associated;
    put32(packet, keys.spi);
    put32(packet, sequence);
    put32(associated, keys.spi);
    if (keys.esn) put32(associated, sequence >> 32);
    put32(associated, sequence);
    std::array<std::uint8_t, 12> nonce{};
    std::copy(keys.key.end() - 4, keys.key.end(), nonce.begin());
    for (unsigned i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::uint8_t>(sequence >> (56 - 8 * i));
    packet.insert(packet.end(), nonce.begin() + 4, nonce.end());
    std::array<std::uint8_t, 16> tag{};
    key.seal(nonce.data(), associated, plain, tag.data());
    packet.insert(packet.end(), plain.begin(), plain.end());
    packet.insert(packet.end(), tag.begin(), tag.end());
    return packet;
  }
  std::vector<std::uint8_t> sealed7(std::span<const std::uint8_t> inner) {
    const auto inside = esp(topology_.in7, *key7_, sequence7_++, inner);
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf1, 2, 0, 0, 0, 2, 1, 8, 0};
    put_ipv4(frame, 8 + inside.size(), 17, topology_.path7_in.source, topology_.path7_in.destination);
    put_udp(frame, inside.size(), 4500, 4500);
    frame.insert(frame.end(), inside.begin(), inside.end());
    return frame;
  }
  std::vector<std::uint8_t> sealed9(std::span<const std::uint8_t> inner) {
    const auto inside = esp(topology_.in9, *key9_, sequence9_++, inner);
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf1, 2, 0, 0, 0, 2, 1, 0x86, 0xdd, 0x60, 0, 0, 0};
    put16(frame, inside.size());
    frame.insert(frame.end(), {50, 64});
    const auto from = Topology::ip("2001:db8:a::9"), to = Topology::ip("2001:db8:1::1");
    frame.insert(frame.end(), from.bytes().begin(), from.bytes().end());
    frame.insert(frame.end(), to.bytes().begin(), to.bytes().end());
    frame.insert(frame.end(), inside.begin(), inside.end());
    return frame;
  }

  FakeClock clock_;
  forward::FramePool pool_;
  forward::Tables tables_;
  std::shared_ptr<forward::MemoryIo> uplinks_;
  std::shared_ptr<forward::MemoryIo> hosts_;
  Topology topology_;
  forward::Worker worker_;
  std::unique_ptr<crypto::AeadKey> key7_ = key_of(topology_.in7);
  std::unique_ptr<crypto::AeadKey> key9_ = key_of(topology_.in9);
  std::uint64_t sequence7_ = 1;
  std::uint64_t sequence9_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Gateway gateway;
  std::span<const std::uint8_t> rest(data, size);
  while (rest.size() >= 3) {
    const std::size_t length = std::min<std::size_t>((std::size_t{rest[1]} << 8) | rest[2], rest.size() - 3);
    gateway.send(rest[0], rest.subspan(3, length));
    rest = rest.subspan(3 + length);
  }
  return 0;
}
