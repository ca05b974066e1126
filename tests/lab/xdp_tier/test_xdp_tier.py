# SPDX-License-Identifier: GPL-2.0-or-later
import copy
import pathlib

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from lib import capture, traffic, vxlan_host
from lib.expect import expect
from lib.xdp_hosts import BLUE, BLUE_MTU, BLUE_VM, BLUE_VM6, C1, LINE, LINE6, OUR_LINE, RED, RED_VM, RED_VM6, VTEP, running

FORGE = pathlib.Path(__file__).resolve().parents[1] / "lib/forge.py"
COUNT = 20


@pytest.fixture(scope="module")
def hosts(lab):
    yield from running(lab)


@pytest.mark.parametrize("address", [BLUE_VM, BLUE_VM6])
def test_traffic_between_vpcs_passes_in_xdp(hosts, address):
    assert hosts.uplink("red0")["xdp_forwarding"] == "on"
    hosts.pass_in_xdp("c1", "red0", "c2", address)


@pytest.mark.parametrize("source,uplink,destination,address", [
    ("c1", "red0", "c3", LINE), ("c1", "red0", "c3", LINE6), ("c3", "line0", "c1", RED_VM), ("c3", "line0", "c1", RED_VM6)])
def test_so_does_traffic_of_a_circuit(hosts, source, uplink, destination, address):
    hosts.pass_in_xdp(source, uplink, destination, address)


def circuit_counts(hosts):
    return hosts.simplon.show("circuit", "show")["circuits"][0]["programmed"]


def test_the_counters_of_a_circuit_know_what_xdp_forwarded(hosts):
    before, sent = circuit_counts(hosts), hosts.in_xdp("line0")
    with traffic.stream(hosts.c3, hosts.c1, RED_VM) as stream:
        hosts.wait_for_xdp("line0")
    assert stream.result.lost == 0
    assert hosts.in_xdp("line0") > sent
    expect(lambda: circuit_counts(hosts)["rx_packets"] - before["rx_packets"] >= stream.result.sent, 5,
           f"{stream.result.sent} packets are counted at the circuit")


def test_a_router_with_a_new_card_is_found(hosts):
    """Its MAC address changes; what is sent to the old one it does not take."""
    with traffic.stream(hosts.c1, hosts.c3, LINE) as stream:
        hosts.wait_for_xdp()
        hosts.c3.ip("link set line address 02:dd:00:00:00:77")
        hosts.c3.ip("neigh flush dev line")
        traffic.reachable(hosts.c3, OUR_LINE)
        so_far = stream.so_far()
        expect(lambda: stream.so_far() >= so_far + 1000, 20, "packets arrive at the new address")
        hosts.wait_for_xdp()
    hosts.simplon.assert_accounted()


def test_a_removed_circuit_gets_nothing_any_more(hosts):
    without = copy.deepcopy(hosts.document)
    without["circuits"] = []
    with traffic.stream(hosts.c1, hosts.c3, LINE) as stream:
        hosts.wait_for_xdp()
        hosts.simplon.apply(without)
        expect(hosts.simplon.current, 10, "the forwarder confirmed it")
        late = capture.Capture(hosts.c3, "eth0", filter="vlan and udp")
        so_far = stream.so_far()
        traffic.ping(hosts.c1, BLUE_VM, count=10)
        assert stream.so_far() == so_far
        assert late.stop().count() == 0
        hosts.simplon.apply(hosts.document)
        hosts.wait_for_xdp()
    hosts.simplon.assert_accounted()


def vpc_counts(hosts):
    return {one["name"]: one["programmed"] for one in hosts.simplon.show("vpc", "show")["vpcs"]}


def test_the_counters_know_what_xdp_forwarded(hosts):
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
    before, uplinks = vpc_counts(hosts), {name: hosts.uplink(name) for name in ("red0", "blue0")}
    sent = hosts.in_xdp()
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
    packets = stream.result.sent
    assert stream.result.lost == 0

    def all_counted():
        after = vpc_counts(hosts)
        return (after["red"]["rx_packets"] - before["red"]["rx_packets"] >= packets
                and after["blue"]["tx_packets"] - before["blue"]["tx_packets"] >= packets
                and hosts.uplink("red0")["rx_packets"] - uplinks["red0"]["rx_packets"] >= packets
                and hosts.uplink("blue0")["tx_packets"] - uplinks["blue0"]["tx_packets"] >= packets)

    expect(all_counted, 5, f"{packets} packets are counted at both VPCs and both uplinks")
    assert hosts.in_xdp() - sent > packets // 2
    hosts.simplon.assert_accounted()


def test_tcp_passes(hosts):
    traffic.tcp_transfer(hosts.c1, hosts.c2, BLUE_VM, megabytes=5)


