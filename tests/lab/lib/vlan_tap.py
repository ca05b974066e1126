#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vlan_tap.py INTERFACE TAP VLAN [OUTER-VLAN [OUTER-TYPE]]: a VLAN of INTERFACE as TAP device, for kernels without 802.1Q devices.

Runs until it is ended. What arrives on INTERFACE with exactly these tags comes out of TAP without them; what is written to
TAP leaves INTERFACE with them. TAP gets the MAC address of INTERFACE. Prints "ready" when frames pass.

The kernel takes the outer tag out of a frame before a packet socket sees it and tells it beside the frame (PACKET_AUXDATA);
a second tag stays where it is.
"""
import errno
import fcntl
import os
import select
import socket
import struct
import sys

# Given by linux/if_tun.h, linux/if_packet.h and linux/if_ether.h.
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
ETH_P_ALL = 3
SIOCGIFHWADDR, SIOCSIFHWADDR, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8927, 0x8924, 0x8913, 0x8914, 1
AUXDATA = struct.Struct("=IIIHHHH")
ADDRESSES = 12


def open_tap(name, mac):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFHWADDR, struct.pack("16sH6s16x", name.encode(), 1, mac))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), IFF_UP))
    return tap


def outer_tag(ancillary):
    """(type, VLAN) of the tag that was taken out, or nothing."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, control, tag_type = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return tag_type, control & 0xFFF
    return None


def tags_of(frame, ancillary):
    """VLANs of a frame from outside to inside, and the frame without its tags."""
    vlans = []
    if taken_out := outer_tag(ancillary):
        vlans.append(taken_out[1])
    while frame[ADDRESSES:ADDRESSES + 2] in (b"\x81\x00", b"\x88\xa8"):
        vlans.append(int.from_bytes(frame[ADDRESSES + 2:ADDRESSES + 4], "big") & 0xFFF)
        frame = frame[:ADDRESSES] + frame[ADDRESSES + 4:]
    return vlans, frame


def main(interface, tap_name, vlan, outer_vlan=None, outer_type="0x88a8"):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.bind((interface, 0))
    link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    link.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    request = fcntl.ioctl(link, SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    tap = open_tap(tap_name, request[18:24])
    wanted, tags = [int(vlan)], struct.pack("!HH", 0x8100, int(vlan))
    if outer_vlan:
        wanted.insert(0, int(outer_vlan))
        tags = struct.pack("!HH", int(outer_type, 16), int(outer_vlan)) + tags
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([link, tap], [], [])
        if link in readable:
            frame, ancillary, _, _ = link.recvmsg(65536, 256)
            vlans, plain = tags_of(frame, ancillary)
            if vlans == wanted:
                os.write(tap, plain)
        if tap in readable:
            frame = os.read(tap, 65536)
            try:
                link.send(frame[:ADDRESSES] + tags + frame[ADDRESSES:])
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # a full link loses frames
                    raise


if __name__ == "__main__":
    main(*sys.argv[1:])
