# SPDX-License-Identifier: GPL-2.0-or-later
import functools
import itertools
import json

import pytest

from lib import gateway as g
from lib.expect import expect

LETTERS = itertools.count()


class SickGateway(g.Gateway):
    """Its programs see a host where something is hidden: `hidden` lists (mount, folder below it)."""

    def __init__(self, lab, hidden=(), env=None):
        short = f"g{next(LETTERS)}"
        space, peer = lab.namespace(short), lab.namespace(f"{short}p")
        lab.veth(space, "wan0", peer, "gw")
        space.ip("addr add 203.0.113.2/24 dev wan0")
        empty = lab.dir / f"{short}-empty"
        empty.mkdir()
        # Only the mount that something is hidden in leaves the host; namespaces made below /run are seen by all.
        script = "".join(f"mount --make-private {mount} && mount --bind {empty} {folder} && " for mount, folder in hidden)
        self.prefix = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script + 'exec "$@"', "sh"]
        spawn = space.spawn
        space.spawn = lambda argv, **options: spawn([*self.prefix, *argv], **{"env": env, **options})
        super().__init__(space)

    def findings(self):
        done = self.space.run(*self.prefix, g.program("gateway/cli/simplon"), "doctor", "--json",
                              env={"SIMPLON_SOCKET": str(self.run_dir / "api.sock")})
        self.check_reply(["doctor"], done.stdout)
        return {one["id"]: one for one in json.loads(done.stdout)["findings"]}

    def up(self):
        self.start_forwarder()
        self.start_daemon()
        return self

    def stop(self):
        for process in (self.daemon, self.forwarder):
            assert process.alive()
            process.stop()


def document(name="edge"):
    return {"gateway": {"name": name, "vtep": "203.0.113.2"}, "uplinks": [{"interface": "wan0"}], "domains": [{"name": "prod"}],
            "vpcs": [{"name": "red", "domain": "prod", "vni": 100, "prefixes": ["10.20.0.0/24"], "gateway": ["10.20.0.1/24"],
                      "endpoints": [{"address": "10.20.0.11", "mac": "02:00:00:00:64:0b", "vtep": "203.0.113.9"}]}]}


def works(gateway):
    """The whole configuration is in the forwarder, and the uplink is taken over."""
    gateway.apply(document())
    expect(gateway.current, 20, "the document is programmed")
    uplink = gateway.show("status")["uplinks"][0]
    assert uplink["mode"].startswith("native") and not uplink["error"], uplink
    assert next(one for one in gateway.show("vpc")["vpcs"])["programmed"]["host_port_up"]


@pytest.mark.parametrize("hidden,env,finding,verdict", [
    ([("/sys", "/sys/kernel/btf")], None, "kernel.btf", "warning"),
    ([("/proc", "/proc/sys/net/ipv6")], None, "ipv6", "ok"),
    ([], {"LC_ALL": "xx_XX.UTF-8", "LANG": "nonsense"}, "locale", "ok"),
], ids=["no BTF", "no IPv6", "odd locale"])
def test_what_is_not_needed_is_not_missed(lab, hidden, env, finding, verdict):
    gateway = SickGateway(lab, hidden, env).up()
    works(gateway)
    assert gateway.findings()[finding]["verdict"] == verdict
    gateway.stop()


def test_without_tun_a_change_is_refused_with_the_remedy(lab):
    gateway = SickGateway(lab, [("/dev", "/dev/net")]).up()
    done = gateway.apply(document(), check=False)
    assert done.returncode == 1 and "/dev/net/tun" in done.stderr and "modprobe tun" in done.stderr, done
    assert gateway.show("config", "history")["current"] == 0
    assert gateway.findings()["kernel.tun"]["verdict"] == "failed"
    # What needs no host port works.
    gateway.apply({key: value for key, value in document().items() if key != "vpcs"})
    expect(gateway.current, 20, "the rest is programmed")
    assert gateway.show("status")["uplinks"][0]["mode"].startswith("native")
    gateway.stop()


def test_another_xdp_program_has_the_uplink(lab):
    """That of another forwarder, in the same namespace with a run folder of its own."""
    gateway = SickGateway(lab)
    first = SickGateway(lab)
    first.space = gateway.space
    first.up()
    works(first)
    gateway.up()
    gateway.apply(document(), check=False)
    expect(lambda: "another XDP program" in json.dumps(gateway.show("status")), 20, "status says why the uplink is not used")
    found = gateway.findings()["nic.wan0.xdp"]
    assert found["verdict"] == "failed" and "another XDP program" in found["what"], found
    first.stop()
    expect(lambda: gateway.show("status")["uplinks"][0]["mode"].startswith("native"), 20, "it takes the uplink when it is free")
    gateway.stop()


def test_frr_of_the_host_is_fine(lab):
    gateway = SickGateway(lab)
    zebra = lab.dir / "zebra"
    zebra.write_bytes(open("/usr/bin/tail", "rb").read())
    zebra.chmod(0o755)
    process = gateway.space.spawn([zebra, "-f", "/dev/null"], log="zebra.log")
    expect(lambda: "zebra" in gateway.findings()["frr.host"]["what"], 10, "the doctor sees it")
    assert gateway.findings()["frr.host"]["verdict"] == "ok"
    process.stop()


def test_a_full_disk_refuses_changes_and_nothing_else(lab):
    gateway = SickGateway(lab)
    run = functools.partial(gateway.space.run, quiet=True)
    run("mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "none", gateway.state_dir)
    try:
        gateway.up()
        works(gateway)
        before = gateway.show("config", "history")["current"]
        run("sh", "-c", f"head -c 1m /dev/zero >{gateway.state_dir}/full", check=False)
        done = gateway.apply(document("other"), check=False)
        assert done.returncode == 1 and "the disk is full" in done.stderr, done
        assert gateway.show("config", "history")["current"] == before and gateway.show("status")["gateway"] == "edge"
        # The next start finds the old state, on the full disk.
        gateway.kill_daemon()
        gateway.start_daemon()
        expect(gateway.current, 20, "programmed again")
        assert gateway.show("status")["gateway"] == "edge"
        run("rm", f"{gateway.state_dir}/full")
        gateway.apply(document("other"))
        gateway.stop()
    finally:
        run("umount", "--lazy", gateway.state_dir)
