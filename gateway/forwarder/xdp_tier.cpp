// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why a deleted endpoint is not forwarded to any more: `Tables` calls `on_change` inside the write that deletes it,
// before anybody can learn from the tables again, since all of that is this thread; `on_change` makes all flows of the
// domain bad, and the acknowledgment waits for the programs that looked before (`settling`).
//
// Flows are learned from samples, so a packet may name any addresses: what it names is only asked for, and a flow
// exists only if the tables accept every one of them. A flood of forged addresses costs one question each, at most a
// few thousand a second, however fast it comes.
#include "gateway/forwarder/xdp_tier.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

#include "platform/wire/checksum.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vlan.h"
#include "platform/wire/vxlan.h"

namespace simplon::forwarder {
namespace {

using boost::system::error_code;
using namespace std::chrono_literals;

// Chosen by us: samples come in bursts, and a grace period takes about as long.
constexpr auto kPause = 10ms;
/// When none of the samples made a flow: all that traffic is for the worker.
constexpr auto kLongPause = 100ms;
constexpr unsigned kFruitless = 10;
constexpr std::size_t kSamplesAtOnce = 256;
/// More pairs than lanes, or groups than spreads: some pass through the worker rather than all again and again.
constexpr auto kBetweenRecyclings = 60s;
/// Inner bytes of a packet that every driver gives to XDP in one piece, also where there may be several.
constexpr std::size_t kLongestWhole = 1500;
constexpr std::uint8_t kOuterTtl = 64;
/// Behind the outer IP header (RFC 7348 section 5).
constexpr std::uint32_t kVxlanBytes =
    sizeof(wire::UdpHeader) + sizeof(wire::VxlanHeader) + sizeof(wire::EthernetHeader);

[[nodiscard]] std::uint32_t word(const IpAddress& address) noexcept {
  std::uint32_t value = 0;
  std::memcpy(&value, address.bytes().data(), sizeof value);
  return value;
}

[[nodiscard]] IpAddress address_of(const std::uint32_t (&words)[4], bool v6) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), words, sizeof bytes);
  return v6 ? IpAddress::v6(bytes) : IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]});
}

void copy(const MacAddress& mac, std::uint8_t* to) noexcept { std::memcpy(to, mac.bytes.data(), 6); }

/// The sum over what is the same in all outer headers of the flow.
[[nodiscard]] std::uint32_t checksum_base(const forward::Shortcut& shortcut) {
  wire::Ipv4Header ip{};
  ip.version_ihl = 0x45;
  ip.flags_offset = wire::kIpv4DontFragment;
  ip.ttl = kOuterTtl;
  ip.protocol = wire::kProtocolUdp;
  std::copy_n(shortcut.outer_source.bytes().data(), 4, ip.source.begin());
  std::copy_n(shortcut.outer_destination.bytes().data(), 4, ip.destination.begin());
  return wire::fold(wire::sum_plain_header(ip));
}

/// The same of UDP over IPv6, with its pseudo header: all but lengths, source port and inner packet.
[[nodiscard]] std::uint32_t checksum_base6(const forward::Shortcut& shortcut, bool inner_v6) {
  struct {
    std::array<std::uint8_t, 16> source;
    std::array<std::uint8_t, 16> destination;
    wire::UdpHeader udp;
    wire::VxlanHeader vxlan;
    wire::EthernetHeader ethernet;
  } covered{};
  std::copy_n(shortcut.outer_source.bytes().data(), 16, covered.source.begin());
  std::copy_n(shortcut.outer_destination.bytes().data(), 16, covered.destination.begin());
  covered.udp.destination_port = shortcut.egress_udp_port;
  covered.vxlan = wire::vxlan_header(shortcut.egress.id);
  covered.ethernet = {shortcut.inner_destination, shortcut.inner_source,
                      inner_v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&covered);
  return wire::fold(wire::sum_bytes({bytes, sizeof covered}, wire::raw(Be16(std::uint16_t{wire::kProtocolUdp}))));
}

[[nodiscard]] std::uint8_t action_of(const forward::Shortcut& shortcut) {
  if (shortcut.egress.kind == forward::AttachmentKind::kCircuit) return SIMPLON_XDP_TAGGED;
  return shortcut.outer_destination.is_v4() ? SIMPLON_XDP_VXLAN : SIMPLON_XDP_VXLAN6;
}

