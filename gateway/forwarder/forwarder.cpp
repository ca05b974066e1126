// SPDX-License-Identifier: GPL-2.0-or-later
//
//     simplond --table protocol--> TableApplier --+--> Tables <-- worker threads (AF_XDP, TUN)
//     charon   --SA protocol-----> SaStore -------+       ^
//     kernel   --netlink---------> Underlay, Uplinks -----+
//     kernel of a domain --netlink--> Circuits -----------+
//
// Everything on the left runs on the one io_context thread, so no two of them write at the same time and none takes a
// lock. The workers never wait for any of them. What has to happen after a write (resolve new destinations, tell the
// workers about new descriptors) is done by Upkeep, at the end of every request and event.
#include "gateway/forwarder/forwarder.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <random>
#include <span>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/forward/adopt_connections.h"
#include "gateway/forward/tables.h"
#include "gateway/forwarder/circuits.h"
#include "gateway/forwarder/forwarder_stats.h"
#include "gateway/forwarder/handover.h"
#include "gateway/forwarder/host_ports.h"
#include "gateway/forwarder/inspector.h"
#include "gateway/forwarder/path_mtu.h"
#include "gateway/forwarder/predecessor.h"
#include "gateway/forwarder/sa_server.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/forwarder/succession.h"
#include "gateway/forwarder/table_applier.h"
#include "gateway/forwarder/takeover.h"
#include "gateway/forwarder/too_big_listener.h"
#include "gateway/forwarder/tun_io.h"
#include "gateway/forwarder/underlay.h"
#include "gateway/forwarder/upkeep.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/forwarder/worker_threads.h"
#include "gateway/forwarder/xdp_tier.h"
#include "gateway/ipc/table_server.h"
#include "platform/sys/service_notify.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;

/// Whom simplond.service runs simplond as.
constexpr const char* kControlUser = "simplond";
// Packet memory: two uplinks of up to 32 queues (ring_sizes.h) and a worker, and each further worker.
constexpr std::size_t kFrames = 16384;
constexpr std::size_t kFramesOfEach = 4096;
// Places for jumbo frames, from when they came until they are sent: 6 MiB. Chosen by us: a burst of each of eight workers.
constexpr std::size_t kSlots = 512;

class LiveForwarder final : public Forwarder, public ipc::TableService, public PortControl {
 public:
  LiveForwarder(asio::io_context& io, std::vector<forward::FramePool> pools, std::unique_ptr<netlink::Netlink> netlink,
                std::unique_ptr<xdp::Steering> steering, std::uint64_t instance)
      : io_(io),
        instance_(instance),
        pools_(std::move(pools)),
        tables_(static_cast<unsigned>(pools_.size()), forward::HashSeed::random()),
        netlink_(std::move(netlink)),
        steering_(std::move(steering)),
        uplinks_(tables_, pools_, ids_, *netlink_, *steering_),
        underlay_(tables_, *netlink_, uplinks_, clock_),
        circuits_(io, tables_, uplinks_, *netlink_, *steering_,
                  [this](CircuitId circuit, const MacAddress& mac) {
                    host_ports_->set_mac(ipc::AttachmentRef::circuit(circuit), mac);
                  },
                  [this](CircuitId circuit, std::uint16_t mtu_bytes) {
                    host_ports_->limit_mtu(ipc::AttachmentRef::circuit(circuit), mtu_bytes);
                  }),
        applier_(tables_, *this),
        sas_(tables_, clock_, instance, [this](std::vector<std::uint8_t> event) {
          if (sa_server_) sa_server_->send_event(std::move(event));
        }),
        path_mtus_(tables_, sas_,
                   [this](const IpAddress& destination, std::uint16_t bytes) {
                     return underlay_.lower_path_mtu(destination, bytes);
                   }) {}

  ~LiveForwarder() override {
    // Nothing more comes in; then the workers end; then ports may close.
    succession_.reset();
    table_server_.reset();
    sa_server_.reset();
    upkeep_.reset();
    *alive_ = false;
    workers_.reset();
    inspector_.reset();
    host_ports_.reset();
  }

