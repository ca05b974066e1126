#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo: the topology of lib/two_sites.py, shown step by step, with measured values in a table at the end.
Started by ./demo, which installs and builds first."""
import argparse
import contextlib
import pathlib
import shutil
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib import capture, stock_gateway, topo, traffic  # noqa: E402
from lib import two_sites as t  # noqa: E402
from lib.expect import expect  # noqa: E402

DRAWING = """
  site-a host -- site-a router ======== IKEv2, ESP-in-UDP, BGP inside ====+
  10.1.0.10      stock charon + kernel-libipsec, BIRD                     |
                 198.51.100.2                                             |
                                                               wan ==== Simplon ==== fabric --+-- compute1   kernel VXLAN
  site-b host -- site-b router ======== IKEv2, raw ESP, BGP inside ====+ 203.0.113.1          |     VM red   10.20.0.11
  10.2.0.10      a second Simplon gateway                                 VTEP 10.255.0.1     |     VM blue  10.20.0.11
                 192.0.2.1                                                                    +-- compute2   kernel VXLAN
                                                                                                    VM red   10.20.0.12
  VPC red  (VNI 100) belongs to the domain of site-a,                                               VM blue  10.20.0.12
  VPC blue (VNI 200) to the domain of site-b; both are 10.20.0.0/24.
