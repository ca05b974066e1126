// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/takeover.h"

#include <utility>
#include <variant>

#include "gateway/forwarder/connection_stats.h"
#include "gateway/ipc/table_protocol.h"

namespace simplon::forwarder {

namespace {

/// `visit(message)` for each, until it fails.
template <class Visit>
Result<void> for_each_message(const std::vector<std::uint8_t>& stream, Visit&& visit) {
  ipc::TableFramer framer;
  framer.append(stream);
  for (;;) {
    auto envelope = framer.next();
    if (!envelope) return Unexpected(envelope.error());
    if (!envelope->has_value()) return {};
    const auto message = ipc::decode_table_message(**envelope);
    if (!message) return Unexpected(message.error());
    if (Result<void> ok = visit(*message); !ok) return ok;
  }
}

}  // namespace

Result<forward::FramePool> take_packet_memory(Taken<HandedTables>& former) {
  return forward::FramePool::adopt(std::move(former.descriptors.front()), static_cast<std::size_t>(former.state.frames),
                                   static_cast<std::size_t>(former.state.slots));
}

void inherit_host_ports(Taken<HandedTables>& former, HostPorts& host_ports) {
  auto descriptor = former.descriptors.begin() + 1;
  for (const auto& attachment : former.state.host_ports) host_ports.inherit(attachment, std::move(*descriptor++));
}

Result<void> replay_tables(const std::vector<std::uint8_t>& tables, TableApplier& applier) {
  return for_each_message(tables, [&applier](const ipc::TableMessage& message) -> Result<void> {
    const auto* update = std::get_if<ipc::Update>(&message);
    if (update == nullptr) return fail(ErrorCode::kPeer, "the tables that were handed over hold another message");
    const auto errors = applier.apply(*update);
    if (!errors.empty()) return fail(ErrorCode::kPeer, "tables that were handed over: " + errors.front().what);
    return {};
  });
}

void inherit_uplinks(Taken<HandedTraffic>& former, Uplinks& uplinks) {
  auto descriptor = former.descriptors.begin();
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
}

Result<std::vector<forward::ConnectionView>> read_connections(const std::vector<std::uint8_t>& stream) {
  std::vector<forward::ConnectionView> views;
  const auto read = for_each_message(stream, [&views](const ipc::TableMessage& message) -> Result<void> {
    const auto* stats = std::get_if<ipc::Stats>(&message);
    if (stats == nullptr) return fail(ErrorCode::kPeer, "the connections that were handed over hold another message");
    for (const auto& one : stats->connections) views.push_back(connection_view(one));
    return {};
  });
  if (!read) return Unexpected(read.error());
  return views;
}

std::vector<std::uint8_t> write_connections(const forward::Tables& tables, std::uint64_t now) {
  constexpr std::size_t kAtOnce = 10'000;
  std::vector<std::uint8_t> stream;
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
  return stream;
}

}  // namespace simplon::forwarder
