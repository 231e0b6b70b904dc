"""The guards: what they look for, from where on, and what follows.

All thresholds are engineering starts and no clinical values (``verified: false``): a site
confirms or changes them. The channel limits and allowed gaps of a device are its own, and
come from its descriptor. `trialkit.session.watch` looks at the rows; what it saw goes into
the tick's `Summary`, and the rules here say, from that alone, what must be done. No guard
resumes by itself, and the same one holds a session `REPEATS` - 1 times: then it ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trialkit.session.words import Summary

REPEATS = 3
"""At this many holds by the same guard, or by the device itself, the session ends."""
SPASM_WINDOW_S = 0.05
SPASM_JUMP_NM = 120.0
"""Change of interaction torque within the window that counts while there is no stride yet."""
STALE_PERIODS = 3
SILENT_S = 1.0
"""A stream that is not required and has waited this long, and three periods, is named."""


@dataclass(frozen=True)
class Guard:
    """One guard.

    Parameters
    ----------
    code : str
        Stable; of a channel or a stream, its name follows after a hyphen.
    action : {"hold", "stop"}
    threshold : float or None
        From where on; None where the device's descriptor says it.
    unit : str
    after_s : float
        For how long the value must lie beyond the threshold.
    text : str
        What it looks for.
    verified : bool
        True once somebody with the authority has confirmed the threshold.
    """

    code: str
    action: Literal["hold", "stop"]
    threshold: float | None
    unit: str
    after_s: float
    text: str
    verified: bool = False


GUARDS: dict[str, Guard] = {
    guard.code: guard
    for guard in (
        Guard("overload", "stop", 150.0, "N.m", 0.0, "an interaction torque this large"),
        Guard("stale", "stop", None, "s", 0.05, "a required stream repeats the same values"),
        Guard("alarm", "hold", None, "", 0.0, "a channel outside its alarm limits"),
        Guard("set_gap", "hold", None, "", 0.0, "a read value too far from its set value"),
        Guard("tracking_error", "hold", 0.35, "rad", 1.0, "the joints this far off the path"),
        Guard("spasm", "hold", 50.0, "N.m", 0.0, "torques this far from those of the last strides"),
        Guard("velocity_reversal", "hold", -0.05, "m/s", 0.0, "a belt that runs backward"),
        Guard("sequence", "hold", 0.5, "s", 0.0, "rows lost, or sequence numbers going back"),
        Guard("late_loop", "hold", 1.0, "s", 0.0, "the session's own loop comes too late"),
    )
}


@dataclass(frozen=True)
class Seen:
    """A guard that tripped: its full code, what follows, and the value."""

    code: str
    action: Literal["hold", "stop"]
    value: float


def seen_in(summary: Summary) -> Mapping[str, float]:
    """Return what the guards see in a tick, by full code: the watch's, and the loop's own."""
    limit = GUARDS["late_loop"].threshold
    if limit is not None and summary.late_s > limit:
        return {**summary.guards, "late_loop": summary.late_s}
    return summary.guards


def gravest(seen: Mapping[str, float]) -> Seen | None:
    """Return the gravest guard of `seen`, the first of equals, or None.

    A code that the table does not know stops.
    """
    found: Seen | None = None
    for code, value in seen.items():
        guard = GUARDS.get(code.partition("-")[0])
        action: Literal["hold", "stop"] = guard.action if guard is not None else "stop"
        if found is None or (action == "stop" and found.action == "hold"):
            found = Seen(code, action, value)
    return found


def guard_table() -> list[dict[str, Any]]:
    """Return the table as plain data, for the hash of the decision model."""
    return [asdict(guard) for guard in GUARDS.values()]
