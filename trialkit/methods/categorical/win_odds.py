"""Win odds, win ratio, net benefit and win probability of one arm against another.

Every participant of an arm is compared with every one of the reference; ties count half a win in
the win probability and the win odds (O'Brien RG, Castelloe J 2006, Exploiting the link between
the Wilcoxon-Mann-Whitney test and a simple odds statistic, SUGI 31; Brunner E,
Vandemeulebroecke M, Mütze T 2021, Win odds: an adaptation of the win ratio to include ties,
Stat Med 40:3367), and are left out of the win ratio (Pocock SJ et al. 2012, Eur Heart J 33:176).
The net benefit is the probability of a win less that of a loss (Buyse M 2010, Stat Med 29:3245).
Covariances, strata and covariates: :mod:`trialkit.methods.categorical._wins`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._columns import place_of
from trialkit.methods._design import complete_columns, levels_of
from trialkit.methods.categorical import _wins
from trialkit.methods.categorical._outcome import STRATUM, better_ranks, stratum_numbers
from trialkit.methods.categorical._win_result import WinResult

__all__ = ["WinResult", "win_odds"]

Floats = npt.NDArray[np.float64]
MEASURES = ("win_odds", "win_ratio", "net_benefit", "win_probability")
DF = {"normal": "normal quantiles", "satterthwaite": "Brunner-Munzel (Satterthwaite) df"}


def win_odds(
    data: pd.DataFrame,
    *,
    value: str | Sequence[str],
    group: str,
    reference: object,
    strata: str | Sequence[str] | None = None,
    covariates: str | Sequence[str] | None = None,
    higher: str | Sequence[str] = "better",
    df: Literal["normal", "satterthwaite"] = "normal",
    level: float = 0.95,
) -> WinResult:
    """Compare the outcomes of arms with those of a reference arm, pair by pair.

    Parameters
    ----------
    data : DataFrame
        One row a participant; rows with a missing value are dropped and counted.
    value : str or sequence of str
        The outcome: numbers, booleans or an ordered Categorical. Several columns are compared
        in this order of priority, the next only where those before tie. A later column may be
        missing where all who tie before it miss it (speed, of those who died).
    group : str
        Column of arms.
    reference
        The reference arm.
    strata : str or sequence of str, optional
        Columns whose combinations are strata; only pairs within a stratum are compared.
    covariates : str or sequence of str, optional
        Numeric baseline columns to adjust for.
    higher : {"better", "worse"} or a sequence of them
        Which end of each column of ``value`` is good.
    df : {"normal", "satterthwaite"}
        Normal quantiles, or those of t with Brunner and Munzel's degrees of freedom, which are
        wider. On the log scale of the intervals normal quantiles are already on the safe side
        in small trials.
    level : float
        Coverage, in (0, 1).

    Raises
    ------
    UsageError
        For an unknown column or option, text without an order, infinite values, or a
        reference that is not an arm.
    """
    _marginal.check_level(level)
    if df not in DF:
        raise UsageError(f"no df {df!r}.", remedy=f"Use {', '.join(DF)}.")
    by, extra = _marginal.names_of(strata), _marginal.names_of(covariates)
    ranks, used = better_ranks(data, _marginal.names_of(value), higher)
    frame = data[used]
    needed = [group, *by, *extra]
    columns, rows = complete_columns(frame, needed)
    rank = ranks[rows]
    x = covariate_matrix(columns, extra)
    arms = levels_of(frame[group], columns[group])
    place_of(reference, arms, group)
    labels = stratum_numbers(columns, by)
    notes: list[str] = []
    failed: list[str] = []
    tables, counts, tests = [], [], []
    for arm in arms:
        if arm == reference:
            continue
        one, zero = columns[group] == arm, columns[group] == reference
        found = _compare(rank, x, labels, one, zero)
        if isinstance(found, str):
            failed.append(f"{arm}: {found}")
            continue
        parts, lone = found
        if lone:
            notes.append(f"{arm}: {lone} strata hold one arm only and tell nothing")
        counts.append((arm, reference, *_totals(parts)))
        tests.append((arm, reference, *_rank_test(rank, labels, one, zero, bool(by))))
        rows_of = _measures(_wins.pool(parts), df, level)
        if isinstance(rows_of, str):
            failed.append(f"{arm}: {rows_of}")
            continue
        missing = [m for m, row in zip(MEASURES, rows_of, strict=True) if row is None]
        notes += [f"{arm}: no {m}: nobody wins, or nobody loses" for m in missing]
        tables += [
            (arm, reference, m, *row)
            for m, row in zip(MEASURES, rows_of, strict=True)
            if row is not None
        ]
    if len(arms) < 2:
        failed.append(f"every complete row is of {group} {reference}")
    keys = [group, "reference", "measure"]
    table = _marginal.empty_table(keys)
    if not failed:
        table = pd.DataFrame(tables, columns=[*keys, *_marginal.STATISTICS])
        table[keys] = table[keys].astype(object)
    return WinResult(
        failed="; ".join(failed) or None,
        n=len(rows),
        n_missing=len(data) - len(rows),
        variant=_words(by, extra, df),
        notes=notes,
        table=table,
        counts=pd.DataFrame(
            counts, columns=[group, "reference", "pairs", "wins", "losses", "ties"]
        ),
        tests=pd.DataFrame(tests, columns=[group, "reference", "test", "statistic", "df", "p"]),
    )


def _words(by: tuple[str, ...], extra: tuple[str, ...], df: str) -> str:
    words = f"variance of placements within arms, intervals on the log scale, {DF[df]}"
    if by:
        words += f", strata {', '.join(by)} with Mantel-Haenszel weights"
    if extra:
        words += f", adjusted for {', '.join(extra)}"
    return words


def covariate_matrix(columns: dict[str, npt.NDArray[Any]], names: tuple[str, ...]) -> Floats:
    """Return numeric covariates, shape (n, c), scaled to unit spread."""
    out = []
    for name in names:
        if columns[name].dtype.kind not in "biuf":
            raise UsageError(
                f"The covariate {name} is not numeric.", remedy="Use numbers, or strata."
            )
        values = columns[name].astype(np.float64)
        if not np.isfinite(values).all():
            raise UsageError(
                f"The covariate {name} holds infinite values.", remedy="Set them to missing."
            )
        spread = float(values.std())
        if not spread > 1e-12 * float(np.abs(values).max(initial=0.0)):
            raise UsageError(f"The covariate {name} has one value only.", remedy="Leave it out.")
        out.append((values - values.mean()) / spread)
    n = len(next(iter(columns.values())))
    return np.column_stack(out) if out else np.empty((n, 0))


def _compare(
    rank: Floats,
    x: Floats,
    labels: npt.NDArray[np.intp],
    one: npt.NDArray[np.bool_],
    zero: npt.NDArray[np.bool_],
) -> tuple[list[_wins.Wins], int] | str:
    """Return the wins of each stratum with both arms, and how many strata lack one."""
    parts = []
    lone = 0
    for label in np.unique(labels[one | zero]):
        a, b = one & (labels == label), zero & (labels == label)
        if not a.any() or not b.any():
            lone += 1
            continue
        if a.sum() < 2 or b.sum() < 2:
            where = f" of {STRATUM} {label + 1}" if labels.max() else ""
            return f"an arm{where} has one participant: no variance (pool strata)"
        parts.append(_wins.compare(rank[a], rank[b], x[a], x[b]))
    if not parts:
        return "no stratum holds both arms"
    return parts, lone


def _totals(parts: list[_wins.Wins]) -> tuple[int, int, int, int]:
    pairs = sum(p.n1 * p.n0 for p in parts)
    wins = sum(round(p.win * p.n1 * p.n0) for p in parts)
    losses = sum(round(p.loss * p.n1 * p.n0) for p in parts)
    return pairs, wins, losses, pairs - wins - losses


def _measures(found: _wins.Pooled, df: str, level: float) -> list[tuple[float, ...] | None] | str:
    """Return the rows of the measures in order; None where a measure is not defined."""
    half = np.array([0.5, -0.5])
    probability = 0.5 + float(half @ np.array([found.win, found.loss]))
    variance = float(half @ found.covariance @ half)
    if not (1e-12 < probability < 1.0 - 1e-12):
        side = "wins" if probability > 0.5 else "loses"
        return f"every participant {side} every comparison: the odds are not finite"
    if not variance > 1e-14:
        return "the comparisons do not vary: no variance"
    logit = math.log(probability / (1.0 - probability))
    spread = probability * (1.0 - probability)
    freedom = _freedom(found, half) if df == "satterthwaite" else math.inf
    se = math.sqrt(variance)
    odds = _row(logit, se / spread, freedom, level)
    low, high = 1.0 / (1.0 + math.exp(-odds[5])), 1.0 / (1.0 + math.exp(-odds[6]))
    ratio = None
    if min(found.win, found.loss) > 1e-12:
        slope = np.array([1.0 / found.win, -1.0 / found.loss])
        log_se = math.sqrt(float(slope @ found.covariance @ slope))
        own = _freedom(found, slope) if df == "satterthwaite" else math.inf
        row = _row(math.log(found.win / found.loss), log_se, own, level)
        ratio = (math.exp(row[0]), *row[1:5], math.exp(row[5]), math.exp(row[6]))
    return [
        (math.exp(logit), *odds[1:5], math.exp(odds[5]), math.exp(odds[6])),
        ratio,
        (2.0 * probability - 1.0, 2.0 * se, *odds[2:5], 2.0 * low - 1.0, 2.0 * high - 1.0),
        (probability, se, *odds[2:5], low, high),
    ]


def _row(estimate: float, se: float, df: float, level: float) -> tuple[float, ...]:
    numbers = _marginal.statistics(np.array([estimate]), np.array([se]), np.array([df]), level)
    return tuple(float(v) for v in numbers[0])


def _freedom(found: _wins.Pooled, row: Floats) -> float:
    """Return Satterthwaite's df from the variances that the arms contribute."""
    parts = [float(row @ part @ row) for part in found.parts]
    bottom = sum(v * v / (n - 1) for v, n in zip(parts, found.sizes, strict=True))
    return sum(parts) ** 2 / bottom if bottom > 0.0 else math.inf


