"""Newton's method for many data sets at once, with an unstructured covariance.

The sums of all data sets are laid out over every possible missing-data pattern, so that all
have one shape and an iteration is a few operations on stacks of matrices. Each operation
works on the matrices of one data set at a time; the layout depends on the number of visits
alone, and arrays are kept in C order, because the strides decide which routine multiplies. So a
data set gives the same bytes whatever stands beside it. The iterations are those of
:mod:`trialkit.methods.repeated.newton`; a data set that ends in a failure is left to that module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.layout import grid, own_patterns
from trialkit.methods.repeated.likelihood import Optimum, Point, conditioning
from trialkit.methods.repeated.newton import DECREMENT, SINGULAR
from trialkit.methods.repeated.patterns import Patterns, doubling, square, triangle

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Iterations after which a data set is left to the other module.
PATIENCE = 100
#: Times that a step is halved.
HALVINGS = 40


@dataclass(frozen=True)
class Stack:
    """Sums of several data sets, and where each one's iterations stand.

    Parameters
    ----------
    which : ndarray of int, shape (n,)
        Places of the data sets in the list given.
    sums : ndarray, shape (n, E, Q)
    counts : ndarray, shape (n, K)
    sigma : ndarray, shape (n, m, m)
    value : ndarray, shape (n,)
        -2 log-likelihood without its constant.
    inverse : ndarray, shape (n, K, m, m)
    inner : ndarray, shape (n, p, p)
        Inverse information of the coefficients.
    w : ndarray, shape (n, q)
    last : ndarray of bool, shape (n,)
        Whether the next iteration is the last one.
    """

    which: Ints
    sums: Floats
    counts: Floats
    sigma: Floats
    value: Floats
    inverse: Floats
    inner: Floats
    w: Floats
    last: npt.NDArray[np.bool_]

    def keep(self, some: npt.NDArray[np.bool_]) -> Stack:
        """Return some of the data sets."""
        if some.all():
            return self
        return Stack(*(getattr(self, name)[some] for name in self.__dataclass_fields__))


def fit_stack(items: list[Patterns], reml: bool) -> list[Optimum | None]:
    """Fit data sets with the same numbers of visits and of coefficients.

    Returns
    -------
    list of Optimum or None
        None for a data set that this module leaves to the other.
    """
    out: list[Optimum | None] = [None] * len(items)
    stack = begin(items, reml)
    for iteration in range(1, PATIENCE + 1):
        if not len(stack.which):
            break
        gradient, hessian, b = derivatives(stack, reml)
        step, sure = newton_steps(stack, gradient, hessian)
        able = sure.copy()
        if not sure.all():
            scoring, sound = newton_steps(
                stack.keep(~sure), gradient[~sure], expected(stack)[~sure]
            )
            step[~sure], able[~sure] = scoring, sound
        decrement = -(gradient * step).sum(axis=1)
        done = able & (stack.last | (sure & (decrement < 1e-20)))
        for i in np.flatnonzero(done & sure & (decrement <= 1e-6)).tolist():
            out[stack.which[i]] = optimum(items, stack, i, gradient, hessian, b, iteration)
        go = able & ~done
        stack = move(stack.keep(go), step[go], decrement[go], sure[go], reml)
    return out


def begin(items: list[Patterns], reml: bool) -> Stack:
    """Lay the sums out and evaluate at the better of two starting values."""
    m, q = items[0].n_visits, items[0].p + 1
    all_ = grid(m)
    sums = np.zeros((len(items), len(all_.k), q * (q + 1) // 2))
    counts = np.zeros((len(items), len(all_.observed)))
    for i, each in enumerate(items):
        place = own_patterns(each)
        k, a, b = each.entry
        sums[i, all_.row[place[k], a, b]] = each.sums
        counts[i, place] = each.counts
    products = np.concatenate([each.residual_covariance() for each in items])
    variances = np.maximum(np.diagonal(products, axis1=1, axis2=2), 1e-8)
    alone = variances[:, :, None] * np.eye(m)
    every = np.arange(len(items))
    first, fine = evaluate(every, sums, counts, alone, reml)
    second, regular = evaluate(every, sums, counts, products, reml)
    better = regular & (~fine | (second.value < first.value))
    names = ("sigma", "value", "inverse", "inner", "w")
    chosen = {
        name: np.where(
            better.reshape(-1, *[1] * (getattr(first, name).ndim - 1)),
            getattr(second, name),
            getattr(first, name),
        )
        for name in names
    }
    return replace(first, **chosen).keep(fine | regular)


def evaluate(
    which: Ints, sums: Floats, counts: Floats, sigma: Floats, reml: bool
) -> tuple[Stack, npt.NDArray[np.bool_]]:
    """Evaluate the likelihoods, and tell where they exist."""
    m, q = sigma.shape[1], int(np.sqrt(2 * sums.shape[2]))
    all_ = grid(m)
    regular = guarded(np.linalg.cholesky, sigma)[1]
    sigma = np.where(regular[:, None, None], sigma, np.eye(m))
    mask = all_.observed[:, :, None] & all_.observed[:, None, :]
    v = np.where(mask, sigma[:, None], np.eye(m))
    inverse, sane = guarded(np.linalg.inv, v)
    inverse = np.where(mask, inverse, 0.0)
    inverse = 0.5 * (inverse + inverse.swapaxes(2, 3))
    logdet = np.linalg.slogdet(v)[1]
    at = np.take(inverse.reshape(len(which), -1), all_.flat, axis=1)
    moments = np.take((at[:, None, :] @ sums)[:, 0], square(q), axis=1)
    factor, sound = guarded(np.linalg.cholesky, moments[:, :-1, :-1])
    half, whole = guarded(np.linalg.inv, factor)
    inner = half.swapaxes(1, 2) @ half
    beta = (inner @ moments[:, :-1, -1:])[:, :, 0]
    w = np.concatenate([-beta, np.ones((len(beta), 1))], axis=1)
    value = (counts * logdet).sum(axis=1) + (w * (moments @ w[:, :, None])[:, :, 0]).sum(axis=1)
    if reml:
        value = value + 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    last = np.zeros(len(which), dtype=bool)
    stack = Stack(which, sums, counts, sigma, value, inverse, inner, w, last)
    return stack, regular & sane & sound & whole & np.isfinite(value)


def guarded(
    function: Callable[[Floats], Any], matrices: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Apply a function of a stack of matrices; where it has no value, give the identity."""
    fine = np.ones(len(matrices), dtype=bool)
    try:
        return np.asarray(function(matrices), dtype=np.float64), fine
    except np.linalg.LinAlgError:
        out = np.broadcast_to(np.eye(matrices.shape[-1]), matrices.shape).copy()
    for i, each in enumerate(matrices):
        try:
            out[i] = function(each)
        except np.linalg.LinAlgError:
            fine[i] = False
    return out, fine


