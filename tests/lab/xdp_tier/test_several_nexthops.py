# SPDX-License-Identifier: GPL-2.0-or-later
"""A network behind two lines (ECMP): XDP sends each flow over the line that the worker would take."""
import contextlib
import copy

import pytest

from lib import capture, traffic
from lib.expect import expect
from lib.xdp_hosts import LINE, VLAN_TAP, running

FAR, FAR_NETWORK = "10.77.0.1", "10.77.0.0/24"
OUR_LINE2, LINE2, VLAN2 = "192.168.16.1", "192.168.16.2", "101"
PORTS = range(7001, 7009)


@pytest.fixture(scope="module")
def hosts(lab):
    for hosts in running(lab):
        tap = hosts.c3.spawn([VLAN_TAP, "eth0", "line2", VLAN2], log=lab.fresh("line2.log"))
        expect(lambda: "ready" in tap.text(), 10, "the router is plugged into its second VLAN")
        hosts.c3.ip(f"addr add {LINE2}/30 dev line2")
        hosts.c3.ip(f"addr add {FAR}/32 dev lo")
        hosts.document["circuits"].append({"name": "line2", "domain": "d", "uplink": "line0", "vlan": int(VLAN2),
                                           "addresses": [f"{OUR_LINE2}/30"]})
        hosts.document["domains"][0]["static-routes"] = [
            {"prefix": FAR_NETWORK, "via": "line", "gateway": LINE}, {"prefix": FAR_NETWORK, "via": "line2", "gateway": LINE2}]
        hosts.simplon.apply(hosts.document)
        for address in (LINE, LINE2, FAR):
            traffic.reachable(hosts.c1, address)
        yield hosts


@contextlib.contextmanager
def flows(hosts):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(traffic.stream(hosts.c1, hosts.c3, FAR, rate=100, port=port)) for port in PORTS]


def sent_to_lines(hosts):
    return {one["name"]: one["programmed"]["tx_packets"] for one in hosts.simplon.show("circuit", "show")["circuits"]}


def test_flows_are_spread_in_xdp_and_keep_their_line(hosts):
    assert len(hosts.simplon.routes("d")[FAR_NETWORK]["nexthops"]) == 2
    before, in_xdp = sent_to_lines(hosts), hosts.in_xdp()
    lines = [capture.Capture(hosts.c3, "eth0", filter=f"vlan {vlan} and udp") for vlan in ("100", VLAN2)]
    with flows(hosts) as streams:
        hosts.wait_for_xdp()
        for stream in streams:
            traffic.carried(stream, 300)
    sent = sum(stream.result.sent for stream in streams)
    for stream in streams:
        assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, stream.result
    expect(lambda: sum(sent_to_lines(hosts).values()) - sum(before.values()) >= sent, 5, f"{sent} packets are counted at the circuits")
    assert hosts.in_xdp() - in_xdp > sent // 2
    ports = [{row[0] for row in line.stop().fields("udp.dstport", display=f"ip.dst == {FAR}")} for line in lines]
    assert ports[0] and ports[1], "both lines carry flows"
    assert not ports[0] & ports[1], "the worker and XDP agree on the line of each flow"
    assert ports[0] | ports[1] == {str(port) for port in PORTS}
    hosts.simplon.assert_accounted()


def test_a_line_that_goes_leaves_its_flows_to_the_other(hosts):
    without = copy.deepcopy(hosts.document)
    without["domains"][0]["static-routes"].pop()
    with flows(hosts) as streams:
        hosts.wait_for_xdp()
        hosts.simplon.apply(without)
        expect(hosts.simplon.current, 10, "the forwarder confirmed it")
        # What is seen on the second line from now on was forwarded after the confirmation.
        late = capture.Capture(hosts.c3, "eth0", filter=f"vlan {VLAN2} and udp")
        hosts.wait_for_xdp()
        for stream in streams:
            traffic.carried(stream, 200)
        assert late.stop().count() == 0
        hosts.simplon.apply(hosts.document)
        hosts.wait_for_xdp()
    for stream in streams:
        assert stream.result.lost == 0, stream.result
    hosts.simplon.assert_accounted()
