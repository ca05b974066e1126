# SPDX-License-Identifier: GPL-2.0-or-later
import signal

import pytest

from lib import traffic
from lib import gateway as g
from lib import two_sites as t
from lib.expect import expect
from lib.topo import run


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1", "red2"), site_b=False)
    built.start_all(site_b=False)
    yield built
    built.assert_healthy()


def trace(sites, *words):
    """The reply of `simplon trace`, held against its schema."""
    return sites.simplon.show("trace", *words)


def facts(reply, stage, packet="packet"):
    """{name: value} of a stage."""
    return {fact["name"]: fact["value"] for step in reply["steps"] if step["stage"] == stage and step["packet"] == packet
            for fact in step["facts"]}


def stages(reply):
    return [step["stage"] for step in reply["steps"] if step["packet"] == "packet"]


def state(sites):
    """Everything a packet changes."""
    tunnel = sites.simplon.tunnel("site-a")["programmed"]
    return {"drops": sites.simplon.drops(),
            "sas": {sa["spi"]: (sa["sequence"], sa["packets"], sa["replayed"], sa["failed"]) for sa in tunnel["sas"]}}


def spi_out(sites):
    return next(sa["spi"] for sa in sites.simplon.tunnel("site-a")["programmed"]["sas"]
                if sa["active"] and not sa["inbound"])


def test_from_the_vm_to_the_site(sites):
    reply = trace(sites, "--from", "vpc:red", "--src", t.VM["red1"], "--dst", t.A_HOST, "--proto", "tcp", "--dport", "443",
                  "--flags", "syn")
    assert reply["verdict"] == "forwarded", reply
    assert stages(reply) == ["classify", "vxlan_decap", "ip_forward", "resolve", "pmtu", "esp_encrypt", "transmit"]
    assert facts(reply, "classify")["outer"] == f"{t.C_UNDERLAY['c1']} -> {t.GW_VTEP}"
    routing = facts(reply, "ip_forward")
    assert (routing["domain"], routing["route"], routing["nexthop"]) == ("red", "10.1.0.0/24", "tunnel:site-a")
    assert facts(reply, "resolve")["sa"].startswith(f"SPI {spi_out(sites)} out, ")
    assert facts(reply, "resolve")["adjacency"].startswith("wan0 to ")
    assert facts(reply, "esp_encrypt")["outer"].startswith(f"{t.GW_WAN} -> {t.A_WAN},")
    assert facts(reply, "transmit")["port"] == "wan0"
    assert traffic.ping(sites.vm["red1"], t.A_HOST, count=2).lost == 0


def test_from_the_site_to_the_vm(sites):
    reply = trace(sites, "--from", "tunnel:site-a", "--src", t.A_HOST, "--dst", t.VM["red2"])
    assert reply["verdict"] == "forwarded", reply
    assert stages(reply) == ["classify", "esp_lookup", "esp_decrypt", "ip_forward", "resolve", "pmtu", "vxlan_encap", "transmit"]
    assert facts(reply, "resolve")["vtep"] == t.C_UNDERLAY["c2"]
    assert facts(reply, "vxlan_encap")["vxlan"] == f"VNI {t.RED}"
    assert facts(reply, "transmit")["port"] == "fab0"
    local = trace(sites, "--from", "tunnel:site-a", "--src", t.A_INSIDE, "--dst", t.GW_INSIDE_A, "--proto", "tcp", "--dport", "179")
    assert local["verdict"] == "to-kernel", local


