# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib

import pytest

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect

FLOWS = 6


class Sites(t.TwoSites):
    def __init__(self, lab):
        super().__init__(lab, vms=("red1", "blue1"), queues=2)

    def gateway(self):
        box = super().gateway()
        box.forwarder_options = ["--workers", "2"]
        box.manage_forwarder()
        return box


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    built.start_all()
    yield built
    built.assert_healthy()


def workers(sites):
    return sites.simplon.show("status")["workers"]


@contextlib.contextmanager
def numbered_traffic_arrives(sites):
    """One flow to and from site-a, several to and from site-b; all of it arrives, once."""
    red, blue = sites.vm["red1"], sites.vm["blue1"]
    ends = [(sites.a_host, red, t.VM["red1"], 7000), (red, sites.a_host, t.A_HOST, 7000)]
    for port in range(7001, 7001 + FLOWS):
        ends += [(sites.b_host, blue, t.VM["blue1"], port), (blue, sites.b_host, t.B_HOST, port)]
    wires = [capture.Capture(sites.wan, port, filter="esp or udp port 4500") for port in ("to-a", "to-b")]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(traffic.stream(*places, port=port, rate=200)) for *places, port in ends]
        for stream in streams:
            traffic.carried(stream, 100)
        yield streams
        for stream in streams:
            traffic.carried(stream, 100)
    for wire in wires:
        wire.stop()
    for stream in streams:
        assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, str(stream.result)
    for wire in wires:
        capture.assert_never_repeated(wire)


def test_queues_are_shared_out(sites):
    def queues():
        return [[(one["interface"], one["queue"]) for one in worker["queues"]] for worker in workers(sites)]

    expect(lambda: queues() == [[("fab0", 0), ("wan0", 0)], [("fab0", 1), ("wan0", 1)]], 10, "each worker has a queue of each uplink")
    assert [worker["name"] for worker in workers(sites)] == ["worker0", "worker1"]


def test_both_forward_and_nothing_is_lost(sites):
    before = [worker["received"] for worker in workers(sites)]
    with numbered_traffic_arrives(sites) as streams:
        for stream in streams:
            traffic.carried(stream, 300)
    after = [worker["received"] for worker in workers(sites)]
    assert all(now - then > 500 for now, then in zip(after, before)), (before, after)
    sites.simplon.assert_accounted()


def test_transfers_and_packets_of_any_size(sites):
    traffic.tcp_transfer(sites.b_host, sites.vm["blue1"], t.VM["blue1"], megabytes=5)
    traffic.tcp_transfer(sites.vm["red1"], sites.a_host, t.A_HOST, megabytes=5)
    for size in (1372, 5000):
        assert traffic.ping(sites.b_host, t.VM["blue1"], size=size).lost == 0


def outbound(gateway, tunnel):
    return next(sa["spi"] for sa in gateway.tunnel(tunnel)["programmed"]["sas"] if sa["active"] and not sa["inbound"])


def test_rekeying_loses_nothing(sites):
    gateway, other = sites.simplon, sites.simplon_b
    with numbered_traffic_arrives(sites):
        for rekey, tunnel in ((lambda: gateway.cli("tunnel", "rekey", "site-a"), "site-a"),
                              (lambda: gateway.cli("tunnel", "rekey", "site-b"), "site-b"),
                              (lambda: other.cli("tunnel", "rekey", "gw"), "site-b")):
            before = outbound(gateway, tunnel)
            rekey()
            expect(lambda: outbound(gateway, tunnel) != before, 10, f"{tunnel} sends with a new SA")


def test_planned_restarts_with_any_number_of_workers_lose_nothing(sites):
    gateway = sites.simplon
    before = {name: outbound(gateway, name) for name in ("site-a", "site-b")}
    with numbered_traffic_arrives(sites) as streams:
        for number in (2, 3, 1, 2):
            gateway.forwarder_options = ["--workers", str(number)]
            gateway.restart_forwarder()
            for stream in streams:
                traffic.carried(stream, 50)
            expect(gateway.current, 20, "simplond is content")
            assert len(workers(sites)) == number
            assert {name: outbound(gateway, name) for name in before} == before, "an SA was negotiated again"
