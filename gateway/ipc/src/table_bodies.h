// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/ipc/table_protocol.h"
#include "table_generated.h"

// The bodies of table messages, each from verified bytes to a checked value. Pure. Errors: kPeer, which names the field.

namespace simplon::ipc {

// table_decode_objects.cpp
[[nodiscard]] Result<TableMessage> decode(const fb::Update& from);

// table_decode_stats.cpp
[[nodiscard]] Result<TableMessage> decode(const fb::Stats& from);

// table_decode_inspection.cpp
[[nodiscard]] Result<TableMessage> decode(const fb::TraceRequest& from);
[[nodiscard]] Result<TableMessage> decode(const fb::Trace& from);
[[nodiscard]] Result<TableMessage> decode(const fb::CaptureRequest& from);
[[nodiscard]] Result<TableMessage> decode(const fb::CaptureData& from);

}  // namespace simplon::ipc
