# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock peers among themselves: when this fails, the lab is wrong and not Simplon."""
import pytest

from lib import capture, charon, stock_gateway, traffic
from lib import two_sites as t
from lib.expect import expect


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, site_b=False, vms=("red1", "red2"))
    _, speaker = stock_gateway.to_site_a(built)
    built.start_router_a(start="start")
    charon.wait_installed(built.a_charon)
    built.a_bird.wait_established()
    expect(lambda: built.a_bird.learned() == ["10.20.0.0/24"], 20, "site-a learned the VPC")
    expect(lambda: speaker.learned() == ["10.1.0.0/24"], 20, "the gateway learned site-a")
    traffic.reachable(built.a_host, t.VM["red1"])
    return built


@pytest.mark.parametrize("payload", [56, 1372, 1472, 8972])
def test_pings_of_any_size_pass(sites, payload):
    assert traffic.ping(sites.a_host, t.VM["red2"], size=payload).lost == 0


def test_traceroute_shows_both_gateways(sites):
    assert traffic.traceroute(sites.a_host, t.VM["red1"]) == ["10.1.0.1", t.GW_INSIDE_A, t.VM["red1"]]


def test_a_child_rekey_loses_nothing_and_repeats_no_number(sites):
    wan = capture.Capture(sites.wan, "to-gw", filter="udp port 4500")
    with traffic.stream(sites.a_host, sites.vm["red1"], t.VM["red1"]) as stream:
        for _ in range(2):
            traffic.carried(stream, 500)
            sites.a_charon.rekey_child()
        traffic.carried(stream, 500)
    assert stream.result.lost == 0, stream.result
    wan.stop()
    capture.assert_never_repeated(wan)


def test_tcp_both_ways(sites):
    assert traffic.tcp_transfer(sites.a_host, sites.vm["red1"], t.VM["red1"], megabytes=5) > 0
    assert traffic.tcp_transfer(sites.vm["red1"], sites.a_host, t.A_HOST, megabytes=5) > 0
