// SPDX-License-Identifier: GPL-2.0-or-later
//
// The format: a header (magic, version, part, length, checksum), then the fields of `HandedTables` or `HandedTraffic` in order; integers in
// host byte order (one machine), lists and strings behind their 32-bit count. Tables and SAs are messages of the protocols they came by.
// A change of the format changes the version: an upgrade or downgrade across it starts from nothing.
#include <string.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>

#include "gateway/forwarder/handover.h"
#include "gateway/ipc/sa_decode.h"
#include "platform/base/clock.h"

namespace simplon::forwarder {
namespace {

constexpr std::array<char, 8> kMagic = {'S', 'P', 'L', 'N', 'H', 'A', 'N', 'D'};
constexpr std::uint32_t kVersion = 5;

// Chosen by us: what the forwarder itself can have.
constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxSlots = std::uint64_t{1} << 16;
constexpr std::uint32_t kMaxUplinks = 4096;
constexpr std::uint32_t kMaxQueues = 256;
constexpr std::uint32_t kMaxHostPorts = 65536;
constexpr std::uint32_t kMaxRing = 65536;
constexpr std::size_t kMaxInterface = 15;
constexpr std::uint64_t kMostWatchdog = 3'600'000;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  HandedPart part = HandedPart::kTables;
  std::uint64_t length = 0;    ///< Of what follows.
  std::uint64_t checksum = 0;  ///< Over what follows.
};

/// Any change of one word changes the result: each step is a bijection of the state and of the word.
std::uint64_t checksum_of(std::span<const std::uint8_t> bytes) {
  std::uint64_t sum = 0xcbf29ce484222325U ^ bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    sum = std::rotl((sum ^ word) * 0x9e3779b97f4a7c15U, 29);
  }
  return sum;
}

/// Into the room that was left for it.
void put_header(SecretBytes& bytes, HandedPart part) {
  Header header;
  header.part = part;
  const std::span<const std::uint8_t> payload = std::span(bytes).subspan(sizeof header);
  header.length = payload.size();
  header.checksum = checksum_of(payload);
  std::memcpy(bytes.data(), &header, sizeof header);
}

/// As `to_ns` made it.
MonoTime from_ns(std::uint64_t ns) { return MonoTime(std::chrono::nanoseconds(static_cast<std::int64_t>(ns))); }

class Writer {
 public:
  template <class T>
  void number(T value) {
    static_assert(std::is_integral_v<T>);
    append(&value, sizeof value);
  }
  void bytes(std::span<const std::uint8_t> from) {
    number(static_cast<std::uint64_t>(from.size()));
    append(from.data(), from.size());
  }
  void string(const std::string& text) { bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}); }
  void words(std::span<const std::uint64_t> from) {
    number(static_cast<std::uint64_t>(from.size()));
    append(from.data(), from.size_bytes());
  }
  void count(std::size_t size) { number(static_cast<std::uint32_t>(size)); }
  /// With the header in front.
  [[nodiscard]] SecretBytes take(HandedPart part) {
    put_header(out_, part);
    return std::move(out_);
  }

 private:
  void append(const void* from, std::size_t size) {
    const auto* first = static_cast<const std::uint8_t*>(from);
    out_.insert(out_.end(), first, first + size);
  }
  SecretBytes out_ = SecretBytes(sizeof(Header));
};

