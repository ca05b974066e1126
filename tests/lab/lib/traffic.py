# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic between namespaces: pings, numbered UDP, TCP, and what became of it."""
import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import re
import signal

from .expect import expect

UDPSEQ = pathlib.Path(__file__).with_name("udpseq.py")
PATIENCE = 1  # how many times slower than this machine the places of the traffic may be (tests/vm: emulated ones)


@dataclasses.dataclass
class Ping:
    sent: int
    received: int
    text: str

    @property
    def lost(self):
        return self.sent - self.received


def ping(space, address, count=5, size=56, dont_fragment=False, interval=0.2, wait=2, quiet=False):
    """`size` is the ICMP payload: the IP packet is 28 bytes (IPv6: 48) longer."""
    argv = ["ping", "-n", "-c", count, "-i", interval, "-W", wait, "-s", size,
            "-M", "do" if dont_fragment else "dont", address]
    text = space.run(*argv, check=False, quiet=quiet, timeout=count * interval + wait * count + 10).stdout
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    return Ping(int(found.group(1)) if found else count, int(found.group(2)) if found else 0, text)


def reachable(space, address, within=10):
    """Waits until one ping is answered."""
    expect(lambda: ping(space, address, count=1, wait=1, quiet=True).received, within,
           f"{space.short} reaches {address}")


@dataclasses.dataclass
class Flow:
    sent: int
    report: dict

    @property
    def lost(self):
        return self.sent - self.report["unique"]

    def __str__(self):
        return (f"{self.sent} sent, {self.lost} lost, {self.report['repeated']} repeated, "
                f"{self.report['reordered']} reordered, longest silence {self.report['longest_silence_ms']} ms, "
                f"gaps {self.report['gaps']}")


class Stream:
    """A numbered UDP stream, running until stop()."""

    def __init__(self, source, destination, address, rate=1000, size=200, port=7000):
        self.source, self.destination = source, destination
        self.result = None
        tag = f"{source.short}-{destination.short}-{port}"
        fresh = source.lab.fresh
        self.receiver = destination.spawn([UDPSEQ, "receive", address, port], log=fresh(f"{tag}.receiver.log"))
        expect(lambda: "ready" in self.receiver.text(), 10 * PATIENCE, "receiver is ready")
        self.sender = source.spawn([UDPSEQ, "send", address, port, rate, size], log=fresh(f"{tag}.sender.log"))

    def so_far(self):
        """Packets that arrived until now."""
        answers = self.receiver.text().count("so_far")
        self.receiver.signal(signal.SIGUSR1)
        expect(lambda: self.receiver.text().count("so_far") > answers, 5 * PATIENCE, "the receiver answers")
        return json.loads([line for line in self.receiver.text().splitlines() if "so_far" in line][-1])["so_far"]

    def stop(self):
        """Ends the sender, waits until the last packet came or clearly does not come, then ends the receiver."""
        self.sender.signal(signal.SIGTERM)
        self.sender.wait(10 * PATIENCE)
        sent = json.loads(self.sender.text().splitlines()[-1])["sent"]
        # Either everything has come, or nothing comes any more.
        seen = []

        def finished():
            seen.append(self.so_far())
            return seen[-1] >= sent or (len(seen) > 8 and len(set(seen[-8:])) == 1)

        expect(finished, 20 * PATIENCE, "the last packets arrived")
        self.receiver.signal(signal.SIGTERM)
        self.receiver.wait(10 * PATIENCE)
        return Flow(sent, json.loads(self.receiver.text().splitlines()[-1]))


def carried(stream, packets, within=30):
    """Waits until `packets` more have arrived at the receiver."""
    goal = stream.so_far() + packets
    expect(lambda: stream.so_far() >= goal, within, f"{packets} more packets arrive")


@contextlib.contextmanager
def stream(source, destination, address, **options):
    """with stream(a, b, "10.2.0.10") as s: ...   then s.result is the Flow."""
    with streams((source, destination, address, options)) as (running,):
        yield running


@contextlib.contextmanager
def streams(*wanted):
    """Several, of (source, destination, address, options) each, started and stopped at once."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = list(pool.map(lambda one: Stream(*one[:3], **one[3]), wanted))
        try:
            yield running
        finally:
            for one, result in zip(running, pool.map(Stream.stop, running)):
                one.result = result


def tcp_transfer(source, destination, address, megabytes=20, port=7100, within=60):
    """Sends random bytes over TCP and compares a SHA-256; returns Mbit/s."""
    script = pathlib.Path(__file__).with_name("tcpcopy.py")
    log = source.lab.fresh(f"{source.short}-{destination.short}-tcp.log")
    receiver = destination.spawn([script, "receive", address, port], log=log)
    expect(lambda: "ready" in receiver.text(), 10 * PATIENCE, "TCP receiver is ready")
    sent = json.loads(source.out(script, "send", address, port, megabytes << 20, timeout=within))
    receiver.wait(10 * PATIENCE)
    got = json.loads(receiver.text().splitlines()[-1])
    assert got["sha256"] == sent["sha256"] and got["bytes"] == megabytes << 20, (sent, got)
    return sent["bytes"] * 8 / got["seconds"] / 1e6


def tcp_rate(source, destination, address, seconds=4, streams=1, port=5201):
    """iperf3's received rate in Mbit/s."""
    server = destination.spawn(["iperf3", "-s", "-1", "-B", address, "-p", port],
                               log=source.lab.fresh(f"{destination.short}.iperf3.log"))
    expect(lambda: listening(destination, port), 5, "iperf3 listens")
    done = source.run("iperf3", "-c", address, "-p", port, "-t", seconds, "-P", streams, "-J", timeout=seconds + 20,
                      check=False)
    server.stop()
    report = json.loads(done.stdout)
    assert "error" not in report, report["error"]
    return report["end"]["sum_received"]["bits_per_second"] / 1e6


def listening(space, port):
    return f":{port} " in space.out("ss", "-Htln", quiet=True)


def traceroute(space, address, extra=()):
    """The addresses of the hops, in order; None where nobody answered.

    One probe at a time: Linux says "port unreachable" to one host only six times before it must wait a second
    (icmp_ratelimit), and a traceroute that probes ahead has spent them before it knows how far the target is.
    """
    text = space.out("traceroute", "-n", "-q", "1", "-N", "1", "-w", "2", "-m", "8", *extra, address, timeout=40)
    hops = []
    for line in text.splitlines()[1:]:
        words = line.split()
        hops.append(None if words[1] == "*" else words[1])
    return hops
