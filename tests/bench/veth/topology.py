# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces and processes of the veth benchmark.

One namespace generates and counts; each device under test has a namespace with the same two veth pairs:

    gen: NAME-in ====> u0 [NAME: device under test] u1 ====> NAME-out :gen
         198.18.0.2    198.18.0.1                   198.18.1.1   198.18.1.2   (neighbors are permanent, gen has no addresses)

All of them exist at the same time and sleep while another one is measured, so that rounds can be interleaved.
"""
import gzip
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

from frames import MAC_G0, MAC_G1, MAC_U0, MAC_U1

GENERATOR_CPU, DEVICE_CPU = 0, 1


class Trouble(Exception):
    """The benchmark cannot go on; the text says why."""


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def real_time_works():
    return subprocess.run(["chrt", "-r", "50", "true"], capture_output=True).returncode == 0


def softirqs_are_apart():
    """Whether this kernel takes the time of softirqs away from the task they interrupt; None if it does not tell."""
    candidates = (pathlib.Path("/proc/config.gz"), pathlib.Path(f"/boot/config-{os.uname().release}"))
    for path in candidates:
        if path.exists():
            data = path.read_bytes()
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            return b"\nCONFIG_IRQ_TIME_ACCOUNTING=y" in text
    return None


def interrupt_ns(cpu):
    """Time of a CPU in hard and soft interrupts, in steps of a tick."""
    line = next(line for line in pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines()
                if line.startswith(f"cpu{cpu} "))
    values = [int(value) for value in line.split()[1:]]
    return (values[5] + values[6]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Process:
    """A device under test in its namespace, pinned to the device's CPU."""

    def __init__(self, command, log, softirqs_apart):
        self.softirqs_apart = softirqs_apart
        self.log = open(log, "w+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.pid = self.process.pid

    def wait_for_line(self, wanted, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline().strip() if ready else ""
        if line != wanted:
            raise Trouble(f"process did not say '{wanted}': {self.last_words()}")

    def running(self):
        return self.process.poll() is None

    def log_text(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(encoding="utf-8", errors="replace").strip()

    def last_words(self):
        text = self.log_text()
        return "\n".join(text.splitlines()[-8:]) or f"no output, status {self.process.poll()}"

    def cpu_ns(self):
        """CPU time of all threads, with the softirqs of their CPU; exact while they sleep."""
        total = interrupt_ns(DEVICE_CPU) if self.softirqs_apart else 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                continue  # the thread ended
        return total

    def pause(self):
        """Until `resume` it takes no CPU time, nor packets."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        if self.running():
            self.resume()
            self.process.terminate()
        try:
            output, _ = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
        self.log.close()
        return output


class Topology:
    """Everything that was created goes away in close(), also after a failure."""

    def __init__(self):
        self.prefix = f"simplon-bench-{os.getpid()}"
        self.folder = tempfile.TemporaryDirectory(prefix="simplon-bench-")
        self.namespaces = []
        self.processes = []
        self.real_time = real_time_works()
        self.softirqs_apart = softirqs_are_apart()
        self.generator = self.add_namespace("gen")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def add_namespace(self, name):
        full = f"{self.prefix}-{name}"
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        self.inside(full, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                    "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def inside(self, namespace, *command, text=None):
        return run("nsenter", f"--net=/run/netns/{namespace}", *command, text=text)

    def add_device(self, name):
        """A namespace with u0 and u1; returns its name."""
        namespace = self.add_namespace(name)
        for device, far, mac, far_mac, subnet in (("u0", f"{name}-in", MAC_U0, MAC_G0, "198.18.0"),
                                                  ("u1", f"{name}-out", MAC_U1, MAC_G1, "198.18.1")):
            run("ip", "-n", namespace, "link", "add", device, "address", mac, "numrxqueues", "1", "numtxqueues", "1",
                "type", "veth", "peer", "name", far, "address", far_mac, "numrxqueues", "1", "numtxqueues", "1",
                "netns", self.generator)
            run("ip", "-n", namespace, "addr", "add", f"{subnet}.1/24", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
            run("ip", "-n", self.generator, "link", "set", far, "up")
            run("ip", "-n", namespace, "neigh", "replace", f"{subnet}.2", "lladdr", far_mac, "dev", device, "nud",
                "permanent")
        return namespace

    def command(self, namespace, cpu, *command):
        priority = ["chrt", "-r", "50"] if self.real_time else []
        return ["nsenter", f"--net=/run/netns/{namespace}", "taskset", "-c", str(cpu), *priority, *command]

    def start(self, namespace, *command):
        log = self.path(f"process-{len(self.processes)}.log")
        process = Process(self.command(namespace, DEVICE_CPU, *command), log, self.softirqs_apart)
        self.processes.append(process)
        return process

    def wait_for(self, condition, seconds, what, process):
        end = time.monotonic() + seconds
        while not condition():
            if not process.running():
                raise Trouble(f"ended before {what}: {process.last_words()}")
            if time.monotonic() > end:
                raise Trouble(f"{what} did not happen in {seconds} s: {process.last_words()}")
            time.sleep(0.02)

    def close(self):
        for process in reversed(self.processes):
            process.stop()
        for namespace in reversed(self.namespaces):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        self.folder.cleanup()
