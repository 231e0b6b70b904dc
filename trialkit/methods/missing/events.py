"""Intercurrent events: the first visit affected, the strategy and the reference arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing import strategies
from trialkit.methods.missing.strategies import Strategy

if TYPE_CHECKING:
    from trialkit.methods.missing.trial import Names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: ``ice="dropout"``: the outcomes of a participant end before the last visit.
DROPOUT = "dropout"


def read_events(
    ice: pd.DataFrame | str | None,
    strategy: Any,
    names: Names,
    subjects: tuple[Any, ...],
    visits: tuple[Any, ...],
    y: Floats,
) -> tuple[Ints, tuple[Strategy, ...]]:
    """Return the first visit affected and the strategy of each participant."""
    n, m = y.shape
    default = strategies.resolve(strategy)
    first = np.full(n, m, dtype=np.intp)
    chosen: list[Strategy] = [strategies.MAR] * n
    if ice is None:
        if default != strategies.MAR:
            raise UsageError(
                f"The strategy {strategies.label(default)} needs the intercurrent events.",
                remedy=f"Give ice= a table of {names.subject} and {names.visit} (first visit "
                f"affected), or ice={DROPOUT!r} for everybody whose outcomes end early.",
            )
        return first, tuple(chosen)
    if isinstance(ice, str):
        if ice != DROPOUT:
            raise UsageError(f"ice={ice!r} is not known.", remedy=f"Give a table, or {DROPOUT!r}.")
        seen = ~np.isnan(y)
        first = np.where(seen.any(axis=1), m - np.argmax(seen[:, ::-1], axis=1), 0).astype(np.intp)
        chosen = [default if at < m else strategies.MAR for at in first]
    elif not isinstance(ice, pd.DataFrame):
        raise UsageError("ice is no table.", remedy=f"Give a DataFrame, or {DROPOUT!r}.")
    else:
        rows = event_rows(ice, names, subjects, visits)
        given = ice["strategy"].tolist() if "strategy" in ice.columns else [default] * len(ice)
        for (i, j), each in zip(rows, given, strict=True):
            first[i], chosen[i] = j, strategies.resolve(each)
    check_first(first, chosen, names, subjects)
    return first, tuple(chosen)


def check_first(
    first: Ints, chosen: Sequence[Strategy], names: Names, subjects: tuple[Any, ...]
) -> None:
    """Refuse to carry a mean forward from before the first visit."""
    for i in np.flatnonzero(first == 0).tolist():
        if chosen[i] == strategies.LMCF:
            raise UsageError(
                f"Last mean carried forward has no mean to carry for {names.subject} "
                f"{subjects[i]}: the event affects the first visit.",
                remedy="Give this participant another strategy.",
            )


def event_rows(
    ice: pd.DataFrame, names: Names, subjects: tuple[Any, ...], visits: tuple[Any, ...]
) -> list[tuple[int, int]]:
    """Return participant and visit of each event as positions."""
    for name in (names.subject, names.visit):
        if name not in ice.columns:
            raise UsageError(
                f"The table of intercurrent events has no column {name!r}.",
                remedy=f"Give {names.subject}, {names.visit} (first visit affected) and, "
                "if it differs, strategy.",
            )
    i = pd.Index(subjects).get_indexer(pd.Index(ice[names.subject]))
    j = pd.Index(visits).get_indexer(pd.Index(ice[names.visit]))
    if (i < 0).any():
        raise UsageError(
            f"{int((i < 0).sum())} intercurrent events belong to a {names.subject} that is not "
            f"in the data; the first is {ice[names.subject].tolist()[int(np.argmin(i))]!r}.",
            remedy="Check the identifiers and their type (text or number).",
        )
    if (j < 0).any():
        raise UsageError(
            f"The intercurrent event of {names.subject} "
            f"{ice[names.subject].tolist()[int(np.argmin(j))]} names the visit "
            f"{ice[names.visit].tolist()[int(np.argmin(j))]!r}, which is not in the data.",
            remedy=f"Visits are: {', '.join(map(str, visits))}.",
        )
    if len(np.unique(i)) < len(i):
        again = pd.Series(i).duplicated().to_numpy()
        raise UsageError(
            f"{names.subject} {subjects[int(i[again][0])]} has two intercurrent events.",
            remedy="Keep the first.",
        )
    return list(zip(i.tolist(), j.tolist(), strict=True))


def needs_reference(chosen: Sequence[Strategy]) -> bool:
    """Tell whether some strategy reads the reference arm."""
    return any(s not in (strategies.MAR, strategies.LMCF) for s in chosen)


def references(given: Any, arms: tuple[Any, ...], chosen: Sequence[Strategy]) -> Ints:
    """Return the reference arm of each arm."""
    table = given if isinstance(given, Mapping) else {arm: given for arm in arms}
    needed = needs_reference(chosen)
    out = np.arange(len(arms))
    for g, arm in enumerate(arms):
        ref = table.get(arm)
        if ref is None and not needed:
            continue
        if ref not in arms:
            what = "No reference arm is given" if ref is None else f"The reference {ref!r}"
            raise UsageError(
                f"{what} for {arm!r}." if ref is None else f"{what} is not an arm of the data.",
                remedy=f"Arms are: {', '.join(map(repr, arms))}.",
            )
        out[g] = arms.index(ref)
    return out
