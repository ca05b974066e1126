# SPDX-License-Identifier: GPL-2.0-or-later
import pathlib
import re
import socket
import time

import pytest

from lib import bird, capture, traffic
from lib import two_sites as t
from lib.expect import expect

VLAN_TAP = pathlib.Path(__file__).parents[1] / "lib/vlan_tap.py"
FORGE = VLAN_TAP.with_name("forge.py")
C_HOST, C_HOST6 = "10.50.0.10", "fd50::10"
OURS, THEIRS = ["192.168.15.1", "192.168.15.9"], ["192.168.15.2", "192.168.15.10"]
LENGTHS = [29, 30]
OURS6, THEIRS6 = "fd15::1", "fd15::2"
SERVICE_KEY = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
TAGS = {"line0": ["100"], "line1": ["7", "300"]}
PROVIDER_ASN = 12076


class Lines(t.TwoSites):
    """The sites of the demo without site-b, and a provider with two lines to the gateway."""

    def __init__(self, lab):
        super().__init__(lab, vms=("red1",), site_b=False)
        self.prov = lab.namespace("prov", forwarding=True)
        self.c_host = lab.namespace("c-host")
        lab.veth(self.c_host, "eth0", self.prov, "lan")
        for address, space, device in ((f"{C_HOST}/24", self.c_host, "eth0"), (f"{C_HOST6}/64", self.c_host, "eth0"),
                                       ("10.50.0.1/24", self.prov, "lan"), ("fd50::1/64", self.prov, "lan")):
            space.ip(f"addr add {address} dev {device}" + (" nodad" if ":" in address else ""))
        self.c_host.ip("route add default via 10.50.0.1")
        self.c_host.ip("-6 route add default via fd50::1")
        self.taps = {}
        for number, line in enumerate(("line0", "line1")):
            # Two tags do not fit an Ethernet device's MTU of 1500 (it has room for one).
            lab.veth(self.gw, line, self.prov, line, mtu=1504 if line == "line1" else 1500)
            self.plug(line)
            self.address(number)

    def address(self, number):
        self.prov.ip(f"addr add {THEIRS[number]}/{LENGTHS[number]} dev line{number}v")
        if number == 0:
            self.prov.ip(f"addr add {THEIRS6}/126 dev line0v nodad")

    def plug(self, line):
        """Connects the provider's router to its VLAN."""
        tap = self.taps[line] = self.prov.spawn([VLAN_TAP, line, f"{line}v", *TAGS[line]], log=self.lab.fresh(f"{line}.log"))
        expect(lambda: "ready" in tap.text(), 10, f"the provider's end of {line} is plugged in")

    def gateway_document(self, site_a=True, site_b=False):
        document = super().gateway_document(site_a, site_b)
        document["uplinks"] += [{"interface": line} for line in TAGS]
        speaker = document["domains"][0]["bgp"]
        speaker["neighbors"][0]["export"] += ["10.50.0.0/24"]
        for name, address in zip(("primary", "secondary"), THEIRS):
            speaker["neighbors"].append(t.neighbor(name, address, PROVIDER_ASN, ["10.50.0.0/16 le 24"],
                                                   ["10.20.0.0/24", "10.1.0.0/16 le 24"]) | {"bfd": True})
        common = {"domain": "red", "service-key": SERVICE_KEY}
        document["circuits"] = [
            {"name": "line-a", "uplink": "line0", "vlan": 100, "addresses": [f"{OURS[0]}/29", f"{OURS6}/126"]} | common,
            {"name": "line-b", "uplink": "line1", "vlan": 7, "outer-vlan": 300, "addresses": [f"{OURS[1]}/30"],
             "path": "secondary"} | common]
        return document

    def start_provider(self):
        self.p_bird = bird.Bird(self.prov, router_id="10.255.3.1", lan="lan", local=THEIRS[0], asn=PROVIDER_ASN,
                                neighbor=OURS[0], neighbor_asn=65515, bfd="line*v",
                                also=[("up2", THEIRS[1], OURS[1])])

    def circuit(self, name):
        return next(one for one in self.simplon.show("circuit", "show")["circuits"] if one["name"] == name)


