// SPDX-License-Identifier: GPL-2.0-or-later
//
// One coroutine keeps the connection: connect, exchange Hellos, read until it breaks, again. Requests put frames into a
// queue that a second coroutine writes, and wait on a timer of their own; the reader leaves the answer and cancels
// the timer. When the connection breaks, every waiter is left an error. The state is shared by the coroutines and the
// TableClient, so that the client may be destroyed at any time, also from its own callbacks.
#include "gateway/ipc/table_client.h"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "gateway/ipc/table_protocol.h"

namespace simplon::ipc {
namespace {

namespace asio = boost::asio;
using Socket = asio::local::stream_protocol::socket;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto kAnswerWithin = 10s;
constexpr auto kHelloWithin = 2s;
// A forwarder that was killed is back within tens of milliseconds, and no packet is forwarded until it has our tables: asked
// for often at first, and an attempt that finds no socket costs next to nothing.
constexpr auto kFirstPause = 10ms;
constexpr int kQuickAttempts = 100;
constexpr auto kLongestPause = 2s;
// Chosen by us: the forwarder applies a part while the next is on its way.
constexpr std::size_t kUpdateBytes = std::size_t{4} << 20;

Error not_connected(const std::string& path) {
  return make_error(ErrorCode::kUnavailable, "no connection to the forwarder at " + path, "is simplon-forwarder running?");
}

/// Upper bound of the encoded size, generous: FlatBuffers adds offsets and padding.
struct SizeEstimate {
  std::size_t operator()(const Domain& d) const { return 64 + d.name.size(); }
  std::size_t operator()(const Uplink& u) const { return 64 + u.interface.size(); }
  std::size_t operator()(const Vpc& v) const {
    return 192 + v.name.size() + 64 * v.prefixes.size() + 48 * v.accepted_vteps.size();
  }
  std::size_t operator()(const Endpoint&) const { return 160; }
  std::size_t operator()(const Tunnel& t) const { return 160 + t.name.size(); }
  std::size_t operator()(const Circuit& c) const { return 160 + c.name.size() + c.interface.size(); }
  std::size_t operator()(const HostPort& h) const {
    return 160 + h.interface.size() + h.netns.size() + 64 * h.addresses.size();
  }
  std::size_t operator()(const Route& r) const { return 160 + 64 * r.nexthops.size(); }
  std::size_t operator()(const Acl& a) const {
    std::size_t bytes = 96 + a.name.size();
    for (const AclRule& rule : a.rules) {
      bytes += 192 + rule.name.size() + 64 * (rule.sources.size() + rule.destinations.size()) +
               32 * (rule.source_ports.size() + rule.destination_ports.size());
    }
    return bytes;
  }
  std::size_t operator()(const Policy& p) const { return 192 + p.acl.size(); }
  std::size_t operator()(const Nat& n) const {
    std::size_t bytes = 96;
    for (const NatRule& rule : n.rules) bytes += 320 + rule.name.size() + 64 * rule.sources.size();
    return bytes;
  }
};

/// An answer somebody waits for; the timer is the wake-up.
struct Waiter {
  explicit Waiter(asio::io_context& io) : timer(io, kAnswerWithin) {}
  asio::steady_timer timer;
  std::optional<Result<TableMessage>> answer;

  void settle(Result<TableMessage> result) {
    if (answer) return;
    answer.emplace(std::move(result));
    timer.cancel();
  }
};

struct Core : std::enable_shared_from_this<Core> {
  Core(asio::io_context& io_, TableClient::Options options_)
      : io(io_), options(std::move(options_)), socket(io_), pause(io_), hello_timer(io_) {}

  asio::io_context& io;
  TableClient::Options options;
  /// Null once the TableClient is destroyed.
  TableClient* owner = nullptr;
  Socket socket;
  asio::steady_timer pause;
  asio::steady_timer hello_timer;
  bool running = false;
  bool connected = false;
  /// What `on_disconnected` was told last; nothing since the last connection.
  std::optional<std::string> reported;
  bool writing = false;
  std::uint64_t life = 0;
  std::deque<std::vector<std::uint8_t>> outgoing;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> acks;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> statistics;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> traces;
  std::uint64_t next_generation = 1;
  std::uint64_t next_token = 1;
  Generation acknowledged{0};

