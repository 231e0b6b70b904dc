"""The search of :mod:`trialkit.methods.missing.refit`: Newton's method over many samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trialkit.methods.missing.refit import State, Weighted
    from trialkit.methods.missing.sums import Sums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

#: A step that leaves more than this share of the decrement asks for a new Hessian.
SLOW = 1e-2
#: Newton decrement, in units of -2 log-likelihood, below which one last step is taken.
DECREMENT = 1e-15
MAX_ITERATIONS = 60
#: Smallest eigenvalue of a fitted correlation matrix that is still called regular.
SINGULAR = 1e-7


def climb(
    model: Weighted, sums: Sums, counts: Floats, wanted: Bools, failed: list[str | None]
) -> tuple[Floats, Floats]:
    """Return coefficients, shape (B, p), and covariances, shape (B, G, m, m).

    Samples that are not wanted or have failed are left at the full-data estimate.
    """
    size = len(counts)
    sigma = np.repeat(model.start[None], size, axis=0)
    gamma = np.repeat(model.full.gamma, size, axis=0)
    share = counts.sum(axis=1) / model.all.sum()
    hessian = model.hessian * share[:, None, None]
    previous = np.full(size, np.inf)
    live = np.flatnonzero(wanted & np.array([f is None for f in failed]))
    part = sums.take(live)
    at = model.evaluate(sigma[live], part, counts[live])
    for _ in range(MAX_ITERATIONS):
        if not len(live):
            break
        gradient = model.derivatives(at, part, counts[live], False)[0]
        step, good = descend(hessian[live], gradient, sigma[live])
        decrement = -(gradient * step).sum(axis=1)
        slow = (decrement > SLOW * previous[live]) & (decrement > DECREMENT)
        slow |= ~good
        if slow.any():
            mine = live[slow]
            hessian[mine] = own_hessian(model, at.take(slow), sums.take(mine), counts[mine])
            again, fine = descend(hessian[mine], gradient[slow], sigma[mine])
            step[slow], good[slow] = again, fine
            decrement[slow] = -(gradient[slow] * again).sum(axis=1)
        for s in live[~good]:
            failed[s] = "the information matrix is singular"
        last = good & (decrement < DECREMENT)
        moved, sigma[live] = search(model, sigma[live], at, step, decrement, part, counts[live])
        for s in live[good & ~last & ~moved]:
            failed[s] = "no step improves the likelihood"
        previous[live] = decrement
        if last.any():
            done = live[last]
            gamma[done] = -at.w[last, :-1]
            for s in done[regularity(sigma[done]) < SINGULAR]:
                failed[s] = "the covariance matrix is singular"
        more = good & ~last & moved
        if not more.all():
            live, at = live[more], at.take(more)
            part = sums.take(live)
    for s in live:
        failed[s] = f"no convergence in {MAX_ITERATIONS} iterations"
    return gamma, sigma


def descend(hessian: Floats, gradient: Floats, sigma: Floats) -> tuple[Floats, Bools]:
    """Return Newton steps and whether their Hessians are positive definite.

    Parameters are scaled by the current variances, so that units do not matter.
    """
    m = sigma.shape[-1]
    c, d = np.triu_indices(m)
    size = np.sqrt(np.diagonal(sigma, axis1=-2, axis2=-1))
    scale = (size[..., c] * size[..., d]).reshape(len(sigma), -1)
    scaled = hessian * scale[:, :, None] * scale[:, None, :]
    try:
        root = np.linalg.cholesky(scaled)
        sizes = np.diagonal(root, axis1=-2, axis2=-1)
        regular = (sizes.min(axis=1) > 1e-4 * sizes.max(axis=1)).all()
    except np.linalg.LinAlgError:
        regular = False
    if regular:
        step = np.linalg.solve(scaled, (scale * gradient)[..., None])[..., 0]
        return -scale * step, np.ones(len(sigma), dtype=bool)
    values, vectors = np.linalg.eigh(scaled)
    good = values[:, 0] > 1e-12 * np.abs(values[:, -1])
    values = np.where(good[:, None], values, 1.0)
    turned = vectors.swapaxes(-1, -2) @ (scale * gradient)[..., None]
    return -scale * (vectors @ (turned / values[..., None]))[..., 0], good


def own_hessian(model: Weighted, at: State, sums: Sums, counts: Floats) -> Floats:
    """Return the observed Hessian where it is positive definite, else the expected one."""
    _, observed, expected = model.derivatives(at, sums, counts, True)
    convex = np.linalg.eigvalsh(observed)[:, 0] > 0.0
    return np.where(convex[:, None, None], observed, expected)


def search(
    model: Weighted,
    sigma: Floats,
    now: State,
    step: Floats,
    decrement: Floats,
    sums: Sums,
    counts: Floats,
) -> tuple[Bools, Floats]:
    """Halve steps until the likelihood improves; tell which moved, and to where.

    ``now`` is the state at ``sigma`` and is moved along.
    """
    move = model.matrices(step)
    size = np.ones(len(sigma))
    out = sigma.copy()
    open_ = np.isfinite(step).all(axis=1) & (decrement >= 0.0)
    moved = np.zeros(len(sigma), dtype=bool)
    value = now.value.copy()
    slack = np.where(decrement < 1e-6, 1e-11 * np.maximum(1.0, np.abs(value)), 0.0)
    for _ in range(40):
        at = np.flatnonzero(open_)
        if not len(at):
            break
        trial = sigma[at] + size[at, None, None, None] * move[at]
        part = sums if len(at) == len(sigma) else sums.take(at)
        new = model.evaluate(trial, part, counts[at])
        bound = value[at] - 1e-4 * size[at] * decrement[at] + slack[at]
        fine = new.ok & (new.value <= bound)
        out[at[fine]] = trial[fine]
        now.put(at[fine], new.take(fine))
        moved[at[fine]] = True
        open_[at[fine]] = False
        size[at] *= 0.5
    return moved, out


def regularity(sigma: Floats) -> Floats:
    """Return the smallest eigenvalue of the correlation matrices of each sample."""
    size = np.sqrt(np.diagonal(sigma, axis1=-2, axis2=-1))
    scaled = sigma / (size[..., :, None] * size[..., None, :])
    return np.asarray(np.linalg.eigvalsh(scaled)[..., 0].min(axis=1))
