#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers pings that arrive in ESP-in-UDP, with keys from a file: an ESP (RFC 4303, AES-GCM of RFC 4106) of its own.

    esp_echo.py INTERFACE STATE

STATE is FakeSaServer.show() as JSON, read again when it changes. Decrypts with any inbound SA, answers with the outbound SA
of its tunnel. Prints a line per failure; says `ready` when it listens.
"""
import ipaddress
import json
import os
import socket
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAT_T_PORT = 4500


class Sas:
    """The SAs of a state file, by SPI."""

    def __init__(self, path):
        self.path = path
        self.stamp = None
        self.by_spi = {}
        self.outbound = {}
        self.sequence = {}

    def refresh(self):
        stamp = os.stat(self.path).st_mtime_ns
        if stamp != self.stamp:
            with open(self.path, encoding="utf-8") as file:
                state = json.load(file)
            self.by_spi = {sa["spi"]: sa for sa in state["sas"]}
            self.outbound = state["outbound"]
            self.stamp = stamp

    def next_sequence(self, spi):
        self.sequence[spi] = self.sequence.get(spi, 0) + 1
        return self.sequence[spi]


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def open_esp(sa, esp):
    key = bytes.fromhex(sa["key"])
    plain = AESGCM(key[:-4]).decrypt(key[-4:] + esp[8:16], esp[16:], esp[:8])
    return plain[: -2 - plain[-2]]


def seal_esp(sa, sequence, inner):
    key = bytes.fromhex(sa["key"])
    padding = -(len(inner) + 2) % 4
    plain = inner + bytes(range(1, padding + 1)) + bytes([padding, 4])  # next header 4: IPv4
    head = struct.pack("!II", int(sa["spi"], 16), sequence)
    iv = struct.pack("!Q", sequence)
    return head + iv + AESGCM(key[:-4]).encrypt(key[-4:] + iv, plain, head)


def echo_reply(inner):
    """The reply to an echo request in an IPv4 packet without options, or None."""
    if inner[0] != 0x45 or inner[9] != 1 or inner[20] != 8:
        return None
    icmp = bytearray(inner[20:])
    icmp[0], icmp[2:4] = 0, b"\0\0"
    icmp[2:4] = struct.pack("!H", checksum(bytes(icmp)))
    head = bytearray(inner[:20])
    head[8], head[10:12], head[12:16], head[16:20] = 64, b"\0\0", inner[16:20], inner[12:16]
    head[10:12] = struct.pack("!H", checksum(bytes(head)))
    return bytes(head + icmp)


def in_udp(local, peer, payload):
    udp = struct.pack("!HHHH", NAT_T_PORT, NAT_T_PORT, 8 + len(payload), 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, local, peer) + udp


def answer(sas, packet):
    """The outer packet that answers this one, or None."""
    head = (packet[0] & 15) * 4
    source_port, destination_port = struct.unpack_from("!HH", packet, head)
    esp = packet[head + 8 :]
    if packet[9] != 17 or NAT_T_PORT not in (source_port, destination_port) or len(esp) < 32 or esp[:4] == bytes(4):
        return None  # neither ESP-in-UDP, nor IKE and keepalives (RFC 3948 section 2)
    sas.refresh()
    sa = sas.by_spi.get(esp[:4].hex())
    if not sa or not sa["inbound"]:
        print(f"no inbound SA has SPI {esp[:4].hex()}", flush=True)
        return None
    reply = echo_reply(open_esp(sa, esp))
    out = sas.by_spi.get(sas.outbound.get(str(sa["if_id"])))
    if not reply or not out:
        return None
    local = ipaddress.ip_address(out["source"]).packed
    peer = ipaddress.ip_address(out["destination"]).packed
    return peer, in_udp(local, peer, seal_esp(out, sas.next_sequence(out["spi"]), reply))


def main():
    interface, state = sys.argv[1:]
    sas = Sas(state)
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    receiver.bind((interface, 0x0800))
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    print("ready", flush=True)
    while True:
        packet, (_, _, kind, *_) = receiver.recvfrom(65535)
        if kind == socket.PACKET_OUTGOING or len(packet) < 28:
            continue
        try:
            answered = answer(sas, packet)
        except InvalidTag:
            print("a packet does not decrypt", flush=True)
            continue
        if answered:
            peer, outer = answered
            sender.sendto(outer, (socket.inet_ntoa(peer), 0))


if __name__ == "__main__":
    main()
