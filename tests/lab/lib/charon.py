# SPDX-License-Identifier: GPL-2.0-or-later
"""charon: Debian's own, as an on-premises peer on kernel-libipsec, or as part of a Simplon gateway."""
import pathlib
import shutil
import time

from .expect import expect
from .topo import CommandFailed, run

CHARON = "/usr/sbin/charon-systemd"
PLUGINS = pathlib.Path("/usr/lib/ipsec/plugins")

# The default of 16 threads stays: with 8, kernel-libipsec's blocked threads starve VICI.
STOCK = """
charon-systemd {{
  load = random nonce openssl aesni pem pkcs1 pubkey x509 kdf socket-default vici kernel-libipsec! kernel-netlink
  # After the main table: before it, the 0.0.0.0/0 route to ipsec0 would catch charon's own packets.
  routing_table_prio = 40000
  install_virtual_ip = no
  retransmit_timeout = 2.0
  retransmit_tries = 3
  plugins {{
    kernel-libipsec {{
      load = yes
      allow_peer_ts = yes
    }}
    vici {{
      socket = unix://{vici}
    }}
  }}
{filelog}
}}
"""

FILELOG = """  filelog {{
    log {{
      path = {log}
      default = {level}
      flush_line = yes
      time_format = %H:%M:%S
    }}
  }}
"""

CONNECTION = """
connections {{
  gw {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    mobike = no
    dpd_delay = 5s
    keyingtries = 0
    proposals = {ike}
    local {{
      auth = psk
      id = {local_id}
    }}
    remote {{
      auth = psk
      id = {remote_id}
    }}
    children {{
      net {{
        local_ts = {selectors}
        remote_ts = {selectors}
        esp_proposals = {esp}
        rekey_time = 1h
        dpd_action = restart
        close_action = start
        start_action = {start}
      }}
    }}
  }}
}}
secrets {{
  ike-gw {{
    id-a = {local_id}
    id-b = {remote_id}
    secret = "{psk}"
  }}
}}
"""

IKE = "aes256gcm16-prfsha384-ecp384,aes256gcm16-prfsha256-x25519"
ESP = "aes256gcm16-ecp384,aes256gcm16"


class Charon:
    """A running charon with its own VICI socket."""

    def __init__(self, space, folder, configuration, argv=None, **values):
        self.space = space
        self.dir = folder
        self.dir.mkdir(parents=True, exist_ok=True)
        self.vici = self.dir / "charon.vici"
        self.log = space.lab.logs / f"{space.short}.charon.log"
        (self.dir / "strongswan.conf").write_text(
            configuration.format(vici=self.vici, filelog=FILELOG.format(log=self.log, level=1), **values)
            + "swanctl {\n  load = random openssl pem pkcs1 pubkey x509\n}\n")
        self.environment = {"STRONGSWAN_CONF": str(self.dir / "strongswan.conf")}
        self.argv = argv or [CHARON]
        self.process = None

    def start(self):
        self.vici.unlink(missing_ok=True)
        self.process = self.space.spawn(self.argv, log=f"{self.space.short}.charon.out",
                                        env=self.environment)
        expect(lambda: "charon" in self.swanctl("--version", "--daemon", quiet=True), 10, "charon answers on VICI")
        return self

    def stop(self):
        self.process.stop()

    def swanctl(self, *words, check=True, quiet=False, timeout=15):
        if not self.vici.exists():
            raise CommandFailed(f"{self.vici} does not exist")
        argv = ["swanctl", *words, "--uri", f"unix://{self.vici}"]
        return self.space.run(*argv, check=check, quiet=quiet, timeout=timeout, env=self.environment).stdout

    def load(self, text):
        path = self.dir / "swanctl.conf"
        path.write_text(text)
        path.chmod(0o600)
        self.swanctl("--load-all", "--file", str(path))

    def installed(self, connection="gw"):
        """CHILD_SAs in state INSTALLED."""
        return self.swanctl("--list-sas", "--ike", connection, quiet=True).count(", INSTALLED,")

    def rekey_child(self, child="net"):
        self.swanctl("--rekey", "--child", child)


def stock(space, **connection):
    """An on-premises charon on kernel-libipsec with one connection; call bring_up() when both ends are there."""
    charon = Charon(space, space.lab.dir / space.short, STOCK).start()
    settings = {"ike": IKE, "esp": ESP, "selectors": "0.0.0.0/0", "start": "start"}
    charon.load(CONNECTION.format(**{**settings, **connection}))
    return charon


def wait_installed(charon, within=20):
    """Milliseconds until a CHILD_SA was there."""
    began = time.monotonic()
    expect(charon.installed, within, f"{charon.space.short}: CHILD_SA installed")
    return (time.monotonic() - began) * 1000


def inside_address(space, address, device="ipsec0"):
    """Gives the TUN of kernel-libipsec its address inside the tunnel."""
    expect(lambda: run(["ip", "-n", space.name, "link", "show", device], check=False).returncode == 0, 5,
           f"{space.short}: {device} exists")
    space.ip(f"addr add {address} dev {device}")
    space.ip(f"link set {device} up")


def plugin_folder(folder, plugin):
    """charon's plugin folder is compiled in. This is a copy of it with our plugin, to be mounted over it."""
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PLUGINS, folder)
    shutil.copy(plugin, folder / pathlib.Path(plugin).name)
    return folder