def test_a_drop_is_foretold_with_its_remedy_and_then_happens(sites):
    words = ["--from", "tunnel:site-a", "--src", t.A_HOST, "--dst", "10.20.0.77"]
    reply = trace(sites, *words)
    assert reply["verdict"] == "dropped" and reply["drop"]["name"] == "endpoint_unknown", reply
    assert reply["drop"]["remedy"].startswith("simplon endpoint add red 10.20.0.77 --mac MAC --vtep VTEP"), reply["drop"]
    assert facts(reply, "icmp_errors", "icmp-error")["message"] == "type 3, code 1"
    page = sites.simplon.cli("trace", *words, check=False)
    assert page.returncode == 4 and page.stdout.startswith("DROPPED endpoint_unknown   from tunnel site-a"), page.stdout
    assert page.stdout.rstrip().splitlines()[-1].strip().startswith("hint: simplon endpoint add red 10.20.0.77"), page.stdout
    before = sites.simplon.drops()["endpoint_unknown"]
    assert traffic.ping(sites.a_host, "10.20.0.77", count=1, wait=1).received == 0
    assert sites.simplon.drops()["endpoint_unknown"] > before
    no_route = trace(sites, "--from", "vpc:red", "--src", t.VM["red1"], "--dst", "9.9.9.9")
    assert no_route["drop"]["name"] == "no_route" and "9.9.9.9" in no_route["drop"]["remedy"], no_route
    big = trace(sites, "--from", "vpc:red", "--src", t.VM["red1"], "--dst", t.A_HOST, "--size", "1500", "--df")
    assert big["drop"]["name"] == "fragmentation_needed", big


def test_a_trace_leaves_no_mark(sites):
    # Nothing of ours is on its way but BGP keepalives, which go through the SAs: the numbers are read as one.
    def quiet_hundred():
        before = state(sites)
        for destination in (t.A_HOST, "9.9.9.9"):
            for _ in range(5):
                trace(sites, "--from", "vpc:red", "--src", t.VM["red1"], "--dst", destination)
        for _ in range(5):
            trace(sites, "--from", "tunnel:site-a", "--src", t.A_HOST, "--dst", t.VM["red1"])
        return state(sites) == before

    expect(quiet_hundred, 60, "traces between two keepalives change nothing")


def test_mistakes_are_guessed(sites):
    done = sites.simplon.cli("trace", "--from", "vpc:rde", "--src", "10.20.0.11", "--dst", "10.1.0.10", check=False)
    assert done.returncode == 1 and "did you mean 'vpc:red'?" in done.stderr, done.stderr
    done = sites.simplon.cli("trace", "--from", "vpc:red", "--src", "10.20.0.11", "--dst", "10.1.0", check=False)
    assert done.returncode == 1 and "the destination '10.1.0' is no address" in done.stderr, done.stderr


def test_a_live_trace_shows_a_real_packet(sites):
    with traffic.stream(sites.a_host, sites.vm["red1"], t.VM["red1"]) as stream:
        reply = trace(sites, "--live", "--from", "tunnel:site-a", "--proto", "udp", "--dport", "7000")
        assert reply["live"] and reply["verdict"] == "forwarded", reply
        assert facts(reply, "esp_decrypt")["packet"].startswith(f"{t.A_HOST} -> {t.VM['red1']} UDP ")
        assert facts(reply, "vxlan_encap")["vxlan"] == f"VNI {t.RED}"
        traffic.carried(stream, 300)
    assert stream.result.lost == 0, stream.result
    done = sites.simplon.cli("trace", "--live", "--from", "vpc:red", "--dst", "10.99.0.1", "--wait", "1", check=False)
    assert done.returncode == 3 or "no such packet came within 1 s" in done.stderr, done.stderr


class CliCapture:
    """`simplon capture words... -w FILE`, running until stop()."""

    def __init__(self, sites, *words, wait=True):
        lab = sites.lab
        self.path = lab.logs / lab.fresh("simplon.pcapng")
        box = sites.simplon
        self.process = sites.gw.spawn([g.program("gateway/cli/simplon"), "--socket", box.run_dir / "api.sock", "capture", *words,
                                       "-w", self.path], log=lab.fresh("simplon-capture.log"))
        if wait:
            expect(self.begun, 10, "the capture has begun")

    def begun(self):
        return self.path.exists() and self.path.stat().st_size > 0

    def stop(self):
        self.process.signal(signal.SIGINT)
        self.process.wait(10)
        return self.process.text()

    def rows(self, *names, display=""):
        argv = ["tshark", "-n", "-r", self.path, "-T", "fields", "-d", "udp.port==4789,vxlan"]
        for name in names:
            argv += ["-e", name]
        if display:
            argv += ["-Y", display]
        return [line.split("\t") for line in run(argv, timeout=60).stdout.splitlines()]