/// In front of the inner packet as it leaves.
[[nodiscard]] std::uint32_t header_bytes(const forward::Shortcut& shortcut) {
  switch (action_of(shortcut)) {
    case SIMPLON_XDP_TAGGED:
      return sizeof(wire::EthernetHeader) + (shortcut.outer_type != 0 ? 2 : 1) * sizeof(wire::VlanTag);
    case SIMPLON_XDP_VXLAN6:
      return sizeof(wire::EthernetHeader) + sizeof(wire::Ipv6Header) + kVxlanBytes;
    default:
      return sizeof(wire::EthernetHeader) + sizeof(wire::Ipv4Header) + kVxlanBytes;
  }
}

/// With what its packets must have.
[[nodiscard]] simplon_xdp_flow entering_flow(const simplon_xdp_flow_key& key, const forward::Shortcut& shortcut) {
  simplon_xdp_flow flow{};
  flow.key = key;
  copy(shortcut.ethernet_to, flow.uplink_mac);
  if (key.ingress >> SIMPLON_XDP_INGRESS_KIND != SIMPLON_XDP_TAGGED) {
    flow.vtep_port[0] = wire::raw(Be16(shortcut.udp_port));
    copy(shortcut.gateway_mac, flow.gateway_mac);
    if (shortcut.vtep.is_v4()) flow.vtep = word(shortcut.vtep);
  }
  return flow;
}

[[nodiscard]] simplon_xdp_flow flow_of(const simplon_xdp_flow_key& key, const forward::Shortcut& shortcut) {
  simplon_xdp_flow flow = entering_flow(key, shortcut);
  flow.mtu = shortcut.mtu;
  copy(shortcut.ethernet_destination, flow.ethernet);
  copy(shortcut.ethernet_source, flow.ethernet + 6);
  flow.action = action_of(shortcut);
  if (flow.action == SIMPLON_XDP_TAGGED) {
    flow.outer_type = wire::raw(Be16(shortcut.outer_type));
    flow.outer_vlan = wire::raw(Be16(shortcut.outer_vlan));
    flow.vlan = wire::raw(Be16(shortcut.vlan));
    return flow;
  }
  flow.vtep_port[1] = wire::raw(Be16(shortcut.egress_udp_port));
  const Be32 vni(shortcut.egress.id << 8);
  std::memcpy(&flow.vni, &vni, sizeof flow.vni);
  copy(shortcut.inner_destination, flow.inner_ethernet);
  copy(shortcut.inner_source, flow.inner_ethernet + 6);
  if (flow.action == SIMPLON_XDP_VXLAN) {
    flow.outer_source = word(shortcut.outer_source);
    flow.outer_destination = word(shortcut.outer_destination);
    flow.checksum = checksum_base(shortcut);
  } else {
    flow.checksum = checksum_base6(shortcut, (key.ingress & SIMPLON_XDP_INGRESS_IPV6) != 0);
  }
  return flow;
}

/// The nexthops' flows say what fits.
[[nodiscard]] simplon_xdp_flow spread_flow(const simplon_xdp_flow_key& key, const forward::Shortcut& shortcut,
                                           std::uint32_t spread) {
  simplon_xdp_flow flow = entering_flow(key, shortcut);
  flow.mtu = std::numeric_limits<std::uint16_t>::max();
  flow.action = SIMPLON_XDP_SPREAD;
  flow.lane = spread;
  return flow;
}

[[nodiscard]] simplon_xdp_addresses6 addresses_of(const simplon_xdp_sample& sample, const forward::Shortcut& shortcut) {
  simplon_xdp_addresses6 addresses{};
  if (sample.key.ingress >> SIMPLON_XDP_INGRESS_KIND == SIMPLON_XDP_VXLAN6) {
    std::memcpy(addresses.peer, sample.outer_source, sizeof addresses.peer);
    std::memcpy(addresses.vtep, shortcut.vtep.bytes().data(), sizeof addresses.vtep);
  }
  if (!shortcut.spread && action_of(shortcut) == SIMPLON_XDP_VXLAN6) {
    std::memcpy(addresses.outer_source, shortcut.outer_source.bytes().data(), sizeof addresses.outer_source);
    std::memcpy(addresses.outer_destination, shortcut.outer_destination.bytes().data(),
                sizeof addresses.outer_destination);
  }
  return addresses;
}

