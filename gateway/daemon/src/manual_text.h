// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/manual/manual.h"

namespace simplon::daemon {

/// What simplond(8) says beyond its options.
[[nodiscard]] inline ManualText manual_text(const char* version) {
  ManualText text;
  text.section = 8;
  text.summary = "control daemon of the Simplon gateway";
  text.version = version;
  text.description =
      "simplond keeps FRRouting, charon and simplon-forwarder as the stored configuration says, resolves learned routes "
      "into the tables of the forwarder, and serves the local API, which simplon(1) speaks.\n\n"
      "It ends at SIGTERM or SIGINT without touching namespaces, routing daemons, charon or the forwarder: they go on, "
      "and its next start adopts them. No packet is lost and no session drops meanwhile.";
  text.sections = {
      {"Units",
       "simplond.service\n\tThis program. Wants the next two and survives without them.\n\n"
       "simplon-forwarder.service\n\tThe data path. Needs nobody.\n\n"
       "simplon-charon.service\n\tcharon with a configuration of its own.\n\n"
       "simplon-charon-wait.service\n\tWhile another process has UDP port 500 or 4500: starts charon when they are "
       "free.\n\n"
       "simplon-netns@NETNS.service\n\tThe network namespace of a domain.\n\n"
       "simplon-zebra@NETNS.service, simplon-bgpd@NETNS.service, simplon-bfdd@NETNS.service\n\t"
       "The routing daemons of a domain. simplond starts and stops them; they outlive it."},
      {"Files",
       "/etc/simplon\n\tKeys, which belong to user simplond, and the configuration of charon.\n\n"
       "/var/lib/simplon\n\tConfiguration with its history, ids, audit.log, and the key that signs it; of user "
       "simplond.\n\n"
       "/etc/default/simplon-forwarder\n\tOptions of simplon-forwarder.\n\n"
       "/usr/share/simplon/simplon.schema.json\n\tJSON Schema of the configuration.\n\n"
       "/usr/share/doc/simplon\n\tHow to install, operate and mend a gateway; an example of a configuration.\n\n"
       "/run/simplon\n\tSockets.\n\n"
       "/run/simplon-frr\n\tWhat the routing daemons of domains read when they start; written by simplond. Nothing in "
       "/etc/frr is touched.\n\n"
       "/usr/share/polkit-1/rules.d/50-simplon.rules\n\tLets user simplond start and stop the units of domains."},
      {"Exit status",
       "0\n\tEnded by SIGTERM or SIGINT.\n\n1\n\tIt cannot start; the reason is on standard error, that is in the "
       "journal.\n\n2\n\tBad usage."}};
  text.see_also = {"simplon(1)", "simplon.yaml(5)", "simplon-forwarder(8)"};
  return text;
}

}  // namespace simplon::daemon
