r"""Standard errors, degrees of freedom and F tests of an MMRM.

With :math:`A = (X'V^{-1}X)^{-1}`, :math:`B_i = X'V^{-1}D_iV^{-1}X` and :math:`W` the inverse
observed information of the covariance parameters, the gradient of the variance
:math:`l'Al` of a contrast is :math:`l'AB_iAl`, and Satterthwaite's degrees of freedom are

.. math:: \nu = 2 (l'Al)^2 / (g'Wg)

(Fai and Cornelius 1996, J Stat Comput Simul 54:363; observed, not expected, information as in
SAS PROC MIXED). Kenward and Roger 1997 (Biometrics 53:983) adjust the covariance to

.. math:: A^* = A + 2A\Big\{\sum_{ij} W_{ij}(Q_{ij} - B_iAB_j - R_{ij}/4)\Big\}A,\qquad
          Q_{ij} = X'V^{-1}D_iV^{-1}D_jV^{-1}X,\quad R_{ij} = X'V^{-1}D_{ij}V^{-1}X

``kenward_roger_linear`` leaves out :math:`R`, as if the covariance were linear in its parameters
(SAS: DDFM=KENWARDROGER(LINEAR), there called Prasad-Rao-Jeske-Kackar-Harville). Without it the
result does not depend on the parameterisation. ``kenward_roger`` keeps it, in the parameters of
SAS (variances, correlations, the range); for us, cs and toep the two are the same, because
these are linear in some parameters. The information is the observed one, and the degrees of
freedom of one contrast are Satterthwaite's.

Residual degrees of freedom are rows less coefficients. Between-within (Schluchter and Elashoff
1990, J Stat Comput Simul 37:69; Galecki and Burzykowski 2013, Linear Mixed-Effects Models): a
coefficient whose term changes within a subject, and the intercept, have rows less subjects less
the number of such coefficients (without the intercept); any other has subjects less the number
of the others. A combination of coefficients has the least of theirs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.methods._marginal import FTest
from trialkit.methods.repeated.empirical import Rows, Sandwich
from trialkit.methods.repeated.likelihood import Likelihood, Optimum
from trialkit.methods.repeated.patterns import unpack

Floats = npt.NDArray[np.float64]

DF_METHODS = {
    "satterthwaite": "Satterthwaite",
    "kenward_roger_linear": "Kenward-Roger-Linear",
    "kenward_roger": "Kenward-Roger (second order in the parameters of SAS)",
    "residual": "residual",
    "between_within": "between-within",
}
#: A covariance of contrasts with a smaller eigenvalue (as a correlation) is singular.
REGULAR = 1e-10
NO_TEST = FTest(0, float("nan"), float("nan"), float("nan"))
KENWARD_ROGER = ("kenward_roger_linear", "kenward_roger")


class MmrmInference:
    """Inference for linear functions of the coefficients of a fit that converged.

    Parameters
    ----------
    likelihood : Likelihood
    optimum : Optimum
    df : str
        A key of :data:`DF_METHODS`.
    se : str
        A key of :data:`~trialkit.methods.repeated.empirical.SE_METHODS`.
    rows : Rows, optional
        Needed for an empirical standard error and for between-within degrees of freedom.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        optimum: Optimum,
        df: str,
        *,
        se: str = "model",
        rows: Rows | None = None,
    ) -> None:
        reduction = likelihood.patterns.reduction
        self.failed: str | None = None
        self.notes: list[str] = []
        self.method = df
        self.reduction = reduction
        self.a = optimum.point.a
        #: covariance of the covariance parameters
        self.w: Floats = np.asarray(2.0 * np.linalg.inv(optimum.hessian))
        theta, squared = likelihood.parameters(optimum.point)
        self.theta: Floats = theta * np.where(squared, reduction.scale**2, 1.0)
        with np.errstate(invalid="ignore"):
            self.theta_se: Floats = np.sqrt(np.diagonal(self.w))
        self.theta_se = self.theta_se * np.where(squared, reduction.scale**2, 1.0)
        self.aba = self.a @ optimum.b @ self.a
        gamma = -optimum.point.w[:-1]
        self.back = np.linalg.inv(reduction.r)
        self.beta: Floats = reduction.start + reduction.scale * (self.back @ gamma)
        self.adjusted = self.a
        self.sandwich: Sandwich | None = None
        if df in KENWARD_ROGER:
            second = df == "kenward_roger"
            self.adjusted = kenward_roger(likelihood, optimum, self.w, second=second)
        elif se != "model":
            assert rows is not None
            self.sandwich = Sandwich(rows, likelihood.patterns, optimum.point, se)
            self.adjusted, self.failed = self.sandwich.covariance, self.sandwich.failed
            self.notes = self.sandwich.notes
        self.fixed: Floats | None = None
        if df == "residual":
            free = likelihood.patterns.n_obs - likelihood.patterns.p
            self.fixed = np.full(len(self.beta), float(free))
        elif df == "between_within":
            assert rows is not None
            self.fixed = between_within(rows)

    def covariance(self) -> Floats:
        """Return the covariance of the coefficients, shape (p, p)."""
        rows = self.reduced(np.eye(len(self.beta)))
        return np.asarray(rows @ self.adjusted @ rows.T) * self.reduction.scale**2

    def reduced(self, rows: Floats) -> Floats:
        """Return linear functions in the coordinates of the sufficient statistics."""
        return np.asarray(rows @ self.back)

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and degrees of freedom of each row."""
        inner = self.reduced(rows)
        variance = (inner @ self.adjusted * inner).sum(axis=1)
        estimate = np.asarray(rows @ self.beta)
        with np.errstate(invalid="ignore"):  # a negative variance gives NaN, which callers see
            se = self.reduction.scale * np.sqrt(variance)
        return estimate, se, self.degrees(rows, inner)

    def degrees(self, rows: Floats, inner: Floats) -> Floats:
        """Return the degrees of freedom of each row, given with its reduced form."""
        if self.fixed is not None:
            large = np.abs(rows).max(axis=1, keepdims=True)
            least = np.where(np.abs(rows) > 1e-10 * large, self.fixed, np.inf).min(axis=1)
            return np.asarray(np.where(np.isfinite(least), least, self.fixed.min()))
        return self.satterthwaite(inner)

    def satterthwaite(self, inner: Floats) -> Floats:
        """Return Satterthwaite's degrees of freedom of each reduced row."""
        if self.sandwich is not None:
            return self.sandwich.degrees(inner)
        variance = (inner @ self.a * inner).sum(axis=1)
        slope = (inner @ self.aba * inner).sum(axis=2).T
        spread = (slope @ self.w * slope).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)

    def f_test(self, rows: Floats) -> FTest:
        """Test that all rows are zero; rows must be linearly independent.

        Without numbers, and with ``num_df`` 0, where their covariance is singular (an empirical
        one of fewer subjects than rows) or the degrees of freedom are not positive.
        """
        inner = self.reduced(rows)
        delta = rows @ self.beta / self.reduction.scale
        spread = inner @ self.adjusted @ inner.T
        if not regular(spread):
            return NO_TEST
        if len(rows) == 1:
            f, den = float(delta[0] ** 2 / spread[0, 0]), float(self.degrees(rows, inner)[0])
        elif self.fixed is not None:
            wald = delta @ np.linalg.solve(spread, delta)
            f, den = float(wald / len(rows)), float(self.degrees(rows, inner).min())
        elif self.method == "satterthwaite":
            f, den = self.satterthwaite_f(inner, delta)
        else:
            f, den = self.kenward_roger_f(inner, delta)
        if not (f >= 0.0 and den > 0.0):
            return NO_TEST
        return FTest(len(rows), den, f, float(special.fdtrc(len(rows), den, f)))

    def satterthwaite_f(self, inner: Floats, delta: Floats) -> tuple[float, float]:
        """Return F and denominator df by the spectral decomposition (Fai and Cornelius)."""
        q = len(inner)
        values, vectors = np.linalg.eigh(inner @ self.adjusted @ inner.T)
        t2 = (vectors.T @ delta) ** 2 / values
        nu = self.satterthwaite(vectors.T @ inner)
        if nu.max() - nu.min() < 1e-8:
            return float(t2.mean()), float(nu.mean())
        if nu.min() <= 2.0:
            return float(t2.mean()), 2.0
        expected = float((nu / (nu - 2.0)).sum())
        return float(t2.mean()), 2.0 * expected / (expected - q)

    def kenward_roger_f(self, inner: Floats, delta: Floats) -> tuple[float, float]:
        """Return the scaled F and its denominator df (Kenward and Roger 1997, section 3)."""
        q = len(inner)
        middle = np.linalg.inv(inner @ self.a @ inner.T)
        theta = inner.T @ middle @ inner
        slopes = theta @ self.aba  # tr(Theta A B_i A)
        traces = np.einsum("tii->t", slopes)
        a1 = float(traces @ self.w @ traces)
        a2 = float(np.einsum("tij,sji,ts->", slopes, slopes, self.w, optimize=True))
        b = (a1 + 6.0 * a2) / (2.0 * q)
        g = ((q + 1.0) * a1 - (q + 4.0) * a2) / ((q + 2.0) * a2)
        bottom = 3.0 * q + 2.0 * (1.0 - g)
        c1, c2, c3 = g / bottom, (q - g) / bottom, (q + 2.0 - g) / bottom
        mean = 1.0 / (1.0 - a2 / q)
        spread = (2.0 / q) * (1.0 + c1 * b) / ((1.0 - c2 * b) ** 2 * (1.0 - c3 * b))
        rho = spread / (2.0 * mean**2)
        den = 4.0 + (q + 2.0) / (q * rho - 1.0)
        scale = den / (mean * (den - 2.0))
        wald = delta @ np.linalg.solve(inner @ self.adjusted @ inner.T, delta)
        return float(scale * wald / q), float(den)


