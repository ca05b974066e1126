# SPDX-License-Identifier: GPL-2.0-or-later
"""A Simplon gateway: its three programs and charon in one underlay namespace, and the CLI to ask it."""
import json
import os
import pathlib
import shlex

import yaml

from . import charon, proc
from .expect import expect
from .notify_server import NotifyServer
from .topo import ROOT, Namespace, run

CHARON_CONFIGURATION = """
charon-systemd {{
  # kernel-simplon before kernel-netlink: the first gives the IPsec backend, the second addresses and routes.
  load = random nonce openssl pem pkcs1 pubkey x509 kdf socket-default vici kernel-simplon kernel-netlink
  install_routes = no
  install_virtual_ip = no
  retransmit_timeout = 2.0
  retransmit_tries = 3
  reuse_ikesa = no
  plugins {{
    kernel-simplon {{
      socket = {sa_socket}
    }}
    vici {{
      socket = unix://{vici}
    }}
  }}
{filelog}
}}
"""


def build_folder():
    """$SIMPLON_BUILD, or the build that is there."""
    if "SIMPLON_BUILD" in os.environ:
        return pathlib.Path(os.environ["SIMPLON_BUILD"])
    for name in ("dev", "release"):
        if (ROOT / "build" / name / "gateway/forwarder/simplon-forwarder").exists():
            return ROOT / "build" / name
    raise AssertionError("no programs in build/dev or build/release: build first, or set SIMPLON_BUILD")


def program(path):
    found = build_folder() / path
    assert found.exists(), f"{found} is not built"
    return found


class DomainNamespace(Namespace):
    """A routing domain's namespace, made by simplond."""

    def __init__(self, lab, short, name):  # pylint: disable=super-init-not-called
        self.lab, self.short, self.name, self.interfaces = lab, short, name, []


