// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/sa_decode.h"

#include <string.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

namespace simplon::ipc::sa {
namespace {

/// Copies a fixed body out of the message: alignment and lifetime of the bytes do not matter then.
template <class T>
std::optional<T> body_of(std::span<const std::uint8_t> message) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (message.size() != sizeof(simplon_sa_header) + sizeof(T)) return std::nullopt;
  T body;
  std::memcpy(&body, message.data() + sizeof(simplon_sa_header), sizeof body);
  return body;
}

/// Reads fields and keeps the first complaint.
class Reader {
 public:
  IpAddress address(const simplon_sa_address& from, const char* field) {
    if (from.family == 4 || from.family == 6) {
      auto address = IpAddress::from_bytes({from.bytes, from.family == 4 ? std::size_t{4} : std::size_t{16}});
      if (address) return *address;
    }
    refuse(std::string(field) + " has address family " + std::to_string(from.family));
    return {};
  }
  Id id(const simplon_sa_id& from) { return {address(from.destination, "destination"), Spi(from.spi), from.protocol}; }
  Selector selector(const simplon_sa_selector& from, const char* field) {
    Selector selector{address(from.from, field), address(from.to, field), from.protocol, from.port_from, from.port_to};
    if (selector.from.family() != selector.to.family() || selector.to < selector.from) {
      refuse(std::string(field) + " " + selector.from.to_string() + " to " + selector.to.to_string() + " is not a range");
    }
    // RFC 7296 section 3.13.1: OPAQUE is 65535 to 0.
    if (selector.port_from > selector.port_to && !(selector.port_from == 65535 && selector.port_to == 0)) {
      refuse(std::string(field) + " has ports " + std::to_string(selector.port_from) + " to " +
             std::to_string(selector.port_to));
    }
    return selector;
  }
  std::vector<Selector> selectors(const simplon_sa_selector* from, std::uint32_t count, const char* field) {
    std::vector<Selector> selectors;
    if (count > SIMPLON_SA_MAX_SELECTORS) {
      refuse(std::to_string(count) + " " + field + "s are over the limit of " + std::to_string(SIMPLON_SA_MAX_SELECTORS));
      return selectors;
    }
    for (std::uint32_t i = 0; i < count; ++i) selectors.push_back(selector(from[i], field));
    return selectors;
  }
  Key key(const std::uint8_t* bytes, std::uint16_t length, const char* field) {
    if (length > SIMPLON_SA_MAX_KEY) {
      refuse(std::string(field) + " has " + std::to_string(length) + " bytes");
      return {};
    }
    return Key({bytes, length});
  }
  void refuse(std::string why) {
    if (complaint_.empty()) complaint_ = std::move(why);
  }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }

 private:
  std::string complaint_;
};

Body decode(const simplon_sa_hello& from, Reader&) {
  return Hello{from.session, std::string(from.software, ::strnlen(from.software, sizeof from.software))};
}

Body decode(const simplon_sa_add& from, Reader& reader) {
  Add add;
  add.id = reader.id(from.id);
  add.source = reader.address(from.source, "source");
  if (add.source.family() != add.id.destination.family()) reader.refuse("source and destination are of two families");
  add.tunnel = TunnelId(from.if_id);
  add.reqid = from.reqid;
  add.encryption = from.encryption;
  add.integrity = from.integrity;
  add.encryption_key = reader.key(from.encryption_key, from.encryption_key_length, "encryption key");
  add.integrity_key = reader.key(from.integrity_key, from.integrity_key_length, "integrity key");
  add.replay_window = from.replay_window;
  add.mode = from.mode;
  add.inbound = from.inbound != 0;
  add.esn = from.esn != 0;
  add.encap = from.encap != 0;
  add.source_port = from.source_port;
  add.destination_port = from.destination_port;
  if (add.encap && (add.source_port == 0 || add.destination_port == 0)) reader.refuse("encapsulation in UDP port 0");
  add.copy_df = from.copy_df != 0;
  add.copy_ecn = from.copy_ecn != 0;
  add.copy_dscp = from.copy_dscp != 0;
  add.limits = {from.limits.soft_seconds, from.limits.hard_seconds, from.limits.soft_bytes,
                from.limits.hard_bytes,   from.limits.soft_packets, from.limits.hard_packets};
  add.source_selectors = reader.selectors(from.source_selector, from.source_selectors, "source selector");
  add.destination_selectors =
      reader.selectors(from.destination_selector, from.destination_selectors, "destination selector");
  return add;
}

