# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices under test of the veth benchmark: each is set up in its own namespace and tells what must come out."""
import json
import os
import pathlib

import frames
from topology import Trouble, run


class Discard:
    """XDP_DROP: what the generator itself costs. Subtracted from all others."""

    name, title, protocol, destination = "discard", "generator + XDP_DROP", None, None
    counted = in_softirq = False

    def __init__(self, topology, programs):
        self.namespace = topology.add_device(self.name)
        self.process = topology.start(self.namespace, programs["bench-generator"], "discard", "--on", "u0")
        self.process.wait_for_line("ready", 10)

    def configure(self, flows):
        pass


class L2fwd:
    in_softirq = False
    name, title = "l2fwd", "bare AF_XDP l2fwd"
    protocol, destination, network = 17, frames.OUTER_IN[1], frames.VPC_NET
    counted = True

    def __init__(self, topology, programs):
        self.namespace = topology.add_device(self.name)
        self.process = topology.start(self.namespace, programs["bench-l2fwd"], "--in", "u0", "--out", "u1",
                                      "--source-mac", frames.MAC_U1, "--destination-mac", frames.MAC_G1)
        self.process.wait_for_line("ready", 10)

    def configure(self, flows):
        pass

    def check(self, answers, frame):
        answers.check_same(frame)


