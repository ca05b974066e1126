# SPDX-License-Identifier: GPL-2.0-or-later
"""The peer's kernel does the ESP: raw and in UDP, with and without extended sequence numbers."""
import concurrent.futures
import re

import pytest

from conftest import row
from gateway import tunnel, wait_path, wait_up
from lib import traffic
from lib.expect import expect

RATE = 50  # packets a second, each way: an emulated machine on a busy host still carries that
MEGABYTES = 2
CONF = "/etc/swanctl/conf.d/edge-1.conf"


def carry(machines, what, rate=RATE):
    """Numbered UDP in both directions at once, then TCP in both: nothing lost."""
    host, vm = machines["host-a"], machines["vm1"]
    with traffic.streams((host, vm, "10.20.0.10", {"rate": rate, "port": 7001}),
                         (vm, host, "10.1.0.10", {"rate": rate, "port": 7002})) as (out, back):
        traffic.carried(out, 3 * rate, within=240)
        traffic.carried(back, rate, within=240)
    for flow, name in ((out.result, "host-a -> vm1"), (back.result, "vm1 -> host-a")):
        row(f"{what}: UDP {name}", f"{flow.sent} sent, {flow.lost} lost", flow.lost == 0)
    with concurrent.futures.ThreadPoolExecutor() as both:
        ways = [both.submit(traffic.tcp_transfer, *ends, megabytes=MEGABYTES, port=port, within=180)
                for ends, port in (((host, vm, "10.20.0.10"), 7100), ((vm, host, "10.1.0.10"), 7101))]
        rates = [way.result() for way in ways]
    row(f"{what}: TCP, both ways at once", f"{MEGABYTES} MB, SHA-256 equal, {rates[0]:.0f} and {rates[1]:.0f} Mbit/s (emulated)")


@pytest.mark.parametrize("esn", [True, False], ids=["esn", "no-esn"])
@pytest.mark.parametrize("udp", [False, True], ids=["raw", "udp"])
def test_kernel_esp(machines, udp, esn):
    what = f"{'ESP in UDP' if udp else 'raw ESP'}, {'ESN' if esn else 'no ESN'}"
    site, internet = machines.site, machines["internet"]
    text = site.read(CONF).decode()
    text = re.sub(r"esp_proposals = .*", f"esp_proposals = aes256gcm16-ecp384-{'esn' if esn else 'noesn'}", text)
    text = re.sub(r"    encap = .*\n", "", text).replace("    version = 2\n", f"    version = 2\n    encap = {'yes' if udp else 'no'}\n")
    site.write(CONF, text)
    site.sh("swanctl --load-all >/dev/null 2>&1; swanctl --terminate --ike edge-1 --force --timeout 10 >/dev/null 2>&1; true", within=90)
    expect(lambda: wait_up(machines) and kernel_is(site, udp, esn), 300, f"the kernel of site-a has SAs with {what}")
    wait_path(machines)

    capture = internet.spawn(["timeout", "600", "tcpdump", "-n", "-U", "--immediate-mode", "-i", "net-wan", "-c", "20",
                              "esp or udp port 4500"], log=machines.fresh("wire"))
    expect(lambda: "listening on" in capture.text(), 120, "tcpdump listens")
    carry(machines, what)
    expect(lambda: not capture.alive(), 60, "tcpdump has seen 20 packets")
    lines = capture.text().splitlines()
    seen = sum(("UDP-encap: ESP" in line) == udp and "ESP(spi=" in line for line in lines)
    others = [line for line in lines if "ESP(spi=" in line and ("UDP-encap: ESP" in line) != udp]
    row(f"{what}: on the wire", f"{seen} of 20 packets seen are that", seen and not others)
    child = next(iter(tunnel(machines)["observed"]["children"]))
    row(f"{what}: simplon tunnel show", f"{child['suite']}, encap {child['encap']}", bool(child["encap"]) == udp)


def kernel_is(site, udp, esn):
    """What the kernel of the peer has, in its own words."""
    text = site.out("ip -d xfrm state", quiet=True)
    return "rfc4106(gcm(aes))" in text and ("espinudp" in text) == udp and \
        (re.search(r"flag [^\n]*\besn\b", text) is not None) == esn