  void disconnect(const Error& why) {
    error_code ignored;
    socket.close(ignored);
    connected = false;
    outgoing.clear();
    for (auto* waiters : {&acks, &statistics, &traces}) {
      for (auto& [key, waiter] : *waiters) waiter->settle(Unexpected(why));
      waiters->clear();
    }
  }

  void post(std::vector<std::uint8_t> frame) {
    outgoing.push_back(std::move(frame));
    if (writing) return;
    writing = true;
    asio::co_spawn(io, write_all(shared_from_this()), asio::detached);
  }

  static asio::awaitable<void> write_all(std::shared_ptr<Core> self) {
    const std::uint64_t life = self->life;
    while (self->life == life && !self->outgoing.empty()) {
      const auto frame = std::move(self->outgoing.front());
      self->outgoing.pop_front();
      error_code error;
      co_await asio::async_write(self->socket, asio::buffer(frame), asio::redirect_error(asio::use_awaitable, error));
      // The reader sees the loss too and reports it.
      if (error) break;
    }
    if (self->life == life) self->writing = false;
  }

  static asio::awaitable<Result<TableMessage>> wait(std::shared_ptr<Waiter> waiter) {
    error_code ignored;
    if (!waiter->answer) co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (!waiter->answer) {
      co_return fail(ErrorCode::kUnavailable, "the forwarder did not answer within 10 s");
    }
    co_return *std::move(waiter->answer);
  }

  void take(TableMessage message) {
    if (auto* ack = std::get_if<Ack>(&message)) {
      const auto found = acks.find(ack->generation.value());
      if (ack->generation > acknowledged) acknowledged = ack->generation;
      if (found == acks.end()) return;
      auto waiter = found->second;
      acks.erase(found);
      waiter->settle(std::move(message));
    } else if (auto* stats = std::get_if<Stats>(&message)) {
      const auto found = statistics.find(stats->token);
      if (found == statistics.end()) return;
      auto waiter = found->second;
      statistics.erase(found);
      waiter->settle(std::move(message));
    } else if (auto* trace = std::get_if<TraceReply>(&message)) {
      const auto found = traces.find(trace->token);
      if (found == traces.end()) return;
      auto waiter = found->second;
      traces.erase(found);
      waiter->settle(std::move(message));
    }
  }

  /// The next message, or why the connection is over.
  static asio::awaitable<Result<TableMessage>> read(std::shared_ptr<Core> self, TableFramer& framer) {
    std::vector<std::uint8_t> chunk(65536);
    for (;;) {
      auto envelope = framer.next();
      if (!envelope) co_return Unexpected(envelope.error());
      if (envelope->has_value()) co_return decode_table_message(**envelope);
      error_code error;
      const std::size_t got = co_await self->socket.async_read_some(asio::buffer(chunk),
                                                                    asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        co_return fail(ErrorCode::kUnavailable, "the forwarder at " + self->options.socket_path +
                                                    " closed the connection: " + error.message());
      }
      framer.append({chunk.data(), got});
    }
  }

  // Not inside the coroutine below: GCC 12 destroys the string of a braced temporary in a coroutine twice.
  static std::vector<std::uint8_t> hello_frame(const TableClient::Options& options) {
    return encode_table_message(
        Hello{kTableProtocolVersion, options.software, options.instance, options.observer});
  }

