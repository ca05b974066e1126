// SPDX-License-Identifier: GPL-2.0-or-later
//
// simplon-netns add|delete NAME: the network namespace of a domain, for unit simplon-netns@NAME. systemd starts it in a
// network namespace of its own, to which it only gives the name, and in the mount namespace of the host, so that everybody
// sees it.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "platform/base/result.h"
#include "platform/sys/netns.h"

int main(int argc, char** argv) {
  const std::string verb = argc == 3 ? argv[1] : "";
  simplon::Result<void> done;
  if (verb == "add") {
    done = simplon::sys::name_own_domain_netns(argv[2]);
  } else if (verb == "delete") {
    done = simplon::sys::delete_netns(argv[2]);
  } else {
    std::fputs("usage: simplon-netns add|delete NAME\n", stderr);
    return 2;
  }
  if (done) return EXIT_SUCCESS;
  std::fprintf(stderr, "simplon-netns: %s\n", done.error().message().c_str());
  return EXIT_FAILURE;
}
