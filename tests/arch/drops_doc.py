#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/drops.md is made from gateway/forward/drop.def: drops_doc.py --write makes it, without it a stale page fails."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "gateway/forward/drop.def"
PAGE = ROOT / "docs/drops.md"
LINE = re.compile(r'SIMPLON_DROP\(\w+, "(\w+)",\s*"([^"]+)",\s*"([^"]+)"\)')

HEAD = """# Drops

Every packet that is not forwarded has a name; `simplon drop show` counts them. This page is made from `gateway/forward/drop.def`
(`tests/arch/drops_doc.py --write`). What the kernel or a NIC loses in front of the forwarder or behind it has no name here: [operations.md](operations.md),
"Workers" (rings that are full) and "Forwarding in XDP" (frames that the egress does not take).

| counter | why | reference |
| --- | --- | --- |
"""


def page():
    text = SOURCE.read_text()
    drops = LINE.findall(text)
    assert len(drops) == len(re.findall(r"^SIMPLON_DROP\(", text, re.M)), "a line of drop.def was not understood"
    return HEAD + "".join(f"| `{name}` | {sentence} | {reference} |\n" for name, reference, sentence in drops)


def main():
    if "--write" in sys.argv:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    print("docs/drops.md is stale: run tests/arch/drops_doc.py --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