def regular(spread: Floats) -> bool:
    """Whether a covariance is positive definite, judged by its correlations."""
    variance = np.diagonal(spread)
    if not (variance > 0.0).all():
        return False
    size = np.sqrt(variance)
    return bool(np.linalg.eigvalsh(spread / np.outer(size, size)).min() > REGULAR)


def between_within(rows: Rows) -> Floats:
    """Return the between-within degrees of freedom of each coefficient."""
    constant, within = rows.intercept(), rows.within()
    subjects = len(np.unique(rows.subject))
    low = subjects - constant.any() - np.sum(~within & ~constant)
    high = len(rows.y) - subjects - np.sum(within)
    return np.where(within | constant, float(high), float(low))


def kenward_roger(
    likelihood: Likelihood, optimum: Optimum, w: Floats, *, second: bool = False
) -> Floats:
    """Return the adjusted covariance of the coefficients in reduced coordinates.

    Parameters
    ----------
    w : ndarray, shape (t, t)
        Covariance of the covariance parameters.
    second : bool
        Whether to keep the second derivatives of the covariance.
    """
    data, at, q = likelihood.patterns, optimum.point, likelihood.patterns.p + 1
    middle = likelihood.middle(at, w)
    curvature = likelihood.curvature(at, w) if second else None
    if curvature is not None:
        middle = middle - 0.25 * curvature
    load = at.inverse @ middle @ at.inverse
    k, a, b = data.entry
    both = (0.5 * (load + load.transpose(0, 2, 1)))[k, a, b]
    twice = unpack(both @ data.sums, q)[:-1, :-1]
    paired = np.einsum("tij,ts->sij", optimum.b, w, optimize=True)
    once = np.einsum("sij,jk,skl->il", paired, at.a, optimum.b, optimize=True)
    return np.asarray(at.a + 2.0 * at.a @ (twice - once) @ at.a)
