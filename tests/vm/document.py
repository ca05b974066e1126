# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the code blocks of a page of docs/ (or of README.md), so that the page stays true. What a block's first line says:

    ```sh edge-1                          run there, must exit 0
    ```yaml edge-1:/root/gateway.yaml     becomes that file there (any language)
    ```text                               the output of the block before; `...` stands for anything

A rendered page hides that line, so the text before the block must end with the same: "On edge-1:", or
"On edge-1, file `/root/gateway.yaml`:". A block with an expected output is repeated until the output is that, as a reader would look again.
"""
import dataclasses
import pathlib
import re

from lib.expect import NotReached, expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK_WITHIN = 600  # apt-get install takes half a minute on an idle machine and many on a busy one
FENCE = re.compile(r"^```(.*)$")
PLACE = re.compile(r"(?:^|\s)On (\S+?)(?:, file `([^`]+)`)?:$")


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


def source(page):
    """The file of a page: of docs/, else of the whole tree."""
    return DOCS / page if (DOCS / page).exists() else ROOT / page


def check_place(page, block, said):
    """Readers see where a block belongs, and it is where it runs."""
    place = PLACE.search(said)
    if not place or (place.group(1), place.group(2) or "") != (block.where, block.path):
        wanted = f"On {block.where}, file `{block.path}`:" if block.path else f"On {block.where}:"
        raise DocumentError(f"{source(page).relative_to(ROOT)}:{block.line}: the text before this block must end with {wanted!r}, not {said[-80:]!r}")


def blocks(page):
    """The blocks of a page, in order."""
    found, chapter, opened, said = [], "", None, ""
    name = source(page).relative_to(ROOT)
    for number, line in enumerate(source(page).read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and line.startswith("## "):
            chapter = line[3:]
        if not fence:
            if opened:
                opened[2].append(line)
            elif line.strip():
                said = line.rstrip()
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
                continue
            if len(info) == 2 and ":" in info[1]:
                where, path = info[1].split(":", 1)
                found.append(Block(start, chapter, where, text, path=path))
            elif len(info) == 2 and info[0] == "sh":
                found.append(Block(start, chapter, info[1], text))
            else:
                raise DocumentError(f"{name}:{start}: nobody knows where to run this block: {' '.join(info)!r}")
            check_place(page, found[-1], said)
            said = ""
    if not found:
        raise DocumentError(f"{name} has no blocks to run")
    return found


def matches(expected, output):
    """All lines of `expected` are in `output`, in this order."""
    parts = [r"[^\n]*".join(re.escape(part) for part in line.split("...")) for line in expected.strip().splitlines()]
    return re.search(r"^" + r"\n(?:.*\n)*".join(parts) + r"\s*$", output.rstrip() + "\n", re.MULTILINE) is not None


done = []  # the blocks that `follow` ran


def follow(page, number, machines, say):
    """Runs the blocks of chapter `number` of a page; returns the output of the last one."""
    chapter = [block for block in blocks(page) if block.chapter.startswith(f"{number}. ")]
    if not chapter:
        raise DocumentError(f"{source(page).relative_to(ROOT)} has no chapter {number} with something to do")
    output = ""
    for block in chapter:
        first = block.path or block.text.splitlines()[0]
        say(f"[{block.where}] {first}{' ...' if not block.path and block.text.count(chr(10)) > 1 else ''}")
        output = run_block(page, block, machines)
        done.append(block)
    return output


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
        raise DocumentError(f"{source(page).relative_to(ROOT)}:{block.line} on {block.where}:\n{block.text}\n{error}\n{last[0][-1500:]}") from error
    return last[0]
