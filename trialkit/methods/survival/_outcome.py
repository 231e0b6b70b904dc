"""Times and events of time-to-event data, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]


def levels_in(series: pd.Series[Any], values: npt.NDArray[Any]) -> list[Any]:
    """Return the levels that occur: category order for a Categorical, else sorted."""
    found = set(pd.unique(values).tolist())
    if isinstance(series.dtype, pd.CategoricalDtype):
        return [level for level in series.cat.categories.tolist() if level in found]
    return sorted(found)


def outcome(
    times: npt.NDArray[Any], events: npt.NDArray[Any], time: str, event: str
) -> tuple[Floats, Floats]:
    """Return times and events as floats, or refuse them."""
    for name, values in ((time, times), (event, events)):
        if values.dtype.kind not in "biuf":
            raise UsageError(f"{name} is not numeric.", remedy=f"Convert {name} to numbers.")
    t, e = times.astype(np.float64), events.astype(np.float64)
    if not np.isfinite(t).all() or (t < 0).any():
        raise UsageError(f"{time} holds negative or infinite times.", remedy="Correct them.")
    if not np.isin(e, (0.0, 1.0)).all():
        raise UsageError(
            f"{event} holds values other than 0 and 1.", remedy="Give 1 for an event, else 0."
        )
    return t, e
