#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The server end of the SA protocol (gateway/ipc/sa_protocol.h) without a data path.

Takes simplon-forwarder's place in labs of charon and the plugin kernel-simplon: remembers SAs and policies as the
protocol says, shows them, raises the events it is told to, refuses what it is told to. As a module: `FakeSaServer`.
As a program: `fake_sa_server.py SOCKET`, commands on standard input, one JSON document per answer on standard output:

    show                    sessions, SAs (keys in hex), policies, the outbound SA of each tunnel, requests so far
    expire SPI soft|hard    raise an expiry
    mapping SPI ADDR PORT   say that the peer's NAT mapping changed
    refuse N [STATUS]       answer the next N ADD requests with STATUS (default NOT_SUPPORTED)
    hang SECONDS            do not read for so long
    restart                 drop the connection and come back with another instance and no SAs
    reconnect               drop the connection and come back with the same instance and all SAs
    quit
"""

import contextlib
import ipaddress
import json
import os
import secrets
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

MAGIC = 0x53504C53
VERSION = 1
MAX_MESSAGE = 4096

HELLO, ALLOC_SPI, ADD, UPDATE, DELETE, ADD_POLICY, DELETE_POLICY, QUERY = range(1, 9)
REPLY, USAGE = 64, 65
EXPIRE, MAPPING = 128, 129
NAMES = {1: "HELLO", 2: "ALLOC_SPI", 3: "ADD", 4: "UPDATE", 5: "DELETE", 6: "ADD_POLICY", 7: "DELETE_POLICY", 8: "QUERY"}
STATUS = {"OK": 0, "NOT_FOUND": 1, "NOT_SUPPORTED": 2, "INVALID": 3, "EXISTS": 4, "FULL": 5}
DIRECTIONS = {1: "in", 2: "out", 3: "fwd"}

# As a C compiler lays the structures out: "=" has no padding, so padding is written as x.
HEADER = struct.Struct("=IHHII")
ADDRESS = struct.Struct("=B3x16s")
SELECTOR = struct.Struct("=20s20sBxHHxx")
SA_ID = struct.Struct("=20sIB3x")
HELLO_BODY = struct.Struct("=Q32s")
ADD_HEAD = struct.Struct("=28s20sIIHHHH64s64sIBBBBHHBBBx")
ADD_TAIL = struct.Struct("=QQQQQQII")
UPDATE_BODY = struct.Struct("=28s20s20sHHB3x")
POLICY = struct.Struct("=B3xIIII48s48s")
REPLY_BODY = struct.Struct("=IxxxxQ")
USAGE_BODY = struct.Struct("=IxxxxQQQ")
EXPIRE_BODY = struct.Struct("=28sB3x")
MAPPING_BODY = struct.Struct("=28s20sHxx")
MAX_SELECTORS = 16
ADD_HEAD_PADDED = (ADD_HEAD.size + 7) // 8 * 8  # the limits are 64-bit integers
ADD_SIZE = ADD_HEAD_PADDED + ADD_TAIL.size + 2 * MAX_SELECTORS * SELECTOR.size


def address(raw):
    family, octets = ADDRESS.unpack(raw)
    return str(ipaddress.ip_address(octets[:4] if family == 4 else octets))


def pack_address(text):
    parsed = ipaddress.ip_address(text)
    return ADDRESS.pack(parsed.version, parsed.packed.ljust(16, b"\0"))


def selector(raw):
    start, end, protocol, port_from, port_to = SELECTOR.unpack(raw)
    text = f"{address(start)}-{address(end)}"
    if protocol or (port_from, port_to) != (0, 65535):
        text += f"[{protocol}/{port_from}-{port_to}]"
    return text


def sa_id(raw):
    destination, spi, protocol = SA_ID.unpack(raw)
    return address(destination), spi, protocol


@dataclass
class Sa:
    destination: str
    spi: int
    protocol: int
    source: str
    if_id: int
    reqid: int
    encryption: int
    integrity: int
    key: bytes
    replay_window: int
    mode: int
    inbound: bool
    esn: bool
    encap: bool
    ports: tuple
    limits: tuple
    source_selectors: list
    destination_selectors: list
    session: int
    bytes: int = 0
    packets: int = 0
    last_use: int = 0

    def shown(self):
        result = dict(self.__dict__)
        result["spi"] = f"{self.spi:08x}"
        result["key"] = self.key.hex()
        return result


@dataclass
class Policy:
    direction: str
    if_id: int
    reqid: int
    priority: int
    spi: int
    source: str
    destination: str

    def shown(self):
        return dict(self.__dict__, spi=f"{self.spi:08x}")


def parse_add(body, session):
    (raw_id, source, if_id, reqid, encryption, integrity, key_length, integrity_length, key, _, replay, mode, inbound, esn,
     encap, source_port, destination_port, _, _, _) = ADD_HEAD.unpack_from(body)
    *limits, sources, destinations = ADD_TAIL.unpack_from(body, ADD_HEAD_PADDED)
    if key_length > 64 or integrity_length > 64 or sources > MAX_SELECTORS or destinations > MAX_SELECTORS:
        raise ValueError("a count in ADD exceeds its array")
    at = ADD_HEAD_PADDED + ADD_TAIL.size
    selectors = [body[at + i * SELECTOR.size : at + (i + 1) * SELECTOR.size] for i in range(2 * MAX_SELECTORS)]
    destination, spi, protocol = sa_id(raw_id)
    return Sa(destination, spi, protocol, address(source), if_id, reqid, encryption, integrity, key[:key_length], replay,
              mode, bool(inbound), bool(esn), bool(encap), (source_port, destination_port), tuple(limits),
              [selector(raw) for raw in selectors[:sources]],
              [selector(raw) for raw in selectors[MAX_SELECTORS : MAX_SELECTORS + destinations]], session)


def parse_policy(body):
    direction, if_id, reqid, priority, spi, source, destination = POLICY.unpack(body)
    return Policy(DIRECTIONS[direction], if_id, reqid, priority, spi, selector(source), selector(destination))


@dataclass
class FakeSaServer:
    """Serves one socket from a thread of its own; every public method may be called from any thread."""

    path: str
    instance: int = field(default_factory=lambda: secrets.randbits(63) | 1)

    def __post_init__(self):
        self.lock = threading.RLock()
        self.sas = {}
        self.policies = []
        self.sessions = []
        self.requests = []
        self.refusals = []
        self.trapped = None
        self.hang_until = 0.0
        self.connection = None
        self.stopping = False
        self.next_spi = 0xC0000000 + secrets.randbelow(0x01000000)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o660)
        self.listener.listen(4)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    # -- what a test asks and does

    def show(self):
        with self.lock:
            return {
                "instance": self.instance,
                "sessions": list(self.sessions),
                "sas": [sa.shown() for sa in self.sas.values()],
                "policies": [policy.shown() for policy in self.policies],
                "outbound": {str(if_id): f"{self.outbound(if_id):08x}" for if_id in self._tunnels()},
                "requests": list(self.requests),
            }

    def outbound(self, if_id):
        """SPI of the outbound SA of a tunnel: the newest policy of the best priority; 0 if none."""
        with self.lock:
            candidates = [(-p.priority, at, p.spi) for at, p in enumerate(self.policies)
                          if p.direction == "out" and p.if_id == if_id]
            return max(candidates)[2] if candidates else 0

    def expire(self, spi, hard):
        with self.lock:
            sa = self._by_spi(spi)
            body = EXPIRE_BODY.pack(SA_ID.pack(pack_address(sa.destination), sa.spi, sa.protocol), hard)
            self._send(EXPIRE, 0, body)

    def mapping(self, spi, peer, port):
        with self.lock:
            sa = self._by_spi(spi)
            raw = SA_ID.pack(pack_address(sa.destination), sa.spi, sa.protocol)
            self._send(MAPPING, 0, MAPPING_BODY.pack(raw, pack_address(peer), port))

    def refuse(self, count, status="NOT_SUPPORTED"):
        with self.lock:
            self.refusals = [STATUS[status]] * count

    def trap(self, kind, before, action):
        """What happens to a request of the kind, after `before` more of them: "drop" (the connection ends without an answer),
        "lose" (it is carried out before that), "refuse", or "restart" (the process begins anew when it has answered)."""
        with self.lock:
            self.trapped = [kind, before, action]

    def _springs(self, kind):
        """What is to be done with a request of the kind: nothing special, as a rule."""
        if not self.trapped or self.trapped[0] != kind:
            return None
        self.trapped[1] -= 1
        if self.trapped[1] >= 0:
            return None
        action, self.trapped = self.trapped[2], None
        return action

    def hang(self, seconds):
        with self.lock:
            self.hang_until = time.monotonic() + seconds

    def restart(self):
        with self.lock:
            self.instance = secrets.randbits(63) | 1
            self.sas.clear()
            self.policies.clear()
            self._drop()

    def reconnect(self):
        with self.lock:
            self._drop()

    def close(self):
        self.stopping = True
        with self.lock:
            self._drop()
        self.thread.join(5)
        self.listener.close()

    # -- the protocol

    def _tunnels(self):
        return sorted({policy.if_id for policy in self.policies})

    def _by_spi(self, spi):
        for sa in self.sas.values():
            if sa.spi == spi:
                return sa
        raise KeyError(f"no SA has SPI {spi:08x}")

    def _drop(self):
        if self.connection:
            self.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        while not self.stopping:
            wanted = [self.listener] + ([self.connection] if self.connection else [])
            for ready in select.select(wanted, [], [], 0.05)[0]:
                if ready is self.listener:
                    accepted = self.listener.accept()[0]
                    with self.lock:
                        if self.connection:
                            self.connection.close()  # a new connection replaces the old one
                        self.connection = accepted
                elif time.monotonic() >= self.hang_until:
                    self._read()

    def _read(self):
        try:
            message = self.connection.recv(MAX_MESSAGE)
        except OSError:
            message = b""
        with self.lock:
            if not message:
                self.connection.close()
                self.connection = None
                return
            magic, version, kind, length, sequence = HEADER.unpack_from(message)
            if (magic, version, length) != (MAGIC, VERSION, len(message)):
                raise ValueError(f"bad header {message[:16].hex()}")
            body = message[HEADER.size :]
            self.requests.append(NAMES.get(kind, str(kind)))
            if kind == QUERY:
                sa = self.sas.get(sa_id(body))
                usage = (STATUS["OK"], sa.bytes, sa.packets, sa.last_use) if sa else (STATUS["NOT_FOUND"], 0, 0, 0)
                self._send(USAGE, sequence, USAGE_BODY.pack(*usage))
                return
            action = self._springs(kind)
            if action in ("drop", "lose"):
                if action == "lose":
                    self._answer(kind, body)
                self._drop()
                return
            status, value = (STATUS["INVALID"], 0) if action == "refuse" else self._answer(kind, body)
            self._send(REPLY, sequence, REPLY_BODY.pack(status, value))
            if action == "restart":
                self.restart()

    def _answer(self, kind, body):
        ok = STATUS["OK"]
        if kind == HELLO:
            session, software = HELLO_BODY.unpack(body)
            self.sessions.append({"session": session, "software": software.rstrip(b"\0").decode()})
            return ok, self.instance
        if kind == ALLOC_SPI:
            self.next_spi += 1
            return ok, self.next_spi
        if kind == ADD:
            if len(body) != ADD_SIZE:
                raise ValueError(f"ADD has {len(body)} bytes, not {ADD_SIZE}")
            if self.refusals:
                return self.refusals.pop(), 0
            sa = parse_add(body, self.sessions[-1]["session"])
            known = self.sas.get((sa.destination, sa.spi, sa.protocol))
            if known and known.key != sa.key:
                return STATUS["EXISTS"], 0
            self.sas[(sa.destination, sa.spi, sa.protocol)] = sa
            return ok, 0
        if kind == UPDATE:
            raw, new_source, new_destination, source_port, destination_port, encap = UPDATE_BODY.unpack(body)
            sa = self.sas.pop(sa_id(raw), None)
            if not sa:
                return STATUS["NOT_FOUND"], 0
            sa.source, sa.destination = address(new_source), address(new_destination)
            sa.ports, sa.encap = (source_port, destination_port), bool(encap)
            self.sas[(sa.destination, sa.spi, sa.protocol)] = sa
            return ok, 0
        if kind == DELETE:
            self.sas.pop(sa_id(body), None)
            return ok, 0
        if kind in (ADD_POLICY, DELETE_POLICY):
            policy = parse_policy(body)
            if policy in self.policies:
                if kind == DELETE_POLICY:
                    self.policies.remove(policy)
            elif kind == ADD_POLICY:
                self.policies.append(policy)
            return ok, 0
        return STATUS["INVALID"], 0

    def _send(self, kind, sequence, body):
        if self.connection:
            # The plugin may have closed its end already: then it comes back with a new connection.
            with contextlib.suppress(OSError):
                self.connection.send(HEADER.pack(MAGIC, VERSION, kind, HEADER.size + len(body), sequence) + body)


def main():
    server = FakeSaServer(sys.argv[1])
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        command, arguments = words[0], words[1:]
        result = {"done": command}
        if command == "show":
            result = server.show()
        elif command == "expire":
            server.expire(int(arguments[0], 16), arguments[1] == "hard")
        elif command == "mapping":
            server.mapping(int(arguments[0], 16), arguments[1], int(arguments[2]))
        elif command == "refuse":
            server.refuse(int(arguments[0]), *arguments[1:])
        elif command == "hang":
            server.hang(float(arguments[0]))
        elif command in ("restart", "reconnect"):
            getattr(server, command)()
        elif command == "quit":
            break
        else:
            result = {"error": f"unknown command {command}"}
        print(json.dumps(result), flush=True)
    server.close()


if __name__ == "__main__":
    main()
