r"""Standard errors, degrees of freedom and F tests of an MMRM.

With :math:`A = (X'V^{-1}X)^{-1}`, :math:`B_i = X'V^{-1}D_iV^{-1}X` and :math:`W` the inverse
observed information of the covariance parameters, the gradient of the variance
:math:`l'Al` of a contrast is :math:`l'AB_iAl`, and Satterthwaite's degrees of freedom are

.. math:: \nu = 2 (l'Al)^2 / (g'Wg)

(Fai and Cornelius 1996, J Stat Comput Simul 54:363; observed, not expected, information as in
SAS PROC MIXED). Kenward and Roger 1997 (Biometrics 53:983) with a covariance that is linear
in its parameters adjusts

.. math:: A^* = A + 2A\Big\{\sum_{ij} W_{ij}(Q_{ij} - B_iAB_j)\Big\}A,\qquad
          Q_{ij} = X'V^{-1}D_iV^{-1}D_jV^{-1}X

For an unstructured covariance this is what SAS calls DDFM=KENWARDROGER and
KENWARDROGER(LINEAR) alike; the degrees of freedom of one contrast are Satterthwaite's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.methods._marginal import FTest
from trialkit.methods.repeated.likelihood import Likelihood, Optimum
from trialkit.methods.repeated.patterns import unpack

Floats = npt.NDArray[np.float64]

DF_METHODS = {"satterthwaite": "Satterthwaite", "kenward_roger_linear": "Kenward-Roger-Linear"}


class MmrmInference:
    """Inference for linear functions of the coefficients of a fit that converged.

    Parameters
    ----------
    likelihood : Likelihood
    optimum : Optimum
    df : str
        A key of :data:`DF_METHODS`.
    """

    def __init__(self, likelihood: Likelihood, optimum: Optimum, df: str) -> None:
        reduction = likelihood.patterns.reduction
        self.method = df
        self.reduction = reduction
        self.a = optimum.point.a
        #: covariance of the covariance parameters
        self.w: Floats = np.asarray(2.0 * np.linalg.inv(optimum.hessian))
        self.aba = self.a @ optimum.b @ self.a
        gamma = -optimum.point.w[:-1]
        self.back = np.linalg.inv(reduction.r)
        self.beta: Floats = reduction.start + reduction.scale * (self.back @ gamma)
        self.adjusted = self.a
        if df == "kenward_roger_linear":
            self.adjusted = kenward_roger(likelihood, optimum, self.w)

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
        return estimate, se, self.degrees(inner)

    def degrees(self, inner: Floats) -> Floats:
        """Return Satterthwaite's degrees of freedom of each reduced row."""
        variance = (inner @ self.a * inner).sum(axis=1)
        slope = (inner @ self.aba * inner).sum(axis=2).T
        spread = (slope @ self.w * slope).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)

    def f_test(self, rows: Floats) -> FTest:
        """Test that all rows are zero; rows must be linearly independent."""
        inner = self.reduced(rows)
        delta = rows @ self.beta / self.reduction.scale
        if len(rows) == 1:
            variance = float((inner @ self.adjusted @ inner.T)[0, 0])
            f, den = float(delta[0] ** 2 / variance), float(self.degrees(inner)[0])
        elif self.method == "satterthwaite":
            f, den = self.satterthwaite_f(inner, delta)
        else:
            f, den = self.kenward_roger_f(inner, delta)
        return FTest(len(rows), den, f, float(special.fdtrc(len(rows), den, f)))

    def satterthwaite_f(self, inner: Floats, delta: Floats) -> tuple[float, float]:
        """Return F and denominator df by the spectral decomposition (Fai and Cornelius)."""
        q = len(inner)
        values, vectors = np.linalg.eigh(inner @ self.a @ inner.T)
        t2 = (vectors.T @ delta) ** 2 / values
        nu = self.degrees(vectors.T @ inner)
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


def kenward_roger(likelihood: Likelihood, optimum: Optimum, w: Floats) -> Floats:
    """Return the adjusted covariance of the coefficients in reduced coordinates.

    Parameters
    ----------
    w : ndarray, shape (t, t)
        Covariance of the covariance parameters.
    """
    data, at, q = likelihood.patterns, optimum.point, likelihood.patterns.p + 1
    middle = likelihood.middle(at, w)
    load = at.inverse @ middle @ at.inverse
    k, a, b = data.entry
    both = (0.5 * (load + load.transpose(0, 2, 1)))[k, a, b]
    twice = unpack(both @ data.sums, q)[:-1, :-1]
    paired = np.einsum("tij,ts->sij", optimum.b, w, optimize=True)
    once = np.einsum("sij,jk,skl->il", paired, at.a, optimum.b, optimize=True)
    return np.asarray(at.a + 2.0 * at.a @ (twice - once) @ at.a)
