# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import capture, traffic
from lib import two_sites as t


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab)
    built.wan_capture = capture.Capture(built.wan, "to-gw")
    built.fabric_capture = capture.Capture(built.fabric, "to-gw")
    built.start_all()
    yield built
    built.assert_healthy()


def test_site_a_is_encapsulated_in_udp_and_site_b_is_not(sites):
    encapsulated = {name: sites.simplon.tunnel(name)["observed"]["children"][0]["encap"] for name in ("site-a", "site-b")}
    assert encapsulated == {"site-a": True, "site-b": False}


@pytest.mark.parametrize("source,target,address", [
    ("a-host", "red1", t.VM["red1"]), ("a-host", "red2", t.VM["red2"]), ("red1", "a-host", t.A_HOST),
    ("b-host", "blue1", t.VM["blue1"]), ("b-host", "blue2", t.VM["blue2"]), ("blue2", "b-host", t.B_HOST)])
def test_reaches(lab, sites, source, target, address):
    result = traffic.ping(lab.namespaces[source], address)
    assert result.lost == 0, result.text


@pytest.mark.parametrize("source,target,address", [
    ("a-host", "b-host", t.B_HOST), ("b-host", "a-host", t.A_HOST),
    ("red1", "b-host", t.B_HOST), ("blue1", "a-host", t.A_HOST)])
def test_does_not_reach(lab, sites, source, target, address):
    assert traffic.ping(lab.namespaces[source], address, count=3, wait=1).received == 0


def test_the_same_address_in_two_vpcs_is_two_machines(lab, sites):
    blue = capture.Capture(lab.namespaces["blue1"], "eth0", filter="udp port 7000")
    with traffic.stream(sites.a_host, sites.vm["red1"], t.VM["red1"]) as stream:
        traffic.carried(stream, 300)
    assert stream.result.lost == 0, stream.result
    assert blue.stop().count() == 0


def test_traceroute_shows_the_gateway(sites):
    assert traffic.traceroute(sites.a_host, t.VM["red1"]) == ["10.1.0.1", t.GW_INSIDE_A, t.VM["red1"]]
    assert traffic.traceroute(sites.vm["red1"], t.A_HOST) == ["10.20.0.1", t.A_INSIDE, t.A_HOST]
    assert traffic.traceroute(sites.b_host, t.VM["blue2"]) == ["10.2.0.1", t.GW_INSIDE_B, t.VM["blue2"]]
    assert traffic.traceroute(sites.b_host, t.VM["blue2"], ["-I"]) == ["10.2.0.1", t.GW_INSIDE_B, t.VM["blue2"]]


def test_our_own_addresses_answer(sites):
    assert traffic.ping(sites.vm["red1"], "10.20.0.1").lost == 0
    assert traffic.ping(sites.a_rtr, t.GW_INSIDE_A).lost == 0


@pytest.mark.parametrize("ip_bytes", [1400, 1500, 9000])
def test_pings_of_any_size(sites, ip_bytes):
    for source, address in ((sites.a_host, t.VM["red1"]), (sites.vm["red2"], t.A_HOST),
                            (sites.b_host, t.VM["blue1"]), (sites.vm["blue2"], t.B_HOST)):
        result = traffic.ping(source, address, size=ip_bytes - 28)
        assert result.lost == 0, result.text


def test_tcp_transfers_arrive_unchanged(sites):
    for source, target, address in ((sites.a_host, sites.vm["red1"], t.VM["red1"]),
                                    (sites.vm["red1"], sites.a_host, t.A_HOST),
                                    (sites.b_host, sites.vm["blue1"], t.VM["blue1"]),
                                    (sites.vm["blue1"], sites.b_host, t.B_HOST)):
        rate = traffic.tcp_transfer(source, target, address)
        sites.lab.note(f"{source.short} to {target.short}: {rate:.0f} Mbit/s")


def test_the_wires_carry_only_what_they_should(sites):
    for source, address in ((sites.a_host, t.VM["red1"]), (sites.b_host, t.VM["blue1"])):
        assert traffic.ping(source, address, count=3).lost == 0
    capture.assert_wan_is_sealed(sites.wan_capture)
    capture.assert_each_site_in_its_vpc(sites.fabric_capture, {t.RED: t.A_HOST, t.BLUE: t.B_HOST})
