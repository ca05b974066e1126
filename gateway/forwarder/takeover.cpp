// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/takeover.h"

#include <utility>
#include <variant>

#include "gateway/forwarder/connection_stats.h"
#include "gateway/ipc/table_protocol.h"

namespace simplon::forwarder {

Result<forward::FramePool> take_packet_memory(TakenHandover& former) {
  const auto frames = static_cast<std::size_t>(former.state.frames);
  const auto slots = static_cast<std::size_t>(former.state.slots);
  std::vector<std::uint64_t> in_use(static_cast<std::size_t>(former.state.all_frames()) / 64 + 1);
  for (const auto& uplink : former.state.uplinks) {
    for (const auto& queue : uplink.queues) {
      for (std::size_t i = 0; i < in_use.size(); ++i) in_use[i] |= queue.receiving[i] | queue.sending[i];
    }
  }
  return forward::FramePool::adopt(std::move(former.descriptors.front()), frames, in_use, slots);
}

void inherit_devices(TakenHandover& former, Uplinks& uplinks, HostPorts& host_ports) {
  auto descriptor = former.descriptors.begin() + 1;
  for (auto& state : former.state.uplinks) {
    Uplinks::Inherited inherited;
    inherited.link = std::move(*descriptor++);
    if (state.has_backlog) inherited.backlog = std::move(*descriptor++);
    for (const HandedQueue& queue : state.queues) {
      auto& sockets = inherited.sockets.emplace_back(std::move(*descriptor++), sys::UniqueFd());
      if (queue.has_control) sockets.second = std::move(*descriptor++);
    }
    inherited.state = std::move(state);
    uplinks.inherit(std::move(inherited));
  }
  for (const auto& attachment : former.state.host_ports) host_ports.inherit(attachment, std::move(*descriptor++));
}

Result<std::vector<forward::ConnectionView>> replay_tables(const std::vector<std::uint8_t>& tables, TableApplier& applier) {
  std::vector<forward::ConnectionView> views;
  ipc::TableFramer framer;
  framer.append(tables);
  for (;;) {
    auto envelope = framer.next();
    if (!envelope) return Unexpected(envelope.error());
    if (!envelope->has_value()) return views;
    const auto message = ipc::decode_table_message(**envelope);
    if (!message) return Unexpected(message.error());
    if (const auto* connections = std::get_if<ipc::Stats>(&*message)) {
      for (const auto& one : connections->connections) views.push_back(connection_view(one));
      continue;
    }
    const auto* update = std::get_if<ipc::Update>(&*message);
    if (update == nullptr) return fail(ErrorCode::kPeer, "the tables that were handed over hold another message");
    const auto errors = applier.apply(*update);
    if (!errors.empty()) return fail(ErrorCode::kPeer, "tables that were handed over: " + errors.front().what);
  }
}

void append_connections(const forward::Tables& tables, std::uint64_t now, std::vector<std::uint8_t>& stream) {
  constexpr std::size_t kAtOnce = 10'000;
  ipc::Stats part;
  const auto flush = [&] {
    const auto frame = ipc::encode_table_message(part);
    stream.insert(stream.end(), frame.begin(), frame.end());
    part.connections.clear();
  };
  for (const auto& view : tables.list_connections(tables.max_connections(), now)) {
    part.connections.push_back(connection_stats(view));
    if (part.connections.size() == kAtOnce) flush();
  }
  if (!part.connections.empty()) flush();
}

}  // namespace simplon::forwarder
