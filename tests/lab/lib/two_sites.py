# SPDX-License-Identifier: GPL-2.0-or-later
"""The topology of the demo and of most labs.

    a-host -- a-rtr (stock charon + kernel-libipsec, BIRD) ==+
    10.1.0.10   198.51.100.2                                 |  wan       gw (Simplon)      fabric -- c1, c2
                                                             +== router == 203.0.113.1      bridge    kernel VXLAN
    b-host -- b-gw (a second Simplon gateway) ===============+             10.255.0.1                 10.255.0.11, .12
    10.2.0.10   192.0.2.1

    VPC red  (VNI 100, domain red):  10.20.0.0/24, VMs red1 on c1, red2 on c2        announced to site-a
    VPC blue (VNI 200, domain blue): 10.20.0.0/24, VMs blue1 on c1, blue2 on c2      announced to site-b
    VPC lan  (VNI 700, at b-gw):     10.2.0.0/24, b-host is on the overlay itself
"""
import contextlib

from . import bird, capture, charon, traffic, vxlan_host
from .expect import expect
from .gateway import Gateway
from .vxlan_host import ComputeHost, VxlanEndpoint

A_WAN, B_WAN, GW_WAN = "198.51.100.2", "192.0.2.1", "203.0.113.1"
GW_VTEP, B_VTEP = "10.255.0.1", "10.254.0.1"
C_UNDERLAY = {"c1": "10.255.0.11", "c2": "10.255.0.12"}
B_HOST_UNDERLAY = "10.254.0.10"
A_HOST, B_HOST = "10.1.0.10", "10.2.0.10"
RED, BLUE, LAN = 100, 200, 700
VM = {"red1": "10.20.0.11", "red2": "10.20.0.12", "blue1": "10.20.0.11", "blue2": "10.20.0.12"}
VM_HOST = {"red1": "c1", "red2": "c2", "blue1": "c1", "blue2": "c2"}
VM_VNI = {"red1": RED, "red2": RED, "blue1": BLUE, "blue2": BLUE}
A_INSIDE, GW_INSIDE_A = "169.254.10.2", "169.254.10.1"
B_INSIDE, GW_INSIDE_B = "169.254.20.2", "169.254.20.1"
PSK_A, PSK_B = "pre-shared-key-of-site-a-0001", "pre-shared-key-of-site-b-0002"
BGP_PASSWORD = "bgp-site-a"


