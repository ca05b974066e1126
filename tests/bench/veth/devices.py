# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices under test of the veth benchmark: each is set up in its own namespace and tells what must come out."""
import dataclasses
import json
import os
import pathlib

import frames
from topology import DEVICE_CPU, Trouble, run


class Discard:
    """XDP_DROP: what the generator itself costs. Subtracted from all others."""

    name, title = "discard", "generator + XDP_DROP"
    entrance, network = "vxlan", frames.VPC_NET
    counted = in_softirq = False

    def __init__(self, topology, programs):
        self.namespace = topology.add_device(self.name)
        self.process = topology.start(self.namespace, programs["bench-generator"], "discard", "--on", "u0")
        self.process.wait_for_line("ready", 10)


@dataclasses.dataclass(frozen=True)
class Way:
    """Where packets enter and leave, and what must come out."""
    entrance: str     # see frames.make_flows
    network: str      # of the destinations of what enters
    destination: str  # in the first IPv4 header of what leaves
    check: object     # of frames.Answers


VXLAN_TO_VXLAN = Way("vxlan", frames.VPC_NET, frames.OUTER_OUT[1], frames.Answers.check_vxlan)
VXLAN_TO_VLAN = Way("vxlan", frames.LINE_OUT_NET, frames.LINE_OUT_NET, frames.Answers.check_tagged)
VLAN_TO_VXLAN = Way("tagged", frames.VPC_NET, frames.OUTER_OUT[1], frames.Answers.check_vxlan)
VXLAN_TO_PLAIN = Way("vxlan", frames.LINE_OUT_NET, frames.LINE_OUT_NET, frames.Answers.check_untagged)
PLAIN_TO_VXLAN = Way("plain", frames.VPC_NET, frames.OUTER_OUT[1], frames.Answers.check_vxlan)


class L2fwd:
    name, title = "l2fwd", "bare AF_XDP l2fwd"
    protocol = 17
    entrance, network, destination = "vxlan", frames.VPC_NET, frames.OUTER_IN[1]
    counted, in_softirq = True, False

    def __init__(self, topology, programs):
        self.namespace = topology.add_device(self.name)
        self.process = topology.start(self.namespace, programs["bench-l2fwd"], "--in", "u0", "--out", "u1",
                                      "--source-mac", frames.MAC_U1, "--destination-mac", frames.MAC_G1)
        self.process.wait_for_line("ready", 10)

    def check(self, answers, frame):
        answers.check_same(frame)


class Testpmd:
    """DPDK's forwarding program on the same veths. It asks for packets without a pause, so it is stopped while others are
    measured."""

    PROGRAM = "dpdk-testpmd"
    protocol = 17
    entrance, network, destination = "vxlan", frames.VPC_NET, frames.OUTER_IN[1]
    counted, in_softirq = True, False
    # What Debian's DPDK has for an interface of the kernel's, the faster one first.
    DRIVERS = {"net_af_xdp": "net_af_xdp{0},iface=u{0},busy_budget=0", "net_af_packet": "net_af_packet{0},iface=u{0}"}

    def __init__(self, topology, version):
        troubles = []
        for driver, devices in self.DRIVERS.items():
            self.name = "dpdk" + str(len(troubles))
            self.title = f"DPDK {version} testpmd mac, {driver}"
            self.namespace = topology.add_device(self.name)
            # Both of EAL's threads on the device's CPU: one forwards, the other one waits for the end of its input. Its words go to the
            # log, line by line.
            command = ["sh", "-c", 'exec "$@" >&2', "sh", "stdbuf", "-oL", self.PROGRAM, "--lcores", f"0@{DEVICE_CPU},1@{DEVICE_CPU}",
                       "--no-huge", "-m", "256", "--no-shconf", "--no-pci", "--no-telemetry",
                       *(f"--vdev={devices.format(number)}" for number in (0, 1)),
                       "--", "--forward-mode=mac", f"--eth-peer=1,{frames.MAC_G1}", "--auto-start", "--nb-cores=1",
                       "--burst=64", "--rxd=2048", "--txd=2048", "--total-num-mbufs=16384"]
            self.process = topology.start(self.namespace, *command)
            self.options = " ".join(command[command.index("--no-huge"):])
            try:
                topology.wait_for(lambda: "Press enter to exit" in self.process.log_text(), 15, "forwarding", self.process)
                self.process.pause()
                return
            except Trouble as trouble:
                troubles.append(f"{driver}: {trouble}")
                self.process.stop()
        raise Trouble("; ".join(troubles))

    def check(self, answers, frame):
        answers.check_same(frame)


