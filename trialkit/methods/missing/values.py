r"""Imputed values given parameters of the imputation model.

With the mean :math:`\tilde\mu` and covariance :math:`\tilde\Sigma` of the strategy
(:mod:`trialkit.methods.missing.strategies`), missing given observed outcomes are normal with mean
:math:`\tilde\mu_? + \tilde\Sigma_{?!}\tilde\Sigma_{!!}^{-1}(y_! - \tilde\mu_!)` and covariance
:math:`\tilde\Sigma_{??} - \tilde\Sigma_{?!}\tilde\Sigma_{!!}^{-1}\tilde\Sigma_{!?}`. All observed
outcomes count, those after an event too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialkit.methods.missing import strategies
from trialkit.methods.missing.model import Model
from trialkit.methods.missing.strategies import Strategy

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Cell:
    """Participants who share the covariance and the missing visits.

    Parameters
    ----------
    who : ndarray of int, shape (k,)
    seen, lost : ndarray of int
        Visits observed and missing.
    at : ndarray of int, shape (k, number of missing visits)
        Position of each missing value in the list of all of them.
    """

    who: Ints
    seen: Ints
    lost: Ints
    at: Ints
    strategy: Strategy
    first: int
    group: int
    reference: int


class Imputer:
    """Imputes the missing values of a trial for many parameters at once.

    Parameters
    ----------
    model : Model

    Attributes
    ----------
    where : ndarray of int, shape (number of missing values,)
        Rows of the trial's frame that are imputed.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        trial = model.trial
        missing = trial.missing
        self.where: Ints = np.flatnonzero(missing.ravel()).astype(np.intp)
        order = np.full(missing.size, -1, dtype=np.intp)
        order[self.where] = np.arange(len(self.where))
        place = order.reshape(missing.shape)
        self.offset = model.x["imputed"] @ model.start
        self.x = model.x["imputed"] @ model.back
        observed = np.where(missing, 0.0, trial.y)
        self.y = (observed - self.offset) / model.scale
        one = len(model.weighted.start) == 1
        cells: dict[tuple[object, ...], list[int]] = {}
        for i in np.flatnonzero(missing.any(axis=1)).tolist():
            named = isinstance(trial.strategy[i], str)
            rule: tuple[object, ...] = ()
            if not named:
                rule = (int(i),)
            elif not one:
                rule = (trial.strategy[i], trial.first[i], model.group[i], model.reference_group[i])
            cells.setdefault((missing[i].tobytes(), *rule), []).append(int(i))
        self.cells = []
        for members in cells.values():
            i = members[0]
            who = np.array(members, dtype=np.intp)
            seen, lost = np.flatnonzero(~missing[i]), np.flatnonzero(missing[i])
            self.cells.append(
                Cell(
                    who,
                    seen,
                    lost,
                    place[np.ix_(who, lost)],
                    trial.strategy[i],
                    int(trial.first[i]),
                    int(model.group[i]),
                    int(model.reference_group[i]),
                )
            )

    def means(self, gamma: Floats, sigma: Floats) -> Floats:
        """Return conditional means, shape (B, number of missing values)."""
        return self.values(gamma, sigma, None)

    def values(self, gamma: Floats, sigma: Floats, noise: Floats | None) -> Floats:
        """Return imputed values.

        Parameters
        ----------
        gamma : ndarray, shape (B, p)
        sigma : ndarray, shape (B, G, m, m)
            Parameters in reduced coordinates.
        noise : ndarray, shape (B, number of missing values), optional
            Standard normal numbers; None gives conditional means.
        """
        out = np.empty((len(gamma), len(self.where)))
        scale = self.model.scale
        for cell in self.cells:
            if isinstance(cell.strategy, str):
                own, ref = sigma[:, cell.group], sigma[:, cell.reference]
                cov = strategies.covariance(cell.strategy, own, ref, cell.first)
                if len(self.model.weighted.start) == 1:
                    cov = sigma[:, 0]
                x = self.x[cell.who]
                fitted = (x.reshape(-1, x.shape[-1]) @ gamma[..., None])[..., 0]
                fitted = fitted.reshape(len(gamma), *x.shape[:2])
                offset, y = self.offset[cell.who], self.y[cell.who]
            else:
                fitted, cov, offset, y = self.custom(cell, gamma, sigma)
            slope, spread = conditional(cov, cell.seen, cell.lost)
            rest = y[:, cell.seen] - fitted[..., cell.seen]
            filled = fitted[..., cell.lost] + rest @ slope.swapaxes(-1, -2)
            if noise is not None:
                root = half(spread)
                filled = filled + noise[:, cell.at] @ root.swapaxes(-1, -2)
            out[:, cell.at] = offset[:, cell.lost] + scale * filled
        return out

    def custom(
        self, cell: Cell, gamma: Floats, sigma: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return mean, covariance, offset and outcome of one participant in reduced units."""
        model, i = self.model, int(cell.who[0])
        assert not isinstance(cell.strategy, str)
        beta = model.start + model.scale * gamma @ model.back.T
        own, ref = beta @ model.x["own"][i].T, beta @ model.x["reference"][i].T
        mean, cov = np.empty_like(own), np.empty((len(gamma), *sigma.shape[2:]))
        unit = model.scale**2
        for b in range(len(gamma)):
            got = cell.strategy(
                own[b],
                unit * sigma[b, cell.group],
                ref[b],
                unit * sigma[b, cell.reference],
                cell.first,
            )
            mean[b], cov[b] = got[0], np.asarray(got[1]) / unit
        y = np.where(model.trial.missing[i], 0.0, model.trial.y[i]) / model.scale
        return mean[:, None] / model.scale, cov, np.zeros((1, len(y))), y[None]


def conditional(cov: Floats, seen: Ints, lost: Ints) -> tuple[Floats, Floats]:
    """Return the regression of missing on observed visits, and its residual covariance."""
    across = cov[..., lost[:, None], seen[None, :]]
    inner = cov[..., lost[:, None], lost[None, :]]
    if not len(seen):
        return across, inner
    within = cov[..., seen[:, None], seen[None, :]]
    slope = np.linalg.solve(within, across.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.asarray(slope), np.asarray(inner - slope @ across.swapaxes(-1, -2))


def half(spread: Floats) -> Floats:
    """Return a lower triangle with ``L L' = spread``."""
    return np.asarray(np.linalg.cholesky(0.5 * (spread + spread.swapaxes(-1, -2))))
