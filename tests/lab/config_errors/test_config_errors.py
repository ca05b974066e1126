# SPDX-License-Identifier: GPL-2.0-or-later
import copy
import json

import pytest

from lib import two_sites as t
from lib.expect import expect


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1",), site_b=False)
    built.gateway().start().apply(built.gateway_document(site_b=False))
    expect(built.simplon.current, 20, "the first document is programmed")
    yield built
    built.assert_healthy()


@pytest.fixture
def good(sites):
    return copy.deepcopy(sites.gateway_document(site_b=False))


def state(gateway):
    """What must not move when a document is refused."""
    version = gateway.show("config", "history")["current"]
    routes = gateway.routes("red")
    return version, sorted(routes), gateway.netns_prefix


def refused(sites, document, *wanted):
    """Applies it, expects exit 1, every (path, word) of `wanted` in one answer, and no change."""
    gateway = sites.simplon
    before = state(gateway)
    done = gateway.apply(document, check=False)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    said = done.stdout + done.stderr
    for path, word in wanted:
        assert path in said and word.lower() in said.lower(), f"'{path}' with '{word}' is missing in:\n{said}"
    answer = gateway.apply(document, "--json", check=False)
    errors = json.loads(answer.stdout)["errors"]
    assert len(errors) >= len(wanted) and all(error["what"] for error in errors), errors
    assert state(gateway) == before
    return said


def test_every_mistake_is_named_at_once(sites, good):
    gateway = sites.simplon
    good["vpcs"][0]["endpoints"][0]["address"] = "10.99.0.5"
    good["vpcs"].append(t.vpc("second", "red", t.RED, [], "10.20.0.0/25", "10.20.0.1/25"))
    good["tunnels"][0]["psk-file"] = str(gateway.lab.dir / "nowhere.psk")
    good["tunnels"][0]["esp-proposals"] = ["des-md5"]
    good["tunnels"][0]["remotee"] = "198.51.100.3"
    good["domains"][0]["bgp"]["asn"] = "many"
    said = refused(sites, good,
                   ("vpcs[0].endpoints[0]", "10.99.0.5"), ("vpcs[1].vni", "100"), ("vpcs[1].prefixes", "10.20.0.0/25"),
                   ("tunnels[0].psk-file", "nowhere.psk"), ("tunnels[0].esp-proposals", "des"),
                   ("tunnels[0].remotee", "remote"), ("domains[0].bgp.asn", "many"))
    assert t.PSK_A not in said


@pytest.mark.parametrize("text,words", [
    ("gateway: {name: gw\nvpcs: [", ["line"]),
    ("", ["empty"]),
    ("- a\n- b\n", ["gateway"]),
    ("gateway: {name: gw}\nvpcs: 7\n", ["vpcs"]),
    ("gateway: {name: gw}\n\ttunnels: []\n", ["line"]),
    ("\x00\xff\xfe", []),
    ("a: &a [x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\n", []),
])
def test_text_that_is_no_document(sites, text, words):
    path = sites.lab.dir / "broken.yaml"
    path.write_bytes(text.encode("latin-1"))
    before = state(sites.simplon)
    done = sites.simplon.cli("apply", path, check=False)
    assert done.returncode in (1, 2), done
    for word in words:
        assert word in (done.stdout + done.stderr).lower(), done
    assert state(sites.simplon) == before


def test_a_world_readable_key_is_refused(sites, good):
    path = sites.lab.dir / "open.psk"
    path.write_text("everybody knows\n")
    path.chmod(0o644)
    good["tunnels"][0]["psk-file"] = str(path)
    said = refused(sites, good, ("tunnels[0].psk-file", "0600"))
    assert "everybody knows" not in said


def test_a_file_that_is_not_there(sites):
    done = sites.simplon.cli("apply", sites.lab.dir / "missing.yaml", check=False)
    assert done.returncode in (1, 2) and "missing.yaml" in done.stderr + done.stdout


def test_a_dry_run_shows_and_changes_nothing(sites, good):
    good["domains"][0]["static-routes"] = [{"prefix": "10.77.0.0/16", "via": "site-a"}]
    before = state(sites.simplon)
    done = sites.simplon.apply(good, "--dry-run")
    assert "10.77.0.0/16" in done.stdout, done.stdout
    assert state(sites.simplon) == before


def test_apply_diff_history_undo(sites, good):
    gateway = sites.simplon
    before = gateway.show("config", "history")["current"]
    good["domains"][0]["static-routes"] = [{"prefix": "10.78.0.0/16", "via": "site-a"}]
    gateway.apply(good)
    gateway.wait_route("red", "10.78.0.0/16")
    assert "10.78.0.0/16" in gateway.cli("config", "diff", str(before)).stdout
    assert "10.78.0.0/16" in gateway.cli("config", "show").stdout
    gateway.cli("config", "undo")
    expect(lambda: "10.78.0.0/16" not in gateway.routes("red") and gateway.current(), 20, "the route is gone again")
    assert len(gateway.show("config", "history")["versions"]) >= 2


def test_an_unconfirmed_change_goes_away_also_across_a_kill(sites, good):
    gateway = sites.simplon
    good["domains"][0]["static-routes"] = [{"prefix": "10.79.0.0/16", "via": "site-a"}]
    gateway.apply(good, "--confirm", "6")
    gateway.wait_route("red", "10.79.0.0/16", within=5)
    gateway.kill_daemon()
    gateway.start_daemon()
    expect(lambda: "10.79.0.0/16" not in gateway.routes("red") and gateway.current(), 30, "the probation ended")


def test_a_confirmed_change_stays(sites, good):
    gateway = sites.simplon
    good["domains"][0]["static-routes"] = [{"prefix": "10.80.0.0/16", "via": "site-a"}]
    gateway.apply(good, "--confirm", "60")
    gateway.cli("config", "confirm")
    gateway.wait_route("red", "10.80.0.0/16")
    assert gateway.show("config", "show")["pending"] is None


def test_verbs_edit_the_document(sites):
    gateway = sites.simplon
    gateway.cli("endpoint", "add", "red", "10.20.0.99", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11")
    assert "10.20.0.99" in gateway.show("config", "show")["document"]
    gateway.cli("endpoint", "remove", "red", "10.20.0.99")
    assert "10.20.0.99" not in gateway.show("config", "show")["document"]
    wrong = gateway.cli("endpoint", "add", "red", "10.99.0.1", "--mac", "02:00:00:00:64:63", "--vtep", "10.255.0.11",
                        check=False)
    assert wrong.returncode == 1 and "10.99.0.1" in wrong.stdout + wrong.stderr


def test_bad_usage_is_exit_2_and_no_daemon_is_exit_3(sites):
    assert sites.simplon.cli("tunel", "show", check=False).returncode == 2
    assert sites.simplon.cli("--socket", "/nonexistent/api.sock", "status", check=False).returncode == 3
