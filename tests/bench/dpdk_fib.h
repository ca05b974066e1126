// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace simplon::bench {

/// DPDK's rte_fib (DIR-24-8, 4-byte nexthops), as Debian packages it: the rival of our FIB. One per process.
class DpdkFib {
 public:
  /// nullptr: DPDK could not be started.
  [[nodiscard]] static std::unique_ptr<DpdkFib> create(std::size_t most_routes);
  /// DPDK's version.
  [[nodiscard]] static const char* version();
  ~DpdkFib();
  DpdkFib(const DpdkFib&) = delete;
  DpdkFib& operator=(const DpdkFib&) = delete;

  [[nodiscard]] bool add(std::uint32_t network, unsigned length, std::uint32_t value);
  void lookup(std::uint32_t* addresses, std::uint64_t* values, unsigned count);

 private:
  explicit DpdkFib(void* fib) : fib_(fib) {}
  void* fib_;
};

}  // namespace simplon::bench
