# SPDX-License-Identifier: GPL-2.0-or-later
"""The two machines, for the whole run: the tests are one journey, in the order of the files, and the first failure ends it."""
import os
import pathlib
import signal
import sys
import time

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "lab")]

import image  # noqa: E402
from machines import Machines  # noqa: E402

WORK = pathlib.Path(os.environ.get("SIMPLON_VM_FOLDER", "/tmp/simplon-vm"))
BEGAN = time.monotonic()
ROWS = []


def say(text):
    print(f"   {time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


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
    if report.failed or report.skipped:
        item.session.journey_failed = True
    if report.when == "call" or report.failed:
        say(f"{report.outcome} after {report.duration:.0f} s")


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
    """edge-1 with nothing but Debian, site-a with its tools; booted, cables laid."""
    debs = [pathlib.Path(name) for name in os.environ["SIMPLON_VM_DEBS"].split(":")]
    disk = WORK / "packages.ext4"
    gateway = image.root_image(say, image.GATEWAY)
    count = image.package_disk(disk, gateway, debs)
    say(f"mirror disk: {len(debs)} packages of ours, {count} that they depend on")
    made = Machines(WORK, gateway, image.root_image(say, image.PEER), disk)
    try:
        began = time.monotonic()
        made.power_on()
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
        disk.unlink(missing_ok=True)
