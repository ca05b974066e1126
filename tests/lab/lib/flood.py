#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""flood.py DEVICE FRAME: sends the frame (hexadecimal), 10,000 a second, until SIGTERM.

SIGUSR1 doubles the rate. SIGUSR2 and the end print {"sent": n}.
"""
import ctypes
import json
import signal
import socket
import sys
import time

AT_ONCE = 64
RATE = 10000
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
running = True
rate = RATE
sent = 0


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint)]


def stop(*_):
    global running
    running = False


def faster(*_):
    global rate
    rate *= 2


def tell(*_):
    print(json.dumps({"sent": sent}), flush=True)


def main(device, text):
    frame = bytes.fromhex(text)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    link.bind((device, 0))
    buffer = ctypes.create_string_buffer(frame, len(frame))
    vector = Iovec(ctypes.addressof(buffer), len(frame))
    messages = (Mmsghdr * AT_ONCE)()
    for message in messages:
        message.header.iov = ctypes.pointer(vector)
        message.header.iovlen = 1
    send = ctypes.CDLL(None).sendmmsg
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, faster)
    signal.signal(signal.SIGUSR2, tell)
    print("ready", flush=True)
    global sent
    due, now = 0.0, time.monotonic()
    while running:
        before, now = now, time.monotonic()
        # What a late scheduler did not let it send, it does not make up for.
        due = min(due + (now - before) * rate, 4 * AT_ONCE)
        while due >= AT_ONCE and running:
            sent += max(0, send(link.fileno(), messages, AT_ONCE, 0))
            due -= AT_ONCE
        time.sleep(AT_ONCE / rate / 2)
    tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
