# SPDX-License-Identifier: GPL-2.0-or-later
"""The two machines of a journey: its tests go in the order of the files, and the first failure ends it."""
import os
import pathlib
import signal
import sys
import time

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "lab")]

from image import Image  # noqa: E402
from lib.expect import expect  # noqa: E402
from machines import Machines  # noqa: E402

WORK = pathlib.Path(os.environ["SIMPLON_VM_FOLDER"])
BEGAN = float(os.environ["SIMPLON_VM_BEGAN"])
INSTALLED = pathlib.Path(os.environ["SIMPLON_VM_INSTALLED"])
WALKTHROUGH_WITHIN = 2400
ROWS = []
SKIPPED = []


def say(text):
    print(f"{time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


def row(what, value, good=True):
    """A line of the final table; a bad one ends the journey."""
    ROWS.append((what, str(value), good))
    say(f"{what}: {value}{'' if good else '   FAILED'}")
    assert good, f"{what}: {value}"


def pytest_configure(config):
    # SIGTERM takes the same way out as Ctrl-C, so that the machines end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtest_logstart(nodeid, location):
    print(f"\n== {location[2].removeprefix('test_').replace('_', ' ')}", flush=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped:
        SKIPPED.append(item.nodeid)
    if report.failed or report.skipped:
        item.session.journey_failed = True
    if report.when == "call" or report.failed:
        say(f"{report.outcome} after {report.duration:.0f} s")


def pytest_sessionfinish(session, exitstatus):
    if SKIPPED and exitstatus == 0:
        say(f"skipped, which proves nothing: {', '.join(SKIPPED)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    if not ROWS:
        return
    width = max(len(what) for what, _, _ in ROWS)
    print("\n" + "=" * 100)
    for what, value, good in ROWS:
        print(f"  {'ok  ' if good else 'FAIL'}  {what:<{width}}  {value}")
    print("=" * 100)
    print(f"  {len(ROWS)} rows, {sum(not good for *_, good in ROWS)} failed, {time.monotonic() - BEGAN:.0f} s")


@pytest.fixture(scope="session")
def machines(request):
    """edge-1 and site-a, booted, cables laid. In the journey `service` edge-1 is nothing but Debian, in `life` it has the disk that the
    walk-through left. site-a is a Debian with its tools."""
    gateway, peer = (Image.of(os.environ[f"SIMPLON_VM_{name}"]) for name in ("GATEWAY", "PEER"))
    wait = None
    if WORK.name == "life":
        gateway = gateway.with_disk(INSTALLED)

        def wait():
            expect(INSTALLED.exists, WALKTHROUGH_WITHIN, "the walk-through has left the disk of its gateway")

    made = Machines(WORK, gateway, peer, os.environ["SIMPLON_VM_PACKAGES"])
    try:
        began = time.monotonic()
        made.power_on(wait)
        say(f"both machines booted in {time.monotonic() - began:.0f} s")
        made.lay_cables()
        yield made
        if getattr(request.session, "journey_failed", False):
            say(f"consoles, journals, states and captures: {made.collect()}")
    except Exception:
        say(f"consoles, journals, states and captures: {made.collect()}")
        raise
    finally:
        made.power_off()
