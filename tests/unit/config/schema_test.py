#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The published JSON Schema accepts the documents the parser accepts, and refuses an unknown key wherever one can stand.

The other direction, key by key, is Document.SchemaAndParserKnowTheSameKeys.
"""
import copy
import json
import pathlib
import re
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]


def mappings(node):
    """Every mapping inside a document."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from mappings(item)


def main():
    schema = json.loads((ROOT / "gateway/config/simplon.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    source = (ROOT / "tests/unit/config/sample.h").read_text()
    documents = [yaml.safe_load(text) for text in re.findall(r'R"\((.*?)\)"', source, re.DOTALL)]
    assert len(documents) == 2, len(documents)
    refused = 0
    for document in documents:
        for error in validator.iter_errors(document):
            sys.exit(f"a valid document is refused: {list(error.path)}: {error.message}")
        for index in range(len(list(mappings(document)))):
            wrong = copy.deepcopy(document)
            list(mappings(wrong))[index]["unknown-key"] = 1
            assert not validator.is_valid(wrong), f"an unknown key in mapping {index} is accepted"
            refused += 1
    print(f"{len(documents)} documents accepted, {refused} unknown keys refused")


main()
