# SPDX-License-Identifier: GPL-2.0-or-later
"""What one would build without Simplon: charon on kernel-libipsec, the kernel's routing and VXLAN. The yardstick of the
demo's TCP rate, and the proof that the peers of the labs work among themselves."""
from . import bird, charon, vxlan_host
from . import two_sites as t


def vxlan(space, vni, address, vtep, endpoints):
    """The kernel as a VXLAN gateway: `endpoints` is {inner address: underlay address}."""
    device = f"vx{vni}"
    space.ip(f"link add {device} address {vxlan_host.gateway_mac(vni)} mtu 1450 type vxlan id {vni} local {vtep} "
             "dstport 4789 nolearning")
    space.ip(f"link set {device} up")
    space.ip(f"addr add {address} dev {device}")
    for inner, underlay in endpoints.items():
        lladdr = vxlan_host.mac(vni, inner)
        space.run("bridge", "fdb", "replace", lladdr, "dev", device, "dst", underlay, "self", "permanent")
        space.ip(f"neigh replace {inner} lladdr {lladdr} dev {device} nud permanent")


def to_site_a(sites):
    """Plays the gateway for site-a and VPC red; returns (charon, bird)."""
    space = sites.gw
    daemon = charon.stock(space, local=t.GW_WAN, remote=t.A_WAN, local_id="gw", remote_id="site-a", psk=t.PSK_A,
                          start="none")
    charon.inside_address(space, f"{t.GW_INSIDE_A}/30")
    space.sysctl(net__ipv4__ip_forward=1)
    vxlan(space, t.RED, "10.20.0.1/24", t.GW_VTEP,
          {t.VM[vm]: t.C_UNDERLAY[t.VM_HOST[vm]] for vm in sites.vm if vm.startswith("red")})
    speaker = bird.Bird(space, router_id="10.0.0.1", lan="vx100", local=t.GW_INSIDE_A, asn=65515, neighbor=t.A_INSIDE,
                        neighbor_asn=65001, password=t.BGP_PASSWORD)
    return daemon, speaker


class StockPair:
    """Both gateways of the demo's site-b path as stock boxes, on the same veths: b-host <-> blue VMs."""

    def __init__(self, sites):
        self.sites = sites

    def start(self):
        sites = self.sites
        self.far = charon.stock(sites.gw, local=t.GW_WAN, remote=t.B_WAN, local_id="gw", remote_id="site-b",
                                psk=t.PSK_B, start="none")
        self.near = charon.stock(sites.b_gw, local=t.B_WAN, remote=t.GW_WAN, local_id="site-b", remote_id="gw",
                                 psk=t.PSK_B)
        charon.inside_address(sites.gw, f"{t.GW_INSIDE_B}/30")
        charon.inside_address(sites.b_gw, f"{t.B_INSIDE}/30")
        for space in (sites.gw, sites.b_gw):
            space.sysctl(net__ipv4__ip_forward=1)
        vxlan(sites.gw, t.BLUE, "10.20.0.1/24", t.GW_VTEP,
              {t.VM[vm]: t.C_UNDERLAY[t.VM_HOST[vm]] for vm in sites.vm if vm.startswith("blue")})
        vxlan(sites.b_gw, t.LAN, "10.2.0.1/24", t.B_VTEP, {t.B_HOST: t.B_HOST_UNDERLAY})
        charon.wait_installed(self.near)
        sites.gw.ip(f"route add 10.2.0.0/24 via {t.B_INSIDE}")
        sites.b_gw.ip(f"route add 10.20.0.0/24 via {t.GW_INSIDE_B}")
        return self

    def stop(self):
        sites = self.sites
        self.near.stop()
        self.far.stop()
        for space, device in ((sites.gw, f"vx{t.BLUE}"), (sites.b_gw, f"vx{t.LAN}")):
            space.ip(f"link delete {device}")
            space.sysctl(net__ipv4__ip_forward=0)
