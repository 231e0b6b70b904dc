r"""Posterior draws of the imputation model: multivariate normal data with missing values.

The prior is flat in the coefficients and inverse Wishart in each covariance, with
:math:`\nu = m + 2` degrees of freedom and the REML (or ML) estimate as scale matrix, so that the
estimate is the prior mean; this is the prior of rbmi and of the SAS "five macros" (statistical
specifications of rbmi, section "Bayesian model fitting"). A sweep of the Gibbs sampler draws

1. coefficients given :math:`\Sigma` and the observed outcomes (generalised least squares, the
   missing outcomes integrated out),
2. missing outcomes given both (so that 1 and 2 are one joint draw),
3. :math:`\Sigma` given all, inverse Wishart (Schafer 1997, Analysis of Incomplete Multivariate
   Data, section 5.4, for data augmentation).

Each imputation takes the end of its own chain, started at a random covariance around the
estimate; imputations are independent, nothing is thinned, and imputation ``i`` depends on the
seed and ``i`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods.missing.refit import Weighted

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Chains that run together; always a whole chunk, so that bytes do not depend on their number.
CHUNK = 50


@dataclass(frozen=True)
class Chains:
    """Draws, one a chain.

    Parameters
    ----------
    gamma : ndarray, shape (n, p)
    sigma : ndarray, shape (n, G, m, m)
        In reduced coordinates.
    diagnostics : DataFrame
        One row a covariance parameter: mean and SD over the chains, autocorrelation at lag 1,
        correlation of the end with the start, and the shift of the mean in the second half of
        the burn-in in units of its standard error.
    """

    gamma: Floats
    sigma: Floats
    diagnostics: pd.DataFrame


def stream(seed: int, i: int, attempt: int = 0) -> np.random.Generator:
    """Return the random numbers of imputation ``i``."""
    key = (i,) if not attempt else (i, attempt)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class Sampler:
    """The Gibbs sampler.

    Parameters
    ----------
    model : Weighted
        The likelihood; its full-data estimate is the prior's scale matrix.
    """

    def __init__(self, model: Weighted) -> None:
        self.model = model
        self.prior = model.m + 2.0
        rows = model.rows()
        group = model.group[model.which]
        self.subjects = np.array(
            [int((rows.any(axis=1) & (group == g)).sum()) for g in range(model.n_groups)]
        )
        full = np.asarray(model.observed.all(axis=1))
        self.whole = np.flatnonzero(full[model.entry[0]])
        whole = model.entry[:, self.whole]
        spread = np.zeros((len(self.whole), model.n_groups, model.m, model.m))
        for e, (k, a, b) in enumerate(whole.T):
            spread[e, model.group[k], [a, b], [b, a]] = 1.0 if a == b else 0.5
        self.spread: Floats = spread.reshape(len(self.whole), -1)
        self.partial: list[tuple[Floats, Ints, Ints, int, slice]] = []
        used = 0
        for k, seen in enumerate(model.observed):
            who = np.flatnonzero(model.which == k)
            if seen.all() or not seen.any():
                continue
            at_seen, lost = np.flatnonzero(seen), np.flatnonzero(~seen)
            at = slice(used, used + len(who) * len(lost))
            used = at.stop
            z = np.ascontiguousarray(model.z[who][:, at_seen].reshape(-1, model.q).T)
            self.partial.append((z, at_seen, lost, int(model.group[k]), at))
        self.noise = used
        self.below = np.tril_indices(model.m, -1)
        self.low = len(self.below[0])
        pairs = np.einsum("ka,kb,k->ab", model.observed, model.observed, model.all)
        self.start_df = float(max(pairs.min() / model.n_groups, 1.0) + self.prior)

    def draw(self, n: int, seed: int, burn: int) -> Chains:
        """Run ``n`` chains of ``burn`` sweeps."""
        parts, track = [], []
        for first in range(0, n, CHUNK):
            gamma, sigma, seen = self.run(seed, first, burn)
            parts.append((gamma, sigma))
            track.append(seen)
        gamma = np.concatenate([g for g, _ in parts])[:n]
        sigma = np.concatenate([s for _, s in parts])[:n]
        return Chains(gamma, sigma, self.diagnose(np.concatenate(track, axis=1)))

    def run(self, seed: int, first: int, burn: int) -> tuple[Floats, Floats, Floats]:
        """Run one chunk; return draws and the covariances at four times, shape (4, CHUNK, t)."""
        model = self.model
        g, m, p = model.n_groups, model.m, model.q - 1
        width = p + self.noise + g * self.low
        normal = np.empty((burn + 1, CHUNK, width))
        chi = np.empty((burn + 1, CHUNK, g, m))
        ladder = np.arange(m)
        df = np.empty((burn + 1, g, m))
        df[0] = self.start_df - ladder
        df[1:] = (self.prior + self.subjects)[:, None] - ladder
        for c in range(CHUNK):
            random = stream(seed, first + c)
            normal[:, c] = random.standard_normal((burn + 1, width))
            chi[:, c] = random.chisquare(df)
        start = (self.start_df - m - 1.0) * model.start
        sigma = self.wishart(np.broadcast_to(start, (CHUNK, *start.shape)), chi[0], normal[0])
        track = [sigma]
        for sweep in range(1, burn + 1):
            w = self.coefficients(sigma, normal[sweep, :, :p])
            squares = self.squares(sigma, w, normal[sweep, :, p : p + self.noise])
            sigma = self.wishart(squares + model.start, chi[sweep], normal[sweep])
            if sweep in (max(1, burn // 2), burn - 1, burn):
                track.append(sigma)
        while len(track) < 4:  # very short chains
            track.insert(1, track[1])
        w = self.coefficients(sigma, normal[0, :, :p])
        seen = np.stack([each[..., model.c, model.d].reshape(CHUNK, -1) for each in track[-4:]])
        return -w[:, :-1], sigma, seen

    def coefficients(self, sigma: Floats, normal: Floats) -> Floats:
        """Draw coefficients given the covariances and the observed outcomes."""
        model = self.model
        inverse = model.inverses(model.padded(sigma))
        k, a, b = model.entry
        moments = model.shape.unpack(inverse[:, k, a, b] @ model.total)
        root = np.linalg.cholesky(moments[:, :-1, :-1])
        half = np.linalg.inv(root)
        gamma = (half.swapaxes(-1, -2) @ (half @ moments[:, :-1, -1:] + normal[..., None]))[..., 0]
        return np.concatenate([-gamma, np.ones((len(gamma), 1))], axis=1)

    def squares(self, sigma: Floats, w: Floats, normal: Floats) -> Floats:
        """Return the sums of squared residuals after drawing the missing outcomes."""
        model = self.model
        weight = model.shape.pack(w[:, :, None] * w[:, None, :])
        value = weight @ model.total[self.whole].T
        out = (value @ self.spread).reshape(sigma.shape)
        for z, seen, lost, g, at in self.partial:
            cov = sigma[:, g]
            across = cov[:, lost[:, None], seen]
            slope = np.linalg.solve(cov[:, seen[:, None], seen], across.swapaxes(-1, -2))
            spread = cov[:, lost[:, None], lost] - across @ slope
            root = np.linalg.cholesky(0.5 * (spread + spread.swapaxes(-1, -2)))
            jump = normal[:, at].reshape(len(w), -1, len(lost)) @ root.swapaxes(-1, -2)
            residual = np.empty((*jump.shape[:2], model.m))
            known = (w @ z).reshape(len(w), -1, len(seen))
            residual[..., seen] = known
            residual[..., lost] = known @ slope + jump
            out[:, g] += residual.swapaxes(-1, -2) @ residual
        return np.asarray(out)

    def wishart(self, scale: Floats, chi: Floats, normal: Floats) -> Floats:
        """Draw inverse Wishart matrices by Bartlett's decomposition.

        Parameters
        ----------
        scale : ndarray, shape (B, G, m, m)
        chi : ndarray, shape (B, G, m)
            Chi-square numbers with falling degrees of freedom.
        normal : ndarray, shape (B, at least G * m * (m - 1) / 2)
            The last ones are used.
        """
        g, m = self.model.n_groups, self.model.m
        lower = np.zeros((len(scale), g, m, m))
        index = np.arange(m)
        lower[..., index, index] = np.sqrt(chi)
        if self.low:
            part = normal[:, normal.shape[1] - g * self.low :].reshape(len(scale), g, self.low)
            lower[..., *self.below] = part
        half = np.linalg.solve(lower, np.linalg.cholesky(scale).swapaxes(-1, -2))
        return np.asarray(half.swapaxes(-1, -2) @ half)

    def diagnose(self, track: Floats) -> pd.DataFrame:
        """Summarise how well the chains mix."""
        start, middle, before, end = track
        n = len(end)

        def correlation(a: Floats, b: Floats) -> Floats:
            a, b = a - a.mean(axis=0), b - b.mean(axis=0)
            scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
            return np.asarray((a * b).sum(axis=0) / scale)

        shift = (end - middle).mean(axis=0) / ((end - middle).std(axis=0, ddof=1) / np.sqrt(n))
        model = self.model
        names = [
            (g, int(a), int(b))
            for g in range(model.n_groups)
            for a, b in zip(model.c, model.d, strict=True)
        ]
        out = pd.DataFrame(names, columns=["group", "row", "column"])
        out["mean"], out["sd"] = end.mean(axis=0), end.std(axis=0, ddof=1)
        out["autocorrelation"] = correlation(before, end)
        out["start"] = correlation(start, end)
        out["shift"] = shift
        return out
