# SPDX-License-Identifier: GPL-2.0-or-later
"""The same gateway with an underlay over IPv6."""
import pytest

from lib import traffic
from lib.xdp_hosts import BLUE_VM, BLUE_VM6, LINE, LINE6, OVER_IPV6, RED_VM, Hosts


@pytest.fixture(scope="module")
def hosts(lab):
    built = Hosts(lab, OVER_IPV6)
    built.simplon.manage_forwarder()
    built.simplon.start()
    built.simplon.apply(built.document)
    for address in (BLUE_VM, BLUE_VM6, LINE, LINE6):
        traffic.reachable(built.c1, address)
    yield built
    built.simplon.assert_healthy()


@pytest.mark.parametrize("source,uplink,destination,address", [
    ("c1", "red0", "c2", BLUE_VM), ("c1", "red0", "c2", BLUE_VM6), ("c1", "red0", "c3", LINE), ("c3", "line0", "c1", RED_VM)])
def test_traffic_passes_in_xdp(hosts, source, uplink, destination, address):
    with traffic.stream(getattr(hosts, source), getattr(hosts, destination), address) as stream:
        hosts.wait_for_xdp(uplink)
        traffic.carried(stream, 2000)
    assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, stream.result
    hosts.simplon.assert_accounted()


def test_tcp_passes(hosts):
    traffic.tcp_transfer(hosts.c1, hosts.c2, BLUE_VM, megabytes=5)
    traffic.tcp_transfer(hosts.c3, hosts.c1, RED_VM, megabytes=2)