@pytest.fixture(scope="module")
def lines(lab):
    built = Lines(lab)
    built.start_router_a()
    built.gateway().start().apply(built.gateway_document())
    built.start_provider()
    box = built.simplon
    box.wait_tunnel("site-a")
    for neighbor in ("site-a", "primary", "secondary"):
        box.wait_bgp(neighbor)
    box.wait_route("red", "10.50.0.0/24")
    expect(lambda: built.p_bird.learned() == ["10.1.0.0/24", "10.20.0.0/24"], 20, "the provider learned site and VPC")
    expect(lambda: built.a_bird.learned() == ["10.20.0.0/24", "10.50.0.0/24"], 20, "site-a learned line and VPC")
    yield built
    built.assert_healthy()


def test_both_paths_carry_the_route(lines):
    hops = lines.simplon.routes("red")["10.50.0.0/24"]["nexthops"]
    assert sorted((hop["kind"], hop["name"], hop["gateway"]) for hop in hops) == [
        ("circuit", "line-a", THEIRS[0]), ("circuit", "line-b", THEIRS[1])]
    for name, mtu in (("line-a", 1500), ("line-b", 1500)):
        circuit = lines.circuit(name)
        assert circuit["observed"]["state"] == "up", circuit
        assert circuit["programmed"]["mtu"] == mtu
    neighbors = {one["address"]: one["resolved"] for one in lines.circuit("line-a")["observed"]["neighbors"]}
    assert neighbors[THEIRS[0]]


@pytest.mark.parametrize("source,address", [
    ("c-host", t.VM["red1"]), ("red1", C_HOST), ("c-host", t.A_HOST), ("a-host", C_HOST)])
def test_reaches(lab, lines, source, address):
    traffic.reachable(lab.namespaces[source], address)
    result = traffic.ping(lab.namespaces[source], address)
    assert result.lost == 0, result.text


@pytest.mark.parametrize("ip_bytes", [1400, 1500, 9000])
def test_pings_of_any_size(lines, ip_bytes):
    for source, address in ((lines.c_host, t.VM["red1"]), (lines.vm["red1"], C_HOST), (lines.c_host, t.A_HOST)):
        result = traffic.ping(source, address, size=ip_bytes - 28)
        assert result.lost == 0, result.text


def test_streams_lose_nothing(lines):
    with traffic.stream(lines.c_host, lines.vm["red1"], t.VM["red1"], port=7000) as there, \
            traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7001) as back:
        traffic.carried(there, 2000)
        traffic.carried(back, 2000)
    assert there.result.lost == 0 and back.result.lost == 0, (str(there.result), str(back.result))


def test_tcp_transfers_arrive_unchanged(lines):
    for source, target, address in ((lines.c_host, lines.vm["red1"], t.VM["red1"]), (lines.vm["red1"], lines.c_host, C_HOST),
                                    (lines.a_host, lines.c_host, C_HOST)):
        traffic.tcp_transfer(source, target, address, megabytes=5)


def test_traceroute_shows_the_gateway(lines):
    hops = traffic.traceroute(lines.c_host, t.VM["red1"])
    assert hops[0] == "10.50.0.1" and hops[1] in OURS and hops[2:] == [t.VM["red1"]]
    hops = traffic.traceroute(lines.vm["red1"], C_HOST)
    assert hops[0] == "10.20.0.1" and hops[1] in THEIRS and hops[2:] == [C_HOST]


def test_our_own_addresses_answer(lines):
    for address in OURS + [OURS6]:
        assert traffic.ping(lines.prov, address).lost == 0
    assert traffic.ping(lines.vm["red1"], OURS[0]).lost == 0


