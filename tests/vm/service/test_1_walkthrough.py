# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/walkthrough.md, chapter by chapter, on machines that have nothing but Debian."""
import json
import re

import document
from conftest import INSTALLED, row, say
from gateway import denied
from lib import traffic

PAGE = "walkthrough.md"
UNITS = ("simplond", "simplon-forwarder", "simplon-charon")
TEMPLATES = ("simplon-netns@", "simplon-zebra@", "simplon-bgpd@", "simplon-bfdd@")
AIM = 2.0  # of systemd-analyze security, for each unit; docs/security.md has what each reaches, and why not the aim


def test_install_the_packages_with_apt(machines):
    edge = machines.edge
    edge.sh("cp /media/packages/simplon/*.deb /root")
    status = document.follow(PAGE, 1, machines, say)
    say("simplon status on an empty gateway:\n" + status.rstrip())
    failed = edge.out("systemctl --failed --no-legend --plain").strip()
    row("failed units after apt-get install", failed or "none", not failed)
    for unit in UNITS:
        state = edge.out(f"systemctl show -p ActiveState,SubState,NRestarts,Type --value {unit} | paste -sd ' '").strip()
        row(f"unit {unit}", state, " active running" in f" {state}" and " 0 " in f" {state} ")
    said = edge.sh("dpkg --audit; dpkg --verify simplon simplon-forwarder simplon-charon", check=False).text.strip()
    row("dpkg --audit, dpkg --verify", said or "nothing to say", not said)


def test_exposure_of_the_units(machines):
    edge = machines.edge
    page = (document.DOCS / "security.md").read_text()
    for unit in UNITS + TEMPLATES:
        name = f"{unit}simplon-any.service" if unit in TEMPLATES else f"{unit}.service"
        text = edge.sh(f"systemd-analyze --no-pager security {name}", check=False).text
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
        written = re.search(rf"^\|[^|]*`{unit}`[^|]*\| ([0-9.]+) \|", page, re.MULTILINE)
        assert found and written, f"{unit}: {text}"
        (edge.folder / f"security-{unit}.txt").write_text(text)
        row(f"systemd-analyze security {unit}", f"{found.group(1)}, as docs/security.md says (aim: {AIM})",
            float(found.group(1)) <= float(written.group(1)))


def test_configure_the_gateway(machines):
    document.follow(PAGE, 2, machines, say)


# Connects to the data path's socket as another user, and says whether it was let in.
KNOCK = """
import grp, os, pwd, socket, sys
user = pwd.getpwnam(sys.argv[1])
os.setgroups([grp.getgrnam("simplon-forwarder").gr_gid])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(2)
connection.connect("/run/simplon/forwarder.sock")
try:
    print("turned away" if connection.recv(1) == b"" else "let in")
except TimeoutError:
    print("let in")
"""


def test_simplond_may_what_it_needs_and_no_more(machines):
    edge = machines.edge
    edge.write("/tmp/knock.py", KNOCK)

    def ask(verb, unit):
        return edge.sh("setpriv --reuid simplond --regid simplond --clear-groups busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1"
                       f" org.freedesktop.systemd1.Manager {verb} {unit}", check=False)

    for what, call in (("StopUnit", "ss simplon-charon.service replace"), ("StartUnit", "ss systemd-networkd.service replace"),
                       ("StartUnit", "ss simplon-zebra@other.service replace"), ("RestartUnit", "ss simplon-bfdd@simplon-red.service replace"),
                       ("KillUnit", "ssi simplon-bfdd@simplon-red.service all 9"), ("EnableUnitFiles", "asbb 1 simplond.service false false")):
        done = ask(what, call)
        row(f"user simplond: {what} {call.split()[1]}", done.text.strip()[:100], done.code != 0)
    allowed = ask("StartUnit", "ss simplon-bfdd@simplon-red.service replace")
    row("user simplond: StartUnit simplon-bfdd@simplon-red.service", allowed.text.strip()[:100], allowed.code == 0)
    for name, wanted in (("simplon-charon", "turned away"), ("simplond", "let in")):
        answer = edge.out(f"python3 /tmp/knock.py {name}").strip()
        row(f"forwarder.sock for user {name}", answer, answer == wanted)
    mounts = edge.out("stat -f -c %T /run/netns/simplon-red").strip()
    row("the namespace of a domain, seen by the host", mounts, mounts == "nsfs")
    files = edge.out("stat -c '%n %a %U:%G' /run/simplon-frr /run/simplon-frr/* | paste -sd ,").strip()
    configs = [f"/run/simplon-frr/simplon-red.{daemon}.conf 640 simplond:frr" for daemon in ("bfdd", "bgpd", "zebra")]
    row("what FRR starts with", files, sorted(files.split(",")) == ["/run/simplon-frr 2750 simplond:frr", *configs])
    told = denied(machines)
    row("AppArmor denied", told or "nothing", not told)


def test_connect_the_router_of_the_site(machines):
    document.follow(PAGE, 3, machines, say)


def test_connect_the_compute_host(machines):
    document.follow(PAGE, 4, machines, say)


def test_first_ping(machines):
    status = document.follow(PAGE, 5, machines, say)
    say("simplon status:\n" + status.rstrip())
    for uplink in json.loads(machines.edge.out("simplon status --json"))["uplinks"]:
        tier = uplink["xdp_forwarding"]
        row(f"XDP tier of {uplink['interface']}, Linux {machines.edge.out('uname -r').strip()}", tier, "refuses" not in tier)
    missed = [block.line for block in document.blocks(PAGE) if block not in document.done]
    row("docs/walkthrough.md", f"{len(document.done)} blocks ran as printed", not missed)


def test_pings_of_many_sizes(machines):
    for source, target, address in (("host-a", "vm1", "10.20.0.10"), ("vm1", "host-a", "10.1.0.10")):
        for size in (84, 1300, 1380, 1400, 1420, 1450, 1500, 4000, 9000):
            result = traffic.ping(machines[source], address, count=3, size=size - 28, quiet=True, wait=10)
            assert result.lost == 0, f"{size} bytes, {source} -> {target}: {result.text}"
        row(f"pings of 84 to 9000 bytes, {source} -> {target}", "0 lost")
    # Path MTU discovery: what does not fit and must not be fragmented is answered with the size that fits.
    text = traffic.ping(machines["host-a"], "10.20.0.10", count=2, size=1472, dont_fragment=True, wait=10).text
    found = re.search(r"mtu ?= ?(\d+)", text)
    row("1500 bytes with DF, host-a -> vm1", f"told to use {found.group(1)}" if found else text, bool(found))
    fits = traffic.ping(machines["host-a"], "10.20.0.10", count=2, size=int(found.group(1)) - 28, dont_fragment=True, wait=10)
    row(f"{found.group(1)} bytes with DF, host-a -> vm1", f"{fits.lost} lost", fits.lost == 0)


def test_leave_the_disk_to_the_other_journey(machines):
    machines.edge.copy_disk(INSTALLED)
