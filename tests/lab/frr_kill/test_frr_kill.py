# SPDX-License-Identifier: GPL-2.0-or-later
import os
import pathlib
import signal

import pytest

from lib import proc, traffic
from lib import two_sites as t
from lib.expect import expect
from lib.topo import run


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "blue1"))
    built.start_all()
    yield built
    built.assert_healthy()


def pid_of(sites, domain, program):
    """The pid of an FRR daemon in the domain's namespace, which this lab made."""
    name = sites.simplon.domain(domain).name
    for pid in run(["ip", "netns", "pids", name]).stdout.split():
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == program:
                return int(pid)
        except OSError:
            pass
    return None


@pytest.mark.parametrize("program", ["bgpd", "zebra"])
def test_a_killed_frr_daemon_comes_back_and_the_other_domain_does_not_notice(sites, program):
    gateway = sites.simplon
    with traffic.stream(sites.b_host, sites.vm["blue1"], t.VM["blue1"]) as blue:
        traffic.carried(blue, 200)
        pid = pid_of(sites, "red", program)
        started = proc.start_time(pid)
        sites.lab.echo("gw/red", ["kill", "-9", pid, f"# {program}"])
        os.kill(pid, signal.SIGKILL)
        expect(lambda: not proc.same(pid, started), 5, f"{program} is dead")
        expect(lambda: pid_of(sites, "red", program), 30, f"{program} runs again")
        gateway.wait_bgp("site-a", within=90)
        gateway.wait_route("red", "10.1.0.0/24", within=60)
        expect(lambda: sites.a_bird.learned() == ["10.20.0.0/24"], 60, "site-a has the VPC's prefix again")
        traffic.reachable(sites.a_host, t.VM["red1"], within=30)
        traffic.carried(blue, 200)
    assert blue.result.lost == 0, str(blue.result)
    assert gateway.bgp_established("site-b")


def test_the_neighbor_stops_and_its_routes_go(sites):
    gateway = sites.simplon
    sites.a_bird.stop()
    expect(lambda: "10.1.0.0/24" not in gateway.routes("red") and gateway.current(), 60, "the route is withdrawn")
    before = gateway.drops()["no_route"]
    assert traffic.ping(sites.vm["red1"], t.A_HOST, count=3, wait=1).received == 0
    assert gateway.drops()["no_route"] > before
    shown = gateway.neighbor("site-a")["observed"]
    assert shown["state"] != "Established" and shown["problem"], shown
    sites.start_bird_a()
    gateway.wait_bgp("site-a", within=90)
    gateway.wait_route("red", "10.1.0.0/24", within=60)
    traffic.reachable(sites.a_host, t.VM["red1"], within=30)
