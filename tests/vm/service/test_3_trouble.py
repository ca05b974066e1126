# SPDX-License-Identifier: GPL-2.0-or-later
"""What operators run into on a real host: the doctor or the unit's journal names it with the remedy, and the rest keeps working."""
import json
import re
import time

from conftest import row
from gateway import children, denied, wait_path, wait_up
from lib import traffic
from lib.expect import expect


def findings(edge):
    return {one["id"]: one for one in json.loads(edge.sh("simplon doctor --json", check=False, quiet=True).out)["findings"]}


def finding(edge, name, word):
    """Waits until finding `name` failed and mentions `word`; the finding."""
    def named():
        one = findings(edge)[name]
        return one["verdict"] == "failed" and word in one["what"] + one["remedy"] and one

    return expect(named, 120, f"simplon doctor: {name} failed and mentions {word!r}")


def no_loss(machines, what):
    result = traffic.ping(machines["host-a"], "10.20.0.10", count=5, wait=5, quiet=True)
    row(f"{what}: ping host-a -> vm1", f"{result.lost} of {result.sent} lost", result.lost == 0)


def wait_bgp_talks(machines):
    """The session may look established and yet end, when its hold timer ran on while the tunnel was down: until something came."""
    def heard():
        text = machines.edge.out("vtysh -N simplon-red -c 'show bgp neighbors 169.254.10.2 json'", quiet=True)
        neighbor = json.loads(text)["169.254.10.2"]
        return neighbor["bgpState"], neighbor.get("messageStats", {}).get("keepalivesRecv", 0)

    before = heard()
    expect(lambda: heard()[0] == "Established" and heard() != before, 180, "a keepalive comes through the tunnel")
    wait_path(machines)


def test_doctor_of_a_healthy_gateway(machines):
    shown = findings(machines.edge)
    bad = [f"{name}: {one['what']}" for name, one in shown.items() if one["verdict"] == "failed"]
    warned = [name for name, one in shown.items() if one["verdict"] == "warning"]
    row("simplon doctor", bad or f"{len(shown)} findings, none failed, warnings: {', '.join(warned) or 'none'}", not bad)


def test_the_host_has_an_frr_of_its_own(machines):
    """Debian starts the one that comes with the package: ours run beside it, in their domains."""
    edge = machines.edge
    state = edge.sh("systemctl is-active frr", check=False).out.strip()
    row("the host's own FRR", state, state == "active")
    found = findings(edge)["frr.host"]
    row("the host's own FRR: simplon doctor", found["what"][:120], found["verdict"] != "failed")
    ours = edge.out("vtysh -N simplon-red -c 'show running-config' | grep -c '^router bgp'").strip()
    theirs = edge.sh("vtysh -c 'show running-config' | grep -c '^router bgp'", check=False).out.strip()
    row("routers in FRR: of domain red, of the host", f"{ours}, {theirs}", (ours, theirs) == ("1", "0"))


def test_another_charon_has_port_500(machines):
    edge = machines.edge
    edge.sh("systemctl stop simplon-charon; systemctl start strongswan; systemctl start --no-block simplon-charon", within=180)
    found = finding(edge, "port.ike", "strongswan.service")
    row("port 500 is taken: simplon doctor", f"{found['what']}; {found['remedy']}"[:120])
    journal = expect(lambda: edge.out("journalctl -q -b -u simplon-charon -g 'port 500' -o cat | tail -n 1", quiet=True).strip(), 120,
                     "the journal of simplon-charon says who has the port")
    row("port 500 is taken: the unit's journal", journal[:120], "strongswan" in journal or "charon" in journal)
    row("port 500 is taken: simplon status", "answers", edge.sh("simplon status", check=False).out != "")
    edge.sh("systemctl stop strongswan", within=120)
    wait_up(machines)
    wait_bgp_talks(machines)
    row("port 500 is free again", "the tunnel came up by itself, and BGP in it")


