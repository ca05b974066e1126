// SPDX-License-Identifier: GPL-2.0-or-later
//
// A planned restart. The forwarder that ends has stopped its workers between two bursts; from then on packets wait in the
// rings of its sockets, or in a device (backlog.h), and in the queues of its TUN devices. It writes down what it knows (this file's format), puts that and all
// descriptors into one bundle (descriptor_bundle.h), and the bundle into the descriptor store of the service manager, which
// gives it to the next process.
//
// The one thing that must not happen is that two processes go on with the same SA: the second one would repeat sequence
// numbers, that is nonces. Therefore
//   * the state is written after the workers have ended, and the process that wrote it never sends again;
//   * a bundle can be taken out of its socket once, and the state in it is overwritten as soon as it was read;
//   * the successor that cannot use the state forgets it and starts from nothing, and charon negotiates new SAs.
//
// The format: a header (magic, version, length, checksum), then the fields of `Handover` in order; integers in host byte order
// (one machine), lists and strings behind their 32-bit count. Tables and SAs are messages of the protocols they came by. A change
// of the format changes the version: an upgrade or downgrade across it starts from nothing.
#include "gateway/forwarder/handover.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <type_traits>

#include "gateway/ipc/sa_decode.h"
#include "platform/base/clock.h"
#include "platform/sys/descriptor_bundle.h"
#include "platform/sys/service_notify.h"