/// Reads on after the first complaint, zeros and empty lists; the complaint is what counts then.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> from) : rest_(from) {}

  template <class T>
  T number(const char* field) {
    T value{};
    const auto from = take(sizeof value, field);
    if (!from.empty()) std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  std::span<const std::uint8_t> bytes(const char* field) { return take(number<std::uint64_t>(field), field); }
  std::string string(const char* field, std::size_t most) {
    const auto from = bytes(field);
    if (from.size() > most) refuse(std::string(field) + " is longer than " + std::to_string(most));
    return {from.begin(), from.end()};
  }
  std::vector<std::uint64_t> words(const char* field) {
    const auto count = number<std::uint64_t>(field);
    if (count > rest_.size() / sizeof(std::uint64_t)) {
      refuse(std::string(field) + " is longer than the rest");
      return {};
    }
    std::vector<std::uint64_t> words(count);
    const auto from = take(count * sizeof(std::uint64_t), field);
    if (!from.empty()) std::memcpy(words.data(), from.data(), from.size());
    return words;
  }
  /// How many elements follow, none of which is smaller than a byte.
  std::uint32_t count(const char* field, std::uint32_t most = 0xffffffff) {
    const auto count = number<std::uint32_t>(field);
    if (count > most || count > rest_.size()) {
      refuse(std::to_string(count) + " " + field);
      return 0;
    }
    return count;
  }
  bool flag(const char* field) {
    const auto value = number<std::uint8_t>(field);
    if (value > 1) refuse(std::string(field) + " is " + std::to_string(value));
    return value == 1;
  }
  void refuse(std::string why) {
    if (complaint_.empty()) complaint_ = std::move(why);
    rest_ = {};
  }
  [[nodiscard]] bool good() const { return complaint_.empty(); }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  /// Also if something is left.
  void end() {
    if (good() && !rest_.empty()) refuse(std::to_string(rest_.size()) + " bytes too many");
  }

 private:
  std::span<const std::uint8_t> take(std::uint64_t size, const char* field) {
    if (size > rest_.size()) {
      refuse(std::string(field) + " is cut off");
      return {};
    }
    const auto taken = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(static_cast<std::size_t>(size));
    return taken;
  }
  std::span<const std::uint8_t> rest_;
  std::string complaint_;
};

void write_secret(Writer& to, std::vector<std::uint8_t> message) {
  to.bytes(message);
  ::explicit_bzero(message.data(), message.size());
}

void write(Writer& to, const HandedUplink& uplink) {
  to.string(uplink.interface);
  to.number(uplink.index);
  to.bytes(uplink.mac.bytes);
  to.number(static_cast<std::uint8_t>(uplink.mode));
  to.number(static_cast<std::uint8_t>(uplink.has_backlog));
  to.count(uplink.queues.size());
  for (const HandedQueue& queue : uplink.queues) {
    to.number(queue.queue);
    to.number(queue.rx_ring);
    to.number(queue.tx_ring);
    to.number(queue.control_ring);
    to.number(static_cast<std::uint8_t>(queue.has_control));
    to.number(static_cast<std::uint8_t>(queue.zero_copy));
    to.number(static_cast<std::uint8_t>(queue.multi_buffer));
    to.words(queue.receiving);
    to.words(queue.sending);
  }
}

/// `used` collects the frames of all queues.
HandedUplink read_uplink(Reader& from, std::uint64_t frames, std::vector<std::uint64_t>& used) {
  HandedUplink uplink;
  uplink.interface = from.string("interface name", kMaxInterface);
  uplink.index = from.number<std::uint32_t>("interface index");
  const auto mac = from.bytes("MAC address");
  if (mac.size() == uplink.mac.bytes.size()) {
    std::copy(mac.begin(), mac.end(), uplink.mac.bytes.begin());
  } else {
    from.refuse("a MAC address of " + std::to_string(mac.size()) + " bytes");
  }
  uplink.mode = from.flag("mode") ? xdp::AttachMode::kGeneric : xdp::AttachMode::kNative;
  uplink.has_backlog = from.flag("backlog");
  const auto ring = [&from](const char* field) {
    const auto size = from.number<std::uint32_t>(field);
    if (!std::has_single_bit(size) || size > kMaxRing) from.refuse(std::string(field) + " of " + std::to_string(size));
    return size;
  };
  for (std::uint32_t left = from.count("queues", kMaxQueues); left > 0 && from.good(); --left) {
    HandedQueue queue;
    queue.queue = from.number<std::uint32_t>("queue");
    queue.rx_ring = ring("receive ring");
    queue.tx_ring = ring("transmit ring");
    queue.control_ring = from.number<std::uint32_t>("control ring");
    if (queue.control_ring != 0 && (!std::has_single_bit(queue.control_ring) || queue.control_ring > kMaxRing)) {
      from.refuse("control ring of " + std::to_string(queue.control_ring));
    }
    queue.has_control = from.flag("control");
    if (queue.has_control && queue.control_ring == 0) from.refuse("a control ring without places");
    queue.zero_copy = from.flag("zero-copy");
    queue.multi_buffer = from.flag("multi-buffer");
    for (auto* owned : {&queue.receiving, &queue.sending}) {
      *owned = from.words("frames of a queue");
      if (owned->size() != used.size()) {
        from.refuse("the frames of a queue have the wrong number");
        break;
      }
      for (std::size_t i = 0; i < used.size(); ++i) {
        if ((used[i] & (*owned)[i]) != 0) from.refuse("a frame has two owners");
        used[i] |= (*owned)[i];
      }
    }
    uplink.queues.push_back(std::move(queue));
  }
  // Bits behind the last frame.
  if (from.good() && (used.back() >> (frames % 64)) != 0) from.refuse("frames that do not exist");
  if (from.good() && uplink.queues.empty() != uplink.has_backlog) {
    from.refuse(uplink.has_backlog ? "an uplink with queues and a backlog" : "an uplink without queues");
  }
  return uplink;
}

