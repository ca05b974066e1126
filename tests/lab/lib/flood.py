#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""flood.py DEVICE FRAME: sends the frame (hexadecimal) as fast as it can, until SIGTERM; prints {"sent": n}."""
import ctypes
import json
import signal
import socket
import sys

AT_ONCE = 64
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
running = True


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
    print("ready", flush=True)
    sent = 0
    while running:
        sent += max(0, send(link.fileno(), messages, AT_ONCE, 0))
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
