# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib
import os
import re
import socket

import pytest

from lib import capture, traffic
from lib import two_sites as t
from lib.expect import expect

KILLS = 3
RESTARTS = 5
STORED = "simplon-handover"
GOLD, GOLD_VM = 300, "10.21.0.11"


class Sites(t.TwoSites):
    """With a second VPC in domain red, so that packets pass the gateway from VXLAN to VXLAN."""

    def __init__(self, lab):
        super().__init__(lab, vms=("red1", "blue1"))
        host = self.compute["c1"]
        host.vpc(GOLD, "10.21.0.1", t.GW_VTEP, mtu=1450)
        self.gold = host.vm("gold1", GOLD, f"{GOLD_VM}/24", "10.21.0.1", mtu=1450)

    def gateway_document(self, **options):
        document = super().gateway_document(**options)
        document["vpcs"].append(t.vpc("gold", "red", GOLD, [t.endpoint(GOLD_VM, GOLD, t.C_UNDERLAY["c1"])],
                                      "10.21.0.0/24", "10.21.0.1/24"))
        return document


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    built.start_all()
    yield built
    built.assert_healthy()


@contextlib.contextmanager
def traffic_everywhere(sites, rate=1000):
    """Streams by name, `rate` packets a second each; afterwards their results are printed, and the ESP of both peers is checked."""
    red1, gold, blue1 = sites.vm["red1"], sites.gold, sites.vm["blue1"]
    ends = {"vm to vm": (red1, gold, GOLD_VM), "vm to vm back": (gold, red1, t.VM["red1"]),
            "site-a to vm": (sites.a_host, red1, t.VM["red1"]), "vm to site-a": (red1, sites.a_host, t.A_HOST),
            "site-b to vm": (sites.b_host, blue1, t.VM["blue1"]), "vm to site-b": (blue1, sites.b_host, t.B_HOST)}
    wires = [capture.Capture(sites.wan, port, filter="esp or udp port 4500") for port in ("to-a", "to-b")]
    streams = {}
    with contextlib.ExitStack() as stack:
        for number, (name, places) in enumerate(ends.items()):
            streams[name] = stack.enter_context(traffic.stream(*places, rate=rate, port=7000 + number))
        for stream in streams.values():
            traffic.carried(stream, 200)
        yield streams, wires
    for wire in wires:
        wire.stop()
    for name, stream in streams.items():
        sites.lab.note(f"{name}: {stream.result}")
    for wire in wires:
        capture.assert_never_repeated(wire)


def programmed_sas(gateway):
    return {sa["spi"]: sa for name in ("site-a", "site-b") for sa in gateway.tunnel(name)["programmed"]["sas"]}


def test_a_killed_forwarder_comes_back(sites):
    gateway = sites.simplon
    for _ in range(KILLS):
        sessions = sites.a_bird.up_since()
        before = set(programmed_sas(gateway))
        with traffic_everywhere(sites) as (streams, _):
            gateway.kill_forwarder()
            gateway.start_forwarder(wait=False)
            for name, stream in streams.items():
                traffic.carried(stream, 1000)
            gateway.wait_tunnel("site-a")
            gateway.wait_tunnel("site-b")
        assert not before & set(programmed_sas(gateway)), "an SA of the killed forwarder is used again"
        sites.a_bird.assert_kept(sessions)


@pytest.fixture(scope="module")
def managed(sites):
    """The forwarder has a service manager with a descriptor store."""
    sites.simplon.manage_forwarder()
    sites.simplon.restart_forwarder()  # this one hands nothing over yet
    sites.wait_all()
    return sites


def waited(gateway):
    """How many packets had waited in a device so far, of each uplink and process."""
    return [int(count) for count in re.findall(r"uplink \S+: (\d+) packets had waited", gateway.forwarder.text())]


def sent_numbers(wires):
    """{(destination, SPI): ESP sequence numbers in order} of what the gateway sent."""
    return {flow: numbers for wire in wires for flow, numbers in capture.esp_numbers(wire).items()
            if flow[0] in (t.A_WAN, t.B_WAN)}


