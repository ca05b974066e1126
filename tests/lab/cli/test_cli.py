# SPDX-License-Identifier: GPL-2.0-or-later
import json
import socket

import pytest

from lib import gateway as g
from lib import schema
from lib.expect import expect
from lib.terminal import Terminal
from lib.topo import ROOT

SCRIPTS = ROOT / "gateway/cli/completion"


@pytest.fixture(scope="module")
def gateway(lab):
    space = lab.namespace("gw")
    peer = lab.namespace("peer")
    lab.veth(space, "wan0", peer, "gw")
    space.ip("addr add 203.0.113.2/24 dev wan0")
    made = g.Gateway(space)
    made.forwarder_options = ["--worker-cpus", "0"]
    made.start_forwarder()
    made.start_daemon()
    made.apply(document(made))
    expect(made.current, 20, "the first document is programmed")
    yield made
    for process in (made.daemon, made.forwarder):
        assert process.alive()
        process.stop()


def document(gateway):
    tunnels = [{"name": name, "domain": "prod", "local": "203.0.113.2", "remote": remote,
                "psk-file": gateway.secret(f"{name}.psk", "not for anybody"), "inside": [inside]}
               for name, remote, inside in (("paris", "198.51.100.7", "169.254.10.1/30"),
                                            ("pisa", "198.51.100.8", "169.254.10.5/30"),
                                            ("berlin", "198.51.100.9", "169.254.10.9/30"))]
    return {"gateway": {"name": "edge", "vtep": "203.0.113.2"}, "uplinks": [{"interface": "wan0"}],
            "domains": [{"name": "prod"}, {"name": "lab"}],
            "vpcs": [{"name": "red", "domain": "prod", "vni": 100, "prefixes": ["10.20.0.0/24", "fd00:20::/64"],
                      "endpoints": [{"address": address, "mac": "02:00:00:00:64:0b", "vtep": "203.0.113.9"}
                                    for address in ("10.20.0.11", "fd00:20::11")]}],
            "tunnels": tunnels}


# JSON, exit codes, guesses


SHOWN = [
    ["status"], ["tunnel"], ["tunnel", "show", "paris"], ["vpc"], ["vpc", "show", "red"], ["endpoint", "show", "red"],
    ["route"], ["route", "show", "--domain", "prod"], ["bgp"], ["drop"], ["drop", "show", "esp_replayed"], ["config"],
    ["config", "show", "--version", "1"], ["config", "history"], ["config", "diff"], ["config", "diff", "0", "1"], ["doctor"],
    ["tunnel", "remove", "paris", "--dry-run"], ["tunnel", "show", "nobody"], ["config", "show", "--version", "77"],
    ["confirm"], ["audit"], ["audit", "show", "--last", "5"], ["acl"], ["nat"], ["circuit"], ["connection"],
    ["trace", "--from", "vpc:red", "--src", "10.20.0.11", "--dst", "10.20.0.12"]]


