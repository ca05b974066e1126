// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gateway/ipc/inspect_model.h"
#include "gateway/ipc/table_model.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/result.h"

// Messages of the table protocol between bytes and plain values. Pure: no sockets, no state beyond the framing.

namespace simplon::ipc {

inline constexpr std::uint32_t kTableProtocolVersion = 2;
/// Chosen by us: a full Update of 100,000 routes fits, and a lying length cannot exhaust memory.
inline constexpr std::size_t kMaxTableMessageBytes = std::size_t{16} << 20;
/// Operations in one Update that stay well below the limit whatever they are.
inline constexpr std::size_t kMaxOperationsPerUpdate = 4096;

struct Hello {
  std::uint32_t version = kTableProtocolVersion;
  std::string software;
  std::uint64_t instance = 0;
  bool observer = false;
  friend bool operator==(const Hello&, const Hello&) = default;
};
struct SyncBegin {
  Epoch epoch;
  friend bool operator==(const SyncBegin&, const SyncBegin&) = default;
};
struct SyncEnd {
  Epoch epoch;
  Generation generation;
  friend bool operator==(const SyncEnd&, const SyncEnd&) = default;
};
/// An operation that could be decoded, or why it could not: the others of the Update still apply.
using ReceivedOperation = Result<Operation>;
struct Update {
  Generation generation;
  std::vector<ReceivedOperation> operations;
};
struct StatsRequest {
  std::uint64_t token = 0;
  /// How many to list.
  std::uint32_t connections = 0;
  friend bool operator==(const StatsRequest&, const StatsRequest&) = default;
};

using TableMessage = std::variant<Hello, SyncBegin, SyncEnd, Update, Ack, StatsRequest, Stats, TraceRequest,
                                  TraceReply, CaptureRequest, CaptureData>;

/// A frame (length and Envelope). `Update` operations that hold an error are a bug of the caller.
[[nodiscard]] std::vector<std::uint8_t> encode_table_message(const TableMessage& message);
[[nodiscard]] std::vector<std::uint8_t> encode_update(Generation generation, std::span<const Operation> operations);

/// One Envelope without its length prefix. Errors: kPeer if the buffer does not verify or a field outside an Update's
/// operations is malformed.
[[nodiscard]] Result<TableMessage> decode_table_message(std::span<const std::uint8_t> envelope);

/// Cuts a byte stream into Envelopes.
class TableFramer {
 public:
  void append(std::span<const std::uint8_t> bytes);
  /// The next whole Envelope, nullopt if more bytes are needed. Errors: kPeer for a length of 0 or over the limit; the
  /// stream is unusable then.
  [[nodiscard]] Result<std::optional<std::vector<std::uint8_t>>> next();

 private:
  std::vector<std::uint8_t> buffer_;
  std::size_t consumed_ = 0;
};

}  // namespace simplon::ipc