@pytest.mark.parametrize("handover", ["auto", "device"])
@pytest.mark.parametrize("way", ["restart", "succeed"])
def test_a_planned_exchange_loses_nothing(managed, way, handover):
    """One after the other, or side by side. Packets wait in the sockets, or, as on kernels that give a socket to no other process, in a
    device."""
    gateway = managed.simplon
    exchange = {"restart": gateway.restart_forwarder, "succeed": gateway.succeed_forwarder}[way]
    gateway.forwarder_options = ["--handover", handover]
    gateway.restart_forwarder()  # with the options of the one before
    expect(gateway.current, 20, "simplond is content")
    sessions, before = managed.a_bird.up_since(), programmed_sas(gateway)
    # A ring of 2,048 holds for a second what four streams send: with its sanitizers the next process takes up to half of that.
    with traffic_everywhere(managed, rate=500) as (streams, wires):
        for _ in range(RESTARTS):
            so_far = len(waited(gateway))
            exchange()
            for stream in streams.values():
                traffic.carried(stream, 200)
            assert gateway.manager.names() == [], "what was taken over is still in the store"
            expect(gateway.current, 20, "simplond is content")
            if handover == "device":
                expect(lambda: len(waited(gateway)) == so_far + 2, 10, "both uplinks had packets waiting")
            else:
                assert len(waited(gateway)) == so_far
            assert "simplon-wait" not in managed.gw.ip("-o link").stdout
            now = programmed_sas(gateway)
            assert set(now) == set(before), "an SA was negotiated again"
            for spi, sa in now.items():
                assert sa["sequence"] > before[spi]["sequence"] and sa["packets"] > before[spi]["packets"], (before[spi], sa)
            before = now
    managed.a_bird.assert_kept(sessions)
    for flow, numbers in sent_numbers(wires).items():
        assert all(a < b for a, b in zip(numbers, numbers[1:])), f"{flow}: not in order"
    gaps = re.findall(r"forwards again, (\d+) ms after", gateway.forwarder.text())[-RESTARTS:]
    managed.lab.note(f"{way}, {handover}: packets waited for {', '.join(gaps)} ms")
    for name, stream in streams.items():
        assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, f"{name}: {stream.result}"


def test_a_successor_that_goes_away_changes_nothing(managed):
    gateway = managed.simplon
    before, process = set(programmed_sas(gateway)), gateway.forwarder.pid
    with traffic_everywhere(managed, rate=200) as (streams, _):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
            successor.settimeout(20)
            successor.connect(str(gateway.run_dir / "succession.sock"))
            _, descriptors, _, _ = socket.recv_fds(successor, 1, 1)
            second = gateway.try_to_succeed()
            assert second.wait(20) == 1, "there is one already"
            assert not gateway.current(), "the tables stay as they are"
            for descriptor in descriptors:
                os.close(descriptor)
        expect(gateway.current, 20, "the forwarder takes changes again")
        for stream in streams.values():
            traffic.carried(stream, 100)
    assert gateway.forwarder.pid == process and gateway.forwarder.alive()
    assert set(programmed_sas(gateway)) == before
    for name, stream in streams.items():
        assert stream.result.lost == 0, f"{name}: {stream.result}"


def test_a_host_port_that_is_gone_costs_no_other(managed):
    gateway, red = managed.simplon, managed.simplon.domain("red")
    before = set(programmed_sas(gateway))
    # What has its name now keeps it from being made again.
    red.run("sh", "-c", f"ip link del vpc{GOLD} && ip link add vpc{GOLD} type bridge")
    expect(lambda: f"host port vpc{GOLD}: the device is gone" in gateway.forwarder.text(), 20, "the forwarder misses it")
    gateway.restart_forwarder()
    expect(gateway.current, 20, "simplond is content")
    assert "starting from nothing" not in gateway.forwarder.text()
    assert set(programmed_sas(gateway)) == before, "an SA was negotiated again"
    assert traffic.ping(managed.a_host, t.VM["red1"]).lost == 0
    red.ip(f"link del vpc{GOLD}")
    expect(lambda: f"host port vpc{GOLD}: made again" in gateway.forwarder.text(), 20, "it is made when nothing is in the way")


def test_a_kill_after_a_planned_restart_hands_nothing_over(managed):
    gateway = managed.simplon
    before = set(programmed_sas(gateway))
    gateway.kill_forwarder()
    assert gateway.manager.names() == []
    gateway.start_forwarder()
    managed.wait_all()
    assert not before & set(programmed_sas(gateway)), "an SA of the killed forwarder is used again"


def test_what_cannot_be_taken_over_is_told_and_everything_is_made_anew(managed):
    gateway = managed.simplon
    before = set(programmed_sas(gateway))
    gateway.forwarder.stop()
    assert gateway.manager.names() == [STORED]
    gateway.manager.spoil(STORED)
    gateway.start_forwarder()
    expect(lambda: "starting from nothing" in gateway.forwarder.text(), 20, "the forwarder says what it cannot take over")
    managed.wait_all()
    assert not before & set(programmed_sas(gateway)), "an SA that was not taken over is used again"
    assert traffic.ping(managed.a_host, t.VM["red1"]).lost == 0
