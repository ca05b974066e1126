# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import traffic
from lib import two_sites as t
from lib.expect import expect

KILLS = 5


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"))
    built.start_all()
    yield built
    built.assert_healthy()


def sa_numbers(gateway):
    """{SPI: highest outbound sequence number} of all SAs."""
    return {sa["spi"]: sa["sequence"] for name in ("site-a", "site-b")
            for sa in gateway.tunnel(name)["programmed"]["sas"]}


def test_killing_simplond_disturbs_nothing(sites):
    gateway = sites.simplon
    numbers = sa_numbers(gateway)
    routes = {domain: gateway.routes(domain) for domain in ("red", "blue")}
    sessions = sites.a_bird.up_since()
    with sites.numbered_traffic_arrives() as streams:
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
    sites.a_bird.assert_kept(sessions)


def test_killing_charon_disturbs_nothing(sites):
    """The SAs go on in the forwarder and at the peers, and the tunnels are negotiated anew beside them.

    The first stream is encrypted by the stock peer, which loses some now and then when it takes the new SA (kernel-libipsec does
    not use a sequence number for them): of that one, all that comes must be forwarded.
    """
    gateway = sites.simplon
    sessions = sites.a_bird.up_since()
    with sites.numbered_traffic_arrives(judged=slice(1, None)) as streams:
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
    sites.a_bird.assert_kept(sessions)


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