  /// `former`: nullptr for none.
  Result<void> begin(const ForwarderOptions& options, Predecessor* former) {
    options_ = options;
    uplinks_.allow_jumbo(options.jumbo);
    if (auto ok = open_host_ports(); !ok) return ok;
    if (options.xdp_forwarding) open_tier();
    // Before anything is looked up, so that no change is missed.
    if (auto ok = open_upkeep(); !ok) return ok;
    open_too_big();
    SaServer::Pending events;
    if (former != nullptr) {
      if (auto ok = adopt_tables(former->tables()); !ok) return ok;
      uplinks_.wait_until_prepared();
      auto traffic = former->take_traffic();
      if (!traffic) return Unexpected(traffic.error());
      events = std::move(traffic->state.events);
      if (auto ok = adopt_traffic(*traffic); !ok) return ok;
      if (auto ok = start_workers(options.workers); !ok) return ok;
      // The clock is the machine's, not the process's.
      const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.now() - traffic->state.stopped);
      spdlog::info("forwards again, {} ms after the former process stopped", gap.count());
    } else if (auto ok = start_workers(options.workers); !ok) {
      return ok;
    }
    return open_servers(std::move(events));
  }

  std::chrono::milliseconds watchdog() const override { return options_.watchdog; }

  asio::awaitable<void> writes_settled() override { return settled(); }

  Result<void> hand_over() override {
    const auto tables = pack_tables();
    if (!tables) return Unexpected(tables.error());
    const auto traffic = pack_traffic();
    if (!traffic) return Unexpected(traffic.error());
    return leave_handover(*tables, *traffic);
  }

  // TableService

  std::uint64_t instance() const override { return instance_; }

  void sync_begin(Epoch epoch) override { applier_.sync_begin(epoch); }

  std::vector<ipc::OperationError> apply(const ipc::Update& update) override {
    auto errors = applier_.apply(update);
    for (const auto& error : errors) spdlog::warn("refused: {}", error.what);
    upkeep_->after_write();
    return errors;
  }

  std::vector<ipc::OperationError> sync_end(const ipc::SyncEnd& end) override {
    auto errors = applier_.sync_end(end.epoch);
    if (errors.empty()) applier_.set_generation(end.generation);
    upkeep_->after_write();
    return errors;
  }

  asio::awaitable<void> settled() override {
    const auto token = tables_.commit();
    const auto ticket = tier_ ? tier_->settling() : xdp::Grace::Ticket{0};
    const auto alive = alive_;
    asio::steady_timer timer(io_);
    while (*alive && !(tables_.applied(token) && (!tier_ || tier_->settled(ticket)))) {
      error_code ignored;
      timer.expires_after(200us);
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }

  ipc::Stats stats(std::uint32_t connections) override {
    if (tier_) tier_->count();
    ipc::Stats stats;
    stats.generation = applier_.generation();
    stats.accounting = workers_->accounting();
    stats.drops = drop_stats(*workers_);
    stats.attachments = attachment_stats(applier_, tables_, *host_ports_);
    stats.uplinks = uplinks_.stats();
    stats.workers = workers_->stats();
    for (unsigned i = 0; i < stats.workers.size(); ++i) stats.workers[i].queues = uplinks_.queues_of(i);
    add_tier_stats(tier_.get(), no_tier_, uplinks_, stats);
    stats.sas = sas_.stats();
    stats.neighbors = underlay_.stats();
    const auto on_circuits = circuits_.stats();
    stats.neighbors.insert(stats.neighbors.end(), on_circuits.begin(), on_circuits.end());
    if (too_big_) {
      stats.too_big = path_mtus_.counts();
      stats.too_big.push_back({"overrun", too_big_->ring().overrun()});
    }
    stats.acls = applier_.acl_stats();
    stats.nats = applier_.nat_stats();
    add_table_stats(tables_, connections, to_seconds(clock_.now()), stats);
    return stats;
  }

  asio::awaitable<ipc::TraceReply> trace(ipc::TraceRequest request) override {
    return inspector_->trace(std::move(request));
  }
  Result<std::unique_ptr<ipc::CaptureFeed>> capture(const ipc::CaptureRequest& request) override {
    return inspector_->capture(request);
  }

  // PortControl

  void upsert_uplink(const std::string& interface) override {
    uplinks_.upsert(interface);
    upkeep_->uplinks_changed();
  }
  void remove_uplink(const std::string& interface) override {
    uplinks_.remove(interface);
    upkeep_->uplinks_changed();
  }
  Result<void> upsert_host_port(const ipc::HostPort& port) override {
    if (!replaying_) return host_ports_->upsert(port);
    // The former process had no device either, or it is gone since: the attachment lacks its host port, no other lacks anything.
    host_ports_->upsert_or_repair_later(port);
    return {};
  }
  void remove_host_port(const ipc::AttachmentRef& attachment) override {
    if (attachment.kind == ipc::AttachmentKind::kCircuit) circuits_.unwatch(CircuitId(attachment.id));
    host_ports_->remove(attachment);
  }
  void renounce_sas(TunnelId tunnel) override { sas_.renounce(tunnel); }
  void upsert_circuit(const ipc::Circuit& circuit) override {
    circuits_.upsert(circuit);
    upkeep_->circuits_changed();
  }
  void remove_circuit(CircuitId id) override {
    circuits_.remove(id);
    host_ports_->forget_mtu(ipc::AttachmentRef::circuit(id));
    upkeep_->circuits_changed();
  }
  void set_local_addresses(const std::set<LocalVtep>& vteps, const std::set<IpAddress>& ipsec) override {
    std::set<xdp::VtepKey> keys;
    for (const auto& vtep : vteps) keys.insert({vtep.address, vtep.port});
    for (const auto& ok : {steering_->set_vteps(keys), steering_->set_ipsec_addresses(ipsec)}) {
      if (!ok) spdlog::error("{}", ok.error().message());
    }
  }

 private:
  // What `begin` opens, in its order.

  Result<void> open_host_ports() {
    auto tuns = TunDevices::create(tables_.workers());
    if (!tuns) return Unexpected(tuns.error());
    tuns_ = *std::move(tuns);
    std::vector<std::shared_ptr<forward::PacketIo>> ios;
    for (unsigned i = 0; i < tables_.workers(); ++i) ios.push_back(std::make_shared<TunIo>(pools_[i], tuns_, i));
    host_ports_ = std::make_unique<HostPorts>(tables_, ids_, tuns_, std::move(ios), [this](const ipc::HostPort& port) {
      circuits_.watch(CircuitId(port.attachment.id), port.netns, port.interface);
    });
    return {};
  }

  void open_tier() {
    auto tier = XdpTier::create(io_, tables_);
    if (tier) {
      tier_ = *std::move(tier);
      steering_->use_flows(&tier_->table());
    } else {
      no_tier_ = tier.error().message();
      spdlog::warn("no forwarding in XDP, the worker forwards everything: {}", no_tier_);
    }
  }

  Result<void> open_upkeep() {
    auto upkeep = Upkeep::open(io_, {tables_, uplinks_, *host_ports_, *tuns_, underlay_, circuits_, sas_, tier_.get()});
    if (!upkeep) return Unexpected(upkeep.error());
    upkeep_ = *std::move(upkeep);
    return {};
  }

  void open_too_big() {
    auto too_big = TooBigListener::open(io_, [this](std::span<const std::uint8_t> packet) { path_mtus_.hear(packet); });
    if (too_big) {
      too_big_ = *std::move(too_big);
      steering_->use_too_big(&too_big_->ring());
    } else {
      spdlog::warn("no path MTU is learned, what is too long for a hop of the underlay is lost there: {}", too_big.error().message());
    }
  }

  /// And the inspector, which watches them.
  Result<void> start_workers(const WorkerPlacement& placement) {
    auto workers = WorkerThreads::start(tables_, pools_, clock_, placement);
    if (!workers) return Unexpected(workers.error());
    workers_ = *std::move(workers);
    upkeep_->start(*workers_);
    Inspector::Ports ports{[this](forward::PortId port) { return interface_of(port); },
                           [this](const std::string& name) {
                             const auto port = uplinks_.port_of(name);
                             return port == forward::kNoPort ? std::nullopt : std::optional(port);
                           }};
    inspector_ = std::make_unique<Inspector>(io_, tables_, clock_, std::move(ports), [this](forward::Watch* watch) {
      // Who looks sees every packet, also those that the XDP programs would forward.
      if (tier_ && watch != nullptr) tier_->pause();
      workers_->watch(watch);
      if (tier_ && watch == nullptr) tier_->resume();
    });
    return {};
  }

  Result<void> open_table_server() {
    auto table_server = ipc::TableServer::open(io_, options_.run_dir + "/forwarder.sock", kControlUser, options_.software, *this);
    if (!table_server) return Unexpected(table_server.error());
    table_server_ = *std::move(table_server);
    return {};
  }

  /// `events`: of the former process, for charon.
  Result<void> open_servers(SaServer::Pending events) {
    if (auto ok = open_table_server(); !ok) return ok;
    auto sa_server = SaServer::open(io_, options_.run_dir + "/sa.sock", [this](const ipc::sa::Request& request) {
      auto reply = sas_.handle(request);
      upkeep_->catch_up();
      return reply;
    });
    if (!sa_server) return Unexpected(sa_server.error());
    sa_server_ = *std::move(sa_server);
    sa_server_->resume(std::move(events));
    auto succession = Succession::open(io_, succession_path(options_.run_dir),
                                       {[this] { return pack_tables(); }, [this] { return pack_traffic(); },
                                        [this] { reopen_table_server(); }, [](const Result<void>& given) { leave(given); }});
    if (!succession) return Unexpected(succession.error());
    succession_ = *std::move(succession);
    return {};
  }

  // What a successor gets: packed by `pack_tables` as long as this process forwards, and the rest when it does not any more.

  Result<sys::UniqueFd> pack_tables() {
    // From here on nobody changes the tables, so workers and XDP programs may go on forwarding by them until the successor has its own.
    table_server_.reset();
    HandedTables handed;
    handed.instance = instance_;
    handed.frames = pools_.front().frames();
    handed.slots = pools_.front().slots();
    handed.generation = applier_.generation();
    handed.watchdog = options_.watchdog;
    handed.programs = uplinks_.programs();
    std::vector<int> descriptors{pools_.front().descriptor()};
    handed.host_ports = host_ports_->hand_over(descriptors);
    handed.tables = applier_.encode();
    return pack(handed, descriptors);
  }

  Result<sys::UniqueFd> pack_traffic() {
    HandedTraffic handed;
    handed.stopped = clock_.now();
    uplinks_.divert(options_.wait_in_devices);
    workers_->stop();
    handed.all_frames = pools_.front().all_frames();
    handed.connections = write_connections(tables_, to_seconds(clock_.now()));
    // Mappings that the workers noticed become events.
    sas_.tick();
    handed.events = sa_server_->close();
    handed.sas = sas_.snapshot();
    std::vector<int> descriptors;
    handed.uplinks = uplinks_.hand_over(descriptors);
    return pack(handed, descriptors);
  }

  void reopen_table_server() {
    if (auto ok = open_table_server(); !ok) spdlog::error("nobody can change the tables: {}", ok.error().message());
  }

  /// At once: packets wait for the successor, which needs what this process has open.
  [[noreturn]] static void leave(const Result<void>& given) {
    if (given) {
      spdlog::info("handed over");
    } else {
      spdlog::error("the successor starts from nothing: {}", given.error().message());
    }
    spdlog::shutdown();
    std::_Exit(given ? 0 : 1);
  }

  Result<void> adopt_tables(Taken<HandedTables>& former) {
    for (const HandedProgram& program : former.state.programs) uplinks_.prepare(program);
    inherit_host_ports(former, *host_ports_);
    replaying_ = true;
    const auto replayed = replay_tables(former.state.tables, applier_);
    replaying_ = false;
    if (!replayed) return replayed;
    applier_.set_generation(former.state.generation);
    host_ports_->forget_inherited();
    if (options_.watchdog.count() == 0) options_.watchdog = former.state.watchdog;
    return {};
  }

  /// Everything in place before the workers start: tables before ports would lose nothing either, but so no packet meets half of
  /// them.
  Result<void> adopt_traffic(Taken<HandedTraffic>& former) {
    if (former.state.all_frames != pools_.front().all_frames()) {
      return fail(ErrorCode::kPeer, "traffic and tables that were handed over have another number of frames");
    }
    const auto connections = read_connections(former.state.connections);
    if (!connections) return Unexpected(connections.error());
    pools_.front().settle(former.state.in_use);
    const std::size_t uplinks = former.state.uplinks.size();
    inherit_uplinks(former, uplinks_);
    if (auto ok = sas_.restore(former.state.sas); !ok) return ok;
    upkeep_->uplinks_changed();
    upkeep_->after_write();
    // Once workers run, the sockets' frames are no longer ours to stock.
    if (uplinks_.has_inherited()) return fail(ErrorCode::kUnavailable, "the kernel does not list its interfaces");
    // Not before circuits are in the tables: a connection is of two attachments.
    adopt_connections(*connections);
    spdlog::info("took over {} uplinks, {} host ports and {} SAs of the former process", uplinks, host_ports_->size(), sas_.size());
    return {};
  }

  [[nodiscard]] std::string interface_of(forward::PortId port) const {
    auto name = uplinks_.name_of(port);
    return name.empty() ? host_ports_->interface_of(port) : name;
  }

  void adopt_connections(const std::vector<forward::ConnectionView>& connections) {
    if (connections.empty()) return;
    const std::size_t adopted = forward::adopt_connections(tables_, connections, to_seconds(clock_.now()));
    spdlog::info("took over {} of {} connections", adopted, connections.size());
  }

  asio::io_context& io_;
  std::uint64_t instance_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  SteadyClock clock_;
  // Tables destroy ports, which give their frames back. One of each worker.
  std::vector<forward::FramePool> pools_;
  forward::Tables tables_;
  PortIds ids_;
  std::shared_ptr<TunDevices> tuns_;
  std::unique_ptr<netlink::Netlink> netlink_;
  std::unique_ptr<xdp::Steering> steering_;
  /// Outlives the programs that read it. nullptr: see `no_tier_`.
  std::unique_ptr<XdpTier> tier_;
  std::string no_tier_ = "switched off";
  std::unique_ptr<WorkerThreads> workers_;
  std::unique_ptr<Inspector> inspector_;
  Uplinks uplinks_;
  std::unique_ptr<HostPorts> host_ports_;
  Underlay underlay_;
  Circuits circuits_;
  TableApplier applier_;
  SaStore sas_;
  PathMtuLearner path_mtus_;
  std::unique_ptr<Upkeep> upkeep_;
  /// nullptr: the host does not let us.
  std::unique_ptr<TooBigListener> too_big_;
  std::unique_ptr<ipc::TableServer> table_server_;
  std::unique_ptr<SaServer> sa_server_;
  std::unique_ptr<Succession> succession_;
  /// The tables of a former process are being applied.
  bool replaying_ = false;
  ForwarderOptions options_;
};

