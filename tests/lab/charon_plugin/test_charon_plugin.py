# SPDX-License-Identifier: GPL-2.0-or-later
import json
import re
import time

import pytest

from lib import charon, fake_sa_server as sa_protocol
from lib.expect import expect
from lib.fake_sa_server import FakeSaServer
from lib.gateway import program
from lib.topo import ROOT, run

GW, RTR = "203.0.113.1", "203.0.113.2"
RTR_MOVED = "203.0.113.3"
INSIDE_GW, INSIDE_RTR = "169.254.10.1", "169.254.10.2"
PSK = "pre-shared-1"
IF_ID = 7

CONFIGURATION = """
include {conf}
charon-systemd {{
  retransmit_tries = 3
  plugins {{
    kernel-simplon {{
      socket = {sa_socket}
    }}
    vici {{
      socket = unix://{vici}
    }}
  }}
{filelog}
}}
"""


def passive(text):
    """Neither end starts anything by itself: the tests do."""
    return text.replace("dpd_action = restart", "dpd_action = clear").replace("close_action = start", "close_action = none")


def connection(esp="aes256gcm16-ecp384-esn-noesn,aes256gcm16-esn-noesn", child="net"):
    text = charon.CONNECTION.format(local=GW, remote=RTR, local_id="gw", remote_id="rtr", psk=PSK, ike=charon.IKE,
                                    esp=esp, selectors="0.0.0.0/0", start="none")
    return passive(text).replace("      net {", f"      {child} {{\n        if_id_in = {IF_ID}\n"
                                 f"        if_id_out = {IF_ID}\n        replay_window = 1024")


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.gw, self.rtr = lab.namespace("gw"), lab.namespace("rtr")
        lab.veth(self.gw, "wan0", self.rtr, "wan0")
        self.gw.ip(f"addr add {GW}/24 dev wan0")
        self.rtr.ip(f"addr add {RTR}/24 dev wan0")
        self.rtr.ip(f"addr add {RTR_MOVED}/24 dev wan0")
        self.server = FakeSaServer(str(lab.dir / "sa.sock"))
        plugins = charon.plugin_folder(lab.dir / "plugins", program("ipsec/charon-plugin/libstrongswan-kernel-simplon.so"))
        mounted = 'mount --bind "$1" "$2" && exec "$3"'
        self.charon = charon.Charon(
            self.gw, lab.dir / "gw", CONFIGURATION,
            ["unshare", "--mount", "sh", "-c", mounted, "charon", plugins, charon.PLUGINS, charon.CHARON],
            conf=ROOT / "packaging/strongswan/simplon.conf", sa_socket=lab.dir / "sa.sock")
        self.charon.start()
        self.charon.load(connection())
        self.peer = charon.Charon(self.rtr, lab.dir / "rtr", charon.STOCK).start()
        self.peer.load(passive(charon.CONNECTION.format(
            local=RTR, remote=GW, local_id="rtr", remote_id="gw", psk=PSK, ike=charon.IKE, selectors="0.0.0.0/0",
            start="none", esp="aes256gcm16-ecp384,aes256gcm16,aes256-sha1")))
        charon.inside_address(self.rtr, f"{INSIDE_RTR}/30")
        self.state = lab.dir / "sas.json"
        self.publish()
        self.echo = self.gw.spawn(["/usr/bin/python3", ROOT / "tests/lab/lib/esp_echo.py", "wan0", self.state],
                                  log="esp_echo.log")
        expect(lambda: "ready" in self.echo.text(), 10, "esp_echo listens")

    def publish(self):
        """esp_echo uses the SAs that the server has now."""
        draft = self.state.with_suffix(".new")
        draft.write_text(json.dumps(self.server.show()))
        draft.rename(self.state)

    def initiate(self, child="net"):
        return self.charon.swanctl("--initiate", "--ike", "gw", "--child", child, check=False, timeout=20)

    def outbound(self):
        return self.server.outbound(IF_ID)

    def established(self):
        return self.outbound() and len(self.server.sas) == 2 and len(self.server.policies) == 3

    def ping(self):
        self.publish()
        out = self.rtr.run("ping", "-n", "-c", "10", "-i", "0.05", "-W", "2", INSIDE_GW, check=False).stdout
        assert " 0% packet loss" in out, f"{out}\n{self.echo.text()}"

    def log(self):
        return self.charon.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def site(lab):
    built = Site(lab)
    yield built
    built.server.close()


@pytest.fixture
def tunnel(site):
    """The site with one settled CHILD_SA, whatever the test before it left."""
    if not site.established():
        site.charon.swanctl("--terminate", "--ike", "gw", check=False)
        expect(lambda: not site.server.sas and not site.server.policies, 20, "all SAs are deleted")
        site.initiate()
    expect(site.established, 20, "one CHILD_SA")
    return site


def replaced(site, before):
    return expect(lambda: site.outbound() not in (0, before) and site.outbound(), 15, "another outbound SA")


