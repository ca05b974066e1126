// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gateway/ipc/sa_protocol.h"
#include "platform/base/ids.h"
#include "platform/base/result.h"
#include "platform/net/ip_address.h"

// The SA protocol (sa_protocol.h) between bytes and C++ values. Pure; every field is checked here, so that what comes out
// is well-formed: known families, lengths within their arrays, ordered ranges, known directions.

namespace simplon::ipc::sa {

struct Id {
  IpAddress destination;
  Spi spi;
  std::uint8_t protocol = 50;
  friend auto operator<=>(const Id&, const Id&) = default;
};

struct Selector {
  IpAddress from;
  IpAddress to;
  std::uint8_t protocol = 0;
  std::uint16_t port_from = 0;
  std::uint16_t port_to = 65535;
  friend auto operator<=>(const Selector&, const Selector&) = default;
};

struct Limits {
  std::uint64_t soft_seconds = 0, hard_seconds = 0;
  std::uint64_t soft_bytes = 0, hard_bytes = 0;
  std::uint64_t soft_packets = 0, hard_packets = 0;
  friend bool operator==(const Limits&, const Limits&) = default;
};

/// Key bytes; overwritten on destruction. Has no output operator.
class Key {
 public:
  Key() noexcept = default;
  explicit Key(std::span<const std::uint8_t> bytes) noexcept;
  Key(const Key&) noexcept = default;
  Key& operator=(const Key&) noexcept = default;
  ~Key();
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<std::uint8_t, SIMPLON_SA_MAX_KEY> bytes_{};
  std::size_t size_ = 0;
};

struct Hello {
  std::uint64_t session = 0;
  std::string software;
};
struct AllocSpi {};
struct Add {
  Id id;
  IpAddress source;
  TunnelId tunnel;
  std::uint32_t reqid = 0;
  /// IKEv2 transform ids (RFC 7296 section 3.3.2).
  std::uint16_t encryption = 0;
  std::uint16_t integrity = 0;
  Key encryption_key;
  Key integrity_key;
  std::uint32_t replay_window = 0;
  std::uint8_t mode = 0;
  bool inbound = false, esn = false, encap = false;
  std::uint16_t source_port = 0, destination_port = 0;
  bool copy_df = false, copy_ecn = false, copy_dscp = false;
  Limits limits;
  std::vector<Selector> source_selectors;
  std::vector<Selector> destination_selectors;
};
struct Update {
  Id id;
  IpAddress new_source, new_destination;
  std::uint16_t new_source_port = 0, new_destination_port = 0;
  bool new_encap = false;
};
struct Delete {
  Id id;
};
enum class Direction : std::uint8_t { kIn = SIMPLON_SA_IN, kOut = SIMPLON_SA_OUT, kForward = SIMPLON_SA_FWD };
struct Policy {
  Direction direction = Direction::kIn;
  TunnelId tunnel;
  std::uint32_t reqid = 0;
  std::uint32_t priority = 0;
  Spi spi;
  Selector source, destination;
};
struct AddPolicy {
  Policy policy;
};
struct DeletePolicy {
  Policy policy;
};
struct Query {
  Id id;
};

using Body = std::variant<Hello, AllocSpi, Add, Update, Delete, AddPolicy, DeletePolicy, Query>;

struct Request {
  std::uint32_t sequence = 0;
  Body body;
};

/// What is wrong with a request whose header could be read: it is answered with this status.
struct Malformed {
  std::uint32_t sequence = 0;
  simplon_sa_status status = SIMPLON_SA_INVALID;
  std::string why;
};

/// One message of the plugin. Errors: kPeer if not even the header is good (close the connection).
[[nodiscard]] Result<std::variant<Request, Malformed>> decode_request(std::span<const std::uint8_t> message);

/// As the plugin would send them.
[[nodiscard]] std::vector<std::uint8_t> encode_add(const Add& add);
[[nodiscard]] std::vector<std::uint8_t> encode_add_policy(const Policy& policy);

struct Usage {
  std::uint64_t bytes = 0, packets = 0, last_use = 0;
};

[[nodiscard]] std::vector<std::uint8_t> encode_reply(std::uint32_t sequence, simplon_sa_status status, std::uint64_t value);
[[nodiscard]] std::vector<std::uint8_t> encode_usage(std::uint32_t sequence, simplon_sa_status status, const Usage& usage);
[[nodiscard]] std::vector<std::uint8_t> encode_expire(const Id& id, bool hard);
[[nodiscard]] std::vector<std::uint8_t> encode_mapping(const Id& id, const IpAddress& new_source, std::uint16_t new_port);

}  // namespace simplon::ipc::sa
