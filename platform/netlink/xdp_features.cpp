// SPDX-License-Identifier: GPL-2.0-or-later
//
// Generic netlink, family "netdev" (Linux 6.3). Two requests with one answer each, over a socket of their own.
#include "platform/netlink/xdp_features.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "platform/sys/unique_fd.h"

namespace simplon::netlink {
namespace {

// Given by the kernel's netdev.h, which Debian 12 does not have.
constexpr std::uint8_t kCommandDevGet = 1;
constexpr std::uint16_t kAttributeIfindex = 1;
constexpr std::uint16_t kAttributeXdpFeatures = 3;
constexpr std::uint64_t kNdoXmit = 1U << 2;
constexpr std::uint8_t kFamilyVersion = 1;

struct Request {
  nlmsghdr header;
  genlmsghdr generic;
  nlattr attribute;
  std::array<char, 16> value;
};

/// One attribute of the answer; empty if the answer does not have it. Errors: the kernel's errno.
Result<std::vector<std::uint8_t>> ask(int socket, std::uint16_t family, std::uint8_t command, std::uint16_t attribute,
                                      std::span<const char> value, std::uint16_t wanted) {
  Request request{};
  request.attribute.nla_type = attribute;
  request.attribute.nla_len = static_cast<std::uint16_t>(sizeof request.attribute + value.size());
  std::memcpy(request.value.data(), value.data(), value.size());
  request.generic.cmd = command;
  request.generic.version = kFamilyVersion;
  request.header.nlmsg_type = family;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_len = static_cast<std::uint32_t>(offsetof(Request, value) + NLA_ALIGN(value.size()));
  if (::send(socket, &request, request.header.nlmsg_len, 0) < 0) return fail_errno("generic netlink", errno);
  alignas(nlmsghdr) std::array<std::uint8_t, 8192> answer;
  const ssize_t got = ::recv(socket, answer.data(), answer.size(), 0);
  if (got < 0) return fail_errno("generic netlink", errno);
  nlmsghdr header;
  const std::span<const std::uint8_t> bytes(answer.data(), static_cast<std::size_t>(got));
  if (bytes.size() < sizeof header) return fail(ErrorCode::kPeer, "generic netlink: a truncated answer");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.nlmsg_type == NLMSG_ERROR) {
    std::int32_t error = 0;
    if (bytes.size() >= sizeof header + sizeof error) std::memcpy(&error, bytes.data() + sizeof header, sizeof error);
    return fail_errno("generic netlink", -error);
  }
  for (std::size_t at = sizeof header + sizeof(genlmsghdr); at + sizeof(nlattr) <= bytes.size();) {
    nlattr found;
    std::memcpy(&found, bytes.data() + at, sizeof found);
    if (found.nla_len < sizeof found || found.nla_len > bytes.size() - at) break;
    if ((found.nla_type & NLA_TYPE_MASK) == wanted) {
      const auto inside = bytes.subspan(at + sizeof found, found.nla_len - sizeof found);
      return std::vector<std::uint8_t>(inside.begin(), inside.end());
    }
    at += NLA_ALIGN(found.nla_len);
  }
  return std::vector<std::uint8_t>{};
}

}  // namespace

Result<std::optional<XdpFeatures>> xdp_features(std::uint32_t interface_index) {
  const sys::UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket.valid()) return fail_errno("cannot open a generic netlink socket", errno);
  constexpr std::string_view kFamily("netdev\0", 7);
  const auto family = ask(socket.get(), GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
                          {kFamily.data(), kFamily.size()}, CTRL_ATTR_FAMILY_ID);
  std::uint16_t number = 0;
  if (!family || family->size() < sizeof number) return std::optional<XdpFeatures>{};
  std::memcpy(&number, family->data(), sizeof number);
  std::array<char, sizeof interface_index> index;
  std::memcpy(index.data(), &interface_index, sizeof interface_index);
  const auto features = ask(socket.get(), number, kCommandDevGet, kAttributeIfindex, index, kAttributeXdpFeatures);
  if (!features) return Unexpected(features.error());
  std::uint64_t bits = 0;
  if (features->size() < sizeof bits) return std::optional<XdpFeatures>{};
  std::memcpy(&bits, features->data(), sizeof bits);
  return std::optional<XdpFeatures>(XdpFeatures{(bits & kNdoXmit) != 0});
}

}  // namespace simplon::netlink
