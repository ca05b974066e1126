#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered UDP packets: what was lost, repeated, reordered, and when.

    udpseq.py receive ADDRESS PORT               until SIGTERM, then prints JSON; SIGUSR1 prints {"so_far": n}
    udpseq.py send ADDRESS PORT RATE [SIZES]     until SIGTERM, then prints JSON {"sent": n}; 200,9000: by turns

The sender keeps its rate by catching up, so that a late scheduler does not thin the traffic out.
"""
import json
import select
import signal
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33  # not in the socket module
HEADER = struct.Struct("!QQ")
running = True
received = 0


def stop(*_):
    global running
    running = False


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send(address, port, rate, sizes):
    link = socket.socket(family(address), socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    link.connect((address, port))
    paddings = [bytes(max(0, size - HEADER.size)) for size in sizes]
    began, sent, refused = time.monotonic(), 0, 0
    while running:
        due = int((time.monotonic() - began) * rate)
        while sent < due and running:
            try:
                link.send(HEADER.pack(sent, time.monotonic_ns()) + paddings[sent % len(paddings)])
            except ConnectionRefusedError:  # an ICMP error of an earlier packet: not this one's fault
                refused += 1
                continue
            sent += 1
        time.sleep(max(0.0, began + (sent + 1) / rate - time.monotonic()))
    print(json.dumps({"sent": sent, "icmp_errors": refused}))


def receive(address, port):
    link = socket.socket(family(address), socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    link.bind((address, port))
    link.setblocking(False)
    seen = bytearray()
    global received
    repeated = reordered = 0
    highest, silence, before = -1, 0.0, None
    delays = []
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps({"so_far": received}), flush=True))
    print("ready", flush=True)
    while running:
        if not select.select([link], [], [], 0.1)[0]:
            continue
        try:
            data = link.recv(65535)
        except BlockingIOError:
            continue
        now = time.monotonic_ns()
        number, at = HEADER.unpack_from(data)
        if number >= len(seen):
            seen.extend(bytes(number + 4096 - len(seen)))
        if before is not None:
            silence = max(silence, (now - before) / 1e6)
        before = now
        delays.append(now - at)
        repeated += seen[number]
        seen[number] = 1
        received += 1
        reordered += number < highest
        highest = max(highest, number)
    gaps, start = [], None
    for number in range(highest + 2):
        here = number <= highest and seen[number]
        if not here and start is None and number <= highest:
            start = number
        elif (here or number > highest) and start is not None:
            gaps.append([start, number - start])
            start = None
    delays.sort()

    def part(share):
        return round(delays[min(len(delays) - 1, int(len(delays) * share))] / 1e6, 3) if delays else None

    print(json.dumps({"received": received, "unique": sum(seen), "repeated": repeated, "reordered": reordered,
                      "highest": highest, "longest_silence_ms": round(silence, 1), "gaps": gaps[:20],
                      "delay_ms": {"p50": part(0.5), "p99": part(0.99), "max": part(1.0)}}))


def main(words):
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if words[0] == "receive":
        receive(words[1], int(words[2]))
    else:
        send(words[1], int(words[2]), float(words[3]), [int(size) for size in words[4].split(",")] if len(words) > 4 else [200])


if __name__ == "__main__":
    main(sys.argv[1:])
