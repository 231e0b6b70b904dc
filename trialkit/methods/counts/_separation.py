"""Rows whose fitted rate is zero in the limit: no finite maximum exists with them.

With counts and a log link no maximum-likelihood estimate exists when a combination of columns
is zero on every row with an event, never positive on the rows without one, and negative on
some of them: a level of a stratum without a single event is the common case. Along it the
likelihood rises to that of the model without those rows, whose fitted rate tends to zero. The
other coefficients have their limits there.

Source: Santos Silva JMC, Tenreyro S (2010), On the existence of the maximum likelihood
estimates in Poisson regression, Econ Lett 107:310; Correia S, Guimaraes P, Zylkin T (2019),
Verifying the existence of maximum likelihood estimates for generalized linear models,
arXiv:1903.01633, who show that dropping the rows gives the limit for the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.methods._design import (
    Design,
    Factor,
    code_terms,
    independent,
    term_columns,
    term_names,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def suspicious(design: Design) -> bool:
    """Tell cheaply whether a level, or a column, has no event."""
    none = design.y == 0.0
    for factor in design.factors.values():
        if factor.categorical:
            coded = factor.values(design.columns)
            if (coded[~none].sum(axis=0) == 0.0).any():
                return True
    silent = (design.x[~none] == 0.0).all(axis=0)
    return bool((silent & (np.abs(design.x[none]).sum(axis=0) > 0.0)).any())


def direction(design: Design) -> Floats | None:
    """Find the combination of columns along which the likelihood rises without end.

    Returns
    -------
    ndarray, shape (p,), or None
        ``x @ d`` is 0 on rows that stay in the model, and at most -1 on all rows that leave
        it; None if the maximum exists. Found by linear programming.
    """
    from scipy.optimize import linprog

    none = design.y == 0.0
    if not none.any() or none.all():
        return None
    size = np.abs(design.x).max(axis=0)
    scaled = design.x / size
    empty = np.unique(scaled[none], axis=0)
    event = np.unique(scaled[~none], axis=0)
    p, m = scaled.shape[1], len(empty)
    found = linprog(
        np.r_[np.zeros(p), -np.ones(m)],
        A_ub=np.hstack([empty, np.eye(m)]),
        b_ub=np.zeros(m),
        A_eq=np.hstack([event, np.zeros((len(event), m))]),
        b_eq=np.zeros(len(event)),
        bounds=[(-1e4, 1e4)] * p + [(0.0, 1.0)] * m,
        method="highs",
    )
    if found.status != 0 or -found.fun < 0.5:
        return None
    return np.asarray(found.x[:p] / size, dtype=np.float64)


def leaving(values: Floats) -> Bools:
    """Tell which values of ``x @ d`` send a rate to zero."""
    return np.asarray(values < -1e-5)


def restrict(design: Design, keep: Bools) -> Design:
    """Return the design on some of its rows: levels that do not occur there are gone.

    A factor that is left with one level leaves the formula's terms.
    """
    columns = {name: values[keep] for name, values in design.columns.items()}
    factors: dict[str, Factor] = {}
    constant = set()
    for name, factor in design.factors.items():
        if factor.categorical:
            present = set(columns[factor.variables[0]].tolist())
            levels = tuple(level for level in factor.levels if level in present)
            if len(levels) < 2:
                constant.add(name)
                continue
            factor = replace(factor, levels=levels)
        factors[name] = factor
    raw = [tuple(f for f in term.factors if f not in constant) for term in design.terms]
    terms = code_terms(list(dict.fromkeys(raw)), factors)
    coded = {name: factor.values(columns) for name, factor in factors.items()}
    blocks = [term_columns(term, coded, int(keep.sum())) for term in terms]
    full = np.hstack(blocks)
    kept, alias = independent(full)
    return replace(
        design,
        terms=terms,
        factors=factors,
        x=np.ascontiguousarray(full[:, kept]),
        y=design.y[keep],
        rows=design.rows[keep],
        full_names=[name for term in terms for name in term_names(term, factors)],
        kept=kept,
        assign=np.repeat(np.arange(len(terms)), [b.shape[1] for b in blocks]).astype(np.intp),
        alias=alias,
        columns=columns,
    )


def lost_levels(design: Design, keep: Bools) -> dict[str, list[Any]]:
    """Return, by variable, the levels that occur only among the rows that leave."""
    lost: dict[str, list[Any]] = {}
    for factor in design.factors.values():
        if factor.categorical:
            name = factor.variables[0]
            present = set(design.columns[name][keep].tolist())
            gone = [level for level in factor.levels if level not in present]
            if gone:
                lost[name] = gone
    return lost