def test_a_directly_connected_neighbor_is_found(lines):
    """No route names it as gateway: the first packet makes the kernel ask for it."""
    other = "192.168.15.3"
    lines.prov.ip(f"addr add {other}/29 dev line0v")
    before = lines.simplon.drops()["neighbor_unresolved"]
    traffic.reachable(lines.vm["red1"], other)
    assert lines.simplon.drops()["neighbor_unresolved"] > before
    assert {one["address"]: one["resolved"] for one in lines.circuit("line-a")["observed"]["neighbors"]}[other]
    assert traffic.ping(lines.vm["red1"], other).lost == 0


def test_static_routes_name_the_router(lines):
    """BGP of the provider does not announce it."""
    prefix, host = "10.60.0.0/24", "10.60.0.10"
    lines.prov.ip(f"addr add {host}/32 dev lan")
    document = lines.gateway_document()
    document["domains"][0]["static-routes"] = [{"prefix": prefix, "via": "line-a", "gateway": THEIRS[0]}]
    lines.simplon.apply(document, "--yes")
    hop, = lines.simplon.routes("red")[prefix]["nexthops"]
    assert (hop["kind"], hop["name"], hop["gateway"]) == ("circuit", "line-a", THEIRS[0])
    traffic.reachable(lines.vm["red1"], host)
    assert traffic.ping(lines.vm["red1"], host).lost == 0
    document["domains"][0]["static-routes"][0].pop("gateway")
    refused = lines.simplon.apply(document, "--yes", check=False)
    assert refused.returncode == 1 and "add the address of the provider's router" in refused.stdout + refused.stderr
    lines.simplon.apply(lines.gateway_document(), "--yes")
    assert prefix not in lines.simplon.routes("red")


def test_a_failed_path_moves_its_traffic(lines):
    with traffic.stream(lines.c_host, lines.vm["red1"], t.VM["red1"], port=7002) as stream:
        traffic.carried(stream, 300)
        began = time.monotonic()
        lines.taps["line0"].stop()
        expect(lambda: [hop["name"] for hop in lines.simplon.routes("red")["10.50.0.0/24"]["nexthops"]] == ["line-b"], 20,
               "the route is left with line-b")
        lines.lab.note(f"line-a was given up {time.monotonic() - began:.2f} s after it failed")
        traffic.carried(stream, 300)
    assert traffic.ping(lines.vm["red1"], C_HOST).lost == 0
    expect(lambda: lines.circuit("line-a")["observed"]["state"] == "no-neighbor", 60, "line-a says that nobody is there")
    lines.plug("line0")
    lines.address(0)
    lines.simplon.wait_bgp("primary")
    expect(lambda: len(lines.simplon.routes("red")["10.50.0.0/24"]["nexthops"]) == 2, 20, "both paths carry the route again")
    expect(lambda: lines.circuit("line-a")["observed"]["state"] == "up", 20, "line-a is up")


def with_backup(lines):
    """The line's network is learned on line-a only, and a static route over line-b stands by."""
    document = lines.gateway_document()
    document["domains"][0]["bgp"]["neighbors"][2]["import"] = []
    document["domains"][0]["static-routes"] = [
        {"prefix": "10.50.0.0/24", "via": "line-b", "gateway": THEIRS[1], "distance": 200}]
    return document


def chosen(lines):
    """Of the routes to the line's network: the one that is used, the one that stands by."""
    found = next(one for one in lines.simplon.show("route", "show")["domains"] if one["name"] == "red")
    routes = [one for one in found["routes"] if one["prefix"] == "10.50.0.0/24"]
    return [[one["origin"] for one in routes if one[flag]] for flag in ("selected", "backup")]


def programmed(lines):
    return lines.simplon.show("status")["programmed"]


