#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One TCP transfer with a checksum at both ends.

    tcpcopy.py receive ADDRESS PORT          accepts once, prints JSON {bytes, sha256, seconds}
    tcpcopy.py send ADDRESS PORT BYTES       prints JSON {bytes, sha256}
"""
import hashlib
import json
import os
import socket
import sys
import time


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def receive(address, port):
    listener = socket.socket(family(address), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(1)
    listener.settimeout(60)
    print("ready", flush=True)
    link, _ = listener.accept()
    link.settimeout(30)
    began, count, digest = time.monotonic(), 0, hashlib.sha256()
    while data := link.recv(1 << 18):
        digest.update(data)
        count += len(data)
    seconds = time.monotonic() - began
    link.sendall(b"done")
    print(json.dumps({"bytes": count, "sha256": digest.hexdigest(), "seconds": seconds}))


def send(address, port, count):
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    link = socket.create_connection((address, port), timeout=30)
    left = count
    while left:
        part = block[:min(left, len(block))]
        digest.update(part)
        link.sendall(part)
        left -= len(part)
    link.shutdown(socket.SHUT_WR)
    assert link.recv(4) == b"done"
    print(json.dumps({"bytes": count, "sha256": digest.hexdigest()}))


def main(words):
    if words[0] == "receive":
        receive(words[1], int(words[2]))
    else:
        send(words[1], int(words[2]), int(words[3]))


if __name__ == "__main__":
    main(sys.argv[1:])
