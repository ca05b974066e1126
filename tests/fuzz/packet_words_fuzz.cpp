// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gateway/daemon/src/packet_words.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

/// The query of a trace, as text: what becomes a packet is a valid one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto request = ipc::parse_api_request("GET", "/v1/trace?" + text, "");
  if (!request) return 0;
  static_cast<void>(daemon::filter_of(request->packet));
  const auto packet = daemon::build_packet(request->packet);
  if (!packet) return 0;
  const bool v4 = !packet->empty() && packet->front() >> 4 == 4;
  const wire::Ipv4Header* ip = v4 ? wire::parse_ipv4(*packet) : nullptr;
  if (v4 ? ip == nullptr || !wire::ipv4_checksum_ok(*ip) : wire::parse_ipv6(*packet) == nullptr) std::abort();
  return 0;
}
