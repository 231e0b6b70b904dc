"""Foot strikes and foot-offs from vertical ground reaction, by two thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, sample_period_s, samples, unbroken_runs

STRIKE_N = 20.0
"""Default threshold of a foot strike, in N."""
OFF_N = 15.0
"""Default threshold of a foot-off, in N; below `STRIKE_N`, so that noise makes no steps.

An insole keeps some force in swing: lower values miss steps there.
"""


@dataclass(frozen=True)
class Contacts:
    """When one foot met and left the ground.

    Attributes
    ----------
    strikes_s, offs_s : (k,) arrays
        Times in s, between samples by linear interpolation. Only crossings that were seen:
        a recording that begins in stance has no strike there.
    strike_runs, off_runs : (k,) arrays of int
        Which unbroken run of samples each event lies in.
    gaps : int
        Breaks between runs of samples.
    brief_contacts, brief_swings : int
        Contacts left out, and swings closed, because they were shorter than the least duration.
    strike_n, off_n : float
        Thresholds, in N.
    """

    strikes_s: Floats
    offs_s: Floats
    strike_runs: NDArray[np.int64]
    off_runs: NDArray[np.int64]
    gaps: int
    brief_contacts: int
    brief_swings: int
    strike_n: float
    off_n: float

    @property
    def stride_times_s(self) -> Floats:
        """Times between strikes that follow each other without a gap, in s."""
        same = np.diff(self.strike_runs) == 0
        times: Floats = np.diff(self.strikes_s)[same]
        return times


def foot_contacts(
    time_s: ArrayLike,
    force_n: ArrayLike,
    *,
    seq: ArrayLike | None = None,
    strike_n: float = STRIKE_N,
    off_n: float = OFF_N,
    min_contact_s: float = 0.1,
    min_swing_s: float = 0.1,
    max_gap_s: float | None = None,
) -> Contacts:
    """Return the strikes and foot-offs of one foot.

    A strike is where force rises through `strike_n` after it was at or below `off_n`; a
    foot-off is where it then falls through `off_n`. Swings shorter than `min_swing_s` are
    closed first, then contacts shorter than `min_contact_s` are left out; both are counted.

    Parameters
    ----------
    time_s : (n,) array
        Seconds, growing.
    force_n : (n,) array
        Vertical ground reaction on the foot in N, upward positive; NaN where missing.
    seq : (n,) array of int, optional
        Sequence numbers; a gap in them ends a run.
    strike_n, off_n : float
        Thresholds in N, ``0 < off_n <= strike_n``.
    min_contact_s, min_swing_s : float
        Least durations in s; 0 keeps every crossing.
    max_gap_s : float, optional
        Longest step in time inside a run; default 2.5 sample periods.

    Raises
    ------
    UsageError
        If lengths differ, time does not grow, or the thresholds are not ordered.

    Notes
    -----
    20 N is a common threshold for force plates and insoles (from memory, not a standard).
    """
    if not 0 < off_n <= strike_n:
        raise UsageError(
            f"off_n={off_n:g} and strike_n={strike_n:g} are not ordered.",
            remedy="Give 0 < off_n <= strike_n, in N.",
        )
    time = samples("time_s", time_s)
    force = samples("force_n", force_n, len(time))
    sample_period_s(time)
    runs = unbroken_runs(time, np.isfinite(force), seq, max_gap_s)
    found: list[tuple[float, bool, int]] = []
    brief = np.zeros(2, dtype=int)
    for number, run in enumerate(runs):
        events = _crossings(time[run], force[run], strike_n, off_n)
        count = len(events)
        events = _without_brief(events, strike=False, least_s=min_swing_s)
        brief[1] += (count - len(events)) // 2
        count = len(events)
        events = _without_brief(events, strike=True, least_s=min_contact_s)
        brief[0] += (count - len(events)) // 2
        found += [(at, strike, number) for at, strike in events]
    strikes = [(at, run) for at, strike, run in found if strike]
    offs = [(at, run) for at, strike, run in found if not strike]
    return Contacts(
        strikes_s=np.array([at for at, _ in strikes], dtype=np.float64),
        offs_s=np.array([at for at, _ in offs], dtype=np.float64),
        strike_runs=np.array([run for _, run in strikes], dtype=np.int64),
        off_runs=np.array([run for _, run in offs], dtype=np.int64),
        gaps=max(0, len(runs) - 1),
        brief_contacts=int(brief[0]),
        brief_swings=int(brief[1]),
        strike_n=strike_n,
        off_n=off_n,
    )


def _crossings(
    time: Floats, force: Floats, strike_n: float, off_n: float
) -> list[tuple[float, bool]]:
    """Return (time, is a strike) of each change of state, in order; they alternate."""
    state = np.where(force >= strike_n, 1, np.where(force <= off_n, 0, -1))
    known = np.flatnonzero(state >= 0)
    if not len(known):
        return []
    last = np.maximum.accumulate(np.where(state >= 0, np.arange(len(state)), known[0]))
    state = state[last]
    events = []
    for i in np.flatnonzero(np.diff(state)) + 1:
        strike = bool(state[i] == 1)
        level = strike_n if strike else off_n
        low, high = force[i - 1], force[i]
        share = 1.0 if low == high else (level - low) / (high - low)
        events.append((float(time[i - 1] + min(1.0, share) * (time[i] - time[i - 1])), strike))
    return events


def _without_brief(
    events: list[tuple[float, bool]], *, strike: bool, least_s: float
) -> list[tuple[float, bool]]:
    """Return the events without the pairs that begin by `strike` and end before `least_s`."""
    drop: set[int] = set()
    for index, ((begin, kind), (end, _)) in enumerate(pairwise(events)):
        if kind is strike and end - begin < least_s and index not in drop:
            drop |= {index, index + 1}
    return [event for index, event in enumerate(events) if index not in drop]
