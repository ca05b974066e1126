// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/bench/cloud.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "platform/wire/checksum.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::bench {
namespace {

using namespace forward;

constexpr std::uint32_t kVtep = 0x0afe0001;   // 10.254.0.1, ours
constexpr std::uint32_t kWan = 0xc6336401;    // 198.51.100.1, ours
constexpr std::uint32_t kSite = 0xcb007101;   // 203.0.113.1
constexpr std::uint32_t kFirstCompute = 0x0afe0100;
constexpr std::uint32_t kEndpoints = 4;  // of a VPC

std::uint32_t compute_of(unsigned tenant) { return kFirstCompute + tenant % 64; }
std::uint32_t spi_in(unsigned tenant) { return 0xc0000000 + 1 + tenant; }
std::uint32_t spi_out(unsigned tenant) { return 0x10000000 + 1 + tenant; }
MacAddress gateway_mac(std::uint32_t vni) {
  return {{2, 0x53, 0x4c, static_cast<std::uint8_t>(vni >> 16), static_cast<std::uint8_t>(vni >> 8),
           static_cast<std::uint8_t>(vni)}};
}
const MacAddress kVmMac{{2, 0xaa, 0, 0, 0, 1}};
const MacAddress kOurMac{{2, 0, 0, 0, 0, 0xf0}};
const MacAddress kTheirMac{{2, 0, 0, 0, 1, 1}};

void must(const Result<void>& result) { SIMPLON_CHECK(result.has_value()); }

template <class T>
void append(Bytes& to, const T& header) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&header);
  to.insert(to.end(), bytes, bytes + sizeof header);
}

wire::Ipv4Header ip_header(std::uint32_t source, std::uint32_t destination, std::uint8_t protocol, std::size_t bytes) {
  wire::Ipv4Header ip{};
  ip.version_ihl = 0x45;
  ip.total_length = static_cast<std::uint16_t>(bytes);
  ip.ttl = 64;
  ip.protocol = protocol;
  for (unsigned i = 0; i < 4; ++i) {
    ip.source[i] = static_cast<std::uint8_t>(source >> (24 - 8 * i));
    ip.destination[i] = static_cast<std::uint8_t>(destination >> (24 - 8 * i));
  }
  wire::set_ipv4_checksum(ip);
  return ip;
}

wire::UdpHeader udp_header(std::uint16_t source, std::uint16_t destination, std::size_t bytes) {
  return {source, destination, static_cast<std::uint16_t>(bytes), Be16{}};
}

Bytes inner_packet(std::uint32_t source, std::uint32_t destination, std::uint16_t flow, std::size_t bytes) {
  Bytes packet;
  append(packet, ip_header(source, destination, wire::kProtocolUdp, bytes));
  append(packet, udp_header(flow, 9, bytes - 20));
  packet.resize(bytes, 0x5a);
  return packet;
}

}  // namespace

std::size_t BenchIo::receive(std::span<Packet> burst) noexcept {
  const std::size_t count = std::min(burst.size(), waiting.size() - next);
  std::copy_n(waiting.begin() + static_cast<std::ptrdiff_t>(next), count, burst.begin());
  next += count;
  return count;
}

std::size_t BenchIo::transmit(std::span<const Packet> packets) noexcept {
  if (keep_last && !packets.empty()) last.assign(packets.back().data, packets.back().data + packets.back().length);
  for (const Packet& packet : packets) pool_.release(packet.data);
  sent += packets.size();
  return packets.size();
}

Cloud::Cloud(unsigned tenants, std::size_t frames, unsigned workers)
    : pool(FramePool::create(frames).value()), tables(workers), io(std::make_shared<BenchIo>(pool)) {
  std::vector<std::shared_ptr<PacketIo>> queues{io};
  while (queues.size() < workers) queues.push_back(std::make_shared<BenchIo>(pool));
  must(tables.upsert_port({kUplink, PortKind::kUplink, kOurMac, false, std::move(queues)}));
  for (unsigned i = 0; i < tenants; ++i) {
    add_tenant(i);
    if (i % 256 == 0) tables.commit();
  }
  for (const IpAddress& destination : tables.wanted_adjacencies()) {
    must(tables.set_adjacency(destination, {true, kUplink, kOurMac, kTheirMac, 1600}));
  }
  for (int i = 0; i < 200; ++i) tables.reclaim();  // growth is finished
  worker = std::make_unique<Worker>(tables, pool, clock);
  worker->go_online();
}

Cloud::~Cloud() { worker->go_offline(); }

