#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""P7: one TCP stream through a tunnel, host to VM: two Simplon gateways beside stock charon with kernel-libipsec.

    sudo SIMPLON_BUILD=build/release tests/bench/tcp_stream.py [--pairs N] [--json FILE]

Each pair is a lab of its own (tests/lab/lib/two_sites.py): first stock boxes, then Simplon, on the same veths, hosts and offloads; the
cipher is AES-256-GCM with ESP in tunnel mode both times. iperf3's received rate, four seconds a stream. Rates on a shared machine are
somebody else's numbers: what counts is the ratio within a pair.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))

from lib import stock_gateway, topo, traffic  # noqa: E402
from lib import two_sites as t  # noqa: E402

TARGET = 5


def rate(sites):
    return traffic.tcp_rate(sites.b_host, sites.vm["blue1"], t.VM["blue1"])


def simplon_rate(sites):
    sites.start_router_a()
    gateway, other = sites.gateway().start(), sites.gateway_b().start()
    other.apply(sites.gateway_b_document())
    gateway.apply(sites.gateway_document())
    gateway.wait_tunnel("site-b")
    other.wait_tunnel("gw")
    gateway.wait_bgp("site-b")
    gateway.wait_route("blue", "10.2.0.0/24")
    other.wait_route("site", "10.20.0.0/24")
    traffic.reachable(sites.b_host, t.VM["blue1"])
    return rate(sites)


def pair():
    lab = topo.Lab("tcp", keep=False)
    try:
        sites = t.TwoSites(lab)
        stock = stock_gateway.StockPair(sites).start()
        traffic.reachable(sites.b_host, t.VM["blue1"])
        theirs = rate(sites)
        stock.stop()
        return simplon_rate(sites), theirs
    finally:
        lab.close()


def version(package):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    chosen = parser.parse_args()
    pairs = []
    for number in range(chosen.pairs):
        ours, theirs = pair()
        pairs.append((ours, theirs))
        print(f"  pair {number + 1}: Simplon {ours:.0f} Mbit/s, stock {theirs:.0f} Mbit/s, {ours / theirs:.1f} x", flush=True)
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    middle = statistics.median(ratios)
    ours, theirs = (round(statistics.median(column)) for column in zip(*pairs))
    row = {"id": "P7", "case": f"one TCP stream through a tunnel: {ours} against {theirs} Mbit/s", "ours_ns": None,
           "rival": f"strongSwan {version('libstrongswan')}, charon with kernel-libipsec", "rival_ns": None, "ratio": round(middle, 2),
           "target": f">= {TARGET} x the rival's rate", "met": middle >= TARGET, "ours": ours, "theirs": theirs, "unit": "Mbit/s",
           "ratios": [round(value, 2) for value in ratios], "repetitions": len(pairs)}
    if chosen.json:
        pathlib.Path(chosen.json).write_text(json.dumps([row], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
