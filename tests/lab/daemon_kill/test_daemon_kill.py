# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib

import pytest

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect

KILLS = 5


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"))
    built.start_all()
    yield built
    built.assert_healthy()


@contextlib.contextmanager
def traffic_everywhere(sites, judged=slice(None)):
    """Numbered packets both ways at both sites; `judged` of the four streams must arrive without a loss."""
    red, blue = sites.vm["red1"], sites.vm["blue1"]
    wires = [capture.Capture(sites.wan, port, filter="esp or udp port 4500") for port in ("to-a", "to-b")]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(traffic.stream(*ends)) for ends in (
            (sites.a_host, red, t.VM["red1"]), (red, sites.a_host, t.A_HOST),
            (sites.b_host, blue, t.VM["blue1"]), (blue, sites.b_host, t.B_HOST))]
        for stream in streams:
            traffic.carried(stream, 200)
        yield streams
    for wire in wires:
        wire.stop()
    for stream in streams[judged]:
        assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, str(stream.result)
    for wire in wires:
        capture.assert_never_repeated(wire)


def sa_numbers(gateway):
    """{SPI: highest outbound sequence number} of all SAs."""
    return {sa["spi"]: sa["sequence"] for name in ("site-a", "site-b")
            for sa in gateway.tunnel(name)["programmed"]["sas"]}


def test_killing_simplond_disturbs_nothing(sites):
    gateway = sites.simplon
    numbers = sa_numbers(gateway)
    routes = {domain: gateway.routes(domain) for domain in ("red", "blue")}
    sessions = sites.a_bird.ask("show", "protocols", "up")
    with traffic_everywhere(sites) as streams:
        for _ in range(KILLS):
            gateway.kill_daemon()
            traffic.carried(streams[0], 300)
            gateway.start_daemon()
            for domain, wanted in routes.items():
                expect(lambda: set(gateway.routes(domain)) == set(wanted) and gateway.current(), 30,
                       f"domain {domain} is programmed again")
            for name in ("site-a", "site-b"):
                gateway.wait_tunnel(name)
                gateway.wait_bgp(name)
            traffic.carried(streams[3], 300)
            now = sa_numbers(gateway)
            assert set(now) == set(numbers), "an SA was re-created"
            assert all(now[spi] >= numbers[spi] for spi in now), (numbers, now)
            numbers = now
    assert sites.a_bird.ask("show", "protocols", "up") == sessions, "the BGP session was reset"


def test_killing_charon_disturbs_nothing(sites):
    """The SAs go on in the forwarder and at the peers, and the tunnels are negotiated anew beside them.

    The first stream is encrypted by the stock peer, which loses some now and then when it takes the new SA (kernel-libipsec does
    not use a sequence number for them): of that one, all that comes must be forwarded.
    """
    gateway = sites.simplon
    sessions = sites.a_bird.ask("show", "protocols", "up")
    with traffic_everywhere(sites, judged=slice(1, None)) as streams:
        for _ in range(KILLS):
            before = set(sa_numbers(gateway))
            gateway.restart_charon()
            for name in ("site-a", "site-b"):
                expect(lambda: set(outbound(gateway, name)) - before, 40, f"{name} sends on an SA of the new charon")
            for stream in streams:
                traffic.carried(stream, 500)
    print(f"a-host -> red1, encrypted by the stock peer: {streams[0].result}")
    for each in (gateway, sites.simplon_b):
        dropped = {name: count for name, count in each.drops().items() if name.startswith("esp_")}
        assert not any(dropped.values()), f"{each.short} dropped ESP packets: {dropped}"
    assert sites.a_bird.ask("show", "protocols", "up") == sessions, "the BGP session was reset"


def outbound(gateway, name):
    return [sa["spi"] for sa in gateway.tunnel(name)["programmed"]["sas"] if not sa["inbound"] and sa["active"]]


def test_a_change_made_while_it_was_dead_is_swept(sites):
    """The state directory holds the wanted configuration: what it no longer has is removed at the end of the sync."""
    gateway = sites.simplon
    document = sites.gateway_document()
    document["domains"][0]["static-routes"] = [{"prefix": "10.77.0.0/16", "via": "site-a"}]
    gateway.apply(document)
    gateway.wait_route("red", "10.77.0.0/16")
    document["domains"][0].pop("static-routes")
    gateway.apply(document)
    gateway.kill_daemon()
    gateway.start_daemon()
    expect(lambda: "10.77.0.0/16" not in gateway.routes("red") and gateway.current(), 20, "the route is gone")
    gateway.wait_route("red", "10.1.0.0/24")
    assert traffic.ping(sites.a_host, t.VM["red1"]).lost == 0
