// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/xdp_side.h"

#include <net/if.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gateway/forward/src/path/routing.h"

namespace simplon::differential {
namespace {

constexpr int kInterfaces = 16;
// What a test run takes; longer frames are the worker's here.
constexpr std::size_t kShortest = 14;
/// The interface that packets of a test run say they came from: the loopback device.
constexpr std::uint32_t kTestRunsOn = 1;
constexpr std::size_t kLongest = 3400;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "differential_test: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error().message());
  return std::move(*result);
}

/// Programs run one at a time, in the thread that asks.
class NobodyRuns final : public xdp::Grace {
 public:
  Ticket begin() override { return ++last_; }
  bool passed(Ticket) const noexcept override { return true; }

 private:
  Ticket last_ = 0;
};

/// Indices of veths in a namespace of our own, made at the first call.
const std::set<std::uint32_t>& interfaces() {
  static const std::set<std::uint32_t> made = [] {
    std::set<std::uint32_t> indices;
    if (::unshare(CLONE_NEWNET) != 0) give_up("--xdp needs root");
    for (int i = 0; i < kInterfaces; i += 2) {
      const std::string a = "x" + std::to_string(i);
      const std::string b = "x" + std::to_string(i + 1);
      if (std::system(("ip link add " + a + " type veth peer name " + b).c_str()) != 0)
        give_up("cannot make interfaces");
      indices.insert({::if_nametoindex(a.c_str()), ::if_nametoindex(b.c_str())});
    }
    return indices;
  }();
  return made;
}

/// The packet inside, of a frame that the program took.
struct Recognized {
  simplon_xdp_flow_key key{};
  std::size_t ip_at = 0;
};

Recognized recognize(std::uint32_t uplink, const oracle::Bytes& frame) {
  simplon_xdp_flow_key key{};
  key.uplink = uplink;
  std::uint32_t kind = SIMPLON_XDP_TAGGED;
  std::size_t type_at = 16;
  switch (oracle::get16(frame, 12)) {
    case 0x0800:
      kind = SIMPLON_XDP_VXLAN;
      type_at = 62;
      key.ingress = oracle::get32(frame, 46) >> 8;
      std::memcpy(&key.outer_source, frame.data() + 26, 4);
      break;
    case 0x86dd: {
      kind = SIMPLON_XDP_VXLAN6;
      type_at = 82;
      key.ingress = oracle::get32(frame, 66) >> 8;
      std::uint32_t outer_source[4];
      std::memcpy(outer_source, frame.data() + 22, 16);
      key.outer_source = static_cast<std::uint32_t>(simplon_xdp_fold(outer_source));
      break;
    }
    default:
      key.ingress = oracle::get16(frame, 14) & 0xfffU;
      if (const auto next = oracle::get16(frame, 16); next == 0x8100 || next == 0x88a8) {
        type_at = 20;
        key.ingress = key.ingress << 12 | (oracle::get16(frame, 18) & 0xfffU);
      }
  }
  key.ingress |= kind << SIMPLON_XDP_INGRESS_KIND;
  const std::uint8_t* ip = frame.data() + type_at + 2;
  const bool v6 = oracle::get16(frame, type_at) == 0x86dd;
  if (v6) key.ingress |= SIMPLON_XDP_INGRESS_IPV6;
  if (kind != SIMPLON_XDP_TAGGED) std::memcpy(key.source, ip + (v6 ? 8 : 12), v6 ? 16 : 4);
  std::memcpy(key.destination, ip + (v6 ? 24 : 16), v6 ? 16 : 4);
  return {key, type_at + 2};
}

/// Of the worker's hash, what chooses among several nexthops.
std::uint8_t bucket_of(const oracle::Bytes& frame, std::size_t ip_at) {
  forward::InnerPacket inner;
  if (!forward::parse_inner(std::span(frame).subspan(ip_at), inner)) give_up("the XDP program forwarded what is no packet");
  return forward::EcmpGroup::bucket(forward::flow_hash(inner));
}

}  // namespace

XdpSide::XdpSide(forward::Tables& tables) : free_(interfaces()) {
  tier_ = must(forwarder::XdpTier::create(io_, tables, std::make_unique<NobodyRuns>()));
  steering_ = must(xdp::Steering::create());
  steering_->use_flows(&tier_->table(), 0);
}

void XdpSide::publish() {
  std::vector<forwarder::XdpTier::Uplink> uplinks;
  for (const auto& [port, index] : uplinks_) uplinks.push_back({port, index, true, true});
  tier_->set_uplinks(uplinks);
  steer();
}

void XdpSide::put_uplink(forward::PortId port) {
  if (uplinks_.contains(port)) return;
  if (free_.empty()) give_up("more uplinks than interfaces");
  uplinks_[port] = free_.extract(free_.begin()).value();
  publish();
}

void XdpSide::remove_port(forward::PortId port) {
  const auto found = uplinks_.find(port);
  if (found == uplinks_.end()) return;
  free_.insert(found->second);
  uplinks_.erase(found);
  publish();
}

void XdpSide::put_vpc(const oracle::VpcEntry& vpc) {
  vteps_[vpc.vni] = {vpc.vtep, vpc.udp_port};
  steer();
}

void XdpSide::remove_vpc(Vni vni) {
  if (vteps_.erase(vni) != 0) steer();
}

void XdpSide::put_circuit(const forward::CircuitEntry& circuit) {
  circuits_[circuit.id] = circuit;
  steer();
}

void XdpSide::remove_circuit(CircuitId id) {
  if (circuits_.erase(id) != 0) steer();
}

void XdpSide::steer() {
  std::set<xdp::VtepKey> wanted;
  for (const auto& [vni, vtep] : vteps_) wanted.insert(vtep);
  if (auto ok = steering_->set_vteps(wanted); !ok) give_up(ok.error().message());
  std::set<xdp::CircuitKey> tags;
  for (const auto& [id, circuit] : circuits_) {
    if (uplinks_.contains(circuit.port)) tags.insert({kTestRunsOn, circuit.outer_vlan, circuit.vlan});
  }
  if (auto ok = steering_->set_circuits(tags); !ok) give_up(ok.error().message());
}

std::optional<forward::MemoryIo::Sent> XdpSide::offer(const Input& input) {
  const auto uplink = uplinks_.find(input.port);
  if (uplink == uplinks_.end() || input.bytes.size() < kShortest || input.bytes.size() > kLongest) return std::nullopt;
  auto& program = programs_[uplink->second];
  if (program == nullptr) {
    program = must(xdp::UplinkProgram::load_only(*steering_, uplink->second));
    if (!program->without_flows().empty()) give_up(program->without_flows());
  }
  oracle::Bytes frame = input.bytes;
  if (must(program->run(frame)) == xdp::UplinkProgram::Ran::kPassed) {
    if (frame != input.bytes) give_up("the XDP program changed a packet that it left to the worker");
    return std::nullopt;
  }
  const auto [key, ip_at] = recognize(uplink->second, input.bytes);
  const simplon_xdp_flow* found = tier_->table().find(key);
  const simplon_xdp_flow* flow = found == nullptr ? nullptr : tier_->table().find(key, bucket_of(input.bytes, ip_at));
  if (flow == nullptr) give_up("the XDP program forwarded a packet that has no flow");
  if (flow != found) ++spread_;
  const auto port = std::next(uplinks_.begin(), flow->egress)->first;
  return forward::MemoryIo::Sent{port, std::move(frame)};
}

}  // namespace simplon::differential
