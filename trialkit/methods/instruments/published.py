"""Published summary tables: what they report must be possible, given what they print.

A row is called inconsistent only if no values that round to the printed ones could give the
reported result. What a model with more terms could explain (a rate ratio from a negative binomial
model with covariates) is not called inconsistent, unless it points the other way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.instruments import published_counts, published_rows
from trialkit.methods.instruments.published_checks import (
    CANNOT,
    GOOD,
    WRONG,
    Check,
    Row,
    Unreadable,
)

#: Columns that a table of published results must have; the rest is optional.
COLUMNS = ("id", "test", "n1", "x1", "s1", "n2", "x2", "s2", "reported")
#: Scales whose totals are whole numbers, as words of the outcome.
INTEGER_SCALES = ("FAC", "BBS", "FMA", "FMA-LE", "FMA-UE", "mRS", "FES-I", "FGA", "DGI")

_READERS: dict[str, Callable[[Row], list[Check]]] = {
    "t_pooled": published_rows.t_pooled,
    "ancova_summary": published_rows.ancova_summary,
    "or_wald": published_rows.ratio_wald,
    "rr_wald": published_rows.ratio_wald,
    "2x2": published_rows.two_by_two,
    "rate_ratio": published_counts.rate_ratio,
    "nb_counts": published_counts.nb_counts,
    "descriptive": published_counts.descriptive,
}


@dataclass(frozen=True)
class PublishedCheck:
    """What a check of published tables found.

    Parameters
    ----------
    table : DataFrame
        One row a reported row: id, test, outcome, reported, recomputed (in words), difference
        (recomputed less reported, of the first number), verdict, reason.
    details : DataFrame
        One row a number: id, quantity, reported, recomputed, lower, upper (what rounding of the
        input allows), difference, verdict, reason.
    n : int
        Reported rows.
    """

    table: pd.DataFrame
    details: pd.DataFrame
    n: int
    variant: str = "interval arithmetic over the rounding of the printed input"
    method: str = "check_published"
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def flagged(self) -> pd.DataFrame:
        """The rows of `table` that cannot be right."""
        return self.table[self.table["verdict"] == WRONG].reset_index(drop=True)

    def summary(self) -> str:
        """Return counts of verdicts, and the inconsistent rows with their reasons."""
        counts = self.table["verdict"].value_counts()
        parts = [f"{counts.get(v, 0)} {v}" for v in (GOOD, WRONG, CANNOT)]
        lines = [f"{self.method}: {self.n} rows; {', '.join(parts)}"]
        lines += self.notes
        lines += [f"{row.id}: {row.reason}" for row in self.flagged.itertuples()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def check_published(
    tables: pd.DataFrame, *, integer: Sequence[str] = INTEGER_SCALES
) -> PublishedCheck:
    """Recompute the tests of published summary tables.

    Parameters
    ----------
    tables : DataFrame
        One row a reported result. Read it with ``dtype=str``: ``0.70`` says more than ``0.7``.

        - id, and optionally outcome.
        - test: ``t_pooled``, ``ancova_summary``, ``or_wald``, ``rr_wald`` (with the level in
          percent, ``or_wald_98.3``; 95 otherwise), ``2x2``, ``rate_ratio``, ``nb_counts``,
          ``descriptive``.
        - n1, n2: participants; person-years, ``71.5 py``, for rate_ratio.
        - x1, x2: mean, events, ``21.87->26.47`` (baseline and outcome, ancova_summary), a rate
          ``1.89/py``, or how many had 0, 1, 2 ... events, ``211/51/16/5/7 total 138`` (the last
          number: so many or more).
        - s1, s2: SD, or ``2.10/3.34/chg 2.88`` (SD of baseline, outcome and change), or
          ``.../chg 0.77(0.46)`` (mean and SD of change), or ``sd 1.14``.
        - reported: such as ``p=.03``, ``1.11 (0.70-1.76)``, ``AMD 2.21 p=.001 eta2=.178``.
    integer : sequence of str
        Words of an outcome that is a whole number, so that its mean has to be one (GRIM).

    Returns
    -------
    PublishedCheck

    Raises
    ------
    UsageError
        For a missing column or an id given twice. A row that cannot be read is no error: its
        verdict is that it cannot be checked.
    """
    lost = [name for name in COLUMNS if name not in tables.columns]
    if lost:
        raise UsageError(
            f"the tables have no column {', '.join(lost)}.",
            remedy=f"Columns needed: {', '.join(COLUMNS)}.",
        )
    twice = tables["id"][tables["id"].duplicated()].astype(str).tolist()
    if twice:
        raise UsageError(f"the id {', '.join(twice)} occurs twice.", remedy="Name each row once.")
    found = [_check_row(raw, integer) for raw in tables.to_dict("records")]
    details = pd.DataFrame(
        [
            {"id": row.cells["id"], **check.as_row()}
            for row, checks in found
            for check in checks
            if check.quantity
        ],
        columns=["id", *Check.COLUMNS],
    )
    table = pd.DataFrame(
        [_verdict(row, checks) for row, checks in found],
        columns=[
            "id",
            "test",
            "outcome",
            "reported",
            "recomputed",
            "difference",
            "verdict",
            "reason",
        ],
    )
    numeric = [c for c in COLUMNS if pd.api.types.is_float_dtype(tables[c].dtype)]
    notes = [f"given as numbers, so that printed zeros are lost: {', '.join(numeric)}"]
    return PublishedCheck(table, details, len(tables), notes=notes if numeric else [])


def _check_row(raw: Mapping[Hashable, object], integer: Sequence[str]) -> tuple[Row, list[Check]]:
    cells = {str(k): _text(v) for k, v in raw.items()}
    words = set(re.split(r"[\s,;()]+", cells.get("outcome", "")))
    row = Row(cells, whole=bool(words & set(integer)))
    reader = _READERS.get(re.sub(r"_\d+(\.\d+)?$", "", cells["test"]))
    if reader is None:
        return row, [Check.note(f"no recomputation for the test {cells['test'] or '(none)'}")]
    try:
        return row, reader(row)
    except Unreadable as error:
        return row, [Check.note(str(error))]


def _text(value: object) -> str:
    """Return a cell as text; a number without the zeros that nobody printed."""
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value).strip()


def _verdict(row: Row, checks: list[Check]) -> dict[str, object]:
    verdicts = [check.verdict for check in checks]
    verdict = WRONG if WRONG in verdicts else GOOD if GOOD in verdicts else CANNOT
    reasons = [c.reason for c in checks if c.reason and (c.verdict == verdict or not c.quantity)]
    shown = [c for c in checks if c.recomputed is not None and c.quantity]
    first = next((c for c in shown if c.reported is not None), None)
    return {
        "id": row.cells["id"],
        "test": row.cells["test"],
        "outcome": row.cells.get("outcome", ""),
        "reported": row.cells["reported"],
        "recomputed": ", ".join(f"{c.quantity} {c.recomputed:.4g}" for c in shown),
        "difference": first.difference if first else float("nan"),
        "verdict": verdict,
        "reason": "; ".join(dict.fromkeys(reasons)),
    }
