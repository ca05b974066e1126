# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine in QEMU, emulated in software, told what to do through its guest agent on a virtio-serial port.

No login and no network of the host: the agent's Unix socket is the only way in, the serial console is a log. The guest writes to a
copy of its image, which goes with the Guest.

Each boot is a QEMU of its own: one that is reset goes on with what it has translated of the former boot, and takes minutes instead
of seconds until the kernel begins.
"""
import base64
import json
import pathlib
import shlex
import signal
import socket
import subprocess
import threading
import time

CHUNK = 1 << 20
BOOT_WITHIN = 600  # 10 s on an idle machine; a compiler beside it takes its caches and its time
# What costs an emulator much and is not under test: the fifth level of page tables, fences of the kernel around user memory,
# virtualization (whose modules the guest would load), and "fast" string instructions, which are emulated byte by byte: with
# them a kernel clears 64 MiB in half a minute.
CPU = "max,la57=off,smap=off,smep=off,umip=off,pku=off,svm=off,erms=off,fsrm=off"


class GuestError(Exception):
    """The guest did not do what it was told; the message has the command and its output."""


class Done:
    """A finished command."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    @property
    def text(self):
        return self.out + self.err

    def checked(self, where):
        if self.code:
            raise GuestError(f"{where}: exit status {self.code}: {self.command}\n{self.text[-3000:]}")
        return self