"""


class Show:
    """Prints; collects the rows of the final table."""

    def __init__(self):
        self.rows = []
        self.began = time.monotonic()

    def chapter(self, text):
        print(f"\n== {text}", flush=True)

    def say(self, text):
        print(f"   {text}", flush=True)

    def echo(self, where, argv):
        """One command, as it is run; long paths are cut."""
        words = [str(word) for word in argv]
        words[0] = pathlib.Path(words[0]).name
        print(f"   [{where:>8}] {' '.join(words)}", flush=True)

    def row(self, what, value, good=True):
        self.rows.append((what, value, good))
        print(f"   -> {what}: {value}{'' if good else '   FAILED'}", flush=True)

    def block(self, text):
        for line in text.rstrip().splitlines():
            print(f"   | {line}")

    @contextlib.contextmanager
    def progress(self, text):
        """Anything that may take more than a second says so, and says that it is alive."""
        began, done = time.monotonic(), threading.Event()
        live = sys.stdout.isatty()

        def tell():
            while not done.wait(1 if live else 5):
                line = f"   ... {text}: {time.monotonic() - began:.0f} s"
                print(f"\r{line}" if live else line, end="" if live else "\n", flush=True)

        if not live:
            print(f"   ... {text}", flush=True)
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            done.set()
            teller.join()
            if live:
                print("\r\033[K", end="")

    def table(self):
        width = max(len(what) for what, _, _ in self.rows)
        print("\n" + "=" * 100)
        for what, value, good in self.rows:
            print(f"  {'ok  ' if good else 'FAIL'}  {what:<{width}}  {value}")
        print("=" * 100)
        bad = sum(not good for _, _, good in self.rows)
        print(f"  {len(self.rows)} rows, {bad} failed, {time.monotonic() - self.began:.0f} s after the build")
        return bad == 0


def ping_row(show, what, source, address, count=10, size=56):
    result = traffic.ping(source, address, count=count, size=size, interval=0.05)
    show.row(what, f"{result.received} of {result.sent} answered, {result.lost} lost", result.lost == 0)


def isolation_row(show, what, source, address):
    result = traffic.ping(source, address, count=3, wait=1)
    show.row(what, "no answer" if not result.received else f"{result.received} answers", result.received == 0)


def stock_rate(show, sites):
    """The yardstick: the gateways' places taken by stock charon with kernel-libipsec and the kernel's VXLAN."""
    show.chapter("For comparison: both gateways as stock Linux (charon + kernel-libipsec, kernel VXLAN) on the same veths")
    pair = stock_gateway.StockPair(sites).start()
    traffic.reachable(sites.b_host, t.VM["blue1"])
    with show.progress("one TCP stream for 4 s, site-b host to VM blue"):
        rate = traffic.tcp_rate(sites.b_host, sites.vm["blue1"], t.VM["blue1"])
    show.say(f"{rate:.0f} Mbit/s")
    pair.stop()
    return rate


def start_gateways(show, sites):
    show.chapter("Site-a's router: stock charon on kernel-libipsec, and BIRD; it waits to be called")
    sites.start_router_a()
    show.chapter("Two Simplon gateways: forwarder, charon with our plugin, simplond")
    gateway, other = sites.gateway().start(), sites.gateway_b().start()
    show.chapter("One document holds all that a gateway should do")
    path = gateway.write(sites.gateway_document())
    show.block(path.read_text())
    show.chapter("`simplon apply` checks it whole, then does it")
    show.block(other.apply(sites.gateway_b_document()).stdout)
    began = time.monotonic()
    show.block(gateway.apply(sites.gateway_document()).stdout)
    return began


def wait_sessions(show, sites, began):
    gateway, other = sites.simplon, sites.simplon_b
    show.chapter("Tunnels, then BGP inside them")
    with show.progress("IKE and CHILD SAs"):
        for name in ("site-a", "site-b"):
            took = gateway.wait_tunnel(name)
            child = gateway.tunnel(name)["observed"]["children"][0]
            show.row(f"tunnel {name} up", f"negotiated in {took} ms "
                     f"({'ESP-in-UDP' if child['encap'] else 'raw ESP'}, {child['suite']})")
        other.wait_tunnel("gw")
    with show.progress("BGP sessions"):
        for name in ("site-a", "site-b"):
            gateway.wait_bgp(name)
        gateway.wait_route("red", "10.1.0.0/24")
        gateway.wait_route("blue", "10.2.0.0/24")
        expect(lambda: sites.a_bird.learned() == ["10.20.0.0/24"], 30, "site-a learned the VPC's prefix")
        other.wait_route("site", "10.20.0.0/24")
        expect(lambda: all(domain["synchronized"] for domain in gateway.show("route", "show")["domains"]), 10,
               "the first dump of routes ended")
    for name in ("site-a", "site-b"):
        seen = gateway.neighbor(name)["observed"]
        show.row(f"BGP with {name}", f"{seen['state']}, prefixes: {seen['prefixes_accepted']} learned, "
                 f"{seen['prefixes_sent']} announced",
                 seen["state"] == "Established" and seen["prefixes_accepted"] == 1 and seen["prefixes_sent"] == 1)
    show.say(f"all of it {time.monotonic() - began:.1f} s after `simplon apply`")
    for words in (["tunnel", "show"], ["route", "show"], ["bgp", "show"]):
        show.block(gateway.cli(*words).stdout)


def reach(show, lab, sites):
    show.chapter("Who reaches whom")
    ping_row(show, "ping site-a host -> VM red (compute1)", sites.a_host, t.VM["red1"])
    ping_row(show, "ping VM red (compute2) -> site-a host", sites.vm["red2"], t.A_HOST)
    ping_row(show, "ping site-b host -> VM blue (compute1)", sites.b_host, t.VM["blue1"])
    ping_row(show, "ping VM blue (compute2) -> site-b host", sites.vm["blue2"], t.B_HOST)
    hops = traffic.traceroute(sites.a_host, t.VM["red1"])
    show.row("traceroute site-a host -> VM red", " > ".join(map(str, hops)),
             hops == ["10.1.0.1", t.GW_INSIDE_A, t.VM["red1"]])
    hops = traffic.traceroute(sites.vm["blue1"], t.B_HOST)
    show.row("traceroute VM blue -> site-b host", " > ".join(map(str, hops)),
             hops == ["10.20.0.1", t.B_INSIDE, t.B_HOST])

    show.chapter("And who does not")
    # Same address in both VPCs: what site-a sends to 10.20.0.11 must never be seen by blue's VM of that address.
    seen = capture.Capture(lab.namespaces["blue1"], "eth0", filter="icmp")
    traffic.ping(sites.a_host, t.VM["red1"], count=3)
    count = seen.stop().count()
    show.row("site-a's packets to 10.20.0.11 seen by blue's VM", count, count == 0)
    isolation_row(show, "site-a host -> site-b host", sites.a_host, t.B_HOST)
    isolation_row(show, "VM red -> site-b host", sites.vm["red1"], t.B_HOST)
    isolation_row(show, "VM blue -> site-a host", sites.vm["blue1"], t.A_HOST)

    show.chapter("Packets of any size")
    for size in (1400, 1500, 9000):
        ping_row(show, f"{size}-byte packets, site-a host -> VM red", sites.a_host, t.VM["red1"], 5, size - 28)
        ping_row(show, f"{size}-byte packets, site-b host -> VM blue", sites.b_host, t.VM["blue1"], 5, size - 28)


def stream_rows(show, what, running):
    for one in running:
        flow = one.result
        show.row(f"{what}: {one.source.short} -> {one.destination.short}, 1000 packets/s",
                 f"{flow.sent} sent, {flow.lost} lost, longest silence {flow.report['longest_silence_ms']} ms",
                 flow.lost == 0)


def spis(gateway, name):
    return {sa["spi"] for sa in gateway.tunnel(name)["programmed"]["sas"]}


def disturb(show, sites):
    gateway = sites.simplon
    show.chapter("Three CHILD rekeys of each tunnel, under 1000 packets/s in every direction")
    with show.progress("traffic and rekeys"), sites.numbered_traffic(before=500, after=500) as running:
        for _ in range(3):
            before = {name: spis(gateway, name) for name in ("site-a", "site-b")}
            sites.a_charon.rekey_child()
            gateway.cli("tunnel", "rekey", "site-b")
            for name, old in before.items():
                expect(lambda: spis(gateway, name) - old, 10, f"{name} has new SAs")
            traffic.carried(running[0], 300)
    stream_rows(show, "3 rekeys", running)

    show.chapter("kill -9 of simplond, twice, under the same traffic")
    before = {name: spis(gateway, name) for name in ("site-a", "site-b")}
    with show.progress("traffic and kills"), sites.numbered_traffic(before=500, after=500) as running:
        for _ in range(2):
            gateway.kill_daemon()
            traffic.carried(running[0], 500)
            gateway.start_daemon()
            expect(gateway.current, 20, "the tables are synchronized again")
            gateway.wait_tunnel("site-a")
            gateway.wait_tunnel("site-b")
    stream_rows(show, "kill -9 of simplond", running)
    kept = all(before[name] & spis(gateway, name) for name in before)
    show.row("SAs after the kills", "the same, not negotiated again" if kept else "were re-created", kept)


def wires(show, wan, fabric):
    show.chapter("What the wires carried meanwhile (tshark)")
    with show.progress("reading the captures"):
        wan.stop()
        fabric.stop()
        proof(show, "WAN", lambda: f"only IKE and ESP ({capture.assert_wan_is_sealed(wan)} ESP packets)")
        proof(show, "underlay", lambda: "only VXLAN: site-a in VNI {} only, site-b in VNI {} only".format(
            *capture.assert_each_site_in_its_vpc(fabric, {t.RED: t.A_HOST, t.BLUE: t.B_HOST})))
        proof(show, "ESP sequence numbers", lambda: f"{capture.assert_never_repeated(wan)} packets, none repeated under "
              "its SPI")


def proof(show, what, prove):
    """A row whose words are what `prove` returns, or the assertion that it broke."""
    try:
        show.row(what, prove())
    except AssertionError as error:
        show.row(what, str(error)[:90], False)


def speed(show, sites, stock):
    show.chapter("TCP")
    for source, target, address, words in (
            (sites.a_host, sites.vm["red1"], t.VM["red1"], "site-a host -> VM red"),
            (sites.vm["red1"], sites.a_host, t.A_HOST, "VM red -> site-a host"),
            (sites.b_host, sites.vm["blue1"], t.VM["blue1"], "site-b host -> VM blue"),
            (sites.vm["blue1"], sites.b_host, t.B_HOST, "VM blue -> site-b host")):
        with show.progress(f"20 MB over TCP, {words}"):
            rate = traffic.tcp_transfer(source, target, address)
        show.row(f"20 MB over TCP, {words}", f"SHA-256 equal, {rate:.0f} Mbit/s")
    with show.progress("one TCP stream for 4 s, site-b host to VM blue"):
        ours = traffic.tcp_rate(sites.b_host, sites.vm["blue1"], t.VM["blue1"])
    show.row("TCP rate Simplon <-> Simplon, same veths", f"{ours:.0f} Mbit/s, {ours / stock:.1f} times stock")
    show.row("TCP rate kernel-libipsec <-> kernel-libipsec", f"{stock:.0f} Mbit/s")


def account(show, sites):
    gateway = sites.simplon
    show.chapter("Every packet is accounted for")
    show.block(gateway.cli("drop", "show").stdout)
    def sum_up():
        count = gateway.assert_accounted()
        return (f"{count['received']} + {count['originated']} = "
                f"{count['sent']} + {count['punted']} + {count['dropped']}")

    proof(show, "received + originated = sent + punted + dropped", sum_up)


def look_around(lab, sites):
    commands = shutil.get_terminal_size().columns * "-"
    print(f"""
{commands}
The demo is still running. Look around (as root):

  alias simplon='{sites.simplon.cli_environment()}'
  simplon status
  simplon tunnel show site-a
  simplon route show
  simplon bgp show
  simplon drop show
  simplon config show

  ip netns exec {lab.id}-a-host ping {t.VM['red1']}            # site-a to VM red
  ip netns exec {lab.id}-b-host traceroute -n {t.VM['blue2']}  # site-b to VM blue on compute2
  ip netns exec {lab.id}-wan tcpdump -ni to-gw             # what the WAN sees

