# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect


def esp_mtu(path, encap, outer_header=20):
    """Largest inner packet: outer header, UDP, SPI and sequence number, IV and ICV of AES-GCM (RFC 4106), and a trailer of
    2 bytes in a payload that is a multiple of 4 bytes (RFC 4303 section 2.4)."""
    room = path - outer_header - (8 if encap else 0) - 8 - 8 - 16
    return room // 4 * 4 - 2


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"))
    built.start_all()
    yield built
    built.assert_healthy()


def test_the_computed_mtu_is_shown(sites):
    assert sites.simplon.tunnel("site-a")["programmed"]["mtu"] == esp_mtu(1500, True)
    assert sites.simplon.tunnel("site-b")["programmed"]["mtu"] == esp_mtu(1500, False)


def forget_path_mtu(space):
    space.ip("route flush cache")


def test_what_fits_passes_and_what_does_not_is_answered_with_the_mtu(sites):
    blue, mtu = sites.vm["blue1"], esp_mtu(1500, False)
    forget_path_mtu(blue)
    assert traffic.ping(blue, t.B_HOST, size=mtu - 28, dont_fragment=True).lost == 0
    before = sites.simplon.drops()["fragmentation_needed"]
    wire = capture.Capture(blue, "eth0", filter="icmp[icmptype] == icmp-unreach")
    assert traffic.ping(blue, t.B_HOST, count=1, size=mtu - 28 + 1, dont_fragment=True, wait=1).received == 0
    rows = wire.stop().fields("ip.src", "icmp.mtu")
    assert rows and rows[0][0].split(",")[0] == "10.20.0.1" and rows[0][1] == str(mtu), rows
    assert sites.simplon.drops()["fragmentation_needed"] > before
    forget_path_mtu(blue)


def test_fragments_are_made_before_encryption(sites):
    """Each ESP packet is whole: the peer never reassembles outer fragments."""
    blue = sites.vm["blue1"]
    wire = capture.Capture(sites.wan, "to-gw")
    assert traffic.ping(blue, t.B_HOST, size=1450 - 28).lost == 0
    assert traffic.ping(sites.vm["red1"], t.A_HOST, size=8972).lost == 0
    wire.stop()
    assert wire.count("ip.flags.mf == 1 or ip.frag_offset > 0") == 0
    sizes = [int(row[0].split(",")[0]) for row in wire.fields("ip.len", display="esp")]
    assert sizes and max(sizes) <= 1500


def test_tracepath_finds_the_mtu(sites):
    blue = sites.vm["blue1"]
    forget_path_mtu(blue)
    text = blue.out("tracepath", "-n", t.B_HOST, timeout=60)
    assert f"pmtu {esp_mtu(1500, False)}" in text, text
    forget_path_mtu(blue)


@pytest.mark.parametrize("encap,source,target,address", [
    (True, "a-host", "red1", t.VM["red1"]), (True, "red1", "a-host", t.A_HOST),
    (False, "b-host", "blue1", t.VM["blue1"]), (False, "blue1", "b-host", t.B_HOST)])
def test_mss_is_clamped_in_both_directions(lab, sites, encap, source, target, address):
    source, target = lab.namespaces[source], lab.namespaces[target]
    device = "vx700" if target.short == "b-host" else "eth0"
    wire = capture.Capture(target, device, filter="tcp")
    traffic.tcp_transfer(source, target, address, megabytes=1)
    seen = {int(row[0]) for row in wire.stop().fields("tcp.options.mss_val", display="tcp.flags.syn == 1 and tcp.flags.ack == 0")}
    assert seen and max(seen) <= esp_mtu(1500, encap) - 40, seen


def test_a_smaller_path_is_followed(sites):
    """The gateway's route to site-b gets a smaller MTU: the tunnel's MTU follows, both ways of telling the sender work."""
    mtu = esp_mtu(1300, False)
    sites.gw.ip("route add 192.0.2.0/24 via 203.0.113.254 mtu 1300")
    try:
        expect(lambda: sites.simplon.tunnel("site-b")["programmed"]["mtu"] == mtu, 15, "the tunnel's MTU follows")
        wire = capture.Capture(sites.wan, "to-gw", filter="esp")
        assert traffic.ping(sites.vm["blue1"], t.B_HOST, size=1400).lost == 0
        traffic.tcp_transfer(sites.vm["blue1"], sites.b_host, t.B_HOST, megabytes=1)
        sizes = [int(row[0].split(",")[0]) for row in wire.stop().fields("ip.len", display=f"ip.src == {t.GW_WAN}")]
        assert sizes and max(sizes) <= 1300, max(sizes)
    finally:
        sites.gw.ip("route del 192.0.2.0/24")
    expect(lambda: sites.simplon.tunnel("site-b")["programmed"]["mtu"] == esp_mtu(1500, False), 15, "and back")
    forget_path_mtu(sites.vm["blue1"])


def test_a_peer_behind_a_narrow_path_fragments_its_outer_packets(sites):
    """Its kernel cuts the ESP-in-UDP packets to what fits; later fragments have no ports. Nothing is lost here."""
    red = sites.vm["red1"]
    sites.a_rtr.ip("route change 203.0.113.0/24 via 198.51.100.254 mtu lock 1300")
    try:
        before = sites.simplon.drops()["outer_reassembled"]
        wire = capture.Capture(sites.wan, "to-gw")
        assert traffic.ping(sites.a_host, t.VM["red1"], size=1380, count=20).lost == 0
        traffic.tcp_transfer(sites.a_host, red, t.VM["red1"], megabytes=4)
        wire.stop()
        assert wire.count(f"ip.src == {t.A_WAN} and ip.flags.mf == 1") > 20
        assert sites.simplon.drops()["outer_reassembled"] >= before + 20
        assert sites.simplon.drops()["outer_fragment"] == 0
    finally:
        sites.a_rtr.ip("route change 203.0.113.0/24 via 198.51.100.254")
