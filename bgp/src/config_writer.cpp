// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/config_writer.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <optional>
#include <vector>

#include "bgp/src/frr_config.h"
#include "bgp/src/frr_config_diff.h"
#include "bgp/src/frr_status.h"
#include "platform/base/log.h"

namespace simplon::bgp {
namespace asio = boost::asio;
namespace {

using namespace std::chrono_literals;

// zebra hands `fpm` commands to another thread. Until that has acted, the old value is shown, and `no fpm
// use-next-hop-groups` is a toggle there: sent twice in that time, it ends where it began.
constexpr std::chrono::milliseconds kSettleTime = 2s;
constexpr std::chrono::milliseconds kSettlePoll = 20ms;

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (auto& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

bool opens_context(std::string_view command) {
  return command.substr(0, 7) == "router " || command.substr(0, 10) == "route-map " ||
         command.substr(0, 15) == "address-family " || command == "bfd" || command.substr(0, 8) == "profile ";
}

/// "neighbor A password P" -> A.
std::optional<std::string> neighbor_with_password(const std::string& command) {
  constexpr std::string_view kWord = "neighbor ";
  if (command.compare(0, kWord.size(), kWord) != 0) return std::nullopt;
  const auto end = command.find(' ', kWord.size());
  if (end == std::string::npos || command.compare(end, 10, " password ") != 0) return std::nullopt;
  return command.substr(kWord.size(), end - kWord.size());
}

Error refused(const std::string& daemon, const std::string& command, const VtyReply& reply) {
  // FRR may repeat the command, with the password.
  const std::string words =
      command.find(" password ") == std::string::npos ? ": " + one_line(reply.text) : std::string();
  return make_error(ErrorCode::kInvalidConfig,
               daemon + " refuses '" + redacted(command) + "' (status " + std::to_string(reply.status) + ")" + words,
               "simplon works with Debian's FRR 8.4.4");
}

/// What is still to do; waits up to `patience` for that to become nothing.
asio::awaitable<Result<ConfigChange>> difference(VtyClient& vty, const std::string& daemon, const std::string& wanted,
                                                 std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const std::string show = "show running-config";
    auto running = co_await vty.command(show);
    if (!running) co_return Unexpected(std::move(running).error());
    if (running->status != VtyReply::kSuccess) {
      co_return fail(ErrorCode::kPeer, daemon + " does not show its configuration: " + one_line(running->text));
    }
    auto change = diff_config(running->text, wanted);
    if (!change || change->empty() || std::chrono::steady_clock::now() >= deadline) co_return change;
    asio::steady_timer timer(vty.executor(), kSettlePoll);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

/// Resets those of the neighbors whose session a limit of prefixes ended; the others are left alone.
asio::awaitable<Result<void>> restart_limited(VtyClient& bgpd, std::set<std::string>& addresses) {
  if (addresses.empty()) co_return Result<void>();
  const std::string question = "show bgp neighbors json";
  auto reply = co_await bgpd.command(question);
  if (!reply) co_return Unexpected(std::move(reply).error());
  const auto sessions = parse_neighbors(reply->text);
  if (!sessions) {
    // They come back by themselves when their timer ends.
    spdlog::warn("after a limit of prefixes was raised: {}", sessions.error().message());
    addresses.clear();
    co_return Result<void>();
  }
  while (!addresses.empty()) {
    const std::string text = *addresses.begin();
    const auto address = IpAddress::parse(text);
    const auto session = address ? sessions->find(*address) : sessions->end();
    if (session != sessions->end() && session->second.prefix_limit_exceeded) {
      const std::string reset = "clear bgp " + text;
      auto done = co_await bgpd.command(reset);
      if (!done) co_return Unexpected(std::move(done).error());
    }
    addresses.erase(text);
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> reset_sessions(VtyClient& bgpd, OwedResets& owed) {
  while (!owed.always.empty()) {
    const std::string address = *owed.always.begin();
    const std::string reset = "clear bgp " + address;
    // bgpd refuses one for a neighbor that is gone, which is well.
    auto reply = co_await bgpd.command(reset);
    if (!reply) co_return Unexpected(std::move(reply).error());
    owed.always.erase(address);
    owed.if_limited.erase(address);
  }
  co_return co_await restart_limited(bgpd, owed.if_limited);
}

/// Sends all commands, also after one that is refused. The first refusal, or nothing.
asio::awaitable<Result<std::optional<Error>>> send(VtyClient& vty, const std::string& daemon, const ConfigChange& change) {
  std::vector<std::string> commands = {"configure terminal"};
  commands.insert(commands.end(), change.commands.begin(), change.commands.end());
  std::optional<Error> first_error;
  std::optional<std::string> without_key;
  for (const auto& command : commands) {
    // What else there is about a neighbor that was just removed.
    if (without_key && command.compare(0, 9 + without_key->size() + 1, "neighbor " + *without_key + " ") == 0) continue;
    auto reply = co_await vty.command(command);
    if (!reply) co_return Unexpected(std::move(reply).error());
    if (reply->status == VtyReply::kSuccess) continue;

    const auto neighbor = neighbor_with_password(command);
    if (neighbor) {
      without_key = neighbor;
      const std::string removal = "no neighbor " + *neighbor;
      auto removed = co_await vty.command(removal);
      if (!removed) co_return Unexpected(std::move(removed).error());
    }
    if (!first_error) {
      first_error = neighbor ? make_error(ErrorCode::kExhausted,
                                     "the kernel takes no TCP-MD5 key for neighbor " + *neighbor +
                                         "; the neighbor is left out",
                                     "raise net.core.optmem_max: each key needs 136 bytes of it")
                             : refused(daemon, command, *reply);
    }
    if (opens_context(command) || command == "configure terminal") break;
  }
  const std::string end = "end";
  auto ended = co_await vty.command(end);
  if (!ended) co_return Unexpected(std::move(ended).error());
  co_return first_error;
}

}  // namespace

asio::awaitable<Result<void>> write_config(VtyClient& vty, std::string daemon, std::string wanted, bool just_started,
                                           OwedResets& owed) {
  auto change = co_await difference(vty, daemon, wanted, just_started ? kSettleTime : 0ms);
  if (!change) co_return Unexpected(std::move(change).error());
  owed.always.insert(change->resets.begin(), change->resets.end());
  owed.if_limited.insert(change->raised_limits.begin(), change->raised_limits.end());
  if (change->empty()) co_return co_await reset_sessions(vty, owed);

  spdlog::debug("{}: {} configuration command(s)", daemon, change->commands.size());
  auto refusal = co_await send(vty, daemon, *change);
  if (!refusal) co_return Unexpected(std::move(refusal).error());
  auto reset = co_await reset_sessions(vty, owed);
  if (*refusal) co_return Unexpected(**std::move(refusal));
  if (!reset) co_return reset;

  auto rest = co_await difference(vty, daemon, wanted, kSettleTime);
  if (!rest) co_return Unexpected(std::move(rest).error());
  if (!rest->empty()) {
    std::string lines;
    for (const auto& command : rest->commands) lines += (lines.empty() ? "'" : ", '") + redacted(command) + "'";
    co_return fail(ErrorCode::kBug, daemon + " took its configuration, but still needs " + lines,
                   "simplon works with Debian's FRR 8.4.4");
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> announce_again(VtyClient& bgpd, std::uint32_t asn) {
  // A change of the table-map makes bgpd announce the whole table; the map permits everything, so nothing is withdrawn.
  const std::vector<std::string> commands = {"configure terminal",
                                             "route-map SIMPLON-AGAIN permit 10",
                                             "exit",
                                             "router bgp " + std::to_string(asn),
                                             "address-family ipv4 unicast",
                                             "table-map SIMPLON-AGAIN",
                                             "no table-map SIMPLON-AGAIN",
                                             "exit-address-family",
                                             "address-family ipv6 unicast",
                                             "table-map SIMPLON-AGAIN",
                                             "no table-map SIMPLON-AGAIN",
                                             "exit-address-family",
                                             "exit",
                                             "no route-map SIMPLON-AGAIN",
                                             "end"};
  for (const auto& command : commands) {
    auto reply = co_await bgpd.command(command);
    if (!reply) co_return Unexpected(std::move(reply).error());
    if (reply->status != VtyReply::kSuccess) co_return Unexpected(refused("bgpd", command, *reply));
  }
  co_return Result<void>();
}

}  // namespace simplon::bgp
