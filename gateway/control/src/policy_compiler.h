// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/control/src/attachment_index.h"
#include "gateway/control/table_set.h"

namespace simplon::control {

/// Access lists, policies and NAT of `config`, into `tables`.
void compile_policies(const GatewayConfig& config, const config::IdRegistry& ids, const AttachmentIndex& attachments,
                      TableSet& tables);

}  // namespace simplon::control
