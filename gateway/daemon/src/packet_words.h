// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/ipc/api_request.h"
#include "gateway/ipc/inspect_model.h"
#include "platform/base/result.h"

// The words in which an operator describes packets, and what the forwarder is asked. Pure.

namespace simplon::daemon {

/// Something with a name that packets come through.
struct PacketPlace {
  /// "vpc", "tunnel", "circuit" or "uplink".
  std::string kind;
  std::string name;
  ipc::AttachmentRef attachment;
};

/// "vpc:blue", "tunnel:paris", "circuit:dallas", or a name that only one of them has. Errors: kInvalidConfig with a guess.
[[nodiscard]] Result<PacketPlace> find_place(const std::string& text, const GatewayConfig& config,
                                             const config::IdRegistry& ids);

/// An IP packet, complete with checksums. Errors: kInvalidConfig naming the word that is wrong.
[[nodiscard]] Result<std::vector<std::uint8_t>> build_packet(const ipc::PacketQuery& query);
/// Which packets. Errors: as above.
[[nodiscard]] Result<ipc::PacketFilter> filter_of(const ipc::PacketQuery& query);

}  // namespace simplon::daemon
