#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""forge.py DEVICE: sends the frames given on standard input (one hexadecimal line each), as they are."""
import socket
import sys


def main(device):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((device, 0))
    sent = 0
    for line in sys.stdin:
        link.send(bytes.fromhex(line.strip()))
        sent += 1
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1])
