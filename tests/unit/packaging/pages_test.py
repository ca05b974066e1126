#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/vm runs of the pages, as far as it can be judged without a machine: each block says where it belongs, and the gateway's
configuration is the same one wherever it is shown."""
import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "vm"), str(ROOT / "tests" / "lab")]

import document  # noqa: E402


def bare(text):
    """Its lines without comments."""
    return [line for line in (line.split("#")[0].rstrip() for line in text.splitlines()) if line]


class Pages(unittest.TestCase):
    def test_every_block_says_where_it_belongs(self):
        self.assertGreater(len(document.blocks("walkthrough.md")), 10)

    def test_one_configuration(self):
        wanted = next(block for block in document.blocks("walkthrough.md") if block.path.endswith("gateway.yaml"))
        readme, = document.blocks("README.md")
        self.assertEqual((readme.where, readme.path), (wanted.where, wanted.path))
        operations = re.search(r"```yaml\n(gateway:.*?)```", (document.DOCS / "operations.md").read_text(), re.DOTALL).group(1)
        example = (ROOT / "packaging" / "examples" / "site-to-site.yaml").read_text()
        for text in (readme.text, operations, example):
            self.assertEqual(bare(text), bare(wanted.text))

    def test_a_block_elsewhere_than_its_text_says_is_found(self):
        for said in ("Then:", "On site-a:", "On edge-1, file `/root/x`:"):
            with self.assertRaisesRegex(document.DocumentError, "must end with 'On edge-1:'"):
                document.check_place("walkthrough.md", document.Block(1, "", "edge-1", "true\n"), said)


if __name__ == "__main__":
    unittest.main()
