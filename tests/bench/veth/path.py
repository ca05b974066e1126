#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole path over veth: simplon-forwarder beside the bare AF_XDP l2fwd loop and the kernel's vxlan + route.

    sudo tests/bench/veth/path.py --build DIR [--pairs N | --quick | --full] [--json FILE] [--without-forwarder]

What is measured is CPU time per packet, because wall rates on a shared machine are somebody else's numbers:

    kernel  what the generator's core (CPU 0) works per frame, minus the least it works when the frame ends in XDP_DROP:
            reception of the frame at the device's end of the veth (for the kernel's path: all of its work)
    app     CPU time of all threads of the device's process (CPU 1), system calls, sending and the receiver's
            softirq (a tc program that counts, samples and drops) included
    total   the sum; packets per CPU second are its inverse

Every device has the same veths, generator, sink and frames. The generator keeps at most 1024 frames under way (see
generator.cpp), so the device sets the pace and nothing may be lost. Rounds are interleaved: each measures every device
at every size once, in alternating order; ratios and differences are taken inside a round, the tables have the median and
the range of the rounds.

Before and after a burst a probe counts independent additions per clock on the cores that work. When something outside
this machine uses the same physical core, it drops from about 3.5 to 2 and everything takes up to twice as long; such
bursts are repeated. How many there were, and how many samples had to be taken without a quiet one, is printed.
A sample of the frames that come out is decoded and compared byte for byte with what had to come out (frames.py).
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import devices
import frames
from topology import DEVICE_CPU, GENERATOR_CPU, Topology, Trouble, run

SIZES = (64, 512, 1420)    # inner IPv4 bytes; the frame that enters is 64 longer
WINDOW = 1024
WARM = 16384
BURST_SECONDS = 0.25       # real-time bursts stay far under a second
ATTEMPTS = 6               # bursts until one was quiet
PROBES = 12                # looks for a quiet moment before a burst
QUIET = 0.8                # of the best additions per clock seen
LEAST_FRAMES = 60_000
LOAD = 0.7                 # of the rate at which the device sets the pace, when delays are measured
DELAY_BATCH = 8            # frames that leave together then


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/bench", help="build folder with the programs")
    parser.add_argument("--pairs", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--full", action="store_true", help="15 rounds")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: does everything work?")
    parser.add_argument("--flows", type=int, default=256, help="flows, each with endpoints of its own (a power of two)")
    parser.add_argument("--json", metavar="FILE", help="also write all samples there")
    parser.add_argument("--without-forwarder", action="store_true", help="only the rivals")
    parser.add_argument("--forwarder-options", default="", metavar="OPTIONS", help="more options for simplon-forwarder")
    chosen = parser.parse_args()
    if chosen.full:
        chosen.pairs = 15
    if chosen.quick:
        chosen.pairs = 2
    if chosen.pairs < 1 or chosen.flows < 1 or chosen.flows > 1024 or chosen.flows & (chosen.flows - 1):
        parser.error("--pairs is at least 1, --flows a power of two up to 1024")
    return chosen


def find_programs(build, with_forwarder):
    places = {"bench-l2fwd": "tests/bench/veth", "bench-generator": "tests/bench/veth"}
    if with_forwarder:
        places |= {"bench-programmer": "tests/bench/veth", "simplon-forwarder": "gateway/forwarder"}
    found = {}
    for name, place in places.items():
        path = pathlib.Path(build).resolve() / place / name
        if not path.exists():
            raise Trouble(f"{path} does not exist: build it (tests/bench/run does), or give --build")
        found[name] = str(path)
    cipher = pathlib.Path(build).resolve() / "tests/bench/veth/bench-gcm"
    if cipher.exists():
        found["bench-gcm"] = str(cipher)
    return found


class CpuTimes:
    """Jiffies of all CPUs from /proc/stat: how quiet the machine was."""

    def __init__(self):
        line = pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        values = [int(value) for value in line.split()[1:9]]
        self.total, self.idle, self.steal = sum(values), values[3] + values[4], values[7]

    def since(self, before):
        total = max(1, self.total - before.total)
        return {"busy_percent": 100.0 * (1 - (self.idle - before.idle) / total),
                "steal_percent": 100.0 * (self.steal - before.steal) / total}


