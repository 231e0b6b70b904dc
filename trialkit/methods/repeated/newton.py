"""Newton's method for the covariance parameters, and why it may end without an estimate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.likelihood import Likelihood, Optimum, Point

Floats = npt.NDArray[np.float64]

MAX_ITERATIONS = 100
#: Newton decrement (in units of -2 log-likelihood) below which one last full step is taken.
DECREMENT = 1e-9
#: Smallest eigenvalue of a fitted correlation matrix that is still called regular.
SINGULAR = 1e-7
#: The same where the optimiser stopped on its way: the maximum lies on the boundary.
BOUNDARY = 1e-3


def maximise(likelihood: Likelihood) -> Optimum:
    """Find the covariance by Newton's method from the residuals of least squares.

    It starts at their products by available pairs, where these make a covariance that is
    more likely than the variances alone.

    A step uses the Hessian where it is positive definite, else the expected one (Fisher
    scoring), and is halved until the likelihood rises inside the positive definite cone.
    """
    at = likelihood.start()
    if at is None:
        return nothing(likelihood, "the model cannot be evaluated at its starting values")
    last = False
    for iteration in range(1, MAX_ITERATIONS + 1):
        gradient, hessian, expected, b = likelihood.derivatives(at)
        step = newton_step(likelihood, at, gradient, hessian)
        sure = step is not None
        if step is None:
            step = newton_step(likelihood, at, gradient, expected)
        if step is None:
            return stuck(likelihood, at, "the information matrix is singular")
        decrement = float(-(gradient @ step))
        if last or (sure and decrement < 1e-20):
            reason = verdict(likelihood, at, sure, decrement)
            return Optimum(at, gradient, hessian, b, iteration, reason)
        moved = search(likelihood, at, step, decrement)
        if moved is None:
            if sure and decrement < 1e-6:  # rounding stops the search at the optimum
                reason = verdict(likelihood, at, sure, 0.0)
                return Optimum(at, gradient, hessian, b, iteration, reason)
            return stuck(likelihood, at, "no step improves the likelihood")
        at = moved
        last = sure and decrement < DECREMENT
    return stuck(likelihood, at, f"no convergence in {MAX_ITERATIONS} iterations")


def newton_step(
    likelihood: Likelihood, at: Point, gradient: Floats, hessian: Floats
) -> Floats | None:
    """Solve for the step in parameters scaled by the current variances; None if not convex."""
    scale = likelihood.scale(at)
    scaled = hessian * scale[:, None] * scale
    try:
        diagonal = np.diagonal(np.linalg.cholesky(scaled))
        if not diagonal.min() >= 1e-7 * diagonal.max():
            return None
        return np.asarray(-scale * np.linalg.solve(scaled, scale * gradient))
    except np.linalg.LinAlgError:
        return None


def search(likelihood: Likelihood, at: Point, step: Floats, decrement: float) -> Point | None:
    """Halve the step until the likelihood improves."""
    slack = 1e-12 * max(1.0, abs(at.value)) if decrement < DECREMENT else 0.0
    size = 1.0
    for _ in range(40):
        new = likelihood.moved(at, size * step)
        if new is not None and new.value <= at.value - 1e-4 * size * decrement + slack:
            return new
        size *= 0.5
    return None


def verdict(likelihood: Likelihood, at: Point, regular: bool, decrement: float) -> str | None:
    """Say why an end point is no estimate, or None."""
    if not regular:
        return "the observed information is not positive definite at the end point"
    if decrement > 1e-6:
        return "the gradient did not vanish"
    if likelihood.conditioning(at) < SINGULAR:
        return "the covariance matrix is singular"
    return likelihood.boundary(at)


def stuck(likelihood: Likelihood, at: Point, reason: str) -> Optimum:
    """Return a failed optimum, naming a covariance that runs into the boundary as such."""
    if likelihood.conditioning(at) < BOUNDARY:
        reason = (
            "the likelihood grows towards a singular covariance matrix "
            "(too few subjects seen at several visits, or visits that repeat each other)"
        )
    return nothing(likelihood, reason)


def nothing(likelihood: Likelihood, reason: str) -> Optimum:
    """Return a failed optimum."""
    p, t = likelihood.patterns.p, likelihood.n_parameters
    m, g = likelihood.patterns.n_visits, likelihood.n_groups
    point = Point(
        np.full((g, m, m), np.nan), np.nan, np.empty((0, m, m)), np.empty((p, p)), np.empty(p + 1)
    )
    return Optimum(point, np.empty(t), np.empty((t, t)), np.empty((t, p, p)), 0, reason)
