// SPDX-License-Identifier: GPL-2.0-or-later
//
// A described packet is traced here and now: this thread is the tables' writer. For a real one a Watch is given to the worker,
// and this side looks now and then whether it has seen its packet. A capture is the same for many packets, read by whoever asked
// for it, and given up when that one goes.
#include "gateway/forwarder/inspector.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/forward/capture.h"
#include "gateway/forward/trace.h"
#include "gateway/forwarder/attachment_ref.h"

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr auto kLookAgain = 5ms;
// Of one message of a capture: well below the limit of the protocol.
constexpr std::size_t kPacketsAtOnce = 512;

forward::PacketFilter filter_of(const ipc::PacketFilter& from) {
  forward::PacketFilter filter;
  filter.source = from.source;
  filter.destination = from.destination;
  filter.host = from.host;
  filter.protocol = from.protocol;
  filter.source_port = from.source_port;
  filter.destination_port = from.destination_port;
  filter.port = from.port;
  return filter;
}

std::optional<forward::Drop> find_drop(const std::string& name) {
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    if (forward::kDropInfo[i].counter == name) return static_cast<forward::Drop>(i);
  }
  return std::nullopt;
}

ipc::TraceReply refusal(std::uint64_t token, const Error& error) {
  ipc::TraceReply reply;
  reply.token = token;
  reply.error = error.what;
  reply.hint = error.hint;
  return reply;
}

// Not inside a coroutine: GCC 12 destroys the strings of a braced temporary there twice.
ipc::TraceReply gone(std::uint64_t token) {
  return refusal(token, make_error(ErrorCode::kUnavailable, "the forwarder ends", "try again in a moment"));
}

ipc::TraceReply reply_of(std::uint64_t token, const forward::Trace& trace, const Inspector::Ports& ports) {
  ipc::TraceReply reply;
  reply.token = token;
  reply.verdict = static_cast<ipc::TraceVerdict>(trace.verdict);
  if (trace.drop) {
    const forward::DropInfo& drop = forward::info(*trace.drop);
    reply.drop = drop.counter;
    reply.reference = drop.reference;
    reply.sentence = drop.sentence;
    reply.remedy = forward::remedy(*trace.drop);
  }
  for (const forward::TraceStep& step : trace.steps) {
    ipc::TraceStep& told = reply.steps.emplace_back();
    told.stage = step.stage;
    told.packet = step.packet;
    told.drop = step.drop;
    for (const forward::TraceFact& fact : step.facts) {
      ipc::TraceFact& one = told.facts.emplace_back();
      one.name = fact.name;
      one.value = fact.value;
      if (fact.attachment) one.attachment = ref_of(*fact.attachment);
      one.domain = fact.domain;
      if (!fact.port) continue;
      std::string name = ports.name(*fact.port);
      if (name.empty()) name = "no interface";
      one.value = fact.value.empty() ? name : name + " " + fact.value;
    }
  }
  return reply;
}

}  // namespace

struct Inspector::Core {
  Core(asio::io_context& io_, forward::Tables& tables_, const Clock& clock_, Ports ports_,
       std::function<void(forward::Watch*)> install)
      : io(io_), tables(tables_), clock(clock_), ports(std::move(ports_)), watchers(tables_, std::move(install)) {}

  asio::io_context& io;
  forward::Tables& tables;
  const Clock& clock;
  Ports ports;
  forward::Watchers watchers;
  std::size_t looking = 0;

  [[nodiscard]] Result<void> may_look() const {
    if (looking < kMost) return {};
    return fail(ErrorCode::kExhausted, std::to_string(kMost) + " captures and live traces run already", "end one of them");
  }

  [[nodiscard]] Result<forward::Trace> describe(const ipc::TraceRequest& request) const {
    forward::DescribedPacket packet;
    packet.from = attachment_of(request.from);
    packet.from_kernel = request.from_kernel;
    packet.vtep = request.vtep;
    packet.packet = request.packet;
    return forward::trace(tables, clock, packet);
  }

  [[nodiscard]] Result<std::unique_ptr<forward::LiveTrace>> watch_for(const ipc::TraceRequest& request) {
    if (auto may = may_look(); !may) return Unexpected(may.error());
    auto live = forward::LiveTrace::create(tables, attachment_of(request.from), filter_of(request.filter));
    if (!live) return live;
    ++looking;
    watchers.add((*live)->watch());
    return live;
  }

  [[nodiscard]] ipc::TraceReply end(const ipc::TraceRequest& request, const forward::LiveTrace& live) {
    watchers.remove(live.watch());
    --looking;
    if (live.done()) return reply_of(request.token, live.explain(tables), ports);
    return refusal(request.token,
                   make_error(ErrorCode::kUnavailable,
                              "no such packet came within " + std::to_string(request.wait_seconds) + " s",
                              "does it reach the gateway at all? simplon capture uplink:NAME -w FILE has what comes; simplon capture "
                              "--drops -w FILE what is refused before its attachment is known"));
  }

