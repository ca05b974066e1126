# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the code blocks of a page of docs/, so that the page stays true. What a block's first line says:

    ```sh edge-1                          run there, must exit 0
    ```yaml edge-1:/root/gateway.yaml     becomes that file there (any language)
    ```text                               the output of the block before; `...` stands for anything

A block with an expected output is repeated until the output is that, as a reader would look again.
"""
import dataclasses
import pathlib
import re

from lib.expect import NotReached, expect

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
BLOCK_WITHIN = 600  # apt-get install takes half a minute on an idle machine and many on a busy one
FENCE = re.compile(r"^```(.*)$")


class DocumentError(AssertionError):
    """The page, or what it says, is wrong; the message has file and line."""


@dataclasses.dataclass
class Block:
    line: int
    chapter: str
    where: str
    text: str
    path: str = ""
    expected: str = ""


def blocks(page):
    """The blocks of docs/`page`, in order."""
    found, chapter, opened = [], "", None
    for number, line in enumerate((DOCS / page).read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and line.startswith("## "):
            chapter = line[3:]
        if not fence:
            if opened:
                opened[2].append(line)
        elif opened is None:
            opened = (number, fence.group(1).split(), [])
        else:
            start, info, lines = opened
            opened = None
            text = "".join(line + "\n" for line in lines)
            if not info:
                continue  # a drawing
            if info == ["text"] and found and not found[-1].expected:
                found[-1].expected = text
            elif len(info) == 2 and ":" in info[1]:
                where, path = info[1].split(":", 1)
                found.append(Block(start, chapter, where, text, path=path))
            elif len(info) == 2 and info[0] == "sh":
                found.append(Block(start, chapter, info[1], text))
            else:
                raise DocumentError(f"docs/{page}:{start}: nobody knows where to run this block: {' '.join(info)!r}")
    if not found:
        raise DocumentError(f"docs/{page} has no blocks to run")
    return found


def matches(expected, output):
    """All lines of `expected` are in `output`, in this order."""
    parts = [r"[^\n]*".join(re.escape(part) for part in line.split("...")) for line in expected.strip().splitlines()]
    return re.search(r"^" + r"\n(?:.*\n)*".join(parts) + r"\s*$", output.rstrip() + "\n", re.MULTILINE) is not None


def run_block(page, block, machines, within=BLOCK_WITHIN):
    """One block; returns its output."""
    place = machines[block.where]
    if block.path:
        place.guest.write(block.path, block.text)
        return ""
    last = [""]

    def once():
        done = place.sh("cd /root\nset -e\n" + block.text, within=within, check=False)
        last[0] = done.text
        assert done.code == 0, f"exit status {done.code}: {done.text[-1500:]}"
        return not block.expected or matches(block.expected, done.out)

    try:
        if block.expected:
            expect(once, within, f"the output that the page shows: {block.expected.strip()}")
        else:
            once()
    except (AssertionError, NotReached) as error:
        raise DocumentError(f"docs/{page}:{block.line} on {block.where}:\n{block.text}\n{error}\n{last[0][-1500:]}") from error
    return last[0]