def test_sas_and_policies_are_handed_over(tunnel):
    shown = tunnel.server.show()
    assert shown["sessions"][0]["software"] == "kernel-simplon"
    inbound, outbound = sorted(shown["sas"], key=lambda sa: not sa["inbound"])
    assert (inbound["source"], inbound["destination"]) == (RTR, GW)
    assert (outbound["source"], outbound["destination"]) == (GW, RTR)
    assert 0xC0000000 <= int(inbound["spi"], 16) <= 0xCFFFFFFF
    for sa in (inbound, outbound):
        assert sa["if_id"] == IF_ID and sa["encryption"] == 20 and len(sa["key"]) == 72 and sa["mode"] == 2, sa
        assert sa["encap"] and sa["ports"] == (4500, 4500) and not sa["esn"] and sa["replay_window"] == 1024, sa
        assert 0 < sa["limits"][0] <= 3600 < sa["limits"][1], sa
        assert sa["source_selectors"] == sa["destination_selectors"] == ["0.0.0.0-255.255.255.255"], sa
    assert inbound["key"] != outbound["key"]
    assert {(p["direction"], p["spi"]) for p in shown["policies"]} == {
        ("in", inbound["spi"]), ("fwd", inbound["spi"]), ("out", outbound["spi"])}
    listed = tunnel.charon.swanctl("--list-sas")
    assert inbound["spi"] in listed and outbound["spi"] in listed


def test_keys_are_right_in_both_directions(tunnel):
    tunnel.ping()


def test_child_rekey_is_make_before_break(tunnel):
    before, start = tunnel.outbound(), len(tunnel.server.requests)
    tunnel.charon.rekey_child()
    replaced(tunnel, before)
    calls = [call for call in tunnel.server.requests[start:] if call != "QUERY"]
    assert calls[:6] == ["ALLOC_SPI", "ADD", "ADD", "ADD_POLICY", "ADD_POLICY", "ADD_POLICY"], calls
    tunnel.ping()
    expect(tunnel.established, 15, "the old SAs are gone")
    tunnel.ping()


def test_rekey_by_the_peer_switches_when_it_deletes_the_old_sa(tunnel):
    before = tunnel.outbound()
    tunnel.peer.rekey_child()
    replaced(tunnel, before)
    tunnel.ping()
    expect(tunnel.established, 15, "the old SAs are gone")


def test_both_ends_rekey_at_once(tunnel):
    for _ in range(5):
        before = tunnel.outbound()
        tunnel.charon.rekey_child()
        tunnel.peer.rekey_child()
        replaced(tunnel, before)
    expect(tunnel.established, 20, "one CHILD_SA is left")
    tunnel.ping()


def test_ike_rekey_does_not_touch_the_sas(tunnel):
    start = len(tunnel.server.requests)
    tunnel.charon.swanctl("--rekey", "--ike", "gw")
    expect(lambda: re.search(r"IKE_SA gw\[\d+\] rekeyed", tunnel.log()), 10, "the IKE_SA was rekeyed")
    assert [call for call in tunnel.server.requests[start:] if call != "QUERY"] == []
    tunnel.ping()


@pytest.mark.parametrize("inbound", [True, False])
def test_soft_expiry_rekeys(tunnel, inbound):
    before = tunnel.outbound()
    tunnel.server.expire(next(sa.spi for sa in tunnel.server.sas.values() if sa.inbound == inbound), hard=False)
    replaced(tunnel, before)
    expect(tunnel.established, 15, "the old SAs are gone")


def test_hard_expiry_replaces_the_sas(tunnel):
    before = tunnel.outbound()
    tunnel.server.expire(before, hard=True)
    replaced(tunnel, before)
    expect(tunnel.established, 15, "one CHILD_SA")
    tunnel.ping()


def test_a_restarted_forwarder_gets_new_sas_and_never_an_old_one(tunnel):
    before = tunnel.outbound()
    keys = {sa.key for sa in tunnel.server.sas.values()}
    tunnel.server.restart()
    replaced(tunnel, before)
    expect(tunnel.established, 15, "one CHILD_SA")
    assert keys.isdisjoint(sa.key for sa in tunnel.server.sas.values())
    tunnel.ping()


def test_a_lost_connection_alone_changes_nothing(tunnel):
    before, hellos = tunnel.outbound(), tunnel.server.requests.count("HELLO")
    tunnel.server.reconnect()
    expect(lambda: tunnel.server.requests.count("HELLO") > hellos, 5, "the plugin is back")
    assert tunnel.outbound() == before and tunnel.established()
    tunnel.ping()


def test_a_refused_sa_leaves_the_old_one(tunnel):
    before = tunnel.outbound()
    tunnel.server.refuse(1)
    tunnel.charon.rekey_child()
    expect(lambda: "the forwarder does not support it" in tunnel.log(), 10, "charon's log says why")
    expect(tunnel.established, 10, "what was half added is gone")
    assert tunnel.outbound() == before
    tunnel.ping()


def test_a_forwarder_that_hangs_costs_seconds(tunnel):
    tunnel.server.hang(2.5)
    tunnel.charon.swanctl("--list-sas", timeout=10)
    before = tunnel.outbound()
    expect(lambda: tunnel.charon.rekey_child() or tunnel.outbound() != before, 20, "rekeying works again")
    expect(tunnel.established, 20, "one CHILD_SA")


