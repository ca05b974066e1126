// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary packets through the whole data path, with the tables of tests/packet/topology.h. After every input each packet
// is accounted for and each frame is back in the pool. Every other input is watched, by captures and a live trace.
//
// Input: records of one byte "where", two bytes length (big endian) and the bytes.
//   where 0, 1, 10 to 13   as they are, on that port
//   where 0x40             an inner packet from the VM of vpc 5001, behind valid VXLAN headers
//   where 14               as they are, on the TAP of circuit 3 (VLAN 100 on the WAN uplink)
//   where 0x20             an inner packet from the router of circuit 3
//   where 0x21             what follows the addresses of a frame to us on the WAN uplink: tags, type, and what is in them
//   where 0x80             an inner packet through tunnel 8, sealed; the last byte is taken as the next header
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "gateway/forward/capture.h"
#include "gateway/forward/memory_io.h"
#include "gateway/forward/trace.h"
#include "gateway/forward/watchers.h"
#include "gateway/forward/worker.h"
#include "tests/packet/topology.h"

namespace {

using namespace simplon;

class Gateway {
 public:
  Gateway()
      : pool_(forward::FramePool::create(1024).value()),
        uplinks_(std::make_shared<forward::MemoryIo>(pool_)),
        hosts_(std::make_shared<forward::MemoryIo>(pool_)),
        topology_(tables_, uplinks_, hosts_),
        worker_(tables_, pool_, clock_),
        peer_(crypto::AeadKey::create(crypto::AeadSuite::kAes128Gcm16,
                                      std::span(topology_.in8.key).first(topology_.in8.key.size() - 4))
                  .value()) {
    add_circuits();
    worker_.go_online();
    forward::CaptureSpec spec;
    spec.points = 127;
    everything_ = forward::Capture::create(tables_, spec).value();
    spec.filter.host = test::Topology::prefix("10.0.0.0/8");
    spec.attachment = forward::AttachmentId::vpc(Vni{5001});
    some_ = forward::Capture::create(tables_, spec).value();
  }
  ~Gateway() { worker_.go_offline(); }

  void send(std::uint8_t where, std::span<const std::uint8_t> bytes) {
    if (where == 0x40) return inject(test::kFabric, behind_vxlan(bytes));
    if (where == 0x80) return inject(test::kWan, sealed(bytes));
    if (where == 0x20) return inject(test::kWan, tagged({0x81, 0, 0, 100, inner_type(bytes), inner_type_low(bytes)}, bytes));
    if (where == 0x21) return inject(test::kWan, tagged({}, bytes));
    if (where > 1 && (where < 10 || where > 14)) return;
    inject(forward::PortId{where}, {bytes.begin(), bytes.end()});
  }

  void settle() {
    while (worker_.poll_once() > 0) {
    }
    static_cast<void>(uplinks_->take_sent());
    static_cast<void>(hosts_->take_sent());
    clock_.advance(std::chrono::milliseconds(10));
    look(++settled_ % 2 != 0);
    const forward::WorkerCounters& counters = worker_.counters();
    const bool accounted = counters.received.read() + counters.originated.read() ==
                           counters.sent.read() + counters.punted.read() + counters.dropped();
    if (!accounted || pool_.available() != pool_.frames()) std::abort();
  }

