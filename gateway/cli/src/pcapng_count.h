// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace simplon::cli {

/// Counts what a pcapng stream of simplond holds, as it passes by: packets, and those that its statistics call lost. Anything
/// else than whole blocks in little endian is passed over; it never reads behind what it was given.
class PcapngCount {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  void look(std::string_view block);

  std::string pending_;
  std::uint64_t packets_ = 0;
  std::uint64_t lost_ = 0;
  bool broken_ = false;
};

}  // namespace simplon::cli
