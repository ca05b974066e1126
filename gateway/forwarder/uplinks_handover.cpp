// SPDX-License-Identifier: GPL-2.0-or-later
//
// Uplinks in a planned restart (handover.h): what the process that ends gives away, and what its successor makes of it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "gateway/forwarder/uplinks.h"

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;

// Chosen by us.
constexpr auto kDivertWithin = 100ms;
constexpr auto kSendWithin = 20ms;
constexpr auto kLookAgain = 200us;

[[nodiscard]] bool is_jumbo(const HandedUplink& uplink) { return !uplink.queues.empty() && uplink.queues.front().multi_buffer; }

/// Or until it has taken too long.
template <class Condition>
void wait_until(Condition&& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kDivertWithin;
  while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(kLookAgain);
}

/// What the kernel has not sent when a socket is closed may be lost.
void send_out(xdp::XskSocket& socket) {
  std::array<std::uint64_t, 64> done;
  const auto deadline = std::chrono::steady_clock::now() + kSendWithin;
  while (socket.in_flight() > 0 && std::chrono::steady_clock::now() < deadline) {
    socket.wake_sender();
    if (socket.complete(done) == 0) std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace

void Uplinks::divert(bool all) {
  // What waited for this process is older than what will wait for the next one.
  const auto is_read = [](const auto& entry) { return entry.second.backlog == nullptr || entry.second.backlog->finished(); };
  wait_until([&] { return std::all_of(uplinks_.begin(), uplinks_.end(), is_read); });
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.backlog == nullptr || uplink.backlog->finished()) continue;
    spdlog::warn("uplink {}: restarted again too soon: what had waited for this process is lost in part", name);
  }
  std::vector<std::shared_ptr<UplinkQueue>> diverted;
  for (auto& [name, uplink] : uplinks_) {
    if (uplink.index == 0 || uplink.jumbo()) continue;
    const auto first = uplink.sockets.front().lock();
    if (!all && first->socket().can_be_handed_over()) continue;
    auto backlog = Backlog::open(netlink_);
    auto done = backlog ? uplink.program->divert((*backlog)->interface_index()) : Result<void>(Unexpected(backlog.error()));
    if (!done) {
      spdlog::warn("uplink {}: what arrives until the next process runs is lost: {}", name, done.error().message());
      continue;
    }
    uplink.backlog = *std::move(backlog);
    for (const auto& socket : uplink.sockets) diverted.push_back(socket.lock());
  }
  const auto received = [](const auto& queue) { return queue->socket().received_all(); };
  wait_until([&] { return std::all_of(diverted.begin(), diverted.end(), received); });
}

std::vector<HandedProgram> Uplinks::programs() const {
  std::vector<HandedProgram> all;
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.index != 0) all.push_back({name, uplink.index, uplink.program->mode(), uplink.jumbo()});
  }
  return all;
}

std::vector<HandedUplink> Uplinks::hand_over(std::vector<int>& descriptors) {
  std::vector<HandedUplink> all;
  for (const auto& [name, uplink] : uplinks_) {
    if (uplink.index == 0) continue;
    HandedUplink handed{name, uplink.index, uplink.mac, uplink.program->mode(), uplink.diverted(), {}};
    descriptors.push_back(uplink.program->link_fd());
    if (handed.has_backlog) {
      for (const auto& queue : uplink.sockets) {
        send_out(queue.lock()->socket());
        queue.lock()->socket().close();
      }
      descriptors.push_back(uplink.backlog->fd());
      all.push_back(std::move(handed));
      continue;
    }
    handed.queues = uplink.queues;
    for (std::size_t i = 0; i < handed.queues.size(); ++i) {
      const auto queue = uplink.sockets[i].lock();
      SIMPLON_CHECK(queue != nullptr);
      const auto owned = queue->socket().owned_bits();
      handed.queues[i].receiving.assign(owned.receiving.begin(), owned.receiving.end());
      handed.queues[i].sending.assign(owned.sending.begin(), owned.sending.end());
      // A socket that does not know the slots has none of them.
      const std::size_t words = pools_.front().all_frames() / 64 + 1;
      handed.queues[i].receiving.resize(words);
      handed.queues[i].sending.resize(words);
      descriptors.push_back(queue->socket().fd());
      if (handed.queues[i].has_control) descriptors.push_back(queue->socket().control_fd());
    }
    all.push_back(std::move(handed));
  }
  return all;
}

