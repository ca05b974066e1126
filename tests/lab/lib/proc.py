# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes by pid: started with a log, ended by their own pid, recognized by pid and start time."""
import os
import pathlib
import select
import signal
import subprocess
import time


def start_time(pid):
    """Clock ticks after boot at which `pid` started: pid and start time together are never reused."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def same(pid, started):
    return started is not None and start_time(pid) == started


def end(pid, started, patience=5.0):
    """SIGTERM, then SIGKILL, to exactly this process; returns when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not same(pid, started):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while same(pid, started) and time.monotonic() < deadline:
            time.sleep(0.01)


class Follower:
    """A process that another one started, and nobody's child here; with the life of a Process."""

    def __init__(self, pid, argv, log):
        self.pid, self.argv, self.log = pid, argv, pathlib.Path(log)
        self.started = start_time(pid)

    returncode = None  # nobody is told

    @property
    def popen(self):
        return self

    def alive(self):
        return same(self.pid, self.started)

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait(10)

    def stop(self, patience=5.0):
        end(self.pid, self.started, patience)

    def wait(self, within):
        deadline = time.monotonic() + within
        while self.alive():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.argv, within)
            time.sleep(0.01)

    def text(self):
        return self.log.read_text(errors="replace")


class Process:
    """A daemon or a tool that runs beside the test. Its output goes to `log`."""

    def __init__(self, argv, log, env=None, descriptors=()):
        self.argv = argv
        self.log = pathlib.Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          env={**os.environ, **(env or {})}, pass_fds=descriptors,
                                          start_new_session=True)
        self.pid = self.popen.pid
        self.started = start_time(self.pid)

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """kill -9, and wait until the kernel has buried it."""
        self.popen.kill()
        self.wait(10)

    def stop(self, patience=5.0):
        if self.alive():
            self.popen.terminate()
            try:
                self.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.wait(patience)
        return self.popen.returncode

    def wait(self, within):
        """Its exit status, as soon as it is there (Popen.wait looks every 50 ms only); raises subprocess.TimeoutExpired."""
        if self.popen.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                select.select([descriptor], [], [], within)
            finally:
                os.close(descriptor)
        return self.popen.wait(0.01)

    def text(self):
        return self.log.read_text(errors="replace")
