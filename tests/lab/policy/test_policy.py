# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib

import pytest

from lib import traffic
from lib import two_sites as t
from lib.expect import expect

POOL, SERVICE = "100.64.0.1", "100.64.9.9"
RED1 = t.VM["red1"]

ACL = {"name": "red", "rules": [
    {"name": "out", "action": "allow", "direction": "from", "protocol": "tcp", "ports": [7100]},
    {"name": "stream", "action": "allow", "direction": "from", "protocol": "udp", "ports": [7000]},
    {"name": "ping", "action": "allow", "direction": "from", "protocol": "icmp", "icmp-types": [8]},
    {"name": "web", "action": "allow", "direction": "to", "protocol": "tcp", "destination": [RED1], "ports": [80]}]}

NAT = [{"name": "egress", "type": "source", "attachment": "site-a", "source": ["10.20.0.0/24"], "outside": POOL},
       {"name": "web", "type": "destination", "outside": SERVICE, "inside": RED1, "protocol": "tcp", "outside-port": 8080,
        "inside-port": 80}]


def with_policy(sites, nat=None, acl=None):
    document = sites.gateway_document(site_b=False)
    document["domains"][0]["bgp"]["neighbors"][0]["export"] += ["100.64.0.0/10 le 32"]
    if nat:
        document["domains"][0]["nat"] = nat
    if acl:
        document["acls"] = [acl]
        document["vpcs"][0]["policy"] = {"acl": acl["name"], "max-connections": 1000}
    return document


@pytest.fixture(scope="module")
def sites(lab):
    built = t.TwoSites(lab, vms=("red1",), site_b=False)
    built.start_all(site_b=False)
    built.simplon.apply(with_policy(built, NAT, ACL))
    expect(lambda: {f"{POOL}/32", f"{SERVICE}/32"} <= set(built.a_bird.learned()), 30, "site-a learned the outer addresses")
    yield built
    built.assert_healthy()


@contextlib.contextmanager
def listener(space, address, port):
    """A TCP server that tells each client its address."""
    text = ("import socket\n"
            f"s = socket.create_server(({address!r}, {port})); print('ready', flush=True)\n"
            "while True:\n c, a = s.accept(); c.sendall(a[0].encode()); c.close()\n")
    process = space.spawn(["/usr/bin/python3", "-c", text], log=space.lab.fresh(f"{space.short}-{port}.log"))
    expect(lambda: "ready" in process.text(), 10, f"{space.short} listens on port {port}")
    try:
        yield
    finally:
        process.stop()


def asks(space, address, port, wait=5):
    """What the listener says, or '' if it is not reached."""
    text = (f"import socket\ntry:\n c = socket.create_connection(({address!r}, {port}), {wait}); print(c.recv(100).decode())\n"
            "except OSError: pass\n")
    return space.run("/usr/bin/python3", "-c", text, timeout=wait + 10).stdout.strip()


def drops(sites, name):
    return sites.simplon.drops()[name]


def test_a_vm_reaches_the_site_from_the_outer_address(sites):
    with listener(sites.a_host, t.A_HOST, 7100):
        assert asks(sites.vm["red1"], t.A_HOST, 7100) == POOL
    assert traffic.ping(sites.vm["red1"], t.A_HOST).lost == 0


def test_only_allowed_ports_are_reached(sites):
    before = drops(sites, "acl_denied")
    with listener(sites.a_host, t.A_HOST, 7101):
        assert asks(sites.vm["red1"], t.A_HOST, 7101, wait=2) == ""
    assert drops(sites, "acl_denied") > before


def test_the_published_service_is_reached_under_its_own_address_only(sites):
    with listener(sites.vm["red1"], RED1, 80):
        assert asks(sites.a_host, SERVICE, 8080) == t.A_HOST
        assert asks(sites.a_host, SERVICE, 8081, wait=2) == ""
    assert drops(sites, "nat_no_mapping") > 0


def test_what_nobody_asked_for_does_not_come_in(sites):
    assert traffic.ping(sites.a_host, RED1, count=2, wait=1).received == 0


def test_tcp_arrives_unchanged_and_traceroute_works(sites):
    rate = traffic.tcp_transfer(sites.vm["red1"], sites.a_host, t.A_HOST)
    sites.lab.note(f"through source NAT: {rate:.0f} Mbit/s")
    assert traffic.traceroute(sites.vm["red1"], t.A_HOST, ["-I"]) == ["10.20.0.1", t.A_INSIDE, t.A_HOST]


def test_counters_and_connections_are_shown(sites):
    acl = sites.simplon.show("acl", "show", "red")["acls"][0]
    assert {rule["name"]: rule["packets"] > 0 for rule in acl["rules"]} == {"out": True, "stream": False, "ping": True,
                                                                          "web": True}
    rules = {rule["name"]: rule["hits"] for rule in sites.simplon.show("nat", "show")["domains"][0]["rules"]}
    assert rules["egress"] > 0 and rules["web"] > 0
    table = sites.simplon.show("connection", "show")
    assert table["used"] > 0 and any(one["translated_source"] == POOL for one in table["connections"])
    for words in (("acl",), ("acl", "show", "red"), ("nat", "show"), ("connection", "show")):
        sites.simplon.cli(*words)


