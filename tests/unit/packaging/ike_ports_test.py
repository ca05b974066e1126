#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose is UDP port 500? packaging/systemd/host-ike and check-ike-ports, and what the maintainer scripts of simplon-charon make of it.

Each runs in namespaces of its own (mounts, network) with another /etc and /var/lib; systemctl is a stub that knows which units are
enabled and writes down what it is told.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "packaging" / "systemd"
DEBIAN = ROOT / "packaging" / "debian"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{folder}/told
for word; do last=$word; done
case " $* " in
  *" is-enabled "*) if grep -sqx alias-$last {folder}/enabled; then echo alias; else grep -qx "$last" {folder}/enabled; fi ;;
  *" disable "*) sed -i "/^$last$/d" {folder}/enabled ;;
  *" enable "*) echo "$last" >>{folder}/enabled ;;
esac
"""
DEBIANS_SWANCTL = "# connections {\n#   <conn> {\n# }\n\n# Include config snippets\ninclude conf.d/*.conf\n"
DEBIANS_IPSEC = "config setup\n\t# uniqueids = no\n\n#conn sample\n#      auto=start\n"


class Host(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="simplon-ike-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("bin", "etc", "lib", "state", "systemd"):
            (self.folder / name).mkdir()
        for name in ("host-ike", "check-ike-ports"):
            shutil.copy(SCRIPTS / name, self.folder / "lib")
        self.program("systemctl", SYSTEMCTL.format(folder=self.folder))
        self.program("deb-systemd-invoke", "#!/bin/sh\n" f'echo "invoke $*" >>{self.folder}/told\n')
        (self.folder / "told").touch()
        self.enabled()

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def enabled(self, *units):
        (self.folder / "enabled").write_text("".join(unit + "\n" for unit in units))

    def file(self, name, text):
        path = self.folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_here(self, *argv):
        """In the namespaces, with `etc` and `state` of the folder as /etc and /var/lib."""
        mounts = f"mount --bind {self.folder}/etc /etc; mount --bind {self.folder}/state /var/lib; "
        return subprocess.run(["unshare", "--mount", "--net", "sh", "-ec", mounts + 'exec "$@"', "sh", *map(str, argv)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False,
                              env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})

    def judged(self):
        done = self.run_here(self.folder / "lib" / "host-ike")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return dict(line.split() for line in done.stdout.splitlines())

    def told(self):
        return (self.folder / "told").read_text()


class HostIke(Host):
    def test_nothing_is_installed(self):
        self.assertEqual(self.judged(), {})

    def test_what_debian_installs_is_idle(self):
        self.enabled("strongswan.service", "strongswan-starter.service")
        self.file("/etc/swanctl/swanctl.conf", DEBIANS_SWANCTL)
        self.file("/etc/ipsec.conf", DEBIANS_IPSEC)
        self.assertEqual(self.judged(), {"strongswan.service": "idle", "strongswan-starter.service": "idle"})

    def test_each_unit_has_its_own_files(self):
        self.enabled("strongswan.service", "strongswan-starter.service")
        self.file("/etc/swanctl/swanctl.conf", DEBIANS_SWANCTL)
        self.file("/etc/ipsec.conf", DEBIANS_IPSEC + "conn office\n\tauto=start\n")
        self.assertEqual(self.judged(), {"strongswan.service": "idle", "strongswan-starter.service": "configured"})
        self.file("/etc/ipsec.conf", DEBIANS_IPSEC + "conn %default\n\tkeyexchange=ikev2\n")
        self.file("/etc/swanctl/conf.d/office.conf", "connections {\n}\n")
        self.assertEqual(self.judged(), {"strongswan.service": "configured", "strongswan-starter.service": "idle"})

    def test_a_unit_that_does_not_start_at_boot_is_not_mentioned(self):
        self.file("/etc/ipsec.conf", "conn office\n")
        self.assertEqual(self.judged(), {})

    def test_another_name_of_a_unit_is_no_unit(self):
        """strongswan-starter brings ipsec.service as its alias, which `is-enabled` knows also when both are disabled."""
        self.enabled("alias-ipsec.service")
        self.file("/etc/ipsec.conf", "conn office\n")
        self.assertEqual(self.judged(), {})

    def test_includes_elsewhere(self):
        self.enabled("strongswan.service", "ipsec.service")
        self.file("/etc/swanctl/swanctl.conf", "include conf.d/*.conf\ninclude /etc/elsewhere/*.conf # ours\n")
        self.file("/etc/ipsec.conf", 'include "ipsec.d/*.conf"\n')
        self.assertEqual(self.judged(), {"strongswan.service": "idle", "ipsec.service": "idle"})
        self.file("/etc/elsewhere/empty.conf", "# nothing yet\n\n")
        self.assertEqual(self.judged()["strongswan.service"], "idle")
        self.file("/etc/elsewhere/office.conf", "connections { office { } }\n")
        self.file("/etc/ipsec.d/office.conf", "  conn office\n")
        self.assertEqual(self.judged(), {"strongswan.service": "configured", "ipsec.service": "configured"})

    def test_a_section_in_any_form_counts(self):
        self.enabled("strongswan.service")
        for text in ("connections {\n}\n", "\tconnections.office.version = 2\n", "include nothing\nconnections : base { }\n"):
            self.file("/etc/swanctl/swanctl.conf", text)
            self.assertEqual(self.judged(), {"strongswan.service": "configured"}, text)

    def test_a_unit_that_somebody_changed_counts(self):
        self.enabled("strongswan.service")
        self.file("/etc/systemd/system/strongswan.service.d/mine.conf", "[Service]\n")
        self.assertEqual(self.judged(), {"strongswan.service": "configured"})


class CheckIkePorts(Host):
    def check(self, *before):
        return self.run_here("sh", "-ec", "".join(f"{one}\n" for one in before) + f"exec {self.folder}/lib/check-ike-ports")

    def test_free(self):
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("restart", self.told())

    def owner(self):
        """Lines of shell: somebody has both ports until descriptor 3 is closed."""
        program = ("import socket, sys, time\nheld = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]\n"
                 "held[0].bind(('', 500)); held[1].bind(('', 4500))\nprint('bound', flush=True)\nsys.stdin.read()")
        self.file("owner.py", program)
        return ("ip link set lo up", f"mkfifo {self.folder}/open {self.folder}/bound",
                f"/usr/bin/python3 {self.folder}/owner.py <{self.folder}/open >{self.folder}/bound & owner=$!; exec 3>{self.folder}/open",
                f"read line <{self.folder}/bound")

    def test_taken(self):
        """Both sockets of one process: named once; the waiting is left to the other unit."""
        done = self.check(*self.owner())
        self.assertEqual(done.returncode, 1)
        first, second = done.stderr.splitlines()
        self.assertRegex(first, r"^UDP port 500 or 4500 is taken by python3 \(process \d+\): two IKE daemons cannot share a host$")
        self.assertIn("starts by itself", second)
        self.assertIn("--no-block restart simplon-charon-wait.service", self.told())

    def test_left_to_a_unit_with_connections(self):
        self.enabled("strongswan-starter.service")
        self.file("/etc/ipsec.conf", "conn office\n")
        done = self.check()
        self.assertEqual(done.returncode, 1)
        self.assertIn("UDP port 500 is left to strongswan-starter.service", done.stderr)
        self.assertIn("systemctl disable --now strongswan-starter.service", done.stderr)

    def test_waiting_ends_when_the_ports_are_free(self):
        self.program("sleep", f"#!/bin/sh\necho slept >>{self.folder}/told\nexec /bin/sleep 0.1\n")
        done = self.run_here("sh", "-ec", "\n".join([
            *self.owner(), f"{self.folder}/lib/check-ike-ports --wait 3>&- & waiting=$!",
            f"until [ $(grep -c slept {self.folder}/told) -gt 1 ]; do /bin/sleep 0.05; done; cat {self.folder}/told >&2",
            "exec 3>&-; wait $owner; wait $waiting"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("start", done.stderr, "while they were taken")
        self.assertTrue(self.told().endswith("--no-block start simplon-charon.service\n"), self.told())

    def test_waiting_ends_when_the_reason_does(self):
        self.enabled("strongswan-starter.service")
        self.file("/etc/ipsec.conf", "conn office\n")
        waiting = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-ec", f"mount --bind {self.folder}/etc /etc; exec {self.folder}/lib/check-ike-ports --wait"],
                                   env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})
        try:
            while self.told().count("is-enabled strongswan-starter.service") < 2:  # it has looked, and looks again
                self.assertIsNone(waiting.poll())
                time.sleep(0.05)
            self.assertNotIn("start simplon-charon", self.told())
            self.enabled()
            self.assertEqual(waiting.wait(20), 0)
        finally:
            waiting.kill()
            waiting.wait()
        self.assertTrue(self.told().endswith("--no-block start simplon-charon.service\n"), self.told())


class MaintainerScripts(Host):
    """dpkg gives postinst the last version also when the package was removed since."""

    def setUp(self):
        super().setUp()
        self.file("/etc/swanctl/swanctl.conf", DEBIANS_SWANCTL)
        self.enabled("strongswan.service")
        # dpkg's script with nothing of debhelper; the path of the installed script is not there in a build tree.
        for name in ("preinst", "postinst", "postrm"):
            text = (DEBIAN / f"simplon-charon.{name}").read_text().replace("/usr/lib/simplon/", f"{self.folder}/lib/")
            text = text.replace("-e /lib/systemd/system/strongswan.service", "-d /").replace("/run/systemd/system", f"{self.folder}/systemd")
            self.program(name, text)
        self.program("swanctl", "#!/bin/sh\n")

    def script(self, name, *words):
        done = self.run_here(name, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout + done.stderr

    def is_enabled(self, unit="strongswan.service"):
        return unit in (self.folder / "enabled").read_text().split()

    def test_install_remove_install(self):
        self.script("preinst", "install")
        self.assertIn("has no connections; disabling it", self.script("postinst", "configure", ""))
        self.assertFalse(self.is_enabled())
        self.assertIn("stop strongswan.service", self.told())
        self.script("postrm", "remove")
        self.assertTrue(self.is_enabled())
        self.assertIn("invoke start strongswan.service", self.told())
        self.script("preinst", "install", "0.2.0")
        self.script("postinst", "configure", "0.2.0")
        self.assertFalse(self.is_enabled(), "the second installation asks again")

    def test_an_upgrade_asks_nobody(self):
        self.script("preinst", "upgrade", "0.1.1")
        self.script("postinst", "configure", "0.1.1")
        self.assertTrue(self.is_enabled(), "whoever enabled it since wants it")
        self.script("postrm", "upgrade", "0.3.0")
        self.assertNotIn("start", self.told())

    def test_one_with_connections_is_left_alone(self):
        self.file("/etc/swanctl/conf.d/office.conf", "connections {\n}\n")
        self.script("preinst", "install")
        said = self.script("postinst", "configure", "")
        self.assertTrue(self.is_enabled())
        self.assertIn("strongswan.service is configured on this host and keeps UDP port 500", said)
        self.script("postrm", "remove")
        self.assertNotIn("invoke", self.told())

    def test_the_starters_connections_are_the_starters(self):
        self.enabled("strongswan.service", "strongswan-starter.service")
        self.file("/etc/ipsec.conf", "conn office\n")
        self.script("preinst", "install")
        said = self.script("postinst", "configure", "")
        self.assertFalse(self.is_enabled(), "idle, and ours")
        self.assertTrue(self.is_enabled("strongswan-starter.service"))
        self.assertIn("strongswan-starter.service is configured on this host and keeps UDP port 500", said)

    def test_connections_loaded_over_vici(self):
        """No file has them, but the daemon says so."""
        self.program("systemctl", SYSTEMCTL.format(folder=self.folder) + f'case " $* " in *" show "*) echo {os.getpid()} ;; esac\n')
        self.program("ss", f"""#!/bin/sh\necho 'u_str LISTEN 0 5 /run/charon.vici 1 * 0 users:(("charon-systemd",pid={os.getpid()},fd=9))'\n""")
        self.program("swanctl", "#!/bin/sh\necho 'office: IKEv2'\n")
        self.script("preinst", "install")
        self.script("postinst", "configure", "")
        self.assertTrue(self.is_enabled())
        self.program("swanctl", "#!/bin/sh\n")
        self.script("preinst", "install")
        self.script("postinst", "configure", "")
        self.assertFalse(self.is_enabled(), "it says that there are none")


if __name__ == "__main__":
    unittest.main()
