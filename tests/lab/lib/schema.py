# SPDX-License-Identifier: GPL-2.0-or-later
"""The published JSON Schemas against real replies, strictly: a member that no schema names is a mistake of ours."""
import copy
import functools
import json

import jsonschema

from .topo import ROOT

SCHEMAS = ROOT / "gateway/ipc/schemas"
# The verb decides where a noun has replies of several shapes.
BY_VERB = {("config", "history"): "config-history", ("config", "diff"): "config-diff", ("config", "check"): "config-check",
           ("config", "apply"): "config-apply", ("config", "confirm"): "config-confirm", ("config", "undo"): "config-undo",
           ("config", "export"): "config-export", ("config", "import"): "config-apply", ("audit", "verify"): "audit-verify"}
BY_NOUN = {"apply": "config-apply", "confirm": "config-confirm", "endpoint": "vpc"}
EDITS = {"add", "remove"}
ACTIONS = {"up", "down", "rekey"}
# A long reply says nothing that a short one does not.
MOST_BYTES = 200_000


def name_of(words):
    words = [str(word) for word in words if not str(word).startswith("-")]
    noun, verb = words[0], (words[1] if len(words) > 1 else "show")
    if verb in EDITS:
        return "config-apply"
    if noun == "tunnel" and verb in ACTIONS:
        return "tunnel-action"
    return BY_VERB.get((noun, verb)) or BY_NOUN.get(noun, noun)


def closed(node):
    """The schema without the room for members of later versions."""
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for value in node.values():
            closed(value)
    elif isinstance(node, list):
        for value in node:
            closed(value)
    return node


@functools.lru_cache(maxsize=None)
def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(closed(copy.deepcopy(schema)))


def check(words, text):
    """`text` is what `simplon words... --json` printed."""
    if len(text) > MOST_BYTES:
        return
    reply = json.loads(text)
    name = "errors" if "errors" in reply else name_of(words)
    problems = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator(name).iter_errors(reply)]
    assert not problems, f"`simplon {' '.join(map(str, words))} --json` is not as {name}.schema.json says: {problems[:3]}"
