// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/engine.h"

#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/tables/table_state.h"
#include "tests/differential/xdp_side.h"

namespace simplon::differential {
namespace {

forward::WorkerOptions options_for(const Limits& limits) {
  forward::WorkerOptions options;
  options.icmp_errors_per_second = limits.icmp_errors.value_or(1'000'000'000);
  options.icmp_error_burst = limits.icmp_errors.value_or(0xffffffff);
  options.domain_icmp_errors_per_second = options.icmp_errors_per_second;
  options.domain_icmp_error_burst = options.icmp_error_burst;
  options.attachment_icmp_errors_per_second = options.icmp_errors_per_second;
  options.attachment_icmp_error_burst = options.icmp_error_burst;
  options.attachment_answers_per_second = 1'000'000'000;
  options.attachment_answer_burst = 0xffffffff;
  return options;
}

constexpr forward::PortId kAnchor{200000};

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

Engine::Engine(const Limits& limits)
    : pool_(forward::FramePool::create(512).value()),
      io_(std::make_shared<forward::MemoryIo>(pool_)),
      worker_(tables_, pool_, clock_, options_for(limits)) {
  // Keeps the memory polled whatever becomes of the other ports.
  SIMPLON_CHECK(tables_.upsert_port({kAnchor, forward::PortKind::kUplink, {}, false, {io_}}).has_value());
  worker_.go_online();
  if (limits.xdp) xdp_ = std::make_unique<XdpSide>(tables_);
}

Engine::~Engine() { worker_.go_offline(); }

void Engine::count() {
  if (xdp_) xdp_->count();
}

forward::Sa* Engine::inbound(Spi spi) const {
  const auto found = inbound_.find(spi);
  return found == inbound_.end() ? nullptr : found->second.get();
}

bool Engine::apply(const oracle::Change& change) {
  using namespace oracle;
  const auto removed = [](auto&&...) { return true; };
  const bool applied = std::visit(
      Overloaded{
          [&](const PutDomain& put) { return tables_.upsert_domain(put.domain).has_value(); },
          [&](const RemoveDomain& remove) { return removed((tables_.remove_domain(remove.domain), 0)); },
          [&](const VpcEntry& vpc) {
            if (!tables_.upsert_vpc(vpc).has_value()) return false;
            if (xdp_) xdp_->put_vpc(vpc);
            return true;
          },
          [&](const RemoveVpc& remove) {
            if (xdp_) xdp_->remove_vpc(remove.vni);
            return removed((tables_.remove_vpc(remove.vni), 0));
          },
          [&](const EndpointEntry& endpoint) { return tables_.upsert_endpoint(endpoint).has_value(); },
          [&](const RemoveEndpoint& remove) {
            return removed((tables_.remove_endpoint(remove.vni, remove.address), 0));
          },
          [&](const TunnelEntry& tunnel) { return tables_.upsert_tunnel(tunnel).has_value(); },
          [&](const RemoveTunnel& remove) { return removed((tables_.remove_tunnel(remove.id), 0)); },
          [&](const HostPortEntry& entry) { return tables_.upsert_host_port(entry).has_value(); },
          [&](const RemoveHostPort& remove) { return removed((tables_.remove_host_port(remove.attachment), 0)); },
          [&](const RouteEntry& route) { return tables_.upsert_route(route).has_value(); },
          [&](const RemoveRoute& remove) { return removed((tables_.remove_route(remove.domain, remove.prefix), 0)); },
          [&](const Port& port) {
            if (!tables_.upsert_port({port.id, port.kind, port.mac, port.fixup, {io_}, port.frames}).has_value())
              return false;
            if (xdp_ && port.kind == forward::PortKind::kUplink) xdp_->put_uplink(port.id);
            if (xdp_ && port.kind != forward::PortKind::kUplink) xdp_->remove_port(port.id);
            return true;
          },
          [&](const RemovePort& remove) {
            if (xdp_) xdp_->remove_port(remove.id);
            return removed((tables_.remove_port(remove.id), 0));
          },
          [&](const SetAdjacency& set) { return tables_.set_adjacency(set.destination, set.entry).has_value(); },
          [&](const InstallInbound& install) {
            auto sa = forward::Sa::create(install.spec);
            if (!sa || !tables_.install_inbound(*sa)) return false;
            if (install.used > 0) (*sa)->runtime().window.commit(install.used);
            (*sa)->runtime().sequence.store((*sa)->runtime().window.top());
            inbound_[install.spec.spi] = *sa;
            return true;
          },
          [&](const RemoveInbound& remove) {
            tables_.remove_inbound(remove.spi);
            inbound_.erase(remove.spi);
            return true;
          },
          [&](const SetOutbound& set) {
            auto sa = forward::Sa::create(set.spec);
            if (!sa) return false;
            (*sa)->runtime().sequence.store(set.used);
            return tables_.set_outbound(set.spec.tunnel, *sa).has_value();
          },
          [&](const ClearOutbound& clear) { return tables_.set_outbound(clear.tunnel, nullptr).has_value(); },
          [&](const MoveInbound& move) {
            forward::Sa* sa = inbound(move.spi);
            return sa != nullptr && tables_.set_path(*sa, move.path).has_value();
          },
          [&](const MoveOutbound& move) {
            forward::Sa* sa = outbound(move.tunnel);
            return sa != nullptr && tables_.set_path(*sa, move.path).has_value();
          },
          [&](const CircuitEntry& circuit) {
            const bool taken = tables_.upsert_circuit(circuit).has_value();
            if (xdp_ && taken) xdp_->put_circuit(circuit);
            return taken;
          },
          [&](const RemoveCircuit& remove) {
            if (xdp_) xdp_->remove_circuit(remove.id);
            return removed((tables_.remove_circuit(remove.id), 0));
          },
          [&](const NeighborEntry& neighbor) { return tables_.upsert_neighbor(neighbor).has_value(); },
          [&](const RemoveNeighbor& remove) {
            return removed((tables_.remove_neighbor(remove.circuit, remove.address), 0));
          },
          [&](const AclEntry& acl) { return tables_.upsert_acl(acl).has_value(); },
          [&](const RemoveAcl& remove) { return removed((tables_.remove_acl(remove.name), 0)); },
          [&](const PolicyEntry& policy) { return tables_.upsert_policy(policy).has_value(); },
          [&](const RemovePolicy& remove) { return removed((tables_.remove_policy(remove.attachment), 0)); },
          [&](const NatEntry& nat) { return tables_.upsert_nat(nat).has_value(); },
          [&](const RemoveNat& remove) { return removed((tables_.remove_nat(remove.domain), 0)); },
      },
      change);
  tables_.commit();
  return applied;
}

std::optional<oracle::Hop> Engine::nexthop(oracle::AttachmentId ingress, const IpAddress& destination,
                                           const oracle::Flow& flow) const {
  const forward::TableState& state = tables_.state();
  const forward::Attachment* from = state.attachments[tables_.slot_of(ingress)].object.load();
  if (from == nullptr) return std::nullopt;
  const auto words = [](const IpAddress& address) {
    const forward::WireAddress wire = forward::WireAddress::from(address);
    return forward::AddressWords{wire.low, wire.high};
  };
  forward::InnerPacket inner;
  inner.family = flow.source.is_v4() ? 4 : 6;
  inner.protocol = flow.protocol;
  inner.source = words(flow.source);
  inner.destination = words(flow.destination);
  inner.ports = byteswap((std::uint32_t{flow.source_port} << 16) | flow.destination_port);
  const forward::RouteValue route = forward::look_up(*from->domain, words(destination), inner.family);
  if (route.action() != forward::RouteValue::Action::kGroup) return std::nullopt;
  const std::uint32_t slot = state.groups[route.slot()].load()->pick(forward::flow_hash(inner));
  const auto attachment = tables_.attachment_at(slot);
  if (!attachment) return std::nullopt;
  oracle::Hop hop{*attachment, {}};
  const forward::Attachment* exit = state.attachments[slot].object.load();
  if (slot == tables_.slot_of(*attachment)) return hop;
  hop.gateway = exit == nullptr ? IpAddress() : exit->link.gateway.to_ip();
  return hop;
}

std::uint64_t Engine::spread_in_xdp() const { return xdp_ ? xdp_->spread() : 0; }

Observed Engine::totals() const {
  const forward::WorkerCounters& counters = worker_.counters();
  Observed now;
  for (std::size_t i = 0; i < forward::kDropCount; ++i) now.drops[i] = counters.drops[i].read();
  now.received = counters.received.read();
  now.originated = counters.originated.read();
  now.sent_count = counters.sent.read();
  now.received += in_xdp_;
  now.sent_count += in_xdp_;
  now.punted = counters.punted.read();
  now.suppressed = counters.icmp_suppressed.read();
  return now;
}

void Engine::run_worker(Observed& result) {
  while (worker_.poll_once() > 0) {
  }
  for (auto& sent : io_->take_sent()) result.sent.push_back(std::move(sent));
}

Observed Engine::run(std::span<const Input> inputs, std::optional<std::size_t> accept) {
  const Observed before = totals();
  Observed sent;
  io_->accept_only(accept.value_or(~std::size_t{0}));
  for (const Input& input : inputs) {
    // Ports that refuse packets are the worker's alone.
    if (auto forwarded = xdp_ && !accept ? xdp_->offer(input) : std::nullopt) {
      run_worker(sent);
      sent.sent.push_back(*std::move(forwarded));
      ++in_xdp_;
    } else {
      SIMPLON_CHECK(io_->inject(input.port, input.bytes));
    }
  }
  run_worker(sent);
  if (xdp_) xdp_->learn();
  Observed result = totals();
  for (std::size_t i = 0; i < forward::kDropCount; ++i) result.drops[i] -= before.drops[i];
  result.received -= before.received;
  result.originated -= before.originated;
  result.sent_count -= before.sent_count;
  result.punted -= before.punted;
  result.suppressed -= before.suppressed;
  result.sent = std::move(sent.sent);
  result.lost_frames = pool_.frames() - pool_.available();
  return result;
}

}  // namespace simplon::differential
