#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints simplon.yaml(5), made from the JSON Schema of the document: manual_page.py SCHEMA VERSION [EXAMPLE]"""
import json
import pathlib
import sys

LISTS = {"uplinks": "uplink", "domains": "domain", "vpcs": "vpc", "tunnels": "tunnel", "circuits": "circuit", "acls": "acl"}
ABOUT = {
    "gateway": "The gateway itself.",
    "uplink": "A network interface of the host that the forwarder receives from and sends to.",
    "domain": "A routing domain: tunnels, circuits and VPCs of one domain reach each other, those of two domains never.",
    "bgp": "The routing daemon of a domain.",
    "neighbor": "A BGP neighbor, reached through a tunnel or circuit.",
    "static-route": "A route that nobody has to announce.",
    "vpc": "A virtual network of the cloud, carried in VXLAN.",
    "endpoint": "A VM: its address, and the compute host that it is behind.",
    "tunnel": "An IPsec tunnel to a site.",
    "circuit": "One path of a private line: a VLAN, or one inside another, on an uplink.",
    "acl": "An access list: who may talk to whom. It does not touch what is for the gateway itself.",
    "acl-rule": "What one kind of packet may do.",
    "policy": "What holds for the packets of one VPC, tunnel or circuit.",
    "nat-rule": "A translation of addresses (IPv4).",
}


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join("\\&" + line if line.startswith(".") else line for line in text.split("\n"))


class Page:
    def __init__(self, schema):
        self.schema = schema
        self.seen = []
        self.lines = []

    def resolved(self, node):
        """A node with what it refers to; its own words go first."""
        if "$ref" not in node:
            return node, ""
        name = node["$ref"].rsplit("/", 1)[-1]
        return {**self.schema["definitions"][name], **{k: v for k, v in node.items() if k != "$ref"}}, name

    def kind(self, node):
        node, name = self.resolved(node)
        if name in ABOUT or node.get("type") == "object":
            return f"mapping, see {name}"
        if node.get("type") == "array":
            limit = f", at most {node['maxItems']}" if "maxItems" in node else ""
            return f"list of {self.kind(node['items'])}{limit}"
        if "enum" in node:
            return " or ".join(node["enum"])
        if node.get("type") == "integer":
            return f"number from {node['minimum']} to {node['maximum']}" if "maximum" in node else "number"
        if node.get("type") == "boolean":
            return "true or false"
        return name.replace("-", " ") if name else "text"

    def add_key(self, key, node, required):
        merged, _ = self.resolved(node)
        self.lines += [".TP", f"\\fB{escaped(key)}\\fR"]
        kind = self.kind(node)
        literal = "enum" in merged or merged.get("type") == "boolean"
        words = [kind if literal else kind[0].upper() + kind[1:]]
        if merged.get("description"):
            words.append(merged["description"])
        if required:
            words.append("required")
        elif "default" in merged:
            default = merged["default"]
            words.append("default: " + (str(default).lower() if isinstance(default, bool) else str(default)))
        self.lines.append(escaped("; ".join(words)) + ".")

    def add_object(self, name):
        if name in self.seen:
            return
        self.seen.append(name)
        node = self.schema["definitions"][name]
        self.lines += [f".SS {escaped(name)}", escaped(ABOUT[name])]
        inner = []
        for key, value in node["properties"].items():
            self.add_key(key, value, key in node.get("required", []))
            merged, reference = self.resolved(value)
            if merged.get("type") == "array":
                _, reference = self.resolved(merged["items"])
            if reference in ABOUT:
                inner.append(reference)
        for reference in inner:
            self.add_object(reference)


def main(path, version, example=None):
    schema = json.loads(pathlib.Path(path).read_text())
    page = Page(schema)
    page.lines = ['.\\" SPDX-License-Identifier: GPL-2.0-or-later',
                  f'.TH SIMPLON.YAML 5 "" "simplon {version}" "Simplon"',
                  ".SH NAME", "simplon.yaml \\- configuration document of a Simplon gateway",
                  ".SH DESCRIPTION", escaped(schema["description"]), ".PP",
                  escaped("simplon(1) applies a document as one transaction: all of it, or nothing. "
                          "`simplon config check FILE` tells all its errors at once, each with its line. The document "
                          "that applies is printed by `simplon config show`."),
                  ".PP", "The document is a mapping with these keys:"]
    for key, node in schema["properties"].items():
        page.add_key(key, node, key in schema["required"])
    page.lines.append(".SH OBJECTS")
    for key in schema["properties"]:
        page.add_object(LISTS.get(key, key))
    page.lines += [".SH VALUES"]
    for name, node in schema["definitions"].items():
        if node.get("type") != "object" and "description" in node:
            page.lines += [".TP", f"\\fB{escaped(name.replace('-', ' '))}\\fR", escaped(node["description"]) + "."]
    page.lines += [".TP", "\\fBname\\fR", "A lower\\-case letter, then at most 30 lower\\-case letters, digits and hyphens."]
    if example:
        text = pathlib.Path(example).read_text().rstrip("\n")
        text = "\n".join(line for line in text.split("\n") if "SPDX" not in line)
        page.lines += [".SH EXAMPLE", ".EX", escaped(text), ".EE"]
    page.lines += [".SH SEE ALSO", ".BR simplon (1) ,", ".BR simplond (8)"]
    print("\n".join(page.lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