def test_tshark_reads_both_sides_of_encryption_and_no_packet_is_lost(sites):
    inside = CliCapture(sites, "tunnel:site-a", "--host", t.A_HOST, "--port", "7000")
    wire = CliCapture(sites, "tunnel:site-a", "--after-crypto")
    with traffic.stream(sites.vm["red1"], sites.a_host, t.A_HOST) as stream:
        traffic.carried(stream, 1000)
    assert stream.result.lost == 0, stream.result
    sent = stream.result.sent
    expect(lambda: len(inside.rows("frame.number")) == sent, 10, "the capture has all of them")
    assert f"{sent:,} packets captured, 0 lost" in inside.stop()
    assert "0 lost" in wire.stop()
    rows = inside.rows("frame.interface_name", "ip.src", "ip.dst", "udp.dstport", "ip.ttl")
    assert {tuple(row) for row in rows} == {("tunnel:site-a", t.VM["red1"], t.A_HOST, "7000", "63")}
    sealed = wire.rows("frame.interface_name", "ip.src", "udp.dstport", "esp.spi", "frame.comment", display="ip.dst == " + t.A_WAN)
    assert len(sealed) >= sent
    assert {(row[0], row[1], row[2]) for row in sealed} == {("wan0", t.GW_WAN, "4500")}
    assert {row[4] for row in sealed} == {"tunnel:site-a"}
    assert f"0x{spi_out(sites)}" in {row[3] for row in sealed}


def test_drops_are_captured_with_their_reason(sites):
    drops = CliCapture(sites, "--drops", "endpoint_unknown", "--count", "3", "--duration", "30")
    traffic.ping(sites.a_host, "10.20.0.77", count=3, wait=1)
    drops.process.wait(20)
    assert "3 packets captured, 0 lost" in drops.process.text()
    rows = drops.rows("ip.dst", "frame.comment")
    assert {row[0].split(",")[0] for row in rows} == {"10.20.0.77"}
    assert all(row[1].startswith("dropped: endpoint_unknown: The VPC has no endpoint") for row in rows), rows


def test_a_capture_ends_with_its_client_and_is_in_the_audit_log(sites):
    stuck = CliCapture(sites, "vpc:red")
    stuck.process.kill()

    def one_more():
        started = CliCapture(sites, "vpc:red", wait=False)
        expect(lambda: started.begun() or not started.process.alive(), 10, "the capture has begun, or was refused")
        return started if started.begun() else None

    again = [expect(one_more, 10, "room for another capture") for _ in range(8)]  # as many as there may be: the killed one is gone
    refused = sites.simplon.cli("capture", "vpc:red", "-w", "/dev/null", check=False)
    assert refused.returncode == 1 and "8 captures and live traces run already" in refused.stderr, refused.stderr
    for one in again:
        one.stop()
    entries = sites.simplon.show("audit", "show")["entries"]
    assert [entry["subject"] for entry in entries if entry["action"] == "capture"][-1] == "vpc:red"
    assert any(entry["action"] == "trace live" for entry in entries)
    done = sites.simplon.cli("capture", "uplink:wan9", "-w", "/dev/null", check=False)
    assert "there is no open uplink wan9" in done.stderr, done.stderr


def test_a_pipe_into_tshark(sites):
    """As people do it."""
    box = sites.simplon
    command = (f"{g.program('gateway/cli/simplon')} --socket {box.run_dir / 'api.sock'} capture uplink:fab0 --count 20 -w - | "
               "tshark -n -r - -T fields -e vxlan.vni -d udp.port==4789,vxlan")
    shell = sites.gw.spawn(["sh", "-c", command], log=sites.lab.fresh("pipe.log"))
    expect(lambda: traffic.ping(sites.vm["red1"], t.A_HOST, count=5, quiet=True) and not shell.alive(), 30, "twenty packets passed")
    assert shell.text().count(str(t.RED)) >= 20 - 4, shell.text()


def test_everything_is_accounted_for(sites):
    sites.simplon.assert_accounted()