def _rank_test(
    rank: Floats,
    labels: npt.NDArray[np.intp],
    one: npt.NDArray[np.bool_],
    zero: npt.NDArray[np.bool_],
    stratified: bool,
) -> tuple[str, float, float, float]:
    """Return name, z, df and p of the rank test under the hypothesis of no difference.

    Over strata the rank sums are weighted by ``1 / (n + 1)``: van Elteren PH (1960), On the
    combination of independent two-sample tests of Wilcoxon, Bull Int Stat Inst 37:351.
    """
    from scipy.stats import rankdata

    total, variance = 0.0, 0.0
    for label in np.unique(labels):
        here = (labels == label) & (one | zero)
        n1, n0 = int((here & one).sum()), int((here & zero).sum())
        n = n1 + n0
        if not n1 or not n0:
            continue
        ranks = rankdata(rank[here])
        weight = 1.0 / (n + 1.0)
        total += weight * float(ranks[one[here]].sum() - n1 * (n + 1.0) / 2.0)
        spread = float(((ranks - (n + 1.0) / 2.0) ** 2).sum())
        variance += weight**2 * n1 * n0 * spread / (n * (n - 1.0))
    name = "van Elteren" if stratified else "Wilcoxon-Mann-Whitney"
    z = total / math.sqrt(variance) if variance > 0.0 else 0.0
    return name, z, math.inf, math.erfc(abs(z) / math.sqrt(2.0))
