// SPDX-License-Identifier: GPL-2.0-or-later
//
// Looking inside the forwarder: its answers with the names of the configuration in place of numbers.

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include <boost/asio/use_awaitable.hpp>

#include "gateway/daemon/backend.h"
#include "gateway/daemon/src/packet_words.h"
#include "gateway/daemon/src/pcapng.h"

namespace simplon::daemon {

using nlohmann::json;
namespace asio = boost::asio;

namespace {

constexpr std::uint64_t kDefaultWaitSeconds = 10;
constexpr std::uint64_t kDefaultSnaplen = 65535;
constexpr std::uint64_t kLeastSnaplen = 64;

constexpr std::uint8_t bit(ipc::CapturePoint point) { return static_cast<std::uint8_t>(point); }

/// Names of what the forwarder knows by number.
class Names {
 public:
  Names(const GatewayConfig& config, const config::IdRegistry& ids) {
    for (const auto& vpc : config.vpcs) attachments_[ipc::AttachmentRef::vpc(vpc.vni)] = "vpc:" + vpc.name;
    for (const auto& tunnel : config.tunnels) {
      if (const auto id = ids.tunnel(tunnel.name)) attachments_[ipc::AttachmentRef::tunnel(*id)] = "tunnel:" + tunnel.name;
    }
    for (const auto& circuit : config.circuits) {
      if (const auto id = ids.circuit(circuit.name)) attachments_[ipc::AttachmentRef::circuit(*id)] = "circuit:" + circuit.name;
    }
    for (const auto& domain : config.domains) {
      if (const auto id = ids.domain(domain.name)) domains_[*id] = domain.name;
    }
  }

  [[nodiscard]] std::string of(const ipc::AttachmentRef& ref) const {
    const auto found = attachments_.find(ref);
    if (found != attachments_.end()) return found->second;
    const char* kind = ref.kind == ipc::AttachmentKind::kVpc      ? "VPC with VNI "
                       : ref.kind == ipc::AttachmentKind::kTunnel ? "tunnel with id "
                                                                  : "circuit with id ";
    return kind + std::to_string(ref.id);
  }
  [[nodiscard]] std::string of(DomainId id) const {
    const auto found = domains_.find(id);
    return found == domains_.end() ? "domain " + std::to_string(id.value()) : found->second;
  }
  /// What a fact is about, and the rest of it.
  [[nodiscard]] std::string of(const ipc::TraceFact& fact) const {
    std::string text = fact.attachment ? of(*fact.attachment) : fact.domain ? of(*fact.domain) : std::string();
    if (!fact.value.empty()) text += (text.empty() ? "" : ", ") + fact.value;
    return text;
  }

