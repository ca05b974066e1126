// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/src/path/burst.h"

namespace simplon::forward {

/// Who has the gateway's address? Answers, or drops, a frame from `vtep`, which `vpc` accepts: ARP or a neighbor solicitation, to many or
/// to the gateway's MAC address. `packet` starts with the VXLAN header. False: a solicitation for somebody else, which goes on as it is.
[[nodiscard]] bool take_question(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc,
                                 const WireAddress& vtep) noexcept;

}  // namespace simplon::forward
