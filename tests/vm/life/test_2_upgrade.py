# SPDX-License-Identifier: GPL-2.0-or-later
"""Upgrade and downgrade of each package while packets flow in both directions."""
import re

import pytest

from conftest import row
from gateway import PACKAGES, children, healthy, install, versions, wait_path, wait_up
from lib import traffic

RATE = 50


def under_traffic(machines, action):
    """`action` while numbered packets flow; the two flows (to the VM, from the VM)."""
    host, vm = machines["host-a"], machines["vm1"]
    with traffic.streams((host, vm, "10.20.0.10", {"rate": RATE, "port": 7003}),
                         (vm, host, "10.1.0.10", {"rate": RATE, "port": 7004})) as (out, back):
        traffic.carried(out, RATE, within=240)
        action()
        wait_up(machines)
        wait_path(machines)
        traffic.carried(out, RATE, within=240)
        traffic.carried(back, RATE, within=240)
    return out.result, back.result


@pytest.mark.parametrize("package", PACKAGES)
def test_upgrade(machines, package):
    before, spis = versions(machines), children(machines).keys()
    out, back = under_traffic(machines, lambda: install(machines, "/media/packages/newer", [package]))
    after = versions(machines)
    what = f"upgrade of {package} to {after[package]}"
    assert {name for name in PACKAGES if before[name] != after[name]} == {package}, f"{what}: {before} became {after}"
    healthy(machines, what)
    if package == "simplon-forwarder":
        # Tables and SAs are handed over: nothing is negotiated.
        row(f"{what}: SAs", "the same", children(machines).keys() == spis)
        row(f"{what}: the new process", *taken_over(machines))
    judge(what, out, back)


def taken_over(machines):
    """What the new forwarder says of it, and whether that is all. Before Linux 6.4 packets wait in a device (docs/upgrade.md)."""
    log = machines.edge.out("journalctl -q -o cat _PID=$(systemctl show -P MainPID simplon-forwarder)")
    waited = "".join(f", {count} packets had waited at {name}" for name, count in re.findall(r"uplink (\S+): (\d+) packets had waited", log))
    return f"took over{waited}", "took over 2 uplinks" in log


def test_an_upgrade_whose_new_process_cannot_begin(machines):
    """An option that it does not know, say: what apt runs says that the old one goes on, which it does."""
    edge, options = machines.edge, "/etc/default/simplon-forwarder"
    question = "systemctl show -P MainPID simplon-forwarder"
    before, said = edge.out(question), []
    edge.sh(f"cp {options} /root/options && echo 'SIMPLON_FORWARDER_OPTIONS=\"--no-such-option\"' >{options}")
    configure = "DPKG_MAINTSCRIPT_PACKAGE=simplon-forwarder DPKG_MAINTSCRIPT_NAME=postinst /var/lib/dpkg/info/simplon-forwarder.postinst configure 0.2.0"
    out, back = under_traffic(machines, lambda: said.append(edge.sh(configure, within=300).text))
    what = "upgrade with a wrong option"
    row(f"{what}: it says", said[0].strip()[:120], "could not take over" in said[0])
    row(f"{what}: the old process", "goes on", edge.out(question) == before)
    healthy(machines, what)
    judge(what, out, back)
    edge.sh(f"cp /root/options {options} && systemctl reload simplon-forwarder", within=120)
    row("systemctl reload with the right ones", "another process", edge.out(question) != before)
    wait_path(machines)


def test_downgrade(machines):
    """All three at once, back to what was installed first."""
    out, back = under_traffic(machines, lambda: install(machines, "/media/packages/simplon", PACKAGES, "--allow-downgrades"))
    after = versions(machines)
    what = f"downgrade of all to {after['simplon']}"
    assert len(set(after.values())) == 1 and "upgrade" not in after["simplon"], after
    healthy(machines, what)
    judge(what, out, back)


def judge(what, out, back):
    lost, silence = out.lost + back.lost, max(flow.report["longest_silence_ms"] for flow in (out, back))
    row(what, f"{lost} of {out.sent + back.sent} lost, longest silence {silence:.0f} ms (emulated)", lost == 0)