def derivatives(stack: Stack, reml: bool) -> tuple[Floats, Floats, Floats]:
    """Return gradients, Hessians and ``b`` matrices; formulas in ``likelihood``."""
    n, m, q = len(stack.which), stack.sigma.shape[1], stack.w.shape[1]
    all_, (c, d) = grid(m), triangle(m)
    rows = stack.inverse.reshape(n, -1, m)
    left, right = (np.take(rows, line, axis=1) for line in all_.lines)
    loads = np.take(left, c, axis=2) * np.take(right, d, axis=2)
    loads += np.take(left, d, axis=2) * np.take(right, c, axis=2) * (c != d)
    cross = np.take(loads.swapaxes(1, 2) @ stack.sums, square(q), axis=2)
    b = np.ascontiguousarray(cross[:, :, :-1, :-1])
    side = np.ascontiguousarray((cross @ stack.w[:, None, :, None])[:, :, :-1, 0])
    weight = stack.w[:, :, None] * stack.w[:, None, :]
    if reml:
        weight[:, :-1, :-1] += stack.inner
    i, j = triangle(q)
    packed = doubling(q) * np.take(weight.reshape(n, -1), i * q + j, axis=1)
    pair = (stack.sums @ packed[:, :, None])[:, :, 0] * all_.share
    squares = np.zeros_like(stack.inverse)
    squares[:, all_.k, all_.a, all_.b] = pair
    squares[:, all_.k, all_.b, all_.a] = pair
    load = stack.inverse @ squares @ stack.inverse
    weighted = stack.counts[:, :, None, None] * stack.inverse
    total = (weighted - load).sum(axis=1)
    gradient = (total.reshape(n, 1, m * m) @ all_.spread)[:, 0]
    hessian = quadratic(stack.inverse, 2.0 * load - weighted)
    hessian -= 2.0 * side @ stack.inner @ side.swapaxes(1, 2)
    if reml:
        ab = stack.inner[:, None] @ b
        flat, turned = (each.reshape(n, len(c), -1) for each in (ab, ab.swapaxes(2, 3)))
        hessian -= flat @ turned.swapaxes(1, 2)
    return gradient, 0.5 * (hessian + hessian.swapaxes(1, 2)), b


