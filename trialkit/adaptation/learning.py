"""Iterative learning: the torque over the gait cycle improves from stride to stride."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.errors import UsageError

Floats = NDArray[np.float64]


def learn(
    torque: ArrayLike,
    error: ArrayLike,
    *,
    gain: float,
    lead: float,
    forget: float = 0.95,
    harmonics: int = 8,
) -> Floats:
    """Return the torque of the next stride, ``u(k+1) = Q[u(k) + L e(k, phi + lead)]``.

    Q keeps the mean and the first `harmonics` of the cycle and multiplies them by `forget`, so
    that what is no longer needed fades.

    Parameters
    ----------
    torque, error : (points,) arrays
        Feedforward torque (N.m) and error reference - measured (rad) at even phases of a stride.
    gain : float
        L, N.m/rad.
    lead : float
        Share of the cycle by which the error is read ahead, for the delay of the leg.
    forget : float
        0 to 1 (0.9 to 0.98 are start values).
    harmonics : int
        At most half the points.

    Raises
    ------
    UsageError
        If the vectors differ in length, or `forget` or `harmonics` is out of range.

    Notes
    -----
    See ``SOURCES["iterative_learning"]``; `learning_factor` tells whether it converges.
    """
    u, e = np.asarray(torque, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if u.shape != e.shape or u.ndim != 1 or not 0 <= forget <= 1:
        raise UsageError(
            f"torque {u.shape}, error {e.shape}, forget={forget:g}.",
            remedy="Give two vectors of one length, and forget from 0 to 1.",
        )
    if not 0 <= harmonics <= len(u) // 2:
        raise UsageError(f"harmonics={harmonics}.", remedy=f"Give at most {len(u) // 2}.")
    order = np.arange(len(u) // 2 + 1)
    ahead = np.fft.rfft(e) * np.exp(2j * np.pi * order * lead)
    spectrum = np.where(order <= harmonics, forget * (np.fft.rfft(u) + gain * ahead), 0.0)
    following: Floats = np.fft.irfft(spectrum, n=len(u))
    return following


def learning_factor(
    plant: ArrayLike, *, gain: float, lead: float, forget: float = 0.95, harmonics: int = 8
) -> float:
    """Return ``max |Q (1 - L e^(i h lead) G_h)|`` over the harmonics h; it must be below 1.

    Then the torque comes nearer to its limit by at least this factor each stride; at 1 or above
    it may grow without bound.

    Parameters
    ----------
    plant : (h,) complex array
        G_h, response of the leg at harmonics 0, 1, ... of the cycle, rad per N.m.
    gain, lead, forget, harmonics
        As in `learn`.
    """
    response = np.asarray(plant, dtype=np.complex128)[: harmonics + 1]
    if response.ndim != 1 or len(response) < harmonics + 1:
        raise UsageError(
            f"the response has {response.size} harmonics.",
            remedy=f"Give those from 0 to {harmonics}.",
        )
    turn = np.exp(2j * np.pi * np.arange(len(response)) * lead)
    return float(np.abs(forget * (1.0 - gain * turn * response)).max())