/// What the tables are asked about packets like it.
[[nodiscard]] forward::Shortcut::Question question(forward::PortId port, const simplon_xdp_sample& sample) {
  const simplon_xdp_flow_key& key = sample.key;
  const bool v6 = (key.ingress & SIMPLON_XDP_INGRESS_IPV6) != 0;
  const std::uint32_t kind = key.ingress >> SIMPLON_XDP_INGRESS_KIND;
  const std::uint32_t id = key.ingress & SIMPLON_XDP_INGRESS_ID;
  forward::Shortcut::Question asked;
  asked.port = port;
  asked.destination = address_of(key.destination, v6);
  asked.member = static_cast<std::uint8_t>(key.ingress >> SIMPLON_XDP_INGRESS_MEMBER & SIMPLON_XDP_MEMBERS);
  if (kind == SIMPLON_XDP_TAGGED) {
    asked.outer_vlan = static_cast<std::uint16_t>(id >> 12);
    asked.vlan = static_cast<std::uint16_t>(id & 0xfff);
  } else {
    asked.vni = Vni(id);
    asked.outer_source = address_of(sample.outer_source, kind == SIMPLON_XDP_VXLAN6);
    asked.source = address_of(key.source, v6);
  }
  return asked;
}

}  // namespace

XdpTier::XdpTier(boost::asio::io_context& io, forward::Tables& tables, std::unique_ptr<xdp::Grace> grace,
                 std::unique_ptr<xdp::FlowTable> table)
    : tables_(tables), grace_(std::move(grace)), table_(std::move(table)), samples_(io), timer_(io) {
  tables_.on_change([this](DomainId domain) { on_change(domain); });
}

XdpTier::~XdpTier() { tables_.on_change(nullptr); }

Result<std::unique_ptr<XdpTier>> XdpTier::create(boost::asio::io_context& io, forward::Tables& tables,
                                                 std::unique_ptr<xdp::Grace> grace) {
#if !defined(__x86_64__) && !defined(__i386__)
  // The program reads a flow without a barrier behind its generation.
  return fail(ErrorCode::kUnavailable, "this processor may read out of order");
#endif
  if (grace == nullptr) {
    auto kernel = xdp::KernelGrace::start();
    if (!kernel) return Unexpected(kernel.error());
    grace = *std::move(kernel);
  }
  auto table = xdp::FlowTable::create(*grace);
  if (!table) return Unexpected(table.error());
  std::unique_ptr<XdpTier> tier(new XdpTier(io, tables, std::move(grace), *std::move(table)));
  const int descriptor = ::dup(tier->table_->sample_fd());
  if (descriptor < 0) return fail_errno("cannot watch the samples of the XDP program", errno);
  tier->samples_.assign(descriptor);
  tier->listen();
  return tier;
}

void XdpTier::set_uplinks(std::vector<Uplink> uplinks) {
  if (uplinks == uplinks_) return;
  invalidate_all();
  for (std::size_t i = 0; i < std::max(uplinks.size(), uplinks_.size()); ++i) {
    const bool leads = i < uplinks.size() && uplinks[i].egress;
    if (auto ok = table_->set_egress(static_cast<std::uint16_t>(i), leads ? uplinks[i].index : 0); !ok) {
      spdlog::warn("XDP forwarding: {}", ok.error().message());
      if (leads) uplinks[i].egress = false;
    }
  }
  // Ports of uplinks that are gone: what they counted went with them.
  count();
  uplinks_ = std::move(uplinks);
  std::erase_if(forwarded_from_, [this](const auto& entry) {
    return std::none_of(uplinks_.begin(), uplinks_.end(),
                        [&](const Uplink& uplink) { return uplink.port == entry.first; });
  });
}

void XdpTier::on_change(DomainId domain) {
  if (domain.value() == 0) return invalidate_all();
  const auto found = members_.find(domain);
  if (found == members_.end()) return;
  for (const std::uint32_t ingress : found->second) unsettled_ = table_->invalidate(ingress) || unsettled_;
  members_.erase(found);
}

void XdpTier::invalidate_all() {
  unsettled_ = table_->invalidate_all() || unsettled_;
  members_.clear();
}

void XdpTier::pause() {
  paused_ = true;
  invalidate_all();
}

xdp::Grace::Ticket XdpTier::settling() {
  if (std::exchange(unsettled_, false)) settling_ = table_->begin_settling();
  return settling_;
}

std::optional<std::uint32_t> XdpTier::lane_of(const Lane& lane) {
  const auto found = lanes_.find(lane);
  if (found != lanes_.end()) return found->second;
  std::uint32_t number = 0;
  if (!free_lanes_.empty()) {
    number = free_lanes_.back();
    free_lanes_.pop_back();
  } else if (counted_.size() < SIMPLON_XDP_LANES) {
    number = static_cast<std::uint32_t>(counted_.size());
    counted_.emplace_back();
  } else {
    recycle();
    return std::nullopt;
  }
  lanes_.emplace(lane, number);
  return number;
}

std::optional<std::uint32_t> XdpTier::spread_of(const forward::Shortcut::Spread& members) {
  const auto found = spreads_.find(members);
  if (found != spreads_.end()) return found->second;
  if (spreads_.size() == SIMPLON_XDP_SPREADS) {
    recycle();
    return std::nullopt;
  }
  const auto number = static_cast<std::uint32_t>(spreads_.size());
  table_->set_spread(number, members);
  spreads_.emplace(members, number);
  return number;
}