Logs and captures: {lab.logs}
End it with: sudo ./demo --clean""")


def demo(keep):
    show = Show()
    print(DRAWING)
    lab = topo.Lab("demo", keep=keep, echo=show.echo)
    good = False
    try:
        show.chapter("The underlay: namespaces and veth pairs; compute hosts with the kernel's own VXLAN")
        sites = t.TwoSites(lab)
        stock = stock_rate(show, sites)
        wan = capture.Capture(sites.wan, "to-gw", snap=128)
        fabric = capture.Capture(sites.fabric, "to-gw", snap=128)
        began = start_gateways(show, sites)
        wait_sessions(show, sites, began)
        reach(show, lab, sites)
        disturb(show, sites)
        wires(show, wan, fabric)
        speed(show, sites, stock)
        account(show, sites)
        good = show.table()
        if keep:
            look_around(lab, sites)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            print(f"\nThe demo failed: {error}\nEverything that explains it: {lab.collect()}", file=sys.stderr)
        lab.keep = False
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None
    finally:
        if not lab.keep:
            print("\ncleaning up", flush=True)
        lab.close()
    if not good:
        print(f"logs and captures: {lab.logs}")
    elif not keep:
        lab.forget_logs()
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    if options.clean:
        for lab_id, state in topo.labs():
            if state["name"] == "demo" and (state["kept"] or not topo.proc.same(state["owner"], state["owner_start"])):
                print(f"removing {lab_id}")
                topo.clean(lab_id)
        return 0
    return demo(options.keep)


if __name__ == "__main__":
    sys.exit(main())
