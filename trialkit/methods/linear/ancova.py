r"""Analysis of covariance by least squares.

:math:`\hat\beta = (X'X)^{-1}X'y` by the QR decomposition, with the residual variance on
:math:`n - p` degrees of freedom, or with a heteroscedasticity-consistent covariance: HC0 of White
1980 (Econometrica 48:817), HC1 to HC3 of MacKinnon and White 1985 (J Econometrics 29:305).
``adjust`` gives standardised means with unconditional variance instead, ANHECOVA among them; see
:mod:`.anhecova`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods import _marginal, _type3
from trialkit.methods._design import Design, build_design, tall_qr
from trialkit.methods._linear_fit import LinearFit
from trialkit.methods._marginal import FTest
from trialkit.methods.linear._adjusted import AdjustedFit
from trialkit.methods.linear._rows import one_row_each
from trialkit.methods.linear.anhecova import adjusted

Floats = npt.NDArray[np.float64]

SE_METHODS = {
    "classical": "classical SE",
    "hc0": "HC0 SE",
    "hc1": "HC1 SE",
    "hc2": "HC2 SE",
    "hc3": "HC3 SE",
}


@dataclass(frozen=True)
class LeastSquares:
    """Coefficients, their covariance and the residual degrees of freedom."""

    beta: Floats
    covariance: Floats
    df: float
    sigma: float

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and degrees of freedom of each row."""
        variance = np.einsum("li,ij,lj->l", rows, self.covariance, rows)
        return rows @ self.beta, np.sqrt(variance), np.full(len(rows), self.df)

    def f_test(self, rows: Floats) -> FTest:
        """Test that all rows are zero; rows must be linearly independent."""
        value, q = rows @ self.beta, len(rows)
        f = float(value @ np.linalg.solve(rows @ self.covariance @ rows.T, value)) / q
        return FTest(q, self.df, f, float(special.fdtrc(q, self.df, f)))


@dataclass(frozen=True)
class AncovaFit(LinearFit):
    """A fitted analysis of covariance.

    Beside the fields of ``FormulaFit``:

    Parameters
    ----------
    variant : str
        Estimation and standard error in words.
    sigma : float
        Residual standard deviation; NaN if failed.
    aliased : list of str
        Columns dropped as linear combinations of others.
    design : Design
        The model matrix.
    inference : LeastSquares or None
        Estimates and their precision; None if failed.
    """

    variant: str
    sigma: float
    aliased: list[str]
    design: Design = field(repr=False)
    inference: LeastSquares | None = field(repr=False)
    method: str = "ancova"

    @property
    def notes(self) -> list[str]:
        """What a reader must know: columns dropped."""
        return [f"dropped as aliased: {', '.join(self.aliased)}"] if self.aliased else []

    def anova(self) -> pd.DataFrame:
        """Return type III tests of the terms: ``term num_df den_df statistic p``."""
        return _type3.table(self.design, None if self.inference is None else self.inference.f_test)

    def summary(self) -> str:
        """Return the fit as text."""
        head = [f"ANCOVA: {self.formula}", self.variant]
        head.append(f"{self.n} observations, {self.n_missing} rows missing")
        if self.inference is None:
            return "\n".join([*head, f"failed: {self.failed}"])
        head.extend(self.notes)
        head.append(f"residual SD {self.sigma:.5g} on {self.inference.df:.0f} df")
        table = _marginal.as_text(self.coefficients)
        return "\n".join([*head, "", table])

    def _repr_html_(self) -> str:
        """Return the fit for a notebook."""
        return _marginal.html(self.summary(), self.coefficients)


@overload
def ancova(
    formula: str,
    data: pd.DataFrame,
    *,
    se: str = ...,
    adjust: None = ...,
    subject: str | None = ...,
) -> AncovaFit: ...


@overload
def ancova(
    formula: str,
    data: pd.DataFrame,
    *,
    adjust: Literal["anhecova", "standardised"],
    arm: str,
    strata: str | Sequence[str] | None = ...,
    randomisation: str = ...,
    small_sample: bool = ...,
    subject: str | None = ...,
) -> AdjustedFit: ...


