r"""Predictions, residuals and parametric draws of a fitted MMRM.

With :math:`V_{oo}` the covariance of a participant's observed visits, :math:`r_o = y_o -
X_o\hat\beta` and :math:`c = \Sigma_{mo}V_{oo}^{-1}`, the prediction of visit ``m`` given the
others is :math:`x_m'\hat\beta + c\,r_o`; its error has the variance

.. math:: \Sigma_{mm} - c\,\Sigma_{om} + d' \mathrm{Cov}(\hat\beta)\, d, \qquad d = x_m - X_o'c'

(the best linear unbiased predictor: Harville 1976, Ann Stat 4:384), the covariance of the
visits taken as known. For an observed visit the others are
those left when it is set aside: with :math:`P = V_{oo}^{-1}` this is
:math:`y_a - (Pr)_a / P_{aa}` with variance :math:`1 / P_{aa}`; the coefficients still rest on
all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, outcome_values, plain, variables_of
from trialkit.methods._marginal import Inference, check_level, t_quantile

if TYPE_CHECKING:
    from trialkit.methods.repeated.result import MMRMFit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

KINDS = ("marginal", "conditional")
#: Rows for which degrees of freedom are computed at once.
BLOCK = 512
RESIDUALS = ("response", "pearson", "normalized")
COLUMNS = (
    "estimate",
    "se",
    "df",
    "lower",
    "upper",
    "prediction_se",
    "prediction_lower",
    "prediction_upper",
)


@dataclass(frozen=True)
class Rows:
    """Rows to predict, or to predict from.

    Parameters
    ----------
    where : ndarray of int, shape (k,)
        Positions in the frame given.
    x : ndarray, shape (k, p)
        Model matrix over the kept coefficients.
    y : ndarray, shape (k,)
        Outcome, NaN where there is none.
    subject : ndarray, shape (k,)
        Names of the participants.
    visit, group : ndarray of int, shape (k,)
        Codes in the fitted covariance.
    root : ndarray, shape (k,)
        Square root of the weight.
    """

    where: Ints
    x: Floats
    y: Floats
    subject: npt.NDArray[Any]
    visit: Ints
    group: Ints
    root: Floats


def predict(fit: MMRMFit, newdata: pd.DataFrame | None, kind: str, level: float) -> pd.DataFrame:
    """Predict rows; see :meth:`MMRMFit.predict`."""
    check_level(level)
    if kind not in KINDS:
        raise UsageError(f"There is no prediction {kind!r}.", remedy=f"Use {' or '.join(KINDS)}.")
    subject, visit = str(fit.options["subject"]), str(fit.options["visit"])
    own = fitted_rows(fit)
    rows = own if newdata is None else new_rows(fit, newdata, conditional=kind == "conditional")
    if fit.inference is None:
        return pd.DataFrame(columns=[subject, visit, *COLUMNS])
    if kind == "marginal":
        mean, toward, spread = marginal(fit, rows)
    else:
        known = newdata is not None and set(outcome_columns(fit.design, newdata)) <= set(newdata)
        mean, toward, spread = conditional(fit, rows, rows if known else own)
    se, df = precision(fit.inference, toward)
    wide, reach = np.sqrt(se**2 + spread), t_quantile(0.5 + level / 2.0, df)
    limits = [mean + sign * reach * size for size in (se, wide) for sign in (-1.0, 1.0)]
    size = len(own.y) if newdata is None else len(newdata)
    numbers = np.full((size, len(COLUMNS)), np.nan)
    numbers[rows.where] = np.column_stack([mean, se, df, *limits[:2], wide, *limits[2:]])
    given = fit.design.columns if newdata is None else newdata
    keys = {name: np.asarray(given[name]) for name in (subject, visit) if name in given}
    table = pd.DataFrame({**keys, **dict(zip(COLUMNS, numbers.T, strict=True))})
    return table if newdata is None else table.set_axis(newdata.index, axis=0)


def precision(infer: Inference, rows: Floats) -> tuple[Floats, Floats]:
    """Return standard errors and degrees of freedom, a block of rows at a time."""
    blocks = [infer(rows[i : i + BLOCK])[1:] for i in range(0, len(rows), BLOCK)]
    joined = [np.concatenate(each) for each in zip(*blocks, strict=True)]
    return (joined[0], joined[1]) if joined else (np.empty(0), np.empty(0))


def marginal(fit: MMRMFit, rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Return mean, its linear function and the variance of one observation about it."""
    sigma = visit_covariance(fit)
    spread = sigma[rows.group, rows.visit, rows.visit] / rows.root**2
    return rows.x @ coefficients(fit), rows.x, spread


