"""Classes of subjects that share a covariance: groups, or groups with the same visit times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError
from trialkit.methods.repeated.structures import STRUCTURES

if TYPE_CHECKING:
    from trialkit.methods.repeated.fit import Layout

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Most numbers that the sufficient statistics may hold.
MOST = 100_000_000


@dataclass(frozen=True)
class Classes:
    """Classes of subjects.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Class of each row.
    owner : ndarray of int, shape (C,)
        Covariance group of each class.
    distances : ndarray, shape (C, m, m), or None
        Distances of the visits; 0 where a visit is missing. None without distances.
    typical : ndarray, shape (m, m), or None
        Distances of the mean times of the visits.
    notes : list of str
    """

    codes: Ints
    owner: Ints
    distances: Floats | None = None
    typical: Floats | None = None
    notes: list[str] = field(default_factory=list)


def classes_of(layout: Layout, covariance: str, p: int) -> Classes:
    """Group the subjects by what their covariance depends on.

    Parameters
    ----------
    layout : Layout
    covariance : str
        The structure.
    p : int
        Columns of the model matrix, to judge the size of the sufficient statistics.

    Raises
    ------
    UsageError
        For two visits of a subject at one time, and for so many different times that the
        sufficient statistics would not fit in memory.
    """
    n_groups = max(1, len(layout.groups))
    group = np.zeros(len(layout.subject), np.intp) if layout.group is None else layout.group
    if not STRUCTURES[covariance].spatial:
        return Classes(group, np.arange(n_groups, dtype=np.intp))
    times = layout.times
    assert times is not None
    m, k = len(layout.visits), times.shape[1]
    seen = np.bincount(layout.visit, minlength=m)
    mean = np.stack([np.bincount(layout.visit, times[:, j], m) / seen for j in range(k)], axis=1)
    first = np.zeros((m, k))
    first[layout.visit[::-1]] = times[::-1]
    typical = apart(mean)
    if (times == first[layout.visit]).all():  # a visit has one time
        distances = apart(first)
        refuse_ties(distances + np.eye(m) > 0, layout)
        owner = np.arange(n_groups, dtype=np.intp)
        return Classes(group, owner, np.repeat(distances[None], n_groups, 0), distances)
    return own_times(layout, group, times, typical, p)


def own_times(layout: Layout, group: Ints, times: Floats, typical: Floats, p: int) -> Classes:
    """Make a class of each distinct vector of times."""
    m, k = len(layout.visits), times.shape[1]
    subjects = int(layout.subject.max()) + 1
    table = np.full((subjects, m, k), np.nan)
    table[layout.subject, layout.visit] = times
    observed = ~np.isnan(table[:, :, 0])
    owner_of = np.zeros(subjects, dtype=np.intp)
    owner_of[layout.subject] = group
    key = np.column_stack([owner_of, observed, np.nan_to_num(table).reshape(subjects, -1)])
    distinct, which = np.unique(key, axis=0, return_inverse=True)
    which = which.reshape(-1).astype(np.intp)
    both = distinct[:, 1 : m + 1] > 0
    held = distinct[:, m + 1 :].reshape(-1, m, k)
    pairs = both[:, :, None] & both[:, None, :]
    distances = np.where(pairs, apart(held), 0.0)
    refuse_ties((distances + np.eye(m) > 0) | ~pairs, layout)
    numbers = float((both.sum(axis=1) * (both.sum(axis=1) + 1) / 2).sum() * (p + 1) * (p + 2) / 2)
    if numbers > MOST:
        raise UsageError(
            f"{len(distinct)} subjects differ in the times of their visits, "
            "too many for this number of visits and coefficients.",
            remedy="Round the times, to weeks for example, or use the planned ones.",
        )
    note = "times differ within a visit: the covariance of the visits is that at their mean times"
    return Classes(
        which[layout.subject], distinct[:, 0].astype(np.intp), distances, typical, [note]
    )


def apart(points: Floats) -> Floats:
    """Return Euclidean distances, shape (..., m, m), of points, shape (..., m, k)."""
    gap = points[..., :, None, :] - points[..., None, :, :]
    return np.asarray(np.sqrt((gap**2).sum(axis=-1)))


def refuse_ties(fine: npt.NDArray[np.bool_], layout: Layout) -> None:
    """Refuse two visits at one time."""
    if not fine.all():
        a, b = np.argwhere(~fine)[0][-2:]
        raise UsageError(
            f"A subject has {layout.visits[a]} and {layout.visits[b]} at the same time.",
            remedy="Give each visit of a subject its own time.",
        )
