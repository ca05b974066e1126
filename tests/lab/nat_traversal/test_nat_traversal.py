# SPDX-License-Identifier: GPL-2.0-or-later
import time

import pytest

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect

A_PRIVATE, HOME_PRIVATE = "192.168.1.2", "192.168.1.1"
HOME_WAN, HOME_WAN_2 = "198.51.100.2", "198.51.100.3"
HIDE = """
table ip home {{
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan0" ip protocol udp masquerade to :{ports}
  }}
}}
"""


class Sites(t.TwoSites):
    def __init__(self, lab):
        super().__init__(lab, vms=("red1",), site_b=False)
        self.home = lab.namespace("home", forwarding=True)
        self.a_rtr.ip(f"link set wan0 netns {self.home.name}")
        self.home.ip("link set wan0 up")
        self.home.ip(f"addr add {HOME_WAN}/24 dev wan0")
        self.home.ip("route add 203.0.113.0/24 via 198.51.100.254")
        lab.veth(self.a_rtr, "eth1", self.home, "lan")
        self.a_rtr.ip(f"addr add {A_PRIVATE}/24 dev eth1")
        self.home.ip(f"addr add {HOME_PRIVATE}/24 dev lan")
        self.a_rtr.ip(f"route add 203.0.113.0/24 via {HOME_PRIVATE}")
        self.hide_behind("20000-20999")

    def hide_behind(self, ports):
        """New mappings get one of these ports; those that are there stay."""
        rules = self.lab.dir / "home.nft"
        rules.write_text(HIDE.format(ports=ports))
        self.home.run("nft", "flush", "ruleset")
        self.home.run("nft", "-f", str(rules))

    def forget_mappings(self, address):
        """The provider gives the branch the address, once more or for the first time: what was masqueraded by the one before is forgotten."""
        before = self.home.out("ip", "-br", "-4", "addr", "show", "wan0", quiet=True).split()[2]
        self.home.ip(f"addr del {before} dev wan0")
        self.home.ip(f"addr add {address}/24 dev wan0")
        self.home.ip("route replace 203.0.113.0/24 via 198.51.100.254")

    def start(self):
        box = self.gateway().start()
        document = self.gateway_document(site_b=False)
        tunnel = document["tunnels"][0]
        del tunnel["remote"]
        tunnel["initiate"] = False
        box.apply(document)
        self.start_router_a(local=A_PRIVATE, start="start")
        box.wait_tunnel("site-a")
        box.wait_bgp("site-a")

    def path(self):
        """The address that packets to the branch are sent to."""
        return self.simplon.tunnel("site-a")["programmed"]["path"]["destination"]

    def sas(self):
        """What a new negotiation would change."""
        return {sa["spi"] for sa in self.simplon.tunnel("site-a")["programmed"]["sas"]}


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    built.start()
    yield built
    built.assert_healthy()


def test_a_branch_behind_nat(sites):
    sites.lab.note(f"IKE with {sites.simplon.tunnel('site-a')['observed']['remote']}, packets go to {sites.path()}")
    assert sites.path() in (HOME_WAN, HOME_WAN_2)
    traffic.reachable(sites.a_host, t.VM["red1"])
    assert traffic.ping(sites.vm["red1"], t.A_HOST, count=5).lost == 0
    traffic.tcp_transfer(sites.a_host, sites.vm["red1"], t.VM["red1"], megabytes=2)
    traffic.tcp_transfer(sites.vm["red1"], sites.a_host, t.A_HOST, megabytes=2)
    text = sites.simplon.cli("tunnel", "show", "site-a").stdout
    assert sites.path() in text, f"an operator sees where the branch is\n{text}"


def uptime(sites):
    return sites.simplon.neighbor("site-a")["observed"]["uptime_seconds"]


def test_the_branch_gets_another_address(sites):
    before, session, began = sites.sas(), uptime(sites), time.monotonic()
    with traffic.stream(sites.a_host, sites.vm["red1"], t.VM["red1"]) as there, \
            traffic.stream(sites.vm["red1"], sites.a_host, t.A_HOST) as back:
        traffic.carried(there, 500)
        traffic.carried(back, 500)
        other = HOME_WAN if sites.path() == HOME_WAN_2 else HOME_WAN_2
        sites.forget_mappings(other)
        expect(lambda: sites.path() == other, 30, "packets to the branch go to its new address")
        traffic.carried(there, 1000)
        traffic.carried(back, 1000)
    sites.lab.note(f"to the gateway: {there.result}; to the branch: {back.result}")
    expect(lambda: sites.simplon.tunnel("site-a")["observed"]["remote"] == other, 30, "IKE knows it, too")
    assert sites.sas() == before, "nothing was negotiated"
    assert uptime(sites) >= session + time.monotonic() - began - 5, "BGP went on"


def test_its_nat_gives_it_another_port(sites):
    before = sites.sas()
    sites.hide_behind("30000-30999")
    seen = capture.Capture(sites.wan, "to-gw", "udp and src port 4500 and dst portrange 30000-30999")
    with traffic.stream(sites.vm["red1"], sites.a_host, t.A_HOST) as back:
        traffic.carried(back, 500)
        sites.forget_mappings(sites.path())
        traffic.carried(back, 1000, within=60)
    sites.lab.note(f"to the branch, which sends nothing but what IKE and BGP send: {back.result}")
    assert seen.stop().count("udpencap && esp") >= 1000, "it has another port"
    traffic.reachable(sites.a_host, t.VM["red1"])
    assert sites.sas() == before, "nothing was negotiated"