def conditional(fit: MMRMFit, rows: Rows, known: Rows) -> tuple[Floats, Floats, Floats]:
    """Return the same given the participant's other visits among ``known``."""
    beta, sigma = coefficients(fit), visit_covariance(fit)
    mean, toward = rows.x @ beta, rows.x.copy()
    spread = sigma[rows.group, rows.visit, rows.visit] / rows.root**2
    residual = known.y - known.x @ beta
    seen = np.flatnonzero(np.isfinite(residual))
    order = seen[np.lexsort((known.visit[seen], known.subject[seen].astype(str)))]
    places: dict[Any, list[int]] = {}
    for i in order.tolist():
        places.setdefault(known.subject[i], []).append(i)
    for i in range(len(rows.y)):
        others = [j for j in places.get(rows.subject[i], []) if known.visit[j] != rows.visit[i]]
        if not others:
            continue
        s, at = sigma[rows.group[i]], known.visit[others]
        v = s[np.ix_(at, at)] / np.outer(known.root[others], known.root[others])
        c = np.linalg.solve(v, s[at, rows.visit[i]] / (known.root[others] * rows.root[i]))
        mean[i] += c @ residual[others]
        toward[i] -= c @ known.x[others]
        spread[i] -= c @ (s[at, rows.visit[i]] / (known.root[others] * rows.root[i]))
    return mean, toward, spread


def residuals(fit: MMRMFit, kind: str) -> pd.DataFrame:
    """Return residuals of the rows of the fit; see :meth:`MMRMFit.residuals`."""
    if kind not in RESIDUALS:
        raise UsageError(f"There is no residual {kind!r}.", remedy=f"Use {', '.join(RESIDUALS)}.")
    rows = fitted_rows(fit)
    subject, visit = str(fit.options["subject"]), str(fit.options["visit"])
    keys = {name: fit.design.columns[name] for name in (subject, visit)}
    if fit.inference is None:
        return pd.DataFrame(columns=[*keys, "residual"])
    value = rows.y - rows.x @ coefficients(fit)
    sigma = visit_covariance(fit)
    if kind == "pearson":
        value = value * rows.root / np.sqrt(sigma[rows.group, rows.visit, rows.visit])
    elif kind == "normalized":
        codes = pd.factorize(rows.subject)[0]
        order = np.lexsort((rows.visit, codes))
        for mine in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            at = rows.visit[mine]
            root = np.linalg.cholesky(sigma[rows.group[mine[0]]][np.ix_(at, at)])
            value[mine] = np.linalg.solve(root, value[mine] * rows.root[mine])
    return pd.DataFrame({**keys, "residual": value})


def simulate(fit: MMRMFit, n: int, seed: int) -> pd.DataFrame:
    """Draw outcomes for the rows of the fit; see :meth:`MMRMFit.simulate`."""
    if not (isinstance(n, int) and n > 0):
        raise UsageError(f"n must be a positive whole number, not {n!r}.", remedy="Use n=1000.")
    rows = fitted_rows(fit)
    subject, visit = str(fit.options["subject"]), str(fit.options["visit"])
    keys = {name: fit.design.columns[name] for name in (subject, visit)}
    names = [f"draw_{i}" for i in range(1, n + 1)]
    if fit.inference is None:
        return pd.DataFrame(columns=[*keys, *names])
    sigma = visit_covariance(fit)
    m = sigma.shape[1]
    codes, people = pd.factorize(rows.subject, sort=True)
    root = np.linalg.cholesky(sigma)[rows.group, rows.visit]  # one row of the factor a row
    rng = np.random.Generator(np.random.Philox(seed))
    mean, out = rows.x @ coefficients(fit), np.empty((len(rows.y), n))
    for i in range(n):  # every visit of every participant is drawn, seen or not
        noise = rng.standard_normal((len(people), m))[codes]
        out[:, i] = mean + (root * noise).sum(axis=1) / rows.root
    return pd.concat([pd.DataFrame(keys), pd.DataFrame(out, columns=names)], axis=1)


def coefficients(fit: MMRMFit) -> Floats:
    """Return the kept coefficients, shape (p,)."""
    assert fit.inference is not None
    return fit.inference.beta


def visit_covariance(fit: MMRMFit) -> Floats:
    """Return the fitted covariance, shape (groups, m, m)."""
    m = fit.covariance.shape[1]
    return fit.covariance.to_numpy(dtype=np.float64).reshape(-1, m, m)


