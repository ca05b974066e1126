# SPDX-License-Identifier: GPL-2.0-or-later
import pathlib

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils import rdpcap

from lib import capture, traffic, vxlan_host
from lib import two_sites as t
from lib.expect import expect

FORGE = pathlib.Path(__file__).resolve().parents[1] / "lib/forge.py"
COUNT = 20


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"), site_b=False)
    built.intruder = lab.namespace("intruder")
    lab.veth(built.intruder, "fab", built.fabric, "to-bad")
    built.fabric.ip("link set to-bad master br0")
    built.intruder.ip("addr add 10.255.0.66/24 dev fab")
    lab.veth(built.intruder, "wan", built.wan, "to-bad")
    built.intruder.ip("addr add 192.0.2.66/24 dev wan")
    built.wan.ip("addr add 192.0.2.254/24 dev to-bad")
    built.start_all(site_b=False)
    # blue has no site here: its VPC joins a domain of its own
    document = built.gateway_document(site_b=False)
    document["domains"].append({"name": "blue"})
    document["vpcs"].append(t.vpc("blue", "blue", t.BLUE, [t.endpoint(t.VM["blue1"], t.BLUE, t.C_UNDERLAY["c1"])]))
    built.simplon.apply(document)
    traffic.reachable(built.vm["blue1"], "10.20.0.1")
    traffic.reachable(built.a_host, t.VM["red1"])
    yield built
    built.assert_healthy()


def link_address(space, device):
    return space.ip(f"-br link show {device}").stdout.split()[2]


def gateway_frame(sites, payload):
    """On the fabric, to the gateway's uplink."""
    return Ether(src=link_address(sites.intruder, "fab"), dst=link_address(sites.gw, "fab0")) / payload


def send(space, device, frames):
    space.run(FORGE, device, input="\n".join(bytes(frame).hex() for frame in frames) + "\n")


def inner(vni=t.RED, source="10.20.0.11", target=t.A_HOST, dst_mac=None, src_mac=None):
    return (Ether(src=src_mac or vxlan_host.mac(vni, source), dst=dst_mac or vxlan_host.gateway_mac(vni))
            / IP(src=source, dst=target) / UDP(sport=9, dport=9999) / b"forged")


def vxlan(source="10.255.0.11", target=t.GW_VTEP, vni=t.RED, port=4789, flags="Instance", frame=None):
    return (IP(src=source, dst=target) / UDP(sport=55555, dport=port, chksum=0)
            / VXLAN(vni=vni, flags=flags) / (frame if frame is not None else inner()))


