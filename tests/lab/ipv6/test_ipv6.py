# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import capture, traffic, vxlan_host
from lib import two_sites as t
from lib.expect import expect
from lib.gateway import Gateway
from lib.topo import Namespace

GW, B = "2001:db8:1::1", "2001:db8:2::1"
VTEP, C1 = "2001:db8:ff::1", "2001:db8:ff::11"
VTEP_B, HOST_B = "2001:db8:fe::1", "2001:db8:fe::10"
VM4, VM6, HOST4, HOST6 = "10.20.0.11", "fd00:20::11", "10.2.0.10", "fd00:2::10"
MTU = 1430  # the outer IPv6 header is 20 bytes longer than IPv4's


class Sites:
    def __init__(self, lab):
        self.lab = lab
        self.wan = lab.namespace("wan", forwarding=True)
        self.gw, self.b_gw = lab.namespace("gw"), lab.namespace("b-gw")
        for space, port, address, router in ((self.gw, "to-gw", GW, "2001:db8:1::fe"), (self.b_gw, "to-b", B, "2001:db8:2::fe")):
            lab.veth(space, "wan0", self.wan, port)
            space.ip(f"addr add {address}/64 dev wan0 nodad")
            self.wan.ip(f"addr add {router}/64 dev {port} nodad")
            space.ip(f"-6 route add default via {router}")
        self.c1 = lab.namespace("c1")
        lab.veth(self.gw, "fab0", self.c1, "eth0")
        self.gw.ip(f"addr add {VTEP}/64 dev fab0 nodad")
        self.c1.ip(f"addr add {C1}/64 dev eth0 nodad")
        host = vxlan_host.ComputeHost(self.c1, C1)
        host.vpc(t.BLUE, ["10.20.0.1", "fd00:20::1"], VTEP, mtu=MTU)
        self.vm = host.vm("blue1", t.BLUE, [f"{VM4}/24", f"{VM6}/64"], ["10.20.0.1", "fd00:20::1"], mtu=MTU)
        self.host: Namespace = lab.namespace("b-host")
        lab.veth(self.b_gw, "lan0", self.host, "eth0")
        self.b_gw.ip(f"addr add {VTEP_B}/64 dev lan0 nodad")
        self.host.ip(f"addr add {HOST_B}/64 dev eth0 nodad")
        vxlan_host.VxlanEndpoint(self.host, t.LAN, [f"{HOST4}/24", f"{HOST6}/64"], ["10.2.0.1", "fd00:2::1"], HOST_B, VTEP_B,
                                 mtu=MTU)
        self.simplon, self.simplon_b = Gateway(self.gw), Gateway(self.b_gw)

    def document(self, box, here):
        us, them = (GW, B) if here == "gw" else (B, GW)
        n, m = (1, 2) if here == "gw" else (2, 1)
        if here == "gw":
            mac = vxlan_host.mac(t.BLUE, VM4)
            endpoints = [{"address": address, "mac": mac, "vtep": C1} for address in (VM4, VM6)]
            vpc = {"name": "blue", "domain": "d", "vni": t.BLUE, "prefixes": ["10.20.0.0/24", "fd00:20::/64"],
                   "gateway": ["10.20.0.1/24", "fd00:20::1/64"], "mtu": MTU, "endpoints": endpoints}
            ours, theirs = ["10.20.0.0/24", "fd00:20::/64"], ["10.2.0.0/24", "fd00:2::/64"]
        else:
            mac = vxlan_host.mac(t.LAN, HOST4)
            endpoints = [{"address": address, "mac": mac, "vtep": HOST_B} for address in (HOST4, HOST6)]
            vpc = {"name": "lan", "domain": "d", "vni": t.LAN, "prefixes": ["10.2.0.0/24", "fd00:2::/64"],
                   "gateway": ["10.2.0.1/24", "fd00:2::1/64"], "mtu": MTU, "endpoints": endpoints}
            ours, theirs = ["10.2.0.0/24", "fd00:2::/64"], ["10.20.0.0/24", "fd00:20::/64"]
        asn, remote = (65515, 65002) if here == "gw" else (65002, 65515)
        return {"gateway": {"name": here, "vtep": VTEP if here == "gw" else VTEP_B},
                "uplinks": [{"interface": "wan0"}, {"interface": "fab0" if here == "gw" else "lan0"}],
                "domains": [t.domain("d", asn, f"10.0.0.{n}",
                                     t.neighbor("v4", f"169.254.20.{m}", remote, theirs[:1], ours[:1]),
                                     t.neighbor("v6", f"fd00:ffff::{m}", remote, theirs[1:], ours[1:]))],
                "vpcs": [vpc],
                "tunnels": [{"name": "peer", "domain": "d", "local": us, "remote": them, "local-id": here,
                             "remote-id": "b" if here == "gw" else "gw", "psk-file": box.secret("psk", t.PSK_B),
                             "inside": [f"169.254.20.{n}/30", f"fd00:ffff::{n}/126"], "dpd-delay": "5s",
                             "initiate": here == "gw"}]}

    def start(self):
        for box, here in ((self.simplon_b, "b"), (self.simplon, "gw")):
            box.start().apply(self.document(box, here))
        for box in (self.simplon, self.simplon_b):
            box.wait_tunnel("peer")
            box.wait_bgp("v4")
            box.wait_bgp("v6")
        self.simplon.wait_route("d", "fd00:2::/64")
        self.simplon.wait_route("d", "10.2.0.0/24")
        self.simplon_b.wait_route("d", "fd00:20::/64")
        self.simplon_b.wait_route("d", "10.20.0.0/24")
        return self


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    built.wire = capture.Capture(built.wan, "to-gw")
    built.start()
    yield built
    for box in (built.simplon, built.simplon_b):
        box.assert_healthy()
        box.assert_accounted()