@pytest.mark.parametrize("words", SHOWN)
def test_json_is_as_the_schemas_say(gateway, words):
    done = gateway.cli(*words, "--json", check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    schema.check(words, done.stdout)


CHANGES = [["config", "check", "{document}"], ["apply", "{document}", "--confirm", "60"], ["confirm"], ["config", "undo"],
           ["endpoint", "remove", "red", "10.20.0.11"],
           ["endpoint", "add", "red", "10.20.0.11", "--mac", "02:00:00:00:64:0b", "--vtep", "203.0.113.9"],
           ["config", "export", "{box}"], ["config", "import", "{box}", "--dry-run"], ["config", "import", "{box}"],
           ["tunnel", "down", "paris"], ["tunnel", "up", "nobody"], ["audit", "verify", "--file", "{log}"]]


def test_changes_are_as_the_schemas_say(gateway):
    places = {"document": gateway.write(document(gateway), "again.yaml"), "box": gateway.lab.dir / "box.json",
              "log": gateway.state_dir / "audit.log"}
    for words in CHANGES:
        words = [word.format(**places) for word in words]
        done = gateway.cli(*words, "--json", check=False)
        schema.check([word for word in words if word != "60"], done.stdout)
    gateway.apply(document(gateway))


def test_no_schema_is_left_out():
    published = {path.name.removesuffix(".schema.json") for path in schema.SCHEMAS.glob("*.schema.json")}
    assert {schema.name_of(words) for words in SHOWN + CHANGES} | {"errors"} == published


def test_verbs_keep_the_comments(gateway):
    text = "# the edge of Berlin\n" + gateway.write(document(gateway)).read_text().replace(
        "tunnels:\n", "tunnels:   # ask Claire\n")
    gateway.apply(text)
    gateway.cli("tunnel", "remove", "berlin")
    gateway.cli("endpoint", "add", "red", "10.20.0.77", "--mac", "02:00:00:00:64:4d", "--vtep", "203.0.113.9")
    shown = gateway.cli("config", "show").stdout
    assert "# the edge of Berlin\n" in shown and "tunnels:   # ask Claire\n" in shown and "10.20.0.77" in shown, shown
    assert "berlin" not in shown
    gateway.apply(document(gateway))


def test_two_people_change_the_same_version(gateway):
    """Both take the configuration, both edit it, both apply at once: one wins, the other is told who did what."""
    taken = gateway.cli("config", "show").stdout
    before = gateway.show("config", "history")["current"]
    assert taken.startswith(f"# version {before}, "), taken.splitlines()[0]
    paths = [gateway.write(taken.replace("vni: 100", f"vni: 100\n  mtu: {mtu}"), f"person-{mtu}.yaml") for mtu in (1301, 1302)]
    people = [gateway.space.spawn([g.program("gateway/cli/simplon"), "--socket", gateway.run_dir / "api.sock", "apply", path,
                                   "--comment", path.name], log=f"{path.name}.log") for path in paths]
    expect(lambda: not any(person.alive() for person in people), 30, "both have their answer")
    said = [person.text() for person in people]
    winner = 0 if "applied as version" in said[0] else 1
    assert f"applied as version {before + 1}" in said[winner], said
    refused = " ".join(said[1 - winner].split())
    assert f"refused: the configuration is at version {before + 1}, not {before}; since then: version {before + 1} by root at " in refused, refused
    assert f"({paths[winner].name})" in refused and f"simplon config diff {before}" in refused and f"--base {before + 1}" in refused, refused
    assert gateway.show("config", "history")["current"] == before + 1
    assert f"mtu: {1301 + winner}" in gateway.cli("config", "show").stdout
    assert gateway.show("vpc", "show")["vpcs"][0]["config"]["mtu"] == 1301 + winner
    assert gateway.show("config", "show")["pending"] is None
    # Seen and meant.
    assert gateway.cli("apply", paths[1 - winner], check=False).returncode == 1
    gateway.cli("apply", paths[1 - winner], "--base", str(before + 1))
    assert f"mtu: {1302 - winner}" in gateway.cli("config", "show").stdout
    # An older version shown now starts from now.
    old = gateway.write(gateway.cli("config", "show", str(before)).stdout, "old.yaml")
    gateway.cli("apply", old)
    shown = gateway.cli("config", "show").stdout
    assert shown.count("# version ") == 1 and shown.splitlines()[1:] == taken.splitlines()[1:], shown
    gateway.apply(document(gateway))


def test_undo_takes_what_apply_takes(gateway):
    gateway.cli("tunnel", "remove", "pisa")
    before = gateway.show("config", "history")["current"]
    assert "+ tunnel pisa" in gateway.cli("config", "undo", "--dry-run").stdout
    assert gateway.show("config", "history")["current"] == before
    done = gateway.cli("config", "undo", "--confirm", "60", "--comment", "it was needed")
    assert "to keep it: simplon confirm" in done.stdout and gateway.tunnel("pisa"), done.stdout
    final = gateway.cli("config", "undo", "--confirm", "60", check=False)
    assert final.returncode == 1 and "is on probation" in final.stderr, final
    gateway.cli("confirm")
    assert gateway.show("config", "history")["versions"][0]["comment"].endswith(": it was needed")


def test_exit_codes(gateway):
    assert gateway.cli("config", "history", check=False).returncode == 0
    assert gateway.cli("tunnel", "show", "nobody", check=False).returncode == 1
    assert gateway.cli("tunnel", "shwo", check=False).returncode == 2
    assert gateway.cli("status", "--socket", "/nonexistent/api.sock", check=False).returncode == 3
    assert gateway.cli("tunnel", "show", "paris", check=False).returncode == 4
    assert gateway.cli("tunnel", "show", "paris", "--json", check=False).returncode == 0


@pytest.mark.parametrize("words,guess", [
    (["tunel"], "tunnel"), (["tunnel", "remvoe"], "remove"), (["tunnel", "show", "--jsn"], "--json"),
    (["tunnel", "show", "parris"], "paris"), (["tunnel", "up", "parris"], "paris"), (["tunnel", "rekey", "Paris"], "paris"), (["vpc", "show", "rde"], "red"), (["route", "--domain", "prd"], "prod"),
    (["drop", "show", "esp_replyed"], "esp_replayed"), (["endpoint", "remove", "red", "10.20.0.12"], "10.20.0.11")])
def test_what_may_have_been_meant(gateway, words, guess):
    done = gateway.cli(*words, check=False)
    assert done.returncode in (1, 2) and f"did you mean '{guess}'?" in done.stderr, done


@pytest.mark.parametrize("words,code,said", [
    (["--prefix", "10.1.2.3/16"], 2, "'10.1.2.3/16' has host bits set"), (["--prefix", "10.0.0.0 /8"], 2, "'10.0.0.0 '"),
    (["--domain", "prod,lab"], 1, "there is no domain 'prod,lab'"), (["--domain", "nowhere"], 1, "hint: there is "),
    (["--domain", ""], 2, "--domain: the value is empty"), (["--prefix", ""], 2, "--prefix: the value is empty")])
def test_routes_of_what_is_no_domain_or_prefix(gateway, words, code, said):
    done = gateway.cli("route", "show", *words, check=False)
    assert done.returncode == code and not done.stdout and said in done.stderr, done


@pytest.mark.parametrize("words,code,said", [
    (["tunnel", "show", ""], 2, "NAME: the value is empty"), (["tunnel", "remove", ""], 2, "NAME: the value is empty"),
    (["--socket", "", "status"], 2, "--socket: the value is empty"), (["drop", "show", ""], 2, "REASON: the value is empty"),
    (["trace", "--from", "vpc:red", "--src", "", "--dst", "10.1.0.10"], 2, "--src: the value is empty"),
    (["trace", "--from", "vpc:red", "--src", "10.20.0.11 ", "--dst", "10.1.0.10"], 2, "'10.20.0.11 ' has a ' '")])
def test_values_that_no_script_meant(gateway, words, code, said):
    done = gateway.cli(*words, check=False)
    assert done.returncode == code and not done.stdout and said in done.stderr, done


def test_pages_fit_100_columns(gateway):
    for words in (["status"], ["tunnel"], ["tunnel", "show", "paris"], ["vpc", "show", "red"], ["endpoint"], ["route"],
                  ["drop", "show", "--all"], ["config", "history"], ["doctor", "--all"]):
        for line in gateway.cli(*words, check=False).stdout.splitlines():
            assert len(line) <= 100, f"{words}: {line}"


# Completion


def completed(gateway, *words):
    """What the program tells the completion scripts."""
    done = gateway.cli("__complete", *words, quiet=True)
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("words,wanted", [
    (["tu"], ["words", "tunnel"]),
    (["tunnel", "re"], ["words", "remove", "rekey"]),
    (["tunnel", "show", "p"], ["words", "paris", "pisa"]),
    (["tunnel", "show", "--json", "b"], ["words", "berlin"]),
    (["tunnel", "add", "x", "--domain", "p"], ["words", "prod"]),
    (["tunnel", "add", "x", "--domain=l"], ["words", "--domain=lab"]),
    (["tunnel", "add", "x", "--psk-file", ""], ["files"]),
    (["vpc", "remove", ""], ["words", "red"]),
    (["route", "--domain", ""], ["words", "prod", "lab"]),
    (["endpoint", "remove", "red", "fd"], ["words", "fd00:20::11"]),
    (["drop", "show", "esp_rep"], ["words", "esp_replayed"]),
    (["tunnel", "rekey", "--i"], ["words", "--ike"]),
    (["--color", "a"], ["words", "auto", "always"]),
    (["apply", ""], ["files"]),
    (["apply", "x.yaml", "--gate", "tunnel:p"], ["words", "tunnel:paris", "tunnel:pisa"]),
    (["config", "undo", "--gate", "ping:10.1.0.1@"], ["words", "ping:10.1.0.1@prod", "ping:10.1.0.1@lab"]),
    (["doctor", "--interface", "wan"], ["words", "wan0"]),
    (["nonsense", ""], ["words"])])
def test_what_completes(gateway, words, wanted):
    assert completed(gateway, *words) == wanted


def test_versions_complete(gateway):
    versions = [str(one["version"]) for one in gateway.show("config", "history")["versions"]]
    assert completed(gateway, "config", "undo", "--to", "") == ["words", *versions]


def test_completion_is_silent_without_simplond(gateway):
    done = gateway.cli("__complete", "--socket", "/nonexistent/api.sock", "tunnel", "show", "")
    assert (done.stdout, done.stderr) == ("words\n", "")


def shell_environment(gateway):
    folder = g.program("gateway/cli/simplon").parent
    return {"SIMPLON_SOCKET": gateway.run_dir / "api.sock", "PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": gateway.lab.dir}


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "PS1='rea''dy> '; bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; "
             f"source /usr/share/bash-completion/bash_completion; source {SCRIPTS}/simplon.bash\r"),
    "zsh": (["zsh", "-f", "-i"],
            f"PS1='rea''dy> '; fpath=({SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D; unsetopt beep; "
            "zstyle ':completion:*' list-prompt ''\r"),
}