def use_backup(lines):
    lines.simplon.apply(with_backup(lines), "--yes")
    expect(lambda: chosen(lines) == [["bgp"], ["static"]], 20, "the learned route is used and the static one stands by")
    expect(lines.simplon.current, 20, "the forwarder has both")


def test_a_line_that_falls_silent_is_left_when_bfd_notices(lines):
    use_backup(lines)
    with traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7006) as stream:
        traffic.carried(stream, 300)
        lines.taps["line0"].stop()  # the link stays up, and what is sent into it is lost
        expect(lambda: chosen(lines) == [["static"], []], 30, "BGP withdrew the route")
        traffic.carried(stream, 300)
    lines.lab.note(f"C4, BFD 3 x 300 ms: silent for {stream.result.report['longest_silence_ms']} ms ({stream.result})")
    lines.plug("line0")
    lines.address(0)
    lines.simplon.wait_bgp("primary")


def test_a_lost_link_is_left_before_bgp_knows(lines):
    use_backup(lines)
    assert "backup of the bgp route" in lines.simplon.cli("route", "show").stdout
    before = programmed(lines)["switches_to_backup"]
    with traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7003) as stream:
        traffic.carried(stream, 300)
        began = time.monotonic()
        lines.prov.ip("link set line0 down")
        # The group that BGP makes of what is left then has no backup to go over to.
        expect(lambda: programmed(lines)["switches_to_backup"] == before + 1, 10, "the forwarder went over to the backup")
        expect(lambda: chosen(lines) == [["static"], []], 30, "BGP withdrew the route")
        lines.lab.note(f"BGP with BFD gave line-a up {time.monotonic() - began:.2f} s after its link was lost")
        traffic.carried(stream, 300)
    lines.lab.note(f"C4, local repair: silent for {stream.result.report['longest_silence_ms']} ms ({stream.result})")
    expect(lambda: programmed(lines)["routes_on_backup"] == 0, 10, "the static route is no backup any more")
    lines.taps["line0"].stop()
    lines.prov.ip("link set line0 up")
    lines.plug("line0")
    lines.address(0)
    lines.simplon.wait_bgp("primary")
    expect(lambda: chosen(lines) == [["bgp"], ["static"]], 20, "the learned route is used again")
    with traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7004) as stream:
        traffic.carried(stream, 300)
    assert stream.result.lost == 0, stream.result


def test_a_static_route_goes_over_and_comes_back(lines):
    """Nothing is known of it but what the forwarder sees."""
    document = lines.gateway_document()
    for neighbor in document["domains"][0]["bgp"]["neighbors"][1:]:
        neighbor["import"] = []
    document["domains"][0]["static-routes"] = [
        {"prefix": "10.50.0.0/24", "via": line, "gateway": gateway, "distance": distance}
        for line, gateway, distance in (("line-a", THEIRS[0], 1), ("line-b", THEIRS[1], 10))]
    lines.simplon.apply(document, "--yes")
    expect(lambda: chosen(lines) == [["static"], ["static"]] and lines.simplon.current(), 20, "both are there")
    with traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7005) as stream:
        traffic.carried(stream, 300)
        lines.prov.ip("link set line0 down")
        expect(lambda: programmed(lines)["routes_on_backup"] == 1, 10, "the route is on its backup")
        traffic.carried(stream, 300)
        text = lines.simplon.cli("trace", "--from", "vpc:red", "--src", t.VM["red1"], "--dst", C_HOST).stdout
        assert "backup, weight 1" in text and "line-b" in text, text
        lines.taps["line0"].stop()
        lines.prov.ip("link set line0 up")
        lines.plug("line0")
        lines.address(0)
        expect(lambda: programmed(lines)["routes_on_backup"] == 0, 30, "the route is back on line-a")
        traffic.carried(stream, 300)
    lines.lab.note(f"a static route and back: {stream.result}")
    lines.simplon.apply(lines.gateway_document(), "--yes")
    for neighbor in ("primary", "secondary"):
        lines.simplon.wait_bgp(neighbor)
    expect(lambda: len(lines.simplon.routes("red")["10.50.0.0/24"]["nexthops"]) == 2, 20, "both paths carry the route again")