@pytest.mark.parametrize("size", [56, 1372, 8972])
def test_pings_inside_both_families(sites, size):
    for source, address in ((sites.host, VM6), (sites.vm, HOST6), (sites.host, VM4), (sites.vm, HOST4)):
        result = traffic.ping(source, address, size=size)
        assert result.lost == 0, result.text


def test_traceroute_shows_the_gateways(sites):
    assert traffic.traceroute(sites.host, VM6, ["-6"]) == ["fd00:2::1", "fd00:ffff::1", VM6]
    assert traffic.traceroute(sites.vm, HOST6, ["-6"]) == ["fd00:20::1", "fd00:ffff::2", HOST6]


def test_packet_too_big_names_the_mtu(sites):
    mtu = sites.simplon.tunnel("peer")["programmed"]["mtu"]
    assert mtu == (1500 - 40 - 8 - 8 - 16) // 4 * 4 - 2
    if mtu < MTU:
        before = sites.simplon.drops()["packet_too_big"]
        traffic.ping(sites.vm, HOST6, count=1, size=MTU - 48, dont_fragment=True)
        assert sites.simplon.drops()["packet_too_big"] > before


def test_tcp_both_families(sites):
    for source, target, address in ((sites.host, sites.vm, VM6), (sites.vm, sites.host, HOST6), (sites.host, sites.vm, VM4)):
        traffic.tcp_transfer(source, target, address, megabytes=5)


def test_no_packet_is_lost_over_rekeys(sites):
    with traffic.stream(sites.host, sites.vm, VM6) as stream:
        for _ in range(2):
            sites.simplon.cli("tunnel", "rekey", "peer")
            traffic.carried(stream, 500)
    assert stream.result.lost == 0, str(stream.result)


def test_the_wan_carried_only_ike_and_esp(sites):
    assert traffic.ping(sites.host, VM6).lost == 0
    capture.assert_wan_is_sealed(sites.wire)
    capture.assert_never_repeated(sites.wire)


def test_a_narrow_hop_over_ipv6_is_learned(sites):
    """The router between the gateways says "packet too big" about ESP over IPv6; both families inside follow."""
    def tunnel_mtu():
        return sites.simplon.tunnel("peer")["programmed"]["mtu"]

    before, mtu = tunnel_mtu(), (1400 - 40 - 8 - 8 - 16) // 4 * 4 - 2
    sites.wan.ip("link set to-b mtu 1400")
    sites.b_gw.ip("link set wan0 mtu 1400")  # a veth drops what the other end has no room for
    try:
        assert tunnel_mtu() == before
        assert traffic.ping(sites.vm, HOST6, count=1, size=1390 - 48, dont_fragment=True, wait=1).received == 0
        expect(lambda: tunnel_mtu() == mtu, 5, "the tunnel's MTU follows")
        assert traffic.ping(sites.vm, HOST6, size=mtu - 48, dont_fragment=True).lost == 0
        assert traffic.ping(sites.vm, HOST4, size=mtu - 28, dont_fragment=True).lost == 0
        assert traffic.ping(sites.vm, HOST6, count=1, size=mtu + 1 - 48, dont_fragment=True, wait=1).received == 0
        traffic.tcp_transfer(sites.vm, sites.host, HOST6, megabytes=5)
    finally:
        sites.wan.ip("link set to-b mtu 1500")
        sites.b_gw.ip("link set wan0 mtu 1500")