@pytest.mark.parametrize("shell", sorted(SHELLS))
@pytest.mark.parametrize("typed,seen", [
    ("simplon tunnel show par\t", r"simplon tunnel show paris "),
    ("simplon tunnel sho\t", r"simplon tunnel show "),
    ("simplon vpc remove r\t", r"simplon vpc remove red "),
    ("simplon tunnel show p\t\t", r"paris[^\n]*\n?[^\n]*pisa"),
    ("simplon endpoint remove red fd00:2\t", r"simplon endpoint remove red fd00:20::11 "),
    ("simplon route show --dom\t", r"simplon route show --domain "),
    ("simplon apply /etc/hostn\t", r"simplon apply /etc/hostname "),
])
def test_real_shells(gateway, shell, typed, seen):
    argv, setup = SHELLS[shell]
    with Terminal(argv, shell_environment(gateway)) as terminal:
        terminal.type(setup)
        terminal.wait_for(r"ready> ")
        terminal.forget()
        terminal.type(typed)
        terminal.wait_for(seen)


# At a terminal


def at_terminal(gateway, *words, **env):
    return Terminal([g.program("gateway/cli/simplon"), *words], {"SIMPLON_SOCKET": gateway.run_dir / "api.sock", **env})


def test_removal_is_shown_and_asked(gateway):
    version = gateway.show("config", "history")["current"]
    for answer in ("n\r", "\r"):
        with at_terminal(gateway, "tunnel", "remove", "pisa") as terminal:
            terminal.wait_for(r"- tunnel pisa(.|\n)*Remove tunnel pisa\? \[y/N\] ")
            terminal.type(answer)
            assert terminal.wait_end() == 1
            assert "nothing was changed" in terminal.text
    assert gateway.show("config", "history")["current"] == version
    with at_terminal(gateway, "tunnel", "remove", "pisa") as terminal:
        terminal.wait_for(r"\[y/N\] ")
        terminal.type("y\r")
        assert terminal.wait_end() == 0
    with at_terminal(gateway, "config", "undo") as terminal:
        terminal.wait_for(r"tunnel remove pisa(.|\n)*\+ tunnel pisa(.|\n)*Go back to the version before it\? \[y/N\] ")
        terminal.type("y\r")
        assert terminal.wait_end() == 0
    assert gateway.tunnel("pisa")