void XdpTier::recycle() {
  // Those who need one first have it then.
  const auto now = std::chrono::steady_clock::now();
  if (recycled_ && now - *recycled_ < kBetweenRecyclings) return;
  recycled_ = now;
  invalidate_all();
  recycling_ = table_->begin_settling();
}

void XdpTier::finish_recycling() {
  if (!recycling_ || !table_->settled(*recycling_)) return;
  recycling_.reset();
  count();
  for (const auto& [lane, number] : lanes_) free_lanes_.push_back(number);
  lanes_.clear();
  spreads_.clear();
}

bool XdpTier::learn(const simplon_xdp_sample& sample) {
  if (paused_ || recycling_) return false;
  const auto in =
      std::find_if(uplinks_.begin(), uplinks_.end(), [&](const Uplink& u) { return u.index == sample.key.uplink; });
  if (in == uplinks_.end() || !in->ingress) return false;
  const auto shortcut = tables_.shortcut(question(in->port, sample));
  if (!shortcut) return false;
  const std::uint32_t attachment = sample.key.ingress & (SIMPLON_XDP_INGRESS_ID | ~0U << SIMPLON_XDP_INGRESS_KIND);
  const auto keep = [&](const simplon_xdp_flow& flow) {
    if (!table_->put(flow, addresses_of(sample, *shortcut))) return false;
    members_[shortcut->domain].insert(attachment);
    return true;
  };
  if (shortcut->spread) {
    const auto spread = spread_of(*shortcut->spread);
    return spread && keep(spread_flow(sample.key, *shortcut, *spread));
  }
  // Larger packets of the flow would go through the worker, and smaller ones overtake them.
  if (in->jumbo && shortcut->mtu > kLongestWhole) return false;
  const auto out =
      std::find_if(uplinks_.begin(), uplinks_.end(), [&](const Uplink& u) { return u.port == shortcut->port; });
  if (out == uplinks_.end() || !out->egress) return false;
  const auto lane = lane_of({shortcut->ingress, shortcut->egress, in->port, out->port, header_bytes(*shortcut)});
  if (!lane) return false;
  simplon_xdp_flow flow = flow_of(sample.key, *shortcut);
  flow.lane = *lane;
  flow.egress = static_cast<std::uint16_t>(out - uplinks_.begin());
  return keep(flow);
}

bool XdpTier::step() {
  finish_recycling();
  bool learned = false;
  const std::size_t seen = table_->take_samples(
      kSamplesAtOnce, [&](const simplon_xdp_sample& sample) { learned = learn(sample) || learned; });
  table_->advance();
  fruitless_ = seen > 0 && !learned ? std::min(fruitless_ + 1, kFruitless) : 0;
  return seen > 0 || table_->busy() || recycling_.has_value();
}

void XdpTier::listen() {
  samples_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
    if (!error) go_on();
  });
}

void XdpTier::go_on() {
  if (!step()) return listen();
  timer_.expires_after(fruitless_ < kFruitless ? kPause : kLongPause);
  timer_.async_wait([this](const error_code& error) {
    if (!error) go_on();
  });
}

void XdpTier::count() {
  for (const auto& [lane, number] : lanes_) {
    const simplon_xdp_lane now = table_->lane(number);
    simplon_xdp_lane& before = counted_[number];
    const std::uint64_t packets = now.packets - before.packets;
    if (packets == 0) continue;
    const std::uint64_t inner_bytes = now.inner_bytes - before.inner_bytes;
    forwarded_ += packets;
    forwarded_from_[lane.in] += packets;
    const auto in = [packets](std::uint64_t bytes) { return forward::TrafficTotals{packets, bytes, 0, 0, 0, 0}; };
    const auto out = [packets](std::uint64_t bytes) { return forward::TrafficTotals{0, 0, packets, bytes, 0, 0}; };
    tables_.add_traffic(lane.ingress, in(inner_bytes));
    tables_.add_traffic(lane.egress, out(inner_bytes));
    tables_.add_traffic(lane.in, in(now.frame_bytes - before.frame_bytes));
    tables_.add_traffic(lane.out, out(inner_bytes + packets * lane.header_bytes));
    before = now;
  }
}

std::uint64_t XdpTier::forwarded(forward::PortId received_on) const {
  const auto found = forwarded_from_.find(received_on);
  return found == forwarded_from_.end() ? 0 : found->second;
}

}  // namespace simplon::forwarder
