# SPDX-License-Identifier: GPL-2.0-or-later
"""Compute hosts: a namespace with the kernel's own VXLAN devices and bridges, and VMs (namespaces) behind them."""
import ipaddress

# RFC 7348 section 5 asks receivers to take VXLAN with a UDP checksum of zero; over IPv6 the kernel must be told.
UDP6_ZERO = {False: "", True: " udp6zerocsumrx"}


def mac(vni, address):
    """A VM's MAC address, made of VNI and IP address so that captures can be read by eye."""
    last = int(ipaddress.ip_address(address)) & 0xff
    return f"02:00:00:{vni >> 8 & 0xff:02x}:{vni & 0xff:02x}:{last:02x}"


def gateway_mac(vni):
    """Simplon's default gateway MAC of a VPC."""
    return f"02:53:4c:{vni >> 16 & 0xff:02x}:{vni >> 8 & 0xff:02x}:{vni & 0xff:02x}"


class ComputeHost:
    """`space` has its underlay address already. One bridge and one VXLAN device per VPC; no IP on the bridges, so the same
    addresses may be used in each."""

    def __init__(self, space, underlay):
        self.space = space
        self.underlay = underlay
        self.vms = {}

    def vpc(self, vni, gateway, vtep, mtu=1450, port=4789):
        """Joins a VPC: the host's bridge answers ARP and ND for the gateway; frames to its MAC go to the gateway's VTEP.
        There is no flooding entry: broadcast goes nowhere."""
        space, bridge, device, lladdr = self.space, f"br{vni}", f"vx{vni}", gateway_mac(vni)
        # A bridge without an address of its own takes the lowest of its ports' and forgets its neighbors when that changes.
        space.ip(f"link add {bridge} address {mac(vni, '0.0.0.254')} type bridge mcast_snooping 0")
        space.sysctl(**{f"net__ipv6__conf__{bridge}__disable_ipv6": 1})
        space.ip(f"link add {device} type vxlan id {vni} local {self.underlay} dstport {port} nolearning"
                 + UDP6_ZERO[":" in self.underlay])
        space.ip(f"link set {device} mtu {mtu} master {bridge}")
        space.ip(f"link set {device} up")
        space.ip(f"link set {bridge} mtu {mtu} up")
        space.run("bridge", "link", "set", "dev", device, "learning", "off")
        space.run("bridge", "link", "set", "dev", device, "neigh_suppress", "on")
        space.run("bridge", "fdb", "replace", lladdr, "dev", device, "dst", vtep, "self", "permanent")
        space.run("bridge", "fdb", "replace", lladdr, "dev", device, "master", "static")
        for address in gateway if isinstance(gateway, list) else [gateway]:
            if ":" in address:
                space.sysctl(**{f"net__ipv6__conf__{bridge}__disable_ipv6": 0})
            space.ip(f"neigh replace {address} lladdr {lladdr} dev {bridge} nud permanent")

    def learning_vpc(self, vni, vtep, mtu=1450, port=4789):
        """Joins a VPC knowing nothing of its gateway: what is for many, or for a MAC address that the host has not heard from,
        goes to the VTEP, and VMs ask who the gateway is."""
        space, bridge, device = self.space, f"br{vni}", f"vx{vni}"
        space.ip(f"link add {bridge} address {mac(vni, '0.0.0.254')} type bridge mcast_snooping 0")
        space.sysctl(**{f"net__ipv6__conf__{bridge}__disable_ipv6": 1})
        space.ip(f"link add {device} type vxlan id {vni} local {self.underlay} dstport {port}" + UDP6_ZERO[":" in self.underlay])
        space.ip(f"link set {device} mtu {mtu} master {bridge} up")
        space.ip(f"link set {bridge} mtu {mtu} up")
        space.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", device, "dst", vtep)

    def vm(self, short, vni, addresses, gateway, mtu=1450):
        """A VM: a namespace with eth0 in the VPC's bridge. `addresses` with prefix length, the first names the MAC."""
        lab = self.space.lab
        addresses = addresses if isinstance(addresses, list) else [addresses]
        gateways = gateway if isinstance(gateway, list) else [gateway]
        vm, port = lab.namespace(short), f"v{short}"[:15]
        lab.veth(vm, "eth0", self.space, port, mtu=mtu)
        vm.ip(f"link set eth0 address {mac(vni, addresses[0].split('/')[0])}")
        self.space.ip(f"link set {port} master br{vni}")
        for address in addresses:
            vm.ip(f"addr add {address} dev eth0" + (" nodad" if ":" in address else ""))
        for address in gateways:
            vm.ip(f"-{6 if ':' in address else 4} route add default via {address}")
        self.vms[short] = vm
        return vm


class VxlanEndpoint:
    """A host that is itself on the overlay: a VXLAN device with an address, no bridge."""

    def __init__(self, space, vni, addresses, gateways, underlay, vtep, mtu=1450, port=4789):
        self.space = space
        addresses = addresses if isinstance(addresses, list) else [addresses]
        gateways = gateways if isinstance(gateways, list) else [gateways]
        lladdr, device = gateway_mac(vni), f"vx{vni}"
        space.ip(f"link add {device} address {mac(vni, addresses[0].split('/')[0])} mtu {mtu} type vxlan id {vni} "
                 f"local {underlay} dstport {port} nolearning" + UDP6_ZERO[":" in underlay])
        space.ip(f"link set {device} up")
        space.run("bridge", "fdb", "replace", lladdr, "dev", device, "dst", vtep, "self", "permanent")
        for address in addresses:
            space.ip(f"addr add {address} dev {device}" + (" nodad" if ":" in address else ""))
        for gateway in gateways:
            space.ip(f"neigh replace {gateway} lladdr {lladdr} dev {device} nud permanent")
            space.ip(f"-{6 if ':' in gateway else 4} route add default via {gateway} dev {device}")
