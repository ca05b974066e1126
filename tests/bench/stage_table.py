#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of nanoseconds per packet and stage, from the JSON of the in-memory benchmark.

    stage_table.py RESULT.json

A benchmark that counts items (packets, look-ups) is shown per item, another one per iteration. Clocks are those of the
time stamp counter. Where targets.md names a rival's figure for the same work, it stands beside ours: it was measured on
another day and machine, so only clocks are compared; rivals that run in the same program have rows of their own.
"""
import json
import statistics
import sys

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def per_item_ns(entry):
    rate = entry.get("items_per_second")
    return 1e9 / rate if rate else entry["cpu_time"] * NANOSECONDS[entry["time_unit"]]


def main(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    context = result["context"]
    clocks_per_ns = context["mhz_per_cpu"] / 1000
    samples, failed = {}, []
    for entry in result["benchmarks"]:
        if entry.get("error_occurred"):
            failed.append(f"{entry['name']}: {entry.get('error_message', 'failed')}")
        elif entry.get("run_type") == "iteration":
            name = entry.get("run_name", entry["name"]).removesuffix("/process_time").removesuffix("/real_time")
            samples.setdefault(name, []).append(per_item_ns(entry))
    if not samples:
        failed.append("no benchmark ran")

    repetitions = max((len(values) for values in samples.values()), default=0)
    print(f"Stages in memory, CPU time per packet: median (lowest-highest) of {repetitions} interleaved repetitions")
    print(f"  machine   {context['num_cpus']} CPUs, TSC {context['mhz_per_cpu']} MHz, load "
          + " ".join(f"{value:.1f}" for value in context.get("load_avg", [])) + f", {context['library_build_type']} build\n")
    width = max((len(name) for name in samples), default=0)
    print(f"  {'stage'.ljust(width)}  {'ns'.rjust(24)}  {'clk'.rjust(8)}")
    family = None
    for name, values in samples.items():
        if family is not None and name.split("/")[0] != family:
            print()
        family = name.split("/")[0]
        middle = statistics.median(values)
        digits = 1 if middle < 1000 else 0
        text = f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
        print(f"  {name.ljust(width)}  {text.rjust(24)}  {middle * clocks_per_ns:8.0f}")
    print()
    for line in failed:
        print(f"  FAILED    {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