void write(Writer& to, const SaStore::SavedSa& sa) {
  write_secret(to, ipc::sa::encode_add(sa.add));
  to.number(sa.session);
  to.number(to_ns(sa.added));
  to.number(static_cast<std::uint8_t>(sa.soft_raised));
  to.number(static_cast<std::uint8_t>(sa.stale_until.has_value()));
  to.number(sa.stale_until ? to_ns(*sa.stale_until) : std::uint64_t{0});
  const auto& usage = sa.progress.usage;
  for (const std::uint64_t value :
       {usage.packets, usage.bytes, usage.sequence, usage.replayed, usage.failed, usage.last_use, sa.progress.window_top}) {
    to.number(value);
  }
  to.words(sa.progress.window);
}

/// A message of the SA protocol that must be a `Body`.
template <class Body>
std::optional<Body> read_message(Reader& from, const char* field) {
  const auto message = from.bytes(field);
  if (!from.good()) return std::nullopt;
  auto decoded = ipc::sa::decode_request(message);
  if (!decoded) {
    from.refuse(decoded.error().what);
    return std::nullopt;
  }
  if (const auto* malformed = std::get_if<ipc::sa::Malformed>(&*decoded)) {
    from.refuse(malformed->why);
    return std::nullopt;
  }
  if (auto* body = std::get_if<Body>(&std::get<ipc::sa::Request>(*decoded).body)) return std::move(*body);
  from.refuse(std::string(field) + " is another message");
  return std::nullopt;
}

void read_sa(Reader& from, std::vector<SaStore::SavedSa>& all) {
  auto add = read_message<ipc::sa::Add>(from, "SA");
  if (!add) return;
  SaStore::SavedSa sa;
  sa.add = *std::move(add);
  sa.session = from.number<std::uint64_t>("session");
  sa.added = from_ns(from.number<std::uint64_t>("time of an SA"));
  sa.soft_raised = from.flag("soft expiry");
  const bool stale = from.flag("stale");
  const auto until = from.number<std::uint64_t>("time of an SA");
  if (stale) sa.stale_until = from_ns(until);
  auto& usage = sa.progress.usage;
  for (std::uint64_t* value : {&usage.packets, &usage.bytes, &usage.sequence, &usage.replayed, &usage.failed, &usage.last_use,
                               &sa.progress.window_top}) {
    *value = from.number<std::uint64_t>("usage");
  }
  sa.progress.window = from.words("replay window");
  if (from.good()) all.push_back(std::move(sa));
}

std::vector<std::uint64_t> no_frames(std::uint64_t frames) {
  // As many words as XskSocket has: one more than needed when the number is a multiple of 64.
  return std::vector<std::uint64_t>(static_cast<std::size_t>(frames / 64 + 1));
}

}  // namespace

std::size_t HandedTraffic::descriptors() const noexcept {
  std::size_t count = 0;
  for (const auto& uplink : uplinks) {
    count += 1 + uplink.queues.size() + (uplink.has_backlog ? 1 : 0);
    for (const auto& queue : uplink.queues) count += queue.has_control ? 1 : 0;
  }
  return count;
}

