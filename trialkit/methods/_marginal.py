"""LS-means and contrasts on a reference grid, shared by every linear predictor.

The grid crosses all levels of the formula's factors, with numeric columns at their mean over
the rows of the fit, as SAS LSMEANS and R emmeans do by default. A marginal mean averages over
the factors that are not asked for, with weights that the table names in its ``attrs``:

``equal``
    Every combination of the other factors counts the same.
``observed``
    A combination counts as often as it occurs in the rows of the fit, all arms together: the
    observed margins of SAS OBSMARGINS (which also counts rows without an outcome) and of
    emmeans ``weights="proportional"``.
``counterfactual``
    Every participant is set to each level in turn and the predictions are averaged over the
    participants, each counting once: standardisation or g-computation, ``counterfactuals`` of
    emmeans. The standard error is conditional on the covariates of these participants. With
    ``variance="unconditional"`` they are a sample: by the law of total variance, the variance
    of the mean of the participants' predictions is added, with degrees of freedom of the sum
    after Satterthwaite (1946, Biometrics Bull 2:110).

A combination that the data cannot estimate gives a row without numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._columns import place_of
from trialkit.methods._design import Design, Factor
from trialkit.methods._grid import counterfactual, frequencies, grid_matrix
from trialkit.methods._grid import grid_factors as grid_factors
from trialkit.methods._tables import STATISTICS as STATISTICS
from trialkit.methods._tables import FTest as FTest
from trialkit.methods._tables import Inference as Inference
from trialkit.methods._tables import as_text as as_text
from trialkit.methods._tables import check_level as check_level
from trialkit.methods._tables import empty_table as empty_table
from trialkit.methods._tables import framed as framed
from trialkit.methods._tables import html as html
from trialkit.methods._tables import names_of as names_of
from trialkit.methods._tables import objects as objects
from trialkit.methods._tables import stacked as stacked
from trialkit.methods._tables import statistics as statistics
from trialkit.methods._tables import t_quantile as t_quantile
from trialkit.methods._tables import t_tail as t_tail

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Weights of LS-means in words.
WEIGHTS = {
    "equal": "equal weights of the other factors, numeric covariates at their mean",
    "observed": "observed margins of the other factors over the rows of the fit, "
    "numeric covariates at their mean",
    "counterfactual": "counterfactual means over participants",
}
VARIANCES = {
    "conditional": "standard error conditional on the covariates",
    "unconditional": "standard error unconditional (covariates sampled)",
}
GRID_LIMIT = 1_000_000


@dataclass(frozen=True)
class Margins:
    """Linear functions of the full coefficients, one a marginal mean.

    Parameters
    ----------
    keys : DataFrame
        One row a function: the levels of ``term`` and ``by``.
    rows : ndarray, shape (k, number of full columns)
        The functions.
    weights : str
        A key of :data:`WEIGHTS`.
    units : ndarray, shape (k, participants, number of full columns), optional
        The function of each participant, for unconditional standard errors.
    """

    keys: pd.DataFrame
    rows: Floats
    weights: str = "equal"
    units: Floats | None = None

    @property
    def wording(self) -> str:
        """The weights, and what the standard error holds fixed, in words."""
        variance = "conditional" if self.units is None else "unconditional"
        if self.weights != "counterfactual":
            return WEIGHTS[self.weights]
        return f"{WEIGHTS[self.weights]}, {VARIANCES[variance]}"


def margins(
    design: Design,
    term: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    weights: str = "equal",
    *,
    unit: str | None = None,
    occasion: str | None = None,
    variance: str = "conditional",
) -> Margins:
    """Build the marginal means of ``term`` at each level of ``by``.

    Parameters
    ----------
    design : Design
    term, by : str or sequence of str
        Factors of the formula.
    weights : str
        A key of :data:`WEIGHTS`.
    unit : str, optional
        Column that names the participant, for counterfactual weights; each row is one without.
    occasion : str, optional
        Column of the visit: counterfactual means set participants to each visit, and average
        over the visits with equal weights where they are not asked for.
    variance : str
        A key of :data:`VARIANCES`; ``unconditional`` for counterfactual weights only.

    Raises
    ------
    UsageError
        For a name that is no factor of the formula, or options that do not exist.
    """
    labels, rows, units = mean_functions(
        design, term, by, weights, unit=unit, occasion=occasion, variance=variance
    )
    return Margins(pd.DataFrame(labels, dtype=object), rows, weights, units)


def mean_functions(
    design: Design,
    term: str | Sequence[str],
    by: str | Sequence[str] | None,
    weights: str,
    *,
    unit: str | None,
    occasion: str | None,
    variance: str = "conditional",
) -> tuple[dict[str, list[Any]], Floats, Floats | None]:
    """Do the work of :func:`margins`; the labels are lists, ``term`` varies fastest."""
    check_weights(weights, variance)
    wanted = [*names_of(by), *names_of(term)]  # term varies fastest
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"A factor is named twice: {wanted}.", remedy="Name each factor once.")
    asked = [design.categorical(name) for name in wanted]
    combos = list(itertools.product(*(factor.levels for factor in asked)))
    found = {name: [combo[i] for combo in combos] for i, name in enumerate(wanted)}
    labels = {name: found[name] for name in (*names_of(term), *names_of(by))}
    order = [factor.variables[0] for factor in asked]
    if weights == "counterfactual":
        rows, units = counterfactual(design, order, unit, occasion)
        return labels, rows, units if variance == "unconditional" else None
    factors = grid_factors(design)
    rest = [name for name in factors if name not in order]
    levels = {name: factors[name] for name in (*order, *rest)}
    size = math.prod(len(each) for each in levels.values())
    if size > GRID_LIMIT:
        raise UsageError(
            f"The reference grid has {size} combinations of factor levels.",
            remedy="Use fewer factors or levels in the formula.",
        )
    grid = grid_matrix(design, levels, size)
    cells = math.prod(len(factors[name]) for name in order)
    blocks = grid.reshape(cells, -1, grid.shape[1])
    if weights == "equal":
        return labels, np.asarray(blocks.mean(axis=1)), None
    share = frequencies(design, {name: factors[name] for name in rest})
    return labels, np.asarray((blocks * share[:, None]).sum(axis=1)), None


def check_weights(weights: str, variance: str) -> None:
    """Refuse weights and variances that do not exist."""
    if weights not in WEIGHTS:
        raise UsageError(
            f"LS-means with weights {weights!r} are not available.",
            remedy=f"Use weights={' or '.join(map(repr, WEIGHTS))}.",
        )
    if variance not in VARIANCES:
        raise UsageError(
            f"The variance {variance!r} is not available.",
            remedy=f"Use variance={' or '.join(map(repr, VARIANCES))}.",
        )
    if variance == "unconditional" and weights != "counterfactual":
        raise UsageError(
            f"An unconditional variance is not defined for weights {weights!r}.",
            remedy="Use weights='counterfactual'.",
        )


def differences(means: Margins, factor: Factor, term: str, reference: Any) -> Margins:
    """Subtract the reference level's row from the others within each level of the rest.

    A difference that the model fixes at zero (levels that share one mean at a visit) is no
    result and is left out.

    Raises
    ------
    UsageError
        If ``reference`` is not a level of ``term``.
    """
    pick, against = compared(means.rows, factor, term, reference)
    rows = means.rows[pick] - means.rows[against]
    units = None if means.units is None else means.units[pick] - means.units[against]
    keys = means.keys.iloc[pick].reset_index(drop=True)
    told = np.empty(len(keys), dtype=object)
    told[:] = reference
    keys.insert(1, "reference", told)
    return Margins(keys, rows, means.weights, units)


def compared(rows: Floats, factor: Factor, term: str, reference: Any) -> tuple[Ints, Ints]:
    """Return which mean is compared with which; those fixed as equal are left out."""
    n, base = len(factor.levels), place_of(reference, factor.levels, term)
    each = np.arange(len(rows), dtype=np.intp)  # term varies fastest
    pick = each[each % n != base]
    against = pick - pick % n + base
    free = (rows[pick] != rows[against]).any(axis=1)
    return pick[free], against[free]


def tabulate(
    design: Design, functions: Margins, infer: Inference | None, level: float = 0.95
) -> pd.DataFrame:
    """Make the tidy table of linear functions.

    Parameters
    ----------
    design : Design
    functions : Margins
    infer : Inference or None
        The fit's inference; None gives an empty table (a failed fit).
    level : float
        Coverage of the intervals, in (0, 1).

    Returns
    -------
    DataFrame
        The keys, then ``estimate se df statistic p lower upper``; rows that the data cannot
        estimate hold NaN. Its ``attrs`` name the weights and say in words what they are.
    """
    check_level(level)
    if infer is None:
        table = empty_table(functions.keys.columns)
    else:
        numbers = np.full((len(functions.rows), len(STATISTICS)), np.nan)
        can = design.estimable(functions.rows)
        if can.any():
            found = infer(functions.rows[can][:, design.kept])
            if functions.units is not None:
                found = sampled(functions.units[can][:, :, design.kept], infer, *found)
            numbers[can] = statistics(*found, level)
        table = framed({str(n): functions.keys[n].to_numpy() for n in functions.keys}, numbers)
    table.attrs.update(weights=functions.weights, variant=functions.wording)
    return table


def coefficients(design: Design, infer: Inference | None) -> pd.DataFrame:
    """Make the table of the coefficients: term, ``estimate se df statistic p lower upper``.

    One row a kept column of the model matrix, 95 % intervals; empty without an inference.
    """
    if infer is None:
        return empty_table(["term"])
    numbers = statistics(*infer(np.eye(len(design.kept))), 0.95)
    return framed({"term": np.array(design.names, dtype=object)}, numbers)


def sampled(
    units: Floats, infer: Inference, estimate: Floats, se: Floats, df: Floats
) -> tuple[Floats, Floats, Floats]:
    """Add the variance of the mean of the participants' predictions.

    Parameters
    ----------
    units : ndarray, shape (k, participants, p)
        The function of each participant.
    estimate, se, df : ndarray, shape (k,)
        Conditional on the participants' covariates.
    """
    people = units.shape[1]
    beta = infer(np.eye(units.shape[2]))[0]
    extra = (units @ beta).var(axis=1, ddof=1) / people
    inner = se**2
    total = inner + extra
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = total**2 / (inner**2 / df + extra**2 / (people - 1))
    return estimate, np.sqrt(total), np.where(extra > 0.0, joint, df)
