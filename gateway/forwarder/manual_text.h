// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/manual/manual.h"

namespace simplon::forwarder {

/// What simplon-forwarder(8) says beyond its options.
[[nodiscard]] inline ManualText manual_text(const char* version) {
  ManualText text;
  text.section = 8;
  text.summary = "data path of the Simplon gateway";
  text.version = version;
  text.description =
      "simplon-forwarder forwards between VXLAN, ESP and the host ports of the domains, with tables from simplond(8) and "
      "security associations from charon. It receives through AF_XDP: an XDP program on each uplink passes everything "
      "that is not for the gateway to the kernel, forwards between VPCs and circuits of a domain by itself where it can, and goes away with the process.\n\n"
      "It knows no configuration and needs nobody: it goes on with its last tables when simplond, charon or the routing "
      "daemons are gone.";
  text.sections = {
      {"Capabilities",
       "CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN are needed; CAP_BPF and CAP_IPC_LOCK are used where they are there, as "
       "is CAP_DAC_OVERRIDE, which the unit does not give. All others are given up at the start."},
      {"Workers",
       "Each receive queue of an uplink belongs to one worker: queue q to worker q modulo their number. Threads without a queue on "
       "an uplink send through the socket of one that has. More than one is worth it where uplinks have several queues."},
      {"Files",
       "/etc/default/simplon-forwarder\n\tSIMPLON_FORWARDER_OPTIONS: options of the service.\n\n"
       "/run/simplon/forwarder.sock\n\tTables come from here.\n\n/run/simplon/sa.sock\n\tKeys come from here; nobody "
       "else sees them.\n\n/run/simplon/succession.sock\n\tThe next forwarder takes over here (systemctl reload)."},
      {"Exit status",
       "0\n\tEnded by SIGTERM or SIGINT.\n\n1\n\tIt cannot start; the reason is on standard error, that is in the "
       "journal.\n\n2\n\tBad usage."}};
  text.see_also = {"simplon(1)", "simplond(8)"};
  return text;
}

}  // namespace simplon::forwarder
