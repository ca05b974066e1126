# SPDX-License-Identifier: GPL-2.0-or-later
"""Upgrade and downgrade of each package while packets flow in both directions."""
import pytest

from conftest import row
from lib import traffic
from test_2_kernel_esp import wait_path, wait_up

RATE = 50


def install(machines, folder, package, *options):
    machines.edge.sh(f"cd {folder} && apt-get -q install -y {' '.join(options)} ./{package}_*.deb", within=600)


def version(machines, package):
    return machines.edge.out(f"dpkg-query -W -f '${{Version}}' {package}").strip()


def under_traffic(machines, action):
    """`action` while numbered packets flow; the two flows (to the VM, from the VM)."""
    host, vm = machines["host-a"], machines["vm1"]
    with traffic.stream(host, vm, "10.20.0.10", rate=RATE, port=7003) as out, \
            traffic.stream(vm, host, "10.1.0.10", rate=RATE, port=7004) as back:
        traffic.carried(out, RATE, within=240)
        action()
        wait_up(machines)
        wait_path(machines)
        traffic.carried(out, RATE, within=240)
        traffic.carried(back, RATE, within=240)
    return out.result, back.result


def healthy(machines, what):
    failed = machines.edge.out("systemctl --failed --no-legend --plain").strip()
    assert not failed, f"{what}: failed units: {failed}"


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
@pytest.mark.parametrize("package", ["simplon", "simplon-charon", "simplon-forwarder"])
def test_package(machines, package, direction):
    folder, options = ("/media/packages/newer", []) if direction == "upgrade" else ("/media/packages/simplon", ["--allow-downgrades"])
    before = version(machines, package)
    out, back = under_traffic(machines, lambda: install(machines, folder, package, *options))
    after = version(machines, package)
    what = f"{direction} of {package} to {after}"
    assert before != after, what
    healthy(machines, what)
    lost, silence = out.lost + back.lost, max(flow.report["longest_silence_ms"] for flow in (out, back))
    if package == "simplon-forwarder":
        row(what, f"{lost} of {out.sent + back.sent} lost, longest silence {silence:.0f} ms (emulated)")
    else:
        row(what, f"{lost} of {out.sent + back.sent} lost", lost == 0)