def checksum(data):
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def echo_requests(lines, line, tags, count=10):
    """ICMP echo requests of c-host for the VM, with these tags (hexadecimal) on the wire of a line."""
    ours = lines.gw.out("ip", "-br", "link", "show", line, quiet=True).split()[2].replace(":", "")
    icmp = bytes.fromhex("0800000000010001")
    icmp = icmp[:2] + checksum(icmp) + icmp[4:]
    header = bytes.fromhex("4500001c0001000040010000") + socket.inet_aton(C_HOST) + socket.inet_aton(t.VM["red1"])
    header = header[:10] + checksum(header) + header[12:]
    frame = ours + "02deadbeef01" + tags + "0800" + (header + icmp).hex() + "00" * 18
    lines.prov.run(FORGE, line, input="\n".join([frame] * count))


def test_frames_of_others_reach_nobody(lines):
    at_vm = capture.Capture(lines.vm["red1"], "eth0", filter=f"icmp and src host {C_HOST}")
    before = lines.simplon.drops()["vlan_unknown"]
    echo_requests(lines, "line0", "81000065")  # for the kernel, which may have a device for VLAN 101
    echo_requests(lines, "line0", "8100006481000005")
    echo_requests(lines, "line1", "81000007")
    # All of the provider's VLAN is the gateway's business, also the VLANs of other customers in it.
    echo_requests(lines, "line1", "88a8012c81000008")
    expect(lambda: lines.simplon.drops()["vlan_unknown"] == before + 10, 10, "frames of another customer are counted")
    echo_requests(lines, "line0", "81000064")
    echo_requests(lines, "line1", "88a8012c81000007")
    expect(lambda: at_vm.count() == 20, 10, "those of the circuits reach the VM")
    assert lines.simplon.drops()["vlan_unknown"] == before + 10
    assert at_vm.stop().count() == 20


def test_the_lines_carry_only_tagged_frames(lines):
    # Judged afterwards, by what the frames are: in the kernel a tag may lie beside its frame.
    wires = [capture.Capture(lines.prov, line) for line in TAGS]
    assert traffic.ping(lines.c_host, t.VM["red1"], count=5).lost == 0
    assert traffic.ping(lines.vm["red1"], C_HOST, count=5).lost == 0
    for wire in wires:
        untagged = wire.stop().fields("eth.src", "eth.dst", "_ws.col.Info", display="not vlan and not ipv6")
        assert not untagged, untagged
        assert wire.count("vlan") > 0


def test_removing_and_adding_by_cli(lines):
    box = lines.simplon
    document = lines.gateway_document()
    refused = box.cli("--yes", "circuit", "remove", "line-b", check=False)
    assert refused.returncode == 1 and "in no inside link" in refused.stdout + refused.stderr
    document["domains"][0]["bgp"]["neighbors"] = document["domains"][0]["bgp"]["neighbors"][:2]
    box.apply(document, "--yes")
    box.cli("--yes", "circuit", "remove", "line-b")
    assert [one["name"] for one in box.show("circuit", "show")["circuits"]] == ["line-a"]
    expect(lambda: "cir2" not in box.domain("red").out("ip", "-br", "link", quiet=True), 10, "its TAP is gone")
    assert traffic.ping(lines.c_host, t.VM["red1"]).lost == 0
    box.cli("--yes", "circuit", "add", "line-b", "--domain", "red", "--uplink", "line1", "--vlan", "7", "--outer-vlan", "300",
            "--address", f"{OURS[1]}/30", "--secondary", "--service-key", SERVICE_KEY)
    box.apply(lines.gateway_document(), "--yes")
    box.wait_bgp("secondary")
    text = box.cli("circuit", "show", "line-b").stdout
    assert "7 in 300 on line1" in text and THEIRS[1] in text, text


