#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys that hints name are keys that the document takes: simplon.schema.json has them, spelled as there.

A string literal with a space in it is read by people. In it no word has an underscore (the document's keys have hyphens), but for
names of drops and of things that are not ours; and what it says to set, raise, compare or use is in the schema.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["bgp", "ipsec", "gateway/config", "gateway/control", "gateway/daemon", "gateway/cli", "gateway/doctor"]
NOT_OURS = {"virtio_net", "mlx5_core", "apparmor_parser"}
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
UNDERSCORED = re.compile(r"(?<![\w./{-])[a-z]+(?:_[a-z0-9]+)+(?![\w(./])")
NAMED = re.compile(r"\b(?:set|raise|compare|use|suite to) ([a-z]+(?:-[a-z]+)+)\b|\b(?:set|raise) ([a-z]+) to\b")
PRONOUNS = {"it", "them"}


def keys_of(schema):
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from keys_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys_of(value)


def literals(text):
    """(line, what adjacent literals say together)"""
    text = re.sub(r"^\s*(//|#).*$", "", text, flags=re.MULTILINE)
    for found in re.finditer(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', text):
        yield text.count("\n", 0, found.start()) + 1, "".join(LITERAL.findall(found.group(0)))


def main():
    keys = set(keys_of(json.loads((ROOT / "gateway/config/simplon.schema.json").read_text())))
    assert {"asn", "esp-proposals", "max-prefixes"} <= keys, sorted(keys)
    drops = set(re.findall(r'^SIMPLON_DROP\(\w+, "(\w+)"', (ROOT / "gateway/forward/drop.def").read_text(), re.MULTILINE))
    files = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", *FOLDERS], cwd=ROOT,
                           check=True, capture_output=True, text=True).stdout.split()
    wrong, named = [], set()
    for name in files:
        path = ROOT / name
        if path.suffix not in (".cpp", ".h") or "charon-plugin" in name or not path.exists():
            continue
        for line, words in literals(path.read_text()):
            if " " not in words:
                continue
            for word in UNDERSCORED.findall(words):
                if word not in drops and word not in NOT_OURS:
                    wrong.append(f"{name}:{line}: '{word}' in \"{words[:80]}\": keys of the document have hyphens")
            for word in ("".join(groups) for groups in NAMED.findall(words)):
                if word in keys:
                    named.add(word)
                elif word not in PRONOUNS:
                    wrong.append(f"{name}:{line}: '{word}' in \"{words[:80]}\" is no key of the document")
    print("\n".join(wrong) or f"keys named in hints: {' '.join(sorted(named))}")
    assert named, "nothing was looked at"
    return 1 if wrong else 0


sys.exit(main())
