// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <intel-ipsec-mb.h>

namespace simplon::crypto {

/// The functions of ipsec-mb that fit this processor; nullptr if it lacks the instructions. Read only, so one serves all
/// threads: good for whatever keeps nothing in a manager.
[[nodiscard]] const IMB_MGR* imb_dispatch() noexcept;

}  // namespace simplon::crypto
