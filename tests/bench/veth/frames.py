# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames of the veth benchmark: what is sent, and whether what came out is the right answer.

Built and decoded here, field by field, without any code of the product: a forwarder that is fast and wrong must not
look fast.

    compute1 (VTEP 198.18.0.2) --VNI 100---> [device under test] --VNI 200---> compute2 (VTEP 198.18.1.2)
    line-in                    --VLAN 300-->                     --ESP-------> site     (198.18.1.2)
                                                                 --VLAN 400--> line-out
"""
import dataclasses
import ipaddress
import struct

OUTER_IN = ("198.18.0.2", "198.18.0.1")    # source, destination of what enters
OUTER_OUT = ("198.18.1.1", "198.18.1.2")   # of what leaves
VXLAN_PORT = 4789
VNI_IN, VNI_OUT = 100, 200
GATEWAY_MAC_IN, GATEWAY_MAC_OUT = "02:53:4c:00:00:64", "02:53:4c:00:00:c8"
MAC_U0, MAC_U1, MAC_G0, MAC_G1 = "02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:02:01", "02:00:00:00:02:02"
SOURCE_NET = "10.1.0.0/16"
VPC_NET = "10.2.0.0/16"      # behind VNI 200
LINE_IN_NET = "10.5.0.0/16"  # behind VLAN 300
LINE_OUT_NET = "10.4.0.0/16"  # behind VLAN 400
SITE_NET = "10.3.0.0/16"     # behind the tunnel
VLAN_IN, VLAN_OUT = 300, 400
LINE_OUT = ("192.0.2.1", "192.0.2.2")  # our address on VLAN 400 and the router's
TTL = 64
OVERHEAD = 14 + 20 + 8 + 8 + 14  # outer Ethernet to inner Ethernet


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(source, destination, protocol, payload, ttl=TTL, identification=0):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, 0x4000, ttl, protocol, 0,
                         ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(destination).packed)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def udp(source_port, destination_port, payload):
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def host(network, number):
    return str(ipaddress.ip_network(network)[number])


def endpoint_mac(number):
    return "02:0b:00:00:" + ":".join(f"{byte:02x}" for byte in struct.pack("!H", number))


@dataclasses.dataclass
class Flow:
    """One inner UDP packet, the same each time; `number` is its place among the flows."""
    number: int
    destination: str
    inner: bytes     # the IPv4 packet
    frame: bytes     # what carries it, and the packet


def vlan_tag(vlan):
    return struct.pack("!HH", 0x8100, vlan)


def in_vxlan(number, inner):
    return ipv4(*OUTER_IN, 17,
                udp(49152 + number, VXLAN_PORT,
                    struct.pack("!II", 0x08000000, VNI_IN << 8) +
                    mac_bytes(GATEWAY_MAC_IN) + mac_bytes(endpoint_mac(number)) + b"\x08\x00" + inner))


def make_flows(network, count, inner_bytes, entrance="vxlan"):
    """IPv4 packets of `inner_bytes`, each flow with its own endpoints: in VXLAN ("vxlan"), each with its own outer UDP source
    port, in the VLAN of the line ("tagged"), or as they are ("plain")."""
    source_net = SOURCE_NET if entrance == "vxlan" else LINE_IN_NET
    flows = []
    for number in range(count):
        destination = host(network, 10 + number)
        payload = bytes((number + i) & 0xff for i in range(inner_bytes - 28))
        inner = ipv4(host(source_net, 10 + number), destination, 17, udp(10000 + number, 7, payload))
        tag = vlan_tag(VLAN_IN) if entrance == "tagged" else b""
        frame = (mac_bytes(MAC_U0) + mac_bytes(MAC_G0) + tag + b"\x08\x00" +
                 (in_vxlan(number, inner) if entrance == "vxlan" else inner))
        flows.append(Flow(number, destination, inner, frame))
    # The generator writes only the first bytes of each frame anew; the rest must not tell the flows apart.
    written = 128 if len(flows[0].frame) >= 128 else 64
    tail = flows[0].frame[written:]
    for flow in flows:
        cut = len(flow.inner) - len(tail)
        flow.inner = flow.inner[:cut] + tail
        flow.frame = flow.frame[:written] + tail
    return flows


def write_templates(path, flows):
    with open(path, "w", encoding="ascii") as file:
        for flow in flows:
            file.write(flow.frame.hex() + "\n")


class WrongAnswer(Exception):
    """A frame came out that is not the frame that had to come out."""


def demand(condition, what):
    if not condition:
        raise WrongAnswer(what)


def outer_ipv4(frame, protocol):
    """The payload of a frame that must be from us to the next hop."""
    demand(frame[:14] == mac_bytes(MAC_G1) + mac_bytes(MAC_U1) + b"\x08\x00", f"outer Ethernet {frame[:14].hex()}")
    header, total = frame[14:34], struct.unpack("!H", frame[16:18])[0]
    demand(header[0] == 0x45 and checksum(header) == 0, f"outer IPv4 header {header.hex()}")
    demand(header[9] == protocol, f"outer protocol {header[9]}, wanted {protocol}")
    demand(header[12:16] == ipaddress.IPv4Address(OUTER_OUT[0]).packed, f"outer source {header[12:16].hex()}")
    demand(header[16:20] == ipaddress.IPv4Address(OUTER_OUT[1]).packed, f"outer destination {header[16:20].hex()}")
    demand(14 + total == len(frame), f"outer length {total} in a frame of {len(frame)}")
    return frame[34:]


def routed(inner):
    """What a router makes of an inner packet: TTL one less, header checksum right again, nothing else touched."""
    header = bytearray(inner[:20])
    header[8] -= 1
    header[10:12] = b"\0\0"
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return bytes(header) + inner[20:]


class Answers:
    """Checks captured frames against the flows that were sent."""

    def __init__(self, flows):
        self.expected = {routed(flow.inner): flow for flow in flows}
        self.sent = {flow.frame[14:]: flow for flow in flows}
        self.seen_sequences = set()

    def check_same(self, frame):
        """l2fwd: only the MAC addresses are new."""
        demand(frame[:12] == mac_bytes(MAC_G1) + mac_bytes(MAC_U1), f"MAC addresses {frame[:12].hex()}")
        demand(frame[14:] in self.sent, "a frame that was not sent")

    def check_vxlan(self, frame):
        payload = outer_ipv4(frame, 17)
        port, length = struct.unpack("!HH", payload[2:6])
        demand(port == VXLAN_PORT and length == len(payload), f"outer UDP port {port}, length {length}")
        flags, vni = struct.unpack("!II", payload[8:16])
        demand(flags == 0x08000000 and vni == VNI_OUT << 8, f"VXLAN header {payload[8:16].hex()}")
        flow = self.expected.get(payload[30:])
        demand(flow is not None, f"inner packet {payload[30:62].hex()}...: no flow has it with TTL - 1")
        wanted = mac_bytes(endpoint_mac(flow.number)) + mac_bytes(GATEWAY_MAC_OUT) + b"\x08\x00"
        demand(payload[16:30] == wanted, f"inner Ethernet {payload[16:30].hex()}, wanted {wanted.hex()}")

    def check_routed(self, frame, tag):
        front = mac_bytes(MAC_G1) + mac_bytes(MAC_U1) + tag + b"\x08\x00"
        demand(frame[:len(front)] == front, f"Ethernet header {frame[:len(front)].hex()}, wanted {front.hex()}")
        demand(frame[len(front):] in self.expected, f"packet {frame[len(front):][:32].hex()}...: no flow has it with TTL - 1")

    def check_tagged(self, frame):
        self.check_routed(frame, vlan_tag(VLAN_OUT))

    def check_untagged(self, frame):
        self.check_routed(frame, b"")

    def check_esp(self, frame, spi, key, salt):
        """RFC 4303 and RFC 4106, 64-bit sequence numbers; the upper half is 0 in this run."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # the only user of the package
        payload = outer_ipv4(frame, 50)
        got_spi, sequence = struct.unpack("!II", payload[:8])
        demand(got_spi == spi, f"SPI {got_spi:08x}")
        demand(sequence not in self.seen_sequences, f"sequence number {sequence} twice")
        self.seen_sequences.add(sequence)
        associated = struct.pack("!III", spi, 0, sequence)
        try:
            clear = AESGCM(key).decrypt(salt + payload[8:16], payload[16:], associated)
        except Exception as error:  # InvalidTag has no text
            raise WrongAnswer(f"ESP sequence {sequence} does not decrypt: {error!r}") from error
        padding, following = clear[-2], clear[-1]
        demand(following == 4, f"ESP next header {following}")
        demand(clear[len(clear) - 2 - padding:-2] == bytes(range(1, padding + 1)), "ESP padding")
        demand(clear[:len(clear) - 2 - padding] in self.expected, "inner packet is no flow's with TTL - 1")
