#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The architecture, as a test: who may include whom, and the small rules that keep the tree readable.

    include_rules.py [includes|spdx|names|hosts|fuzz|sizes ...]     default: all of them

A broken rule is printed with its reason, because the reason is what a developer who is about to bend it needs.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a folder may include with #include "...": the longest matching folder decides.
# folder: (folders it may include besides itself, why not more)
ALLOWED = {
    "platform": (["platform"], "platform knows bytes, kernel and clocks; it is the ground everything stands on"),
    "platform/base": ([], "base is what every other folder uses; it can use none of them"),
    "platform/net": (["platform/base"], "addresses are plain values"),
    "platform/wire": (["platform/base", "platform/net"],
                      "a wire format is layout and parsing, no logic, so that it can be fuzzed alone"),
    "platform/crypto": (["platform/base", "platform/wire"], "ciphers know neither sockets nor the kernel"),
    "bgp": (["platform"], "bgp and ipsec never include each other: routes and tunnels meet in gateway/control"),
    "ipsec": (["platform"], "bgp and ipsec never include each other: routes and tunnels meet in gateway/control"),
    "ipsec/charon-plugin": (["gateway/ipc/sa_protocol.h"],
                            "the plugin sees strongSwan's headers and the SA protocol, nothing else of ours: "
                            "it is the licence boundary"),
    "gateway/config": (["platform"], "what the operator wants does not depend on how it is carried out"),
    "gateway/ipc": (["platform"], "a contract includes no side of it"),
    "gateway/control": (["platform", "bgp", "ipsec", "gateway/config", "gateway/ipc"],
                        "control decides: it has no packets, and it programs the forwarder over gateway/ipc only"),
    "gateway/forward": (["platform"], "the data path builds, tests and runs without configuration, charon and FRR"),
    "gateway/forwarder": (["platform", "gateway/forward", "gateway/ipc"],
                          "the forwarder obeys: it knows tables and SAs, not configuration"),
    "gateway/daemon": (["platform", "bgp", "ipsec", "gateway/config", "gateway/control", "gateway/ipc"],
                       "simplond and the forwarder share exactly gateway/ipc"),
    "gateway/doctor": (["platform", "gateway/config"], "the doctor looks at the host, also when no program of ours runs"),
    "gateway/cli": (["platform", "gateway/config", "gateway/ipc", "gateway/doctor"],
                    "the CLI asks: it is a client of the local API"),
}

# Headers that belong to one place: (pattern, folders that may include it, why)
KEPT_APART = [
    (r"<(daemon|library|plugins/plugin|kernel/kernel_ipsec)\.h>", ["ipsec/charon-plugin"],
     "strongSwan's headers are seen by the plugin only (licence and ABI boundary)"),
    (r"<(xdp/|bpf/).*>", ["platform/xdp"], "AF_XDP and BPF are behind platform/xdp"),
    (r"<netlink/.*>", ["platform/netlink"], "libnl is behind platform/netlink"),
    (r"<(intel-)?ipsec-mb\.h>", ["platform/crypto"], "the cipher library is behind platform/crypto"),
    (r"<yaml-cpp/.*>", ["gateway/config"], "YAML is the operator's language; inside, configuration is a value"),
    (r"<gtest/.*>|<gmock/.*>", ["tests"], "product code has no test branches"),
]

FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "types", "manager", "misc"}
CODE = {".h", ".cpp", ".c", ".py", ".sh", ".fbs", ".cmake", ".def"}
MODULES = ("platform", "bgp", "ipsec", "gateway")


def tracked():
    """Files of the repository, also those not committed yet; a source package without git is walked instead."""
    git = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"],
                         cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        names = git.stdout.splitlines()
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    paths = (ROOT / name for name in names)
    return sorted(path for path in paths if path.is_file() and "build" not in path.relative_to(ROOT).parts)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def inside(name, folders):
    return any(name == folder or name.startswith(folder + "/") for folder in folders)


def home_of(name):
    homes = [folder for folder in ALLOWED if inside(name, [folder])]
    return max(homes, key=len) if homes else None