def test_charon_hangs(machines):
    """With the watchdog that the package comes with: no packet is lost while charon stands still, and another one takes over."""
    edge = machines.edge

    def unit(name):
        return edge.out(f"systemctl show -P {name} simplon-charon", quiet=True).strip()

    def alarms():
        return edge.out("journalctl -q -b -u simplon-charon -g 'Watchdog timeout' -o cat", quiet=True).strip().splitlines()

    fed = expect(lambda: int(unit("WatchdogTimestampMonotonic")) > int(unit("ActiveEnterTimestampMonotonic")), 120,
                 "charon gave a sign of life after it said that it is ready")
    before, spis, false = unit("MainPID"), children(machines).keys(), alarms()
    row("charon's watchdog", false or f"{unit('WatchdogUSec')}, is fed, no alarm so far", fed and not false)
    began = time.monotonic()
    edge.sh(f"kill -STOP {before}")
    try:
        no_loss(machines, "charon hangs")
        status = edge.sh("simplon status", check=False)
        row("charon hangs: simplon status", "answers", "edge-1" in status.out)
        expect(lambda: unit("MainPID") not in (before, "0") and unit("ActiveState") == "active", 240, "another charon runs")
    finally:
        edge.sh(f"kill -CONT {before}", check=False)
    said = alarms()
    row("charon hangs: the unit", f"runs again after {time.monotonic() - began:.0f} s: {' '.join(said)}", len(said) == 1)
    expect(lambda: (now := children(machines).keys()) and not now & spis, 240, "the tunnel has new SAs")
    wait_up(machines)
    no_loss(machines, "another charon took over")


def test_polkit_says_no(machines):
    """simplond is not root: without its rule it starts no unit, says why, and does when the rule is back."""
    edge = machines.edge
    rules, unit = "/usr/share/polkit-1/rules.d/50-simplon.rules", "simplon-bfdd@simplon-red"
    edge.sh(f"mv {rules} /root && systemctl restart polkit && systemctl stop {unit}", within=120)
    try:
        found = finding(edge, "polkit", "polkit")
        row("polkit says no: simplon doctor", f"{found['what']}; {found['remedy']}"[:120])
        journal = expect(lambda: edge.out("journalctl -q -b -u simplond -g 50-simplon.rules -o cat | tail -n 1", quiet=True).strip(), 120,
                         "the journal of simplond names the rule")
        row("polkit says no: the journal of simplond", journal[:160], unit in journal)
        no_loss(machines, "polkit says no")
    finally:
        edge.sh(f"mv /root/50-simplon.rules {rules}")
    expect(lambda: edge.sh(f"systemctl is-active {unit}", check=False).out.strip() == "active", 180, "the unit runs again")
    row("polkit says yes again", f"{unit} was started", findings(edge)["polkit"]["verdict"] == "ok")
    wait_path(machines)


def test_a_namespace_is_replaced(machines):
    """FRR of the old one, into whose processes simplond may not look, is ended; the devices follow, and the new one is prepared."""
    edge = machines.edge

    def bgpd():
        return edge.out("systemctl show -P MainPID simplon-bgpd@simplon-red", quiet=True).strip()

    before, began = bgpd(), time.monotonic()
    edge.sh("ip netns delete simplon-red && ip netns add simplon-red")
    expect(lambda: bgpd() not in (before, "0"), 180, "bgpd is another process")
    wait_path(machines)
    row("the namespace of a domain was replaced", f"traffic flows again after {time.monotonic() - began:.0f} s (emulated)")
    no_loss(machines, "the namespace of a domain was replaced")


def test_the_disk_is_full(machines):
    edge = machines.edge
    edge.sh("sed 's/name: edge-1/name: edge-2/' /root/gateway.yaml >/root/other.yaml")
    edge.sh("fallocate -l $(($(stat -f -c '%f * %S' /) - 8388608)) /var/tmp/full; dd if=/dev/zero of=/var/tmp/rest bs=64k 2>/dev/null; true", within=180)
    try:
        done = edge.sh("simplon apply --yes /root/other.yaml </dev/null", within=120, check=False)
        row("/var is full: simplon apply", (done.text.strip().splitlines() or ["says nothing"])[0][:120],
            done.code == 1 and "full" in done.text)
        finding(edge, "disk.space", "left")
        name = json.loads(edge.out("simplon status --json", quiet=True))["gateway"]
        row("/var is full: the configuration", f"still that of {name}", name == "edge-1")
        no_loss(machines, "/var is full")
    finally:
        edge.sh("rm -f /var/tmp/full /var/tmp/rest")
    expect(lambda: edge.sh("simplon status", check=False).code == 0, 60, "the audit log has caught up")
    row("/var has room again: simplon audit verify", "sound", edge.sh("simplon audit verify", check=False).code == 0)


