# SPDX-License-Identifier: GPL-2.0-or-later
import copy
import time

import pytest

from lib import traffic
from lib import two_sites as t
from lib.expect import expect

PING = f"ping:{t.A_INSIDE}@red"


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1",), site_b=False)
    built.start_all(site_b=False)
    yield built
    built.assert_healthy()


@pytest.fixture
def good(sites):
    return copy.deepcopy(sites.gateway_document(site_b=False))


def versions(gateway):
    return {one["version"]: one for one in gateway.show("config", "history")["versions"]}


def pending(gateway):
    return gateway.show("config", "show")["pending"]


def with_route(document, prefix):
    document["domains"][0]["static-routes"] = [{"prefix": prefix, "via": "site-a"}]
    return document


def without_the_peer(document):
    """A change that nobody recovers from by hand: the tunnel looks for its peer where nobody is."""
    document["tunnels"][0]["remote"] = "198.51.100.77"
    return document


def works(sites):
    sites.simplon.wait_tunnel("site-a")
    sites.simplon.wait_bgp("site-a")
    sites.simplon.wait_route("red", "10.1.0.0/24")
    expect(lambda: traffic.ping(sites.a_host, t.VM["red1"]).lost == 0, 20, "site-a reaches red1")


def test_a_good_change_stays_by_itself(sites, good):
    gateway = sites.simplon
    done = gateway.cli("apply", gateway.write(with_route(good, "10.90.0.0/16")), "--gate", "tunnel:site-a", "--gate", PING,
                       "--within", "60s", timeout=90)
    assert "stays: all gates held" in done.stdout, done.stdout
    current = gateway.show("config", "history")["current"]
    assert versions(gateway)[current]["outcome"] == "committed" and pending(gateway) is None
    entries = gateway.show("audit", "show")["entries"]
    assert [entry["action"] for entry in entries[-2:]] == ["apply", "keep"] and PING in entries[-1]["detail"]


def test_a_bad_change_goes_back_and_says_which_gate(sites, good):
    gateway = sites.simplon
    before = gateway.show("config", "show")
    done = gateway.cli("apply", gateway.write(without_the_peer(good)), "--gate", "tunnel:site-a", "--within", "12s",
                       check=False, timeout=90)
    assert done.returncode == 1 and "gate tunnel:site-a" in done.stderr, (done.stdout, done.stderr)
    now = gateway.show("config", "show")
    assert now["document"] == before["document"]
    assert versions(gateway)[before["version"] + 1]["outcome"] == "reverted"
    works(sites)


def test_a_dead_address_is_a_closed_gate(sites, good):
    gateway = sites.simplon
    done = gateway.cli("apply", gateway.write(with_route(good, "10.91.0.0/16")), "--gate", "ping:169.254.10.3@red",
                       "--within", "8", check=False, timeout=90)
    assert done.returncode == 1 and "ping:169.254.10.3@red" in done.stderr, done.stderr
    assert "10.91.0.0/16" not in gateway.routes("red")


def test_kill_in_the_window_does_not_make_it_stay(sites, good):
    gateway = sites.simplon
    before = gateway.show("config", "show")
    gateway.apply(without_the_peer(good), "--gate", "tunnel:site-a", "--gate", PING, "--within", "15s", "--no-wait")
    assert pending(gateway)["confirm_required"] is False
    for _ in range(2):
        gateway.kill_daemon()
        gateway.start_daemon()
        waiting = pending(gateway)
        assert waiting and waiting["version"] == before["version"] + 1, waiting
    expect(lambda: pending(gateway) is None, 40, "the probation ended")
    assert gateway.show("config", "show")["document"] == before["document"]
    reverted = versions(gateway)[before["version"] + 1]
    assert reverted["outcome"] == "reverted" and "tunnel:site-a" in reverted["outcome_reason"], reverted
    works(sites)


def test_a_deadline_that_passes_while_nobody_is_there(sites, good):
    """As after a loss of power: the next start goes back before anything else."""
    gateway = sites.simplon
    before = gateway.show("config", "show")
    gateway.apply(without_the_peer(good), "--gate", "tunnel:site-a", "--within", "6s", "--no-wait")
    deadline = time.time() + 7
    gateway.kill_daemon()
    expect(lambda: time.time() > deadline, 15, "the deadline has passed")
    gateway.start_daemon()
    assert pending(gateway) is None
    assert gateway.show("config", "show")["document"] == before["document"]
    assert "did not run" in versions(gateway)[before["version"] + 1]["outcome_reason"]
    works(sites)


def test_confirmation_is_refused_while_a_gate_fails(sites, good):
    gateway = sites.simplon
    gateway.apply(without_the_peer(good), "--confirm", "2m", "--gate", "tunnel:site-a")
    refused = gateway.cli("confirm", check=False)
    assert refused.returncode == 1 and "gate tunnel:site-a" in refused.stderr, refused.stderr
    gateway.cli("config", "undo")
    works(sites)


def test_a_gate_that_does_not_exist(sites, good):
    gateway = sites.simplon
    before = gateway.show("config", "history")["current"]
    refused = gateway.apply(good, "--gate", "tunnel:site-aa", check=False)
    assert refused.returncode == 1 and "did you mean 'site-a'" in refused.stderr.replace("\n  ", " "), refused.stderr
    assert gateway.show("config", "history")["current"] == before


def test_the_audit_log_of_all_this_is_sound(sites):
    gateway = sites.simplon
    log = gateway.state_dir / "audit.log"
    verified = gateway.cli("audit", "verify", "--file", log)
    assert verified.stdout.startswith("sound"), verified.stdout
    actions = {entry["action"] for entry in gateway.show("audit", "show", "--last", "1000")["entries"]}
    assert {"apply", "keep", "revert", "confirm", "undo"} <= actions
    copy_of = gateway.lab.dir / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"who":"', b'"who":"x', 1)
    copy_of.write_bytes(b"".join(lines))
    forged = gateway.cli("audit", "verify", "--file", copy_of, "--key", gateway.state_dir / "audit.pub",
                         "--head", gateway.state_dir / "audit.head", "--json", check=False)
    assert forged.returncode == 1 and '"line": 3' in forged.stdout, forged.stdout