SecretBytes encode_handover(const HandedTables& handed) {
  Writer to;
  to.number(handed.instance);
  to.number(handed.frames);
  to.number(handed.slots);
  to.number(handed.generation.value());
  to.number(static_cast<std::uint64_t>(handed.watchdog.count()));
  to.count(handed.programs.size());
  for (const auto& program : handed.programs) {
    to.string(program.interface);
    to.number(program.index);
    to.number(static_cast<std::uint8_t>(program.mode));
    to.number(static_cast<std::uint8_t>(program.multi_buffer));
  }
  to.count(handed.host_ports.size());
  for (const auto& port : handed.host_ports) {
    to.number(static_cast<std::uint8_t>(port.kind));
    to.number(port.id);
  }
  to.bytes(handed.tables);
  return to.take(HandedPart::kTables);
}

SecretBytes encode_handover(const HandedTraffic& handed) {
  Writer to;
  to.number(to_ns(handed.stopped));
  to.number(handed.all_frames);
  to.count(handed.uplinks.size());
  for (const auto& uplink : handed.uplinks) write(to, uplink);
  to.bytes(handed.connections);
  to.number(handed.sas.session);
  to.count(handed.sas.sas.size());
  for (const auto& sa : handed.sas.sas) write(to, sa);
  to.count(handed.sas.policies.size());
  for (const auto& use : handed.sas.policies) {
    to.bytes(ipc::sa::encode_add_policy(use.policy));
    to.number(use.session);
  }
  to.count(handed.sas.reserved.size());
  for (const auto& [spi, until] : handed.sas.reserved) {
    to.number(spi.value());
    to.number(to_ns(until));
  }
  to.number(handed.events.session);
  to.count(handed.events.events.size());
  for (const auto& event : handed.events.events) to.bytes(event);
  return to.take(HandedPart::kTraffic);
}

SecretBytes seal_handover(HandedPart part, std::span<const std::uint8_t> payload) {
  SecretBytes bytes(sizeof(Header));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  put_header(bytes, part);
  return bytes;
}