  static asio::awaitable<ipc::TraceReply> trace(std::shared_ptr<Core> self, ipc::TraceRequest request) {
    if (!request.live) {
      const auto trace = self->describe(request);
      if (!trace) co_return refusal(request.token, trace.error());
      co_return reply_of(request.token, *trace, self->ports);
    }
    const auto live = self->watch_for(request);
    if (!live) co_return refusal(request.token, live.error());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(request.wait_seconds);
    asio::steady_timer timer(self->io);
    const std::weak_ptr<Core> weak = self;
    self.reset();
    for (;;) {
      if ((*live)->done() || std::chrono::steady_clock::now() >= deadline) break;
      boost::system::error_code ignored;
      timer.expires_after(kLookAgain);
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      if (weak.expired()) co_return gone(request.token);
    }
    const auto core = weak.lock();
    if (!core) co_return gone(request.token);
    co_return core->end(request, **live);
  }

  [[nodiscard]] Result<forward::CaptureSpec> spec_of(const ipc::CaptureRequest& request) const {
    forward::CaptureSpec spec;
    spec.points = request.points;
    spec.snaplen = request.snaplen;
    spec.filter = filter_of(request.filter);
    if (request.attachment) spec.attachment = attachment_of(*request.attachment);
    if (!request.uplink.empty()) {
      spec.uplink = ports.uplink(request.uplink);
      if (!spec.uplink) {
        return fail(ErrorCode::kInvalidConfig, "there is no open uplink " + request.uplink, "simplon status shows the uplinks");
      }
    }
    if (!request.drop.empty()) {
      spec.drop = find_drop(request.drop);
      if (!spec.drop) {
        return fail(ErrorCode::kInvalidConfig, "there is no drop reason " + request.drop, "simplon drop show --all lists them");
      }
    }
    return spec;
  }
};

/// Looks for the capture in vain when the Inspector is gone.
class Inspector::Feed final : public ipc::CaptureFeed {
 public:
  Feed(const std::shared_ptr<Core>& core, std::unique_ptr<forward::Capture> capture)
      : core_(core), capture_(std::move(capture)) {
    ++core->looking;
    core->watchers.add(capture_->watch());
    const auto real = std::chrono::system_clock::now().time_since_epoch();
    offset_ns_ = std::chrono::duration_cast<std::chrono::nanoseconds>(real).count() -
                 static_cast<std::int64_t>(to_ns(core->clock.now()));
  }
  ~Feed() override {
    const auto core = core_.lock();
    if (!core) return;
    core->watchers.remove(capture_->watch());
    --core->looking;
  }

  ipc::CaptureData take() override {
    ipc::CaptureData data;
    const auto core = core_.lock();
    if (!core) return data;
    for (forward::Captured& packet : capture_->take(kPacketsAtOnce)) {
      ipc::CapturedPacket& told = data.packets.emplace_back();
      told.time_ns = packet.time_ns + static_cast<std::uint64_t>(offset_ns_);
      told.point = static_cast<ipc::CapturePoint>(packet.point);
      told.ethernet = packet.ethernet;
      if (packet.attachment != 0) {
        if (const auto id = core->tables.attachment_at(packet.attachment)) told.attachment = ref_of(*id);
      }
      if (packet.ethernet) told.uplink = core->ports.name(packet.port);
      if (packet.drop) told.drop = forward::info(*packet.drop).counter;
      told.length = packet.length;
      told.bytes = std::move(packet.bytes);
    }
    data.lost = capture_->lost();
    return data;
  }

 private:
  std::weak_ptr<Core> core_;
  std::unique_ptr<forward::Capture> capture_;
  std::int64_t offset_ns_ = 0;
};

Inspector::Inspector(asio::io_context& io, forward::Tables& tables, const Clock& clock, Ports ports,
                     std::function<void(forward::Watch*)> install)
    : core_(std::make_shared<Core>(io, tables, clock, std::move(ports), std::move(install))) {}
Inspector::~Inspector() = default;

asio::awaitable<ipc::TraceReply> Inspector::trace(ipc::TraceRequest request) { return Core::trace(core_, std::move(request)); }

Result<std::unique_ptr<ipc::CaptureFeed>> Inspector::capture(const ipc::CaptureRequest& request) {
  const auto spec = core_->spec_of(request);
  if (!spec) return Unexpected(spec.error());
  if (auto may = core_->may_look(); !may) return Unexpected(may.error());
  auto capture = forward::Capture::create(core_->tables, *spec);
  if (!capture) return Unexpected(capture.error());
  return std::unique_ptr<ipc::CaptureFeed>(std::make_unique<Feed>(core_, *std::move(capture)));
}

}  // namespace simplon::forwarder
