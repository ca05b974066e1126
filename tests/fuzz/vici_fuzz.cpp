// SPDX-License-Identifier: GPL-2.0-or-later
// charon's packets: whatever is parsed must encode to something that parses to the same, and must be readable as an SA.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "ipsec/src/charon_messages.h"
#include "ipsec/src/negotiation_log.h"
#include "ipsec/vici/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::ipsec;
  const auto packet = vici::parse_packet({data, size});
  if (!packet) return 0;
  const auto encoded = vici::encode_packet(*packet);
  if (!encoded) std::abort();  // the parser accepts nothing that cannot be written
  const auto again = vici::parse_packet(std::span(*encoded).subspan(4));
  if (!again || !(*again == *packet)) std::abort();
  (void)parse_sa(packet->message);
  NegotiationLog log;
  (void)log.add(packet->message, simplon::MonoTime{});
  return 0;
}