FORGERIES = {
    "an unknown compute host": (vxlan(source="10.255.0.66"), "vxlan_unknown_peer"),
    "a VNI nobody has": (vxlan(vni=4242), "vxlan_unknown_vni"),
    "a compute host in a VPC it has no endpoint of": (vxlan(source="10.255.0.12"), "vxlan_unknown_peer"),
    "an inner source outside the VPC": (vxlan(frame=inner(source="10.99.0.1")), "vxlan_spoofed_source"),
    "an inner source of the other site": (vxlan(frame=inner(source=t.A_HOST)), "vxlan_spoofed_source"),
    "an inner MAC that is not the gateway's": (vxlan(frame=inner(dst_mac="02:00:00:00:64:63")), "vxlan_wrong_mac"),
    "a broadcast": (vxlan(frame=inner(dst_mac="ff:ff:ff:ff:ff:ff")), "vxlan_inner_broadcast"),
    "no valid VNI": (vxlan(flags=0), "vxlan_flags"),
    "a truncated VXLAN header": (IP(src="10.255.0.11", dst=t.GW_VTEP) / UDP(sport=5, dport=4789, chksum=0) / b"\x08\0\0",
                                 "vxlan_truncated"),
    "a truncated inner frame": (vxlan(frame=b"\x02" * 9), "vxlan_inner_truncated"),
    "an unknown inner type": (vxlan(frame=Ether(src="02:00:00:00:64:0b", dst=vxlan_host.gateway_mac(t.RED), type=0x8847)
                                    / bytes(40)), "vxlan_inner_type"),
    "an ARP question for somebody else": (
        vxlan(frame=Ether(src="02:00:00:00:64:0b", dst="ff:ff:ff:ff:ff:ff")
              / ARP(hwsrc="02:00:00:00:64:0b", psrc="10.20.0.11", pdst="10.20.0.12")), "vxlan_inner_arp"),
    "a lying inner IP length": (vxlan(frame=Ether(src="02:00:00:00:64:0b", dst=vxlan_host.gateway_mac(t.RED))
                                      / IP(src="10.20.0.11", dst=t.A_HOST, len=1400) / UDP() / b"x"), "ipv4_malformed"),
    "a VM's packet for the other VPC's site": (vxlan(vni=t.BLUE, frame=inner(vni=t.BLUE)), "no_route"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_forged_vxlan_is_dropped_by_name(sites, what):
    packet, reason = FORGERIES[what]
    arrived = capture.Capture(sites.a_host, "eth0", filter="udp port 9999")
    before = sites.simplon.drops()
    send(sites.intruder, "fab", [gateway_frame(sites, packet)] * COUNT)
    expect(lambda: sites.simplon.drops()[reason] - before[reason] == COUNT, 10,
           f"{COUNT} packets are counted as {reason}; counters that moved: {moved(before, sites.simplon.drops())}")
    assert arrived.stop().count() == 0


def moved(before, after):
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def test_forged_esp_is_dropped_by_name(sites):
    gateway = sites.simplon
    spi = next(int(sa["spi"], 16) for sa in gateway.tunnel("site-a")["programmed"]["sas"] if sa["inbound"])
    frame = Ether(src=link_address(sites.intruder, "wan"), dst=link_address(sites.wan, "to-bad"))

    def udp(payload):
        return frame / IP(src=t.A_WAN, dst=t.GW_WAN) / UDP(sport=4500, dport=4500, chksum=0) / payload

    cases = {
        "esp_unknown_spi": udp(ESP(spi=0xcafe0001, seq=1, data=b"\0" * 64)),
        "esp_authentication": udp(ESP(spi=spi, seq=1 << 20, data=b"\0" * 64)),
        "esp_truncated": udp(ESP(spi=spi, seq=1 << 20, data=b"\0" * 3)),
    }
    for reason, packet in cases.items():
        before = gateway.drops()[reason]
        send(sites.intruder, "wan", [packet] * COUNT)
        expect(lambda: gateway.drops()[reason] - before >= COUNT, 10, f"{COUNT} packets are counted as {reason}")
    # The forged sequence number must not have moved the replay window.
    assert traffic.ping(sites.a_host, t.VM["red1"]).lost == 0


def test_replayed_esp_is_dropped_by_name(sites):
    wire = capture.Capture(sites.wan, "to-a", filter="udp port 4500 and src host " + t.A_WAN, snap=0)
    before = sites.simplon.drops()["esp_replayed"]
    assert traffic.ping(sites.a_host, t.VM["red1"], count=COUNT).lost == 0
    wire.stop()
    frame = Ether(src=link_address(sites.intruder, "wan"), dst=link_address(sites.wan, "to-bad"))
    again = [frame / packet[IP] for packet in rdpcap(str(wire.path))
             if UDP in packet and bytes(packet[UDP].payload)[:4] != b"\0\0\0\0"]
    assert len(again) >= COUNT
    send(sites.intruder, "wan", again)
    expect(lambda: sites.simplon.drops()["esp_replayed"] - before >= COUNT, 10, "replayed packets are counted")


def test_a_flood_of_forgeries_costs_legitimate_traffic_nothing(sites):
    with traffic.stream(sites.a_host, sites.vm["red1"], t.VM["red1"]) as stream:
        for _ in range(5):
            send(sites.intruder, "fab", [gateway_frame(sites, packet) for packet, _ in FORGERIES.values()] * 20)
        traffic.carried(stream, 500)
    assert stream.result.lost == 0, str(stream.result)


def test_our_icmp_errors_tell_nothing_to_a_forger(sites):
    """A packet that was refused for its outer header gets no answer."""
    heard = capture.Capture(sites.intruder, "fab", filter="icmp and src host " + t.GW_VTEP)
    send(sites.intruder, "fab", [gateway_frame(sites, vxlan(source="10.255.0.66", frame=(
        Ether(dst=vxlan_host.gateway_mac(t.RED)) / IP(src="10.20.0.11", dst=t.A_HOST, ttl=1) / ICMP())))] * COUNT)
    traffic.reachable(sites.a_host, t.VM["red1"])
    assert heard.stop().count() == 0
