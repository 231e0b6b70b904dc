"""Proportions of two arms: difference, ratio and odds ratio, with and without strata.

The intervals and their sources are described in
:mod:`trialkit.methods.categorical._score` (Wilson, Newcombe, Miettinen and Nurminen, Yan and
Su), :mod:`trialkit.methods.categorical._exact` (Clopper and Pearson, Fisher, Chan and Zhang) and
:mod:`trialkit.methods.categorical._mantel` (Mantel and Haenszel, Sato, Robins and others).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._columns import place_of
from trialkit.methods._design import complete_columns, levels_of
from trialkit.methods._result import ByParticipant
from trialkit.methods.categorical import _compare
from trialkit.methods.categorical._compare import RISK_INTERVALS, Comparison, Measure
from trialkit.methods.categorical._exact import clopper_pearson
from trialkit.methods.categorical._score import TwoByTwo, wilson

Interval = Literal["newcombe", "miettinen_nurminen", "wald", "exact"]


@dataclass(frozen=True)
class ProportionsResult(ByParticipant):
    """Proportions by arm and their comparison with the reference.

    Parameters
    ----------
    failed : str or None
        Why there is no comparison; ``table`` is then empty.
    n, n_subjects, n_missing : int
        Rows used (one a participant), and rows dropped because a value was missing.
    variant : str
        Measure, interval, standard error and p in words.
    notes : list of str
        Strata left out, infinite ratios.
    risks : DataFrame
        Group, events, n, estimate, lower, upper.
    table : DataFrame
        Group, reference, estimate, se, df, statistic, p, lower, upper; ``se`` of the log for
        ratios, and infinite where a ratio is 0 or infinite.
    tests : DataFrame
        Group, reference, test, statistic, df, p: Pearson, Fisher (exact), and over strata
        Cochran-Mantel-Haenszel, Breslow-Day, Tarone.
    counts : DataFrame
        Events and n by stratum and group.
    """

    measure: str
    failed: str | None
    n: int
    n_missing: int
    variant: str
    notes: list[str]
    risks: pd.DataFrame = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    tests: pd.DataFrame = field(repr=False)
    counts: pd.DataFrame = field(repr=False)
    method: str = "proportions"

    def summary(self) -> str:
        """Return method, counts, risks and comparison as text."""
        tables = [self.risks, self.table, self.tests]
        return _marginal.stacked([self._head, *self.notes], tables, 6)

    def _repr_html_(self) -> str:
        return _marginal.html(self.summary(), self.table)


def proportions(
    data: pd.DataFrame,
    *,
    response: str,
    group: str,
    reference: object,
    strata: str | Sequence[str] | None = None,
    measure: Measure = "difference",
    interval: Interval | None = None,
    risk_interval: Literal["wilson", "clopper_pearson"] = "wilson",
    level: float = 0.95,
) -> ProportionsResult:
    """Compare proportions of arms with that of a reference arm.

    Parameters
    ----------
    data : DataFrame
        One row a participant; rows with a missing value are dropped and counted.
    response : str
        Column of 0 and 1, or False and True.
    group : str
        Column of arms.
    reference
        The reference arm.
    strata : str or sequence of str, optional
        Columns whose combinations are strata.
    measure : {"difference", "ratio", "odds_ratio"}
        Risk difference, risk ratio or odds ratio.
    interval : str, optional
        Without strata ``newcombe`` (difference only, the default there),
        ``miettinen_nurminen`` (the default of the ratios), ``wald``, or ``exact`` (difference:
        Chan and Zhang's unconditional; odds ratio: conditional). With strata ``newcombe``
        (difference, Yan and Su; the default there), ``wald`` (Mantel-Haenszel; the default of
        the ratios), or ``exact`` (common odds ratio).
    risk_interval : {"wilson", "clopper_pearson"}
        Interval of the risk of each arm.
    level : float
        Coverage, in (0, 1).

    Raises
    ------
    UsageError
        For an unknown column or option, a response that is not 0 or 1, or a reference that is
        not an arm.
    """
    _marginal.check_level(level)
    by = _marginal.names_of(strata)
    chosen = _compare.choose(measure, interval, bool(by))
    if risk_interval not in RISK_INTERVALS:
        raise UsageError(
            f"no risk_interval {risk_interval!r}.", remedy=f"Use {', '.join(RISK_INTERVALS)}."
        )
    columns, rows = complete_columns(data, [response, group, *by])
    y = zero_or_one(columns[response], response)
    arms = levels_of(data[group], columns[group])
    place_of(reference, arms, group)
    counts = _count(y, group, by, columns, arms)
    comparisons = {
        arm: _compare.compare(_tables(counts, group, by, arm, reference), chosen, level)
        for arm in arms
        if arm != reference
    }
    reasons = [f"{arm}: {c.failed}" for arm, c in comparisons.items() if c.failed]
    failed = "; ".join(reasons) or None
    if len(arms) < 2:
        failed = f"every complete row is of {group} {reference}"
    return ProportionsResult(
        measure=measure,
        failed=failed,
        n=len(rows),
        n_missing=len(data) - len(rows),
        variant=f"{chosen.words}; {RISK_INTERVALS[risk_interval]} intervals of the risks",
        notes=[f"{arm}: {note}" for arm, c in comparisons.items() for note in c.notes],
        risks=_risks(counts, group, arms, risk_interval, level),
        table=_table({} if failed else comparisons, group, reference),
        tests=_tests(comparisons, group, reference),
        counts=counts,
    )


def zero_or_one(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Return a yes/no column as 0.0 and 1.0."""
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise UsageError(
            f"{name} holds values other than 0 and 1.", remedy="Give the response as 0 and 1."
        )
    return values.astype(np.float64)


def _count(
    y: npt.NDArray[np.float64],
    group: str,
    by: tuple[str, ...],
    columns: dict[str, npt.NDArray[Any]],
    arms: tuple[Any, ...],
) -> pd.DataFrame:
    """Return events and n of each stratum and arm, empty cells included."""
    frame = pd.DataFrame({name: columns[name] for name in by})
    frame[group] = pd.Categorical(columns[group], categories=list(arms))
    frame["events"] = y
    keys = [*by, group]
    out = frame.groupby(keys, observed=False, sort=True)["events"].agg(["sum", "size"])
    out = out.reset_index()
    out.columns = pd.Index([*by, group, "events", "n"])
    out[group] = out[group].astype(object)
    out["n"] = out["n"].fillna(0)
    out["events"] = out["events"].fillna(0.0)
    return out.astype({"events": "int64", "n": "int64"})


def _tables(
    counts: pd.DataFrame, group: str, by: tuple[str, ...], arm: object, reference: object
) -> list[TwoByTwo]:
    """Return the two-by-two table of each stratum."""
    pairs = []
    for level in (arm, reference):
        own = counts[[value == level for value in counts[group]]]
        pairs.append(own.set_index(list(by)) if by else own)
    one, zero = pairs
    return [
        TwoByTwo(float(a), float(b), float(c), float(d))
        for a, b, c, d in zip(one["events"], one["n"], zero["events"], zero["n"], strict=True)
    ]


def _risks(
    counts: pd.DataFrame, group: str, arms: tuple[Any, ...], kind: str, level: float
) -> pd.DataFrame:
    z = _compare.quantile(level)
    rows = []
    for arm in arms:
        own = counts[[value == arm for value in counts[group]]]
        x, n = int(own["events"].sum()), int(own["n"].sum())
        lower, upper = wilson(x, n, z) if kind == "wilson" else clopper_pearson(x, n, level)
        rows.append((x, n, x / n, lower, upper))
    table = pd.DataFrame(rows, columns=["events", "n", "estimate", "lower", "upper"])
    table.insert(0, group, pd.Series(list(arms), dtype=object))
    return table


def _table(found: dict[Any, Comparison], group: str, reference: object) -> pd.DataFrame:
    keys = [group, "reference"]
    if not found:
        return _marginal.empty_table(keys)
    rows = [
        (c.estimate, c.se, math.inf, c.statistic, c.p, c.lower, c.upper) for c in found.values()
    ]
    table = pd.DataFrame(rows, columns=list(_marginal.STATISTICS), dtype=np.float64)
    table.insert(0, group, pd.Series(list(found), dtype=object))
    table.insert(1, "reference", pd.Series([reference] * len(found), dtype=object))
    return table


def _tests(found: dict[Any, Comparison], group: str, reference: object) -> pd.DataFrame:
    rows = [(arm, reference, *test) for arm, c in found.items() for test in c.tests]
    return pd.DataFrame(rows, columns=[group, "reference", "test", "statistic", "df", "p"])
