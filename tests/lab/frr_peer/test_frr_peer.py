# SPDX-License-Identifier: GPL-2.0-or-later
import time

import pytest

from lib import charon, frr, traffic
from lib import two_sites as t
from lib.expect import expect


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1",), site_b=False)
    document = built.gateway().start() and built.gateway_document(site_b=False)
    document["domains"][0]["bgp"]["neighbors"][0]["bfd"] = True
    built.simplon.apply(document)
    built.a_charon = charon.stock(built.a_rtr, local=t.A_WAN, remote=t.GW_WAN, local_id="site-a", remote_id="gw", psk=t.PSK_A)
    charon.inside_address(built.a_rtr, f"{t.A_INSIDE}/30")
    built.simplon.wait_tunnel("site-a")
    built.frr = frr.Frr(built.a_rtr, router_id="10.255.1.1", asn=65001, neighbor=t.GW_INSIDE_A, neighbor_asn=65515,
                        network="10.1.0.0/24", password=t.BGP_PASSWORD, bfd=True)
    built.simplon.wait_bgp("site-a")
    built.simplon.wait_route("red", "10.1.0.0/24")
    expect(lambda: built.frr.learned() == ["10.20.0.0/24"], 30, "FRR learned the VPC's prefix")
    expect(built.frr.bfd_up, 30, "BFD is up")
    yield built
    built.assert_healthy()


def test_hosts_reach_each_other(sites):
    traffic.reachable(sites.a_host, t.VM["red1"])
    assert traffic.ping(sites.vm["red1"], t.A_HOST).lost == 0
    assert sites.simplon.neighbor("site-a")["observed"]["bfd_state"].lower() == "up"


def test_bfd_withdraws_the_route_when_the_wire_dies(sites):
    wan = sites.wan
    wan.run("nft", "add table ip cut")
    wan.run("nft", "add chain ip cut f { type filter hook forward priority 0; }")
    wan.run("nft", "add rule ip cut f udp dport 4500 drop")
    began = time.monotonic()
    try:
        expect(lambda: "10.1.0.0/24" not in sites.simplon.routes("red"), 10, "the route is withdrawn")
        sites.lab.note(f"withdrawn {time.monotonic() - began:.2f} s after the cut")
    finally:
        wan.run("nft", "delete table ip cut")
    sites.simplon.wait_bgp("site-a")
    sites.simplon.wait_route("red", "10.1.0.0/24")
    traffic.reachable(sites.a_host, t.VM["red1"])
