# SPDX-License-Identifier: GPL-2.0-or-later
"""The same gateway with an underlay over IPv6."""
import pytest

from lib import traffic
from lib.xdp_hosts import BLUE_VM, BLUE_VM6, LINE, OVER_IPV6, RED_VM, running


@pytest.fixture(scope="module")
def hosts(lab):
    yield from running(lab, OVER_IPV6)


@pytest.mark.parametrize("source,uplink,destination,address", [
    ("c1", "red0", "c2", BLUE_VM), ("c1", "red0", "c2", BLUE_VM6), ("c1", "red0", "c3", LINE), ("c3", "line0", "c1", RED_VM)])
def test_traffic_passes_in_xdp(hosts, source, uplink, destination, address):
    hosts.pass_in_xdp(source, uplink, destination, address)


def test_tcp_passes(hosts):
    traffic.tcp_transfer(hosts.c1, hosts.c2, BLUE_VM, megabytes=5)
    traffic.tcp_transfer(hosts.c3, hosts.c1, RED_VM, megabytes=2)