class Job:
    """A command that runs in the guest while the test goes on."""

    def __init__(self, guest, command, pid):
        self.guest, self.command, self.pid = guest, command, pid
        self.result = None

    def finished(self):
        if self.result is None:
            state = self.guest.ask("guest-exec-status", pid=self.pid)
            if not state["exited"]:
                return False
            if state.get("out-truncated") or state.get("err-truncated"):
                raise GuestError(f"{self.guest.name}: more output than the agent holds: {self.command}")
            out, err = (base64.b64decode(state.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
            self.result = Done(self.command, state.get("exitcode", 128 + state.get("signal", 0)), out, err)
        return True

    def wait(self, within):
        deadline, pause = time.monotonic() + within, 0.01
        while not self.finished():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise GuestError(f"{self.guest.name}: not done after {within} s: {self.command}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.3)
        return self.result

    def signal(self, number):
        self.guest.ask("guest-exec", path="/bin/sh", arg=["-c", f"kill -{int(number)} {self.pid}"])


class Guest:
    """One machine. `nics` is a list of (MAC address, QEMU netdev without its id); `disks` are read-only raw images.

    With several CPUs TCG must emulate atomic instructions the slow way; it pays for the gateway, where installing, services and packets go
    on at once (upgrades take half the time), and nowhere else.
    """

    def __init__(self, name, folder, image, *, nics=(), disks=(), memory=1024, cpus=1):
        self.name, self.folder = name, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.console = self.folder / "console.log"
        self.commands = self.folder / "commands.log"
        self.agent = self.folder / "agent"
        if len(str(self.agent)) > 100:
            raise GuestError(f"{self.agent} is too long for the name of a socket: use a folder with a shorter path")
        self.process, self.link, self.pending = None, None, b""
        self.lock = threading.Lock()
        self.disk = self.folder / "disk.ext4"
        self.disk.unlink(missing_ok=True)
        self.image = image.disk
        kernel = f"root=/dev/nvme0n1 rw console=ttyS0 panic=-1 quiet mitigations=off systemd.hostname={name}"
        self.argv = ["qemu-system-x86_64", "-name", name, "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(cpus),
                     "-m", str(memory), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-kernel", str(image.kernel),
                     "-append", kernel, "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console", "-device", "virtio-rng-pci",
                     "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={self.agent},server=on,wait=off",
                     "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
                     "-drive", f"file={self.disk},format=raw,if=none,id=root,cache=unsafe",
                     "-device", "nvme,drive=root,serial=root"]
        for number, disk in enumerate(disks):
            self.argv += ["-drive", f"file={disk},format=raw,if=none,id=disk{number},readonly=on,cache=unsafe",
                          "-device", f"nvme,drive=disk{number},serial=disk{number}"]
        if not nics:
            self.argv += ["-nic", "none"]
        for number, (mac, backend) in enumerate(nics):
            self.argv += ["-netdev", f"{backend},id=net{number}",
                          "-device", f"virtio-net-pci,netdev=net{number},mac={mac}"]

    # Life

    def power_on(self):
        """Starts QEMU; `wait_booted` waits for the guest."""
        if not self.disk.exists():
            _copy(self.image, self.disk)
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
        return self

    def wait_booted(self, within=BOOT_WITHIN):
        """The agent answers and systemd has started everything, well or not."""
        deadline = time.monotonic() + within
        self._connect(deadline)
        self.sh("systemctl is-system-running --wait", within=max(1, deadline - time.monotonic()), check=False)

    def reboot(self, within=BOOT_WITHIN):
        """`systemctl reboot`, until the agent of the next boot answers; returns the seconds that took."""
        began = time.monotonic()
        self._log("systemctl reboot", None)
        self.ask("guest-exec", path="/bin/sh", arg=["-c", "systemctl reboot --no-block"])
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise GuestError(f"{self.name}: still not down {within} s after `systemctl reboot`; see {self.console}") from None
        return self._boot_again(began, within)

    def lose_power(self, within=BOOT_WITHIN):
        """No process gets a signal, nothing is written back or unmounted: QEMU is killed. Returns as `reboot` does."""
        began = time.monotonic()
        self._log("power loss", None)
        self.process.kill()
        self.process.wait()
        return self._boot_again(began, within)

    def _boot_again(self, began, within):
        self.power_on()
        self._connect(began + within)
        return time.monotonic() - began

    def copy_disk(self, path):
        """Copies the disk, as it would be found after a power loss with everything written: the file systems are frozen meanwhile."""
        self._log("copy of the disk", None)
        part = pathlib.Path(f"{path}.part")
        self.ask("guest-fsfreeze-freeze")
        try:
            _copy(self.disk, part)
        finally:
            self.ask("guest-fsfreeze-thaw")
        part.rename(path)  # last: a disk that is there is complete

    def power_off(self):
        """Ends QEMU, by its process id, and removes the disk."""
        if self.link:
            self.link.close()
            self.link = None
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.disk.unlink(missing_ok=True)

    # Commands

    def start(self, command, shell="/bin/sh", stdin=None):
        """Starts a shell command; the Job tells when it has ended."""
        arguments = {"path": shell, "arg": ["-c", command], "capture-output": True,
                     "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                             "DEBIAN_FRONTEND=noninteractive", "COLUMNS=120"]}
        if stdin is not None:
            arguments["input-data"] = base64.b64encode(stdin.encode()).decode()
        return Job(self, command, self.ask("guest-exec", **arguments)["pid"])

    def sh(self, command, within=60, check=True, quiet=False, stdin=None):
        """Runs a shell command; without `check` the exit status is for the caller to judge."""
        began = time.monotonic()
        done = self.start(command, stdin=stdin).wait(within)
        if not quiet:
            self._log(command, done, time.monotonic() - began)
        return done.checked(self.name) if check else done

    def out(self, command, within=60, quiet=False):
        return self.sh(command, within=within, quiet=quiet).out

    def write(self, path, text, mode=None):
        """Makes a file in the guest."""
        data = text if isinstance(text, bytes) else text.encode()
        handle = self.ask("guest-file-open", path=str(path), mode="wb")
        for start in range(0, len(data), CHUNK):
            part = base64.b64encode(data[start:start + CHUNK]).decode()
            self.ask("guest-file-write", **{"handle": handle, "buf-b64": part})
        self.ask("guest-file-close", handle=handle)
        if mode is not None:
            self.sh(f"chmod {mode} {shlex.quote(str(path))}", quiet=True)

    def read(self, path):
        handle, parts = self.ask("guest-file-open", path=str(path), mode="rb"), []
        while True:
            got = self.ask("guest-file-read", handle=handle, count=CHUNK)
            parts.append(base64.b64decode(got["buf-b64"]))
            if got["eof"]:
                break
        self.ask("guest-file-close", handle=handle)
        return b"".join(parts)

    # The agent

    def ask(self, command, **arguments):
        """One agent command and its answer; the agent knows one at a time."""
        with self.lock:
            if not self.link:
                raise GuestError(f"{self.name}: no connection to the guest agent")
            self.link.settimeout(90)
            try:
                self.link.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
                answer = self._line()
            except OSError as error:
                self.link.close()
                self.link = None
                raise GuestError(f"{self.name}: the guest agent does not answer {command}: {error}; see {self.console}") \
                    from error
        if "error" in answer:
            raise GuestError(f"{self.name}: {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def _connect(self, deadline):
        """Connects and discards what an earlier connection or boot left in the channel."""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise GuestError(f"{self.name}: QEMU ended ({self.process.returncode}): "
                                 f"{(self.folder / 'qemu.log').read_text()[-2000:]}")
            try:
                with self.lock:
                    if self.link:
                        self.link.close()
                    self.pending = b""
                    self.link = socket.socket(socket.AF_UNIX)
                    self.link.settimeout(0.5)
                    self.link.connect(str(self.agent))
                    token = time.monotonic_ns()
                    # 0xff makes the agent's parser forget half a message (QEMU guest agent protocol, guest-sync-delimited).
                    self.link.sendall(b"\xff" + json.dumps(
                        {"execute": "guest-sync-delimited", "arguments": {"id": token}}).encode() + b"\n")
                    while self._line().get("return") != token:
                        pass
                return
            except (OSError, ValueError):
                time.sleep(0.1)
        self.link.close()
        self.link = None  # an answer may still come, and would be taken for that of the next question
        raise GuestError(f"{self.name}: the guest agent does not answer; see {self.console}")

    def _line(self):
        while b"\n" not in self.pending:
            data = self.link.recv(CHUNK)
            if not data:
                raise ConnectionError("the agent's channel was closed")
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line.lstrip(b"\xff"))

    def _log(self, command, done, seconds=0.0):
        with open(self.commands, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} # {command}\n")
            if done:
                log.write(f"{done.text.rstrip()}\n" if done.text.strip() else "")
                log.write(f"         exit status {done.code}, {seconds:.1f} s\n")


def _copy(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def die_with_parent():
    """A child ends when what started it is killed: PR_SET_PDEATHSIG (prctl(2))."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
