# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks of the test machines: a Debian 12 made of packages, and a disk that is their only package mirror.

Both come from the mirror that apt on this machine uses. The Debian is small on purpose: a package that Simplon needs and
does not declare is not there. It is built once per set of versions and kept in ~/.cache/simplon/vm.
"""
import hashlib
import inspect
import os
import pathlib
import shutil
import subprocess
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
RELEASE = "bookworm"
# What every Debian server has and Simplon does not need itself (apparmor is recommended by the kernel, the last six belong
# to its standard installation, and packages that we need want them), and the agent that the tests talk to.
GATEWAY = ["linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "kmod", "apparmor", "qemu-guest-agent",
           "python3", "ca-certificates", "bash-completion", "lsof", "logrotate", "libpam-systemd"]
# The other machine: a stock router, and the tools of the tests. Already there, because apt is slow in emulation.
PEER = [*GATEWAY, "charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins", "libcharon-extra-plugins", "frr",
        "iproute2", "iputils-ping", "tcpdump", "iperf3", "python3", "traceroute", "procps", "ethtool"]
KEPT = 4  # images in the cache


class ImageError(Exception):
    """What could not be made, and what the tool said."""


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "simplon" / "vm"


def run(*argv, **options):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **options)
    if done.returncode:
        raise ImageError(f"{argv[0]} failed ({done.returncode}): {' '.join(map(str, argv))}\n{done.stdout[-4000:]}")
    return done.stdout


def sources():
    """The lines of sources.list that this machine's apt uses for the release."""
    text = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
               "Origin: Debian")
    lines = sorted({line for line in text.splitlines() if RELEASE in line})
    if not lines:
        raise ImageError(f"apt has no package lists of Debian {RELEASE}: run apt-get update, on a Debian 12")
    return "\n".join(lines) + "\n"


def apt(*words, status):
    """apt-get as if this machine were the one whose dpkg status is given."""
    return run("apt-get", "-y", "-q", "-o", f"Dir::State::status={status}", "-o", "Debug::NoLocking=1",
               "-o", "APT::Sandbox::User=root", *words, env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})


class Image:
    """A bootable root disk, its kernel, and what dpkg says is installed on it."""

    def __init__(self, folder, key):
        self.disk, self.kernel, self.status = (folder / f"{key}.{kind}" for kind in ("ext4", "vmlinuz", "status"))

    @classmethod
    def of(cls, disk):
        """The image with this disk, as `root_image` made it."""
        disk = pathlib.Path(disk)
        return cls(disk.parent, disk.stem)

    def with_disk(self, disk):
        """The same kernel with another disk."""
        other = Image(self.disk.parent, self.disk.stem)
        other.disk = pathlib.Path(disk)
        return other

    def complete(self):
        return all(path.exists() for path in (self.status, self.kernel, self.disk))


def root_image(say, packages=tuple(GATEWAY)):
    """An image with these packages in today's versions; built when the cache does not have it."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    lines = sources()
    with tempfile.NamedTemporaryFile() as nothing:
        installed = apt("-s", "-o", "APT::Install-Recommends=0", "install", "?essential", *packages, status=nothing.name)
    versions = sorted(line for line in installed.splitlines() if line.startswith("Inst "))
    recipe = "\n".join([*versions, (FOLDER / "customize").read_text(), inspect.getsource(_build)])
    image = Image(folder, hashlib.sha256(recipe.encode()).hexdigest()[:16])
    if image.complete():
        say(f"Debian image from the cache: {image.disk}")
        os.utime(image.disk)
        return image
    say(f"building a Debian image of {len(versions)} packages")
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work:
        _build(image, pathlib.Path(work), lines, packages)
    for old in sorted(folder.glob("*.ext4"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        for kind in (".ext4", ".vmlinuz", ".status"):
            old.with_suffix(kind).unlink(missing_ok=True)
    return image


def _build(image, work, lines, packages):
    root, listed = work / "root", work / "sources.list"
    listed.write_text(lines)
    run("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}",
        "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io", f"--customize-hook={FOLDER}/customize \"$1\"",
        RELEASE, root, listed, env={**os.environ, "INITRD": "No", "TMPDIR": str(work)})
    kernels = list(root.glob("boot/vmlinuz-*"))
    if len(kernels) != 1:
        raise ImageError(f"the image has {len(kernels)} kernels, expected 1")
    disk = work / "disk"
    run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-m", "0", "-d", root, disk, "3G")
    shutil.copy(kernels[0], image.kernel)
    shutil.copy(root / "var/lib/dpkg/status", image.status)
    disk.rename(image.disk)  # last: a disk that is there is complete


def repack(deb, folder, suffix="", compression="none"):
    """The same package, quick to unpack, with `suffix` at the end of its version: something to upgrade to."""
    with tempfile.TemporaryDirectory(prefix="simplon-vm-repack-") as work:
        tree = pathlib.Path(work) / "tree"
        run("dpkg-deb", "--raw-extract", deb, tree)
        control = tree / "DEBIAN/control"
        lines = control.read_text().splitlines(keepends=True)
        control.write_text("".join(f"{line.rstrip()}{suffix}\n" if line.startswith("Version:") else line for line in lines))
        run("dpkg-deb", f"-Z{compression}", "-z1", "--build", tree, folder)


def package_disk(path, image, packages):
    """A disk with the label `packages`: `simplon/` has the given .deb files, `newer/` the same with a higher version,
    `mirror/` everything that they need on top of the image, as apt resolves it. Returns how many packages that is."""
    archives = cache() / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    debs = [pathlib.Path(package).resolve() for package in packages]
    with tempfile.TemporaryDirectory(prefix="simplon-vm-disk-") as work:
        tree = pathlib.Path(work)
        mirror, product, newer = tree / "mirror", tree / "simplon", tree / "newer"
        for folder in (mirror, product, newer, tree / "none/partial"):
            folder.mkdir(parents=True)
        uris = apt("--print-uris", "-o", f"Dir::Cache::archives={tree}/none", "install", *debs, status=image.status)
        names = [line.split()[1] for line in uris.splitlines() if line.startswith("'")]
        names = [name for name in names if not any(name == deb.name for deb in debs)]
        apt("--download-only", "-o", f"Dir::Cache::archives={archives}", "install", *debs, status=image.status)
        for name in names:
            repack(archives / name, mirror)
        index = subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=mirror, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, check=True).stdout
        (mirror / "Packages").write_bytes(index)
        for deb in debs:
            shutil.copy(deb, product)
            repack(deb, newer, "+upgrade", "gzip")
        shutil.rmtree(tree / "none")
        path.unlink(missing_ok=True)
        size = sum(item.stat().st_size for item in tree.rglob("*") if item.is_file())
        run("mke2fs", "-q", "-t", "ext4", "-L", "packages", "-m", "0", "-d", tree, path, f"{size * 5 // 4 // 1024 + 65536}k")
    return len(names)
