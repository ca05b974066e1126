// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bytes to values. FlatBuffers' verifier makes every later access safe; what it cannot know of a field is checked in
// src/table_fields.h.
#include <flatbuffers/flatbuffers.h>

#include <string>
#include <utility>
#include <vector>

#include "gateway/ipc/src/table_bodies.h"
#include "gateway/ipc/src/table_fields.h"
#include "gateway/ipc/table_protocol.h"

namespace simplon::ipc {
namespace {

// Chosen by us, beyond the verifier's defaults: a full-size message has at most this many tables.
constexpr flatbuffers::uoffset_t kMaxTables = 2'000'000;
constexpr flatbuffers::uoffset_t kMaxDepth = 16;

Result<TableMessage> decode_ack(const fb::Ack& from) {
  Ack ack;
  ack.generation = Generation(from.generation());
  if (from.errors() != nullptr) {
    for (const auto* error : *from.errors()) ack.errors.push_back({error->index(), text_of(error->what())});
  }
  return TableMessage(std::move(ack));
}

Result<TableMessage> decode_verified(const fb::Envelope& envelope) {
  if (envelope.body() == nullptr) return fail(ErrorCode::kPeer, "a table message without a body");
  switch (envelope.body_type()) {
    case fb::Body::Hello: {
      const auto* hello = envelope.body_as_Hello();
      return TableMessage(Hello{hello->version(), text_of(hello->software()), hello->instance(), hello->observer()});
    }
    case fb::Body::SyncBegin:
      return TableMessage(SyncBegin{Epoch(envelope.body_as_SyncBegin()->epoch())});
    case fb::Body::SyncEnd: {
      const auto* end = envelope.body_as_SyncEnd();
      return TableMessage(SyncEnd{Epoch(end->epoch()), Generation(end->generation())});
    }
    case fb::Body::Update:
      return decode(*envelope.body_as_Update());
    case fb::Body::Ack:
      return decode_ack(*envelope.body_as_Ack());
    case fb::Body::StatsRequest:
      return TableMessage(
          StatsRequest{envelope.body_as_StatsRequest()->token(), envelope.body_as_StatsRequest()->connections()});
    case fb::Body::Stats:
      return decode(*envelope.body_as_Stats());
    case fb::Body::TraceRequest:
      return decode(*envelope.body_as_TraceRequest());
    case fb::Body::Trace:
      return decode(*envelope.body_as_Trace());
    case fb::Body::CaptureRequest:
      return decode(*envelope.body_as_CaptureRequest());
    case fb::Body::CaptureData:
      return decode(*envelope.body_as_CaptureData());
    default:
      return fail(ErrorCode::kPeer,
                  "table message of unknown type " + std::to_string(static_cast<unsigned>(envelope.body_type())));
  }
}

}  // namespace

Result<TableMessage> decode_table_message(std::span<const std::uint8_t> envelope) {
  // Accesses are aligned relative to the start of the buffer, so the start has to be aligned.
  std::vector<std::uint8_t> aligned;
  if (reinterpret_cast<std::uintptr_t>(envelope.data()) % alignof(std::uint64_t) != 0) {
    aligned.assign(envelope.begin(), envelope.end());
    envelope = aligned;
  }
  flatbuffers::Verifier verifier(envelope.data(), envelope.size(), kMaxDepth, kMaxTables);
  if (!fb::VerifyEnvelopeBuffer(verifier)) {
    return fail(ErrorCode::kPeer, "a table message of " + std::to_string(envelope.size()) + " bytes does not verify");
  }
  return decode_verified(*fb::GetEnvelope(envelope.data()));
}

void TableFramer::append(std::span<const std::uint8_t> bytes) {
  if (consumed_ > 0 && consumed_ == buffer_.size()) {
    buffer_.clear();
    consumed_ = 0;
  } else if (consumed_ > (std::size_t{1} << 20)) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<std::vector<std::uint8_t>>> TableFramer::next() {
  using Next = std::optional<std::vector<std::uint8_t>>;
  const std::size_t available = buffer_.size() - consumed_;
  if (available < 4) return Next{};
  const std::uint8_t* at = buffer_.data() + consumed_;
  const std::size_t length = std::size_t{at[0]} << 24 | std::size_t{at[1]} << 16 | std::size_t{at[2]} << 8 | at[3];
  if (length == 0 || length > kMaxTableMessageBytes) {
    return fail(ErrorCode::kPeer, "a table message claims " + std::to_string(length) + " bytes",
                "at most 16 MiB are allowed; is the peer of this version?");
  }
  if (available < 4 + length) return Next{};
  Next envelope(std::in_place, at + 4, at + 4 + length);
  consumed_ += 4 + length;
  return envelope;
}

}  // namespace simplon::ipc