def test_what_is_not_plain_is_answered_by_the_worker(hosts):
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
        said = hosts.c1.run("ping", "-n", "-c", 3, "-t", 1, "-W", 2, BLUE_VM, check=False).stdout
        assert "Time to live exceeded" in said, said
        said = hosts.c1.run("ping", "-n", "-c", 3, "-t", 1, "-W", 2, BLUE_VM6, check=False).stdout
        assert "Hop limit" in said or "Time exceeded" in said, said
        big = traffic.ping(hosts.c1, BLUE_VM, count=2, size=BLUE_MTU, dont_fragment=True)
        assert big.received == 0 and f"mtu = {BLUE_MTU}" in big.text.lower().replace("(", "").replace(")", ""), big.text
    assert stream.result.lost == 0, stream.result


def test_forgeries_are_dropped_beside_flows_of_the_same_addresses(hosts):
    gateway = hosts.gw.ip("-br link show red0").stdout.split()[2]
    us = hosts.c1.ip("-br link show eth0").stdout.split()[2]

    def frame(source=C1, vni=RED, inner_source=RED_VM, mac=None, **inner):
        return (Ether(src=us, dst=gateway) / IP(src=source, dst=VTEP) / UDP(sport=55555, dport=4789, chksum=0)
                / VXLAN(vni=vni, flags="Instance")
                / Ether(src=vxlan_host.mac(RED, RED_VM), dst=mac or vxlan_host.gateway_mac(RED))
                / IP(src=inner_source, dst=BLUE_VM, **inner) / UDP(sport=9, dport=9999) / b"forged")

    forgeries = {
        "vxlan_unknown_peer": frame(source="10.255.1.66"),
        "vxlan_unknown_vni": frame(vni=4242),
        "vxlan_spoofed_source": frame(inner_source="10.99.0.1"),
        "vxlan_wrong_mac": frame(mac="02:00:00:00:64:63"),
        "ipv4_checksum": frame(chksum=0x1234),
    }
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
        arrived = capture.Capture(hosts.c2, f"vx{BLUE}", filter="udp port 9999")
        for reason, forged in forgeries.items():
            before = hosts.simplon.drops()[reason]
            hosts.c1.run(FORGE, "eth0", input="\n".join([bytes(forged).hex()] * COUNT) + "\n")
            expect(lambda: hosts.simplon.drops()[reason] - before == COUNT, 10, f"{COUNT} packets are counted as {reason}")
        assert arrived.stop().count() == 0
    assert stream.result.lost == 0, stream.result


def test_a_removed_endpoint_gets_nothing_any_more(hosts):
    without = copy.deepcopy(hosts.document)
    without["vpcs"][1]["endpoints"].pop(0)
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
        hosts.simplon.apply(without)
        expect(hosts.simplon.current, 10, "the forwarder confirmed it")
        # Whatever is seen on the host's VXLAN device from now on was forwarded after the confirmation.
        late = capture.Capture(hosts.c2, "eth0", filter="udp port 4789 and greater 200")
        dropped = hosts.simplon.drops()["endpoint_unknown"]
        expect(lambda: hosts.simplon.drops()["endpoint_unknown"] >= dropped + 1000, 10, "its packets are dropped by name")
        assert late.stop().count() == 0
        hosts.simplon.apply(hosts.document)
        hosts.wait_for_xdp()
    hosts.simplon.assert_accounted()


def test_a_planned_restart_loses_nothing(hosts):
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
        hosts.simplon.forwarder.stop()
        # Between the two processes, too: flows that are known need none.
        traffic.carried(stream, 1000)
        hosts.simplon.start_forwarder()
        hosts.wait_for_xdp()
    assert stream.result.lost == 0, stream.result


def test_after_a_crash_it_starts_anew(hosts):
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        hosts.wait_for_xdp()
        hosts.simplon.kill_forwarder()
        # The program went with the process: nobody forwards by what nobody can change.
        expect(lambda: "xdp" not in hosts.gw.ip("-br -d link show red0").stdout, 5, "no program is attached")
        hosts.simplon.start_forwarder()
        hosts.wait_for_xdp()
        traffic.carried(stream, 1000)


def test_it_can_be_switched_off(hosts):
    hosts.simplon.forwarder_options = ["--xdp-forwarding", "off"]
    hosts.simplon.restart_forwarder()
    expect(lambda: hosts.uplink("red0")["up"], 10, "the uplink is up")
    assert hosts.uplink("red0")["xdp_forwarding"] == "switched off"
    with traffic.stream(hosts.c1, hosts.c2, BLUE_VM) as stream:
        traffic.carried(stream, 2000)
    assert hosts.in_xdp() == 0
    assert stream.result.lost == 0, stream.result
    hosts.simplon.assert_accounted()
