# SPDX-License-Identifier: GPL-2.0-or-later
import pathlib

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lib import traffic, vxlan_host
from lib.expect import expect
from lib.gateway import Gateway

FORGE = pathlib.Path(__file__).resolve().parents[1] / "lib/forge.py"
VTEP, C1, C2, C3 = "10.255.1.1", "10.255.1.11", "10.255.2.11", "10.255.3.11"
RED, BLUE, SLIM = 5001, 5002, 5003
RED_VM, BLUE_VM, SLIM_VM = "10.20.0.11", "10.30.0.11", "10.40.0.11"
UNDERLAY_MTU, MTU, SLIM_MTU = 9100, 9000, 1450
# Packets a second. A large one takes three of the 2,048 places in which packets wait while a busy host does not run the worker.
RATE = 200


def vpc(name, vni, n, address, vtep, mtu):
    return {"name": name, "domain": "d", "vni": vni, "prefixes": [f"10.{n}.0.0/24"], "gateway": [f"10.{n}.0.1/24"], "mtu": mtu,
            "endpoints": [{"address": address, "mac": vxlan_host.mac(vni, address), "vtep": vtep}]}


class Hosts:
    def __init__(self, lab):
        self.gw, self.c1, self.c2, self.c3 = (lab.namespace(name) for name in ("gw", "c1", "c2", "c3"))
        self.add(lab, self.c1, "red0", VTEP, C1, RED, 20, RED_VM, UNDERLAY_MTU, MTU)
        self.add(lab, self.c2, "blue0", "10.255.2.1", C2, BLUE, 30, BLUE_VM, UNDERLAY_MTU, MTU)
        self.add(lab, self.c3, "slim0", "10.255.3.1", C3, SLIM, 40, SLIM_VM, 1500, SLIM_MTU)
        self.simplon = Gateway(self.gw)
        self.document = {
            "gateway": {"name": "gw", "vtep": VTEP},
            "uplinks": [{"interface": name} for name in ("red0", "blue0", "slim0")],
            "domains": [{"name": "d"}],
            "vpcs": [vpc("red", RED, 20, RED_VM, C1, MTU), vpc("blue", BLUE, 30, BLUE_VM, C2, MTU),
                     vpc("slim", SLIM, 40, SLIM_VM, C3, SLIM_MTU)]}

    def add(self, lab, host, uplink, ours, theirs, vni, n, address, underlay_mtu, mtu):
        lab.veth(self.gw, uplink, host, "eth0", mtu=underlay_mtu)
        self.gw.ip(f"addr add {ours}/24 dev {uplink}")
        host.ip(f"addr add {theirs}/24 dev eth0")
        if ours != VTEP:
            host.ip(f"route add {VTEP} via {ours}")
        # Redirected frames need a NAPI there.
        host.run("ethtool", "-K", "eth0", "gro", "on", "tx", "off")
        vxlan_host.VxlanEndpoint(host, vni, f"{address}/24", f"10.{n}.0.1", theirs, VTEP, mtu=mtu)
        host.run("ethtool", "-K", f"vx{vni}", "tx", "off", check=False)

    def uplink(self, name):
        def there():
            return next((one for one in self.simplon.show("status")["uplinks"] if one["interface"] == name), None)

        return expect(there, 20, f"the forwarder tells of {name}")


@pytest.fixture(scope="module")
def hosts(lab):
    built = Hosts(lab)
    built.simplon.manage_forwarder()
    built.simplon.start()
    built.simplon.apply(built.document)
    for address in (BLUE_VM, SLIM_VM):
        traffic.reachable(built.c1, address)
    yield built
    built.simplon.assert_healthy()
    built.simplon.assert_accounted()


def unharmed(stream):
    report = stream.result.report
    assert stream.result.lost == 0 and report["repeated"] == 0 and report["reordered"] == 0, str(stream.result)


def test_the_mode_of_an_uplink_says_it(hosts):
    assert hosts.uplink("red0")["mode"] == "native, copy, jumbo"
    assert hosts.uplink("slim0")["mode"] == "native, copy"


@pytest.mark.parametrize("bytes", [3600, 3650, 3700, 4096, 8900, MTU])
def test_large_pings_pass_both_ways(hosts, bytes):
    assert traffic.ping(hosts.c1, BLUE_VM, size=bytes - 28, dont_fragment=True).lost == 0
    assert traffic.ping(hosts.c2, RED_VM, size=bytes - 28, dont_fragment=True).lost == 0


def test_large_packets_between_small_ones_arrive_in_order(hosts):
    """One flow with both, beside a flow of each."""
    before = hosts.simplon.drops()
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM, rate=RATE, size="100,8900,3680,1400", port=7001) as mixed, \
            traffic.stream(hosts.c2, hosts.c1, RED_VM, rate=RATE, size=8900, port=7002) as large, \
            traffic.stream(hosts.c1, hosts.c2, BLUE_VM, size=200, port=7003) as small:
        for stream in (mixed, large, small):
            traffic.carried(stream, 1000, within=60)
    for stream in (mixed, large, small):
        unharmed(stream)
    hosts.simplon.assert_accounted()
    after = hosts.simplon.drops()
    assert after["no_slot"] == before["no_slot"] and after["frame_too_long"] == before["frame_too_long"]


def test_what_tcp_carries_is_what_was_sent(hosts):
    traffic.tcp_transfer(hosts.c1, hosts.c2, BLUE_VM, megabytes=20)
    traffic.tcp_transfer(hosts.c2, hosts.c1, RED_VM, megabytes=20)