def fitted_rows(fit: MMRMFit) -> Rows:
    """Return the rows of the fit."""
    design = fit.design
    return make_rows(fit, design.columns, design.x, design.y, np.arange(len(design.y)))


def make_rows(
    fit: MMRMFit, columns: dict[str, npt.NDArray[Any]], x: Floats, y: Floats, where: Ints
) -> Rows:
    """Code visit, group and weight of rows."""
    group, weights = fit.options["group"], fit.options["weights"]
    n = len(where)
    subject = columns.get(str(fit.options["subject"]))
    codes = np.zeros(n, dtype=np.intp)
    if group is not None:
        levels = fit.covariance.index.get_level_values(0).unique()
        codes = known_codes(columns[group], levels, group)
    return Rows(
        where=where.astype(np.intp),
        x=x,
        y=y,
        subject=np.full(n, None, dtype=object) if subject is None else subject,
        visit=known_codes(columns[str(fit.options["visit"])], fit.covariance.columns, "visit"),
        group=codes,
        root=np.ones(n) if weights is None else np.sqrt(columns[weights].astype(np.float64)),
    )


def known_codes(values: npt.NDArray[Any], levels: pd.Index[Any], name: str) -> Ints:
    """Return the positions of values among the fitted levels, or refuse new ones."""
    codes = levels.get_indexer(pd.Index(values))
    if (codes < 0).any():
        raise UsageError(
            f"The fit knows no {name} {values[int(np.argmin(codes))]!r}.",
            remedy=f"Known are: {', '.join(map(repr, levels.tolist()))}.",
        )
    return np.asarray(codes, dtype=np.intp)


def outcome_columns(design: Design, newdata: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that make the outcome."""
    return variables_of(str(design.response), newdata)


def new_rows(fit: MMRMFit, newdata: pd.DataFrame, *, conditional: bool) -> Rows:
    """Read the rows of another frame whose predictors are complete and estimable."""
    design, options = fit.design, fit.options
    right = [name for factor in design.factors.values() for name in factor.variables]
    also = [options["visit"], options["group"], options["weights"]]
    also += [options["subject"]] if conditional else []
    needed = list(dict.fromkeys([*right, *(name for name in also if name is not None)]))
    unknown = [name for name in needed if name not in newdata.columns]
    if unknown:
        raise UsageError(
            f"The rows to predict have no column {', '.join(map(repr, unknown))}.",
            remedy=f"Prediction needs: {', '.join(needed)}.",
        )
    where = np.flatnonzero(newdata[needed].notna().all(axis=1).to_numpy())
    columns = {name: plain(newdata[name], where) for name in needed}
    if options["subject"] in newdata.columns:
        columns[str(options["subject"])] = np.asarray(newdata[options["subject"]])[where]
    for factor in design.factors.values():
        if factor.categorical:
            known_codes(columns[factor.variables[0]], pd.Index(factor.levels), factor.expression)
    full = design.matrix(columns) if len(where) else np.empty((0, len(design.full_names)))
    rows = make_rows(fit, columns, full[:, design.kept], np.full(len(where), np.nan), where)
    can = design.estimable(full)
    y = rows.y
    if conditional and set(outcome_columns(design, newdata)) <= set(newdata.columns):
        read = outcome_columns(design, newdata)
        seen = np.flatnonzero(newdata[list(read)].notna().all(axis=1).to_numpy()[where])
        values = {name: plain(newdata[name], where[seen]) for name in read}
        if len(seen):
            y[seen] = outcome_values(str(design.response), read, values)
        refuse_repeats(rows.subject[seen], rows.visit[seen], fit)
    keep = np.flatnonzero(can)
    return Rows(
        where=rows.where[keep],
        x=rows.x[keep],
        y=y[keep],
        subject=rows.subject[keep],
        visit=rows.visit[keep],
        group=rows.group[keep],
        root=rows.root[keep],
    )


def refuse_repeats(subject: npt.NDArray[Any], visit: Ints, fit: MMRMFit) -> None:
    """Refuse a participant with two outcomes at one visit."""
    again = pd.DataFrame({"s": subject, "v": visit}).duplicated().to_numpy()
    if again.any():
        raise UsageError(
            f"The rows to predict repeat a visit of {fit.options['subject']} "
            f"{subject[int(np.argmax(again))]}.",
            remedy="Keep one row a participant and visit.",
        )
