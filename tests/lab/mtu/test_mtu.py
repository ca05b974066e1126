# SPDX-License-Identifier: GPL-2.0-or-later
import concurrent.futures
import contextlib
import pathlib

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect

FORGE = pathlib.Path(__file__).resolve().parents[1] / "lib/forge.py"


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


def judged(sites):
    """What became of ICMP "packet too big" about outer packets."""
    return sites.simplon.show("drop", "show")["packet_too_big"]


def outbound_sa(sites, tunnel):
    found = [sa for sa in sites.simplon.tunnel(tunnel)["programmed"]["sas"] if sa["active"] and not sa["inbound"]]
    assert len(found) == 1, found
    return found[0]


def link_address(space, device):
    return space.ip(f"-br link show {device}").stdout.split()[2]


def told(sites, mtu, peer=t.B_WAN, source=t.GW_WAN, spi=None, sequence=None, udp=False, df=True):
    """The hop on the wan says that a packet of the outbound SA did not fit; so does who has only heard of the gateway."""
    sa = outbound_sa(sites, "site-a" if peer == t.A_WAN else "site-b")
    spi = int(sa["spi"], 16) if spi is None else spi
    esp = spi.to_bytes(4, "big") + ((sa["sequence"] if sequence is None else sequence) & 0xffffffff).to_bytes(4, "big")
    inside = UDP(sport=4500, dport=4500, len=1480, chksum=0) / Raw(esp) if udp else Raw(esp + bytes(64))
    quoted = bytes(IP(src=source, dst=peer, proto=17 if udp else 50, flags="DF" if df else 0, len=1500) / inside)
    frame = (Ether(src=link_address(sites.wan, "to-gw"), dst=link_address(sites.gw, "wan0"))
             / IP(src="203.0.113.254", dst=t.GW_WAN) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quoted))
    sites.wan.run(FORGE, "to-gw", input=bytes(frame).hex() + "\n")


def tunnel_mtu(sites, tunnel):
    return sites.simplon.tunnel(tunnel)["programmed"]["mtu"]


@contextlib.contextmanager
def narrow(sites, space, port, mtu):
    """The link between the hop on the wan and the peer; both ends, since a veth drops what the other end has no room for."""
    sites.wan.ip(f"link set {port} mtu {mtu}")
    space.ip(f"link set wan0 mtu {mtu}")
    try:
        yield
    finally:
        sites.wan.ip(f"link set {port} mtu 1500")
        space.ip("link set wan0 mtu 1500")


@contextlib.contextmanager
def narrow_to_site_b(sites, mtu):
    """Once the router there sends no larger packets itself."""
    with narrow(sites, sites.b_gw, "to-b", mtu):
        expect(lambda: sites.simplon_b.tunnel("gw")["programmed"]["mtu"] == esp_mtu(mtu, False), 10, "the router follows its link")
        yield


@contextlib.contextmanager
def dont_fragment(sites, **policies):
    """The tunnel to site-b with other policies."""
    document = sites.gateway_document()
    next(one for one in document["tunnels"] if one["name"] == "site-b").update(policies)
    sites.simplon.apply(document)
    try:
        yield
    finally:
        sites.simplon.apply(sites.gateway_document())


def test_where_outer_packets_may_be_fragmented_a_narrow_path_is_not_learned(sites):
    """The hop cuts them up and the peer's kernel puts them together: nothing is lost, nobody is told of an MTU."""
    blue, before = sites.vm["blue1"], judged(sites)["learned"]
    with dont_fragment(sites, **{"outer-df": "clear"}), narrow_to_site_b(sites, 1300):
        forget_path_mtu(blue)
        wire = capture.Capture(sites.wan, "to-b", filter="ip proto 50")
        assert traffic.ping(blue, t.B_HOST, size=1390 - 28, dont_fragment=True).lost == 0
        traffic.tcp_transfer(blue, sites.b_host, t.B_HOST, megabytes=1)
        wire.stop()
        assert wire.count(f"ip.src == {t.GW_WAN} and ip.flags.mf == 1") >= 5
        assert judged(sites)["learned"] == before
        refused = judged(sites)["foreign"]
        told(sites, 1400, df=False)
        expect(lambda: judged(sites)["foreign"] == refused + 1, 5, "a message about a packet that may be fragmented is refused")
        assert tunnel_mtu(sites, "site-b") == esp_mtu(1500, False)


def test_what_must_not_be_fragmented_is_cut_up_where_that_is_ignored(sites):
    blue = sites.vm["blue1"]
    with dont_fragment(sites, **{"inner-df": "ignore"}):
        forget_path_mtu(blue)
        before = sites.simplon.drops()["fragmentation_needed"]
        wire = capture.Capture(sites.b_host, "vx700", filter="icmp")
        assert traffic.ping(blue, t.B_HOST, size=1450 - 28, dont_fragment=True).lost == 0
        wire.stop()
        assert wire.count(f"ip.dst == {t.B_HOST} and ip.flags.mf == 1") == 5
        assert sites.simplon.drops()["fragmentation_needed"] == before
        shown = sites.simplon.cli("tunnel", "show", "site-b").stdout
        assert "inner ignore, outer set" in shown, shown


