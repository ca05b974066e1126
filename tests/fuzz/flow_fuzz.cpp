// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any bytes that parse_inner lets pass, through what policy reads and writes of them: nothing behind the packet is touched, and
// a packet that was translated is of the flow it was translated to.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/policy/nat.h"

using namespace simplon::forward;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  std::vector<std::uint8_t> bytes(data, data + size);
  Transit packet;
  packet.reset();
  if (!parse_inner(bytes, packet.inner)) return 0;
  bytes.resize(packet.inner.length);
  bytes.shrink_to_fit();  // so that the sanitizer sees what is behind it
  packet.data = bytes.data();
  packet.length = packet.inner.length;
  const Flow flow = describe_flow(bytes, packet.inner, 7);
  if (flow.key.domain() != 7) std::abort();
  if (packet.inner.family != 4 || flow.kind == FlowKind::kTruncated) return 0;

  FlowKey to = flow.key;
  to.source.low = 0x0100400aU;
  to.destination.low = 0x0200400aU;
  if (to.ports != 0) to.ports ^= 0x00010001U & ((to.ports & 0xffffU ? 0xffffU : 0U) | (to.ports >> 16 ? 0xffff0000U : 0U));
  if (flow.kind == FlowKind::kIcmpError) {
    if (!rewrite_error(packet, Ipv4Ends::of(to), Ipv4Ends::of(to).reversed())) return 0;
  } else {
    rewrite(packet, Ipv4Ends::of(to));
  }
  InnerPacket again;
  if (!parse_inner(bytes, again)) std::abort();
  const Flow translated = describe_flow(bytes, again, 7);
  if (translated.kind != flow.kind) std::abort();
  if (flow.kind == FlowKind::kTracked || flow.kind == FlowKind::kIcmpError) {
    if (!(translated.key == to)) std::abort();
  }
  return 0;
}
