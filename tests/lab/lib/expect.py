# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a state, never for a time."""
import time


class NotReached(AssertionError):
    """The state did not come; the message says what was seen instead."""


def expect(ask, within, what):
    """Calls `ask()` until it returns something true, and returns that. `within` is in seconds.

    `ask` may return false, or raise an ordinary exception, as long as the state is not reached; the last of either is
    part of the failure.
    """
    deadline = time.monotonic() + within
    pause = 0.02
    while True:
        try:
            seen = ask()
            if seen:
                return seen
        except NotReached:
            raise
        except Exception as error:  # noqa: BLE001  (a daemon that does not answer yet)
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise NotReached(f"not within {within} s: {what} (last seen: {str(seen)[:600]!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
