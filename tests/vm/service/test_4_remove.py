# SPDX-License-Identifier: GPL-2.0-or-later
"""Remove leaves nothing that runs, installing again brings the gateway back, purge leaves nothing at all but what belongs to the
operator or, by policy, stays."""
from conftest import row
from gateway import PACKAGES, healthy, install, wait_path, wait_up
from lib import traffic

# Files of strongSwan and FRR on the gateway, and their contents: ours are elsewhere.
CONFIGURATION = ("find /etc/strongswan.conf /etc/strongswan.d /etc/swanctl /etc/ipsec.* /etc/frr -type f -not -path '*/frr/simplon*'"
                 " -exec sha256sum {} + 2>/dev/null | sort -k 2")
# The operator's key, and the user that Debian's policy keeps.
KEPT = {"/etc/simplon", "/etc/simplon/site-a.psk"}
FIND = (r"find / -xdev \( -path /proc -o -path /root -o -path /media -o -path /var/log/journal \) -prune -o -iname '*simplon*' -print;"
        " find /etc/simplon 2>/dev/null || true")


def running(edge):
    """What of ours is still at work: processes, units, namespaces, XDP programs, TUN devices, sockets."""
    questions = {
        # FRR and strongSwan of the host may run; those of ours have our name in their arguments.
        "processes": "grep -ahs '[s]implon' /proc/[0-9]*/cmdline | tr '\\0' ' ' || true",
        "units": "systemctl list-units --all --no-legend --plain 'simplon*' | grep -v not-found || true",
        "namespaces": "ls /run/netns 2>/dev/null || true",
        "XDP programs": "for i in wan0 fab0; do ip -d link show $i | grep -o 'prog/xdp.*' || true; done",
        "devices": "ls /sys/class/net | grep -vxE 'lo|wan0|fab0' || true",
        "sockets": "ls /run/simplon 2>/dev/null || true",
    }
    return {what: text for what, question in questions.items() if (text := edge.out(question).strip())}


def test_remove(machines):
    edge = machines.edge
    # An operator's own FRR on the same host: ours must not touch it.
    edge.write("/etc/frr/frr.conf", "frr defaults traditional\nhostname operators-own\n")
    before = edge.out(CONFIGURATION)
    edge.sh(f"apt-get -q remove -y {' '.join(PACKAGES)}", within=600)
    left = running(edge)
    left.pop("sockets", None)
    row("running after apt-get remove", left or "nothing", not left)
    row("configuration of strongSwan and FRR after remove", "untouched", edge.out(CONFIGURATION) == before)
    kept = edge.out("ls /var/lib/simplon /etc/simplon").split()
    row("kept by remove", " ".join(kept), "site-a.psk" in kept)


def test_install_again(machines):
    """The configuration was kept, and the host's strongSwan, which remove gave back, makes room once more."""
    install(machines, "/media/packages/simplon", PACKAGES)
    wait_up(machines)
    wait_path(machines)
    healthy(machines, "installed again")
    result = traffic.ping(machines["vm1"], "10.1.0.10", count=5)
    row("ping vm1 -> host-a after remove and installation", f"{result.lost} of {result.sent} lost", result.lost == 0)


def test_purge(machines):
    edge = machines.edge
    before = edge.out(CONFIGURATION)
    edge.sh(f"apt-get -q purge -y {' '.join(PACKAGES)}", within=600)
    left = running(edge)
    row("running after apt-get purge", left or "nothing", not left)
    row("configuration of strongSwan and FRR after purge", "untouched", edge.out(CONFIGURATION) == before)
    found = edge.out(FIND).split()
    rest = sorted(set(found) - KEPT)
    row("files after purge", f"nothing of ours besides {' '.join(sorted(KEPT))}" if not rest else rest, not rest)
    users = edge.out("getent passwd simplon-forwarder; getent group simplon; true").splitlines()
    row("users kept by policy", " ".join(line.split(":")[0] for line in users))
    failed = edge.out("systemctl --failed --no-legend --plain").strip()
    row("failed units after purge", failed or "none", not failed)
