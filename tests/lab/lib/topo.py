# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces and veth pairs of one lab, and their removal in every case.

    lab = Lab("whole_path")
    wan = lab.namespace("wan", forwarding=True)
    lab.veth(gw, "wan0", wan, "gw")
    ...
    lab.close()

Everything a lab makes in the system is called `<id>-...` with an id made of our pid, so that labs run side by side, and
is written down in /run/simplon-lab/<id>/lab.json before it is made. `clean()` removes what such a file names; it runs at
the end of a lab, at the start of the next one for labs whose process is gone, and as `tests/lab/run --clean`.
"""
import atexit
import itertools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

from . import proc

RUN = pathlib.Path("/run/simplon-lab")
NETNS = pathlib.Path("/run/netns")
LOGS = pathlib.Path(os.environ.get("SIMPLON_LAB_LOGS", "/tmp/simplon-lab"))
ROOT = pathlib.Path(__file__).resolve().parents[3]
_serial = itertools.count()


class CommandFailed(AssertionError):
    pass


def run(argv, check=True, timeout=30, input=None, env=None):
    """Runs to the end; output as text. Raises CommandFailed with everything it said."""
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, errors="replace")
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"{shlex.join(argv)}: no end after {timeout} s: {late.stdout!r} {late.stderr!r}") from late
    if check and done.returncode != 0:
        raise CommandFailed(f"{shlex.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Namespace:
    """A network namespace, entered with nsenter: the mount namespace stays the host's."""

    def __init__(self, lab, short):
        self.lab = lab
        self.short = short
        self.name = f"{lab.id}-{short}"
        self.interfaces = []

    def enter(self, argv):
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, argv)]

    def run(self, *argv, quiet=False, **options):
        if not quiet:
            self.lab.echo(self.short, argv)
        return run(self.enter(argv), **options)

    def out(self, *argv, **options):
        return self.run(*argv, **options).stdout

    def ip(self, command, **options):
        """ip -n <this namespace> command..."""
        self.lab.echo(self.short, ["ip", *shlex.split(command)])
        return run(["ip", "-n", self.name, *shlex.split(command)], **options)

    def sysctl(self, **settings):
        """sysctl(net__ipv4__ip_forward=1)"""
        for key, value in settings.items():
            run(self.enter(["sysctl", "-qw", f"{key.replace('__', '.')}={value}"]))

    def spawn(self, argv, log=None, env=None, quiet=False, descriptors=()):
        """A process beside the test; the log is LOGS/<lab>/<namespace>.<program>.log. It inherits `descriptors`."""
        if not quiet:
            self.lab.echo(self.short, [*argv, "&"])
        name = log or f"{self.short}.{pathlib.Path(str(argv[0])).name}.log"
        process = proc.Process(self.enter(argv), self.lab.logs / name, env, descriptors)
        self.lab.remember_process(process)
        return process


