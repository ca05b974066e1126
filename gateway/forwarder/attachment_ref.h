// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/objects.h"
#include "gateway/ipc/table_model.h"

namespace simplon::forwarder {

/// The same attachment in the words of the data path, and back.
[[nodiscard]] forward::AttachmentId attachment_of(const ipc::AttachmentRef& ref);
[[nodiscard]] ipc::AttachmentRef ref_of(const forward::AttachmentId& id);

}  // namespace simplon::forwarder
