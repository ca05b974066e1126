# SPDX-License-Identifier: GPL-2.0-or-later
"""What a service manager is to a service with a descriptor store: receives sd_notify messages, keeps the descriptors that come
with FDSTORE=1, and starts the service's processes with them (sd_listen_fds(3), sd_pid_notify_with_fds(3))."""
import array
import os
import pathlib
import socket
import threading
import time

MAX_DESCRIPTORS = 253  # SCM_MAX_FD
FIRST = 3  # SD_LISTEN_FDS_START


class NotifyServer:
    """One service's notify socket and descriptor store. As systemd does, descriptors stay in the store after they were passed
    on, until the service says FDSTOREREMOVE=1."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.lock = threading.Lock()
        self.store = []  # [(name, descriptor)]
        self.messages = []
        self.heard = {}  # {key: monotonic times}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
            try:
                data, ancillary, _, _ = self.socket.recvmsg(65536, room)
            except OSError:
                return
            descriptors = array.array("i")
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(payload[:len(payload) - len(payload) % descriptors.itemsize])
            fields = dict(line.split("=", 1) for line in data.decode().split("\n") if "=" in line)
            kept = []
            with self.lock:
                self.messages.append(fields)
                for key in fields:
                    self.heard.setdefault(key, []).append(time.monotonic())
                if fields.get("FDSTORE") == "1":
                    kept = [(fields.get("FDNAME", "stored"), number) for number in descriptors]
                    self.store += kept
                if fields.get("FDSTOREREMOVE") == "1":
                    for entry in [one for one in self.store if one[0] == fields.get("FDNAME")]:
                        self.store.remove(entry)
                        os.close(entry[1])
            if not kept:
                for number in descriptors:  # BARRIER=1: the sender waits until we close it
                    os.close(number)

    def names(self):
        with self.lock:
            return [name for name, _ in self.store]

    def spoil(self, name):
        """Keeps something else under the name; what was kept is closed."""
        with self.lock:
            assert name in [stored for stored, _ in self.store], self.store
            for stored, number in self.store:
                if stored == name:
                    other = os.open("/dev/null", os.O_RDWR)
                    os.dup2(other, number)
                    os.close(other)

    def said(self, key):
        """How many messages had the key so far."""
        return len(self.times(key))

    def times(self, key):
        """When they came, on the monotonic clock."""
        with self.lock:
            return list(self.heard.get(key, ()))

    def silence(self, key):
        """Seconds since the last of them: what a watchdog looks at."""
        return time.monotonic() - self.times(key)[-1]

    def main_process(self):
        """What the service said last, or None."""
        with self.lock:
            return next((int(fields["MAINPID"]) for fields in reversed(self.messages) if "MAINPID" in fields), None)

    def service(self, argv):
        """(argv, environment, descriptors to inherit) of the service's next process: what systemd would give it.

        LISTEN_PID is the pid of the process itself, and descriptors begin at 3, so a small shell arranges both."""
        with self.lock:
            stored = list(self.store)
        environment = {"NOTIFY_SOCKET": str(self.path)}
        if not stored:
            return argv, environment, ()
        environment |= {"LISTEN_FDS": str(len(stored)), "LISTEN_FDNAMES": ":".join(name for name, _ in stored)}
        # High copies first: a number below may be one of ours.
        script = "".join(f"exec {FIRST + i}<&{number} {number}<&-; " if number != FIRST + i else ""
                         for i, (_, number) in enumerate(stored))
        assert all(number >= FIRST + len(stored) for _, number in stored), stored
        return (["bash", "-c", script + 'LISTEN_PID=$$ exec "$@"', "service", *map(str, argv)], environment,
                tuple(number for _, number in stored))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            for _, number in self.store:
                os.close(number)
            self.store = []
        self.path.unlink(missing_ok=True)
