"""The rows of a count model: outcome, exposure, participants, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design, parse

Floats = npt.NDArray[np.float64]

#: Largest count; the likelihood sums over the numbers below it.
LARGEST = 10_000_000


@dataclass(frozen=True)
class Rows:
    """A design of counts.

    Parameters
    ----------
    design : Design
        Complete rows with follow-up.
    offset : ndarray, shape (n,)
        Log of the exposure, zero without one.
    n_missing : int
        Rows left out.
    notes : list of str
    """

    design: Design
    offset: Floats
    n_missing: int
    notes: list[str] = field(default_factory=list)


def count_rows(
    formula: str, data: pd.DataFrame, exposure: str | None, also: tuple[str, ...] = ()
) -> Rows:
    """Build the design of a count model.

    Rows without follow-up and without events say nothing about a rate; they are left out and
    counted as missing.

    Raises
    ------
    UsageError
        For unknown columns, counts that are no whole numbers from 0, an exposure that is no
        number, negative or infinite, and events in no time.
    """
    used, notes = data, []
    if exposure is not None:
        without = _no_follow_up(formula, data, exposure)
        if without.any():
            used = data[~without]
            notes.append(f"{int(without.sum())} rows without follow-up ({exposure} 0) left out")
    design = build_design(formula, used, also=[*([exposure] if exposure else []), *also])
    y = design.y
    if (y < 0).any() or (y != np.round(y)).any():
        raise UsageError(
            f"{design.response} holds values that are no counts.", remedy="Give whole numbers >= 0."
        )
    if y.max() > LARGEST:
        raise UsageError(
            f"{design.response} holds a count above {LARGEST}.",
            remedy="Analyse such large numbers as continuous.",
        )
    offset = np.zeros(len(y))
    if exposure is not None:
        offset = np.log(design.columns[exposure].astype(np.float64))
    return Rows(design, offset, len(data) - len(y), notes)


def _no_follow_up(formula: str, data: pd.DataFrame, exposure: str) -> npt.NDArray[np.bool_]:
    """Return the rows whose exposure is zero, after refusing what no exposure can be."""
    if exposure not in data.columns:
        raise UsageError(
            f"The data have no column {exposure!r}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    series = data[exposure]
    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        raise UsageError(
            f"The exposure {exposure} is not numeric.",
            remedy="Give follow-up as numbers, such as years.",
        )
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise UsageError(f"{exposure} is infinite in some rows.", remedy="Correct the follow-up.")
    if (values < 0).any():
        raise UsageError(f"{exposure} is negative in some rows.", remedy="Correct the follow-up.")
    without = np.asarray(values == 0.0)
    outcome = parse(formula)[0]
    if without.any() and outcome in data.columns:
        counts = pd.to_numeric(data[outcome], errors="coerce").to_numpy(dtype=np.float64)
        at = np.flatnonzero(without & (counts > 0))
        if len(at):
            shown = ", ".join(str(data.index[i]) for i in at[:5])
            raise UsageError(
                f"{len(at)} rows have events in {outcome} and no follow-up ({exposure} 0): "
                f"index {shown}.",
                remedy=f"Correct {exposure} there, or set it to missing.",
            )
    return without