void Uplinks::prepare(const HandedProgram& program) {
  auto loading = std::async(std::launch::async, [this, program] {
    return xdp::UplinkProgram::prepare(steering_, program.index, program.mode, program.multi_buffer);
  });
  prepared_.insert_or_assign(program.interface, Prepared{program, std::move(loading)});
}

void Uplinks::wait_until_prepared() const {
  for (const auto& [name, prepared] : prepared_) prepared.program.wait();
}

void Uplinks::inherit(Inherited inherited) {
  const HandedUplink& state = inherited.state;
  const std::string name = state.interface;
  const auto found = prepared_.find(name);
  // The one it was prepared for may be another one by now.
  const HandedProgram wanted{name, state.index, state.mode, is_jumbo(state)};
  if (found == prepared_.end() || found->second.wanted != wanted) prepare(wanted);
  auto prepared = prepared_.extract(name);
  inherited_.insert_or_assign(name, Adoption{std::move(inherited), std::move(prepared.mapped())});
}

Result<Uplinks::Opened> Uplinks::adopt(const std::string& name, const netlink::Interface& link, Adoption adoption) {
  Inherited& inherited = adoption.inherited;
  const HandedUplink& state = inherited.state;
  if (state.index != link.index || state.mac != link.mac) {
    return fail(ErrorCode::kPeer, name + " is another interface than the one handed over");
  }
  if (needs_jumbo(link) && !is_jumbo(state)) return fail(ErrorCode::kPeer, "the sockets of " + name + " are not for jumbo frames");
  auto program = adoption.prepared.program.get();
  if (!program) return Unexpected(program.error());
  Opened opened;
  opened.program = *std::move(program);
  if (auto ok = opened.program->adopt(std::move(inherited.link)); !ok) return Unexpected(ok.error());
  if (state.has_backlog) opened.backlog = std::make_shared<Backlog>(std::move(inherited.backlog));
  const auto ready = state.has_backlog ? open_sockets(name, link, opened) : adopt_sockets(name, inherited, opened);
  if (!ready) return Unexpected(ready.error());
  opened.takes_over = true;
  return opened;
}

Result<void> Uplinks::adopt_sockets(const std::string& name, Inherited& inherited, Opened& opened) {
  const HandedUplink& state = inherited.state;
  for (std::size_t i = 0; i < state.queues.size(); ++i) {
    const HandedQueue& queue = state.queues[i];
    auto& [data, control] = inherited.sockets[i];
    xdp::XskSocket::Handed handed{std::move(data), std::move(control), queue.zero_copy, queue.receiving, queue.sending};
    auto socket = xdp::XskSocket::adopt(socket_options(name, queue, pools_.front()), std::move(handed));
    if (!socket) return Unexpected(socket.error());
    if (auto ok = opened.program->set_socket(queue.queue, (*socket)->fd(), (*socket)->control_fd()); !ok) {
      return Unexpected(ok.error());
    }
    HandedQueue described = queue;
    described.receiving.clear();
    described.sending.clear();
    opened.queues.push_back(std::move(described));
    opened.sockets.push_back(*std::move(socket));
  }
  opened.queues_then = static_cast<std::uint32_t>(opened.queues.size());
  return {};
}

void Uplinks::give_back(const HandedUplink& uplink) {
  forward::FramePool& pool = pools_.front();
  for (const HandedQueue& queue : uplink.queues) {
    for (std::size_t frame = 0; frame < pool.all_frames(); ++frame) {
      const std::uint64_t owned = queue.receiving[frame / 64] | queue.sending[frame / 64];
      if ((owned >> (frame % 64) & 1) != 0) pool.release_remote(pool.at(frame * forward::kFrameBytes));
    }
  }
}

void Uplinks::drop(Adoption adoption) {
  const HandedUplink state = std::move(adoption.inherited.state);
  spdlog::warn("uplink {}: handed over, but not there any more", state.interface);
  static_cast<void>(adoption.prepared.program.get());
  adoption.inherited.sockets.clear();
  give_back(state);
}

void Uplinks::end_backlog(const std::string& name, Uplink& uplink) {
  if (uplink.backlog == nullptr || !uplink.backlog->finished()) return;
  spdlog::info("uplink {}: {} packets had waited for this process", name, uplink.backlog->received());
  uplink.backlog->close();
  uplink.backlog.reset();
}

}  // namespace simplon::forwarder
