# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib
import json
import pathlib
import signal
import socket
import time

import pytest

from lib import bird, traffic
from lib import two_sites as t
from lib.expect import expect

VLAN_TAP = pathlib.Path(__file__).parents[1] / "lib/vlan_tap.py"
FLOOD = VLAN_TAP.with_name("flood.py")
OURS, THEIRS = "192.168.15.1", "192.168.15.2"
QUIET_OURS, QUIET = "192.168.17.1", "192.168.17.2"
C_HOST = "10.50.0.10"
SERVICE_KEY = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
QUIET_KEY = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
PROVIDER_ASN = 12076
SECONDS = 10
FIRST_RATE = 10000  # of flood.py


class Sites(t.TwoSites):
    """Site-b, whose tunnel copies traffic classes, and a provider with a line: one VLAN of its own, one of somebody who sends little."""

    def __init__(self, lab):
        super().__init__(lab, vms=("blue1",))
        self.prov = lab.namespace("prov", forwarding=True)
        self.c_host = lab.namespace("c-host")
        lab.veth(self.c_host, "eth0", self.prov, "lan")
        self.c_host.ip(f"addr add {C_HOST}/24 dev eth0")
        self.c_host.ip("route add default via 10.50.0.1")
        self.prov.ip("addr add 10.50.0.1/24 dev lan")
        lab.veth(self.gw, "line0", self.prov, "line0")
        for name, vlan in (("line0v", "100"), ("line0w", "200")):
            tap = self.prov.spawn([VLAN_TAP, "line0", name, vlan], log=lab.fresh(f"{name}.log"))
            expect(lambda: "ready" in tap.text(), 10, f"the provider's end of VLAN {vlan} is plugged in")
        self.prov.ip(f"addr add {THEIRS}/30 dev line0v")
        self.quiet = lab.namespace("quiet")
        self.prov.ip(f"link set line0w netns {self.quiet.name}")
        self.quiet.ip("link set line0w up")
        self.quiet.ip(f"addr add {QUIET}/30 dev line0w")
        self.quiet.ip(f"route add default via {QUIET_OURS}")

    def gateway_document(self, site_a=False, site_b=True):
        document = super().gateway_document(site_a, site_b)
        document["uplinks"].append({"interface": "line0"})
        speaker = document["domains"][0]["bgp"]
        speaker["neighbors"][0]["bfd"] = True
        speaker["neighbors"].append(
            t.neighbor("line", THEIRS, PROVIDER_ASN, ["10.50.0.0/16 le 24"], ["10.20.0.0/24"]) | {"bfd": True})
        document["circuits"] = [{"name": "line", "domain": "blue", "service-key": SERVICE_KEY, "uplink": "line0", "vlan": 100,
                                 "addresses": [f"{OURS}/30"]},
                                {"name": "quiet", "domain": "blue", "service-key": QUIET_KEY, "uplink": "line0", "vlan": 200,
                                 "addresses": [f"{QUIET_OURS}/30"]}]
        return document

    def gateway_b_document(self):
        document = super().gateway_b_document()
        document["domains"][0]["bgp"]["neighbors"][0]["bfd"] = True
        return document

    def start(self):
        self.gateway_b().start().apply(self.gateway_b_document())
        box = self.gateway()
        box.forwarder_options = ["--workers", "1", "--worker-cpus", "0"]
        box.start().apply(self.gateway_document())
        self.p_bird = bird.Bird(self.prov, router_id="10.255.3.1", lan="lan", local=THEIRS, asn=PROVIDER_ASN,
                                neighbor=OURS, neighbor_asn=65515, bfd="line*v")
        box.wait_tunnel("site-b")
        traffic.reachable(self.quiet, t.VM["blue1"])
        for name in ("site-b", "line"):
            box.wait_bgp(name)
            expect(lambda: box.neighbor(name)["observed"]["bfd_state"] == "up", 30, f"BFD with {name} is up")

    def mac(self, device):
        return self.gw.out("ip", "-br", "link", "show", device, quiet=True).split()[2].replace(":", "")


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    built.start()
    yield built
    built.assert_healthy()


def checksum(data):
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def ipv4(source, destination, protocol, payload):
    header = bytes.fromhex("4500") + (20 + len(payload)).to_bytes(2, "big") + bytes.fromhex("00010000") + \
        bytes([64, protocol]) + b"\0\0" + socket.inet_aton(source) + socket.inet_aton(destination)
    return header[:10] + checksum(header) + header[12:] + payload


def inbound_spi(sites):
    return next(sa["spi"] for sa in sites.simplon.tunnel("site-b")["programmed"]["sas"] if sa["active"] and sa["inbound"])