  /// Runs one connection to its end and says why it ended.
  static asio::awaitable<Error> run_once(std::shared_ptr<Core> self) {
    error_code error;
    self->socket = Socket(self->io);
    ++self->life;
    self->writing = false;
    co_await self->socket.async_connect(asio::local::stream_protocol::endpoint(self->options.socket_path),
                                        asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      auto why = not_connected(self->options.socket_path);
      why.what += ": " + error.message();
      co_return why;
    }
    self->post(hello_frame(self->options));
    TableFramer framer;
    self->hello_timer.expires_after(kHelloWithin);
    self->hello_timer.async_wait([self, life = self->life](const error_code& aborted) {
      error_code ignored;
      if (!aborted && self->life == life && !self->connected) self->socket.close(ignored);
    });
    auto first = co_await read(self, framer);
    self->hello_timer.cancel();
    if (!first) co_return first.error();
    const auto* hello = std::get_if<Hello>(&*first);
    if (hello == nullptr) co_return make_error(ErrorCode::kPeer, "the forwarder did not begin with Hello");
    if (hello->version != kTableProtocolVersion) {
      co_return make_error(ErrorCode::kPeer,
                           hello->software + " speaks version " + std::to_string(hello->version) +
                               " of the table protocol, this is version " + std::to_string(kTableProtocolVersion),
                           "install the same version of simplond and simplon-forwarder");
    }
    self->connected = true;
    self->reported.reset();
    if (self->owner != nullptr && self->owner->on_connected) self->owner->on_connected(hello->instance);
    for (;;) {
      auto message = co_await read(self, framer);
      if (!message) co_return message.error();
      self->take(*std::move(message));
    }
  }

  static asio::awaitable<void> run(std::shared_ptr<Core> self) {
    auto pause = std::chrono::milliseconds(kFirstPause);
    int attempts = 0;
    while (self->running) {
      const Error why = co_await run_once(self);
      if (self->connected) {
        pause = kFirstPause;
        attempts = 0;
      }
      self->disconnect(why);
      if (!self->running) break;
      if (self->reported != why.what && self->owner != nullptr && self->owner->on_disconnected) {
        self->reported = why.what;
        self->owner->on_disconnected(why);
      }
      error_code ignored;
      self->pause.expires_after(pause);
      co_await self->pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      if (++attempts >= kQuickAttempts) pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
    }
  }

  static asio::awaitable<Result<Ack>> await_ack(std::shared_ptr<Core> self, std::uint64_t generation,
                                                std::shared_ptr<Waiter> waiter) {
    auto answer = co_await wait(waiter);
    self->acks.erase(generation);
    if (!answer) co_return Unexpected(answer.error());
    co_return std::get<Ack>(*std::move(answer));
  }

  static asio::awaitable<Result<Ack>> update(std::shared_ptr<Core> self, std::vector<Operation> operations) {
    if (!self->connected) co_return Unexpected(not_connected(self->options.socket_path));
    struct Part {
      std::size_t first;
      std::uint64_t generation;
      std::shared_ptr<Waiter> waiter;
    };
    std::vector<Part> parts;
    for (std::size_t first = 0; first < operations.size() || parts.empty();) {
      std::size_t last = first;
      for (std::size_t bytes = 0; last < operations.size() && last - first < kMaxOperationsPerUpdate; ++last) {
        const std::size_t size = std::visit(SizeEstimate{}, operations[last].object);
        if (size > kMaxTableMessageBytes / 2) {
          co_return fail(ErrorCode::kExhausted, key_of(operations[last].object) + " is too large for one message");
        }
        if (last > first && bytes + size > kUpdateBytes) break;
        bytes += size;
      }
      const std::uint64_t generation = self->next_generation++;
      auto waiter = std::make_shared<Waiter>(self->io);
      self->acks.emplace(generation, waiter);
      self->post(encode_update(Generation(generation), std::span(operations).subspan(first, last - first)));
      parts.push_back({first, generation, std::move(waiter)});
      first = last;
    }
    Ack whole;
    std::optional<Error> failure;
    for (auto& part : parts) {
      // Each part gets the full time after the one before it was answered.
      part.waiter->timer.expires_after(kAnswerWithin);
      auto ack = co_await await_ack(self, part.generation, part.waiter);
      if (!ack) {
        if (!failure) failure = ack.error();
        continue;
      }
      whole.generation = ack->generation;
      for (auto& error : ack->errors) {
        whole.errors.push_back({static_cast<std::uint32_t>(part.first) + error.index, std::move(error.what)});
      }
    }
    if (failure) co_return Unexpected(*std::move(failure));
    co_return whole;
  }