def test_apply_is_shown_and_asked(gateway):
    less = document(gateway)
    less["tunnels"] = [one for one in less["tunnels"] if one["name"] != "pisa"]
    path = gateway.write(less, "less.yaml")
    with at_terminal(gateway, "apply", path) as terminal:
        terminal.wait_for(r"- tunnel pisa(.|\n)*the tunnel is closed(.|\n)*Apply it\? \[y/N\] ")
        terminal.type("n\r")
        assert terminal.wait_end() == 1
    assert gateway.tunnel("pisa")


def test_what_takes_traffic_away_is_asked(gateway):
    fewer, more = document(gateway), document(gateway)
    fewer["vpcs"][0]["prefixes"][0] = "10.20.0.0/25"
    more["vpcs"][0]["prefixes"].append("10.20.1.0/24")
    with at_terminal(gateway, "apply", gateway.write(fewer, "fewer.yaml")) as terminal:
        terminal.wait_for(r"lets less pass than before at 1 object(.|\n)*prefixes: nothing is carried(.|\n)*Apply it\? \[y/N\] ")
        terminal.type("n\r")
        assert terminal.wait_end() == 1
    with at_terminal(gateway, "apply", gateway.write(more, "more.yaml")) as terminal:
        assert terminal.wait_end() == 0
        assert "[y/N]" not in terminal.text
    gateway.cli("config", "undo")


