# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway whose XDP programs forward: two hosts with the kernel's own VXLAN devices, in two VPCs, and a router on a circuit.

Frames that XDP redirects into a veth need a NAPI at its other end (gro on); a partial checksum would need the worker (tx off).
"""
import pathlib

from . import traffic, vxlan_host
from .expect import expect
from .gateway import Gateway

VLAN_TAP = pathlib.Path(__file__).with_name("vlan_tap.py")
RED, BLUE = 5001, 5002
RED_VM, RED_VM6, BLUE_VM, BLUE_VM6 = "10.20.0.11", "fd00:20::11", "10.30.0.11", "fd00:30::11"
LINE, LINE6, OUR_LINE, OUR_LINE6, VLAN = "192.168.15.2", "fd15::2", "192.168.15.1", "fd15::1", "100"
RED_MTU, BLUE_MTU = 1430, 1400
VTEP, C1, C2 = "10.255.1.1", "10.255.1.11", "10.255.2.11"
OVER_IPV4 = {"vtep": VTEP, "red": C1, "blue": C2, "blue0": "10.255.2.1", "length": 24}
OVER_IPV6 = {"vtep": "2001:db8:1::1", "red": "2001:db8:1::11", "blue": "2001:db8:2::11", "blue0": "2001:db8:2::1", "length": 64}


def vpc(name, vni, n, address, address6, vtep, mtu):
    mac = vxlan_host.mac(vni, address)
    return {"name": name, "domain": "d", "vni": vni, "prefixes": [f"10.{n}.0.0/24", f"fd00:{n}::/64"],
            "gateway": [f"10.{n}.0.1/24", f"fd00:{n}::1/64"], "mtu": mtu,
            "endpoints": [{"address": one, "mac": mac, "vtep": vtep} for one in (address, address6)]}


class Hosts:
    def __init__(self, lab, underlay=None):
        self.underlay = underlay or OVER_IPV4
        self.gw, self.c1, self.c2, self.c3 = (lab.namespace(name) for name in ("gw", "c1", "c2", "c3"))
        self.add_host(lab, self.c1, "red0", self.underlay["vtep"], self.underlay["red"], RED, 20, RED_MTU, [f"{RED_VM}/24", f"{RED_VM6}/64"])
        self.add_host(lab, self.c2, "blue0", self.underlay["blue0"], self.underlay["blue"], BLUE, 30, BLUE_MTU, [f"{BLUE_VM}/24", f"{BLUE_VM6}/64"])
        self.c2.ip(f"route add {self.underlay['vtep']} via {self.underlay['blue0']}")
        if self.underlay is OVER_IPV4:
            self.c1.ip("addr add 10.255.1.66/24 dev eth0")
        self.add_line(lab)
        self.simplon = Gateway(self.gw)
        self.document = {
            "gateway": {"name": "gw", "vtep": self.underlay["vtep"]},
            "uplinks": [{"interface": "red0"}, {"interface": "blue0"}, {"interface": "line0"}],
            "domains": [{"name": "d"}],
            "vpcs": [vpc("red", RED, 20, RED_VM, RED_VM6, self.underlay["red"], RED_MTU),
                     vpc("blue", BLUE, 30, BLUE_VM, BLUE_VM6, self.underlay["blue"], BLUE_MTU)],
            "circuits": [{"name": "line", "domain": "d", "uplink": "line0", "vlan": int(VLAN),
                          "addresses": [f"{OUR_LINE}/30", f"{OUR_LINE6}/126"]}]}

    def add_host(self, lab, host, uplink, ours, theirs, vni, n, mtu, addresses):
        nodad = " nodad" if ":" in ours else ""
        lab.veth(self.gw, uplink, host, "eth0")
        self.gw.ip(f"addr add {ours}/{self.underlay['length']} dev {uplink}{nodad}")
        host.ip(f"addr add {theirs}/{self.underlay['length']} dev eth0{nodad}")
        host.run("ethtool", "-K", "eth0", "gro", "on", "tx", "off")
        vxlan_host.VxlanEndpoint(host, vni, addresses, [f"10.{n}.0.1", f"fd00:{n}::1"], theirs, self.underlay["vtep"], mtu=mtu)
        host.run("ethtool", "-K", f"vx{vni}", "tx", "off", check=False)

    def add_line(self, lab):
        lab.veth(self.gw, "line0", self.c3, "eth0")
        self.c3.run("ethtool", "-K", "eth0", "gro", "on", "tx", "off")
        tap = self.c3.spawn([VLAN_TAP, "eth0", "line", VLAN], log=lab.fresh("line.log"))
        expect(lambda: "ready" in tap.text(), 10, "the router is plugged into its VLAN")
        self.c3.ip(f"addr add {LINE}/30 dev line")
        self.c3.ip(f"addr add {LINE6}/126 dev line nodad")
        self.c3.ip(f"route add default via {OUR_LINE}")
        self.c3.ip(f"-6 route add default via {OUR_LINE6}")

    def uplink(self, name):
        """Of a forwarder that may just be starting."""
        def there():
            return next((one for one in self.simplon.show("status")["uplinks"] if one["interface"] == name), None)

        return expect(there, 20, f"the forwarder tells of {name}")

    def in_xdp(self, uplink="red0"):
        return self.uplink(uplink)["xdp_packets"]

    def wait_for_xdp(self, uplink="red0", within=30):
        """Traffic flows and grows the counter of what XDP forwarded."""
        before = self.in_xdp(uplink)
        expect(lambda: self.in_xdp(uplink) >= before + 100, within, f"packets from {uplink} are forwarded in XDP")

    def pass_in_xdp(self, source, uplink, destination, address):
        """Packets from the host `source` enter at `uplink`: XDP forwards them, none is lost or repeated."""
        with traffic.stream(getattr(self, source), getattr(self, destination), address) as stream:
            self.wait_for_xdp(uplink)
            traffic.carried(stream, 2000)
        assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, stream.result
        self.simplon.assert_accounted()


def running(lab, underlay=None):
    """The body of a fixture: the hosts, with everybody reachable; healthy at the end."""
    hosts = Hosts(lab, underlay)
    hosts.simplon.manage_forwarder()
    hosts.simplon.start()
    hosts.simplon.apply(hosts.document)
    for address in (BLUE_VM, BLUE_VM6, LINE, LINE6):
        traffic.reachable(hosts.c1, address)
    yield hosts
    hosts.simplon.assert_healthy()