def includes(files):
    for path in files:
        if path.suffix not in {".h", ".cpp", ".c"}:
            continue
        name = relative(path)
        home = home_of(name)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+(<[^>]+>|"[^"]+")', line)
            if not found:
                continue
            what = found.group(1)
            for pattern, folders, why in KEPT_APART:
                if home and re.fullmatch(pattern, what) and not inside(name, folders):
                    yield f"{name}:{number}: includes {what}: {why}"
            if what[0] == "<":
                continue
            target = what.strip('"')
            owner = next((module for module in MODULES if inside(target, [module])), None)
            if owner is None:
                continue
            if home:
                allowed, why = ALLOWED[home]
                if not inside(target, [home, *allowed]):
                    yield f"{name}:{number}: {home} includes {target}: {why}"
            if "/src/" in target and home and home != home_of(target):
                yield f"{name}:{number}: {target} is private: public headers lie at the root of their folder"


def spdx(files):
    for path in files:
        name = relative(path)
        script = path.suffix == "" and path.read_bytes()[:2] == b"#!"
        if not (path.suffix in CODE or path.name == "CMakeLists.txt" or script):
            continue
        head = path.read_text(errors="replace").splitlines()[:2]
        first = head[1] if len(head) > 1 and head[0].startswith("#!") else (head[0] if head else "")
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in first:
            yield f"{name}:1: the first line (after #!) is the SPDX line: a file says its licence wherever it is copied"


def names(files):
    for path in files:
        for part in path.relative_to(ROOT).parts:
            if part.split(".")[0].lower() in FORBIDDEN_NAMES:
                yield f"{relative(path)}: '{part}' says nothing; if it has no better name it is not a thing yet"


def hosts(files):
    """A mirror's name in the tree breaks everybody who uses another one; ask apt instead."""
    wanted = re.compile(r"https?://[^/\s\"']+/(debian|debian-security|ubuntu)(/|\b)")
    mine = set()
    try:
        answer = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True)
        mine = set(re.findall(r"https?://([^/\s]+)/", answer.stdout))
    except OSError:
        pass
    for path in files:
        if inside(relative(path), ["tests/fuzz/corpus"]):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if wanted.search(line) or any(host in line for host in mine):
                yield f"{relative(path)}:{number}: names a package mirror: take it from apt (apt-get indextargets)"


def fuzz(files):
    """Each fuzz(...) line has its program and a corpus, and each program has its line."""
    folder = ROOT / "tests/fuzz"
    lines = set(re.findall(r"^fuzz\((\w+)", (folder / "CMakeLists.txt").read_text(), re.MULTILINE))
    programs = {path.name.removesuffix("_fuzz.cpp") for path in files
                if path.parent == folder and path.name.endswith("_fuzz.cpp")}
    for name in sorted(lines - programs):
        yield f"tests/fuzz/CMakeLists.txt: {name}_fuzz.cpp does not exist: every byte from outside has a fuzz target"
    for name in sorted(programs - lines):
        yield f"tests/fuzz/{name}_fuzz.cpp: has no fuzz({name} ...) line: it is never built"
    for name in sorted(programs & lines):
        if not any((folder / "corpus" / name).glob("*")):
            yield f"tests/fuzz/corpus/{name}: is empty: the replay needs a first input"


def sizes(files):
    """A report, and a limit where nobody could call a file one thing any more."""
    long = []
    for path in files:
        if path.suffix in {".h", ".cpp", ".c", ".py", ".sh"}:
            long.append((len(path.read_text(errors="replace").splitlines()), path))
    long.sort(key=lambda item: -item[0])
    print("longest files:")
    for count, path in long[:10]:
        print(f"  {count:5} {relative(path)}")
    for count, path in long:
        limit = 400 if path.suffix == ".h" else 1000
        if count > limit:
            yield f"{relative(path)}: {count} lines (limit {limit}): split it by purpose"


RULES = {rule.__name__: rule for rule in (includes, spdx, names, hosts, fuzz, sizes)}


def main(wanted):
    unknown = [rule for rule in wanted if rule not in RULES]
    if unknown:
        print(f"unknown rule {unknown[0]}; there are: {' '.join(RULES)}", file=sys.stderr)
        return 2
    files = tracked()
    broken = 0
    for rule in wanted or RULES:
        for complaint in RULES[rule](files):
            print(complaint)
            broken += 1
    print(f"{len(files)} files, {broken} broken rules")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