def test_yes_does_not_ask(gateway):
    with at_terminal(gateway, "tunnel", "remove", "pisa", "--yes") as terminal:
        assert terminal.wait_end() == 0
    gateway.cli("config", "undo")
    assert gateway.tunnel("pisa")


def test_color_only_for_people(gateway):
    with at_terminal(gateway, "tunnel") as terminal:
        terminal.wait_end()
        assert "\x1b[" in terminal.raw
    with at_terminal(gateway, "tunnel", NO_COLOR="1") as terminal:
        terminal.wait_end()
        assert "\x1b[" not in terminal.raw
    assert "\x1b[" not in gateway.cli("tunnel", check=False).stdout
    assert "\x1b[" in gateway.cli("tunnel", "--color", "always", check=False).stdout


def test_what_takes_long_says_so(gateway, lab):
    """A simplond that thinks: accepts, and answers nothing."""
    path = lab.dir / "slow.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with at_terminal(gateway, "status", "--socket", str(path)) as terminal:
            terminal.wait_for(r"waiting for simplond: 1 s")
            connection, _ = server.accept()
            connection.close()
            assert terminal.wait_end() == 3


# The doctor


def findings(gateway, *before, options=()):
    environment = {"SIMPLON_SOCKET": str(gateway.run_dir / "api.sock")}
    done = gateway.space.run(*before, g.program("gateway/cli/simplon"), "doctor", "--json", *options, env=environment)
    schema.check(["doctor"], done.stdout)
    return {one["id"]: one for one in json.loads(done.stdout)["findings"]}


def test_doctor_sees_the_uplink_and_what_the_forwarder_made_of_it(gateway):
    found = findings(gateway)
    assert found["nic.wan0.link"]["verdict"] == "ok" and "veth" in found["nic.wan0.link"]["what"]
    assert found["nic.wan0.xdp"]["verdict"] == "ok" and "native" in found["nic.wan0.xdp"]["what"]
    assert found["kernel.af-xdp"]["verdict"] == found["kernel.tun"]["verdict"] == found["limit.memlock"]["verdict"] == "ok"
    assert found["nic.wan0.control-ring"]["verdict"] == found["nic.wan0.lost"]["verdict"] == "ok"
    assert found["workers.queues"]["verdict"] == "ok" and "1 worker for 1 receive queue" in found["workers.queues"]["what"]
    assert found["workers.cpus"]["verdict"] == "ok" and "worker0 on CPU 0" in found["workers.cpus"]["what"]
    assert found["charon"]["verdict"] == "failed" and found["charon"]["remedy"]
    assert found["port.ike"]["verdict"] == "warning"
    gateway.space.ip("link set wan0 mtu 1400")
    assert findings(gateway)["mtu.overlay"]["verdict"] == "warning"
    gateway.space.ip("link set wan0 mtu 1500")


