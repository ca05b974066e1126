// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <string>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::sys {

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Binds and listens on `path` with exactly `mode`, never more permissive in between. A stale socket (nobody accepts) is
/// replaced. `type` is SOCK_STREAM or SOCK_SEQPACKET; non-blocking, close-on-exec.
/// Errors: kConflict if another process serves `path` or `path` is not a socket; kInvalidConfig if it is longer than 107
/// bytes; kUnavailable otherwise, naming the directory when that is what is missing.
[[nodiscard]] Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode);

/// Blocking connect; the descriptor is then non-blocking if `nonblocking`. Errors: kUnavailable.
[[nodiscard]] Result<UniqueFd> connect_unix(const std::string& path, int type, bool nonblocking);

/// A copy of a descriptor through a connected socket, as a message of its own. `receive_descriptor` waits as long as the socket does
/// (SO_RCVTIMEO). Errors: kPeer if the other end closed, or sent something else; kUnavailable.
[[nodiscard]] Result<void> send_descriptor(int socket, int descriptor);
[[nodiscard]] Result<UniqueFd> receive_descriptor(int socket);

/// SO_PEERCRED of a connected socket.
[[nodiscard]] Result<PeerCredentials> peer_credentials(int fd);

/// Is `uid` root, our own user, or the user of that name (if there is one)? Blocks for a look into the user database.
[[nodiscard]] bool is_trusted_user(uid_t uid, const char* name);

}  // namespace simplon::sys