class TwoSites:
    """Underlay, hosts and VMs; the routers and gateways are started by the caller, in the order of the lab."""

    def __init__(self, lab, vms=("red1", "red2", "blue1", "blue2"), site_b=True, mtu=1500, queues=1):
        """`queues`: of the uplinks of the gateway in the middle."""
        self.lab = lab
        self.wan = lab.namespace("wan", forwarding=True)
        self.gw = lab.namespace("gw")
        self.fabric = lab.namespace("fabric")
        self._port(self.gw, "wan0", GW_WAN, self.wan, "to-gw", "203.0.113.254", 24, mtu, queues=queues)
        self.fabric.ip("link add br0 type bridge mcast_snooping 0")
        self.fabric.ip(f"link set br0 mtu {mtu} up")
        lab.veth(self.gw, "fab0", self.fabric, "to-gw", mtu=mtu, queues=queues)
        self.fabric.ip("link set to-gw master br0")
        self.gw.ip(f"addr add {GW_VTEP}/24 dev fab0")

        self.a_rtr = lab.namespace("a-rtr", forwarding=True)
        self.a_host = lab.namespace("a-host")
        self._port(self.a_rtr, "wan0", A_WAN, self.wan, "to-a", "198.51.100.254", 24, mtu, default=False)
        # Only the gateway is reachable over the wan: with a default route, packets for the VPC would leave in
        # clear whenever BGP withdraws.
        self.a_rtr.ip("route add 203.0.113.0/24 via 198.51.100.254")
        lab.veth(self.a_host, "eth0", self.a_rtr, "lan", mtu=mtu)
        self.a_host.ip(f"addr add {A_HOST}/24 dev eth0")
        self.a_rtr.ip("addr add 10.1.0.1/24 dev lan")
        self.a_host.ip("route add default via 10.1.0.1")

        if site_b:
            self.b_gw = lab.namespace("b-gw")
            self.b_host = lab.namespace("b-host")
            self._port(self.b_gw, "wan0", B_WAN, self.wan, "to-b", "192.0.2.254", 24, mtu)
            lab.veth(self.b_gw, "lan0", self.b_host, "eth0", mtu=mtu)
            self.b_gw.ip(f"addr add {B_VTEP}/24 dev lan0")
            self.b_host.ip(f"addr add {B_HOST_UNDERLAY}/24 dev eth0")
            VxlanEndpoint(self.b_host, LAN, f"{B_HOST}/24", "10.2.0.1", B_HOST_UNDERLAY, B_VTEP, mtu=mtu - 50)

        self.compute, self.vm = {}, {}
        for name, underlay in C_UNDERLAY.items():
            wanted = [vm for vm in vms if VM_HOST[vm] == name]
            if not wanted:
                continue
            space = lab.namespace(name)
            lab.veth(space, "eth0", self.fabric, f"to-{name}", mtu=mtu)
            self.fabric.ip(f"link set to-{name} master br0")
            space.ip(f"addr add {underlay}/24 dev eth0")
            host = self.compute[name] = ComputeHost(space, underlay)
            for vni in sorted({VM_VNI[vm] for vm in wanted}):
                host.vpc(vni, "10.20.0.1", GW_VTEP, mtu=mtu - 50)
            for vm in wanted:
                self.vm[vm] = host.vm(vm, VM_VNI[vm], f"{VM[vm]}/24", "10.20.0.1", mtu=mtu - 50)

    def _port(self, space, device, address, wan, wan_port, wan_address, length, mtu, default=True, queues=1):
        self.lab.veth(space, device, wan, wan_port, mtu=mtu, queues=queues)
        space.ip(f"addr add {address}/{length} dev {device}")
        wan.ip(f"addr add {wan_address}/{length} dev {wan_port}")
        if default:
            space.ip(f"route add default via {wan_address}")

    def start_router_a(self, **connection):
        """Site-a's router: stock charon on kernel-libipsec, the TUN's inside address, and BIRD. It waits to be called."""
        settings = {"local": A_WAN, "remote": GW_WAN, "local_id": "site-a", "remote_id": "gw", "psk": PSK_A,
                    "start": "none"}
        self.a_charon = charon.stock(self.a_rtr, **{**settings, **connection})
        charon.inside_address(self.a_rtr, f"{A_INSIDE}/30")
        self.start_bird_a()

    def start_bird_a(self):
        self.a_bird = bird.Bird(self.a_rtr, router_id="10.255.1.1", lan="lan", local=A_INSIDE, asn=65001,
                                neighbor=GW_INSIDE_A, neighbor_asn=65515, password=BGP_PASSWORD)

    # The gateways

    def gateway(self):
        """The gateway in the middle; not started, nothing applied."""
        self.simplon = Gateway(self.gw)
        return self.simplon

    def gateway_b(self):
        self.simplon_b = Gateway(self.b_gw)
        return self.simplon_b

    def gateway_document(self, site_a=True, site_b=True):
        """The whole configuration of the gateway in the middle."""
        box = self.simplon
        domains, vpcs, tunnels = [], [], []
        if site_a:
            domains.append(domain("red", 65515, "10.0.0.1", neighbor(
                "site-a", A_INSIDE, 65001, ["10.1.0.0/16 le 24"], ["10.20.0.0/24"],
                box.secret("bgp-a.password", BGP_PASSWORD))))
            vpcs.append(vpc("red", "red", RED, self._endpoints("red")))
            tunnels.append(tunnel("site-a", "red", GW_WAN, A_WAN, "gw", "site-a", box.secret("a.psk", PSK_A),
                                  f"{GW_INSIDE_A}/30"))
        if site_b:
            domains.append(domain("blue", 65515, "10.0.0.2", neighbor(
                "site-b", B_INSIDE, 65002, ["10.2.0.0/16 le 24"], ["10.20.0.0/24"])))
            vpcs.append(vpc("blue", "blue", BLUE, self._endpoints("blue")))
            tunnels.append(tunnel("site-b", "blue", GW_WAN, B_WAN, "gw", "site-b", box.secret("b.psk", PSK_B),
                                  f"{GW_INSIDE_B}/30"))
        return {"gateway": {"name": "gw", "vtep": GW_VTEP},
                "uplinks": [{"interface": "wan0"}, {"interface": "fab0"}],
                "domains": domains, "vpcs": vpcs, "tunnels": tunnels}

    def gateway_b_document(self):
        """The configuration of site-b's router."""
        lan = vpc("lan", "site", LAN, [endpoint(B_HOST, LAN, B_HOST_UNDERLAY)], "10.2.0.0/24", "10.2.0.1/24")
        return {"gateway": {"name": "b-gw", "vtep": B_VTEP},
                "uplinks": [{"interface": "wan0"}, {"interface": "lan0"}],
                "domains": [domain("site", 65002, "10.255.2.1", neighbor(
                    "gw", GW_INSIDE_B, 65515, ["10.20.0.0/16 le 24"], ["10.2.0.0/24"]))],
                "vpcs": [lan],
                "tunnels": [tunnel("gw", "site", B_WAN, GW_WAN, "site-b", "gw",
                                   self.simplon_b.secret("gw.psk", PSK_B), f"{B_INSIDE}/30", initiate=False)]}

    def _endpoints(self, color):
        return [endpoint(VM[vm], VM_VNI[vm], C_UNDERLAY[VM_HOST[vm]]) for vm in self.vm if vm.startswith(color)]

    def start_all(self, site_b=True):
        """Gateways, routers, configuration: everything up, routes learned at both ends. The gateway in the middle calls."""
        self.start_router_a()
        if site_b:
            self.gateway_b().start().apply(self.gateway_b_document())
        self.gateway().start().apply(self.gateway_document(site_b=site_b))
        self.wait_all(site_b)

    def wait_all(self, site_b=True):
        box = self.simplon
        box.wait_tunnel("site-a")
        if site_b:
            box.wait_tunnel("site-b")
            self.simplon_b.wait_tunnel("gw")
        box.wait_bgp("site-a")
        box.wait_route("red", "10.1.0.0/24")
        expect(lambda: self.a_bird.learned() == ["10.20.0.0/24"], 20, "site-a learned the prefix of VPC red")
        if site_b:
            box.wait_bgp("site-b")
            box.wait_route("blue", "10.2.0.0/24")
            self.simplon_b.wait_route("site", "10.20.0.0/24")

    def gateways(self):
        return [box for box in (getattr(self, "simplon", None), getattr(self, "simplon_b", None)) if box]

    def assert_healthy(self):
        for box in self.gateways():
            box.assert_healthy()
            box.assert_accounted()

    @contextlib.contextmanager
    def numbered_traffic(self, before=200, after=0):
        """Streams of numbered packets both ways at both sites: site-a's first, the one to the VM first. At least `before`
        packets of each have arrived when the block begins, `after` more when it has ended."""
        red, blue = self.vm["red1"], self.vm["blue1"]
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(traffic.stream(*ends)) for ends in (
                (self.a_host, red, VM["red1"]), (red, self.a_host, A_HOST),
                (self.b_host, blue, VM["blue1"]), (blue, self.b_host, B_HOST))]
            for stream in streams:
                traffic.carried(stream, before)
            yield streams
            if after:
                for stream in streams:
                    traffic.carried(stream, after)

    @contextlib.contextmanager
    def numbered_traffic_arrives(self, judged=slice(None), after=0):
        """The same; none of the packets of the `judged` streams is lost or comes twice, no ESP packet was sent twice."""
        wires = [capture.Capture(self.wan, port, filter="esp or udp port 4500") for port in ("to-a", "to-b")]
        with self.numbered_traffic(after=after) as streams:
            yield streams
        for wire in wires:
            wire.stop()
        for stream in streams[judged]:
            assert stream.result.lost == 0 and stream.result.report["repeated"] == 0, str(stream.result)
        for wire in wires:
            capture.assert_never_repeated(wire)


# Parts of a configuration document

def endpoint(address, vni, vtep):
    return {"address": address, "mac": vxlan_host.mac(vni, address), "vtep": vtep}


def vpc(name, in_domain, vni, endpoints, prefix="10.20.0.0/24", gateway="10.20.0.1/24"):
    return {"name": name, "domain": in_domain, "vni": vni, "prefixes": [prefix], "gateway": [gateway],
            "endpoints": endpoints}


def neighbor(name, address, asn, accept, announce, password_file=None):
    return {"name": name, "address": address, "asn": asn, "import": accept, "export": announce,
            **({"password-file": password_file} if password_file else {})}


def domain(name, asn, router_id, *neighbors):
    return {"name": name, "bgp": {"asn": asn, "router-id": router_id, "neighbors": list(neighbors)}}


def tunnel(name, in_domain, local, remote, local_id, remote_id, psk_file, inside, **more):
    return {"name": name, "domain": in_domain, "local": local, "remote": remote, "local-id": local_id,
            "remote-id": remote_id, "psk-file": psk_file, "inside": [inside], "dpd-delay": "5s", **more}
