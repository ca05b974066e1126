// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/attachment_ref.h"

namespace simplon::forwarder {

forward::AttachmentId attachment_of(const ipc::AttachmentRef& ref) {
  // The two enumerations have the same values.
  return {static_cast<forward::AttachmentKind>(ref.kind), ref.id};
}

ipc::AttachmentRef ref_of(const forward::AttachmentId& id) {
  if (id.id == 0) return {};
  return {static_cast<ipc::AttachmentKind>(id.kind), id.id};
}

}  // namespace simplon::forwarder