def test_the_forwarder_comes_back_with_its_circuits(lines):
    lines.simplon.restart_forwarder()
    expect(lines.simplon.current, 20, "the tables are there again")
    traffic.reachable(lines.c_host, t.VM["red1"], within=30)
    for neighbor in ("primary", "secondary"):
        lines.simplon.wait_bgp(neighbor)
    expect(lambda: len(lines.simplon.routes("red")["10.50.0.0/24"]["nexthops"]) == 2, 30, "both paths carry the route")
    assert traffic.ping(lines.c_host, t.VM["red1"]).lost == 0
    assert traffic.ping(lines.vm["red1"], C_HOST).lost == 0


def test_the_namespace_of_the_domain_is_replaced_by_hand(lines):
    """TUN and TAP devices, their neighbors, and FRR follow its name into the new one, which nobody prepared."""
    box, name = lines.simplon, lines.simplon.domain("red").name
    began = time.monotonic()
    lines.gw.run("ip", "netns", "delete", name)
    lines.gw.run("ip", "netns", "add", name)
    last = lines.circuit("line-b")["interface"]
    expect(lambda: last in box.domain("red").out("ip", "-br", "link", quiet=True), 20, "the devices are in the new one")
    for neighbor in ("site-a", "primary", "secondary"):
        box.wait_bgp(neighbor)
    expect(lambda: len(box.routes("red").get("10.50.0.0/24", {"nexthops": []})["nexthops"]) == 2, 60, "both paths carry the route")
    traffic.reachable(lines.c_host, t.VM["red1"], within=30)
    lines.lab.note(f"a replaced namespace: both paths are back after {time.monotonic() - began:.1f} s")
    assert traffic.ping(lines.c_host, t.VM["red1"]).lost == 0
    assert traffic.ping(lines.vm["red1"], C_HOST).lost == 0


def test_a_planned_restart_keeps_connections_over_circuits(lines):
    """Last: from here on the forwarder has a service manager."""
    box, pool = lines.simplon, "100.64.0.1"
    document = lines.gateway_document()
    speaker = document["domains"][0]["bgp"]
    for neighbor in speaker["neighbors"][1:]:
        neighbor["export"] += ["100.64.0.0/10 le 32"]
    speaker["neighbors"][2]["import"] = []
    document["domains"][0]["nat"] = [{"name": "egress", "type": "source", "attachment": "line-a", "source": ["10.20.0.0/24"],
                                      "outside": pool}]
    box.apply(document, "--yes")
    box.manage_forwarder()
    box.restart_forwarder()  # this one hands nothing over yet
    for neighbor in ("primary", "secondary"):
        box.wait_bgp(neighbor)
    expect(lambda: [hop["name"] for hop in box.wait_route("red", "10.50.0.0/24")["nexthops"]] == ["line-a"], 30,
           "the route is on line-a")
    expect(lambda: f"{pool}/32" in lines.p_bird.learned(), 30, "the provider learned the outer address")
    traffic.reachable(lines.vm["red1"], C_HOST, within=30)

    def outer_ports():
        return {one["source_port"]: one["translated_source_port"] for one in box.show("connection", "show")["connections"]
                if one["protocol"] == "udp" and one["destination_port"] == 7006}

    with traffic.stream(lines.vm["red1"], lines.c_host, C_HOST, port=7006) as stream:
        traffic.carried(stream, 300)
        before = outer_ports()
        assert len(before) == 1
        box.restart_forwarder()
        traffic.carried(stream, 300)
        assert outer_ports() == before, "the stream has another outer port"
    told = re.search(r"took over (\d+) of (\d+) connections", box.forwarder.text())
    assert told and told.group(1) == told.group(2) != "0", told
    lines.lab.note(f"planned restart: {stream.result}")