void Cloud::add_tenant(unsigned i) {
  const DomainId domain{i + 1};
  must(tables.upsert_domain(domain));
  for (const unsigned side : {0U, 1U}) {
    const Vni vni{(side == 0 ? 1000U : 1000000U) + i};
    const std::uint32_t network = 0x0a000000 + (side << 16);
    must(tables.upsert_vpc({vni, domain, IpAddress::v4(kVtep), 4789, gateway_mac(vni.value()),
                            {IpPrefix(IpAddress::v4(network), 16)}, {IpAddress::v4(compute_of(i))}, 1500}));
    for (std::uint32_t host = 1; host <= kEndpoints; ++host) {
      must(tables.upsert_endpoint({vni, IpAddress::v4(network + host), kVmMac, IpAddress::v4(compute_of(i))}));
    }
    must(tables.upsert_route({domain, IpPrefix(IpAddress::v4(network), 16), RouteAction::kForward,
                              {{AttachmentId::vpc(vni), 1}}}));
  }
  const TunnelId tunnel{i + 1};
  must(tables.upsert_tunnel({tunnel, domain, 0, true}));
  must(tables.upsert_route({domain, IpPrefix(IpAddress::v4(0xac100000), 16), RouteAction::kForward,
                            {{AttachmentId::tunnel(tunnel), 1}}}));
  for (std::uint32_t r = 0; r < 45; ++r) {
    must(tables.upsert_route({domain, IpPrefix(IpAddress::v4(0xac110000 + (r << 8)), 24), RouteAction::kForward,
                              {{AttachmentId::tunnel(tunnel), 1}}}));
  }
  Tenant tenant;
  for (Bytes* key : {&tenant.key_in, &tenant.key_out}) {
    key->resize(36);
    for (auto& byte : *key) byte = static_cast<std::uint8_t>(random_());
  }
  tenant.peer = crypto::AeadKey::create(crypto::AeadSuite::kAes256Gcm16, std::span(tenant.key_in).first(32)).value();
  SaSpec spec;
  spec.tunnel = tunnel;
  spec.spi = Spi{spi_in(i)};
  spec.key = crypto::SecretKey(tenant.key_in);
  spec.path = {IpAddress::v4(kSite), IpAddress::v4(kWan), true, 4500, 4500};
  must(tables.install_inbound(Sa::create(spec).value()));
  spec.direction = SaDirection::kOutbound;
  spec.spi = Spi{spi_out(i)};
  spec.key = crypto::SecretKey(tenant.key_out);
  spec.path = {IpAddress::v4(kWan), IpAddress::v4(kSite), true, 4500, 4500};
  must(tables.set_outbound(tunnel, Sa::create(spec).value()));
  tenants_.push_back(std::move(tenant));
}