def data_frame(sites):
    udp = (40000).to_bytes(2, "big") + (53).to_bytes(2, "big") + (8 + 64).to_bytes(2, "big") + b"\0\0" + bytes(64)
    return sites.mac("line0") + "02deadbeef01" + "81000064" + "0800" + ipv4(C_HOST, t.VM["blue1"], 17, udp).hex()


def esp_frame(sites):
    esp = bytes.fromhex(inbound_spi(sites)) + bytes.fromhex("0fffffff") + bytes(1200)
    return sites.mac("wan0") + "02deadbeef02" + "0800" + ipv4(t.B_WAN, t.GW_WAN, 50, esp).hex()


class Flood:
    """Frames onto a wire, and what the worker of the gateway carries of them."""

    def __init__(self, sites, space, device, uplink, frame):
        self.sites, self.device, self.uplink = sites, device, uplink
        self.process = space.spawn([FLOOD, device, frame], log=sites.lab.fresh(f"flood-{device}.log"), quiet=True)
        expect(lambda: "ready" in self.process.text(), 10, "the flood begins")
        self.rate = FIRST_RATE
        self.last = 0, carried(sites)[uplink]

    def counts(self, least=0):
        """Frames sent and carried since the last call, or nothing if `least` have not been sent yet."""
        lines = self.process.text().count("sent")
        self.process.signal(signal.SIGUSR2)
        expect(lambda: self.process.text().count("sent") > lines, 5, "the flood answers")
        sent, taken = json.loads(self.process.text().splitlines()[-1])["sent"], carried(self.sites)[self.uplink]
        before = self.last
        if sent - before[0] < least:
            return None
        self.last = sent, taken
        return sent - before[0], taken - before[1]

    def is_more_than_the_worker_carries(self):
        """Twice as much; else it is made faster."""
        counts = self.counts(least=2 * self.rate)  # counters of attachments are a second old
        if counts is None:
            return False
        if counts[0] > 2 * counts[1]:
            return True
        self.process.signal(signal.SIGUSR1)
        self.rate *= 2
        return False


@contextlib.contextmanager
def flooded(sites):
    """Both uplinks, with twice what the worker carries, whatever this machine is."""
    floods = [Flood(sites, sites.prov, "line0", "line0", data_frame(sites)), Flood(sites, sites.wan, "to-gw", "wan0", esp_frame(sites))]
    try:
        for flood in floods:
            expect(flood.is_more_than_the_worker_carries, 60, f"more than the worker carries on {flood.uplink}")
        for flood in floods:
            flood.counts()
        yield floods
    finally:
        for flood in floods:
            flood.process.stop()


def carried(sites):
    """Packets that came through each uplink, without those of the flooded attachments that were dropped."""
    box = sites.simplon
    came = {one["interface"]: one["rx_packets"] for one in box.show("status")["uplinks"]}
    line = next(one for one in box.show("circuit", "show")["circuits"] if one["name"] == "line")
    dropped = {"line0": line, "wan0": box.tunnel("site-b")}
    return {name: came[name] - shown["programmed"]["dropped"] for name, shown in dropped.items()}


def session(sites, name):
    observed = sites.simplon.neighbor(name)["observed"]
    assert observed["state"] == "Established" and observed["bfd_state"] == "up", (name, observed)
    return observed["uptime_seconds"]


def test_sessions_and_who_sends_little_outlive_a_flood_of_data(sites):
    provider = sites.p_bird.up_since()
    began = time.monotonic()
    uptimes = {name: session(sites, name) for name in ("site-b", "line")}
    vm = sites.vm["blue1"], t.VM["blue1"]
    with flooded(sites) as floods, traffic.stream(sites.c_host, *vm) as stream, traffic.stream(sites.quiet, *vm, port=7001) as quiet:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for name in uptimes:
                session(sites, name)
        counts = {flood.uplink: flood.counts() for flood in floods}
    sites.lab.note(f"sent, and carried by the worker: {counts}; a stream of who floods: {stream.result}; of who does not: {quiet.result}; "
                   f"over_share {sites.simplon.drops().get('over_share')}")
    for uplink, (sent, taken) in counts.items():
        assert sent > 1.5 * taken, f"{uplink}: no flood any more"
    lost = {name: one.result.lost / one.result.sent for name, one in (("flooding", stream), ("quiet", quiet))}
    assert lost["flooding"] > 0.1, "who floods had more than its share"
    assert lost["quiet"] < lost["flooding"] / 10, f"who sends little pays for the flood: {lost}"
    passed = time.monotonic() - began
    for name, uptime in uptimes.items():
        assert session(sites, name) >= uptime + passed - 5, f"{name} was reset"
    sites.p_bird.assert_kept(provider)
    sites.simplon.assert_accounted()
