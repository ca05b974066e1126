// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "bgp/speaker.h"

namespace simplon::bgp {

inline IpAddress address(const char* text) { return IpAddress::parse(text).value(); }
inline IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

/// A rule for `text` and what is inside it up to `max_length`; exact without it.
inline PrefixRule rule(const char* text, unsigned max_length = 0) {
  const auto parsed = prefix(text);
  return {parsed, static_cast<std::uint8_t>(max_length == 0 ? parsed.length() : max_length)};
}

inline NeighborSpec neighbor(const char* name, const char* text, std::uint32_t asn) {
  NeighborSpec spec;
  spec.name = name;
  spec.address = address(text);
  spec.remote_asn = asn;
  return spec;
}

/// Two sites, one with everything, one plain over IPv6.
inline SpeakerSpec two_sites() {
  SpeakerSpec spec;
  spec.netns = "simplon-red";
  spec.asn = 65515;
  spec.router_id = address("169.254.10.1");
  spec.originate = {prefix("10.20.0.0/16"), prefix("fd20::/48")};
  auto a = neighbor("site-a", "169.254.10.2", 65001);
  a.password = "s3cret";
  a.bfd = true;
  a.import = {rule("192.168.0.0/16", 24), rule("10.1.0.0/16")};
  a.export_ = {rule("10.20.0.0/16")};
  auto b = neighbor("site-b", "fd00:1::2", 4200000001);
  b.import = {rule("fd00:b::/32", 64), rule("10.2.0.0/16", 24)};
  b.export_ = {rule("fd20::/48")};
  b.max_prefixes = 50;
  spec.neighbors = {a, b};
  return spec;
}

inline std::string read_data(const std::string& name) {
  std::ifstream file("tests/unit/bgp/data/" + name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace simplon::bgp
