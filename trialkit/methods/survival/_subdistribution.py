"""The weighted partial likelihood of Fine and Gray on sorted arrays, by cumulative sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._risk import product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

MONOTONE = "monotone likelihood: a subdistribution hazard ratio runs to zero or infinity"


@dataclass(frozen=True)
class Subdistribution:
    """Data of one Fine-Gray model, sorted by time, columns standardised.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Rising.
    kind : ndarray of int, shape (n,)
        0 censored, 1 event of interest, 2 competing event.
    pool : ndarray of int, shape (n,)
        Which censoring distribution the participant has.
    x : ndarray, shape (n, p)
        Centred columns over `scale`.
    scale : ndarray, shape (p,)
    moments, deaths : ndarray, shape (m,)
        Distinct times of the event of interest, and their numbers.
    own : ndarray, shape (n,)
        Chance of not being censored before the participant's own time.
    later : ndarray, shape (g, m)
        The same before each moment, in each pool.
    first : ndarray of int, shape (m,)
        How many participants have a time below each moment.
    """

    time: Floats
    kind: Ints
    pool: Ints
    x: Floats
    scale: Floats
    moments: Floats
    deaths: Floats
    own: Floats
    later: Floats
    first: Ints

    @classmethod
    def of(cls, times: Floats, kind: Ints, pool: Ints, x: Floats) -> Subdistribution:
        """Sort the data and estimate the censoring distribution."""
        order = np.argsort(times, kind="stable")
        times, kind, pool, x = times[order], kind[order], pool[order], x[order]
        spread = x.std(axis=0)
        scale = np.where(spread > 0.0, spread, 1.0)
        moments, deaths = np.unique(times[kind == 1], return_counts=True)
        groups = int(pool.max(initial=0)) + 1
        own, later = np.ones(len(times)), np.ones((groups, len(moments)))
        for g in range(groups):
            mine = pool == g
            if mine.any():
                knots, left = censoring_curve(times[mine], kind[mine])
                own[mine] = left[np.searchsorted(knots, times[mine])]
                later[g] = left[np.searchsorted(knots, moments)]
        return cls(
            time=times,
            kind=kind,
            pool=pool,
            x=(x - x.mean(axis=0)) / scale,
            scale=scale,
            moments=moments,
            deaths=deaths.astype(np.float64),
            own=own,
            later=later,
            first=np.searchsorted(times, moments).astype(np.intp),
        )

    def sums(self, values: Floats, risk: Floats) -> Floats:
        """Sum ``risk * values`` over the weighted risk set at each moment, shape (m, ...)."""
        weighted = values * risk.reshape(-1, *(1,) * (values.ndim - 1))
        whole = np.concatenate([weighted[::-1].cumsum(axis=0)[::-1], weighted[:1] * 0.0])
        out = whole[self.first]
        for g, later in enumerate(self.later):
            mine = (self.kind == 2) & (self.pool == g)
            part = weighted * (mine / self.own).reshape(-1, *(1,) * (values.ndim - 1))
            past = np.concatenate([part[:1] * 0.0, part.cumsum(axis=0)])[self.first]
            out = out + past * later.reshape(-1, *(1,) * (values.ndim - 1))
        return np.asarray(out)

    def evaluate(self, beta: Floats) -> tuple[float, Floats, Floats]:
        """Return log partial likelihood, score and information."""
        line = self.x @ beta
        top = float(line.max(initial=0.0))
        risk = np.exp(line - top)
        products = self.x[:, :, None] * self.x[:, None, :]
        s0 = self.sums(np.ones(len(risk)), risk)
        mean = self.sums(self.x, risk) / s0[:, None]
        square = self.sums(products, risk) / s0[:, None, None]
        events = self.kind == 1
        value = float(line[events].sum() - self.deaths @ (np.log(s0) + top))
        score = self.x[events].sum(axis=0) - self.deaths @ mean
        information = np.einsum("k,kij->ij", self.deaths, square)
        information -= (mean * self.deaths[:, None]).T @ mean
        return value, score, information

    def maximise(self) -> Floats | str:
        """Return the coefficients of the standardised columns, or why there are none."""
        beta = np.zeros(self.x.shape[1])
        value, score, information = self.evaluate(beta)
        start = np.diagonal(information).copy()
        for _ in range(60):
            if not (np.diagonal(information) > 1e-7 * start).all() or np.abs(beta).max() > 25.0:
                return MONOTONE
            try:
                step = np.linalg.solve(information, score)
            except np.linalg.LinAlgError:
                return "the information is singular"
            gain = float(step @ score)
            for _ in range(30):
                trial = self.evaluate(beta + step)
                if trial[0] >= value - 1e-12 * abs(value):
                    break
                step = step / 2.0
            beta = beta + step
            value, score, information = trial
            if gain <= 1e-10:  # the steps converge quadratically: the next would change no digit
                return beta
        return "the partial likelihood did not converge in 60 steps"

    def residuals(self, beta: Floats, *, psi: bool) -> Floats:
        """Return each participant's part of the score, shape (n, p).

        Parameters
        ----------
        psi : bool
            Whether to add the part that comes from the estimated weights.
        """
        line = self.x @ beta
        risk = np.exp(line - float(line.max(initial=0.0)))
        s0 = self.sums(np.ones(len(risk)), risk)
        mean = self.sums(self.x, risk) / s0[:, None]
        jump = self.deaths / s0
        upto = np.searchsorted(self.moments, self.time, side="right")
        total, moment = _padded(jump), _padded(mean * jump[:, None])
        out = -risk[:, None] * (self.x * total[upto][:, None] - moment[upto])
        events = self.kind == 1
        out[events] += self.x[events] - mean[np.searchsorted(self.moments, self.time[events])]
        for g, later in enumerate(self.later):
            inside = self.pool == g
            mine = np.flatnonzero(inside & (self.kind == 2))
            a, b = _padded(later * jump), _padded(mean * (later * jump)[:, None])
            a, b = a[-1] - a, b[-1] - b  # sums over the moments that follow
            weight = risk[mine] / self.own[mine]
            ahead = upto[mine]
            out[mine] -= weight[:, None] * (self.x[mine] * a[ahead][:, None] - b[ahead])
            if psi:
                out[inside] += self._psi(np.flatnonzero(inside), mine, weight, a, b)
        return np.asarray(out)

    def _psi(self, inside: Ints, mine: Ints, weight: Floats, a: Floats, b: Floats) -> Floats:
        """Return what the estimated censoring distribution of one pool adds."""
        times, kinds = self.time[inside], self.kind[inside]
        knots, censored, exposed = censoring_counts(times, kinds)
        behind = np.searchsorted(self.time[mine], knots, side="right")
        ahead = np.searchsorted(self.moments, knots, side="right")
        zero, one = _padded(weight)[behind], _padded(weight[:, None] * self.x[mine])[behind]
        q = one * a[ahead][:, None] - zero[:, None] * b[ahead]
        q = q / exposed[:, None]
        drift = _padded(q * (censored / exposed)[:, None])
        # under observation for censoring at a time: later times, and censoring at it
        last = np.searchsorted(knots, times, side="left") + (kinds == 0)
        out = -drift[last]
        left = kinds == 0
        out[left] += q[np.searchsorted(knots, times[left])]
        return np.asarray(out)


def censoring_counts(times: Floats, kind: Ints) -> tuple[Floats, Floats, Floats]:
    """Return the times of censoring, their numbers, and those exposed; events come first."""
    table = risk_table(times, np.zeros(len(times), np.intp), np.minimum(kind, 1), 1)
    censored = table.counts[:, 0, 0]
    some = censored > 0.0
    return table.time[some], censored[some], (table.at_risk[:, 0] - table.counts[:, 0, 1])[some]


def censoring_curve(times: Floats, kind: Ints) -> tuple[Floats, Floats]:
    """Return the times of censoring and the chance of being uncensored before each.

    The second array has one more value: that after the last time.
    """
    knots, censored, exposed = censoring_counts(times, kind)
    return knots, np.append(1.0, product_limit(censored, exposed))


def _padded(values: Floats) -> Floats:
    """Return cumulative sums along the first axis, with a zero in front."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(axis=0)])
