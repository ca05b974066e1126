# SPDX-License-Identifier: GPL-2.0-or-later
"""The network of the walk-through: two machines, and namespaces in the second for everything that is not a router.

    edge-1 (QEMU)                              site-a (QEMU)
    +-------------------+                      +---------------------------------------------------------------+
    | Simplon           |                      |            [internet]              site router      [host-a]   |
    |  wan0 203.0.113.2 +----- virtio-net -----+ 203.0.113.1   198.51.100.1 --- wan0 .2   lan0 --- 10.1.0.10    |
    |                   |                      |                                                               |
    |  fab0 10.255.1.1  +----- virtio-net -----+ [compute-1] 10.255.1.11, vnet0 --- [vm1] 10.20.0.10            |
    +-------------------+                      +---------------------------------------------------------------+

Names in brackets are network namespaces of site-a; the site router is the machine itself, with the services of Debian.
"""
import collections
import io
import pathlib
import re
import shlex
import signal
import tarfile
import threading
import time

from guest import Guest, GuestError
from lib import traffic
from lib.expect import expect

traffic.PATIENCE = 6
LAB = pathlib.Path(__file__).resolve().parents[1] / "lab" / "lib"

# What is there before anybody configures a router: cables and addresses. One line a command; [name] runs in a namespace.
NETWORK = """
ip netns add internet
ip netns add host-a
ip netns add compute-1
ip netns add vm1
ip link set net-wan netns internet
ip link set net-fab netns compute-1
ip link add wan0 type veth peer name to-site netns internet
ip link add lan0 type veth peer name eth0 netns host-a
[internet] ip addr add 203.0.113.1/24 dev net-wan
[internet] ip addr add 198.51.100.1/24 dev to-site
[internet] ip link set net-wan up
[internet] ip link set to-site up
[internet] sysctl -q net.ipv4.ip_forward=1
ip addr add 198.51.100.2/24 dev wan0
ip addr add 10.1.0.1/24 dev lan0
ip link set wan0 up
ip link set lan0 up
ip route add 203.0.113.0/24 via 198.51.100.1
[host-a] ip addr add 10.1.0.10/24 dev eth0
[host-a] ip link set lo up
[host-a] ip link set eth0 up
[host-a] ip route add default via 10.1.0.1
[compute-1] ip link set net-fab name eth0
[compute-1] ip addr add 10.255.1.11/24 dev eth0
[compute-1] ip link set eth0 up
[compute-1] ip link add vnet0 mtu 1450 type veth peer name eth0 mtu 1450 address 02:00:00:00:00:10 netns vm1
[compute-1] ip link set vnet0 up
[vm1] ip addr add 10.20.0.10/24 dev eth0
[vm1] ip link set lo up
[vm1] ip link set eth0 up
[vm1] ip route add default via 10.20.0.1
"""


class Output:
    """What traffic.py of the labs wants to know of a finished command."""

    def __init__(self, done):
        self.stdout, self.stderr, self.returncode = done.out, done.err, done.code


class Running:
    """A program of a Space, with its output in a file of the guest."""

    def __init__(self, space, command, log):
        self.space, self.log = space, log
        self.job = space.guest.start(f"{space.prefix}{command} >{log} 2>&1")

    def text(self):
        return self.space.guest.out(f"cat {self.log} 2>/dev/null || true", quiet=True)

    def signal(self, number):
        self.job.signal(number)

    def alive(self):
        return not self.job.finished()

    def wait(self, within):
        return self.job.wait(within)

    def stop(self):
        if self.alive():
            self.job.signal(signal.SIGTERM)
            self.job.wait(10)


class Space:
    """A machine, or a namespace of one, as the labs' traffic.py knows it."""

    def __init__(self, lab, guest, short, namespace=None):
        self.lab, self.guest, self.short = lab, guest, short
        # exec: signals go to the program, not to a shell in between.
        self.prefix = f"exec ip netns exec {namespace} " if namespace else "exec "

    def sh(self, script, within=60, check=True):
        """Runs a shell script here."""
        return self.guest.sh(f"{self.prefix}sh -c {shlex.quote(script)}", within=within, check=check)

    def run(self, *argv, check=True, quiet=False, timeout=60):
        command = shlex.join(str(word) for word in argv)
        return Output(self.guest.sh(self.prefix + command, within=timeout + 30, check=check, quiet=quiet))

    def out(self, *argv, **options):
        return self.run(*argv, **options).stdout

    def spawn(self, argv, log):
        return Running(self, shlex.join(str(word) for word in argv), log)