def traced(sites, *words):
    """The reply, and what `police` says in it: {name: value}."""
    reply = sites.simplon.show("trace", *words)
    return reply, {fact["name"]: fact["value"] for step in reply["steps"] if step["stage"] == "police" for fact in step["facts"]}


def test_a_trace_says_what_decided(sites):
    out = ("--from", "vpc:red", "--src", RED1, "--dst", t.A_HOST, "--proto", "tcp", "--sport", "40000", "--flags", "syn")
    reply, facts = traced(sites, *out, "--dport", "7100")
    assert reply["verdict"] == "forwarded", reply
    assert facts["acl-from"] == "vpc:red, list red, rule 1 out: allow, stateful", facts
    assert facts["connection"].startswith(f"new, opening, forth: {RED1} 40000 -> {t.A_HOST} 7100, outside {POOL} "), facts
    assert facts["timeout"] == "240 s without a packet", facts
    assert facts["nat"].startswith(f"source rule egress: {RED1} 40000 -> {t.A_HOST} 7100 becomes {POOL} "), facts
    assert facts["nat"].endswith(f", pool {POOL}/32"), facts
    reply, facts = traced(sites, *out, "--dport", "7101")
    assert reply["drop"]["name"] == "acl_denied", reply
    assert facts["acl-from"] == "vpc:red, list red, no rule matches: deny by default", facts
    _, facts = traced(sites, "--from", "tunnel:site-a", "--src", t.A_HOST, "--dst", SERVICE, "--proto", "tcp", "--sport", "40000", "--dport", "8080",
                      "--flags", "syn")
    assert facts["acl-to"] == "vpc:red, list red, rule 4 web: allow, stateful", facts
    assert facts["nat"] == f"destination rule web: {t.A_HOST} 40000 -> {SERVICE} 8080 becomes {t.A_HOST} 40000 -> {RED1} 80", facts
    with traffic.stream(sites.vm["red1"], sites.a_host, t.A_HOST) as stream:
        traffic.carried(stream, 50)
        _, facts = traced(sites, "--live", "--from", "vpc:red", "--proto", "udp", "--dport", "7000")
        assert facts["connection"].startswith(f"existing, opening, forth: {RED1} "), facts
        assert facts["acl-from"] == "vpc:red, list red, rule 2 stream: allow, stateful, as the first packet of the connection", facts
        assert facts["nat"].startswith("its connection: "), facts
    page = sites.simplon.cli("trace", *out, "--dport", "7100").stdout
    assert "rule 1 out: allow, stateful" in page and all(len(line) <= 100 for line in page.splitlines()), page


def test_killing_simplond_keeps_connections(sites):
    red1 = sites.vm["red1"]
    former = {one["source_port"] for one in streams(sites)}
    with traffic.stream(red1, sites.a_host, t.A_HOST) as stream:
        traffic.carried(stream, 200)
        before = port_of_the_stream(sites, former)
        sites.simplon.kill_daemon()
        traffic.carried(stream, 300)
        sites.simplon.start_daemon()
        expect(sites.simplon.current, 30, "simplond programmed everything again")
        traffic.carried(stream, 300)
        assert port_of_the_stream(sites, former) == before, "the stream got another port"
    assert stream.result.lost == 0, stream.result


def streams(sites):
    return [one for one in sites.simplon.show("connection", "show")["connections"]
            if one["protocol"] == "udp" and one["destination_port"] == 7000]


def port_of_the_stream(sites, former):
    """`former`: source ports of streams that ended and are not forgotten yet."""
    found = [one for one in streams(sites) if one["source_port"] not in former]
    assert len(found) == 1, found
    return found[0]["translated_source_port"]


def test_a_site_with_the_same_addresses(sites):
    """a-host has 10.20.0.77 as well, out of the VPC's own prefix: it is 10.77.0.77 for the VPC, which is 100.70.0/24 for it."""
    nat = [{"name": "ours", "type": "netmap", "attachment": "site-a", "inside": "10.20.0.0/24", "outside": "100.70.0.0/24"},
           {"name": "theirs", "type": "netmap-remote", "attachment": "site-a", "inside": "10.77.0.0/24",
            "outside": "10.20.0.0/24"}]
    document = with_policy(sites, nat)
    document["domains"][0]["static-routes"] = [{"prefix": "10.77.0.0/24", "via": "site-a"}]
    document["domains"][0]["bgp"]["neighbors"][0]["export"] = ["100.70.0.0/24"]
    sites.simplon.apply(document)
    expect(lambda: sites.a_bird.learned() == ["100.70.0.0/24"], 30, "site-a learned the mapped prefix only")
    sites.a_host.ip("addr add 10.20.0.77/32 dev eth0")
    sites.a_rtr.ip("route add 10.20.0.77/32 via 10.1.0.10")
    assert traffic.ping(sites.vm["red1"], "10.77.0.77").lost == 0
    assert traffic.ping(sites.a_host, "100.70.0.11").lost == 0


def test_without_policy_everything_is_as_before(sites):
    sites.simplon.apply(sites.gateway_document(site_b=False))
    expect(lambda: sites.a_bird.learned() == ["10.20.0.0/24"], 30, "site-a learned the prefix of VPC red")
    assert traffic.ping(sites.a_host, RED1).lost == 0
