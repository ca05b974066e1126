# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import traffic
from lib import two_sites as t

UNDERLAY_MTU, MTU = 9100, 9000
RATE = 200


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("blue1",), mtu=UNDERLAY_MTU)
    for box, document in ((built.gateway_b(), built.gateway_b_document), (built.gateway(), lambda: built.gateway_document(site_a=False))):
        box.start()
        wanted = document()
        for vpc in wanted["vpcs"]:
            vpc["mtu"] = MTU
        box.apply(wanted)
    built.simplon.wait_tunnel("site-b")
    built.simplon.wait_bgp("site-b")
    built.simplon.wait_route("blue", "10.2.0.0/24")
    built.simplon_b.wait_route("site", "10.20.0.0/24")
    yield built
    built.assert_healthy()


def test_the_tunnel_knows_how_much_fits(sites):
    # Outer IPv4, ESP header, IV, ICV; trailer in a payload that is a multiple of 4 bytes.
    assert sites.simplon.tunnel("site-b")["programmed"]["mtu"] == (UNDERLAY_MTU - 20 - 8 - 8 - 16) // 4 * 4 - 2


@pytest.mark.parametrize("bytes", [3590, 3620, 3648, 3660, 3700, 4096, 8900, MTU])
def test_large_pings_pass_both_ways(sites, bytes):
    assert traffic.ping(sites.vm["blue1"], t.B_HOST, size=bytes - 28, dont_fragment=True).lost == 0
    assert traffic.ping(sites.b_host, t.VM["blue1"], size=bytes - 28, dont_fragment=True).lost == 0


def test_large_packets_between_small_ones_arrive_in_order(sites):
    with traffic.stream(sites.vm["blue1"], sites.b_host, t.B_HOST, rate=RATE, size="100,8900,3640,1400", port=7001) as out, \
            traffic.stream(sites.b_host, sites.vm["blue1"], t.VM["blue1"], rate=RATE, size="8900,100,3640", port=7002) as back:
        for stream in (out, back):
            traffic.carried(stream, 1000, within=60)
    for stream in (out, back):
        report = stream.result.report
        assert stream.result.lost == 0 and report["repeated"] == 0 and report["reordered"] == 0, str(stream.result)
    for box in (sites.simplon, sites.simplon_b):
        box.assert_accounted()
        assert box.drops()["no_slot"] == 0 and box.drops()["no_headroom"] == 0


def test_what_tcp_carries_is_what_was_sent(sites):
    traffic.tcp_transfer(sites.vm["blue1"], sites.b_host, t.B_HOST, megabytes=10)
    traffic.tcp_transfer(sites.b_host, sites.vm["blue1"], t.VM["blue1"], megabytes=10)