namespace {

/// What is behind a good header.
Result<std::span<const std::uint8_t>> payload_of(HandedPart part, std::span<const std::uint8_t> bytes) {
  Header header;
  if (bytes.size() < sizeof header) return fail(ErrorCode::kPeer, "a state of " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return fail(ErrorCode::kPeer, "a state without the magic number");
  if (header.version != kVersion) {
    return fail(ErrorCode::kPeer, "a state of version " + std::to_string(header.version) + ", this is version " +
                                      std::to_string(kVersion));
  }
  if (header.part != part) return fail(ErrorCode::kPeer, "the other part of a state");
  const auto payload = bytes.subspan(sizeof header);
  if (header.length != payload.size() || header.checksum != checksum_of(payload)) {
    return fail(ErrorCode::kPeer, "a state whose checksum is wrong");
  }
  return payload;
}

HandedProgram read_program(Reader& from) {
  HandedProgram program;
  program.interface = from.string("interface name", kMaxInterface);
  program.index = from.number<std::uint32_t>("interface index");
  program.mode = from.flag("mode") ? xdp::AttachMode::kGeneric : xdp::AttachMode::kNative;
  program.multi_buffer = from.flag("multi-buffer");
  return program;
}

ipc::AttachmentRef read_host_port(Reader& from) {
  const auto kind = from.number<std::uint8_t>("kind of a host port");
  if (kind < static_cast<std::uint8_t>(ipc::AttachmentKind::kVpc) || kind > static_cast<std::uint8_t>(ipc::AttachmentKind::kCircuit)) {
    from.refuse("a host port of kind " + std::to_string(kind));
  }
  return {static_cast<ipc::AttachmentKind>(kind), from.number<std::uint32_t>("host port")};
}

void read_sas(Reader& from, SaStore::Snapshot& sas) {
  sas.session = from.number<std::uint64_t>("session");
  for (std::uint32_t left = from.count("SAs"); left > 0 && from.good(); --left) read_sa(from, sas.sas);
  for (std::uint32_t left = from.count("policies"); left > 0 && from.good(); --left) {
    auto policy = read_message<ipc::sa::AddPolicy>(from, "policy");
    const auto session = from.number<std::uint64_t>("session");
    if (policy) sas.policies.push_back({std::move(policy->policy), session});
  }
  for (std::uint32_t left = from.count("reserved SPIs"); left > 0 && from.good(); --left) {
    const Spi spi(from.number<std::uint32_t>("SPI"));
    sas.reserved.emplace_back(spi, from_ns(from.number<std::uint64_t>("time of an SPI")));
  }
}

void read_events(Reader& from, SaServer::Pending& pending) {
  pending.session = from.number<std::uint64_t>("session of events");
  for (std::uint32_t left = from.count("events"); left > 0 && from.good(); --left) {
    const auto event = from.bytes("event");
    if (event.size() > SIMPLON_SA_MAX_MESSAGE) from.refuse("an event of " + std::to_string(event.size()) + " bytes");
    pending.events.emplace_back(event.begin(), event.end());
  }
}

template <class Handed>
Result<Handed> read_to_the_end(Reader& from, Handed handed) {
  from.end();
  if (!from.good()) return fail(ErrorCode::kPeer, "a state that cannot be read: " + from.complaint());
  return handed;
}

}  // namespace

Result<HandedTables> decode_tables(std::span<const std::uint8_t> bytes) {
  const auto payload = payload_of(HandedPart::kTables, bytes);
  if (!payload) return Unexpected(payload.error());
  Reader from(*payload);
  HandedTables handed;
  handed.instance = from.number<std::uint64_t>("instance");
  handed.frames = from.number<std::uint64_t>("frames");
  if (handed.frames == 0 || handed.frames > kMaxFrames) from.refuse(std::to_string(handed.frames) + " frames");
  handed.slots = from.number<std::uint64_t>("slots");
  if (handed.slots > kMaxSlots) from.refuse(std::to_string(handed.slots) + " slots");
  handed.generation = Generation(from.number<std::uint64_t>("generation"));
  const auto watchdog = from.number<std::uint64_t>("watchdog");
  if (watchdog > kMostWatchdog) from.refuse("a watchdog of " + std::to_string(watchdog) + " ms");
  handed.watchdog = std::chrono::milliseconds(static_cast<std::int64_t>(watchdog));
  for (std::uint32_t left = from.count("programs", kMaxUplinks); left > 0 && from.good(); --left) {
    handed.programs.push_back(read_program(from));
  }
  for (std::uint32_t left = from.count("host ports", kMaxHostPorts); left > 0 && from.good(); --left) {
    handed.host_ports.push_back(read_host_port(from));
  }
  const auto tables = from.bytes("tables");
  handed.tables.assign(tables.begin(), tables.end());
  return read_to_the_end(from, std::move(handed));
}

Result<HandedTraffic> decode_traffic(std::span<const std::uint8_t> bytes) {
  const auto payload = payload_of(HandedPart::kTraffic, bytes);
  if (!payload) return Unexpected(payload.error());
  Reader from(*payload);
  HandedTraffic handed;
  handed.stopped = from_ns(from.number<std::uint64_t>("time"));
  handed.all_frames = from.number<std::uint64_t>("frames");
  if (handed.all_frames == 0 || handed.all_frames > kMaxFrames + kMaxSlots * forward::kSlotFrames) {
    from.refuse(std::to_string(handed.all_frames) + " frames");
  }
  handed.in_use = no_frames(from.good() ? handed.all_frames : 0);
  for (std::uint32_t left = from.count("uplinks", kMaxUplinks); left > 0 && from.good(); --left) {
    handed.uplinks.push_back(read_uplink(from, handed.all_frames, handed.in_use));
  }
  const auto connections = from.bytes("connections");
  handed.connections.assign(connections.begin(), connections.end());
  read_sas(from, handed.sas);
  read_events(from, handed.events);
  return read_to_the_end(from, std::move(handed));
}

}  // namespace simplon::forwarder