def test_forged_messages_change_nothing(sites):
    """Of the message that is believed at the end, one thing was wrong each time."""
    sequence, spi = outbound_sa(sites, "site-b")["sequence"], int(outbound_sa(sites, "site-b")["spi"], 16)
    before = judged(sites)
    told(sites, 1400, spi=spi ^ 1)
    told(sites, 1400, sequence=sequence + 1000)
    told(sites, 1400, source="203.0.113.2")
    told(sites, 200)
    told(sites, 1500)
    told(sites, 1400, peer=t.A_WAN)  # raw ESP, which that SA never sends
    wanted = {"unknown_sa": 1, "never_sent": 1, "wrong_path": 2, "mtu_too_small": 1, "not_too_big": 1}
    expect(lambda: all(judged(sites)[name] == before[name] + count for name, count in wanted.items()), 5,
           "each is refused by name")
    assert judged(sites)["learned"] == before["learned"]
    assert tunnel_mtu(sites, "site-b") == esp_mtu(1500, False) and tunnel_mtu(sites, "site-a") == esp_mtu(1500, True)
    told(sites, 1480)
    expect(lambda: tunnel_mtu(sites, "site-b") == esp_mtu(1480, False), 5, "the whole message is believed")
    assert tunnel_mtu(sites, "site-a") == esp_mtu(1500, True)


def test_what_the_kernel_believes_is_not_taken_over(sites):
    """The kernel has a socket for UDP port 4500 and believes every message that names the ports."""
    told(sites, 1000, peer=t.A_WAN, spi=1, udp=True)
    expect(lambda: "mtu 1000" in sites.gw.out("ip", "route", "get", t.A_WAN), 5, "the kernel believes it")
    sites.gw.ip("route add unreachable 198.18.0.0/15")  # the forwarder looks all routes up again
    sites.gw.ip("route del unreachable 198.18.0.0/15")
    told(sites, 1400, peer=t.A_WAN, spi=2, udp=True)
    before = judged(sites)["unknown_sa"]
    told(sites, 1400, peer=t.A_WAN, spi=2, udp=True)
    expect(lambda: judged(sites)["unknown_sa"] > before, 5, "the last message was judged")
    assert tunnel_mtu(sites, "site-a") == esp_mtu(1500, True)
    sites.gw.ip("route flush cache")


@pytest.mark.parametrize("tunnel,vm,host,encap", [("site-b", "blue1", t.B_HOST, False), ("site-a", "red1", t.A_HOST, True)])
def test_a_narrow_hop_behind_the_gateway_is_learned(sites, tunnel, vm, host, encap):
    """The hop tells the gateway, the gateway tells the VM: nothing on the way is configured."""
    vm, mtu = sites.vm[vm], esp_mtu(1300, encap)
    space, port = (sites.a_rtr, "to-a") if encap else (sites.b_gw, "to-b")
    forget_path_mtu(vm)
    before = judged(sites)["learned"]
    with narrow(sites, space, port, 1300):
        assert traffic.ping(vm, host, size=1390 - 28, count=1, dont_fragment=True, wait=1).received == 0
        expect(lambda: tunnel_mtu(sites, tunnel) == mtu, 5, "the tunnel's MTU follows")
        assert judged(sites)["learned"] == before + 1
        path = sites.simplon.tunnel(tunnel)["programmed"]["path"]
        assert path["learned_mtu"] == path["mtu"] == 1300 and 0 < path["learned_for_seconds"] <= 600, path
        wire = capture.Capture(vm, "eth0", filter="icmp[icmptype] == icmp-unreach")
        assert traffic.ping(vm, host, size=1390 - 28, count=1, dont_fragment=True, wait=1).received == 0
        rows = wire.stop().fields("ip.src", "icmp.mtu")
        assert rows and rows[0][0].split(",")[0] == "10.20.0.1" and rows[0][1] == str(mtu), rows
        assert traffic.ping(vm, host, size=mtu - 28, dont_fragment=True).lost == 0
        assert traffic.ping(vm, host, size=1390 - 28).lost == 0
    forget_path_mtu(vm)


def test_tcp_goes_on_when_the_path_becomes_narrow(sites):
    """In the middle of a connection whose MSS is that of the wide path."""
    blue, out = sites.vm["blue1"], lambda: sites.simplon.tunnel("site-b")["programmed"]["tx_packets"]
    forget_path_mtu(blue)
    before = out()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        transfer = pool.submit(traffic.tcp_transfer, blue, sites.b_host, t.B_HOST, megabytes=100, within=240)
        expect(lambda: out() > before + 500, 60, "the transfer is on its way")
        with narrow(sites, sites.b_gw, "to-b", 1200):
            transfer.result()
            assert tunnel_mtu(sites, "site-b") == esp_mtu(1200, False)
    forget_path_mtu(blue)


def test_copied_from_the_packet_inside(sites):
    """Only who asks for the MTU, by "don't fragment", is told of it. What was learned before is known for ten minutes."""
    blue, before, known = sites.vm["blue1"], judged(sites)["learned"], tunnel_mtu(sites, "site-b")
    assert known >= esp_mtu(1200, False)
    with dont_fragment(sites, **{"outer-df": "copy"}), narrow_to_site_b(sites, 1100):
        forget_path_mtu(blue)
        assert traffic.ping(blue, t.B_HOST, size=1140 - 28).lost == 0
        assert judged(sites)["learned"] == before
        assert traffic.ping(blue, t.B_HOST, size=1140 - 28, count=1, dont_fragment=True, wait=1).received == 0
        expect(lambda: judged(sites)["learned"] == before + 1, 5, "the hop complains about the one that must be whole")
        assert tunnel_mtu(sites, "site-b") == esp_mtu(1100, False)
    forget_path_mtu(blue)