def quadratic(f: Floats, g: Floats) -> Floats:
    """Return ``sum_k tr(D_i F_k D_j G_k)``, shape (n, t, t)."""
    n, _, m, _ = f.shape
    spread = grid(m).spread
    both = f.reshape(n, -1, m * m).swapaxes(1, 2) @ g.reshape(n, -1, m * m)
    both = both.reshape(n, m, m, m, m).transpose(0, 4, 1, 2, 3).reshape(n, m * m, m * m)
    out = spread.T @ both @ spread
    return np.asarray(0.5 * (out + out.swapaxes(1, 2)))


def expected(stack: Stack) -> Floats:
    """Return the expected Hessians."""
    return quadratic(stack.inverse, stack.counts[:, :, None, None] * stack.inverse)


def newton_steps(
    stack: Stack, gradient: Floats, hessian: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Solve for the steps, and tell which Hessians are positive definite."""
    c, d = triangle(stack.sigma.shape[1])
    size = np.sqrt(np.diagonal(stack.sigma, axis1=1, axis2=2))
    scale = size[:, c] * size[:, d]
    scaled = hessian * scale[:, :, None] * scale[:, None, :]
    factor, convex = guarded(np.linalg.cholesky, scaled)
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    convex = convex & (diagonal.min(axis=1) >= 1e-7 * diagonal.max(axis=1))
    scaled = np.where(convex[:, None, None], scaled, np.eye(len(c)))
    inverse, solved = guarded(np.linalg.inv, scaled)
    return -scale * (inverse @ (scale * gradient)[:, :, None])[:, :, 0], convex & solved


def move(
    stack: Stack, step: Floats, decrement: Floats, sure: npt.NDArray[np.bool_], reml: bool
) -> Stack:
    """Step, by halves where a full step does not improve the likelihood; leave out the stuck."""
    m = stack.sigma.shape[1]
    change = (step[:, None, :] @ grid(m).spread.T)[:, 0].reshape(-1, m, m)
    slack = np.where(decrement < DECREMENT, 1e-12 * np.maximum(1.0, np.abs(stack.value)), 0.0)
    last = sure & (decrement < DECREMENT)
    moved: list[Stack] = []
    waiting, size = np.ones(len(step), dtype=bool), 1.0
    for _ in range(HALVINGS):
        at = np.flatnonzero(waiting)
        if not len(at):
            break
        here = stack.keep(waiting)
        sigma = here.sigma + size * change[at]
        new, regular = evaluate(here.which, here.sums, here.counts, sigma, reml)
        with np.errstate(invalid="ignore"):
            good = regular & (new.value <= here.value - 1e-4 * size * decrement[at] + slack[at])
        moved.append(replace(new, last=last[at]).keep(good))
        waiting[at[good]] = False
        size *= 0.5
    return joined(moved) if moved else stack


def joined(stacks: list[Stack]) -> Stack:
    """Put stacks together in the order of the data sets."""
    if len(stacks) == 1:
        return stacks[0]
    names = list(Stack.__dataclass_fields__)
    order = np.argsort(np.concatenate([each.which for each in stacks]), kind="stable")
    return Stack(
        *(np.concatenate([getattr(each, name) for each in stacks])[order] for name in names)
    )


def optimum(
    items: list[Patterns],
    stack: Stack,
    i: int,
    gradient: Floats,
    hessian: Floats,
    b: Floats,
    iteration: int,
) -> Optimum | None:
    """Return the fit of one data set in the layout of its own patterns."""
    place = own_patterns(items[stack.which[i]])
    sigma = stack.sigma[i][None]
    if conditioning(sigma) < SINGULAR:
        return None
    point = Point(sigma, float(stack.value[i]), stack.inverse[i][place], stack.inner[i], stack.w[i])
    return Optimum(point, gradient[i], hessian[i], b[i], iteration, None)
