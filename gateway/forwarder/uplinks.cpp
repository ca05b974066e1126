// SPDX-License-Identifier: GPL-2.0-or-later
//
// An uplink is wanted by name and open by interface index: when the interface disappears, or a new one takes its name, the
// index differs and everything is opened anew. Opening never fails an update: the operator sees the reason in the
// statistics, and `refresh` tries again at every link event and every second.
//
// Teardown order: the program is detached first (the kernel gets the packets again), then the port is removed from the
// tables, which destroy each AfXdpIo when the workers have let go of it, and with the last one the sockets.
#include "gateway/forwarder/uplinks.h"

#include <net/if.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "gateway/forwarder/grace.h"
#include "gateway/forwarder/ring_sizes.h"
#include "platform/netlink/xdp_features.h"
#include "platform/sys/ethtool.h"

namespace simplon::forwarder {
namespace {

constexpr std::uint32_t kEthernetHeader = 14;
// Given by the kernel: a UMEM chunk of one page less XDP's 256 bytes and our headroom.
constexpr std::uint32_t kLargestMtu = forward::kFrameBytes - 256 - forward::kMinHeadroom - kEthernetHeader;
// Chosen by us: what networks with jumbo frames have at most. With tags, and with what the engine puts in front and behind, a slot
// has room for it.
constexpr std::uint32_t kLargestJumboMtu = 9216;
static_assert(kLargestJumboMtu + kEthernetHeader + 8 <= forward::kLongestInSlot);

/// Drivers that send what XDP redirects to them while a program is attached, as ours is (Linux 5.15 to 6.2: those with
/// ndo_xdp_xmit that depends on nothing else; veth's depends on its peer).
constexpr std::array<std::string_view, 12> kRedirectTargets = {
    "bnxt_en", "ena", "enetc", "i40e", "ice", "igc", "ixgbe", "mlx5_core", "mvneta", "sfc", "virtio_net", "qede"};

}  // namespace

Uplinks::Uplinks(forward::Tables& tables, std::span<forward::FramePool> pools, PortIds& ids, netlink::Netlink& netlink,
                 const xdp::Steering& steering)
    : tables_(tables), pools_(pools), ids_(ids), netlink_(netlink), steering_(steering) {}

Uplinks::~Uplinks() {
  for (auto& [name, uplink] : uplinks_) close(uplink);
}

void Uplinks::upsert(const std::string& interface) {
  uplinks_.try_emplace(interface);
}

void Uplinks::remove(const std::string& interface) {
  const auto found = uplinks_.find(interface);
  if (found == uplinks_.end()) return;
  close(found->second);
  uplinks_.erase(found);
}

std::uint32_t Uplinks::queues_in_use(const netlink::Interface& link) {
  // An interface may be made with more queues than it has in use.
  const std::uint32_t most = std::max<std::uint32_t>(link.rx_queues, 1);
  return std::clamp<std::uint32_t>(sys::Ethtool(link.name).receive_queues().value_or(most), 1, most);
}

bool Uplinks::refresh() {
  if (uplinks_.empty()) return false;
  auto links = netlink_.interfaces();
  if (!links) {
    spdlog::warn("uplinks: {}", links.error().message());
    return false;
  }
  bool changed = false;
  for (auto& [name, uplink] : uplinks_) {
    const auto link = std::find_if(links->begin(), links->end(), [&name = name](const auto& l) { return l.name == name; });
    if (link == links->end()) {
      // Asked for by its name: to close an uplink that is there costs too much to believe a list alone.
      if (uplink.index != 0 && ::if_nametoindex(name.c_str()) == uplink.index) continue;
      if (uplink.index != 0) {
        spdlog::warn("uplink {}: the interface is gone", name);
        close(uplink);
        changed = true;
      }
      uplink.error = "interface " + name + " does not exist";
      uplink.running = false;
      continue;
    }
    // What comes in through further queues has no socket.
    const bool widened = uplink.index == link->index && queues_in_use(*link) > uplink.queues_then;
    if (widened) spdlog::info("uplink {}: {} receive queues now, {} before", name, queues_in_use(*link), uplink.queues_then);
    const bool outgrown = needs_jumbo(*link) && link->mtu_bytes <= kLargestJumboMtu && !uplink.jumbo() && takes_jumbo();
    if (uplink.index != 0 && (uplink.index != link->index || uplink.mac != link->mac || outgrown || widened)) {
      close(uplink);
      changed = true;
    }
    changed = changed || uplink.running != link->running || uplink.mtu_bytes != link->mtu_bytes;
    uplink.running = link->running;
    if (uplink.index != 0) tables_.set_carrier(uplink.port, uplink.running);
    uplink.mtu_bytes = link->mtu_bytes;
    if (uplink.index != 0) continue;
    if (auto opened = open(name, *link, uplink); !opened) {
      if (uplink.error != opened.error().message()) spdlog::warn("uplink {}: {}", name, opened.error().message());
      uplink.error = opened.error().message();
      continue;
    }
    changed = true;
    spdlog::info("uplink {}: {}, {} queues", name, uplink.mode, uplink.queues.size());
    if (!uplink.program->without_flows().empty()) {
      spdlog::warn("uplink {}: no forwarding in XDP, the worker forwards everything: {}", name,
                   uplink.program->without_flows());
    }
  }
  if (changed) warn_of_frames();
  for (auto& [name, uplink] : uplinks_) {
    if (uplink.index != 0) look_at_target(uplink);
    end_backlog(name, uplink);
  }
  for (auto& [name, adoption] : std::exchange(inherited_, {})) drop(std::move(adoption));
  prepared_.clear();
  return changed;
}

void Uplinks::warn_of_frames() {
  std::size_t stock = 0;
  for (const auto& [name, uplink] : uplinks_) {
    for (const HandedQueue& queue : uplink.queues) stock += queue.rx_ring + queue.control_ring;
  }
  if (std::exchange(stock_, stock) >= stock) return;
  const std::size_t frames = pools_.front().frames();
  const std::size_t enough = frames_for(stock, workers());
  if (frames >= enough) return;
  spdlog::warn("the receive rings of all uplinks hold {} frames and there are {}: some rings stay short, and packets are lost in "
               "bursts; give the forwarder --frames {}",
               stock, frames, enough);
}

void Uplinks::carrier_lost(std::uint32_t interface_index) {
  for (auto& [name, uplink] : uplinks_) {
    if (uplink.index == 0 || uplink.index != interface_index || !uplink.running) continue;
    spdlog::warn("uplink {}: the link is down", name);
    uplink.running = false;
    tables_.set_carrier(uplink.port, false);
    tables_.commit();
  }
}

void Uplinks::look_at_target(Uplink& uplink) {
  uplink.redirect_target = false;
  uplink.no_target.clear();
  if (!uplink.running) {
    uplink.no_target = "the link is down";
    return;
  }
  const auto features = netlink::xdp_features(uplink.index);
  if (features && *features) {
    uplink.redirect_target = (*features)->redirect_target;
    if (!uplink.redirect_target && uplink.driver == "veth") {
      uplink.no_target = "the other end of the veth takes no redirected frames (there: ethtool -K NAME gro on)";
    } else if (!uplink.redirect_target) {
      uplink.no_target = "the driver " + uplink.driver + " takes no redirected frames";
    }
    return;
  }
  // The kernel cannot tell. A frame redirected to a driver that does not take it is lost, so only those that do.
  uplink.redirect_target =
      std::find(kRedirectTargets.begin(), kRedirectTargets.end(), uplink.driver) != kRedirectTargets.end();
  if (!uplink.redirect_target) {
    uplink.no_target = "before Linux 6.3 nobody can tell whether " + uplink.driver + " takes redirected frames";
  }
}

bool Uplinks::needs_jumbo(const netlink::Interface& link) { return link.mtu_bytes > kLargestMtu; }

xdp::XskSocket::Options Uplinks::socket_options(const std::string& name, const HandedQueue& queue, const forward::FramePool& pool) {
  xdp::XskSocket::Options options;
  options.interface = name;
  options.queue = queue.queue;
  options.memory = queue.multi_buffer ? pool.memory_with_slots() : pool.memory();
  options.multi_buffer = queue.multi_buffer;
  options.frame_bytes = forward::kFrameBytes;
  options.headroom_bytes = forward::kMinHeadroom;
  options.rx_ring = queue.rx_ring;
  options.tx_ring = queue.tx_ring;
  options.control_ring = queue.control_ring;
  return options;
}

Result<Uplinks::Opened> Uplinks::open_fresh(const std::string& name, const netlink::Interface& link) {
  // Programs before sockets: without a socket in its map the program passes everything to the kernel.
  // A bond lets its members run the program, and the kernel drops what they redirect to a socket that is bound to the bond.
  const bool is_bond = sys::Ethtool(name).driver() == "bonding";
  auto program = xdp::UplinkProgram::attach(steering_, name, link.index, needs_jumbo(link),
                                            is_bond ? xdp::AttachMode::kGeneric : xdp::AttachMode::kNative);
  if (!program) return Unexpected(program.error());
  Opened opened;
  opened.program = *std::move(program);
  if (auto ok = open_sockets(name, link, opened); !ok) return Unexpected(ok.error());
  return opened;
}

Result<void> Uplinks::open_sockets(const std::string& name, const netlink::Interface& link, Opened& opened) {
  opened.queues_then = queues_in_use(link);
  const RingSizes rings = ring_sizes(opened.queues_then);
  for (std::uint32_t queue = 0; queue < std::max<std::uint32_t>(link.rx_queues, 1); ++queue) {
    HandedQueue described;
    described.queue = queue;
    described.rx_ring = rings.receive;
    described.tx_ring = rings.transmit;
    described.control_ring = rings.control;
    described.multi_buffer = needs_jumbo(link);
    auto options = socket_options(name, described, pools_.front());
    options.try_zero_copy = opened.program->mode() == xdp::AttachMode::kNative;
    auto socket = xdp::XskSocket::open(options);
    if (!socket) {
      if (queue > 0 && socket.error().code == ErrorCode::kInvalidConfig) break;  // there is no such queue
      return Unexpected(socket.error());
    }
    const int control = (*socket)->control_fd();
    if (auto ok = opened.program->set_socket(queue, (*socket)->fd(), control); !ok) return ok;
    described.zero_copy = (*socket)->zero_copy();
    described.has_control = control >= 0;
    opened.queues.push_back(std::move(described));
    opened.sockets.push_back(*std::move(socket));
  }
  return {};
}

Result<void> Uplinks::open(const std::string& name, const netlink::Interface& link, Uplink& uplink) {
  if (const std::uint32_t limit = takes_jumbo() ? kLargestJumboMtu : kLargestMtu; link.mtu_bytes > limit) {
    return fail(ErrorCode::kInvalidConfig,
                "MTU " + std::to_string(link.mtu_bytes) + " is over the limit of " + std::to_string(limit) +
                    (takes_jumbo() ? "" : ", jumbo frames are switched off or the kernel is older than Linux 6.6"),
                "ip link set " + name + " mtu " + std::to_string(limit));
  }
  Result<Opened> opened = fail(ErrorCode::kBug, "not tried");
  if (auto inherited = inherited_.extract(name); !inherited.empty()) {
    // Its frames are given back only when no socket can write to them any more.
    const auto frames = inherited.mapped().inherited.state;
    opened = adopt(name, link, std::move(inherited.mapped()));
    if (!opened) {
      spdlog::warn("uplink {} is opened anew: {}", name, opened.error().message());
      give_back(frames);
    }
  }
  if (!opened) opened = open_fresh(name, link);
  if (!opened) return Unexpected(opened.error());
  uplink.mode = std::string(to_string(opened->program->mode())) +
                (opened->sockets.front()->zero_copy() ? ", zero-copy" : ", copy") +
                (opened->sockets.front()->multi_buffer() ? ", jumbo" : "");
  const auto port = ids_.take();
  auto ios = share_out(port, std::move(opened->sockets), uplink);
  if (opened->takes_over) {
    // No worker runs yet: what arrives before they do needs frames.
    for (const auto& io : ios) io->stock();
    if (opened->backlog != nullptr) ios.front()->receive_first(opened->backlog);
    if (auto ok = opened->program->take_over(); !ok) {
      ids_.give_back(port);
      return ok;
    }
  }
  forward::PortEntry entry;
  entry.id = port;
  entry.kind = forward::PortKind::kUplink;
  entry.mac = link.mac;
  uplink.driver = sys::Ethtool(name).driver();
  entry.fixup = uplink.driver == "veth" || uplink.driver == "virtio_net";
  entry.queues.assign(ios.begin(), ios.end());
  if (auto ok = tables_.upsert_port(entry); !ok) {
    ids_.give_back(port);
    return ok;
  }
  uplink.backlog = std::move(opened->backlog);
  tables_.set_carrier(port, link.running);
  uplink.descriptors.clear();
  for (const auto& io : ios) uplink.descriptors.push_back(io->descriptors());
  uplink.queues = std::move(opened->queues);
  uplink.queues_then = opened->queues_then;
  uplink.port = port;
  uplink.index = link.index;
  uplink.mac = link.mac;
  uplink.program = std::move(opened->program);
  uplink.error.clear();
  return {};
}

std::vector<std::shared_ptr<AfXdpIo>> Uplinks::share_out(forward::PortId port,
                                                         std::vector<std::unique_ptr<xdp::XskSocket>> sockets, Uplink& uplink) {
  const bool several_send = sockets.size() < workers();
  std::vector<std::shared_ptr<UplinkQueue>> queues;
  for (auto& socket : sockets) queues.push_back(std::make_shared<UplinkQueue>(pools_.front(), std::move(socket), several_send));
  uplink.sockets.assign(queues.begin(), queues.end());
  std::vector<std::shared_ptr<AfXdpIo>> ios;
  for (unsigned worker = 0; worker < workers(); ++worker) {
    std::vector<std::shared_ptr<UplinkQueue>> own;
    for (std::size_t queue = worker; queue < queues.size(); queue += workers()) own.push_back(queues[queue]);
    const auto& sends = own.empty() ? queues[worker % queues.size()] : own.front();
    ios.push_back(std::make_shared<AfXdpIo>(pools_[worker], port, own, sends));
  }
  return ios;
}

void Uplinks::close(Uplink& uplink) {
  uplink.program.reset();
  if (uplink.port != forward::kNoPort) {
    tables_.remove_port(uplink.port);
    wait_for_workers(tables_);
    ids_.give_back(uplink.port);
  }
  uplink.port = forward::kNoPort;
  uplink.index = 0;
  uplink.mode.clear();
  uplink.descriptors.clear();
  uplink.queues.clear();
  uplink.sockets.clear();
  uplink.backlog.reset();
}

std::optional<Uplinks::Open> Uplinks::find(std::uint32_t interface_index) const {
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.index == interface_index && interface_index != 0) return find(name);
  }
  return std::nullopt;
}