def test_other_suites_are_refused_by_name(tunnel):
    tunnel.charon.swanctl("--terminate", "--ike", "gw")
    expect(lambda: not tunnel.server.sas and not tunnel.server.policies, 10, "all SAs are deleted")
    tunnel.charon.load(connection(esp="aes256-sha1", child="sha1"))
    tunnel.initiate("sha1")
    assert re.search(r"SA [0-9a-f]{8} refused: ESP suite AES_CBC/HMAC_SHA1_96", tunnel.log())
    assert not tunnel.server.sas
    tunnel.charon.swanctl("--terminate", "--ike", "gw", check=False)
    tunnel.charon.load(connection())


@pytest.mark.parametrize("who", ["we", "peer"])
def test_a_policy_without_an_answer_is_sent_again(tunnel, who):
    """charon has deleted the former SA by then: without the new policy nothing would leave."""
    before = tunnel.outbound()
    tunnel.server.trap(sa_protocol.ADD_POLICY, 2, "drop")
    (tunnel.charon if who == "we" else tunnel.peer).rekey_child()
    replaced(tunnel, before)
    expect(tunnel.established, 15, "the former SAs are gone")
    assert "follows later" in tunnel.log()
    tunnel.ping()


@pytest.mark.parametrize("kind,before", [(sa_protocol.ADD, 0), (sa_protocol.ADD, 1), (sa_protocol.ADD_POLICY, 2)],
                         ids=["first-sa", "second-sa", "policy"])
def test_a_forwarder_that_crashes_while_an_sa_is_installed(tunnel, kind, before):
    """Whatever of it the new process has, nothing half installed stays."""
    instance = tunnel.server.instance
    tunnel.server.trap(kind, before, "restart")
    tunnel.charon.rekey_child()
    expect(lambda: tunnel.server.instance != instance, 10, "the forwarder crashed")
    absent_since = None

    def whole():
        nonlocal absent_since
        listed = tunnel.charon.swanctl("--list-sas")
        if re.search(r"^ +net: ", listed, re.MULTILINE):
            absent_since = None
        elif absent_since is None:
            absent_since = time.monotonic()  # charon begins anew by itself after most losses: two would be two CHILD_SAs
        elif time.monotonic() - absent_since > 5:
            tunnel.initiate()
        return tunnel.established() and all(sa["spi"] in listed for sa in tunnel.server.show()["sas"])

    expect(whole, 60, "one CHILD_SA, with both its SAs")
    tunnel.ping()


def test_an_address_that_was_not_taken_is_a_rekeying(tunnel):
    before = len(tunnel.server.requests)
    tunnel.server.trap(sa_protocol.UPDATE, 0, "refuse")
    tunnel.server.mapping(next(sa.spi for sa in tunnel.server.sas.values() if sa.inbound), RTR, 4501)
    expect(lambda: "ALLOC_SPI" in tunnel.server.requests[before:], 10, "a rekeying began")
    expect(tunnel.established, 20, "one CHILD_SA")
    assert "is rekeyed" in tunnel.log()


def test_an_address_that_was_taken_without_an_answer_leaves_no_sa(tunnel):
    """charon goes on with the address before, and deletes the SA under that."""
    before = tunnel.outbound()
    tunnel.server.trap(sa_protocol.UPDATE, 1, "lose")  # the inbound SA comes first, and its destination is ours
    tunnel.server.mapping(next(sa.spi for sa in tunnel.server.sas.values() if sa.inbound), RTR_MOVED, 4500)
    expect(lambda: (RTR_MOVED, before, 50) in tunnel.server.sas, 10, "the outbound SA has the other destination")
    after = replaced(tunnel, before)
    assert (RTR_MOVED, after, 50) in tunnel.server.sas, "the tunnel goes on with that address"
    expect(tunnel.established, 20, "the SAs before are gone")


def test_charon_comes_back_as_a_new_session(tunnel):
    tunnel.charon.stop()
    sessions = len(tunnel.server.sessions)
    assert not tunnel.server.sas, "an orderly end deletes its SAs"
    tunnel.charon.start()
    tunnel.charon.load(connection())
    tunnel.initiate()
    expect(tunnel.established, 20, "one CHILD_SA")
    assert len(tunnel.server.sessions) == sessions + 1
    assert tunnel.server.sessions[-1]["session"] != tunnel.server.sessions[-2]["session"]
    tunnel.ping()


def test_charon_does_not_start_without_our_backend(site):
    """kernel-simplon! in the load list: rather no charon than one that uses the kernel's IPsec."""
    folder = site.lab.dir / "no-plugin"
    folder.mkdir()
    configuration = (site.charon.dir / "strongswan.conf").read_text().replace("charon.vici", "other.vici")
    (folder / "strongswan.conf").write_text(configuration)
    done = run(site.gw.enter([charon.CHARON]), check=False, timeout=20,
               env={"STRONGSWAN_CONF": str(folder / "strongswan.conf")})
    assert done.returncode != 0
    assert "kernel-simplon" in site.log() + done.stdout + done.stderr
