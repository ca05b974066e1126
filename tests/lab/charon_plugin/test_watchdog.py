# SPDX-License-Identifier: GPL-2.0-or-later
"""charon's signs of life to the service manager, which is `NotifyServer` here."""
import signal
import socket

import pytest

from lib import charon
from lib.expect import expect
from lib.gateway import program
from lib.notify_server import NotifyServer
from lib.topo import ROOT

GW, RTR = "203.0.113.1", "203.0.113.2"
ALLOWED = 6  # seconds between two signs of life; a host that is three seconds late does not fail a test
THREADS = 16  # of packaging/strongswan/simplon.conf

CONFIGURATION = """
include {conf}
charon-systemd {{
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


class Watched:
    """A charon whose service manager watches process `watchdog_pid` ($$ is charon), if `allowed` is not None."""

    def __init__(self, space, allowed, watchdog_pid="$$"):
        self.space, lab = space, space.lab
        name = lab.fresh("charon.d")
        self.manager = NotifyServer(lab.dir / f"{name}.notify")
        plugins = charon.plugin_folder(lab.dir / f"{name}.plugins", program("ipsec/charon-plugin/libstrongswan-kernel-simplon.so"))
        asked = "" if allowed is None else f"export WATCHDOG_USEC={allowed * 1_000_000} WATCHDOG_PID={watchdog_pid}; "
        self.charon = charon.Charon(
            self.space, lab.dir / name, CONFIGURATION,
            ["unshare", "--mount", "sh", "-c", asked + 'mount --bind "$1" "$2" && exec "$3"', "charon", plugins, charon.PLUGINS,
             charon.CHARON],
            conf=ROOT / "packaging/strongswan/simplon.conf", sa_socket=lab.dir / "nobody.sock")
        self.charon.environment["NOTIFY_SOCKET"] = str(self.manager.path)
        self.charon.start()

    def signs(self):
        return self.manager.said("WATCHDOG")

    def is_silent(self):
        """For so long that the service manager would act."""
        return self.manager.silence("WATCHDOG") > ALLOWED

    def end(self):
        """charon's exit status, when the manager has read everything it said."""
        status = self.charon.process.stop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"LAST=1", str(self.manager.path))
        expect(lambda: self.manager.said("LAST"), 10, "the notify socket is read to its end")
        return status


@pytest.fixture(scope="module")
def gw(lab):
    """Has a neighbor without IKE."""
    one, other = lab.namespace("gw"), lab.namespace("rtr")
    lab.veth(one, "wan0", other, "wan0")
    one.ip(f"addr add {GW}/24 dev wan0")
    other.ip(f"addr add {RTR}/24 dev wan0")
    return one


@pytest.fixture
def watched(gw):
    made = []

    def start(*arguments):
        made.append(Watched(gw, *arguments))
        return made[-1]

    yield start
    for one in made:
        one.charon.process.kill()
        one.manager.close()


def test_a_sign_of_life_twice_in_the_time_allowed(watched):
    one = watched(ALLOWED)
    expect(lambda: one.signs() >= 3, 60, "three signs of life")
    times = one.manager.times("WATCHDOG")
    pauses = [after - before for before, after in zip(times, times[1:])]
    assert ALLOWED / 3 < min(pauses) < ALLOWED, pauses
    assert one.end() == 0, "it ends as it does without a watchdog"


def test_a_stopped_charon_is_silent(watched):
    one = watched(ALLOWED)
    expect(one.signs, 30, "a sign of life")
    one.charon.process.signal(signal.SIGSTOP)
    expect(one.is_silent, 60, "the service manager would act")
    before = one.signs()
    one.charon.process.signal(signal.SIGCONT)
    expect(lambda: one.signs() > before, 30, "another sign of life")


def test_a_charon_whose_threads_all_wait_is_silent(watched):
    """The process runs and schedules, but no job is worked on any more."""
    one = watched(ALLOWED)
    one.charon.load(charon.CONNECTION.format(local=GW, remote=RTR, local_id="gw", remote_id="rtr", psk="pre-shared-1", ike=charon.IKE,
                                             esp="aes256gcm16", selectors="0.0.0.0/0", start="none"))
    before = one.signs()
    expect(lambda: one.signs() > before, 30, "signs of life while threads are free")
    # Each of these holds a thread for as long as nobody answers.
    argv = ["swanctl", "--initiate", "--ike", "gw", "--child", "net", "--uri", f"unix://{one.charon.vici}"]
    waiting = [one.space.spawn(argv, log=one.space.lab.fresh("initiate.log"), env=one.charon.environment, quiet=True)
               for _ in range(THREADS)]
    expect(one.is_silent, 120, "the service manager would act")
    assert one.charon.process.alive()
    one.charon.process.kill()
    for each in waiting:
        each.stop()


@pytest.mark.parametrize("arguments", [(None,), (1, "1")], ids=["nobody-watches", "another-process-is-watched"])
def test_none_unless_asked(watched, arguments):
    one = watched(*arguments)
    assert one.end() == 0
    assert one.manager.said("READY") == 1 and one.signs() == 0, one.manager.messages
