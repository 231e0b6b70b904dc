r"""Comparison of survival probabilities at fixed times.

With :math:`\hat S_g(t)` and Greenwood's variance :math:`\hat V_g(t)` of each group:

- ``difference``: :math:`\hat S_1 - \hat S_0`, variance :math:`\hat V_1 + \hat V_0`; interval
  symmetric (``plain``), or ``mover``, which joins the groups' own limits (Zou GY, Donner A,
  2008, Stat Med 27:1693) and stays within -1 and 1;
- ``ratio``: on the scale of the logarithm, variance :math:`\hat V_g / \hat S_g^2`;
- ``cumulative_hazard_ratio``: :math:`\log\hat S_1 / \log\hat S_0`, by the difference of the
  complementary log-log, variance :math:`\hat V_g / (\hat S_g \log\hat S_g)^2`. Its test keeps
  its level better in small samples than that of the difference (Klein JP, Logan B, Harhoff M,
  Andersen PK, 2007, Stat Med 26:4505).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods._columns import place_of
from trialkit.methods._marginal import STATISTICS, objects, statistics
from trialkit.methods.survival._outcome import one_of

Floats = npt.NDArray[np.float64]

MEASURES = ("difference", "ratio", "cumulative_hazard_ratio")
INTERVALS = ("plain", "mover")


def compare_at(
    points: pd.DataFrame,
    group: str,
    levels: Sequence[Any],
    *,
    reference: Any,
    measure: str,
    interval: str,
    level: float,
) -> pd.DataFrame:
    """Compare the groups' probabilities at each time with the reference's.

    Parameters
    ----------
    points : DataFrame
        Columns `group`, time, estimate, se, lower, upper: every group at every time.
    measure, interval : str
        Of :data:`MEASURES` and :data:`INTERVALS`.

    Returns
    -------
    DataFrame
        `group`, reference, time, ``estimate se df statistic p lower upper`` and ``reason``,
        which says why a row has no numbers, and is None otherwise.

    Raises
    ------
    UsageError
        For a reference, measure or interval that does not exist.
    """
    one_of(measure, MEASURES, "measure")
    one_of(interval, INTERVALS, "interval of a difference")
    base = place_of(reference, levels, group)
    times = points["time"].to_numpy()[: len(points) // len(levels)]
    flat = points[["estimate", "se", "lower", "upper"]].to_numpy(dtype=np.float64)
    cells = flat.reshape(len(levels), len(times), 4)
    rows, numbers, reasons = [], [], []
    for i, name in enumerate(levels):
        if i == base:
            continue
        for j, moment in enumerate(times):
            why, row = _row(cells[i, j], cells[base, j], measure, interval, level)
            rows.append((name, reference, float(moment)))
            numbers.append(row)
            reasons.append(why)
    out = pd.DataFrame(np.reshape(numbers, (-1, len(STATISTICS))), columns=list(STATISTICS))
    for place, key in enumerate((group, "reference", "time")):
        values = [row[place] for row in rows]
        out.insert(place, key, values if key == "time" else objects(values))
    out["reason"] = objects(reasons)
    return out


def _row(
    own: Floats, base: Floats, measure: str, interval: str, level: float
) -> tuple[str | None, Floats]:
    """Return why there are no numbers, and the numbers."""
    empty = np.full(len(STATISTICS), np.nan)
    if not (np.isfinite(own[0]) and np.isfinite(base[0])):
        return "beyond the last observation of a group", empty
    if not (np.isfinite(own[1]) and np.isfinite(base[1])) or own[1] + base[1] <= 0.0:
        return "no event before this time in either group, or both at 0", empty
    if measure == "difference":
        out = _normal(own[0] - base[0], math.hypot(own[1], base[1]), level)
        if interval == "mover":
            if not (np.isfinite(own[2:]).all() and np.isfinite(base[2:]).all()):
                return "a group has no interval of its own at this time", empty
            out[5] = out[0] - math.hypot(own[0] - own[2], base[3] - base[0])
            out[6] = out[0] + math.hypot(own[3] - own[0], base[0] - base[2])
        return None, out
    s, se = np.array([own[0], base[0]]), np.array([own[1], base[1]])
    if (s <= 0.0).any():
        return "the curve of a group is at 0", empty
    if measure == "ratio":
        value, parts = math.log(s[0] / s[1]), se / s
    else:
        if (s >= 1.0).any():
            return "a group has no event before this time", empty
        log = np.log(s)
        value, parts = math.log(log[0] / log[1]), se / (s * np.abs(log))
    out = _normal(value, float(np.hypot(parts[0], parts[1])), level)
    out[[0, 5, 6]] = np.exp(out[[0, 5, 6]])
    return None, out


def _normal(value: float, se: float, level: float) -> Floats:
    row = statistics(np.array([value]), np.array([se]), np.array([math.inf]), level)[0]
    return np.asarray(row, dtype=np.float64)