def test_the_clock_is_wrong(machines):
    edge = machines.edge
    edge.sh("date -u -s 2020-02-02 >/dev/null")
    try:
        found = finding(edge, "clock.time", "clock")
        row("the clock says 2020: simplon doctor", f"{found['what']}"[:120])
        no_loss(machines, "the clock says 2020")
    finally:
        edge.sh("hwclock --hctosys --utc || date -u -s 2026-06-01 >/dev/null")
    expect(lambda: findings(edge)["clock.time"]["verdict"] == "ok", 60, "the doctor is content with the clock")
    odd = edge.sh("LC_ALL=xx_XX.UTF-8 LANG=nonsense simplon status", check=False)
    row("an odd locale: simplon status", "the same words", odd.code == 0 and "charon" in odd.out and "edge-1" in odd.out)


def test_the_whole_box_out_and_in_again(machines):
    """Export with secrets, lose the key file, import: under the units' sandboxes."""
    edge = machines.edge
    edge.write("/root/passphrase", "a-long-passphrase-for-this-test\n", 600)
    edge.sh("cd /root && simplon config export box.json --with-history --with-secrets --passphrase-file passphrase", within=120)
    row("export", "the key is not readable in it", edge.sh("grep -c correct-horse /root/box.json", check=False).out.strip() == "0")
    before = edge.out("sha256sum /etc/simplon/site-a.psk")
    edge.sh("rm /etc/simplon/site-a.psk")
    edge.sh("cd /root && simplon config import box.json --yes --passphrase-file passphrase", within=180)
    shown = edge.out("sha256sum /etc/simplon/site-a.psk; stat -c '%a %U' /etc/simplon/site-a.psk").splitlines()
    row("import brings the key back", shown[1], shown[0] == before.strip() and shown[1] == "600 simplond")
    wait_up(machines)
    no_loss(machines, "after the import")
    verified = edge.sh("simplon audit verify", check=False)
    row("simplon audit verify", (verified.out.strip().splitlines() or [verified.text])[0][:120], verified.code == 0)


def test_gates_undo_trace_and_capture(machines):
    """What a gateway in service is asked for, under the units' sandboxes: users, seccomp, AppArmor."""
    edge = machines.edge
    edge.sh("sed 's/name: edge-1/name: edge-2/' /root/gateway.yaml >/root/other.yaml")

    def name():
        return json.loads(edge.out("simplon status --json", quiet=True))["gateway"]

    def apply(gate, within):
        return edge.sh(f"simplon apply --yes /root/other.yaml --gate tunnel:site-a --gate {gate} --within {within} </dev/null",
                       within=300, check=False)

    refused = apply("ping:10.1.0.99@red", "5s")
    row("a gate that does not open", (refused.text.strip().splitlines() or [""])[-1][:120], refused.code == 1 and name() == "edge-1")
    kept = apply("ping:10.1.0.10@red", "2m")
    row("gates that open", (kept.text.strip().splitlines() or [""])[-1][:120], kept.code == 0 and name() == "edge-2")
    edge.sh("simplon config undo --yes </dev/null", within=120)
    row("simplon config undo", f"it is {name()} again", name() == "edge-1")
    traced = edge.sh("simplon trace --from tunnel:site-a --src 10.1.0.10 --dst 10.20.0.10", check=False)
    row("simplon trace", (traced.out.strip().splitlines() or [traced.text])[0][:120], traced.code == 0 and "vxlan_encap" in traced.out)
    capture = edge.start("simplon capture tunnel:site-a --proto icmp --count 4 --duration 60 -w /tmp/seen.pcapng")
    expect(lambda: traffic.ping(machines["host-a"], "10.20.0.10", count=1, wait=2, quiet=True).received and capture.finished(), 60,
           "four pings are captured")
    capture.wait(60).checked(edge.name)
    magic = edge.out("od -A n -t x1 -N 4 /tmp/seen.pcapng").split()
    row("simplon capture", f"{edge.out('stat -c %s /tmp/seen.pcapng').strip()} bytes of pcapng", magic == ["0a", "0d", "0d", "0a"])