class Path:
    """One of the ways through a device."""

    counted = True
    protocol = 17

    def __init__(self, device, title, way, in_softirq):
        self.device, self.title, self.in_softirq = device, title, in_softirq
        self.name, self.namespace, self.process = device.name, device.namespace, device.process
        self.way, self.entrance, self.network, self.destination = way, way.entrance, way.network, way.destination

    def check(self, answers, frame):
        self.way.check(answers, frame)


class Kernel:
    """Two stock VXLAN devices and routes: between them, and to plain networks on both sides."""

    name, process = "kernel", None

    def __init__(self, topology):
        self.namespace = space = topology.add_device(self.name)
        topology.inside(space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for device, vni, local, lower, mac, address in (
                ("vx100", frames.VNI_IN, frames.OUTER_IN[1], "u0", frames.GATEWAY_MAC_IN, "10.1.255.254/16"),
                ("vx200", frames.VNI_OUT, frames.OUTER_OUT[0], "u1", frames.GATEWAY_MAC_OUT, "10.2.255.254/16")):
            run("ip", "-n", space, "link", "add", device, "address", mac, "type", "vxlan", "id", str(vni), "local", local,
                "dev", lower, "dstport", str(frames.VXLAN_PORT), "nolearning")
            run("ip", "-n", space, "addr", "add", address, "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        run("ip", "-n", space, "route", "add", frames.LINE_IN_NET, "via", frames.OUTER_IN[0], "dev", "u0")
        run("ip", "-n", space, "route", "add", frames.LINE_OUT_NET, "via", frames.OUTER_OUT[1], "dev", "u1")
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

    def paths(self):
        """Beside the VLANs is a route without them: not every kernel has VLAN devices, and it pushes and pops no tag."""
        return [Path(self, "kernel vxlan + route", VXLAN_TO_VXLAN, True),
                Path(self, "kernel vxlan + route, no tag", VXLAN_TO_PLAIN, True),
                Path(self, "kernel route + vxlan, no tag", PLAIN_TO_VXLAN, True)]


class Forwarder:
    """simplon-forwarder with two VPCs, two circuits and a tunnel in one domain, programmed over its own sockets."""

    DOMAIN, TUNNEL, SPI = 1, 7, 0xc0000001

    def __init__(self, topology, programs, name, options):
        self.name = name
        self.namespace = topology.add_device(name)
        self.domain = topology.add_namespace(f"{name}-d")
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
            f"circuit 1 line-in {d} u0 {frames.VLAN_IN}",
            f"circuit 2 line-out {d} u1 {frames.VLAN_OUT}",
            f"circuit-port 2 line-out {self.domain} {frames.LINE_OUT[0]} 30",
            f"route {d} {frames.LINE_OUT_NET} circuit 2 {frames.LINE_OUT[1]}",
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
        run("ip", "-n", self.domain, "neigh", "replace", frames.LINE_OUT[1], "lladdr", frames.MAC_G1, "dev", "line-out", "nud",
            "permanent")

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

    def paths(self, in_xdp):
        """In the softirq that receives, as the kernel's, or through the worker."""
        where = "XDP tier" if in_xdp else "worker"
        return [Path(self, f"simplon {name}, {where}", way, in_xdp)
                for name, way in (("VXLAN -> VXLAN", VXLAN_TO_VXLAN), ("VXLAN -> VLAN", VXLAN_TO_VLAN),
                                  ("VLAN -> VXLAN", VLAN_TO_VXLAN))]

    def learn(self, title, generate):
        """Sends bursts until one is forwarded in XDP to the last packet. That needs a far veth with a NAPI, which a worker
        beside it would pay for: the forwarder is another than the worker's."""
        self.topology.inside(self.topology.generator, "ethtool", "-K", f"{self.name}-out", "gro", "on")
        for _ in range(50):
            before = self.forwarded_in_xdp()
            sent = generate()["sent"]
            if self.forwarded_in_xdp() - before == sent:
                return
        raise Trouble(f"{title}: its flows are not learned: {self.stats()['uplinks']}")


class EspPath(Path):
    protocol = 50

    def __init__(self, forwarder):
        way = Way("vxlan", frames.SITE_NET, frames.OUTER_OUT[1], None)
        super().__init__(forwarder, "simplon VXLAN -> ESP", way, False)

    def check(self, answers, frame):
        answers.check_esp(frame, Forwarder.SPI, self.device.key, self.device.salt)