def test_packets_of_ordinary_vpcs_pass_in_xdp_beside_them(hosts):
    def in_xdp():
        return hosts.uplink("red0")["xdp_packets"]

    before = in_xdp()
    with traffic.stream(hosts.c1, hosts.c3, SLIM_VM) as stream:
        expect(lambda: in_xdp() >= before + 100, 30, "packets to the narrow VPC are forwarded in XDP")
    assert stream.result.lost == 0, str(stream.result)
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM, rate=RATE, size="100,8900") as stream:
        traffic.carried(stream, 200)
        before = in_xdp()
        traffic.carried(stream, 600)
        assert in_xdp() == before, "those of a VPC with large packets are not"
    unharmed(stream)


def test_into_a_narrow_vpc_they_leave_as_fragments_or_are_answered(hosts):
    assert traffic.ping(hosts.c1, SLIM_VM, size=8872).lost == 0
    hosts.c1.ip("route flush cache")
    said = traffic.ping(hosts.c1, SLIM_VM, count=1, size=8872, dont_fragment=True, wait=1)
    assert said.received == 0 and f"mtu = {SLIM_MTU}" in said.text or f"mtu={SLIM_MTU}" in said.text, said.text
    hosts.c1.ip("route flush cache")
    hosts.simplon.assert_accounted()


def test_one_that_is_described_is_traced(hosts):
    reply = hosts.simplon.show("trace", "--from", "vpc:red", "--src", RED_VM, "--dst", BLUE_VM, "--size", str(MTU))
    assert reply["verdict"] == "forwarded", reply


def test_to_the_gateway_itself_too(hosts):
    """Its kernel answers through the host port, whose packets are as large."""
    assert traffic.ping(hosts.c1, "10.20.0.1", size=8872, dont_fragment=True).lost == 0


def test_a_planned_restart_loses_nothing(hosts):
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM, rate=50, size="100,8900") as stream:
        traffic.carried(stream, 100)
        hosts.simplon.restart_forwarder()
        traffic.carried(stream, 100)
    unharmed(stream)
    assert hosts.uplink("red0")["mode"] == "native, copy, jumbo"


def test_a_frame_longer_than_the_longest_is_counted_as_such(hosts):
    """The link's MTU is raised behind the back of the program, which has pieces enough for it."""
    count = 20
    hosts.gw.ip("link set red0 mtu 30000")
    hosts.c1.ip("link set eth0 mtu 30000")
    try:
        macs = [space.ip(f"-br link show {device}").stdout.split()[2] for space, device in ((hosts.gw, "red0"), (hosts.c1, "eth0"))]
        frame = Ether(dst=macs[0], src=macs[1]) / IP(src=C1, dst=VTEP) / UDP(sport=5, dport=4789, chksum=0) / Raw(bytes(20000))
        with traffic.stream(hosts.c1, hosts.c2, BLUE_VM, rate=RATE, size="100,8900") as stream:
            traffic.carried(stream, 200)
            before = hosts.simplon.drops()["frame_too_long"]
            hosts.c1.run(FORGE, "eth0", input="\n".join([bytes(frame).hex()] * count) + "\n")
            expect(lambda: hosts.simplon.drops()["frame_too_long"] - before == count, 10, f"{count} frames are counted")
            traffic.carried(stream, 200)
        unharmed(stream)
        hosts.simplon.assert_accounted()
    finally:
        hosts.c1.ip(f"link set eth0 mtu {UNDERLAY_MTU}")
        hosts.gw.ip(f"link set red0 mtu {UNDERLAY_MTU}")


def test_an_uplink_whose_mtu_is_raised_takes_large_packets(hosts):
    hosts.simplon.kill_forwarder()
    for mtu in (1500, UNDERLAY_MTU):
        hosts.gw.ip(f"link set blue0 mtu {mtu}")
        if mtu == 1500:
            hosts.c2.ip("link set eth0 mtu 1500")
            hosts.simplon.start_forwarder()
            expect(lambda: hosts.uplink("blue0")["mode"] == "native, copy", 20, "it is opened for ordinary frames")
    expect(lambda: hosts.uplink("blue0")["mode"] == "native, copy, jumbo", 20, "it is opened anew for large ones")
    # Only now a peer may have that MTU.
    hosts.c2.ip(f"link set eth0 mtu {UNDERLAY_MTU}")
    for host in (hosts.c1, hosts.c2):
        host.ip("route flush cache")
    traffic.reachable(hosts.c1, BLUE_VM)
    expect(lambda: traffic.ping(hosts.c1, BLUE_VM, count=1, size=8872, dont_fragment=True, quiet=True).lost == 0, 20,
           "large packets pass")


def test_switched_off_the_uplink_says_why_it_is_not_used(hosts):
    hosts.simplon.forwarder_options = ["--jumbo", "off"]
    hosts.simplon.restart_forwarder()
    expect(lambda: "over the limit of 3698" in hosts.uplink("red0")["error"], 20, "the limit is named")
    assert not hosts.uplink("red0")["up"] and "switched off" in hosts.uplink("red0")["error"]
    assert hosts.uplink("slim0")["up"]
    hosts.simplon.forwarder_options = []
    hosts.simplon.restart_forwarder()
    expect(lambda: hosts.uplink("red0")["mode"] == "native, copy, jumbo", 20, "switched on again, it is used")
    expect(lambda: traffic.ping(hosts.c1, BLUE_VM, count=1, size=8872, dont_fragment=True, quiet=True).lost == 0, 20,
           "large packets pass")
