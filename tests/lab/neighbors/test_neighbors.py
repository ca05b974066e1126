# SPDX-License-Identifier: GPL-2.0-or-later
import ipaddress
import json

import pytest

from lib import traffic, vxlan_host
from lib.expect import expect
from lib.gateway import Gateway

RED, BLUE = 100, 200
UNDERLAY = {4: {"gw": "10.255.0.1", "c1": "10.255.0.11", "c2": "10.255.0.12"},
            6: {"gw": "2001:db8:ff::1", "c1": "2001:db8:ff::11", "c2": "2001:db8:ff::12"}}
GATEWAYS = {RED: ["10.20.0.1", "fd00:20::1"], BLUE: ["10.30.0.1", "fd00:30::1"]}
VMS = {"red": ("c1", RED, ["10.20.0.11", "fd00:20::11"]), "blue": ("c2", BLUE, ["10.30.0.11", "fd00:30::11"])}
LENGTH = {4: 24, 6: 64}
MTU = 1430


def with_length(address):
    return f"{address}/{LENGTH[ipaddress.ip_address(address).version]}"


class Hosts:
    def __init__(self, lab, family):
        self.lab, self.underlay, self.vm = lab, UNDERLAY[family], {}
        fabric = lab.namespace(f"fabric{family}")
        fabric.ip("link add br0 type bridge mcast_snooping 0")
        fabric.ip("link set br0 up")
        spaces = {name: lab.namespace(name + str(family)) for name in self.underlay}
        for name, space in spaces.items():
            device = "fab0" if name == "gw" else "eth0"
            lab.veth(space, device, fabric, f"to-{name}")
            fabric.ip(f"link set to-{name} master br0")
            address = self.underlay[name]
            space.ip(f"addr add {with_length(address)} dev {device}" + (" nodad" if family == 6 else ""))
        for short, (name, vni, addresses) in VMS.items():
            host = vxlan_host.ComputeHost(spaces[name], self.underlay[name])
            host.learning_vpc(vni, self.underlay["gw"], mtu=MTU)
            self.vm[short] = host.vm(short + str(family), vni, [with_length(address) for address in addresses], GATEWAYS[vni], mtu=MTU)
        self.simplon = Gateway(spaces["gw"])

    def document(self):
        vpcs = []
        for short, (name, vni, addresses) in VMS.items():
            mac = vxlan_host.mac(vni, addresses[0])
            gateway = [with_length(address) for address in GATEWAYS[vni]]
            vpcs.append({"name": short, "domain": "d", "vni": vni, "gateway": gateway, "mtu": MTU,
                         "prefixes": [str(ipaddress.ip_interface(address).network) for address in gateway],
                         "endpoints": [{"address": address, "mac": mac, "vtep": self.underlay[name]} for address in addresses]})
        return {"gateway": {"name": "gw", "vtep": self.underlay["gw"]}, "uplinks": [{"interface": "fab0"}],
                "domains": [{"name": "d"}], "vpcs": vpcs}

    def drops(self):
        drops = self.simplon.drops()
        return {name: drops[name] for name in ("vxlan_inner_arp", "vxlan_inner_neighbor", "vxlan_answer_rate")}


@pytest.fixture(scope="module", params=[4, 6], ids=["over-ipv4", "over-ipv6"])
def hosts(lab, request):
    built = Hosts(lab, request.param)
    built.simplon.start().apply(built.document())
    yield built
    built.simplon.assert_healthy()
    built.simplon.assert_accounted()


def neighbor(vm, address):
    """What the kernel of the VM knows: (MAC address, state, is a router)."""
    for entry in json.loads(vm.ip(f"-json neigh show to {address} dev eth0").stdout or "[]"):
        return entry.get("lladdr"), entry["state"][0], "router" in entry
    return None, "NONE", False


@pytest.mark.parametrize("index", [0, 1], ids=["arp", "nd"])
def test_a_vm_learns_the_gateway_by_itself(hosts, index):
    for short, other in (("red", "blue"), ("blue", "red")):
        vm, vni = hosts.vm[short], VMS[short][1]
        address = GATEWAYS[vni][index]
        vm.ip("neigh flush dev eth0")
        assert neighbor(vm, address)[0] is None
        before = hosts.drops()
        traffic.reachable(vm, VMS[other][2][index])
        mac, state, router = neighbor(vm, address)
        assert (mac, router) == (vxlan_host.gateway_mac(vni), index == 1), state
        assert hosts.drops() == before
    for address in (VMS["blue"][2][index], GATEWAYS[RED][index]):
        assert traffic.ping(hosts.vm["red"], address).lost == 0


@pytest.mark.parametrize("index", [0, 1], ids=["arp", "nd"])
def test_what_it_knows_is_confirmed(hosts, index):
    """The kernel asks the gateway itself, over IPv6 from its link-local address."""
    vm, address = hosts.vm["red"], GATEWAYS[RED][index]
    traffic.reachable(vm, address)
    before = hosts.drops()
    vm.ip(f"neigh change {address} lladdr {vxlan_host.gateway_mac(RED)} dev eth0 nud probe")
    expect(lambda: neighbor(vm, address)[1] == "REACHABLE", 5, "the gateway answers the probe")
    assert neighbor(vm, address)[0] == vxlan_host.gateway_mac(RED)
    assert hosts.drops() == before


def test_a_vm_that_takes_the_gateways_address_finds_out(hosts):
    """RFC 4862 section 5.4: the gateway defends its address against duplicate address detection."""
    vm, address = hosts.vm["red"], GATEWAYS[RED][1]
    vm.sysctl(net__ipv6__conf__eth0__accept_dad=1)
    vm.ip("-6 route del default")
    vm.ip(f"addr add {address}/128 dev eth0")
    try:
        def flags():
            found = json.loads(vm.ip("-json -6 addr show dev eth0").stdout)[0]["addr_info"]
            return next(entry for entry in found if entry.get("local") == address)
        expect(lambda: flags().get("dadfailed"), 10, "the address is a duplicate")
    finally:
        vm.ip(f"addr del {address}/128 dev eth0")
        vm.ip(f"-6 route add default via {address}")
    traffic.reachable(vm, VMS["blue"][2][1])


def test_questions_for_others_go_nowhere(hosts):
    vm, before = hosts.vm["red"], hosts.drops()
    for address in ("10.20.0.99", "fd00:20::99"):
        assert traffic.ping(vm, address, count=1, wait=1).received == 0
    after = hosts.drops()
    assert after["vxlan_inner_arp"] > before["vxlan_inner_arp"]
    assert after["vxlan_inner_neighbor"] > before["vxlan_inner_neighbor"]
