#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of nanoseconds per packet and stage, from the JSON of the in-memory benchmarks.

    stage_table.py RESULT.json...

A benchmark that counts items (packets, look-ups) is shown per item, another one per iteration. Clocks are those of the
time stamp counter. Rivals that run in the same program have rows of their own.
"""
import json
import re
import statistics
import sys

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def per_item_ns(entry):
    rate = entry.get("items_per_second")
    return 1e9 / rate if rate else entry["cpu_time"] * NANOSECONDS[entry["time_unit"]]


def natural(name):
    """Sorts 64 before 512."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def load(paths):
    """({benchmark: [ns per item]}, what failed, the context of the first file)"""
    samples, failed, contexts = {}, [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        contexts.append(result["context"])
        for entry in result["benchmarks"]:
            if entry.get("error_occurred"):
                failed.append(f"{entry['name']}: {entry.get('error_message', 'failed')}")
            elif entry.get("run_type") == "iteration":
                name = re.sub(r"/(iterations:\d+|process_time|real_time|manual_time)", "", entry.get("run_name", entry["name"]))
                samples.setdefault(name, []).append(per_item_ns(entry))
    if not samples:
        failed.append("no benchmark ran")
    return samples, failed, contexts[0]


def main(paths):
    samples, failed, context = load(paths)
    clocks_per_ns = context["mhz_per_cpu"] / 1000
    repetitions = max((len(values) for values in samples.values()), default=0)
    print(f"Stages in memory, CPU time per packet, {repetitions} interleaved repetitions")
    print(f"  machine   {context['num_cpus']} CPUs, TSC {context['mhz_per_cpu']} MHz, load "
          + " ".join(f"{value:.1f}" for value in context.get("load_avg", [])))
    print("  lowest    neighbors on the machine only ever add: compare this one; median and highest show how quiet it was\n")
    width = max((len(name) for name in samples), default=0)
    print(f"  {''.ljust(width)}  {'ns: lowest':>10}  {'median':>8}  {'highest':>8}  {'lowest, clk':>11}")
    family = None
    for name, values in sorted(samples.items(), key=lambda sample: natural(sample[0])):
        if family is not None and name.split("/")[0] != family:
            print()
        family = name.split("/")[0]
        lowest, middle, highest = (f"{value:.1f}" for value in (min(values), statistics.median(values), max(values)))
        print(f"  {name.ljust(width)}  {lowest:>10}  {middle:>8}  {highest:>8}  {min(values) * clocks_per_ns:11.0f}")
    print()
    for line in failed:
        print(f"  FAILED    {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