class Machines:
    """Both machines and everything in them; `lab` in the eyes of traffic.py."""

    def __init__(self, folder, gateway_image, peer_image, packages):
        self.folder = pathlib.Path(folder)
        self.count = collections.Counter()
        links = [self.folder / name for name in ("wan", "fab")]

        def backend(path, server):
            return f"stream,server={'on' if server else 'off'},addr.type=unix,addr.path={path}"

        self.edge = Guest("edge-1", self.folder / "edge-1", gateway_image, disks=[packages], memory=1536, cpus=2, nics=[
            ("52:54:00:00:01:01", backend(links[0], False)), ("52:54:00:00:01:02", backend(links[1], False))])
        self.site = Guest("site-a", self.folder / "site-a", peer_image, nics=[
            ("52:54:00:00:02:01", backend(links[0], True)), ("52:54:00:00:02:02", backend(links[1], True))])
        self.links = links
        self.spaces = {"edge-1": Space(self, self.edge, "edge-1"), "site-a": Space(self, self.site, "site-a")}
        for name in ("internet", "host-a", "compute-1", "vm1"):
            self.spaces[name] = Space(self, self.site, name, name)

    def __getitem__(self, name):
        return self.spaces[name]

    def power_on(self, before_the_gateway=None):
        """Boots both; returns when both are up. `before_the_gateway`: called with the site up, returns when the gateway's image is there."""
        # It keeps its end of the cables while the other one is rebooted.
        self.site.power_on()
        expect(lambda: all(link.exists() for link in self.links), 20, "QEMU of site-a has made its cables")
        if before_the_gateway:
            self.site.wait_booted()
            before_the_gateway()
        self.edge.power_on()
        together(self.edge.wait_booted, self.site.wait_booted)

    def lay_cables(self):
        """The network around the routers, and the tests' traffic generators on site-a."""
        inside = re.sub(r"^\[(\S+)\] ", r"ip netns exec \1 ", NETWORK, flags=re.MULTILINE)
        self.site.sh(f"set -e\n{inside}")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as files:
            for path in LAB.glob("*.py"):
                files.add(path)
        self.site.write("/root/lab.tar", archive.getvalue())
        self.site.sh("tar -C / -xf /root/lab.tar")

    def fresh(self, name):
        """A new file name in the guest, as traffic.py asks for one."""
        self.count[name] += 1
        return f"/tmp/{name}.{self.count[name]}"

    def power_off(self):
        for guest in (self.edge, self.site):
            guest.power_off()

    def collect(self):
        """Journals and states of both machines, into the folder beside the consoles; takes five minutes at most."""
        deadline = time.monotonic() + 300
        for guest, questions in ((self.edge, EDGE_QUESTIONS), (self.site, SITE_QUESTIONS)):
            for name, command in {**QUESTIONS, **questions}.items():
                try:
                    left = deadline - time.monotonic()
                    if left < 1:
                        raise GuestError("not asked: no time left")
                    text = guest.sh(command, within=left, check=False, quiet=True).text
                except (GuestError, OSError) as error:
                    text = f"{error}\n"
                (guest.folder / f"{name}.txt").write_text(text)
        return self.folder


QUESTIONS = {
    "journal": "journalctl --no-pager -o short-precise | tail -n 20000",
    "units": "systemctl --no-pager --all list-units; systemctl --no-pager --failed; systemctl --no-pager status 'simplon*'",
    "dmesg": "dmesg",
    "dpkg": "dpkg -l",
    "links": "ip -s -d link; ip addr; ip route; ip rule; ip neigh; ip netns",
}
EDGE_QUESTIONS = {
    "simplon": "for noun in status 'tunnel show' 'bgp show' 'route show' 'vpc show' 'endpoint show' 'drop show'"
               " 'config show' 'config history' doctor; do echo \"$ simplon $noun\"; timeout 10 simplon $noun; done 2>&1",
    "swanctl": "swanctl --list-sas; swanctl --list-conns",
    "domains": "for name in $(ip netns list | cut -d' ' -f1); do echo \"== $name\"; ip -n $name addr; ip -n $name route;"
               " vtysh -N $name -c 'show running-config' -c 'show bgp summary' -c 'show ip route'; done 2>&1",
}
SITE_QUESTIONS = {
    "xfrm": "ip -s xfrm state | sed 's/0x[0-9a-f]\\{40,\\}/(key)/'; ip -s xfrm policy; cat /proc/net/xfrm_stat",
    "swanctl": "swanctl --list-sas; swanctl --list-conns",
    "frr": "vtysh -c 'show running-config' -c 'show bgp summary' -c 'show ip route'",
    "namespaces": "for name in internet host-a compute-1 vm1; do echo \"== $name\"; ip -n $name -s addr; ip -n $name route;"
                  " ip -n $name neigh; ip netns exec $name bridge fdb; done",
}


def together(*actions):
    """Runs all at once; raises the first exception when all have ended."""
    errors = []

    def act(action):
        try:
            action()
        except BaseException as error:  # noqa: BLE001  (carried to the caller's thread)
            errors.append(error)

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
