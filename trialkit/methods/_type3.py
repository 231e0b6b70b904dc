"""Type III tests of the terms of a linear predictor.

The hypothesis of a term is SAS's for designs without empty cells: the interaction contrasts of
the term's levels, averaged with equal weights over every other factor, for the coefficients
that share the term's numeric factors. Hypotheses that the data cannot estimate are left out
and lower the numerator degrees of freedom. Where a factor's levels share one mean at a visit,
the differences at that visit are zero by the model and the other visits make the test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods._design import Design, Term
from trialkit.methods._marginal import FTest

Floats = npt.NDArray[np.float64]


def table(design: Design, test: Callable[[Floats], FTest] | None) -> pd.DataFrame:
    """Return ``term num_df den_df statistic p``; no rows without a test (a failed fit).

    A term that the data cannot test, or for which the approximation of the denominator's
    degrees of freedom breaks down (a handful of participants), has 0 ``num_df`` and no numbers.
    """
    rows: list[tuple[str, int, float, float, float]] = []
    for term in design.terms:
        if term.factors and test is not None:
            found = hypothesis(design, term)
            done = test(found) if len(found) else None
            if done is not None and done.den_df > 0.0 and done.f >= 0.0:
                rows.append((term.name, done.num_df, done.den_df, done.f, done.p))
            else:
                rows.append((term.name, 0, np.nan, np.nan, np.nan))
    frame = pd.DataFrame(rows, columns=["term", "num_df", "den_df", "statistic", "p"])
    return frame.astype(
        {"num_df": "int64", "den_df": "float64", "statistic": "float64", "p": "float64"}
    )


def hypothesis(design: Design, term: Term) -> Floats:
    """Return independent estimable rows over the kept coefficients, shape (k, p)."""
    numeric = numeric_part(design, term)
    own = [name for name in term.factors if design.factors[name].categorical]
    combos = list(itertools.product(*(range(len(design.factors[n].levels)) for n in own)))
    blocks = []
    for other in design.terms:
        if numeric_part(design, other) == numeric and design.tied:
            blocks.append(tied_means(design, other, own))
        elif numeric_part(design, other) == numeric:
            blocks.append(cell_means(design, other, own, combos))
        else:
            blocks.append(np.zeros((len(combos), width(design, other))))
    cells = np.hstack(blocks)
    step: Floats = np.ones((1, 1))
    for name in own:
        n = len(design.factors[name].levels)
        step = np.asarray(np.kron(step, np.hstack([-np.ones((n - 1, 1)), np.eye(n - 1)])), float)
    rows = step @ cells
    rows = rows[design.estimable(rows)][:, design.kept]
    return independent_rows(rows)


def numeric_part(design: Design, term: Term) -> frozenset[str]:
    """Return the numeric factors of a term."""
    return frozenset(n for n in term.factors if not design.factors[n].categorical)


def width(design: Design, term: Term) -> int:
    """Return the number of columns of a term."""
    out = 1
    for name, full in zip(term.factors, term.full, strict=True):
        n = len(design.factors[name].levels)
        out *= (n if full else n - 1) if n else 1
    return out


def cell_means(design: Design, term: Term, own: list[str], combos: list[tuple[int, ...]]) -> Floats:
    """Evaluate a term at each combination of ``own``, other factors averaged, numbers at 1."""
    out = np.ones((len(combos), 1))
    for name, full in zip(term.factors, term.full, strict=True):
        n = len(design.factors[name].levels)
        if not n:
            continue
        if name in own:
            coded = np.eye(n)[[combo[own.index(name)] for combo in combos]]
        else:
            coded = np.full((len(combos), n), 1.0 / n)
        coded = coded if full else coded[:, 1:]
        out = (coded[:, :, None] * out[:, None, :]).reshape(len(combos), -1)
    return out


def tied_means(design: Design, term: Term, own: list[str]) -> Floats:
    """Do the same as :func:`cell_means` for a design with tied factors, over the whole grid."""
    levels = {name: f.levels for name, f in design.factors.items() if f.categorical}
    sizes = [len(each) for each in levels.values()]
    codes = dict(zip(levels, np.indices(sizes).reshape(len(sizes), -1), strict=True))
    plain = {name: codes[name].copy() for name in levels}
    for each in design.tied:
        for name, values in codes.items():
            if design.factors[name].variables[0] == each.factor:
                visit = design.categorical(each.visit)
                at = plain[visit.expression] == visit.levels.index(each.at)
                values[at] = levels[name].index(each.level)
    out = np.ones((math.prod(sizes), 1))
    for name, full in zip(term.factors, term.full, strict=True):
        if name in levels:
            coded = np.eye(len(levels[name]))[codes[name]]
            coded = coded if full else coded[:, 1:]
            out = (coded[:, :, None] * out[:, None, :]).reshape(len(out), -1)
    axes = [list(levels).index(name) for name in own]
    axes += [i for i in range(len(sizes)) if i not in axes]
    grid = out.reshape(*sizes, -1).transpose(*axes, len(sizes))
    cells = math.prod(len(levels[name]) for name in own)
    return np.asarray(grid.reshape(cells, -1, out.shape[1]).mean(axis=1))


def independent_rows(rows: Floats) -> Floats:
    """Keep the rows that are not combinations of rows before them."""
    kept: list[Floats] = []
    basis = np.empty((0, rows.shape[1]))
    for row in rows:
        rest = row - basis.T @ (basis @ row)
        size = float(np.linalg.norm(rest))
        if size > 1e-8 * max(1.0, float(np.linalg.norm(row))):
            kept.append(row)
            basis = np.vstack([basis, rest / size])
    return np.array(kept).reshape(-1, rows.shape[1])
