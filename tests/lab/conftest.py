# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lab` fixture: namespaces for one lab (a folder), removed afterwards; on failure everything that explains it stays."""
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib import schema  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.topo import Lab  # noqa: E402

# Each reply that any lab reads must be as the published schemas say.
Gateway.check_reply = staticmethod(schema.check)


def pytest_configure(config):
    # SIGTERM (a timeout of ctest, for one) takes the same way out as Ctrl-C, so that fixtures clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.session.lab_failed = True


@pytest.fixture(scope="module")
def lab(request):
    keep = os.environ.get("SIMPLON_LAB_KEEP") == "1"
    made = Lab(pathlib.Path(request.path).parent.name, keep=keep)
    try:
        yield made
    finally:
        if getattr(request.session, "lab_failed", False):
            folder = made.collect()
            print(f"\nlogs, states and captures: {folder}", file=sys.stderr)
        if keep:
            print(f"\nleft running: {made.id} (remove it with tests/lab/run --clean)", file=sys.stderr)
        made.close()
        if not keep and not getattr(request.session, "lab_failed", False):
            made.forget_logs()
