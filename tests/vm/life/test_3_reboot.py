# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything comes back by itself; how long that takes (C6, in emulation)."""
import json
import time

from conftest import row, say
from gateway import denied, healthy, wait_up
from lib import traffic
from lib.expect import expect

UNITS = "simplon-forwarder simplon-charon simplond"


def first_packet(machines, began, within):
    """Seconds from `began` to the first answered ping."""
    expect(lambda: traffic.ping(machines["host-a"], "10.20.0.10", count=1, wait=2, quiet=True).received, within,
           "a ping is answered")
    return time.monotonic() - began


def test_stop_and_start(machines):
    edge = machines.edge
    edge.sh(f"systemctl stop {UNITS}")
    began = time.monotonic()
    edge.sh(f"systemctl start {UNITS}", within=120)
    started = time.monotonic() - began
    row("systemctl start", f"returned after {started:.1f} s (emulated)")
    row("systemctl start to the first packet", f"{first_packet(machines, began, 300):.1f} s (emulated, one tunnel; C6: 10 s on hardware, 100 tunnels)")
    healthy(machines, "after systemctl start")


def test_reboot(machines):
    edge = machines.edge
    began = time.monotonic()
    edge.reboot()
    row("reboot to the guest agent", f"{time.monotonic() - began:.1f} s (emulated)")
    row("reboot to the first packet", f"{first_packet(machines, began, 600):.1f} s (emulated)")
    wait_up(machines)
    late = edge.out("journalctl -q -b -1 _PID=1 -o cat -g 'timed out|SIGKILL' || true").strip()
    row("units that did not end by themselves", late or "none", "simplon" not in late)
    edge.sh("systemctl is-system-running --wait", within=200, check=False)
    say(edge.out("systemd-analyze time").rstrip())
    healthy(machines, "after the reboot")
    # "degraded" has a failed unit, which may be nobody's of ours.
    state = edge.sh("systemctl is-system-running", check=False).out.strip()
    failed = edge.out("systemctl --failed --no-legend --plain | cut -d ' ' -f 1").split()
    ours = [unit for unit in failed if unit.startswith(("simplon", "strongswan", "frr"))]
    row("after the reboot", f"{state}, failed units: {', '.join(failed) or 'none'}",
        state == "running" or (state == "degraded" and bool(failed) and not ours))
    result = traffic.ping(machines["vm1"], "10.1.0.10", count=10)
    row("ping vm1 -> host-a after the reboot", f"{result.lost} of {result.sent} lost", result.lost == 0)


def test_power_loss_while_a_change_waits_for_confirmation(machines):
    """What was applied on probation is gone and says why, everything else comes back, and nothing on the disk is torn."""
    edge = machines.edge
    before = json.loads(edge.out("simplon config show --json", quiet=True))
    edge.sh("sed 's/name: edge-1/name: edge-2/' /root/gateway.yaml >/root/other.yaml; sync")
    edge.sh("simplon apply --yes /root/other.yaml --confirm 60s </dev/null", within=120)
    row("applied for 60 s", json.loads(edge.out("simplon status --json", quiet=True))["gateway"])
    began = time.monotonic()
    edge.lose_power()
    row("power loss to the first packet", f"{first_packet(machines, began, 600):.1f} s (emulated)")
    wait_up(machines)

    def shown():
        return json.loads(edge.out("simplon config show --json", quiet=True))

    expect(lambda: shown()["document"] == before["document"], 180, "the former configuration is back")
    versions = json.loads(edge.out("simplon config history --json", quiet=True))["versions"]
    gone = next(one for one in versions if one["version"] == before["version"] + 1)
    row("after the power loss: the change", f"{gone['outcome']}: {gone['outcome_reason']}"[:120],
        gone["outcome"] == "reverted")
    verified = edge.sh("simplon audit verify", check=False)
    row("after the power loss: simplon audit verify", (verified.out.strip().splitlines() or [verified.text])[0][:120], verified.code == 0)
    edge.sh("systemctl is-system-running --wait", within=200, check=False)
    healthy(machines, "after the power loss")
    told = denied(machines)
    row("AppArmor denied in upgrades and boots", told or "nothing", not told)