def machine():
    information = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":")[1].strip() for line in information.splitlines()
                  if line.startswith("model name")), "unknown")
    before = CpuTimes()
    time.sleep(2)
    quiet = CpuTimes().since(before)
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": os.uname().release,
            "vaes": " vaes " in information.replace("\n", " "), "load": os.getloadavg()[0],
            "others_busy_percent": quiet["busy_percent"], "iproute2": run("ip", "-V").strip(),
            "libxdp": package_version("libxdp1"), "libbpf": package_version("libbpf1")}


def package_version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return done.stdout or "unknown"


class Probe:
    """Whether the physical cores are ours alone at the moment."""

    def __init__(self, topology, program):
        self.topology, self.program = topology, program
        self.best, self.clocks = 0.0, []

    def additions_per_clock(self, cpu):
        command = self.topology.command(self.topology.generator, cpu, self.program, "clock")
        result = json.loads(run(*command))
        self.clocks.append(1 / result["ns_per_addition"])
        self.best = max(self.best, result["additions_per_clock"])
        return result["additions_per_clock"]

    def quiet(self, cpus):
        return min(self.additions_per_clock(cpu) for cpu in cpus) >= QUIET * self.best

    def wait(self, cpus):
        for _ in range(PROBES):
            if self.quiet(cpus):
                return
            time.sleep(0.03)