/// `former`: nullptr for none.
Result<std::unique_ptr<Forwarder>> make(asio::io_context& io, const ForwarderOptions& options, Predecessor* former) {
  auto steering = xdp::Steering::create();
  if (!steering) return Unexpected(steering.error());
  auto netlink = netlink::Netlink::open();
  if (!netlink) return Unexpected(netlink.error());
  std::random_device random;
  std::uint64_t instance = (std::uint64_t{random()} << 32) | random();
  if (former != nullptr) instance = former->tables().state.instance;
  // Without a manager nothing can be handed over.
  using Memory = forward::FramePool::Memory;
  const auto kind = sys::has_service_manager() ? Memory::kShared : Memory::kPrivate;
  const unsigned workers = options.workers.workers;
  const std::size_t frames = options.frames != 0 ? options.frames : kFrames + (workers - 1) * kFramesOfEach;
  // Address space as long as no uplink has jumbo frames; whether one may, a planned restart can change.
  const std::size_t slots = xdp::XskSocket::kernel_has_multi_buffer() ? kSlots : 0;
  auto pool = former == nullptr ? forward::FramePool::create(frames, kind, slots) : take_packet_memory(former->tables());
  if (!pool) return Unexpected(pool.error());
  std::vector<forward::FramePool> pools;
  pools.reserve(workers);
  pools.push_back(*std::move(pool));
  while (pools.size() < workers) pools.push_back(pools.front().sibling());
  auto forwarder =
      std::make_unique<LiveForwarder>(io, std::move(pools), *std::move(netlink), *std::move(steering), instance);
  if (auto ok = forwarder->begin(options, former); !ok) return Unexpected(ok.error());
  return std::unique_ptr<Forwarder>(std::move(forwarder));
}