class KernelVxlan:
    """Two stock VXLAN devices and a route between them."""

    in_softirq = True

    name, title = "kernel", "kernel vxlan + route"
    protocol, destination, network = 17, frames.OUTER_OUT[1], frames.VPC_NET
    counted = True
    process = None

    def __init__(self, topology, programs):
        self.namespace = space = topology.add_device(self.name)
        topology.inside(space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for device, vni, local, lower, mac, address in (
                ("vx100", frames.VNI_IN, frames.OUTER_IN[1], "u0", frames.GATEWAY_MAC_IN, "10.1.255.254/16"),
                ("vx200", frames.VNI_OUT, frames.OUTER_OUT[0], "u1", frames.GATEWAY_MAC_OUT, "10.2.255.254/16")):
            run("ip", "-n", space, "link", "add", device, "address", mac, "type", "vxlan", "id", str(vni), "local", local,
                "dev", lower, "dstport", str(frames.VXLAN_PORT), "nolearning")
            run("ip", "-n", space, "addr", "add", address, "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        # Redirecting frames into a veth needs a NAPI at its far end; without an XDP program GRO brings one.
        topology.inside(space, "ethtool", "-K", "u0", "gro", "on")

    def configure(self, flows):
        neighbors, forwarding = [], []
        for flow in flows:
            mac = frames.endpoint_mac(flow.number)
            neighbors.append(f"neigh replace {flow.destination} lladdr {mac} dev vx200 nud permanent")
            forwarding.append(f"fdb replace {mac} dev vx200 dst {frames.OUTER_OUT[1]} self static")
        run("ip", "-n", self.namespace, "-batch", "-", text="\n".join(neighbors) + "\n")
        run("bridge", "-n", self.namespace, "-batch", "-", text="\n".join(forwarding) + "\n")

    def check(self, answers, frame):
        answers.check_vxlan(frame)


class Forwarder:
    """simplon-forwarder with two VPCs and a tunnel in one domain, programmed over its own sockets."""

    DOMAIN, TUNNEL, SPI = 1, 7, 0xc0000001

    def __init__(self, topology, programs, name, options):
        self.namespace = topology.add_device(name)
        self.programmer = programs["bench-programmer"]
        self.run_dir = topology.path(f"run-{name}")
        os.makedirs(self.run_dir, mode=0o700)
        self.key, self.salt = os.urandom(32), os.urandom(4)
        self.process = topology.start(self.namespace, programs["simplon-forwarder"], "--run-dir", self.run_dir,
                                      "--log-level", "warn", *options)
        sockets = [pathlib.Path(self.run_dir, name) for name in ("forwarder.sock", "sa.sock")]
        topology.wait_for(lambda: all(path.exists() for path in sockets), 15, "listening on both sockets", self.process)
        self.topology = topology

    def configure(self, flows):
        d, t = self.DOMAIN, self.TUNNEL
        lines = [
            f"domain {d} bench", "uplink u0", "uplink u1",
            f"vpc {frames.VNI_IN} red {d} {frames.OUTER_IN[1]} {frames.VXLAN_PORT} {frames.GATEWAY_MAC_IN} 1450"
            f" {frames.SOURCE_NET} {frames.OUTER_IN[0]}",
            f"vpc {frames.VNI_OUT} blue {d} {frames.OUTER_OUT[0]} {frames.VXLAN_PORT} {frames.GATEWAY_MAC_OUT} 1450"
            f" {frames.VPC_NET} {frames.OUTER_OUT[1]}",
            f"tunnel {t} site {d} {frames.OUTER_OUT[0]} 0",
            f"route {d} {frames.SOURCE_NET} vpc {frames.VNI_IN}",
            f"route {d} {frames.VPC_NET} vpc {frames.VNI_OUT}",
            f"route {d} {frames.SITE_NET} tunnel {t}",
        ]
        for flow in flows:
            source = frames.host(frames.SOURCE_NET, 10 + flow.number)
            destination = frames.host(frames.VPC_NET, 10 + flow.number)
            mac = frames.endpoint_mac(flow.number)
            lines.append(f"endpoint {frames.VNI_IN} {source} {mac} {frames.OUTER_IN[0]}")
            lines.append(f"endpoint {frames.VNI_OUT} {destination} {mac} {frames.OUTER_OUT[1]}")
        # The key goes through stdin: not for argv, where everybody can read it.
        lines.append(f"outbound-sa {t} {self.SPI} {frames.OUTER_OUT[0]} {frames.OUTER_OUT[1]} {(self.key + self.salt).hex()}")
        self.topology.inside(self.namespace, self.programmer, "program", self.run_dir, text="\n".join(lines) + "\n")

    def stats(self):
        return json.loads(self.topology.inside(self.namespace, self.programmer, "stats", self.run_dir))

    def wait_until_up(self):
        def up():
            links = {link["interface"]: link for link in self.stats()["uplinks"]}
            broken = [link["error"] for link in links.values() if link["error"]]
            if broken:
                raise Trouble(f"the forwarder does not take an uplink: {broken[0]}")
            return all(links.get(name, {}).get("up") for name in ("u0", "u1"))
        self.topology.wait_for(up, 10, "u0 and u1 up in the forwarder", self.process)

    def forwarded_in_xdp(self):
        return sum(link["xdp_packets"] for link in self.stats()["uplinks"])

    def accounting_error(self):
        a = self.stats()["accounting"]
        return a["received"] + a["originated"] - a["sent"] - a["punted"] - a["dropped"]


class SimplonPath:
    """One path through the one forwarder process."""

    counted = True
    in_softirq = False

    def __init__(self, forwarder):
        self.forwarder = forwarder
        self.namespace, self.process = forwarder.namespace, forwarder.process

    def configure(self, flows):
        pass  # the forwarder has both paths' tables


class SimplonVxlan(SimplonPath):
    """The worker alone."""

    name, title = "simplon", "simplon VXLAN -> VXLAN, worker"
    protocol, destination, network = 17, frames.OUTER_OUT[1], frames.VPC_NET

    def check(self, answers, frame):
        answers.check_vxlan(frame)


class SimplonXdp(SimplonVxlan):
    """The XDP program of the uplink, in the softirq that receives, as the kernel's path; another forwarder than the
    worker's, so that the far veth with the NAPI that redirection needs is not theirs."""

    name, title = "xdp", "simplon VXLAN -> VXLAN, XDP tier"
    in_softirq = True

    def __init__(self, forwarder, topology):
        super().__init__(forwarder)
        topology.inside(topology.generator, "ethtool", "-K", "xdp-out", "gro", "on")

    def learned(self, generate):
        """Sends bursts until one is forwarded in XDP to the last packet."""
        for _ in range(50):
            before = self.forwarder.forwarded_in_xdp()
            sent = generate()["sent"]
            if self.forwarder.forwarded_in_xdp() - before == sent:
                return
        raise Trouble(f"{self.title}: its flows are not learned: {self.forwarder.stats()['uplinks']}")


class SimplonEsp(SimplonPath):
    name, title = "simplon", "simplon VXLAN -> ESP"
    protocol, destination, network = 50, frames.OUTER_OUT[1], frames.SITE_NET

    def check(self, answers, frame):
        answers.check_esp(frame, Forwarder.SPI, self.forwarder.key, self.forwarder.salt)