class Bench:
    def __init__(self, topology, programs, flow_count, forwarder_options):
        self.topology, self.programs = topology, programs
        self.baseline = devices.Discard(topology, programs)
        kernel = devices.Kernel(topology)
        self.paths = [devices.L2fwd(topology, programs), *kernel.paths()]
        self.testpmd, self.no_testpmd = None, "dpdk-testpmd is not installed (packaging/bootstrap bench)"
        if shutil.which(devices.Testpmd.PROGRAM):
            try:
                self.testpmd = devices.Testpmd(topology, package_version("dpdk-dev"))
                self.paths.append(self.testpmd)
            except Trouble as trouble:
                self.no_testpmd = str(trouble)
        self.forwarder = self.with_tier = None
        in_xdp = []
        if "simplon-forwarder" in programs:
            self.forwarder = devices.Forwarder(topology, programs, "simplon", [*forwarder_options, "--xdp-forwarding", "off"])
            self.with_tier = devices.Forwarder(topology, programs, "xdp", forwarder_options)
            in_xdp = self.with_tier.paths(in_xdp=True)
            self.paths += [*self.forwarder.paths(in_xdp=False), *in_xdp, devices.EspPath(self.forwarder)]
        self.flows, self.answers, self.templates, self.burst = {}, {}, {}, {}
        self.checked = self.bursts = self.disturbed = 0
        self.probe = Probe(topology, programs["bench-generator"])
        for network, entrance in {(path.network, path.entrance) for path in self.paths}:
            for size in SIZES:
                flows = frames.make_flows(network, flow_count, size, entrance)
                path = topology.path(f"{network.replace('/', '-')}-{entrance}-{size}.hex")
                frames.write_templates(path, flows)
                key = network, entrance, size
                self.flows[key], self.templates[key], self.answers[key] = flows, path, frames.Answers(flows)
        forwarders = [one for one in (self.forwarder, self.with_tier) if one is not None]
        for device in (kernel, *forwarders):
            device.configure(self.flows[frames.VPC_NET, "vxlan", SIZES[0]])
        for forwarder in forwarders:
            forwarder.wait_until_up()
        for path in in_xdp:
            self.with_tier.learn(path.title, lambda path=path: self.generate(path, SIZES[0], LEAST_FRAMES))

    def cipher_ns(self):
        """What encrypting the inner packet (with padding and ESP trailer) costs by itself: {inner bytes: ns}."""
        if "bench-gcm" not in self.programs:
            return {}
        lengths = {size: size + 2 + (-(size + 2)) % 4 for size in SIZES}
        self.probe.wait([DEVICE_CPU])
        command = self.topology.command(self.topology.generator, DEVICE_CPU, self.programs["bench-gcm"],
                                        *(str(length) for length in lengths.values()))
        measured = json.loads(run(*command))
        return {size: measured[str(length)] for size, length in lengths.items()}

    def generate(self, device, size, count, *more):
        command = [self.programs["bench-generator"], "run", "--out", f"{device.name}-in", "--templates",
                   self.templates[self.key(device, size)], "--count", str(count), "--warm", str(WARM), *more]
        if device.counted:
            # What works in the generator's own softirq leaves nothing to wait for.
            window = 0 if device.in_softirq else WINDOW
            command += ["--sink", f"{device.name}-out", "--window", str(window), "--destination", device.destination,
                        "--protocol", str(device.protocol)]
        command = self.topology.command(self.topology.generator, GENERATOR_CPU, *command)
        if device is self.testpmd:
            device.process.resume()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        finally:
            if device is self.testpmd:
                device.process.pause()
        if done.returncode != 0:
            raise Trouble(f"generator: {done.stderr.strip()}")
        return json.loads(done.stdout)

    @staticmethod
    def key(device, size):
        """Which frames it gets."""
        return device.network, device.entrance, size

    def delays(self, seconds):
        """P10: delays in nanoseconds through l2fwd and the worker, at 70 % of what the slower of them forwards: {(title, size): ...}."""
        found = {}
        pair = [path for path in self.paths if path.title in (L2FWD, VXLAN)]
        for size in SIZES:
            for device in pair:
                self.count_for(device, size, seconds)
            rate = LOAD * min(self.burst[device.title, size] for device in pair)
            for device in pair:
                self.probe.wait([GENERATOR_CPU, DEVICE_CPU])
                result = self.generate(device, size, int(max(LEAST_FRAMES, rate * seconds)),
                                       "--stamp", "1", "--batch", str(DELAY_BATCH), "--gap", str(int(DELAY_BATCH / rate * 1e9)))
                found[device.title, size] = result["delay_ns"] | {"lost": result["sent"] - result["received"], "rate": rate}
        return found

    def count_for(self, device, size, seconds):
        """Frames that take about so long; the calibration also warms everything up."""
        key = (device.title, size)
        if key not in self.burst:
            result = self.generate(device, size, LEAST_FRAMES)
            self.burst[key] = result["timed_frames"] / (result["wall_ns"] / 1e9)
        return int(min(1_000_000, max(LEAST_FRAMES, self.burst[key] * seconds)))

    def measure(self, device, size, seconds):
        count = self.count_for(device, size, seconds)
        start, app_before = time.monotonic_ns(), device.process.cpu_ns() if device.process else 0
        result = self.generate(device, size, count)
        app_after, end = device.process.cpu_ns() if device.process else 0, time.monotonic_ns()
        sample = {"core_ns": result["cpu_ns"] / result["timed_frames"], "app_ns": 0.0, "sent": result["sent"],
                  "mpps": result["timed_frames"] / result["wall_ns"] * 1e3, "lost": 0, "stalls": result["stalls"],
                  "checked": 0}
        if not device.counted:
            return sample
        sample["lost"] = result["sent"] - result["received"]
        if result["received"] == 0:
            raise Trouble(f"{device.title}: nothing came out of {result['sent']} frames{self.why_nothing(device)}")
        if device is self.testpmd:
            # Its share of the core is the same all the time, frames or not.
            sample["app_ns"] = (app_after - app_before) / (end - start) * result["wall_ns"] / result["timed_frames"]
        elif device.process is not None:
            sample["app_ns"] = (app_after - app_before) / result["received"]
        answers = self.answers[self.key(device, size)]
        answers.seen_sequences.clear()
        for frame in result["captures"]:
            device.check(answers, bytes.fromhex(frame))
            sample["checked"] += 1
        self.checked += sample["checked"]
        return sample

    def why_nothing(self, device):
        forwarder = getattr(device, "device", None)
        if not isinstance(forwarder, devices.Forwarder):
            return ""
        stats = forwarder.stats()
        drops = {drop["name"]: drop["packets"] for drop in stats["drops"] if drop["packets"]}
        return f"; the forwarder says {stats['accounting']}, drops {drops}"

    def round(self, number, seconds, progress):
        """One sample of everything: {(title, size): sample}."""
        samples = {}
        order = [self.baseline, *(self.paths if number % 2 == 0 else reversed(self.paths))]
        for size in SIZES:
            for device in order:
                progress(f"round {number + 1}: {size} B {device.title}")
                samples[device.title, size] = self.measure_quietly(device, size, seconds)
        return samples

    def measure_quietly(self, device, size, seconds):
        """The first burst that no neighbor disturbed; after some attempts the cheapest."""
        cores = [GENERATOR_CPU] if device.in_softirq or not device.counted else [GENERATOR_CPU, DEVICE_CPU]
        bursts = []
        while len(bursts) < ATTEMPTS:
            self.probe.wait(cores)
            burst = self.measure(device, size, seconds)
            burst["quiet"] = self.probe.quiet(cores)
            bursts.append(burst)
            if burst["quiet"]:
                break
        self.bursts += len(bursts)
        self.disturbed += sum(not burst["quiet"] for burst in bursts)
        chosen = bursts[-1] if bursts[-1]["quiet"] else min(bursts, key=lambda burst: burst["core_ns"] + burst["app_ns"])
        for key in ("sent", "lost", "stalls", "checked"):
            chosen[key] = sum(burst[key] for burst in bursts)
        return chosen


