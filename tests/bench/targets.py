#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ours beside the rival and the target, one row per case, from the JSON of the benchmarks.

    targets.py [--json FILE] [--memory MEMORY.json] [--veth VETH.json] [--rows ROWS.json]... [ID...]

Rows: id, case, ours_ns, rival, rival_ns, ratio, target, met; amounts of memory and rates of TCP have no ours_ns but ours and unit. In memory `ours_ns` and `rival_ns` are the lowest of the interleaved
repetitions, since neighbors on the machine only ever add; clocks are those of the time stamp counter. Over veth they are medians
of the rounds, and `ratio` the median of the rounds' own. No rival: nothing else was measured in this run.
"""
import argparse
import json
import statistics
import sys

import stage_table

OURS, BARE = "simplon VXLAN -> VXLAN, worker", "bare AF_XDP l2fwd"
ESP_CLOCKS = {64: 160, 512: 240, 1420: 370}
SEALING = {"VxlanToEsp": "Seal", "EspToVxlan": "Open"}
TRAFFIC = {"": "", "/one-flow": ", one flow", "/zipf": ", Zipf(1.0)"}  # random flows are the headline, and have the targets
TITLES = {"VxlanToVxlan": "VXLAN -> VXLAN", "VxlanToEsp": "VXLAN -> ESP AES-256-GCM", "EspToVxlan": "ESP AES-256-GCM -> VXLAN"}


def in_memory_cases(openssl):
    """(id, what, benchmark, rival's title, rival's benchmark, most clocks or None, most nanoseconds or None)"""
    for tenants, clocks in ((1, 90), (10000, 120)):
        for traffic, words in TRAFFIC.items():
            for state in ("warm", "cold"):
                yield ("P1", f"VXLAN -> VXLAN 64 B, {tenants} tenants{words}, {state}",
                       f"Path/VxlanToVxlan/64/tenants:{tenants}{traffic}/{state}", None, None, None if traffic else clocks, None)
    for identity, sizes, loads in (("P2", ESP_CLOCKS, ((1, None),)), ("P3", (512,), ((1000, 300), (30000, 400)))):
        for kind, cipher in SEALING.items():
            for size in sizes:
                for tenants, clocks in loads:
                    for traffic, words in TRAFFIC.items():
                        for state in ("warm", "cold"):
                            yield (identity, f"{TITLES[kind]} {size} B, {tenants} tenants{words}, {state}",
                                   f"Path/{kind}/{size}/tenants:{tenants}{traffic}/{state}",
                                   f"ipsec-mb AES-256-GCM {cipher.lower()} alone", f"Cipher/ipsec-mb/{cipher}/{size}",
                                   None if traffic else clocks or ESP_CLOCKS[size], None)
    for cipher in SEALING.values():
        for size in ESP_CLOCKS:
            yield ("P2", f"AES-256-GCM {cipher.lower()} {size} B, ipsec-mb, 64 keys", f"Cipher/ipsec-mb/{cipher}/{size}",
                   f"OpenSSL {openssl} EVP, a context a key", f"Cipher/OpenSSL/{cipher}/{size}", None, None)
    yield ("P4", "LPM, 1,000,000 IPv4 routes", "Fib/Lookup4/1000000", "DPDK rte_fib DIR-24-8", "Fib/rte_fib/Lookup4/1000000", None, 13)
    for routes in (50, 100):
        yield ("P4", f"LPM, one of 10,000 tables of {routes} IPv4 routes", f"Fib/Lookup4/10000x{routes}", None, None, None, 10)
    yield ("P4", "LPM, 100,000 IPv6 routes", "Fib/Lookup6/100000", None, None, None, 30)
    yield ("P8", "an endpoint added to the tables", "Endpoint/Update/1024", None, None, None, 1000)
    yield ("P8", "an endpoint of 1,500,000 in 2 s, from nothing", "Endpoint/Load/1500000", None, None, None, 1333)


# What the tables take: (id, what, benchmark, counter, unit, most)
AMOUNTS = (
    ("P4", "1,000,000 IPv4 routes", "Fib/Lookup4/1000000", "bytes_per_route", "B a route", 18),
    ("P4", "tables of 50 IPv4 routes", "Fib/Lookup4/10000x50", "bytes_per_route", "B a route", 8),
    ("P4", "tables of 100 IPv4 routes", "Fib/Lookup4/10000x100", "bytes_per_route", "B a route", 8),
    ("P9", "10,000 VPCs x 100 routes, 1,000,000 routes, 1,000,000 endpoints",
     "Memory/10000x100_routes_1000000_routes_1000000_endpoints", "resident_mib", "MiB resident", 512),
)


def amounts(path):
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)["benchmarks"]
    for identity, what, benchmark, counter, unit, most in AMOUNTS:
        found = [entry[counter] for entry in entries
                 if entry["run_type"] == "iteration" and entry["name"].startswith(benchmark + "/") and counter in entry]
        if found:
            yield {"id": identity, "case": f"{what}: {max(found):.1f} {unit}", "ours_ns": None, "rival": None, "rival_ns": None,
                   "ratio": None, "target": f"<= {most} {unit}", "met": max(found) <= most, "ours": round(max(found), 2),
                   "unit": unit, "repetitions": len(found)}


def in_memory(path):
    samples, _, context = stage_table.load([path])
    clocks_per_ns = context["mhz_per_cpu"] / 1000
    for identity, case, benchmark, rival, rivals_benchmark, clocks, nanoseconds in in_memory_cases(context.get("openssl", "")):
        if benchmark not in samples:
            continue
        ours = min(samples[benchmark])
        theirs = min(samples[rivals_benchmark]) if rivals_benchmark in samples else None
        yield {"id": identity, "case": case, "ours_ns": round(ours, 1),
               "rival": rival if theirs else None, "rival_ns": round(theirs, 1) if theirs else None,
               "ratio": round(ours / theirs, 2) if theirs else None,
               "target": f"<= {clocks} clk" if clocks else f"<= {nanoseconds} ns" if nanoseconds else None,
               "met": ours * clocks_per_ns <= clocks if clocks else ours <= nanoseconds if nanoseconds else None,
               "ours_clk": round(ours * clocks_per_ns), "ours_median_ns": round(statistics.median(samples[benchmark]), 1),
               "repetitions": len(samples[benchmark])}


def live(path):
    """P8: packets while endpoints are changed. `rival`: the same without changes, in turn in the same repetition."""
    with open(path, encoding="utf-8") as file:
        entries = [entry for entry in json.load(file)["benchmarks"]
                   if entry["run_type"] == "iteration" and entry["name"].startswith("Live/Endpoints/") and "alone_ns" in entry]
    if not entries:
        return
    ratio = statistics.median(entry["meanwhile_ns"] / entry["alone_ns"] for entry in entries)
    rate = statistics.median(entry["updates_per_second"] for entry in entries)
    yield {"id": "P8", "case": f"VXLAN -> VXLAN 64 B, 1000 tenants, {rate / 1e6:.1f} M endpoint updates/s meanwhile, none lost",
           "ours_ns": round(statistics.median(entry["meanwhile_ns"] for entry in entries), 1), "rival": "ours, tables at rest",
           "rival_ns": round(statistics.median(entry["alone_ns"] for entry in entries), 1), "ratio": round(ratio, 2),
           "target": "<= 1.05 x at 1 M updates/s", "met": ratio <= 1.05 and rate >= 1e6, "repetitions": len(entries)}


def over_veth(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    sizes = sorted({comparison["frame_bytes"] for comparison in result["comparisons"]})
    most_more = {sizes[0]: 60, sizes[-1]: 200}

    def median_ns(title, size):
        return statistics.median(sample["total_ns"] for sample in result["samples"]
                                 if sample["path"] == title and sample["frame_bytes"] == size)

    for comparison in result["comparisons"]:
        size = comparison["frame_bytes"]
        if comparison["target"] == "-":
            continue
        ours, theirs = median_ns(comparison["ours"], size), median_ns(comparison["rival"], size)
        middle = statistics.median(comparison["values"])
        if not comparison["wanted"]:
            target, met = None, None
        elif comparison["how"] == "ratio":
            target, met = ">= 4 x the rival's packets per CPU second", middle >= 4
        elif size in most_more:
            target, met = f"<= rival + {most_more[size]} ns", middle <= most_more[size]
        else:
            target, met = None, None
        yield {"id": comparison["target"], "case": f"{comparison['ours']}, frames of {size} B", "ours_ns": round(ours, 1),
               "rival": comparison["rival"], "rival_ns": round(theirs, 1), "ratio": round(ours / theirs, 2),
               "target": target, "met": met, "repetitions": len(comparison["values"])}


    yield from delays(result.get("delays", []))


def delays(samples):
    for size in sorted({sample["frame_bytes"] for sample in samples}):
        taken = {title: [sample["p99"] for sample in samples if sample["path"] == title and sample["frame_bytes"] == size]
                 for title in (OURS, BARE)}
        if not all(taken.values()):
            continue
        ratios = [ours / theirs for ours, theirs in zip(taken[OURS], taken[BARE])]
        yield {"id": "P10", "case": f"delay at 70 % load, 99 of 100 packets: {OURS}, frames of {size} B",
               "ours_ns": round(statistics.median(taken[OURS])), "rival": BARE, "rival_ns": round(statistics.median(taken[BARE])),
               "ratio": round(statistics.median(ratios), 2), "target": "<= 1.5 x the rival's", "met": statistics.median(ratios) <= 1.5,
               "repetitions": len(ratios)}


def show(rows):
    head = ("", "case", "ours ns", "rival", "rival ns", "ratio", "target", "met")
    keys = ("id", "case", "ours_ns", "rival", "rival_ns", "ratio", "target", "met")
    words = {None: "-", True: "yes", False: "no"}
    cells = [head, *(tuple(str(words.get(row[key], row[key])) if isinstance(row[key], (bool, type(None))) else str(row[key])
                           for key in keys) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    for line in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--memory", metavar="FILE")
    parser.add_argument("--veth", metavar="FILE")
    parser.add_argument("--rows", metavar="FILE", action="append", default=[], help="rows that are complete; more than once")
    parser.add_argument("ids", nargs="*")
    chosen = parser.parse_args()
    rows = [row for measured in (in_memory, amounts, live) if chosen.memory for row in measured(chosen.memory)]
    rows += over_veth(chosen.veth) if chosen.veth else ()
    for name in chosen.rows:
        with open(name, encoding="utf-8") as file:
            rows += json.load(file)
    rows.sort(key=lambda row: (row["id"][0] != "P", int(row["id"][1:])))
    rows = [row for row in rows if not chosen.ids or row["id"] in chosen.ids]
    print("Targets\n")
    show(rows)
    missing = sorted(set(chosen.ids) - {row["id"] for row in rows})
    if missing:
        print(f"\n  not measured here: {', '.join(missing)}")
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
