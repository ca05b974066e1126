// SPDX-License-Identifier: GPL-2.0-or-later
//
// Traces and captures: what is asked, and what the forwarder saw.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/ipc/src/table_bodies.h"
#include "gateway/ipc/src/table_fields.h"

namespace simplon::ipc {
namespace {

std::vector<std::uint8_t> bytes_of(const FbBytes* bytes) {
  return bytes == nullptr ? std::vector<std::uint8_t>{} : std::vector<std::uint8_t>(bytes->begin(), bytes->end());
}

/// None is allowed.
std::optional<AttachmentRef> attachment_if_any(fb::AttachmentKind kind, std::uint32_t id, Fields& fields) {
  if (kind == fb::AttachmentKind::None && id == 0) return std::nullopt;
  return fields.attachment(kind, id);
}

PacketFilter decode(const fb::PacketFilter* from, Fields& fields) {
  PacketFilter filter;
  if (from == nullptr) return filter;
  if (from->source() != nullptr) filter.source = fields.prefix(from->source(), "filter source");
  if (from->destination() != nullptr) filter.destination = fields.prefix(from->destination(), "filter destination");
  if (from->host() != nullptr) filter.host = fields.prefix(from->host(), "filter host");
  if (from->protocol() > 255) fields.refuse("filter protocol " + std::to_string(from->protocol()) + " is above 255");
  if (from->protocol() >= 0) filter.protocol = static_cast<std::uint8_t>(from->protocol());
  if (from->source_port() != 0) filter.source_port = from->source_port();
  if (from->destination_port() != 0) filter.destination_port = from->destination_port();
  if (from->port() != 0) filter.port = from->port();
  return filter;
}

}  // namespace

Result<TableMessage> decode(const fb::TraceRequest& from) {
  Fields fields;
  TraceRequest request;
  request.token = from.token();
  request.from = fields.attachment(from.kind(), from.id());
  request.packet = bytes_of(from.packet());
  request.from_kernel = from.from_kernel();
  if (from.vtep() != nullptr) request.vtep = fields.address(from.vtep(), "vtep");
  request.live = from.live();
  request.filter = decode(from.filter(), fields);
  request.wait_seconds = from.wait_seconds();
  if (request.wait_seconds > kMaxTraceWaitSeconds) {
    fields.refuse("a wait of " + std::to_string(request.wait_seconds) + " s is longer than " + std::to_string(kMaxTraceWaitSeconds));
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed TraceRequest: " + fields.error());
  return TableMessage(std::move(request));
}

Result<TableMessage> decode(const fb::Trace& from) {
  Fields fields;
  TraceReply trace;
  trace.token = from.token();
  trace.error = text_of(from.error());
  trace.hint = text_of(from.hint());
  if (from.verdict() > static_cast<std::uint8_t>(TraceVerdict::kWaiting)) {
    fields.refuse("verdict " + std::to_string(from.verdict()) + " is unknown");
  }
  trace.verdict = static_cast<TraceVerdict>(from.verdict());
  trace.drop = text_of(from.drop());
  trace.reference = text_of(from.reference());
  trace.sentence = text_of(from.sentence());
  trace.remedy = text_of(from.remedy());
  if (from.steps() != nullptr) {
    for (const auto* s : *from.steps()) {
      TraceStep step{text_of(s->stage()), text_of(s->packet()), text_of(s->drop()), {}};
      if (s->facts() != nullptr) {
        for (const auto* f : *s->facts()) {
          TraceFact fact{text_of(f->name()), text_of(f->value()), attachment_if_any(f->kind(), f->id(), fields), {}};
          if (f->domain() != 0) fact.domain = DomainId(f->domain());
          step.facts.push_back(std::move(fact));
        }
      }
      trace.steps.push_back(std::move(step));
    }
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed Trace: " + fields.error());
  return TableMessage(std::move(trace));
}

Result<TableMessage> decode(const fb::CaptureRequest& from) {
  Fields fields;
  CaptureRequest request;
  request.attachment = attachment_if_any(from.kind(), from.id(), fields);
  request.uplink = text_of(from.uplink());
  request.points = from.points();
  if (request.points == 0 || request.points > 127) fields.refuse("points " + std::to_string(request.points) + " are unknown");
  request.drop = text_of(from.drop());
  request.snaplen = from.snaplen();
  request.filter = decode(from.filter(), fields);
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed CaptureRequest: " + fields.error());
  return TableMessage(std::move(request));
}

Result<TableMessage> decode(const fb::CaptureData& from) {
  Fields fields;
  CaptureData data;
  data.error = text_of(from.error());
  data.hint = text_of(from.hint());
  data.lost = from.lost();
  if (from.packets() != nullptr) {
    for (const auto* p : *from.packets()) {
      CapturedPacket packet;
      packet.time_ns = p->time_ns();
      packet.point = static_cast<CapturePoint>(p->point());
      if (p->point() == 0 || p->point() > 64 || (p->point() & (p->point() - 1)) != 0) {
        fields.refuse("capture point " + std::to_string(p->point()) + " is unknown");
      }
      packet.ethernet = p->ethernet();
      packet.attachment = attachment_if_any(p->kind(), p->id(), fields);
      packet.uplink = text_of(p->uplink());
      packet.drop = text_of(p->drop());
      packet.length = p->length();
      packet.bytes = bytes_of(p->bytes());
      data.packets.push_back(std::move(packet));
    }
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed CaptureData: " + fields.error());
  return TableMessage(std::move(data));
}

}  // namespace simplon::ipc
