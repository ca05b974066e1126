// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstdlib>

#include "bgp/rib.h"
#include "bgp/src/fpm_message.h"

namespace {

class IntoRib final : public simplon::bgp::FpmRouteSink {
 public:
  void on_route(const simplon::bgp::FpmRoute& route) override {
    if (route.withdrawal) {
      rib.withdraw(route.prefix);
    } else {
      rib.upsert(route.prefix, route.nexthops);
    }
  }
  simplon::bgp::Rib rib;
};

std::optional<std::string> name_of(const void*, std::uint32_t ifindex) {
  if (ifindex % 3 == 0) return std::nullopt;
  return "tun" + std::to_string(ifindex % 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  IntoRib sink;
  simplon::bgp::FpmStatistics statistics;
  const auto consumed = simplon::bgp::decode_fpm({data, size}, sink, statistics);
  if (consumed && *consumed > size) std::abort();
  while (sink.rib.dirty()) static_cast<void>(sink.rib.take_changes(3, &name_of, nullptr));
  return 0;
}
