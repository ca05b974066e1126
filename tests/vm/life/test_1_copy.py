# SPDX-License-Identifier: GPL-2.0-or-later
"""The gateway of the walk-through on another machine: its disk, and nothing else. The site and the compute host are made anew."""
import json

import document
from conftest import row, say
from gateway import healthy

PAGE = "walkthrough.md"


def test_the_gateway_comes_back_from_its_disk(machines):
    healthy(machines, "booted from the copy of the disk")
    name = json.loads(machines.edge.out("simplon status --json"))["gateway"]
    row("booted from the copy of the disk", f"the gateway is {name}", name == "edge-1")


def test_its_neighbors_are_made_again(machines):
    """Tunnel, BGP and VPC come up as the page says, with nothing done at the gateway."""
    for chapter in (3, 4, 5):
        document.follow(PAGE, chapter, machines, say)
    row("tunnel, BGP and pings after the boot", "as docs/walkthrough.md says")
