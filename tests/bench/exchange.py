#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""R3: how long packets wait while a forwarder is exchanged for another, by what its tables hold.

    sudo SIMPLON_BUILD=build/bench tests/bench/exchange.py [--objects N ...] [--rounds N] [--json FILE]

One forwarder between two VMs in VPCs on a veth, with N further endpoints and N further routes; XDP forwarding is switched off, so that every
packet passes the worker. 1,000 packets a second flow while it is exchanged side by side (`systemctl reload`, a package upgrade) and one after the
other (`systemctl restart`), in turn. Prints for each the milliseconds that packets waited, and what was lost. 2,048 packets find room in the ring of
the one queue: what comes after two seconds is lost.
"""
import argparse
import ipaddress
import json
import pathlib
import re
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))

from lib import topo, traffic  # noqa: E402
from lib.expect import expect  # noqa: E402
from lib.gateway import Gateway, program  # noqa: E402
from lib.vxlan_host import ComputeHost, gateway_mac, mac  # noqa: E402

TARGET = 50
RATE = 1000
VTEP, HOST = "10.255.0.1", "10.255.0.11"
VMS = {100: "10.20.0.11", 300: "10.21.0.11"}
WAYS = {"side by side": Gateway.succeed_forwarder, "one after the other": Gateway.restart_forwarder}


def objects(count):
    """The tables of a gateway as bench-programmer reads them."""
    lines = ["domain 1 red", "domain 2 blue", "uplink fab0"]
    for vni, vm in VMS.items():
        prefix = ipaddress.ip_network(f"{vm}/24", strict=False)
        lines += [f"vpc {vni} v{vni} 1 {VTEP} 4789 {gateway_mac(vni)} 1450 {prefix} {HOST}",
                  f"endpoint {vni} {vm} {mac(vni, vm)} {HOST}", f"route 1 {prefix} vpc {vni}"]
    lines.append(f"vpc 500 many 2 {VTEP} 4789 {gateway_mac(500)} 1450 10.32.0.0/11 {HOST}")
    for number in range(count):
        lines.append(f"endpoint 500 {ipaddress.ip_address('10.32.0.0') + number} 02:00:00:00:00:01 {HOST}")
        lines.append(f"route 2 {ipaddress.ip_address('64.0.0.0') + number * 256}/24 vpc 500")
    return "\n".join(lines) + "\n"


class Site:
    def __init__(self, lab):
        gateway, fabric = lab.namespace("gw"), lab.namespace("c1")
        lab.veth(gateway, "fab0", fabric, "eth0")
        gateway.ip(f"addr add {VTEP}/24 dev fab0")
        fabric.ip(f"addr add {HOST}/24 dev eth0")
        host = ComputeHost(fabric, HOST)
        self.vms = {}
        for vni, address in VMS.items():
            router = address.rpartition(".")[0] + ".1"
            host.vpc(vni, router, VTEP)
            self.vms[vni] = host.vm(f"vm{vni}", vni, f"{address}/24", router)
        self.box = Gateway(gateway)
        self.box.forwarder_options = ["--xdp-forwarding", "off"]
        self.box.manage_forwarder()
        self.box.start_forwarder()

    def fill(self, count):
        subprocess.run([program("tests/bench/veth/bench-programmer"), "program", self.box.run_dir], input=objects(count), text=True, check=True)

    def exchange(self, way):
        """Milliseconds that packets waited, and packets lost."""
        with traffic.stream(self.vms[100], self.vms[300], VMS[300], rate=RATE) as stream:
            traffic.carried(stream, RATE // 2)
            WAYS[way](self.box)
            expect(lambda: self.box.forwarder.alive() and "forwards again" in self.box.forwarder.text(), 60, "the successor forwards")
            traffic.carried(stream, RATE // 2, within=60)
        waited = re.findall(r"forwards again, (\d+) ms after", self.box.forwarder.text())
        return int(waited[-1]), stream.result.lost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="+", default=[0, 50_000, 500_000, 1_000_000], help="endpoints, and routes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    chosen = parser.parse_args()
    rows = []
    lab = topo.Lab("exchange", keep=False, echo=lambda where, argv: None)
    try:
        site = Site(lab)
        print("R3: the forwarder is exchanged; milliseconds that packets wait, median (all); packets lost", flush=True)
        for count in chosen.objects:
            site.fill(count)
            results = {way: [] for way in WAYS}
            for _ in range(chosen.rounds):
                for way, measured in results.items():
                    measured.append(site.exchange(way))
            for way, measured in results.items():
                waited, lost = [one[0] for one in measured], sum(one[1] for one in measured)
                median = statistics.median(waited)
                print(f"  {count:>7} endpoints and routes, {way:<20} {median:6.0f} ({', '.join(map(str, waited))}); {lost} lost", flush=True)
                rows.append({"id": "R3", "case": f"{count} endpoints and routes, {way}", "ours_ns": None, "rival": None, "rival_ns": None, "ratio": None,
                             "target": f"<= {TARGET} ms", "met": median <= TARGET, "ours": median, "unit": "ms", "lost": lost, "repetitions": chosen.rounds})
        if chosen.json:
            pathlib.Path(chosen.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