class Lab:
    def __init__(self, name, keep=False, echo=None):
        sweep_dead()
        serial = next(_serial)
        self.name = name
        self.id = f"l{os.getpid()}{chr(ord('a') + serial % 26) if serial else ''}"
        self.dir = RUN / self.id
        self.logs = LOGS / f"{name}-{self.id}"
        self.keep = keep
        self._echo = echo or self._print
        self._tick = time.monotonic()
        self._used = {}
        self.namespaces = {}
        self.collectors = []
        self.closers = []
        self.state = {"name": name, "owner": os.getpid(), "owner_start": proc.start_time(os.getpid()),
                      "kept": False, "processes": []}
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.dir.mkdir(parents=True)
        self._write()
        atexit.register(self._at_exit)

    def _print(self, where, argv):
        print(f"{time.monotonic() - self._tick:7.2f} {where}$ {' '.join(map(str, argv))}", flush=True)

    def echo(self, where, argv):
        self._echo(where, argv)

    def fresh(self, name):
        """A log or capture name that was not used before: stream.log, stream-2.log, ..."""
        stem, dot, suffix = name.rpartition(".")
        self._used[name] = count = self._used.get(name, 0) + 1
        return name if count == 1 else f"{stem}-{count}{dot}{suffix}"

    def note(self, text):
        print(f"{time.monotonic() - self._tick:7.2f} # {text}", flush=True)

    def _write(self):
        draft = self.dir / "lab.json.new"
        draft.write_text(json.dumps(self.state))
        draft.rename(self.dir / "lab.json")

    def remember_process(self, process):
        self.state["processes"].append([process.pid, process.started])
        self._write()

    def namespace(self, short, forwarding=False):
        space = Namespace(self, short)
        self.namespaces[short] = space
        self.echo("host", ["ip", "netns", "add", space.name])
        run(["ip", "netns", "add", space.name])
        # IPv6 duplicate address detection would keep addresses tentative for a second.
        space.sysctl(net__ipv4__ip_forward=int(forwarding), net__ipv6__conf__all__forwarding=int(forwarding),
                     net__ipv6__conf__default__accept_dad=0, net__ipv6__conf__all__accept_dad=0,
                     net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        space.ip("link set lo up")
        return space

    def veth(self, a, a_name, b, b_name, mtu=1500, queues=1):
        """A cable. Both ends have the same MTU: a veth drops silently what exceeds the receiving end's. Offloads are off
        at both ends, because an AF_XDP or raw reader sees the unfinished checksums and super-packets of its peer. A flow
        takes one of the queues."""
        self.echo("host", ["ip", "link", "add", a_name, "netns", a.name, "type", "veth",
                           "peer", "name", b_name, "netns", b.name])
        both = ["mtu", mtu, "numrxqueues", queues, "numtxqueues", queues]
        run(["ip", "link", "add", a_name, *both, "netns", a.name, "type", "veth", "peer", "name", b_name, *both, "netns", b.name])
        for space, device in ((a, a_name), (b, b_name)):
            run(space.enter(["ethtool", "-K", device, "tx", "off"]))
            space.ip(f"link set {device} up")
            space.interfaces.append(device)

    def on_failure(self, collect):
        """`collect(folder)` is called with the log folder when the lab fails."""
        self.collectors.append(collect)

    def on_close(self, close):
        self.closers.append(close)

    def collect(self):
        """Everything that helps to understand a failure, in one folder; returns it."""
        for short, space in self.namespaces.items():
            text = []
            for argv in (["ip", "-s", "addr"], ["ip", "rule"], ["ip", "route", "show", "table", "all"],
                         ["ip", "-6", "route"], ["ip", "neigh"], ["bridge", "fdb"], ["ss", "-tunap"]):
                done = run(space.enter(argv), check=False)
                text.append(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
            (self.logs / f"{short}.network.txt").write_text("\n".join(text))
        for collect in self.collectors:
            try:
                collect(self.logs)
            except Exception as error:  # noqa: BLE001  (the other collectors still run)
                (self.logs / "collect-errors.txt").open("a").write(f"{type(error).__name__}: {error}\n")
        return self.logs

    def close(self):
        while self.closers:
            self.closers.pop()()
        if self.keep:
            self.state["kept"] = True
            self._write()
        elif self.dir.exists():
            clean(self.id)
        atexit.unregister(self._at_exit)

    def _at_exit(self):
        if os.getpid() == self.state["owner"]:
            self.close()

    def forget_logs(self):
        shutil.rmtree(self.logs, ignore_errors=True)


def clean(lab_id):
    """Removes everything of a lab, whoever started it."""
    folder = RUN / lab_id
    try:
        state = json.loads((folder / "lab.json").read_text())
    except (OSError, ValueError):
        state = {"processes": []}
    for pid, started in reversed(state["processes"]):
        proc.end(pid, started)
    spaces = [path.name for path in NETNS.glob(f"{lab_id}-*")] if NETNS.exists() else []
    # What our processes started themselves (FRR, for one) lives in the lab's namespaces, which hold nothing else.
    for space in spaces:
        for pid in run(["ip", "netns", "pids", space], check=False).stdout.split():
            if int(pid) != os.getpid():
                proc.end(int(pid), proc.start_time(int(pid)), 2.0)
    for space in spaces:
        run(["ip", "netns", "delete", space], check=False)
    for path in pathlib.Path("/run/simplon-frr").glob(f"{lab_id}-*"):
        path.unlink(missing_ok=True)
    for parent in ("/etc/frr", "/run/frr", "/var/lib/frr", "/etc/netns"):
        for path in pathlib.Path(parent).glob(f"{lab_id}-*"):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def labs():
    """[(id, state)] of all labs on this machine."""
    found = []
    for path in sorted(RUN.glob("*/lab.json")):
        try:
            found.append((path.parent.name, json.loads(path.read_text())))
        except (OSError, ValueError):
            found.append((path.parent.name, {"name": "?", "owner": 0, "owner_start": None, "kept": False}))
    return found


def sweep_dead():
    for lab_id, state in labs():
        if not state["kept"] and not proc.same(state["owner"], state["owner_start"]):
            print(f"removing what a dead lab left: {lab_id} ({state['name']})", file=sys.stderr)
            clean(lab_id)
