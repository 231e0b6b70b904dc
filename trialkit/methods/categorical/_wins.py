"""Wins, losses and ties between two arms, with their covariance.

A participant's placement is the share of the other arm that he beats, and the share that
beats him. The mean placements are the probabilities of a win and of a loss; their covariance is
that of the placements within the arms, over the sizes of the arms (DeLong ER et al. 1988,
Biometrics 44:837; Brunner E, Munzel U 2000, The nonparametric Behrens-Fisher problem, Biom J
42:17; for wins and losses apart Bebu I, Lachin JM 2016, Large sample inference for a win ratio
analysis of a composite outcome based on prioritized components, Biostatistics 17:178).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wins:
    """Probabilities of a win and of a loss in one stratum, and what varies with them.

    Parameters
    ----------
    n1, n0 : int
        Participants of the arm and of the reference.
    win, loss : float
        Shares of the ``n1 n0`` pairs.
    covariance : ndarray, shape (2 + c, 2 + c)
        Of win, loss and the differences of covariate means.
    parts : tuple of ndarray
        The same from each arm alone; they add up to ``covariance``.
    gaps : ndarray, shape (c,)
        Differences of covariate means, arm less reference.
    """

    n1: int
    n0: int
    win: float
    loss: float
    covariance: Floats
    parts: tuple[Floats, Floats]
    gaps: Floats

    @property
    def weight(self) -> float:
        """Mantel-Haenszel weight: pairs over participants."""
        return self.n1 * self.n0 / (self.n1 + self.n0)


def compare(one: Floats, zero: Floats, x1: Floats, x0: Floats) -> Wins:
    """Compare every participant of an arm with every one of the reference.

    Parameters
    ----------
    one, zero : ndarray, shape (n1,), (n0,)
        Ranks, higher is better; equal ranks tie.
    x1, x0 : ndarray, shape (n1, c), (n0, c)
        Covariates.
    """
    beaten, beating = placements(one, zero)
    lost, won = placements(zero, one)  # the reference's wins are the arm's losses
    win, loss = float(beaten.mean()), float(beating.mean())
    from_one = _covariance(np.column_stack([beaten, beating, x1]))
    from_zero = _covariance(np.column_stack([won, lost, -x0]))
    return Wins(
        len(one),
        len(zero),
        win,
        loss,
        from_one + from_zero,
        (from_one, from_zero),
        x1.mean(axis=0) - x0.mean(axis=0),
    )


def placements(own: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return for each rank the share of the other arm below it, and above it."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, own, side="left") / len(other)
    above = 1.0 - np.searchsorted(ordered, own, side="right") / len(other)
    return below, above


def _covariance(columns: Floats) -> Floats:
    """Return the covariance of column means."""
    return np.asarray(np.atleast_2d(np.cov(columns, rowvar=False)) / len(columns))


@dataclass(frozen=True)
class Pooled:
    """Win and loss over the strata, adjusted for covariates, with covariance and df."""

    win: float
    loss: float
    covariance: Floats
    parts: tuple[Floats, Floats]
    sizes: tuple[int, int]


def pool(strata: list[Wins]) -> Pooled:
    """Average strata with Mantel-Haenszel weights, and adjust for covariates.

    The weights are those of the stratified win ratio of Dong G et al. (2018, The stratified win
    ratio, J Biopharm Stat 28:778): wins and losses of a stratum over its participants. The
    adjustment takes off what the covariate means of the arms, equal by randomisation, explain
    (Koch GG et al. 1998, Stat Med 17:1863; Gasparyan SB et al. 2021, Adjusted win ratio with
    stratification, Stat Methods Med Res 30:580).
    """
    share = np.array([s.weight for s in strata])
    share = share / share.sum()
    total = np.zeros_like(strata[0].covariance)
    arms = [np.zeros_like(total), np.zeros_like(total)]
    mean = np.zeros(len(total))
    for w, s in zip(share, strata, strict=True):
        total += w * w * s.covariance
        for arm, part in zip(arms, s.parts, strict=True):
            arm += w * w * part
        mean += w * np.concatenate([[s.win, s.loss], s.gaps])
    lift = np.eye(2, len(total))
    if len(total) > 2:
        lift[:, 2:] = -np.linalg.solve(total[2:, 2:], total[2:, :2]).T
    win, loss = lift @ mean
    sizes = sum(s.n1 for s in strata), sum(s.n0 for s in strata)
    return Pooled(
        float(win),
        float(loss),
        lift @ total @ lift.T,
        (lift @ arms[0] @ lift.T, lift @ arms[1] @ lift.T),
        sizes,
    )
