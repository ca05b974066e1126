# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures, and what they prove."""
import collections
import signal

from .expect import expect
from .topo import run


class Capture:
    """tcpdump on one interface until stop(). Capture at the gateway's peers: packets that AF_XDP takes or sends do not
    pass the taps of its own interface."""

    def __init__(self, space, device, filter="", snap=160, direction=None):
        self.space = space
        name = space.lab.fresh(f"{space.short}.{device}.pcap")
        self.path = space.lab.logs / name
        argv = ["tcpdump", "-n", "-U", "--immediate-mode", "-i", device, "-s", snap, "-B", 16384, "-Z", "root", "-w", self.path]
        if direction:
            argv += ["-Q", direction]
        self.process = space.spawn([*argv, filter] if filter else argv, log=f"{name}.tcpdump.log")
        expect(lambda: "listening on" in self.process.text(), 10, f"tcpdump listens on {device}")

    def stop(self):
        self.process.signal(signal.SIGINT)
        self.process.wait(10)
        return self

    def fields(self, *names, display=None):
        """Rows of tshark fields; a field with several values is joined with commas."""
        argv = ["tshark", "-n", "-r", self.path, "-T", "fields"]
        for name in names:
            argv += ["-e", name]
        if display:
            argv += ["-Y", display]
        text = run([*argv, "-d", "udp.port==4789,vxlan"], timeout=60).stdout
        return [line.split("\t") for line in text.splitlines()]

    def count(self, display=None):
        return len(self.fields("frame.number", display=display))

    def protocols(self):
        """{protocol chain: packets}, like {'eth:ethertype:ip:udp:esp': 12}"""
        return dict(collections.Counter(row[0] for row in self.fields("frame.protocols")))


def esp_numbers(capture):
    """{(destination, spi): [sequence numbers in order of capture]} of raw and UDP-encapsulated ESP."""
    flows = collections.defaultdict(list)
    for destination, destination6, spi, number in capture.fields("ip.dst", "ipv6.dst", "esp.spi", "esp.sequence",
                                                                 display="esp"):
        flows[(destination or destination6, spi)].append(int(number))
    return dict(flows)


def assert_never_repeated(capture):
    """No (destination, SPI, sequence number) twice: with AES-GCM that would be a repeated nonce. Returns packets seen."""
    total = 0
    for flow, numbers in esp_numbers(capture).items():
        counts = collections.Counter(numbers)
        again = [number for number, times in counts.items() if times > 1]
        assert not again, f"ESP sequence numbers repeat on {flow}: {again[:10]}"
        total += len(numbers)
    assert total, "the capture holds no ESP"
    return total


def assert_wan_is_sealed(capture):
    """The WAN carries IKE and ESP, and what an Ethernet needs (ARP, ND): no inner packet in clear. Returns the count."""
    others = capture.fields("frame.number", "frame.protocols",
                            display="not (isakmp or esp or udpencap or arp or icmpv6.type in {130..143})")
    assert not others, f"the WAN carries something else: {others[:5]}"
    total = capture.count("esp")
    assert total, "the WAN carried no ESP"
    return total


def vxlan_networks(capture):
    """{VNI: inner sources seen in it}; anything that is neither VXLAN nor ARP/ND is an error."""
    others = capture.fields("frame.number", "frame.protocols",
                            display="not (vxlan or arp or icmpv6.type in {130..143})")
    assert not others, f"the underlay carries something else: {others[:5]}"
    networks = collections.defaultdict(set)
    for vni, source in capture.fields("vxlan.vni", "ip.src", display="vxlan and ip and not arp"):
        networks[int(vni.split(",")[0])].add(source.split(",")[1])  # outer,inner (an ICMP error quotes a third)
    return dict(networks)


def assert_each_site_in_its_vpc(capture, hosts):
    """`hosts` is {VNI: the one remote host whose packets may appear in it}. Returns the VNIs."""
    networks = vxlan_networks(capture)
    assert set(networks) == set(hosts), f"VNIs on the underlay: {sorted(networks)}, expected {sorted(hosts)}"
    for vni, own in hosts.items():
        strangers = networks[vni] & (set(hosts.values()) - {own})
        assert own in networks[vni] and not strangers, f"VNI {vni} carries packets of {strangers or 'nobody'}"
    return sorted(networks)
