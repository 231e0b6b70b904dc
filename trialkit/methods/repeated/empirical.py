r"""Empirical (sandwich) covariance of the coefficients of an MMRM, and its degrees of freedom.

With :math:`V_i^{-1} = L_iL_i'`, :math:`\tilde X_i = L_i'X_i`, :math:`\tilde e_i = L_i'(y_i -
X_i\hat\beta)`, :math:`A = (X'V^{-1}X)^{-1}` and the leverage :math:`H_i = \tilde X_i A \tilde X_i'`
of a subject, the covariance is

.. math:: A \Big\{\sum_i \tilde X_i' K_i \tilde e_i \tilde e_i' K_i \tilde X_i\Big\} A

with :math:`K_i = I` (CR0: Liang and Zeger 1986, Biometrika 73:13; EMPIRICAL in SAS),
:math:`K_i = (I - H_i)^{-1/2}` (CR2, bias-reduced: Bell and McCaffrey 2002, Survey Methodology
28:169) or :math:`K_i = (I - H_i)^{-1}` (CR3, the jackknife of Mancl and DeRouen 2001, Biometrics
57:126). The square root is the symmetric one, so that the choice of :math:`L_i` does not matter.

The variance of a contrast :math:`c` is :math:`\sum_i (p_i'\tilde\varepsilon)^2` with
:math:`p_i = (I - H)_i' K_i \tilde X_i A c`, a quadratic form in errors that have variance one
under the model. Satterthwaite's approximation gives

.. math:: \nu = \Big(\sum_i p_i'p_i\Big)^2 \Big/ \sum_{ij} (p_i'p_j)^2

(Bell and McCaffrey 2002; Pustejovsky and Tipton 2018, J Bus Econ Stat 36:672). As :math:`I - H`
is a projection, :math:`p_i'p_j = \delta_{ij} g_i'g_i - u_i'Au_j` with :math:`g_i = K_i \tilde X_i
A c` and :math:`u_i = \tilde X_i'g_i`, so that no matrix of subjects by subjects is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from trialkit.methods.repeated.likelihood import Point
from trialkit.methods.repeated.patterns import Patterns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SE_METHODS = {
    "model": "model-based SE",
    "cr0": "empirical SE (CR0)",
    "cr2": "empirical SE, bias-reduced (CR2)",
    "cr3": "empirical SE, jackknife (CR3)",
}
#: A leverage nearer to one than this leaves nothing of a residual.
LEVERAGE = 1e-10


@dataclass(frozen=True)
class Rows:
    """The rows of a fit, for what is computed subject by subject.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix.
    y : ndarray, shape (n,)
        Outcome.
    subject, visit : ndarray of int, shape (n,)
        Codes from 0.
    classes : ndarray of int, shape (n,)
        Class of the row's subject, as the sufficient statistics group them.
    weights : ndarray, shape (n,) or None
    terms : ndarray of int, shape (p,) or None
        Term of each coefficient; None counts each alone.
    """

    x: Floats
    y: Floats
    subject: Ints
    visit: Ints
    classes: Ints
    weights: Floats | None = None
    terms: Ints | None = None

    def within(self) -> npt.NDArray[np.bool_]:
        """Tell which coefficients belong to a term that changes within a subject, shape (p,)."""
        order = np.argsort(self.subject, kind="stable")
        x, same = self.x[order], np.diff(self.subject[order]) == 0
        moves = (x[1:] != x[:-1])[same].any(axis=0)
        if self.terms is not None:
            moves = np.isin(self.terms, self.terms[moves])
        return np.asarray(moves)

    def intercept(self) -> npt.NDArray[np.bool_]:
        """Tell which coefficient is the intercept, shape (p,)."""
        return np.asarray((self.x == self.x[:1]).all(axis=0))


class Sandwich:
    """The empirical covariance of the coefficients, in the coordinates of the statistics.

    Parameters
    ----------
    rows : Rows
    patterns : Patterns
    at : Point
        The estimate.
    kind : str
        ``cr0``, ``cr2`` or ``cr3``.
    """

    def __init__(self, rows: Rows, patterns: Patterns, at: Point, kind: str) -> None:
        self.a, self.kind = at.a, kind
        self.alone = False
        r, start, scale = patterns.reduction.r, patterns.reduction.start, patterns.reduction.scale
        root = np.ones(len(rows.y)) if rows.weights is None else np.sqrt(rows.weights)
        x = solve_triangular(r, (rows.x * root[:, None]).T, trans="T").T
        e = (rows.y - rows.x @ start) * root / scale + x @ at.w[:-1]  # w: minus coefficients
        scores, own_x, loaded, owner = [], [], [], []
        count = 0
        for k, members in enumerate(members_of(rows, patterns)):
            seen = np.flatnonzero(patterns.observed[k])
            lower = np.linalg.cholesky(at.inverse[k][np.ix_(seen, seen)])
            mine = lower.T @ x[members]
            held = self.load(mine)
            scores.append(np.einsum("sap,sa->sp", held, e[members] @ lower))
            own_x.append(mine.reshape(-1, mine.shape[2]))
            loaded.append(held.reshape(-1, mine.shape[2]))
            owner.append(np.repeat(np.arange(count, count + len(members)), len(seen)))
            count += len(members)
        score = np.concatenate(scores)
        self.covariance = self.a @ (score.T @ score) @ self.a
        self.x, self.g = np.concatenate(own_x), np.concatenate(loaded)
        self.first = np.flatnonzero(np.diff(np.concatenate(owner), prepend=-1))

    @property
    def failed(self) -> str | None:
        """Why there is no covariance, or None."""
        if self.alone and self.kind == "cr3":
            return "a coefficient rests on one subject alone, so that CR3 is not defined"
        return None

    @property
    def notes(self) -> list[str]:
        """What a reader of the standard errors must know."""
        if self.alone:
            return [
                "a coefficient rests on one subject alone, which the model fits exactly: "
                "empirical standard errors leave that subject's variation out"
            ]
        return []

    def load(self, x: Floats) -> Floats:
        """Return ``K_i x_i`` of the subjects of one pattern, shape (s, a, p)."""
        values, vectors = np.linalg.eigh(np.eye(x.shape[1]) - x @ self.a @ x.swapaxes(1, 2))
        alone = values < LEVERAGE
        self.alone |= bool(alone.any())
        if self.kind == "cr0":
            return x
        power = -0.5 if self.kind == "cr2" else -1.0
        factor = np.where(alone, 0.0, np.where(alone, 1.0, values) ** power)
        return np.asarray(vectors @ (factor[:, :, None] * (vectors.swapaxes(1, 2) @ x)))

    def degrees(self, inner: Floats) -> Floats:
        """Return Satterthwaite's degrees of freedom of each reduced row."""
        out = np.empty(len(inner))
        for i, c in enumerate(inner @ self.a):
            g = self.g @ c
            own = np.add.reduceat(g * g, self.first)
            u = np.add.reduceat(self.x * g[:, None], self.first)
            ua = u @ self.a
            cross = (ua * u).sum(axis=1)
            both = u.T @ ua  # U'U A
            spread = float(own @ own - 2.0 * own @ cross + (both * both.T).sum())
            with np.errstate(divide="ignore", invalid="ignore"):
                out[i] = np.float64((own.sum() - cross.sum()) ** 2) / spread
        return out


def members_of(rows: Rows, patterns: Patterns) -> list[Ints]:
    """Return the rows of each pattern, shape (subjects, visits) each."""
    order = np.lexsort((rows.visit, rows.subject))
    subject = rows.subject[order]
    new = np.diff(subject, prepend=-1) != 0
    rank = np.cumsum(new) - 1
    seen = np.zeros((rank[-1] + 1, patterns.n_visits), dtype=bool)
    seen[rank, rows.visit[order]] = True
    keys = zip(patterns.observed, patterns.group, strict=True)
    place = {(mask.tobytes(), int(group)): k for k, (mask, group) in enumerate(keys)}
    of_subject = zip(seen, rows.classes[order][new], strict=True)
    which = np.array([place[mask.tobytes(), int(group)] for mask, group in of_subject])
    by_pattern = np.argsort(which[rank], kind="stable")
    sizes = (patterns.counts * patterns.observed.sum(axis=1)).astype(np.intp)
    parts = np.split(order[by_pattern], np.cumsum(sizes)[:-1])
    return [p.reshape(-1, int(m.sum())) for p, m in zip(parts, patterns.observed, strict=True)]
