# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of both journeys ask of the gateway, and wait for."""
import json

from lib import traffic
from lib.expect import expect

PACKAGES = ("simplon", "simplon-charon", "simplon-forwarder")


def tunnel(machines):
    shown = json.loads(machines.edge.out("simplon tunnel show --json", quiet=True))["tunnels"]
    return next(one for one in shown if one["name"] == "site-a")


def children(machines):
    """{inbound SPI: child} of what charon says."""
    return {child["spi_in"]: child for child in tunnel(machines)["observed"]["children"]}


def wait_up(machines, within=240):
    def up():
        one = tunnel(machines)
        return one["observed"]["state"] == "up" and any(
            sa["active"] and not sa["inbound"] for sa in (one.get("programmed") or {}).get("sas", [])) and one

    return expect(up, within, "tunnel site-a is up and programmed")


def wait_path(machines, within=240):
    """BGP may have gone down with the tunnel: until a ping is answered."""
    traffic.reachable(machines["host-a"], "10.20.0.10", within=within)


def healthy(machines, what):
    failed = machines.edge.out("systemctl --failed --no-legend --plain").strip()
    assert not failed, f"{what}: failed units: {failed}"


def denied(machines):
    """What AppArmor kept our programs from, in any boot."""
    return machines.edge.out("journalctl -q -k --boot=all -o cat -g 'apparmor=.DENIED.*simplon' || true").strip()


def versions(machines):
    """{package: version}"""
    text = machines.edge.out(f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(PACKAGES)}")
    return dict(line.split() for line in text.splitlines())


def install(machines, folder, packages, *options):
    """What apt said."""
    files = " ".join(f"./{package}_*.deb" for package in packages)
    return machines.edge.sh(f"cd {folder} && apt-get -q install -y {' '.join(options)} {files}", within=600).text