Body decode(const simplon_sa_update& from, Reader& reader) {
  Update update;
  update.id = reader.id(from.id);
  update.new_source = reader.address(from.new_source, "new source");
  update.new_destination = reader.address(from.new_destination, "new destination");
  if (update.new_source.family() != update.new_destination.family()) {
    reader.refuse("new source and new destination are of two families");
  }
  update.new_source_port = from.new_source_port;
  update.new_destination_port = from.new_destination_port;
  update.new_encap = from.new_encap != 0;
  if (update.new_encap && (update.new_source_port == 0 || update.new_destination_port == 0)) {
    reader.refuse("encapsulation in UDP port 0");
  }
  return update;
}

Policy decode_policy(const simplon_sa_policy& from, Reader& reader) {
  Policy policy;
  if (from.direction < SIMPLON_SA_IN || from.direction > SIMPLON_SA_FWD) {
    reader.refuse("policy direction " + std::to_string(from.direction));
  }
  policy.direction = static_cast<Direction>(from.direction);
  policy.tunnel = TunnelId(from.if_id);
  policy.reqid = from.reqid;
  policy.priority = from.priority;
  policy.spi = Spi(from.spi);
  policy.source = reader.selector(from.source, "source selector");
  policy.destination = reader.selector(from.destination, "destination selector");
  return policy;
}

std::optional<Body> decode_body(std::uint16_t type, std::span<const std::uint8_t> message, Reader& reader) {
  const auto from = [&]<class T>(T*) -> std::optional<Body> {
    auto body = body_of<T>(message);
    if (!body) return std::nullopt;
    auto decoded = decode(*body, reader);
    // Keys pass through this copy.
    ::explicit_bzero(&*body, sizeof *body);
    return decoded;
  };
  switch (type) {
    case SIMPLON_SA_HELLO:
      return from(static_cast<simplon_sa_hello*>(nullptr));
    case SIMPLON_SA_ALLOC_SPI:
      if (message.size() != sizeof(simplon_sa_header)) return std::nullopt;
      return AllocSpi{};
    case SIMPLON_SA_ADD:
      return from(static_cast<simplon_sa_add*>(nullptr));
    case SIMPLON_SA_UPDATE:
      return from(static_cast<simplon_sa_update*>(nullptr));
    case SIMPLON_SA_DELETE:
      if (auto id = body_of<simplon_sa_id>(message)) return Delete{reader.id(*id)};
      return std::nullopt;
    case SIMPLON_SA_QUERY:
      if (auto id = body_of<simplon_sa_id>(message)) return Query{reader.id(*id)};
      return std::nullopt;
    case SIMPLON_SA_ADD_POLICY:
      if (auto policy = body_of<simplon_sa_policy>(message)) return AddPolicy{decode_policy(*policy, reader)};
      return std::nullopt;
    case SIMPLON_SA_DELETE_POLICY:
      if (auto policy = body_of<simplon_sa_policy>(message)) return DeletePolicy{decode_policy(*policy, reader)};
      return std::nullopt;
    default:
      reader.refuse("message type " + std::to_string(type) + " is unknown");
      return AllocSpi{};
  }
}

template <class T>
std::vector<std::uint8_t> encode(simplon_sa_type type, std::uint32_t sequence, const T& body) {
  simplon_sa_header header{};
  header.magic = SIMPLON_SA_MAGIC;
  header.version = SIMPLON_SA_VERSION;
  header.type = static_cast<std::uint16_t>(type);
  header.length = sizeof header + sizeof body;
  header.sequence = sequence;
  std::vector<std::uint8_t> message(sizeof header + sizeof body);
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + sizeof header, &body, sizeof body);
  return message;
}

simplon_sa_address encode(const IpAddress& address) {
  simplon_sa_address to{};
  to.family = static_cast<std::uint8_t>(address.family());
  std::ranges::copy(address.bytes(), to.bytes);
  return to;
}

simplon_sa_id encode(const Id& id) {
  simplon_sa_id to{};
  to.destination = encode(id.destination);
  to.spi = id.spi.value();
  to.protocol = id.protocol;
  return to;
}

simplon_sa_selector encode(const Selector& selector) {
  simplon_sa_selector to{};
  to.from = encode(selector.from);
  to.to = encode(selector.to);
  to.protocol = selector.protocol;
  to.port_from = selector.port_from;
  to.port_to = selector.port_to;
  return to;
}

std::uint32_t encode(const std::vector<Selector>& selectors, simplon_sa_selector* to) {
  const std::size_t count = std::min<std::size_t>(selectors.size(), SIMPLON_SA_MAX_SELECTORS);
  for (std::size_t i = 0; i < count; ++i) to[i] = encode(selectors[i]);
  return static_cast<std::uint32_t>(count);
}

}  // namespace

Key::Key(std::span<const std::uint8_t> bytes) noexcept : size_(std::min(bytes.size(), bytes_.size())) {
  std::copy_n(bytes.begin(), size_, bytes_.begin());
}

Key::~Key() { ::explicit_bzero(bytes_.data(), bytes_.size()); }