 private:
  void add_circuits() {
    using test::Topology;
    using forward::AttachmentId;
    const auto mac = Topology::mac(test::kWanMac);
    const AttachmentId id = AttachmentId::circuit(CircuitId{3});
    const forward::PortId tap{14};
    Topology::must(tables_.upsert_port({tap, forward::PortKind::kHost, {}, false, {hosts_}, true}));
    Topology::must(tables_.upsert_circuit({CircuitId{3}, test::kRed, test::kWan, 100, 0, 0x88a8, mac, 1500, true}));
    Topology::must(tables_.upsert_circuit({CircuitId{4}, test::kRed, test::kWan, 7, 300, 0x88a8, mac, 1300, true}));
    Topology::must(tables_.upsert_host_port({id, tap, {Topology::ip("192.168.15.1"), Topology::ip("fd15::1")}, mac}));
    Topology::must(tables_.upsert_neighbor({CircuitId{3}, Topology::ip("192.168.15.2"), Topology::mac(test::kIspMac)}));
    Topology::must(tables_.upsert_neighbor({CircuitId{4}, Topology::ip("fd16:1::2"), Topology::mac(test::kIspMac)}));
    const auto route = [this](const char* to, forward::RouteAction action, forward::NextHopEntry hop) {
      Topology::must(tables_.upsert_route({test::kRed, Topology::prefix(to), action, {hop}}));
    };
    route("192.168.15.0/30", forward::RouteAction::kForward, {id, 1});
    route("192.168.15.1/32", forward::RouteAction::kLocal, {id, 1});
    route("fd15::1/128", forward::RouteAction::kLocal, {id, 1});
    route("10.50.0.0/16", forward::RouteAction::kForward, {id, 1, Topology::ip("192.168.15.2")});
    route("10.60.0.0/16", forward::RouteAction::kForward, {AttachmentId::circuit(CircuitId{4}), 1, Topology::ip("fd16:1::2")});
    tables_.commit();
  }
  static bool is_v6(std::span<const std::uint8_t> inner) { return !inner.empty() && inner[0] >> 4 == 6; }
  static std::uint8_t inner_type(std::span<const std::uint8_t> inner) {
    return is_v6(inner) ? std::uint8_t{0x86} : std::uint8_t{8};
  }
  static std::uint8_t inner_type_low(std::span<const std::uint8_t> inner) {
    return is_v6(inner) ? std::uint8_t{0xdd} : std::uint8_t{0};
  }
  static std::vector<std::uint8_t> tagged(const std::vector<std::uint8_t>& tags, std::span<const std::uint8_t> bytes) {
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf1, 2, 0, 0, 0, 2, 1};
    frame.insert(frame.end(), tags.begin(), tags.end());
    frame.insert(frame.end(), bytes.begin(), bytes.end());
    return frame;
  }
  void look(bool on) {
    if (on) {
      live_ = forward::LiveTrace::create(tables_, forward::AttachmentId::vpc(Vni{5001}), {}).value();
      for (auto watch : {everything_->watch(), some_->watch(), live_->watch()}) watchers_.add(std::move(watch));
      return;
    }
    for (const auto& watch : {everything_->watch(), some_->watch(), live_->watch()}) watchers_.remove(watch);
    if (live_->done()) static_cast<void>(live_->explain(tables_));
    static_cast<void>(everything_->take(10'000));
    static_cast<void>(some_->take(10'000));
  }
  void inject(forward::PortId port, const std::vector<std::uint8_t>& bytes) {
    // At the end of the frame, so that reading behind the packet leaves the frame; every other one with usual headroom. A byte is
    // left, as behind all that a port receives: what is stripped to nothing still lies in its own frame.
    const std::size_t headroom = (++count_ % 2) != 0 || bytes.size() + 256 >= forward::kFrameBytes
                                     ? forward::kFrameBytes - 1 - bytes.size()
                                     : 256;
    (port.value() < 10 ? *uplinks_ : *hosts_).inject(port, bytes, headroom);
  }
  static std::vector<std::uint8_t> behind_vxlan(std::span<const std::uint8_t> inner) {
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf0, 2, 0, 0, 0, 1, 0x11, 8, 0};
    const std::size_t udp = 8 + 8 + 14 + inner.size();
    const std::size_t total = 20 + udp;
    const auto high = [](std::size_t value) { return static_cast<std::uint8_t>(value >> 8); };
    const auto low = [](std::size_t value) { return static_cast<std::uint8_t>(value); };
    std::vector<std::uint8_t> ip = {0x45, 0, high(total), low(total), 0,   0, 0, 0, 64, 17,
                                    0,    0, 192,         0,          2,   11, 192, 0, 2, 1};
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < ip.size(); i += 2) sum += std::uint32_t{ip[i]} * 256 + ip[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = high(~sum & 0xffff);
    ip[11] = low(~sum);
    frame.insert(frame.end(), ip.begin(), ip.end());
    const std::vector<std::uint8_t> rest = {0xd9, 0x03, 0x12, 0xb5, high(udp), low(udp), 0, 0, 8, 0, 0, 0, 0, 0x13, 0x89, 0};
    frame.insert(frame.end(), rest.begin(), rest.end());
    const bool six = !inner.empty() && inner[0] >> 4 == 6;
    const std::vector<std::uint8_t> ethernet = {
        2, 0x53, 0x4c, 0, 0x13, 0x89, 2, 0xaa, 0, 0, 0, 5, std::uint8_t{six ? std::uint8_t{0x86} : std::uint8_t{8}},
        std::uint8_t{six ? std::uint8_t{0xdd} : std::uint8_t{0}}};
    frame.insert(frame.end(), ethernet.begin(), ethernet.end());
    frame.insert(frame.end(), inner.begin(), inner.end());
    return frame;
  }
  std::vector<std::uint8_t> sealed(std::span<const std::uint8_t> bytes) {
    const std::uint8_t next = bytes.empty() ? std::uint8_t{4} : bytes.back();
    std::vector<std::uint8_t> plain(bytes.begin(), bytes.empty() ? bytes.end() : bytes.end() - 1);
    std::uint8_t padding = 0;
    while ((plain.size() + 2) % 4 != 0) plain.push_back(++padding);
    plain.push_back(padding);
    plain.push_back(next);
    ++sequence_;
    std::uint8_t nonce[12];
    std::copy_n(topology_.in8.key.end() - 4, 4, nonce);
    std::uint8_t associated[12];
    for (unsigned i = 0; i < 4; ++i) associated[i] = static_cast<std::uint8_t>(topology_.in8.spi >> (24 - 8 * i));
    for (unsigned i = 0; i < 8; ++i) {
      associated[4 + i] = nonce[4 + i] = static_cast<std::uint8_t>(sequence_ >> (56 - 8 * i));
    }
    std::vector<std::uint8_t> tag(16);
    peer_->seal(nonce, associated, plain, tag.data());
    const std::size_t total = 20 + 8 + 8 + plain.size() + 16;
    std::vector<std::uint8_t> frame = {2, 0, 0, 0, 0, 0xf1, 2, 0, 0, 0, 2, 1, 8, 0};
    std::vector<std::uint8_t> ip = {0x45, 0, static_cast<std::uint8_t>(total >> 8), static_cast<std::uint8_t>(total),
                                    0,    0, 0, 0, 64, 50, 0, 0, 203, 0, 113, 2, 198, 51, 100, 1};
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < ip.size(); i += 2) sum += std::uint32_t{ip[i]} * 256 + ip[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = static_cast<std::uint8_t>(~sum >> 8);
    ip[11] = static_cast<std::uint8_t>(~sum);
    frame.insert(frame.end(), ip.begin(), ip.end());
    frame.insert(frame.end(), associated, associated + 4);
    frame.insert(frame.end(), associated + 8, associated + 12);
    frame.insert(frame.end(), nonce + 4, nonce + 12);
    frame.insert(frame.end(), plain.begin(), plain.end());
    frame.insert(frame.end(), tag.begin(), tag.end());
    return frame;
  }

  FakeClock clock_;
  forward::FramePool pool_;
  forward::Tables tables_;
  std::shared_ptr<forward::MemoryIo> uplinks_;
  std::shared_ptr<forward::MemoryIo> hosts_;
  test::Topology topology_;
  forward::Worker worker_;
  forward::Watchers watchers_{tables_, [this](forward::Watch* watch) { worker_.watch(watch); }};
  std::unique_ptr<forward::Capture> everything_;
  std::unique_ptr<forward::Capture> some_;
  std::unique_ptr<forward::LiveTrace> live_;
  std::uint64_t settled_ = 0;
  std::unique_ptr<crypto::AeadKey> peer_;
  std::uint64_t sequence_ = 0;
  unsigned count_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Gateway gateway;
  std::size_t records = 0;
  while (size >= 3 && records++ < 64) {
    const std::size_t wanted = (std::size_t{data[1]} << 8) | data[2];
    const std::size_t length = std::min({wanted, size - 3, std::size_t{3900}});
    gateway.send(data[0], {data + 3, length});
    data += 3 + length;
    size -= 3 + length;
  }
  gateway.settle();
  return 0;
}