def subtract_baseline(rounds, baseline):
    """The generator's own cost is the same every time: its lowest of the run is taken from all."""
    for size in SIZES:
        own = min(taken[baseline, size]["core_ns"] for taken in rounds)
        for taken in rounds:
            for (_, its_size), sample in taken.items():
                if its_size == size:
                    sample["kernel_ns"] = sample["core_ns"] - own
                    sample["total_ns"] = sample["kernel_ns"] + sample["app_ns"]


def spread(values, digits=0):
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def print_table(head, rows, left=1):
    widths = [max(len(str(row[column])) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  " + "  ".join(str(cell).ljust(width) if column < left else str(cell).rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))).rstrip())
    print()


L2FWD, KERNEL, ESP = devices.L2fwd.title, "kernel vxlan + route", "simplon VXLAN -> ESP"
VXLAN = "simplon VXLAN -> VXLAN, worker"

# What targets.md asks for: ours, rival, how they are compared, the target at the smallest and at the largest size.
COMPARISONS = (
    ("P5", "simplon VXLAN -> VXLAN, XDP tier", KERNEL, "ratio", ">= 4 x", ">= 4 x"),
    ("P5", "simplon VXLAN -> VLAN, XDP tier", f"{KERNEL}, no tag", "ratio", ">= 4 x", ">= 4 x"),
    ("P5", "simplon VLAN -> VXLAN, XDP tier", "kernel route + vxlan, no tag", "ratio", ">= 4 x", ">= 4 x"),
    ("-", VXLAN, KERNEL, "ratio", "", ""),
    ("-", "simplon VXLAN -> VLAN, worker", f"{KERNEL}, no tag", "ratio", "", ""),
    ("-", "simplon VLAN -> VXLAN, worker", "kernel route + vxlan, no tag", "ratio", "", ""),
    ("-", VXLAN, L2FWD, "difference", "", ""),
    ("P6", ESP, L2FWD, "difference", "<= +60 ns", "<= +200 ns"),
)


def comparisons(titles):
    """Of those that were measured; beside DPDK without a target."""
    beside = [row for title in titles if title.startswith("DPDK")
              for row in (("P5", VXLAN, title, "ratio", "", ""), ("P6", ESP, title, "difference", "", ""))]
    return [row for row in (*COMPARISONS, *beside) if row[1] in titles and row[2] in titles]


def compare(rounds, ours, rival, how, size):
    pairs = [(taken[ours, size]["total_ns"], taken[rival, size]["total_ns"]) for taken in rounds]
    return [theirs / mine if how == "ratio" else mine - theirs for mine, theirs in pairs]


def report(rounds, titles, baseline, cipher):
    sizes = [f"{size + frames.OVERHEAD} B" for size in SIZES]

    def per_size(title, key, digits=0):
        return [spread([taken[title, size][key] for taken in rounds], digits) for size in SIZES]

    print(f"CPU nanoseconds per packet, median (lowest-highest) of {len(rounds)} interleaved rounds; the generator's"
          " lowest own cost is subtracted")
    rows = [[baseline, "", *per_size(baseline, "core_ns")]]
    for title in titles:
        rows.append([title, "total", *per_size(title, "total_ns")])
        if not title.startswith("kernel"):
            rows.append(["", "kernel rx", *per_size(title, "kernel_ns")])
            rows.append(["", "app", *per_size(title, "app_ns")])
    print_table(["frame that enters", "", *sizes], rows)

    print("Wall rate while the device sets the pace, Mpps (one core; AF_XDP rows have the reception on another one)")
    print_table(["frame that enters", *sizes], [[title, *per_size(title, "mpps", 2)] for title in titles])

    rows = []
    for target, ours, rival, how, small, large in comparisons(titles):
        unit, digits = ("x", 2) if how == "ratio" else ("ns", 0)
        values = [spread(compare(rounds, ours, rival, how, size), digits) + " " + unit for size in SIZES]
        what = "packets per CPU second, times" if how == "ratio" else "ns more than"
        rows.append([target, f"{ours}: {what} {rival}", *values, f"{small} ... {large}" if small else "-"])
    if cipher and ESP in titles:
        rows.append(["", "AES-256-GCM alone, in cache (ipsec-mb): part of VXLAN -> ESP",
                     *(f"{cipher[size]:.0f} ns" for size in SIZES), "-"])
    if rows:
        print("Ours beside the rivals, inside each round")
        print_table(["", "", *sizes, "target"], rows, left=2)


def report_delays(delays):
    """P10: through the worker beside l2fwd, the same load for both."""
    if not delays or (VXLAN, SIZES[0]) not in delays[0]:
        return
    rows = []
    for size in SIZES:
        for title in (L2FWD, VXLAN):
            taken = [found[title, size] for found in delays]
            rows.append([f"{size + frames.OVERHEAD} B", title, f"{taken[0]['rate'] / 1e6:.2f}",
                         *(spread([one[key] / 1000 for one in taken], 1) for key in ("p50", "p99", "p999"))])
    print(f"Delay from the generator to the sink in us at {LOAD:.0%} of what the slower of both forwards (P10: p99 <= 1.5 x l2fwd)")
    print_table(["frame that enters", "", "Mpps", "p50", "p99", "p99.9"], rows, left=2)


def write_json(path, about, rounds, titles, delays):
    samples = [{"round": number, "path": title, "frame_bytes": size + frames.OVERHEAD, **sample}
               for number, taken in enumerate(rounds) for (title, size), sample in taken.items()]
    compared = [{"target": target, "ours": ours, "rival": rival, "how": how, "frame_bytes": size + frames.OVERHEAD,
                 "wanted": bool(small), "values": compare(rounds, ours, rival, how, size)}
                for target, ours, rival, how, small, _ in comparisons(titles) for size in SIZES]
    pathlib.Path(path).write_text(json.dumps({"machine": about, "samples": samples, "comparisons": compared,
                                              "delays": [{"path": title, "frame_bytes": size + frames.OVERHEAD, **found}
                                                         for taken in delays for (title, size), found in taken.items()]}, indent=1),
                                  encoding="utf-8")


def progress_line(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure_all(chosen, topology):
    programs = find_programs(chosen.build, not chosen.without_forwarder)
    about = machine()
    bench = Bench(topology, programs, chosen.flows, chosen.forwarder_options.split())
    titles = [path.title for path in bench.paths]
    seconds = BURST_SECONDS / 4 if chosen.quick else BURST_SECONDS
    before = CpuTimes()
    rounds, delays = [], []
    try:
        for number in range(chosen.pairs):
            rounds.append(bench.round(number, seconds, progress_line))
            if bench.forwarder is not None:
                progress_line(f"round {number + 1}: delays")
                delays.append(bench.delays(seconds))
    finally:
        progress_line("")
    subtract_baseline(rounds, bench.baseline.title)
    cipher = bench.cipher_ns()
    about |= {"real_time": topology.real_time, "flows": chosen.flows, "window": WINDOW, "bursts": bench.bursts, "cipher_ns": cipher,
              "disturbed_bursts": bench.disturbed, "steal_percent": CpuTimes().since(before)["steal_percent"]}

    print(f"The whole path over veth: {chosen.flows} flows, UDP in VXLAN, native AF_XDP in copy mode, one queue, one worker")
    print(f"  machine   {about['cpu']}, {about['cpus']} CPUs, Linux {about['kernel']}, libxdp {about['libxdp']}, libbpf"
          f" {about['libbpf']}, {about['iproute2']}")
    clocks = bench.probe.clocks
    print(f"  clock     {statistics.median(clocks):.2f} ({min(clocks):.2f}-{max(clocks):.2f}) GHz by dependent additions, best"
          f" {bench.probe.best:.1f} independent ones per clock; {'with' if about['vaes'] else 'WITHOUT'} VAES, which P6 assumes")
    print(f"  noise     others used {about['others_busy_percent']:.0f} % of all CPUs just before (load {about['load']:.1f}),"
          f" steal {about['steal_percent']:.1f} % during the run, "
          + ("real-time priority in bursts under 1 s" if topology.real_time else
             "NO real-time priority here (chrt refused): do not trust wall rates"))
    loud = sum(not sample["quiet"] for taken in rounds for sample in taken.values())
    print(f"  neighbors disturbed {bench.disturbed} of {bench.bursts} bursts, which were repeated; {loud} of"
          f" {sum(map(len, rounds))} samples had no quiet burst in {ATTEMPTS} (the cheapest was taken)")
    if topology.softirqs_apart is not False:
        print("  softirqs  " + ("are accounted apart here: added to 'app' from /proc/stat, in ticks" if topology.softirqs_apart
                                else "this kernel does not tell how it accounts for them: 'app' may lack the sink"))
    print(f"  rivals    l2fwd: libxdp xsk.h, shared UMEM, need_wakeup, batch 64, rings 2048; kernel: vxlan nolearning, static"
          " neighbors and fdb, u0 gro on")
    if bench.testpmd is not None:
        print(f"            {bench.testpmd.title} {bench.testpmd.options};"
              " it polls, so its app time is what it takes of its core while the frames pass")
    else:
        print(f"            DPDK: none, {bench.no_testpmd}")
    print(f"  checked   {bench.checked} frames decoded and right, byte for byte")
    print("  command   " + " ".join(sys.argv) + "\n")
    report(rounds, titles, bench.baseline.title, cipher)
    report_delays(delays)
    if chosen.json:
        write_json(chosen.json, about, rounds, titles, delays)

    failed = False
    for (title, size), lost, sent in ((key, sum(taken[key]["lost"] for taken in rounds),
                                       sum(taken[key]["sent"] for taken in rounds)) for key in rounds[0]):
        if lost:
            print(f"  LOST      {title}, {size + frames.OVERHEAD} B: {lost} of {sent} frames")
            # Of the only one that is not ours: its figures do not count then.
            failed = failed or bench.testpmd is None or title != bench.testpmd.title
    for forwarder in (bench.forwarder, bench.with_tier):
        if forwarder is None:
            continue
        error = forwarder.accounting_error()
        print(f"  accounting of the forwarder: received + originated - sent - punted - drops = {error}")
        failed = failed or error != 0
    if bench.with_tier is not None:
        uplink = next(one for one in bench.with_tier.stats()["uplinks"] if one["interface"] == "u0")
        share = uplink["xdp_packets"] / max(1, uplink["rx_packets"])
        print(f"  XDP tier: forwarded {100 * share:.2f} % of what its forwarder received")
    return 1 if failed else 0


def main():
    chosen = arguments()
    if os.geteuid() != 0:
        print("path.py: the veth benchmark creates network namespaces and XDP programs: run it as root (sudo)", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("path.py: needs two CPUs: one generates, one is measured", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also when a shell started us in the background
    topology = None
    try:
        topology = Topology()
        return measure_all(chosen, topology)
    except (Trouble, frames.WrongAnswer) as trouble:
        kind = "WRONG ANSWER: " if isinstance(trouble, frames.WrongAnswer) else ""
        print(f"path.py: {kind}{trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if topology is not None:
            topology.close()


if __name__ == "__main__":
    sys.exit(main())