def test_doctor_names_who_has_the_ports_of_ike(gateway):
    script = ("import signal, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 500)); "
              "print('bound', flush=True); signal.pause()")
    other = gateway.space.spawn(["/usr/bin/python3", "-c", script], log="other.log")
    try:
        expect(lambda: "bound" in other.text(), 10, "somebody else has port 500")
        found = findings(gateway)["port.ike"]
        assert found["verdict"] == "failed" and "python3" in found["what"] and "not Simplon's" in found["what"]
    finally:
        other.stop()


def test_doctor_knows_our_charon(gateway):
    gateway.charon.start()
    try:
        expect(lambda: findings(gateway)["charon"]["verdict"] == "ok", 20, "simplond reaches charon")
        found = findings(gateway)["port.ike"]
        assert found["verdict"] == "ok" and "Simplon's charon" in found["what"], found
    finally:
        gateway.charon.stop()


def test_doctor_works_without_simplond(gateway):
    found = findings(gateway, options=["--socket", "/nonexistent/api.sock"])
    assert found["simplond"]["verdict"] == "failed" and "not reachable" in found["simplond"]["what"]
    assert found["nic.wan0.link"]["verdict"] == "ok"


def test_doctor_without_root_says_what_it_cannot_see(gateway):
    found = findings(gateway, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    unseen = [one for one in found.values() if one["verdict"] == "unseen"]
    assert any("root" in one["remedy"] for one in unseen), unseen
    assert found["nic.wan0.link"]["verdict"] == "ok"


def sick(gateway, *commands, env=None):
    """The doctor on a host that looks different to it: in a mount namespace of its own."""
    script = " && ".join([*commands, 'exec "$@"'])
    return findings(gateway, *(["env", *(f"{key}={value}" for key, value in (env or {}).items())]),
                    "unshare", "--mount", "sh", "-c", script, "sh")


def test_doctor_on_sick_hosts(gateway, lab):
    empty = lab.dir / "empty"
    empty.mkdir()
    found = sick(gateway, f"mount --bind {empty} /sys/kernel/btf")
    assert found["kernel.btf"]["verdict"] == "warning" and "BTF" in found["kernel.btf"]["remedy"]
    (lab.dir / "cpus").write_text("1-3\n")
    found = sick(gateway, f"mount --bind {lab.dir / 'cpus'} /sys/devices/system/cpu/online")
    assert found["workers.cpus"]["verdict"] == "failed" and "offline" in found["workers.cpus"]["what"]
    found = sick(gateway, f"mount --bind {empty} /dev/net")
    assert found["kernel.tun"]["verdict"] == "failed" and "modprobe tun" in found["kernel.tun"]["remedy"]
    found = sick(gateway, f"mount --bind {empty} /proc/sys/net/ipv6")
    assert found["ipv6"]["verdict"] == "failed"
    found = sick(gateway, "mount -t tmpfs -o size=1m none /var/lib", "mkdir /var/lib/simplon",
                 "{ head -c 2m /dev/zero >/var/lib/simplon/full 2>/dev/null || true; }")
    assert found["disk.space"]["verdict"] == "failed" and "refused" in found["disk.space"]["what"]
    found = sick(gateway, "mount -t tmpfs -o nr_inodes=3 none /var/lib", "mkdir /var/lib/simplon")
    assert found["disk.inodes"]["verdict"] in ("warning", "failed")
    found = sick(gateway, "true", env={"LC_ALL": "xx_XX.UTF-8"})
    assert found["locale"]["verdict"] == "warning" and "xx_XX" in found["locale"]["what"]
