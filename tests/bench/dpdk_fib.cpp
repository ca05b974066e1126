// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/bench/dpdk_fib.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_version.h>

#include <array>
#include <string>

namespace simplon::bench {

std::unique_ptr<DpdkFib> DpdkFib::create(std::size_t most_routes) {
  static const bool started = [] {
    // Without huge pages of its own, other processes and devices.
    std::array<std::string, 9> words{"bench",    "--no-huge", "-m",      "1024",         "--no-shconf",
                                     "--no-pci", "--lcores",  "0@(0-1)", "--log-level=1"};
    std::array<char*, words.size()> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
    return rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0;
  }();
  if (!started) return nullptr;
  rte_fib_conf configuration{};
  configuration.type = RTE_FIB_DIR24_8;
  configuration.default_nh = 0;
  configuration.max_routes = static_cast<int>(most_routes);
  configuration.rib_ext_sz = 0;
  configuration.dir24_8.nh_sz = RTE_FIB_DIR24_8_4B;
  configuration.dir24_8.num_tbl8 = 32768;
  rte_fib* fib = rte_fib_create("rival", -1, &configuration);
  return fib == nullptr ? nullptr : std::unique_ptr<DpdkFib>(new DpdkFib(fib));
}

const char* DpdkFib::version() { return rte_version(); }

DpdkFib::~DpdkFib() { rte_fib_free(static_cast<rte_fib*>(fib_)); }

bool DpdkFib::add(std::uint32_t network, unsigned length, std::uint32_t value) {
  return rte_fib_add(static_cast<rte_fib*>(fib_), network, static_cast<std::uint8_t>(length), value) == 0;
}

void DpdkFib::lookup(std::uint32_t* addresses, std::uint64_t* values, unsigned count) {
  rte_fib_lookup_bulk(static_cast<rte_fib*>(fib_), addresses, values, static_cast<int>(count));
}

}  // namespace simplon::bench
