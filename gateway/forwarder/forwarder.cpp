// SPDX-License-Identifier: GPL-2.0-or-later
//
//     simplond --table protocol--> TableApplier --+--> Tables <-- worker thread (AF_XDP, TUN)
//     charon   --SA protocol-----> SaStore -------+       ^
//     kernel   --netlink---------> Underlay, Uplinks -----+
//
// Everything on the left runs on the one io_context thread, so no two of them write at the same time and none takes a
// lock. The worker never waits for any of them. What has to happen after a write (resolve new destinations, tell the
// worker about new descriptors) is done by `catch_up`, at the end of every request and event.
#include "gateway/forwarder/forwarder.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <random>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/forward/drop.h"
#include "gateway/forward/tables.h"
#include "gateway/forwarder/host_ports.h"
#include "gateway/forwarder/sa_server.h"
#include "gateway/forwarder/sa_store.h"
#include "gateway/forwarder/table_applier.h"
#include "gateway/forwarder/tun_io.h"
#include "gateway/forwarder/underlay.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/forwarder/worker_thread.h"
#include "gateway/ipc/table_server.h"
#include "platform/netlink/monitor.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;

// Chosen by us. Soft expiry has seconds of margin; half a second is early enough.
constexpr auto kTick = 250ms;
constexpr unsigned kTicksPerRetry = 4;
// Learned path MTUs raise no event.
constexpr unsigned kTicksPerRefresh = 40;
// Route and link changes come in bursts.
constexpr auto kDebounce = 20ms;

class LiveForwarder final : public Forwarder, public ipc::TableService, public PortControl {
 public:
  LiveForwarder(asio::io_context& io, forward::FramePool pool, std::unique_ptr<netlink::Netlink> netlink,
                std::unique_ptr<xdp::Steering> steering, std::uint64_t instance)
      : io_(io),
        instance_(instance),
        pool_(std::move(pool)),
        netlink_(std::move(netlink)),
        steering_(std::move(steering)),
        uplinks_(tables_, pool_, ids_, *netlink_, *steering_),
        underlay_(tables_, *netlink_, uplinks_),
        applier_(tables_, *this),
        sas_(tables_, clock_, instance, [this](std::vector<std::uint8_t> event) {
          if (sa_server_) sa_server_->send_event(std::move(event));
        }),
        tick_timer_(io),
        debounce_timer_(io) {}

  ~LiveForwarder() override {
    // Nothing more comes in; then the worker ends; then ports may close.
    table_server_.reset();
    sa_server_.reset();
    monitor_.reset();
    tick_timer_.cancel();
    debounce_timer_.cancel();
    *alive_ = false;
    worker_.reset();
    host_ports_.reset();
  }

  Result<void> begin(const ForwarderOptions& options) {
    auto tuns = TunIo::create(pool_);
    if (!tuns) return Unexpected(tuns.error());
    tuns_ = *std::move(tuns);
    host_ports_ = std::make_unique<HostPorts>(tables_, ids_, tuns_);

    auto worker = WorkerThread::start(tables_, pool_, clock_);
    if (!worker) return Unexpected(worker.error());
    worker_ = *std::move(worker);
    publish_descriptors();

    netlink::Monitor::Events events;
    events.on_neighbor = [this](const netlink::Neighbor& neighbor) { underlay_.on_neighbor(neighbor); };
    events.on_link = [this] { look_again(); };
    events.on_route = [this] { look_again(); };
    events.on_resync = [this] { look_again(); };
    auto monitor = netlink::Monitor::open(io_, std::move(events));
    if (!monitor) return Unexpected(monitor.error());
    monitor_ = *std::move(monitor);

    auto table_server = ipc::TableServer::open(io_, options.run_dir + "/forwarder.sock", 0660, options.software, *this);
    if (!table_server) return Unexpected(table_server.error());
    table_server_ = *std::move(table_server);
    auto sa_server = SaServer::open(io_, options.run_dir + "/sa.sock", [this](const ipc::sa::Request& request) {
      auto reply = sas_.handle(request);
      catch_up();
      return reply;
    });
    if (!sa_server) return Unexpected(sa_server.error());
    sa_server_ = *std::move(sa_server);
    tick();
    return {};
  }

  asio::awaitable<void> worker_passed() override { return settled(); }

  // TableService

  std::uint64_t instance() const override { return instance_; }

  void sync_begin(Epoch epoch) override { applier_.sync_begin(epoch); }

  std::vector<ipc::OperationError> apply(const ipc::Update& update) override {
    auto errors = applier_.apply(update);
    for (const auto& error : errors) spdlog::warn("refused: {}", error.what);
    after_write();
    return errors;
  }

  std::vector<ipc::OperationError> sync_end(const ipc::SyncEnd& end) override {
    auto errors = applier_.sync_end(end.epoch);
    if (errors.empty()) applier_.set_generation(end.generation);
    after_write();
    return errors;
  }