  static asio::awaitable<Result<Ack>> sync_end(std::shared_ptr<Core> self, Epoch epoch) {
    if (!self->connected) co_return Unexpected(not_connected(self->options.socket_path));
    const std::uint64_t generation = self->next_generation++;
    auto waiter = std::make_shared<Waiter>(self->io);
    self->acks.emplace(generation, waiter);
    self->post(encode_table_message(SyncEnd{epoch, Generation(generation)}));
    co_return co_await await_ack(self, generation, std::move(waiter));
  }

  static asio::awaitable<Result<Stats>> stats(std::shared_ptr<Core> self, std::uint32_t connections) {
    if (!self->connected) co_return Unexpected(not_connected(self->options.socket_path));
    const std::uint64_t token = self->next_token++;
    auto waiter = std::make_shared<Waiter>(self->io);
    self->statistics.emplace(token, waiter);
    self->post(encode_table_message(StatsRequest{token, connections}));
    auto answer = co_await wait(waiter);
    self->statistics.erase(token);
    if (!answer) co_return Unexpected(answer.error());
    co_return std::get<Stats>(*std::move(answer));
  }

  static asio::awaitable<Result<TraceReply>> trace(std::shared_ptr<Core> self, TraceRequest request) {
    if (!self->connected) co_return Unexpected(not_connected(self->options.socket_path));
    const std::uint64_t token = self->next_token++;
    request.token = token;
    auto waiter = std::make_shared<Waiter>(self->io);
    self->traces.emplace(token, waiter);
    self->post(encode_table_message(std::move(request)));
    auto answer = co_await wait(waiter);
    self->traces.erase(token);
    if (!answer) co_return Unexpected(answer.error());
    co_return std::get<TraceReply>(*std::move(answer));
  }

  static asio::awaitable<Result<void>> sync_begin(std::shared_ptr<Core> self, Epoch epoch) {
    if (!self->connected) co_return Unexpected(not_connected(self->options.socket_path));
    self->post(encode_table_message(SyncBegin{epoch}));
    co_return Result<void>{};
  }
};

class AsioTableClient final : public TableClient {
 public:
  AsioTableClient(asio::io_context& io, Options options) : core_(std::make_shared<Core>(io, std::move(options))) {
    core_->owner = this;
  }
  ~AsioTableClient() override {
    core_->owner = nullptr;
    stop();
  }

  void start() override {
    if (core_->running) return;
    core_->running = true;
    asio::co_spawn(core_->io, Core::run(core_), asio::detached);
  }
  void stop() override {
    if (!core_->running) return;
    core_->running = false;
    core_->disconnect(make_error(ErrorCode::kUnavailable, "the connection to the forwarder was stopped", ""));
    core_->pause.cancel();
    core_->hello_timer.cancel();
  }
  bool connected() const override { return core_->connected; }
  Generation acknowledged() const override { return core_->acknowledged; }

  asio::awaitable<Result<void>> sync_begin(Epoch epoch) override { return Core::sync_begin(core_, epoch); }
  asio::awaitable<Result<Ack>> update(std::vector<Operation> operations) override {
    return Core::update(core_, std::move(operations));
  }
  asio::awaitable<Result<Ack>> sync_end(Epoch epoch) override { return Core::sync_end(core_, epoch); }
  asio::awaitable<Result<TraceReply>> trace(TraceRequest request) override {
    return Core::trace(core_, std::move(request));
  }
  using TableClient::stats;
  asio::awaitable<Result<Stats>> stats(std::uint32_t connections) override { return Core::stats(core_, connections); }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<TableClient> TableClient::create(asio::io_context& io, Options options) {
  return std::make_unique<AsioTableClient>(io, std::move(options));
}

}  // namespace simplon::ipc
