# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from lib import capture, charon, traffic
from lib import two_sites as t
from lib.expect import expect

ICV = {"sha256": 16, "sha384": 24, "sha512": 32}
SUITES = ["aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305",
          *(f"{cipher}-{integrity}" for integrity in ICV for cipher in ("aes128", "aes192", "aes256", "null"))]


def inner_mtu(suite, encap, path=1500):
    """RFC 4303 section 2, with the IV, ICV and block of the suite."""
    cipher, _, integrity = suite.partition("-")
    if not integrity:
        iv, icv, block = 8, 16, 4
    else:
        iv, icv, block = (0 if cipher == "null" else 16), ICV[integrity], (4 if cipher == "null" else 16)
    room = path - 20 - (8 if encap else 0) - 8 - iv - icv
    return room // block * block - 2


class Sites(t.TwoSites):
    """Static routes instead of BGP: the tunnels come and go with each suite."""

    def __init__(self, lab):
        super().__init__(lab, vms=("red1", "blue1"))
        self.a_charon = charon.stock(self.a_rtr, **self.connection("aes256gcm16"))
        charon.inside_address(self.a_rtr, f"{t.A_INSIDE}/30")
        self.a_rtr.ip("route add 10.20.0.0/24 dev ipsec0")
        self.gateway_b().start()
        self.gateway().start()

    @staticmethod
    def connection(esp):
        return {"local": t.A_WAN, "remote": t.GW_WAN, "local_id": "site-a", "remote_id": "gw", "psk": t.PSK_A,
                "ike": charon.IKE, "esp": esp, "selectors": "0.0.0.0/0", "start": "none"}

    @staticmethod
    def with_suite(document, suite, prefix):
        for domain, tunnel in zip(document["domains"], document["tunnels"]):
            del domain["bgp"]
            domain["static-routes"] = [{"prefix": prefix[domain["name"]], "via": tunnel["name"]}]
            tunnel["esp-proposals"] = [f"{suite}-esn-noesn"]
            if suite.startswith("null"):
                tunnel["allow-weak"] = True
        return document

    def use(self, suite):
        self.a_charon.load(charon.CONNECTION.format(**self.connection(suite)))
        self.simplon_b.apply(self.with_suite(self.gateway_b_document(), suite, {"site": "10.20.0.0/24"}))
        self.simplon.apply(self.with_suite(self.gateway_document(), suite, {"red": "10.1.0.0/24", "blue": "10.2.0.0/24"}))
        for box, name in ((self.simplon, "site-a"), (self.simplon, "site-b"), (self.simplon_b, "gw")):
            expect(lambda one=box, tunnel=name: self.suites_of(one, tunnel) == {suite}, 40,
                   f"{box.short}: tunnel {name} uses {suite} in both directions")

    @staticmethod
    def suites_of(box, name):
        """What the forwarder uses, if the tunnel is up."""
        if not box.tunnel_up(name):
            return None
        return {sa["suite"] for sa in box.tunnel(name)["programmed"]["sas"]}


@pytest.fixture(scope="module")
def sites(lab):
    built = Sites(lab)
    yield built
    built.assert_healthy()


@pytest.mark.parametrize("suite", SUITES)
def test_suite(sites, suite):
    sites.use(suite)
    shown = sites.simplon.cli("tunnel", "show", "site-b").stdout
    assert suite in shown, shown

    red, blue = sites.vm["red1"], sites.vm["blue1"]
    ends = {"site-a": (sites.a_host, t.A_HOST, red, t.VM["red1"]), "site-b": (sites.b_host, t.B_HOST, blue, t.VM["blue1"])}
    before = sites.simplon.drops()
    wire = capture.Capture(sites.wan, "to-gw", filter="esp or udp port 4500")
    for name, (host, host_address, vm, vm_address) in ends.items():
        traffic.reachable(host, vm_address)
        mtu = inner_mtu(suite, encap=name == "site-a")
        assert sites.simplon.tunnel(name)["programmed"]["mtu"] == mtu
        # Around a block of AES, around the MTU of the tunnel, and in fragments.
        for size in (0, 1, 17, 18, 19, 33, 34, 35, 500, 1300, mtu - 29, mtu - 28, mtu - 27, 3000):
            assert traffic.ping(vm, host_address, count=1, size=size).lost == 0, (name, size)
        for size in (1, 1300, 3000):
            assert traffic.ping(host, vm_address, count=2, interval=0.1, size=size).lost == 0, (name, size)
        traffic.tcp_transfer(vm, host, host_address, megabytes=2)
        traffic.tcp_transfer(host, vm, vm_address, megabytes=2)
    wire.stop()
    sizes = [int(row[0].split(",")[0]) for row in wire.fields("ip.len", display=f"ip.src == {t.GW_WAN}")]
    assert sizes and max(sizes) <= 1500, max(sizes)
    after = sites.simplon.drops()
    for reason in ("esp_authentication", "esp_truncated", "esp_padding", "esp_replayed", "esp_next_header", "no_headroom"):
        assert after[reason] == before[reason], reason


def test_no_encryption_needs_allow_weak(sites):
    document = sites.with_suite(sites.gateway_document(), "null-sha256", {"red": "10.1.0.0/24", "blue": "10.2.0.0/24"})
    for tunnel in document["tunnels"]:
        del tunnel["allow-weak"]
    done = sites.simplon.apply(document, check=False)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "'null' is refused, it does not encrypt" in text and "allow-weak" in text, text