  asio::awaitable<void> settled() override {
    const auto token = tables_.commit();
    const auto alive = alive_;
    asio::steady_timer timer(io_);
    while (*alive && !tables_.applied(token)) {
      error_code ignored;
      timer.expires_after(200us);
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }

  ipc::Stats stats() override {
    ipc::Stats stats;
    stats.generation = applier_.generation();
    const auto& counters = worker_->counters();
    stats.accounting = {counters.received.read(), counters.originated.read(), counters.sent.read(), counters.punted.read(),
                        counters.dropped()};
    for (std::size_t i = 0; i < forward::kDropCount; ++i) {
      const auto& drop = forward::kDropInfo[i];
      stats.drops.push_back({std::string(drop.counter), std::string(drop.reference), std::string(drop.sentence),
                             counters.drops[i].read()});
    }
    for (const auto& attachment : applier_.attachments()) {
      ipc::AttachmentStats entry;
      entry.attachment = attachment;
      const auto id = attachment_of(attachment);
      if (const auto totals = tables_.totals(id)) {
        entry.rx_packets = totals->rx_packets;
        entry.rx_bytes = totals->rx_bytes;
        entry.tx_packets = totals->tx_packets;
        entry.tx_bytes = totals->tx_bytes;
        entry.punted = totals->punted;
        entry.dropped = totals->dropped;
      }
      entry.host_port_up = host_ports_->up(attachment);
      entry.mtu = tables_.inner_mtu(id);
      stats.attachments.push_back(entry);
    }
    stats.uplinks = uplinks_.stats();
    stats.sas = sas_.stats();
    stats.neighbors = underlay_.stats();
    const auto counts = tables_.counts();
    stats.routes = counts.routes;
    stats.endpoints = counts.endpoints;
    return stats;
  }

  // PortControl

  void upsert_uplink(const std::string& interface) override {
    uplinks_.upsert(interface);
    uplinks_changed_ = true;
  }
  void remove_uplink(const std::string& interface) override {
    uplinks_.remove(interface);
    uplinks_changed_ = true;
  }
  Result<void> upsert_host_port(const ipc::HostPort& port) override { return host_ports_->upsert(port); }
  void remove_host_port(const ipc::AttachmentRef& attachment) override { host_ports_->remove(attachment); }
  void set_local_addresses(const std::set<LocalVtep>& vteps, const std::set<IpAddress>& ipsec) override {
    std::set<xdp::VtepKey> keys;
    for (const auto& vtep : vteps) keys.insert({vtep.address, vtep.port});
    for (const auto& ok : {steering_->set_vteps(keys), steering_->set_ipsec_addresses(ipsec)}) {
      if (!ok) spdlog::error("{}", ok.error().message());
    }
  }

 private:
  void publish_descriptors() {
    auto descriptors = uplinks_.descriptors();
    descriptors.push_back(tuns_->descriptor());
    worker_->set_descriptors(std::move(descriptors));
  }

  void after_write() {
    if (std::exchange(uplinks_changed_, false)) {
      uplinks_.refresh();
      publish_descriptors();
      underlay_.refresh();
    }
    catch_up();
  }

  void catch_up() { underlay_.catch_up(); }

  void look_again() {
    if (std::exchange(looking_, true)) return;
    debounce_timer_.expires_after(kDebounce);
    debounce_timer_.async_wait([this](const error_code& error) {
      if (error) return;
      looking_ = false;
      if (uplinks_.refresh()) publish_descriptors();
      underlay_.refresh();
    });
  }

  void tick() {
    tick_timer_.expires_after(kTick);
    tick_timer_.async_wait([this](const error_code& error) {
      if (error) return;
      ++ticks_;
      tables_.reclaim();
      sas_.tick();
      catch_up();
      if (ticks_ % kTicksPerRetry == 0) {
        if (uplinks_.refresh()) {
          publish_descriptors();
          underlay_.refresh();
        }
        underlay_.retry();
        host_ports_->repair();
      }
      if (ticks_ % kTicksPerRefresh == 0) underlay_.refresh();
      tick();
    });
  }

  asio::io_context& io_;
  std::uint64_t instance_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  SteadyClock clock_;
  // Tables destroy ports, which give their frames back to the pool.
  forward::FramePool pool_;
  forward::Tables tables_;
  PortIds ids_;
  std::shared_ptr<TunIo> tuns_;
  std::unique_ptr<netlink::Netlink> netlink_;
  std::unique_ptr<xdp::Steering> steering_;
  std::unique_ptr<WorkerThread> worker_;
  Uplinks uplinks_;
  std::unique_ptr<HostPorts> host_ports_;
  Underlay underlay_;
  TableApplier applier_;
  SaStore sas_;
  std::unique_ptr<ipc::TableServer> table_server_;
  std::unique_ptr<SaServer> sa_server_;
  std::unique_ptr<netlink::Monitor> monitor_;
  asio::steady_timer tick_timer_;
  asio::steady_timer debounce_timer_;
  unsigned ticks_ = 0;
  bool looking_ = false;
  bool uplinks_changed_ = false;
};

}  // namespace

Result<std::unique_ptr<Forwarder>> Forwarder::start(asio::io_context& io, const ForwarderOptions& options) {
  auto steering = xdp::Steering::create();
  if (!steering) return Unexpected(steering.error());
  auto netlink = netlink::Netlink::open();
  if (!netlink) return Unexpected(netlink.error());
  auto pool = forward::FramePool::create(options.frames);
  if (!pool) return Unexpected(pool.error());
  std::random_device random;
  const std::uint64_t instance = (std::uint64_t{random()} << 32) | random();
  auto forwarder =
      std::make_unique<LiveForwarder>(io, *std::move(pool), *std::move(netlink), *std::move(steering), instance);
  if (auto ok = forwarder->begin(options); !ok) return Unexpected(ok.error());
  return std::unique_ptr<Forwarder>(std::move(forwarder));
}

}  // namespace simplon::forwarder
