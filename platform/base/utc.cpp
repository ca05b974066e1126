// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/utc.h"

#include <cstddef>
#include <ctime>

namespace simplon {

std::string format_utc(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return {};
  char text[40];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, length};
}

std::optional<std::chrono::system_clock::time_point> parse_utc(const std::string& text) {
  // Others are beyond 64 bits of nanoseconds.
  constexpr int kFirstYear = 1678;
  constexpr int kLastYear = 2261;
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end != text.c_str() + text.size()) return std::nullopt;
  if (parts.tm_year + 1900 < kFirstYear || parts.tm_year + 1900 > kLastYear) return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

}  // namespace simplon
