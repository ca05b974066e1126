// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/config/archive.h"
#include "platform/crypto/sha256.h"

namespace {

using nlohmann::json;
using simplon::config::Archive;

/// scrypt takes its time, which is not what is looked for.
bool is_cheap(const json& secrets) {
  const auto at_most = [&](const char* key, std::uint64_t most) {
    const auto found = secrets.find(key);
    return found == secrets.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() <= most;
  };
  return at_most("n", 16) && at_most("r", 1) && at_most("p", 1);
}

void read(const std::string& text) {
  auto archive = simplon::config::read_archive(text);
  if (!archive) return;
  if (archive->sealed.empty() || is_cheap(json::parse(archive->sealed))) {
    static_cast<void>(simplon::config::open_secrets(*archive, "passphrase"));
  }
  // What was understood is written as it is understood again.
  const auto again = simplon::config::read_archive(simplon::config::format_open_archive(*archive));
  if (!again || again->document != archive->document || again->ids != archive->ids || again->secrets != archive->secrets ||
      again->history.size() != archive->history.size()) {
    std::abort();
  }
}

}  // namespace

/// A file for `simplon config import`, and the same with the checksum that it should have.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  constexpr int kDepth = 20;  // deeper ones are not written by recursion here
  bool too_deep = false;
  json body = json::parse(
      text, [&](int depth, json::parse_event_t, const json&) { return !(too_deep = too_deep || depth > kDepth); }, false);
  if (too_deep || !body.is_object()) return 0;
  body.erase("sha256");
  const std::string rest = body.dump(-1, ' ', false, json::error_handler_t::replace);
  body["sha256"] = simplon::crypto::sha256_hex(rest);
  read(body.dump());
  return 0;
}