Cloud::Flow Cloud::next_flow(Traffic traffic) {
  if (traffic == Traffic::kRandom) {
    const auto tenant = static_cast<unsigned>(random_() % tenants_.size());
    return {tenant, static_cast<std::uint16_t>(random_())};
  }
  if (traffic == Traffic::kOneFlow) return {static_cast<unsigned>(tenants_.size() / 2), 4096};
  if (ranked_.empty()) {
    for (unsigned i = 0; i < tenants_.size() * kEndpoints; ++i) {
      // A multiple and a remainder: the endpoint follows from the port.
      ranked_.push_back({i / kEndpoints, static_cast<std::uint16_t>((random_() % 16'384) * kEndpoints + i % kEndpoints)});
    }
    std::shuffle(ranked_.begin(), ranked_.end(), random_);
    double sum = 0;
    for (std::size_t rank = 1; rank <= ranked_.size(); ++rank) weights_.push_back(sum += 1 / static_cast<double>(rank));
  }
  const double at = std::uniform_real_distribution<double>(0, weights_.back())(random_);
  const auto rank = std::upper_bound(weights_.begin(), weights_.end() - 1, at) - weights_.begin();
  return ranked_[static_cast<std::size_t>(rank)];
}

Bytes Cloud::frame(Kind kind, const Flow& of, std::size_t inner_bytes) {
  const unsigned i = of.tenant;
  Tenant& tenant = tenants_[i];
  const std::uint16_t flow = of.port;
  const std::uint32_t host = 1 + flow % kEndpoints;
  Bytes bytes;
  append(bytes, wire::EthernetHeader{kOurMac, kTheirMac, wire::kEtherTypeIpv4});
  if (kind == Kind::kEspToVxlan) {
    Bytes plain = inner_packet(0xac100009, 0x0a000000 + host, flow, inner_bytes);
    std::uint8_t padding = 0;
    while ((plain.size() + 2) % 4 != 0) plain.push_back(++padding);
    plain.push_back(padding);
    plain.push_back(wire::kProtocolIpv4);
    const std::size_t esp = 16 + plain.size() + 16;
    append(bytes, ip_header(kSite, kWan, wire::kProtocolUdp, 28 + esp));
    append(bytes, udp_header(4500, 4500, 8 + esp));
    const std::uint64_t sequence = ++tenant.sequence;
    const wire::EspHeader header{spi_in(i), static_cast<std::uint32_t>(sequence)};
    append(bytes, header);
    append(bytes, Be64(sequence));
    Bytes associated;
    append(associated, header.spi);
    append(associated, Be64(sequence));
    Bytes nonce(tenant.key_in.end() - 4, tenant.key_in.end());
    append(nonce, Be64(sequence));
    Bytes tag(16);
    tenant.peer->seal(nonce.data(), associated, plain, tag.data());
    bytes.insert(bytes.end(), plain.begin(), plain.end());
    bytes.insert(bytes.end(), tag.begin(), tag.end());
    return bytes;
  }
  const std::uint32_t vni = 1000 + i;
  const std::uint32_t destination = kind == Kind::kVxlanToVxlan ? 0x0a010000 + host : 0xac100009;
  const Bytes inner = inner_packet(0x0a000000 + host, destination, flow, inner_bytes);
  const std::size_t udp = 8 + 8 + 14 + inner.size();
  append(bytes, ip_header(compute_of(i), kVtep, wire::kProtocolUdp, 20 + udp));
  append(bytes, udp_header(50000, 4789, udp));
  append(bytes, wire::vxlan_header(vni));
  append(bytes, wire::EthernetHeader{gateway_mac(vni), kVmMac, wire::kEtherTypeIpv4});
  bytes.insert(bytes.end(), inner.begin(), inner.end());
  return bytes;
}

void Cloud::prepare(Kind kind, std::size_t count, std::size_t inner_bytes, Traffic traffic) {
  constexpr std::size_t kHeadroom = 256;
  io->waiting.clear();
  io->next = 0;
  for (std::size_t n = 0; n < count; ++n) {
    std::uint8_t* place = pool.allocate();
    SIMPLON_CHECK(place != nullptr);
    const Bytes bytes = frame(kind, next_flow(traffic), inner_bytes);
    std::memcpy(place + kHeadroom, bytes.data(), bytes.size());
    io->waiting.push_back({place + kHeadroom, static_cast<std::uint16_t>(bytes.size()), kUplink});
  }
}

std::size_t Cloud::run() {
  io->sent = 0;
  while (worker->poll_once() > 0) {
  }
  return io->sent;
}

const char* Cloud::known_answer(Kind kind, std::size_t inner_bytes) {
  io->keep_last = true;
  prepare(kind, 1, inner_bytes);
  const Bytes input(io->waiting[0].data, io->waiting[0].data + io->waiting[0].length);
  const std::size_t sent_now = run();
  io->keep_last = false;
  if (sent_now != 1) return "the packet was not sent";
  const Bytes& out = io->last;
  if (kind != Kind::kVxlanToEsp) {
    if (out.size() != 64 + inner_bytes) return "a VXLAN frame of the wrong length";
    const auto* inner = wire::parse_ipv4(std::span(out).subspan(64));
    if (inner == nullptr || inner->ttl != 63 || !wire::ipv4_checksum_ok(*inner)) return "a wrong inner header";
    if (kind == Kind::kVxlanToVxlan &&
        !std::equal(out.begin() + 76, out.end(), input.begin() + 76)) {  // from the addresses on
      return "the inner packet changed";
    }
    if (kind == Kind::kEspToVxlan && out.back() != 0x5a) return "the inner packet changed";
    return nullptr;
  }
  // Opened with OpenSSL, with the key of whichever tenant it was.
  const auto* esp = reinterpret_cast<const wire::EspHeader*>(out.data() + 42);
  const unsigned i = esp->spi.host() - spi_out(0);
  if (i >= tenants_.size()) return "an unknown SPI";
  const Bytes& key_bytes = tenants_[i].key_out;
  const auto oracle = crypto::AeadKey::create(crypto::AeadSuite::kAes256Gcm16, std::span(key_bytes).first(32),
                                              crypto::CryptoBackend::kOpenSsl);
  Bytes nonce(key_bytes.end() - 4, key_bytes.end());
  nonce.insert(nonce.end(), out.begin() + 50, out.begin() + 58);
  Bytes associated(out.begin() + 42, out.begin() + 46);
  associated.insert(associated.end(), out.begin() + 50, out.begin() + 58);  // the IV is the 64-bit number
  Bytes plain(out.begin() + 58, out.end() - 16);
  if (!(*oracle)->open(nonce.data(), associated, plain, out.data() + out.size() - 16)) return "it does not authenticate";
  if (plain.size() < inner_bytes + 2 || !std::equal(plain.begin() + 12, plain.begin() + static_cast<std::ptrdiff_t>(inner_bytes),
                                                    input.begin() + 76)) {
    return "the inner packet changed";
  }
  return nullptr;
}

}  // namespace simplon::bench
