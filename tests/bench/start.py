#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""C6: from the start of a gateway's programs to the first packet through its tunnels, of which there are 100.

    sudo SIMPLON_BUILD=build/bench tests/bench/start.py [--tunnels N] [--rounds N] [--json FILE]

Two Simplon gateways on a veth pair, AES-256-GCM, an IKE SA and an address inside for each tunnel. Each round stops the three programs of
one gateway, starts them together as systemd does, and pings through every tunnel ten times a second until an answer has come through it:
seconds to the first answer, and until all have answered. Both gateways and both ends of every key exchange share this machine's processors.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))

from lib import topo  # noqa: E402
from lib import two_sites as t  # noqa: E402
from lib.gateway import Gateway  # noqa: E402

TARGET = 10
LIMIT = 120
NEAR = "203.0.113.1"

# Pings all addresses of its arguments until each has answered; prints when each did, in seconds of the monotonic clock.
PINGER = r"""
import os, select, socket, struct, sys, time
limit, waiting = time.monotonic() + float(sys.argv[1]), set(sys.argv[2:])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
number = os.getpid() & 0xffff
checksum = 0xffff - (0x0800 + number) % 0xffff
request = struct.pack("!BBHHH", 8, 0, checksum, number, 0)
while waiting and time.monotonic() < limit:
    again = time.monotonic() + 0.1
    for address in waiting:
        try:
            raw.sendto(request, (address, 0))
        except OSError:
            pass  # no address inside yet
    while (left := again - time.monotonic()) > 0 and select.select([raw], [], [], left)[0]:
        packet, (address, _) = raw.recvfrom(2048)
        if packet[20] == 0 and packet[24:26] == request[4:6] and address in waiting:
            waiting.remove(address)
            print(time.monotonic(), flush=True)
sys.exit(1 if waiting else 0)
"""


def far(number):
    return f"198.18.{number // 250}.{number % 250 + 1}"


def inside(number, end):
    return f"169.254.{number // 64}.{number % 64 * 4 + end}"


def document(box, tunnels, near):
    """Of one end: `near` calls."""
    secret = box.secret("start.psk", "pre-shared-key-of-all-of-them")
    ends = [(NEAR, far(number), 1) if near else (far(number), NEAR, 2) for number in range(tunnels)]
    return {"gateway": {"name": box.short, "vtep": "10.255.0.1"}, "uplinks": [{"interface": "wan0"}], "domains": [{"name": "red"}],
            "tunnels": [t.tunnel(f"t{number}", "red", local, remote, local if not near else f"gw-{number}",
                                 remote if near else f"gw-{number}", secret, f"{inside(number, end)}/30", initiate=near)
                        for number, (local, remote, end) in enumerate(ends)]}


class Pair:
    def __init__(self, lab, tunnels):
        self.tunnels = tunnels
        near, away = lab.namespace("near"), lab.namespace("far")
        lab.veth(near, "wan0", away, "wan0")
        near.ip(f"addr add {NEAR}/24 dev wan0")
        near.ip("route add 198.18.0.0/16 dev wan0")
        away.ip("route add 203.0.113.0/24 dev wan0")
        for number in range(tunnels):
            topo.run(["ip", "-n", away.name, "addr", "add", f"{far(number)}/32", "dev", "wan0"])
        self.near, self.far = Gateway(near), Gateway(away)
        # In its place there would be a peer each, which none of them takes for a flood. (0, said to be no limit, is one of 4 in 5.9.8.)
        configuration = self.far.charon.dir / "strongswan.conf"
        text = configuration.read_text(encoding="utf-8")
        limits = "".join(f"  {name} = 1000\n" for name in ("block_threshold", "cookie_threshold", "cookie_threshold_ip"))
        configuration.write_text(text.replace("  reuse_ikesa", limits + "  reuse_ikesa"), encoding="utf-8")
        for box in (self.far, self.near):
            box.start()
            box.apply(document(box, tunnels, box is self.near))

    def wait(self, began):
        """Seconds until the first answer, and until one through each tunnel."""
        space = self.near.domain("red")
        addresses = [inside(number, 2) for number in range(self.tunnels)]
        done = subprocess.run(space.enter(["/usr/bin/python3", "-c", PINGER, str(LIMIT), *addresses]), capture_output=True, text=True,
                              check=False, timeout=LIMIT + 30)
        times = sorted(float(line) - began for line in done.stdout.split())
        assert len(times) == self.tunnels, f"{len(times)} of {self.tunnels} tunnels carry packets after {LIMIT} s: {done.stderr}"
        return times[0], times[-1]

    def round(self):
        box = self.near
        box.stop()
        began = time.monotonic()
        box.start()
        return self.wait(began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tunnels", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    chosen = parser.parse_args()
    lab = topo.Lab("start", keep=False, echo=lambda where, argv: None)
    try:
        pair = Pair(lab, chosen.tunnels)
        first, every = pair.wait(time.monotonic())
        print(f"  configured: first answer after {first:.2f} s, all {chosen.tunnels} after {every:.2f} s", flush=True)
        rounds = []
        for number in range(chosen.rounds):
            rounds.append(pair.round())
            print(f"  start {number + 1}: first answer after {rounds[-1][0]:.2f} s, all after {rounds[-1][1]:.2f} s", flush=True)
        first, every = (statistics.median(column) for column in zip(*rounds))
        row = {"id": "C6", "case": f"start of the programs to the first packet, {chosen.tunnels} tunnels: {first:.2f} s; through all: {every:.2f} s",
               "ours_ns": None, "rival": None, "rival_ns": None, "ratio": None, "target": f"<= {TARGET} s", "met": first <= TARGET,
               "ours": round(first, 2), "through_all": round(every, 2), "unit": "s", "repetitions": chosen.rounds}
        print(f"C6  {row['case']} (median of {chosen.rounds}; target: {row['target']})")
        if chosen.json:
            pathlib.Path(chosen.json).write_text(json.dumps([row], indent=1) + "\n", encoding="utf-8")
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
