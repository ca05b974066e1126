# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import charon, traffic
from lib import two_sites as t
from lib.expect import expect


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1",), site_b=False)
    built.gateway().start().apply(built.gateway_document(site_b=False))
    yield built
    built.assert_healthy()


def router(sites, **mistake):
    """A fresh site-a router with one mistake in its configuration."""
    settings = {"local": t.A_WAN, "remote": t.GW_WAN, "local_id": "site-a", "remote_id": "gw", "psk": t.PSK_A}
    return charon.stock(sites.a_rtr, **{**settings, **mistake})


def problem(sites, *words):
    """Waits until `tunnel show` names the problem, in text and in JSON."""
    def said():
        observed = sites.simplon.tunnel("site-a")["observed"]
        text = f"{observed['problem']} {observed['hint']}".lower()
        return all(word in text for word in words) and observed
    observed = expect(said, 40, f"tunnel show says {words}; it says {sites.simplon.tunnel('site-a')['observed']}")
    assert observed["state"] != "up"

    def shown():  # between two questions an attempt may end in another way
        text = " ".join(sites.simplon.cli("tunnel", "show", "site-a", check=False).stdout.split())
        return sites.simplon.tunnel("site-a")["observed"]["problem"] in text
    expect(shown, 20, "the text names the same problem")
    return observed


MISTAKES = {
    "nobody there": (None, ["answer"]),
    "another pre-shared key": ({"psk": "not the key"}, ["auth"]),
    "no common IKE proposal": ({"ike": "aes192-sha512-modp4096"}, ["proposal"]),
    "no common ESP proposal": ({"esp": "aes192-sha512"}, ["proposal"]),
    "another identity": ({"local_id": "somebody-else"}, ["auth"]),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_the_reason_is_shown_and_the_tunnel_recovers(sites, what):
    mistake, words = MISTAKES[what]
    peer = router(sites, **mistake) if mistake is not None else None
    try:
        if peer is None:
            sites.simplon.cli("tunnel", "up", "site-a", check=False)
        problem(sites, *words)
    finally:
        if peer:
            peer.stop()
    mended = router(sites)
    try:
        sites.simplon.wait_tunnel("site-a", within=60)
        observed = sites.simplon.tunnel("site-a")["observed"]
        assert observed["problem"] == "" and observed["established_in_ms"] is not None, observed
    finally:
        mended.stop()
        expect(lambda: sites.simplon.tunnel("site-a")["observed"]["state"] != "up", 60, "the tunnel is down again")


def test_the_key_of_another_tunnel_is_refused(sites):
    """site-b's key proves nobody but site-b, although both know the gateway by the same identity."""
    box = sites.simplon
    log = box.charon.log
    sites.simplon.apply(sites.gateway_document())
    try:
        before = log.read_text().count("MAC mismatched")
        forger = router(sites, psk=t.PSK_B)
        try:
            expect(lambda: log.read_text().count("MAC mismatched") > before, 40, "the gateway refuses the key")
            assert "authentication of 'site-a' with pre-shared key successful" not in log.read_text().rsplit("MAC mismatched", 1)[-1]
            assert sites.simplon.tunnel("site-a")["observed"]["state"] != "up"
        finally:
            forger.stop()
    finally:
        sites.simplon.apply(sites.gateway_document(site_b=False))


def test_a_peer_that_vanishes_is_noticed_and_comes_back(sites):
    peer = router(sites)
    charon.inside_address(sites.a_rtr, f"{t.A_INSIDE}/30")
    sites.simplon.wait_tunnel("site-a", within=60)
    traffic.reachable(sites.a_rtr, t.GW_INSIDE_A)
    peer.process.kill()  # no DELETE: dead peer detection has to find out
    expect(lambda: sites.simplon.tunnel("site-a")["observed"]["state"] != "up", 90, "DPD notices")
    peer = router(sites)
    charon.inside_address(sites.a_rtr, f"{t.A_INSIDE}/30")
    sites.simplon.wait_tunnel("site-a", within=60)
    traffic.reachable(sites.a_rtr, t.GW_INSIDE_A, within=20)
    peer.stop()


def test_tunnel_down_ends_what_an_earlier_charon_left(sites):
    """The peer's IKE is away, and our charon a new one: nobody but the forwarder knows of the SAs."""
    peer = router(sites)
    sites.simplon.wait_tunnel("site-a", within=60)
    peer.process.kill()
    sites.simplon.restart_charon()
    expect(lambda: "up" not in sites.simplon.tunnel("site-a")["observed"]["state"], 30, "the new charon knows no SA")
    assert sites.simplon.tunnel("site-a")["programmed"]["sas"], "they forward, as before"
    sites.simplon.cli("tunnel", "down", "site-a")
    expect(lambda: not sites.simplon.tunnel("site-a")["programmed"]["sas"], 10, "the forwarder has no SA of it")
    sites.simplon.cli("tunnel", "up", "site-a", check=False)
    peer = router(sites)
    sites.simplon.wait_tunnel("site-a", within=60)
    peer.stop()


def test_tunnel_down_and_up_by_hand(sites):
    peer = router(sites)
    sites.simplon.wait_tunnel("site-a", within=60)
    sites.simplon.cli("tunnel", "down", "site-a")
    expect(lambda: sites.simplon.tunnel("site-a")["observed"]["state"] != "up", 20, "down")
    sites.simplon.cli("tunnel", "up", "site-a")
    sites.simplon.wait_tunnel("site-a")
    peer.stop()