 private:
  std::map<ipc::AttachmentRef, std::string> attachments_;
  std::map<DomainId, std::string> domains_;
};

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

/// The name alone: commands take it without its kind.
std::string bare(const std::string& name) {
  const std::size_t colon = name.find(':');
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

const ipc::TraceFact* find_fact(const ipc::TraceReply& trace, const char* name) {
  for (const auto& step : trace.steps) {
    for (const auto& fact : step.facts) {
      if (step.packet == "packet" && fact.name == name) return &fact;
    }
  }
  return nullptr;
}

/// The flow of the packet, from the first fact that has it: "A -> B TCP ...".
std::string flow_of(const ipc::TraceReply& trace) {
  const auto* packet = find_fact(trace, "packet");
  return packet == nullptr ? std::string() : packet->value;
}

std::string remedy_of(const ipc::TraceReply& trace, const Names& names, const PacketPlace& from) {
  std::string text = trace.remedy;
  const std::string flow = flow_of(trace);
  std::vector<std::string> words;
  std::istringstream stream(flow);
  for (std::string one; stream >> one;) words.push_back(one);
  const auto word = [&words](std::size_t at) { return at < words.size() ? words[at] : std::string(); };
  const auto or_word = [](std::string value, const char* other) { return value.empty() ? other : value; };
  const auto* to = find_fact(trace, "to");
  const auto* nexthop = find_fact(trace, "nexthop");
  const auto* domain = find_fact(trace, "domain");
  const std::string target = to != nullptr ? names.of(*to) : nexthop != nullptr ? names.of(*nexthop) : std::string();
  const bool is_flow = flow.find(" -> ") != std::string::npos;
  replace_all(text, "{from}", from.name);
  replace_all(text, "{to}", or_word(bare(target), "NAME"));
  replace_all(text, "{domain}", or_word(domain == nullptr ? std::string() : names.of(*domain), "NAME"));
  replace_all(text, "{source}", or_word(is_flow ? word(0) : std::string(), "the source"));
  replace_all(text, "{destination}", or_word(is_flow ? word(2) : std::string(), "the destination"));
  return text;
}

const char* verdict_word(ipc::TraceVerdict verdict) {
  switch (verdict) {
    case ipc::TraceVerdict::kForwarded:
      return "forwarded";
    case ipc::TraceVerdict::kPunted:
      return "to-kernel";
    case ipc::TraceVerdict::kWaiting:
      return "waiting";
    case ipc::TraceVerdict::kNone:
    case ipc::TraceVerdict::kDropped:
      break;
  }
  return "dropped";
}

json trace_json(const ipc::TraceReply& trace, const Names& names, const PacketPlace& from, bool live) {
  json steps = json::array();
  for (const auto& step : trace.steps) {
    json facts = json::array();
    for (const auto& fact : step.facts) facts.push_back({{"name", fact.name}, {"value", names.of(fact)}});
    steps.push_back({{"stage", step.stage}, {"packet", step.packet}, {"drop", step.drop}, {"facts", std::move(facts)}});
  }
  json reply;
  reply["from"] = {{"kind", from.kind}, {"name", from.name}};
  reply["packet"] = flow_of(trace);
  reply["live"] = live;
  reply["verdict"] = verdict_word(trace.verdict);
  reply["drop"] = nullptr;
  if (!trace.drop.empty()) {
    reply["drop"] = {{"name", trace.drop},
                     {"reference", trace.reference},
                     {"sentence", trace.sentence},
                     {"remedy", remedy_of(trace, names, from)}};
  }
  reply["steps"] = std::move(steps);
  return reply;
}

Error refused(const ipc::TraceReply& trace, bool live) {
  return make_error(live ? ErrorCode::kUnavailable : ErrorCode::kInvalidConfig, trace.error, trace.hint);
}

/// The filter in words, for the audit log.
std::string words_of(const ipc::PacketQuery& query) {
  std::string text;
  const auto add = [&text](const char* what, const std::string& value) {
    if (!value.empty()) text += (text.empty() ? "" : " ") + std::string(what) + " " + value;
  };
  const auto number = [](const std::optional<std::uint64_t>& value) { return value ? std::to_string(*value) : std::string(); };
  add("source", query.source);
  add("destination", query.destination);
  add("host", query.host);
  add("protocol", query.protocol);
  add("source port", number(query.source_port));
  add("destination port", number(query.destination_port));
  add("port", number(query.port));
  return text.empty() ? "all packets" : text;
}

/// What a capture becomes: the bytes of a pcapng file.
class CaptureFile final : public ApiStream {
 public:
  struct Limits {
    std::uint64_t packets = 0;  ///< 0: none.
    MonoTime until = MonoTime::max();
  };
  CaptureFile(std::unique_ptr<ipc::CaptureStream> stream, Names names, std::map<std::string, std::string> drops, Limits limits,
              const Clock& clock, std::string software)
      : stream_(std::move(stream)),
        names_(std::move(names)),
        drops_(std::move(drops)),
        limits_(limits),
        clock_(clock),
        writer_(std::move(software)) {}

  asio::awaitable<std::optional<std::string>> next() override {
    if (ended_) co_return std::nullopt;
    std::string text;
    if (!begun_) {
      begun_ = true;
      text = writer_.begin();
      co_return text;
    }
    const auto data = co_await stream_->next();
    if (data) {
      // Told at once: who ends a capture does not see its end.
      if (lost_ != data->lost && written_ != 0) text += writer_.end(last_, data->lost);
      lost_ = data->lost;
      for (const auto& packet : data->packets) {
        text += add(packet);
        ++written_;
        if (limits_.packets != 0 && written_ >= limits_.packets) break;
      }
    }
    const bool enough = limits_.packets != 0 && written_ >= limits_.packets;
    if (!data || enough || clock_.now() >= limits_.until) {
      text += writer_.end(last_, lost_);
      ended_ = true;
    }
    co_return text;
  }

 private:
  std::string add(const ipc::CapturedPacket& packet) {
    using enum ipc::CapturePoint;
    PcapngWriter::Packet written;
    written.time_ns = last_ = packet.time_ns;
    written.length = packet.length;
    written.bytes = packet.bytes;
    const bool in = packet.point == kInnerIn || packet.point == kWireIn || packet.point == kHostIn;
    if (packet.point != kDropped) written.direction = in ? PcapngWriter::Direction::kIn : PcapngWriter::Direction::kOut;
    PcapngWriter::Place place;
    place.ethernet = packet.ethernet;
    place.name = packet.ethernet && !packet.uplink.empty() ? packet.uplink
                 : packet.attachment                       ? names_.of(*packet.attachment)
                                                           : "unknown";
    if (packet.point == kHostIn || packet.point == kHostOut) place.name += " kernel";
    if (!packet.drop.empty()) {
      place.name += " dropped";
      const auto known = drops_.find(packet.drop);
      written.comment = "dropped: " + packet.drop + (known == drops_.end() ? "" : ": " + known->second);
    } else if (packet.ethernet && packet.attachment) {
      written.comment = names_.of(*packet.attachment);
    }
    return writer_.add(place, written);
  }

  std::unique_ptr<ipc::CaptureStream> stream_;
  Names names_;
  std::map<std::string, std::string> drops_;
  Limits limits_;
  const Clock& clock_;
  PcapngWriter writer_;
  bool begun_ = false;
  bool ended_ = false;
  std::uint64_t written_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t last_ = 0;
};

Result<ipc::CaptureRequest> capture_request(const ipc::PacketQuery& query, const GatewayConfig& config,
                                            const config::IdRegistry& ids) {
  using enum ipc::CapturePoint;
  constexpr std::string_view kUplink = "uplink:";
  ipc::CaptureRequest request;
  const bool uplink = query.from.starts_with(kUplink);
  if (query.from.empty() && !query.drops) {
    return fail(ErrorCode::kInvalidConfig, "it is not said where to capture", "vpc:NAME, tunnel:NAME, circuit:NAME, uplink:NAME, or drops");
  }
  if (!query.reason.empty() && !query.drops) return fail(ErrorCode::kInvalidConfig, "a drop reason, but no drops", "say drops too");
  if (uplink && (query.before_crypto || query.kernel)) {
    return fail(ErrorCode::kInvalidConfig, "an uplink carries frames, behind encryption", "capture the tunnel or VPC instead");
  }
  if (uplink) {
    request.uplink = query.from.substr(kUplink.size());
  } else if (!query.from.empty()) {
    auto place = find_place(query.from, config, ids);
    if (!place) return Unexpected(place.error());
    request.attachment = place->attachment;
  }
  unsigned points = 0;
  if (query.drops) points |= bit(kDropped);
  if (query.before_crypto) points |= bit(kInnerIn) | bit(kInnerOut);
  if (query.after_crypto) points |= bit(kWireIn) | bit(kWireOut);
  if (query.kernel) points |= bit(kHostIn) | bit(kHostOut);
  if (points == 0) points = uplink ? bit(kWireIn) | bit(kWireOut) : bit(kInnerIn) | bit(kInnerOut);
  request.points = static_cast<std::uint8_t>(points);
  request.drop = query.reason;
  const std::uint64_t snaplen = query.snaplen.value_or(kDefaultSnaplen);
  if (snaplen < kLeastSnaplen || snaplen > kDefaultSnaplen) {
    return fail(ErrorCode::kInvalidConfig, "a snaplen of " + std::to_string(snaplen), "64 to 65535");
  }
  request.snaplen = static_cast<std::uint32_t>(snaplen);
  auto filter = filter_of(query);
  if (!filter) return Unexpected(filter.error());
  request.filter = *std::move(filter);
  return request;
}

}  // namespace

asio::awaitable<ApiResult> Backend::trace(ipc::PacketQuery query) {
  const auto from = find_place(query.from, parts_.reconciler.config(), parts_.ids);
  if (!from) co_return tl::unexpected(ApiFailure(from.error()));
  auto packet = build_packet(query);
  if (!packet) co_return tl::unexpected(ApiFailure(packet.error()));
  ipc::TraceRequest request;
  request.from = from->attachment;
  request.packet = *std::move(packet);
  request.from_kernel = query.from_kernel;
  if (!query.vtep.empty()) {
    const auto vtep = IpAddress::parse(query.vtep);
    if (!vtep) co_return tl::unexpected(ApiFailure(vtep.error()));
    request.vtep = *vtep;
  }
  co_return co_await ask_trace(*from, std::move(request));
}

asio::awaitable<ApiResult> Backend::trace_live(config::Author who, ipc::PacketQuery query) {
  const auto from = find_place(query.from, parts_.reconciler.config(), parts_.ids);
  if (!from) co_return tl::unexpected(ApiFailure(from.error()));
  auto filter = filter_of(query);
  if (!filter) co_return tl::unexpected(ApiFailure(filter.error()));
  if (auto noted = note(who, "trace live", query.from, true, words_of(query)); !noted) co_return tl::unexpected(ApiFailure(noted.error()));
  ipc::TraceRequest request;
  request.from = from->attachment;
  request.live = true;
  request.filter = *std::move(filter);
  request.wait_seconds = static_cast<std::uint32_t>(query.seconds.value_or(kDefaultWaitSeconds));
  co_return co_await ask_trace(*from, std::move(request));
}

asio::awaitable<ApiResult> Backend::ask_trace(PacketPlace from, ipc::TraceRequest request) {
  const bool live = request.live;
  Result<ipc::TraceReply> trace;
  if (live) {
    trace = co_await parts_.trace_live(std::move(request));
  } else {
    trace = co_await parts_.observer.trace(std::move(request));
  }
  if (!trace) co_return tl::unexpected(ApiFailure(trace.error()));
  if (!trace->error.empty()) co_return tl::unexpected(ApiFailure(refused(*trace, live)));
  const Names names(parts_.reconciler.config(), parts_.ids);
  json reply = trace_json(*trace, names, from, live);
  const auto status = parts_.reconciler.programmed();
  reply["generation"] = status.connected ? json(status.confirmed) : json(nullptr);
  co_return reply;
}

asio::awaitable<ApiStreamResult> Backend::capture(config::Author who, ipc::PacketQuery query) {
  auto request = capture_request(query, parts_.reconciler.config(), parts_.ids);
  std::map<std::string, std::string> drops;
  if (const auto stats = co_await ask_forwarder()) {
    for (const auto& drop : stats->drops) drops[drop.name] = drop.sentence + " (" + drop.reference + ")";
  }
  const std::string subject = query.from.empty() ? "drops" : query.from;
  Result<void> opened;
  std::unique_ptr<ipc::CaptureStream> stream;
  if (!request) {
    opened = Unexpected(request.error());
  } else {
    stream = parts_.open_capture();
    opened = co_await stream->open(*std::move(request));
  }
  auto noted = note(who, "capture", subject, opened.has_value(), opened ? words_of(query) : opened.error().message());
  if (!opened) co_return tl::unexpected(ApiFailure(opened.error()));
  if (!noted) co_return tl::unexpected(ApiFailure(noted.error()));
  CaptureFile::Limits limits;
  limits.packets = query.count.value_or(0);
  if (query.seconds) limits.until = parts_.clock.now() + std::chrono::seconds(static_cast<std::int64_t>(*query.seconds));
  Names names(parts_.reconciler.config(), parts_.ids);
  co_return std::make_unique<CaptureFile>(std::move(stream), std::move(names), std::move(drops), limits, parts_.clock, software_);
}

}  // namespace simplon::daemon