Result<std::variant<Request, Malformed>> decode_request(std::span<const std::uint8_t> message) {
  simplon_sa_header header{};
  if (message.size() < sizeof header || message.size() > SIMPLON_SA_MAX_MESSAGE) {
    return fail(ErrorCode::kPeer, "an SA message of " + std::to_string(message.size()) + " bytes");
  }
  std::memcpy(&header, message.data(), sizeof header);
  if (header.magic != SIMPLON_SA_MAGIC) return fail(ErrorCode::kPeer, "an SA message without the magic number");
  if (header.version != SIMPLON_SA_VERSION) {
    return fail(ErrorCode::kPeer, "the charon plugin speaks version " + std::to_string(header.version) +
                                      " of the SA protocol, this is version " + std::to_string(SIMPLON_SA_VERSION),
                "install the same version of the plugin and simplon-forwarder, and restart charon");
  }
  if (header.length != message.size()) {
    return fail(ErrorCode::kPeer, "an SA message of " + std::to_string(message.size()) + " bytes claims " +
                                      std::to_string(header.length));
  }
  Reader reader;
  auto body = decode_body(header.type, message, reader);
  if (!body) {
    return Malformed{header.sequence, SIMPLON_SA_INVALID,
                     "message type " + std::to_string(header.type) + " with a body of " +
                         std::to_string(message.size() - sizeof header) + " bytes"};
  }
  if (!reader.complaint().empty()) return Malformed{header.sequence, SIMPLON_SA_INVALID, reader.complaint()};
  return Request{header.sequence, *std::move(body)};
}

std::vector<std::uint8_t> encode_add(const Add& add) {
  simplon_sa_add body{};
  body.id = encode(add.id);
  body.source = encode(add.source);
  body.if_id = add.tunnel.value();
  body.reqid = add.reqid;
  body.encryption = add.encryption;
  body.integrity = add.integrity;
  body.encryption_key_length = static_cast<std::uint16_t>(add.encryption_key.bytes().size());
  body.integrity_key_length = static_cast<std::uint16_t>(add.integrity_key.bytes().size());
  std::ranges::copy(add.encryption_key.bytes(), body.encryption_key);
  std::ranges::copy(add.integrity_key.bytes(), body.integrity_key);
  body.replay_window = add.replay_window;
  body.mode = add.mode;
  body.inbound = add.inbound;
  body.esn = add.esn;
  body.encap = add.encap;
  body.source_port = add.source_port;
  body.destination_port = add.destination_port;
  body.copy_df = add.copy_df;
  body.copy_ecn = add.copy_ecn;
  body.copy_dscp = add.copy_dscp;
  body.limits = {add.limits.soft_seconds, add.limits.hard_seconds, add.limits.soft_bytes,
                 add.limits.hard_bytes,   add.limits.soft_packets, add.limits.hard_packets};
  body.source_selectors = encode(add.source_selectors, body.source_selector);
  body.destination_selectors = encode(add.destination_selectors, body.destination_selector);
  auto message = encode(SIMPLON_SA_ADD, 0, body);
  ::explicit_bzero(&body, sizeof body);
  return message;
}

std::vector<std::uint8_t> encode_add_policy(const Policy& policy) {
  simplon_sa_policy body{};
  body.direction = static_cast<std::uint8_t>(policy.direction);
  body.if_id = policy.tunnel.value();
  body.reqid = policy.reqid;
  body.priority = policy.priority;
  body.spi = policy.spi.value();
  body.source = encode(policy.source);
  body.destination = encode(policy.destination);
  return encode(SIMPLON_SA_ADD_POLICY, 0, body);
}

std::vector<std::uint8_t> encode_reply(std::uint32_t sequence, simplon_sa_status status, std::uint64_t value) {
  return encode(SIMPLON_SA_REPLY, sequence, simplon_sa_reply{static_cast<std::uint32_t>(status), 0, value});
}

std::vector<std::uint8_t> encode_usage(std::uint32_t sequence, simplon_sa_status status, const Usage& usage) {
  return encode(SIMPLON_SA_USAGE, sequence,
                simplon_sa_usage{static_cast<std::uint32_t>(status), 0, usage.bytes, usage.packets, usage.last_use});
}

std::vector<std::uint8_t> encode_expire(const Id& id, bool hard) {
  simplon_sa_expire body{};
  body.id = encode(id);
  body.hard = hard ? 1 : 0;
  return encode(SIMPLON_SA_EXPIRE, 0, body);
}

std::vector<std::uint8_t> encode_mapping(const Id& id, const IpAddress& new_source, std::uint16_t new_port) {
  simplon_sa_mapping body{};
  body.id = encode(id);
  body.new_source = encode(new_source);
  body.new_port = new_port;
  return encode(SIMPLON_SA_MAPPING, 0, body);
}

}  // namespace simplon::ipc::sa
