// SPDX-License-Identifier: GPL-2.0-or-later
//
// Input: the message's type in one byte (RTM_BASE and on), then what follows nlmsghdr.
#include <linux/rtnetlink.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "platform/netlink/src/parse.h"

/// Any message with a right length is a value or none; nothing behind it is read, and what is a value is in its limits.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::netlink;
  if (size == 0 || size > 65536) return 0;
  const std::size_t length = sizeof(nlmsghdr) + size - 1;
  std::vector<std::uint32_t> words((length + 3) / 4);
  auto* message = reinterpret_cast<nlmsghdr*>(words.data());
  message->nlmsg_len = static_cast<std::uint32_t>(length);
  message->nlmsg_type = static_cast<std::uint16_t>(RTM_BASE + data[0]);
  if (size > 1) std::memcpy(message + 1, data + 1, size - 1);
  if (const auto link = parse_link(*message); link && link->name.size() > size) std::abort();
  if (const auto address = parse_address(*message);
      address && address->address.length > address->address.address.bits()) {
    std::abort();
  }
  if (const auto neighbor = parse_neighbor(*message);
      neighbor && neighbor->state == NeighborState::kValid && neighbor->mac.is_zero()) {
    std::abort();
  }
  static_cast<void>(parse_route(*message));
  return 0;
}
