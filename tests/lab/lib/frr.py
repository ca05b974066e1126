# SPDX-License-Identifier: GPL-2.0-or-later
"""FRR, as the BGP speaker of an on-premises router: its own pathspace, named like the namespace it runs in."""
import json
import pathlib
import shutil

from .expect import expect
from .topo import run

CONFIGURATION = """
frr defaults traditional
bfd
 profile tun
  detect-multiplier 3
  receive-interval 300
  transmit-interval 300
 exit
exit
router bgp {asn}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {neighbor} remote-as {neighbor_asn}
 neighbor {neighbor} timers 10 30
 neighbor {neighbor} timers connect 2
 {password}
 {bfd}
 address-family ipv4 unicast
  network {network}
 exit-address-family
exit
"""


class Frr:
    def __init__(self, space, *, router_id, asn, neighbor, neighbor_asn, network, password=None, bfd=False):
        self.space = space
        self.neighbor = neighbor
        name = space.name
        self.folders = [pathlib.Path("/etc/frr") / name, pathlib.Path("/run/frr") / name]
        for folder in self.folders:
            folder.mkdir(parents=True)
            shutil.chown(folder, "frr", "frr")
        (self.folders[0] / "vtysh.conf").write_text("")
        configuration = self.folders[0] / "frr.conf"
        configuration.write_text(CONFIGURATION.format(
            asn=asn, router_id=router_id, neighbor=neighbor, neighbor_asn=neighbor_asn, network=network,
            password=f"neighbor {neighbor} password {password}" if password else "!",
            bfd=f"neighbor {neighbor} bfd profile tun" if bfd else "!"))
        shutil.chown(configuration, "frr", "frr")
        self.processes = []
        for daemon in ("zebra", "bfdd", "bgpd"):
            self.processes.append(space.spawn([f"/usr/lib/frr/{daemon}", "-N", name, "-P", "0", "-i",
                                               self.folders[1] / f"{daemon}.pid"], log=f"{space.short}.{daemon}.log"))
            expect(lambda: (self.folders[1] / f"{daemon}.vty").exists(), 10, f"{daemon} answers")
        run(["vtysh", "-N", name, "-b"])

    def show(self, command):
        return json.loads(run(["vtysh", "-N", self.space.name, "-c", f"show {command} json"]).stdout)

    def established(self):
        peers = self.show("bgp ipv4 unicast summary").get("peers", {})
        return peers.get(self.neighbor, {}).get("state") == "Established"

    def learned(self):
        """Prefixes that came from the neighbor."""
        routes = self.show("bgp ipv4 unicast")["routes"]
        return sorted(prefix for prefix, paths in routes.items()
                      if any(path.get("path") for path in paths))

    def bfd_up(self):
        return any(peer["status"] == "up" for peer in self.show("bfd peers"))

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
