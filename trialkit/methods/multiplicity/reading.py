"""Checks of a graph's parts: weights, transitions, groups, correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.multiplicity.local import KINDS, Group, Kind

Floats = npt.NDArray[np.float64]
#: Sums may exceed 1 by this much (rounding of thirds).
SLACK = 1e-9


def read_weights(weights: Any, names: Sequence[str] | None) -> tuple[tuple[str, ...], Floats]:
    """Return names and weights, shape (m,)."""
    if isinstance(weights, pd.Series):
        weights = weights.to_dict() if weights.index.is_unique else weights
    if isinstance(weights, Mapping):
        if names is not None and set(names) != set(weights):
            raise UsageError(
                f"names {list(names)} and weights {list(weights)} differ.",
                remedy="Leave names out, or give the same.",
            )
        labels = [str(n) for n in (weights if names is None else names)]
        raw = [weights[n] for n in (weights if names is None else names)]
    else:
        raw = list(weights)
        labels = [f"H{i + 1}" for i in range(len(raw))] if names is None else [*map(str, names)]
    values = _floats(raw, "weights")
    if len(labels) != len(values) or len(set(labels)) < len(labels) or not labels:
        raise UsageError(
            f"{len(values)} weights and the names {labels} do not fit.",
            remedy="Give each hypothesis one weight and a name of its own.",
        )
    _shares(values, "the weights")
    return tuple(labels), values


def read_transitions(transitions: Any, labels: tuple[str, ...], what: str) -> Floats:
    """Return a matrix of shape (m, m) in the order of the names."""
    m = len(labels)
    if isinstance(transitions, Mapping):
        strange = {str(k) for k in transitions} | {str(k) for r in transitions.values() for k in r}
        if strange - set(labels):
            raise UsageError(
                f"{what} name {sorted(strange - set(labels))}, which has no weight.",
                remedy=f"Hypotheses are: {', '.join(labels)}.",
            )
        rows = [[transitions.get(a, {}).get(b, 0.0) for b in labels] for a in labels]
        matrix = _floats(rows, what)
    elif isinstance(transitions, pd.DataFrame):
        matrix = _floats(_aligned(transitions, labels, what), what)
    else:
        matrix = _floats(transitions, what)
    if matrix.shape != (m, m):
        raise UsageError(
            f"{what} have the shape {matrix.shape} for {m} hypotheses.",
            remedy="Give one row and one column a hypothesis.",
        )
    if np.diagonal(matrix).any():
        name = labels[int(np.flatnonzero(np.diagonal(matrix))[0])]
        raise UsageError(
            f"{what} send a share of {name} to itself.", remedy="Make the diagonal zero."
        )
    for name, row in zip(labels, matrix, strict=True):
        _shares(row, f"{what} of {name}")
    return matrix


def check_overflow(now: Floats, later: Floats, labels: tuple[str, ...]) -> None:
    """Refuse a row that loses a part of its share and overflows as well."""
    for name, first, then in zip(labels, now, later, strict=True):
        if then.any() and first.any() and first.sum() < 1.0 - SLACK:
            raise UsageError(
                f"transitions of {name} sum to {first.sum():.6g}, and it has an overflow.",
                remedy="Let the row sum to 1, or leave it empty.",
            )


def _aligned(frame: pd.DataFrame, labels: tuple[str, ...], what: str) -> Floats:
    rows, columns = [str(v) for v in frame.index], [str(v) for v in frame.columns]
    if sorted(rows) != sorted(labels) or sorted(columns) != sorted(labels):
        raise UsageError(
            f"rows {rows} and columns {columns} of {what} are not the hypotheses.",
            remedy=f"Hypotheses are: {', '.join(labels)}.",
        )
    plain = np.asarray(frame.to_numpy(), dtype=np.float64)
    return plain[np.ix_([rows.index(n) for n in labels], [columns.index(n) for n in labels])]


def _floats(values: Any, what: str) -> Floats:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} are not numbers.", remedy="Give numbers from 0 to 1.") from error


def _shares(values: Floats, what: str) -> None:
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0.0).any():
        raise UsageError(
            f"{what} must be finite and not negative, not {values.tolist()}.",
            remedy="Give shares from 0 to 1.",
        )
    if values.sum() > 1.0 + SLACK:
        raise UsageError(
            f"{what} sum to {values.sum():.10g}, more than 1.",
            remedy="Divide at most the whole of alpha.",
        )


def read_groups(
    labels: tuple[str, ...],
    test: Kind | Sequence[Kind],
    groups: Sequence[Sequence[str]] | None,
    correlation: Any,
) -> tuple[Group, ...]:
    """Return the groups of hypotheses that are tested together."""
    members = [list(labels)] if groups is None else [[str(n) for n in g] for g in groups]
    named = [n for g in members for n in g]
    if sorted(named) != sorted(labels):
        raise UsageError(
            f"the groups {members} do not hold each hypothesis once.",
            remedy=f"Hypotheses are: {', '.join(labels)}.",
        )
    kinds = [test] * len(members) if isinstance(test, str) else list(test)
    if len(kinds) != len(members) or any(kind not in KINDS for kind in kinds):
        raise UsageError(
            f"test={test!r} does not name a test for each of {len(members)} groups.",
            remedy=f"Tests are: {', '.join(KINDS)}.",
        )
    full = None
    if correlation is not None:
        if isinstance(correlation, pd.DataFrame):
            full = _aligned(correlation, labels, "correlation")
        else:
            full = _floats(correlation, "correlation")
    found = []
    for names, kind in zip(members, kinds, strict=True):
        places = tuple(labels.index(n) for n in names)
        if kind == "parametric":
            _check_correlation(full, places, names, len(labels))
        found.append(Group(places, kind, full if kind == "parametric" else None))
    return tuple(found)


def _check_correlation(
    full: Floats | None, places: tuple[int, ...], names: list[str], m: int
) -> None:
    if full is None or full.shape != (m, m):
        raise UsageError(
            "a parametric test needs the correlation of the test statistics.",
            remedy=f"Give correlation= as a matrix of shape ({m}, {m}); NaN between groups.",
        )
    block = full[np.ix_(places, places)]
    good = (
        bool(np.isfinite(block).all())
        and bool((np.abs(np.diagonal(block) - 1.0) < 1e-12).all())
        and bool((np.abs(block - block.T) < 1e-12).all())
        and bool(np.linalg.eigvalsh(block)[0] > -1e-10)
    )
    if not good:
        raise UsageError(
            f"the correlation of {', '.join(names)} is no correlation matrix.",
            remedy="It must be symmetric, with ones on the diagonal and no negative eigenvalue.",
        )