/// SAs included: the plugin sees a new instance and lets charon negotiate new ones.
Result<std::unique_ptr<Forwarder>> make_from_nothing(asio::io_context& io, const ForwarderOptions& options, const Error& why) {
  spdlog::warn("cannot go on where the former process stopped, starting from nothing: {}", why.message());
  return make(io, options, nullptr);
}

}  // namespace

Result<std::unique_ptr<Forwarder>> Forwarder::start(asio::io_context& io, const ForwarderOptions& options) {
  auto former = Predecessor::stored();
  if (former && *former == nullptr) return make(io, options, nullptr);
  if (!former) return make_from_nothing(io, options, former.error());
  auto adopted = make(io, options, former->get());
  if (adopted) return adopted;
  former->reset();
  return make_from_nothing(io, options, adopted.error());
}

Result<std::unique_ptr<Forwarder>> Forwarder::succeed(asio::io_context& io, const ForwarderOptions& options,
                                                      std::function<Result<void>()> before_end) {
  auto former = Predecessor::running(options.run_dir, std::move(before_end));
  if (!former) return Unexpected(former.error());
  auto adopted = make(io, options, former->get());
  if (adopted || !(*former)->has_ended()) return adopted;
  former->reset();
  return make_from_nothing(io, options, adopted.error());
}

}  // namespace simplon::forwarder