class Gateway:
    # Called with the words and the text of each reply that `show` reads.
    check_reply = staticmethod(lambda words, text: None)

    def __init__(self, space):
        self.space = space
        self.lab = space.lab
        self.short = space.short
        self.run_dir = self.lab.dir / f"{self.short}-run"
        self.state_dir = self.lab.dir / f"{self.short}-state"
        self.netns_prefix = f"{self.lab.id}-{self.short}-"
        self.forwarder = self.daemon = self.manager = None
        self.forwarder_options = []
        for folder in (self.run_dir, self.state_dir):
            folder.mkdir()
        folder = charon.plugin_folder(self.lab.dir / f"{self.short}-plugins",
                                      program("ipsec/charon-plugin/libstrongswan-kernel-simplon.so"))
        mounted = 'mount --bind "$1" "$2" && exec "$3"'
        self.charon = charon.Charon(
            space, self.lab.dir / self.short, CHARON_CONFIGURATION,
            ["unshare", "--mount", "sh", "-c", mounted, "charon", folder, charon.PLUGINS, charon.CHARON],
            sa_socket=self.run_dir / "sa.sock")
        self.lab.on_failure(self.collect)

    # Life

    def start(self):
        self.start_forwarder()
        self.charon.start()
        self.start_daemon()
        return self

    def start_forwarder(self, wait=True):
        argv = [program("gateway/forwarder/simplon-forwarder"), "--run-dir", self.run_dir, *self.forwarder_options]
        environment, descriptors = None, ()
        if self.manager:
            argv, environment, descriptors = self.manager.service(argv)
        self.forwarder = self.space.spawn(argv, log=f"{self.short}.forwarder.log", env=environment, descriptors=descriptors)
        if wait:
            self.wait_forwarder()

    def wait_forwarder(self):
        expect(lambda: self._up(self.forwarder) and (self.run_dir / "sa.sock").exists(), 20,
               f"{self.short}: the forwarder listens")

    def manage_forwarder(self):
        """From the next start on, the forwarder has a service manager with a descriptor store."""
        self.manager = NotifyServer(self.lab.dir / f"{self.short}-notify")
        self.lab.on_close(self.manager.close)

    def start_daemon(self):
        self.daemon = self.space.spawn(
            [program("gateway/daemon/simplond"), "--run-dir", self.run_dir, "--state-dir", self.state_dir,
             "--vici", self.charon.vici, "--netns-prefix", self.netns_prefix],
            log=f"{self.short}.simplond.log")
        self.wait_daemon()

    def wait_daemon(self, within=20):
        expect(lambda: self._up(self.daemon) and self.show("status", quiet=True), within,
               f"{self.short}: simplond answers")

    def _up(self, process):
        assert process.alive(), f"{process.argv[-1]} ended with {process.popen.returncode}: {process.text()[-2000:]}"
        return True

    def kill_daemon(self):
        """kill -9 of simplond, nothing else."""
        self.lab.echo(self.short, ["kill", "-9", self.daemon.pid, "# simplond"])
        self.daemon.kill()

    def restart_charon(self):
        """kill -9 of charon, and another one, as its supervisor does."""
        self.lab.echo(self.short, ["kill", "-9", self.charon.process.pid, "# charon"])
        self.charon.process.kill()
        self.charon.start()

    def kill_forwarder(self):
        """kill -9 of the forwarder, nothing else."""
        self.lab.echo(self.short, ["kill", "-9", self.forwarder.pid, "# simplon-forwarder"])
        self.forwarder.kill()

    def restart_forwarder(self):
        """As `systemctl restart` does it: SIGTERM, wait for the end, start again."""
        self.lab.echo(self.short, ["kill", self.forwarder.pid, "# simplon-forwarder, and started again"])
        self.forwarder.stop()
        self.start_forwarder()

    def succeed_forwarder(self):
        """As `systemctl reload` does it: a successor beside the one that forwards."""
        former = self.forwarder
        command = self.try_to_succeed()
        assert command.wait(30) == 0, self.forwarder.text()[-2000:]
        self.forwarder = proc.Follower(self.manager.main_process(), command.argv, command.log)
        self.lab.remember_process(self.forwarder)
        former.wait(10)
        self.wait_forwarder()

    def try_to_succeed(self):
        """The command that waits for the successor."""
        return self.space.spawn([program("gateway/forwarder/simplon-forwarder"), "--run-dir", self.run_dir, "--succeed",
                                 *self.forwarder_options],
                                log=f"{self.short}.forwarder.log", env={"NOTIFY_SOCKET": str(self.manager.path)})

    def stop(self):
        for process in (self.daemon, self.charon.process, self.forwarder):
            if process:
                process.stop()

    def assert_healthy(self):
        """All programs run, and no sanitizer complained."""
        for process in (self.daemon, self.charon.process, self.forwarder):
            self._up(process)
        for process in (self.daemon, self.forwarder):
            for word in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer"):
                text = process.text()
                assert word not in text, text[text.index(word):][:3000]

    # Asking and telling

    def cli(self, *words, check=True, quiet=False, timeout=30, input=None):
        """`simplon words...`; the finished process."""
        return self.space.run(program("gateway/cli/simplon"), *words, check=check, quiet=quiet, timeout=timeout,
                              input=input, env={"SIMPLON_SOCKET": str(self.run_dir / "api.sock")})

    def show(self, *words, quiet=True):
        """`simplon words... --json`, read."""
        text = self.cli(*words, "--json", quiet=quiet).stdout
        self.check_reply(words, text)
        return json.loads(text)

    def cli_environment(self):
        """How a person asks this gateway from a shell."""
        return (f"nsenter --net=/run/netns/{self.space.name} env SIMPLON_SOCKET="
                f"{shlex.quote(str(self.run_dir / 'api.sock'))} {program('gateway/cli/simplon')}")

    def write(self, document, name="gateway.yaml"):
        path = self.lab.dir / f"{self.short}-{name}"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
        return path

    def secret(self, name, text):
        path = self.lab.dir / f"{self.short}-{name}"
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)

    def apply(self, document, *options, check=True):
        return self.cli("apply", self.write(document), *options, check=check)

    def domain(self, name):
        return DomainNamespace(self.lab, f"{self.short}/{name}", self.netns_prefix + name)

    # What it says, in the words of the local API

    def tunnel(self, name):
        return next(one for one in self.show("tunnel", "show")["tunnels"] if one["name"] == name)

    def tunnel_up(self, name):
        """Up by charon, and the forwarder has an active outbound SA."""
        one = self.tunnel(name)
        programmed = one.get("programmed") or {}
        return one["observed"]["state"] == "up" and any(
            sa["active"] and not sa["inbound"] for sa in programmed.get("sas", []))

    def neighbor(self, name):
        for domain in self.show("bgp", "show")["domains"]:
            for one in domain["neighbors"]:
                if one["name"] == name:
                    return one
        raise AssertionError(f"no BGP neighbor {name}")

    def bgp_established(self, name):
        return self.neighbor(name)["observed"]["state"] == "Established"

    def routes(self, domain):
        """{prefix: route} of a domain."""
        found = next(one for one in self.show("route", "show")["domains"] if one["name"] == domain)
        return {route["prefix"]: route for route in found["routes"]}

    def drops(self):
        """{name: packets}"""
        return {one["name"]: one["packets"] for one in self.show("drop", "show")["drops"]}

    def current(self):
        """The forwarder confirmed what simplond wants."""
        programmed = self.show("status").get("programmed") or {}
        return programmed.get("generation_wanted") is not None and \
            programmed["generation_wanted"] == programmed["generation_confirmed"]

    def accounting(self):
        return self.show("drop", "show")["accounting"]

    def assert_accounted(self):
        """received + originated = sent + punted + dropped, exactly, as soon as no packet is on its way."""
        def balanced():
            count = self.accounting()
            return count["received"] + count["originated"] == count["sent"] + count["punted"] + count["dropped"] and count

        return expect(balanced, 5, f"{self.short}: every packet is accounted for")

    def wait_tunnel(self, name, within=30):
        expect(lambda: self.tunnel_up(name), within, f"{self.short}: tunnel {name} is up")
        return self.tunnel(name)["observed"]["established_in_ms"]

    def wait_bgp(self, name, within=60):
        expect(lambda: self.bgp_established(name), within, f"{self.short}: BGP with {name} is established")

    def wait_route(self, domain, prefix, within=20):
        return expect(lambda: self.routes(domain).get(prefix) and self.current() and self.routes(domain)[prefix], within,
                      f"{self.short}: domain {domain} has {prefix}")

    def collect(self, folder):
        if not self.daemon:
            return
        for words in (["status"], ["tunnel", "show"], ["vpc", "show"], ["endpoint", "show"], ["route", "show"],
                      ["bgp", "show"], ["drop", "show"], ["config", "show"]):
            done = self.cli(*words, check=False, quiet=True)
            (folder / f"{self.short}.cli-{'-'.join(words)}.txt").write_text(done.stdout + done.stderr)
            done = self.cli(*words, "--json", check=False, quiet=True)
            (folder / f"{self.short}.cli-{'-'.join(words)}.json").write_text(done.stdout)
        for path in pathlib.Path("/run/netns").glob(f"{self.netns_prefix}*"):
            text = []
            for argv in (["ip", "-s", "addr"], ["ip", "route"], ["ss", "-tunap"]):
                done = run(["nsenter", f"--net={path}", "--", *argv], check=False)
                text.append(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
            for command in ("show running-config", "show bgp summary", "show ip route", "show ipv6 route",
                            "show fpm counters"):
                done = run(["vtysh", "-N", path.name, "-c", command], check=False)
                text.append(f"{path.name}# {command}\n{done.stdout}{done.stderr}")
            (folder / f"{path.name}.domain.txt").write_text("\n".join(text))