std::string Uplinks::name_of(forward::PortId port) const {
  for (const auto& [name, uplink] : uplinks_) {
    if (port != forward::kNoPort && uplink.port == port) return name;
  }
  return {};
}

std::optional<Uplinks::Open> Uplinks::find(const std::string& interface) const {
  const auto found = uplinks_.find(interface);
  if (found == uplinks_.end() || found->second.index == 0) return std::nullopt;
  const Uplink& uplink = found->second;
  return Open{uplink.port, interface, uplink.mac, uplink.mtu_bytes, uplink.index};
}

std::vector<int> Uplinks::descriptors(unsigned worker) const {
  std::vector<int> all;
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.index == 0) continue;
    all.insert(all.end(), uplink.descriptors[worker].begin(), uplink.descriptors[worker].end());
  }
  return all;
}

std::vector<ipc::WorkerStats::Queue> Uplinks::queues_of(unsigned worker) const {
  std::vector<ipc::WorkerStats::Queue> all;
  for (const auto& [name, uplink] : uplinks_) {
    for (std::size_t i = worker; i < uplink.queues.size(); i += workers()) all.push_back({name, uplink.queues[i].queue});
  }
  return all;
}

std::vector<XdpTier::Uplink> Uplinks::for_xdp_tier() const {
  std::vector<XdpTier::Uplink> all;
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.index == 0) continue;
    const bool native = uplink.program->mode() == xdp::AttachMode::kNative;
    all.push_back({uplink.port, uplink.index, native && uplink.program->without_flows().empty(),
                   native && uplink.redirect_target, uplink.jumbo()});
  }
  return all;
}

