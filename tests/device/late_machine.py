"""Tells a device that is late from a machine that is, for tests in real time."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec

from device_interface.conformance.links import Lateness
from trialkit.errors import TrialkitError

P = ParamSpec("P")
LATE_S = 0.05
TRIES = 5


def again_where_late(test: Callable[P, None]) -> Callable[P, None]:
    """Do a test again that failed while this process woke more than 50 ms too late.

    On a machine in time the first failure counts.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        for left in reversed(range(TRIES)):
            with Lateness() as late:
                try:
                    return test(*args, **kwargs)
                except (AssertionError, TrialkitError):
                    if not left or late.worst_s < LATE_S:
                        raise
            time.sleep(1.0)

    return run