# User and capabilities, as docs/security.md says.
CONFINED = {
    "simplond": ("simplond", {"SYS_ADMIN"}),
    "simplon-forwarder": ("simplon-forwarder", {"NET_ADMIN", "NET_RAW", "BPF", "SYS_ADMIN", "IPC_LOCK"}),
    "simplon-charon": ("simplon-charon", {"NET_BIND_SERVICE", "NET_RAW", "NET_ADMIN"}),
}
CAPABILITIES = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "IPC_LOCK": 14, "SYS_ADMIN": 21, "BPF": 39}  # linux/capability.h


def test_the_processes_are_confined(machines):
    """Of the processes themselves, after all that was asked of them: what the unit files say is another thing."""
    edge = machines.edge
    for unit, (user, names) in CONFINED.items():
        pid = edge.out(f"systemctl show -P MainPID {unit}", quiet=True).strip()
        status = dict(line.split(":\t", 1) for line in edge.out(f"cat /proc/{pid}/status", quiet=True).splitlines())
        profile = edge.out(f"cat /proc/{pid}/attr/current", quiet=True).strip("\0\n ")
        may = sum(1 << CAPABILITIES[name] for name in names)
        has = {kind: int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")}
        seen = f"{user}, {', '.join(sorted(names))} at most ({has['CapEff']:x}); no new privileges, seccomp, AppArmor {profile}"
        row(f"{unit} is", seen, status["Uid"].split() == [edge.out(f"id -u {user}", quiet=True).strip()] * 4
            and (has["CapEff"] | has["CapPrm"] | has["CapBnd"]) == may
            and (status["NoNewPrivs"], status["Seccomp"], profile) == ("1", "2", f"{unit} (enforce)"))


def test_keys_are_where_they_belong(machines):
    """The pre-shared key, and the keys of the SAs as the peer's kernel knows them: in no log, state file, command line or answer."""
    edge = machines.edge
    esp = re.findall(r"rfc4106\(gcm\(aes\)\) 0x([0-9a-f]{40,72})", machines.site.out("ip xfrm state", quiet=True))
    psk = edge.out("cat /etc/simplon/site-a.psk", quiet=True).strip()
    assert len(esp) >= 2 and len(psk) >= 16, "the peer has keys to look for"
    edge.write("/root/keys", "\n".join([psk, *esp]) + "\n", 600)
    try:
        answers = " ".join(f"simplon {words} --json;" for words in (
            "status", "config show", "audit show", "tunnel show", "tunnel show site-a", "route show", "bgp show", "doctor"))
        places = {
            "the journal": "journalctl -q --boot=all -o export",
            "command lines and environments": "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null",
            "answers of the CLI": f"({answers}) 2>&1",
        }
        for where, command in places.items():
            amount = int(edge.out(f"{command} | tee /root/looked | grep -acFif /root/keys >/root/found; stat -c %s /root/looked", within=180))
            found = edge.out("cat /root/found").strip()
            row(f"keys in {where}", f"{found} lines of {amount} bytes", found == "0" and amount > 1000)
        files = edge.sh("grep -rlaFif /root/keys /var/log /var/lib/simplon /run/simplon /run/simplon-frr /etc/simplon", within=180, check=False).out.split()
        row("keys in files", ", ".join(files), files == ["/etc/simplon/site-a.psk"])
    finally:
        edge.sh("rm -f /root/keys /root/looked /root/found")


def test_apparmor_has_denied_nothing(machines):
    told = denied(machines)
    row("AppArmor denied", told or "nothing", not told)