forward::PortId Uplinks::port_of(const std::string& interface) const {
  const auto found = uplinks_.find(interface);
  return found == uplinks_.end() ? forward::kNoPort : found->second.port;
}

void Uplinks::describe_rings(const Uplink& uplink, ipc::UplinkStats& stats) {
  for (const HandedQueue& queue : uplink.queues) stats.control_rings += queue.has_control ? 1 : 0;
  for (const auto& socket : uplink.sockets) {
    const auto queue = socket.lock();
    const auto counted = queue == nullptr ? Result<xdp::XskStatistics>() : queue->socket().statistics();
    if (!counted) continue;  // a kernel that does not count
    stats.rx_ring_full += counted->rx_ring_full;
    stats.control_ring_full += counted->control_ring_full;
    stats.fill_ring_empty += counted->fill_ring_empty;
  }
}

std::vector<ipc::UplinkStats> Uplinks::stats() const {
  std::vector<ipc::UplinkStats> all;
  for (const auto& [name, uplink] : uplinks_) {
    ipc::UplinkStats stats;
    stats.interface = name;
    stats.mode = uplink.mode;
    stats.queues = static_cast<std::uint32_t>(uplink.queues.size());
    stats.up = uplink.index != 0 && uplink.running;
    stats.error = uplink.index != 0 && !uplink.running ? "the link is down" : uplink.error;
    if (uplink.program != nullptr) {
      const std::string& refused = uplink.program->without_flows();
      if (!refused.empty()) {
        stats.xdp_forwarding = refused;
      } else if (uplink.program->mode() != xdp::AttachMode::kNative) {
        stats.xdp_forwarding = "the driver has no native XDP";
      } else {
        stats.xdp_forwarding = uplink.no_target.empty() ? "on" : uplink.no_target;
      }
    }
    if (const auto totals = tables_.totals(uplink.port)) {
      stats.rx_packets = totals->rx_packets;
      stats.rx_bytes = totals->rx_bytes;
      stats.tx_packets = totals->tx_packets;
      stats.tx_bytes = totals->tx_bytes;
    }
    describe_rings(uplink, stats);
    all.push_back(std::move(stats));
  }
  return all;
}

}  // namespace simplon::forwarder
