# SPDX-License-Identifier: GPL-2.0-or-later
"""A program on a terminal: what a person types and sees."""
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from fcntl import ioctl

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>]|\][^\x07]*\x07)|[\x07\r]")


class Terminal:
    def __init__(self, argv, env=None):
        self.raw = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(str(argv[0]), [str(word) for word in argv],
                       {**os.environ, "TERM": "xterm", **{key: str(value) for key, value in (env or {}).items()}})
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def type(self, text):
        os.write(self.fd, text.encode())

    @property
    def text(self):
        """What was shown so far, without colors and cursor movements."""
        return ESCAPES.sub("", self.raw)

    def forget(self):
        self.raw = ""

    def _read(self, deadline):
        """False at the end of the program."""
        if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            return True
        try:
            chunk = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.raw += chunk.decode(errors="replace")
        return bool(chunk)

    def wait_for(self, pattern, within=20):
        deadline = time.monotonic() + within
        while not re.search(pattern, self.text):
            alive = self._read(deadline)
            assert alive or re.search(pattern, self.text), f"it ended without /{pattern}/; there was: {self.text!r}"
            assert time.monotonic() < deadline, f"no /{pattern}/ within {within} s; there was: {self.text!r}"
        return self.text

    def wait_end(self, within=20):
        """The exit code."""
        deadline = time.monotonic() + within
        while self._read(deadline):
            assert time.monotonic() < deadline, f"no end within {within} s; there was: {self.text!r}"
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        os.close(self.fd)
