# SPDX-License-Identifier: GPL-2.0-or-later
import threading

import pytest

from lib import traffic
from lib import two_sites as t
from lib.expect import expect


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"))
    built.start_all()
    yield built
    built.assert_healthy()


@pytest.fixture
def traffic_on_both_tunnels(sites):
    """Numbered traffic in all four directions, judged at the end."""
    with sites.numbered_traffic_arrives(after=500) as streams:
        yield streams


def outbound(gateway, tunnel):
    """SPI of the SA that the forwarder sends with."""
    active = [sa["spi"] for sa in gateway.tunnel(tunnel)["programmed"]["sas"] if sa["active"] and not sa["inbound"]]
    assert len(active) == 1, active
    return active[0]


def test_child_rekey_from_either_side(sites, traffic_on_both_tunnels):
    gateway, other = sites.simplon, sites.simplon_b
    for rekey, tunnel in (
            (lambda: sites.a_charon.rekey_child(), "site-a"),
            (lambda: gateway.cli("tunnel", "rekey", "site-a"), "site-a"),
            (lambda: gateway.cli("tunnel", "rekey", "site-b"), "site-b"),
            (lambda: other.cli("tunnel", "rekey", "gw"), "site-b")):
        before = outbound(gateway, tunnel)
        rekey()
        expect(lambda: outbound(gateway, tunnel) != before, 10, f"{tunnel} sends with a new SA")


def test_ike_rekey_keeps_the_children(sites, traffic_on_both_tunnels):
    before = {name: outbound(sites.simplon, name) for name in ("site-a", "site-b")}
    sites.a_charon.swanctl("--rekey", "--ike", "gw")
    sites.simplon.cli("tunnel", "rekey", "site-b", "--ike")
    for stream in traffic_on_both_tunnels:
        traffic.carried(stream, 1000)
    assert {name: outbound(sites.simplon, name) for name in ("site-a", "site-b")} == before


def test_both_sides_rekey_at_once(sites, traffic_on_both_tunnels):
    gateway, other = sites.simplon, sites.simplon_b
    for _ in range(3):
        before = outbound(gateway, "site-b")
        both = [threading.Thread(target=box.cli, args=("tunnel", "rekey", name))
                for box, name in ((gateway, "site-b"), (other, "gw"))]
        for one in both:
            one.start()
        for one in both:
            one.join()
        expect(lambda: outbound(gateway, "site-b") != before, 10, "site-b sends with a new SA")
        traffic.carried(traffic_on_both_tunnels[2], 300)


def tunnel_in(document, name):
    return next(one for one in document["tunnels"] if one["name"] == name)


def test_a_wrong_key_goes_back_by_its_gate(sites, traffic_on_both_tunnels):
    gateway = sites.simplon
    before = outbound(gateway, "site-a")
    document = sites.gateway_document()
    tunnel_in(document, "site-a")["psk-file"] = gateway.secret("wrong.psk", "nobody else has this one, ever")
    # Between two attempts, which come 1, 3, 7 and 12 s after the first: one that is under way when the key goes back may succeed.
    done = gateway.cli("apply", gateway.write(document), "--gate", "tunnel:site-a", "--within", "10s", check=False, timeout=60)
    assert done.returncode == 1 and "gate tunnel:site-a" in done.stderr, (done.stdout, done.stderr)
    assert outbound(gateway, "site-a") == before
    assert gateway.tunnel("site-a")["observed"]["problem"] == ""


def test_a_new_key_at_one_end_after_the_other(sites, traffic_on_both_tunnels):
    gateway, other = sites.simplon, sites.simplon_b
    before = outbound(gateway, "site-b")
    key = "the next key of both ends, long enough"
    document = sites.gateway_document()
    tunnel_in(document, "site-b")["psk-file"] = gateway.secret("b-next.psk", key)
    gateway.apply(document)

    def is_told():
        return "the key before" in gateway.tunnel("site-b")["observed"]["problem"]

    expect(is_told, 20, "the refused key is told")
    gateway.kill_daemon()
    gateway.start_daemon()
    expect(is_told, 30, "a new simplond does not take the SAs that are up for proof of the key")
    assert outbound(gateway, "site-b") == before
    theirs = sites.gateway_b_document()
    theirs["tunnels"][0]["psk-file"] = other.secret("gw-next.psk", key)
    other.apply(theirs)
    expect(lambda: outbound(gateway, "site-b") != before, 45, "site-b sends with SAs of the new key")
    expect(lambda: len(gateway.tunnel("site-b")["observed"]["children"]) == 1, 15, "the SAs of the key before are gone")
    assert gateway.tunnel("site-b")["observed"]["problem"] == ""