namespace simplon::forwarder {
namespace {

constexpr std::array<char, 8> kMagic = {'S', 'P', 'L', 'N', 'H', 'A', 'N', 'D'};
constexpr std::uint32_t kVersion = 4;
constexpr const char* kStoreName = "simplon-handover";

// Chosen by us: what the forwarder itself can have.
constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxSlots = std::uint64_t{1} << 16;
constexpr std::uint32_t kMaxUplinks = 4096;
constexpr std::uint32_t kMaxQueues = 256;
constexpr std::uint32_t kMaxHostPorts = 65536;
constexpr std::uint32_t kMaxRing = 65536;
constexpr std::size_t kMaxInterface = 15;
constexpr std::size_t kMaxBytes = std::size_t{4} << 30;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t reserved = 0;
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
void put_header(SecretBytes& bytes) {
  Header header;
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
  [[nodiscard]] SecretBytes take() {
    put_header(out_);
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
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

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

Result<SecretBytes> read_once(int memory) {
  struct stat info {};
  if (::fstat(memory, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < 0) {
    return fail(ErrorCode::kPeer, "the state that was handed over is no memory");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size < sizeof(Header) || size > kMaxBytes) {
    return fail(ErrorCode::kPeer, "the state that was handed over has " + std::to_string(size) + " bytes");
  }
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (base == MAP_FAILED) return fail_errno("cannot map the state that was handed over", errno);
  const auto* first = static_cast<const std::uint8_t*>(base);
  SecretBytes bytes(first, first + size);
  // Keys: and nobody can use them a second time.
  ::explicit_bzero(base, size);
  ::munmap(base, size);
  return bytes;
}

}  // namespace

std::size_t Handover::descriptors() const noexcept {
  std::size_t count = 1 + host_ports.size();
  for (const auto& uplink : uplinks) {
    count += 1 + uplink.queues.size() + (uplink.has_backlog ? 1 : 0);
    for (const auto& queue : uplink.queues) count += queue.has_control ? 1 : 0;
  }
  return count;
}

SecretBytes encode_handover(const Handover& handover) {
  Writer to;
  to.number(handover.instance);
  to.number(handover.frames);
  to.number(handover.slots);
  to.number(handover.generation.value());
  to.count(handover.uplinks.size());
  for (const auto& uplink : handover.uplinks) write(to, uplink);
  to.count(handover.host_ports.size());
  for (const auto& port : handover.host_ports) {
    to.number(static_cast<std::uint8_t>(port.kind));
    to.number(port.id);
  }
  to.bytes(handover.tables);
  to.number(handover.sas.session);
  to.count(handover.sas.sas.size());
  for (const auto& sa : handover.sas.sas) write(to, sa);
  to.count(handover.sas.policies.size());
  for (const auto& use : handover.sas.policies) {
    to.bytes(ipc::sa::encode_add_policy(use.policy));
    to.number(use.session);
  }
  to.count(handover.sas.reserved.size());
  for (const auto& [spi, until] : handover.sas.reserved) {
    to.number(spi.value());
    to.number(to_ns(until));
  }
  to.number(handover.events.session);
  to.count(handover.events.events.size());
  for (const auto& event : handover.events.events) to.bytes(event);
  return to.take();
}

SecretBytes seal_handover(std::span<const std::uint8_t> payload) {
  SecretBytes bytes(sizeof(Header));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  put_header(bytes);
  return bytes;
}

Result<Handover> decode_handover(std::span<const std::uint8_t> bytes) {
  Header header;
  if (bytes.size() < sizeof header) return fail(ErrorCode::kPeer, "a state of " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return fail(ErrorCode::kPeer, "a state without the magic number");
  if (header.version != kVersion) {
    return fail(ErrorCode::kPeer, "a state of version " + std::to_string(header.version) + ", this is version " +
                                      std::to_string(kVersion));
  }
  const auto payload = bytes.subspan(sizeof header);
  if (header.length != payload.size() || header.checksum != checksum_of(payload) || header.reserved != 0) {
    return fail(ErrorCode::kPeer, "a state whose checksum is wrong");
  }
  Reader from(payload);
  Handover handover;
  handover.instance = from.number<std::uint64_t>("instance");
  handover.frames = from.number<std::uint64_t>("frames");
  if (handover.frames == 0 || handover.frames > kMaxFrames) from.refuse(std::to_string(handover.frames) + " frames");
  handover.slots = from.number<std::uint64_t>("slots");
  if (handover.slots > kMaxSlots) from.refuse(std::to_string(handover.slots) + " slots");
  handover.generation = Generation(from.number<std::uint64_t>("generation"));
  auto used = no_frames(from.good() ? handover.all_frames() : 0);
  for (std::uint32_t left = from.count("uplinks", kMaxUplinks); left > 0 && from.good(); --left) {
    handover.uplinks.push_back(read_uplink(from, handover.all_frames(), used));
  }
  for (std::uint32_t left = from.count("host ports", kMaxHostPorts); left > 0 && from.good(); --left) {
    const auto kind = from.number<std::uint8_t>("kind of a host port");
    if (kind < static_cast<std::uint8_t>(ipc::AttachmentKind::kVpc) ||
        kind > static_cast<std::uint8_t>(ipc::AttachmentKind::kCircuit)) {
      from.refuse("a host port of kind " + std::to_string(kind));
    }
    handover.host_ports.push_back({static_cast<ipc::AttachmentKind>(kind), from.number<std::uint32_t>("host port")});
  }
  const auto tables = from.bytes("tables");
  handover.tables.assign(tables.begin(), tables.end());
  handover.sas.session = from.number<std::uint64_t>("session");
  for (std::uint32_t left = from.count("SAs"); left > 0 && from.good(); --left) read_sa(from, handover.sas.sas);
  for (std::uint32_t left = from.count("policies"); left > 0 && from.good(); --left) {
    auto policy = read_message<ipc::sa::AddPolicy>(from, "policy");
    const auto session = from.number<std::uint64_t>("session");
    if (policy) handover.sas.policies.push_back({std::move(policy->policy), session});
  }
  for (std::uint32_t left = from.count("reserved SPIs"); left > 0 && from.good(); --left) {
    const Spi spi(from.number<std::uint32_t>("SPI"));
    handover.sas.reserved.emplace_back(spi, from_ns(from.number<std::uint64_t>("time of an SPI")));
  }
  handover.events.session = from.number<std::uint64_t>("session of events");
  for (std::uint32_t left = from.count("events"); left > 0 && from.good(); --left) {
    const auto event = from.bytes("event");
    if (event.size() > SIMPLON_SA_MAX_MESSAGE) from.refuse("an event of " + std::to_string(event.size()) + " bytes");
    handover.events.events.emplace_back(event.begin(), event.end());
  }
  if (from.good() && from.left() != 0) from.refuse(std::to_string(from.left()) + " bytes too many");
  if (!from.good()) return fail(ErrorCode::kPeer, "a state that cannot be read: " + from.complaint());
  return handover;
}

Result<void> leave_handover(const Handover& handover, std::span<const int> descriptors) {
  const SecretBytes bytes = encode_handover(handover);
  const sys::UniqueFd memory(::memfd_create("simplon-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return fail_errno("cannot create memory for the state", errno);
  if (::ftruncate(memory.get(), static_cast<off_t>(bytes.size())) != 0) return fail_errno("no memory for the state", errno);
  void* base = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (base == MAP_FAILED) return fail_errno("cannot map memory for the state", errno);
  std::memcpy(base, bytes.data(), bytes.size());
  ::munmap(base, bytes.size());
  // The reader overwrites it, so it stays writable; nobody changes its size under the reader.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal the state", errno);
  }
  std::vector<int> all{memory.get()};
  all.insert(all.end(), descriptors.begin(), descriptors.end());
  auto bundle = sys::bundle_descriptors(all);
  if (!bundle) return Unexpected(bundle.error());
  return sys::store_descriptor(kStoreName, bundle->get());
}

Result<std::optional<TakenHandover>> take_handover() {
  sys::UniqueFd bundle;
  for (auto& [name, fd] : sys::take_passed_descriptors()) {
    if (name == kStoreName) bundle = std::move(fd);
  }
  if (!bundle.valid()) return std::optional<TakenHandover>{};
  sys::forget_stored_descriptors(kStoreName);
  auto descriptors = sys::unbundle_descriptors(bundle.get());
  if (!descriptors) return Unexpected(descriptors.error());
  const auto bytes = read_once(descriptors->front().get());
  if (!bytes) return Unexpected(bytes.error());
  auto state = decode_handover(*bytes);
  if (!state) return Unexpected(state.error());
  descriptors->erase(descriptors->begin());
  if (descriptors->size() != state->descriptors()) {
    return fail(ErrorCode::kPeer, std::to_string(descriptors->size()) + " descriptors were handed over instead of " +
                                      std::to_string(state->descriptors()));
  }
  return std::optional<TakenHandover>(TakenHandover{*std::move(state), *std::move(descriptors)});
}

}  // namespace simplon::forwarder