def ancova(
    formula: str,
    data: pd.DataFrame,
    *,
    se: str | None = None,
    adjust: str | None = None,
    arm: str | None = None,
    strata: str | Sequence[str] | None = None,
    randomisation: str | None = None,
    small_sample: bool = False,
    subject: str | None = None,
) -> AncovaFit | AdjustedFit:
    """Fit an analysis of covariance by ordinary least squares.

    Rows with a missing outcome or covariate are left out and counted in ``n_missing``.

    Parameters
    ----------
    formula : str
        Such as ``AVAL ~ BASE + STRATUM + TRT01P``.
    data : DataFrame
        One row a participant.
    se : str
        ``classical`` (the default), or robust to unequal variances: ``hc0``, ``hc1``, ``hc2``,
        ``hc3``. Not with `adjust`.
    adjust : str, optional
        ``anhecova``: the covariates' slopes by arm; ``standardised``: the formula as it is
        written. Both give the arms' means standardised over the participants, with
        unconditional variance robust to a wrong model.
    arm : str
        Column of the arm, for `adjust`; it must stand in the formula.
    strata : str or sequence of str, optional
        Columns by which randomisation was stratified or which minimisation balanced.
    randomisation : str, optional
        For `adjust`: ``simple`` (the default), ``permuted_block``, or ``minimisation``, which
        needs every combination of `strata` in the model of each arm.
    small_sample : bool
        For ANHECOVA: residual variances on their degrees of freedom and t quantiles.
    subject : str, optional
        Column that names the participant; one with several rows is refused.

    Returns
    -------
    AncovaFit or AdjustedFit
        The second with `adjust`. ``failed`` is set, and tables are empty, when the model cannot
        be fitted.

    Raises
    ------
    UsageError
        For an unknown column, a factor with one level, a non-numeric outcome, an infinite
        value, a participant with several rows, or options that do not exist or do not fit.
    """
    one_row_each(data, subject)
    if adjust is not None:
        if se is not None or arm is None:
            raise UsageError(
                "Standardised means have their own variance and need the arm.",
                remedy="Leave out `se` and name the arm's column in `arm`.",
            )
        names = [strata] if isinstance(strata, str) else list(strata or ())
        return adjusted(
            formula,
            data,
            adjust=adjust,
            arm=arm,
            strata=names,
            randomisation=randomisation or "simple",
            small_sample=small_sample,
        )
    if arm is not None or strata is not None or randomisation is not None or small_sample:
        raise UsageError(
            "arm, strata, randomisation and small_sample belong to standardised means.",
            remedy="Add adjust='anhecova' or adjust='standardised', or leave them out.",
        )
    se = "classical" if se is None else se
    if se not in SE_METHODS:
        raise UsageError(
            f"The standard error {se!r} is not available.",
            remedy=f"Use one of: {', '.join(SE_METHODS)}.",
        )
    design = build_design(formula, data)
    solved = least_squares(design.x, design.y, se)
    failed = solved if isinstance(solved, str) else None
    inference = None if isinstance(solved, str) else solved
    return AncovaFit(
        formula=formula,
        failed=failed,
        n=len(design.rows),
        n_subjects=len(design.rows),
        n_missing=design.n_missing,
        variant=f"ordinary least squares, {SE_METHODS[se]}, residual df",
        sigma=inference.sigma if inference is not None else float("nan"),
        aliased=design.aliased,
        design=design,
        inference=inference,
    )


def least_squares(x: Floats, y: Floats, se: str) -> LeastSquares | str:
    """Solve for the coefficients, or say why they cannot be had.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        Outcome.
    se : str
        A key of :data:`SE_METHODS`.
    """
    n, p = x.shape
    if n <= p:
        return f"{n} observations cannot carry {p} coefficients and a variance"
    q, r = tall_qr(x)
    beta: Floats = np.asarray(np.linalg.solve(r, q.T @ y), dtype=np.float64)
    residual = y - x @ beta
    variance = float(residual @ residual) / (n - p)
    if not variance > 1e-24 * float(y @ y) / n:
        return "the model fits the outcome exactly; there is no residual variance"
    inverse: Floats = np.asarray(np.linalg.inv(r), dtype=np.float64)
    covariance = variance * (inverse @ inverse.T)
    if se != "classical":
        spread = _spread(q, residual, se)
        if isinstance(spread, str):
            return spread
        score = q * spread[:, None] @ inverse.T
        covariance = score.T @ score
    return LeastSquares(beta, covariance, float(n - p), float(np.sqrt(variance)))


def _spread(q: Floats, residual: Floats, se: str) -> Floats | str:
    """Return the residuals as an HC covariance takes them, or why it is not defined."""
    n, p = q.shape
    if se == "hc0":
        return residual
    if se == "hc1":
        return np.asarray(residual * np.sqrt(n / (n - p)))
    room = 1.0 - np.einsum("ij,ij->i", q, q)
    if room.min() < 1e-10:
        return f"{se.upper()} is undefined: an observation is fitted exactly"
    return np.asarray(residual / (np.sqrt(room) if se == "hc2" else room))
