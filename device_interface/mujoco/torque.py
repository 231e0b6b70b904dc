"""The torque law of the drives and of the patient's own joints, every millisecond.

``tau = s [K d(q_ref - q, w) + B (qd_ref - qd)]``, limited to the torque the joint has, with
the dead band ``d(e, w) = e - min(max(e, -w), w)`` and the share ``s``: guidance for a drive
(impedance control with a dead band, Riener 2005, start values of device simulators), strength
for a patient's joint. Past a limit of its position a joint gets torque inward only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_AHEAD_S = 0.01
_CHANGE_RAD_S2 = 600.0
"""More than a joint of the model was seen to change its rate by."""


class TorqueLaw:
    """The law for `n` joints at once, without an allocation.

    Parameters
    ----------
    stiffness : ndarray of shape (n,)
        K, N.m/rad.
    damping : ndarray of shape (n,)
        B, N.m.s/rad.
    dead_band : ndarray of shape (n,)
        w, rad.
    low, high : ndarray of shape (n,)
        Limits of the position, rad.
    """

    def __init__(
        self, stiffness: Floats, damping: Floats, dead_band: Floats, low: Floats, high: Floats
    ) -> None:
        self._stiffness, self._damping = stiffness, damping
        self._band, self._minus_band = dead_band, -dead_band
        self._low, self._high = low, high
        n = len(stiffness)
        self._k, self._b = np.zeros(n), np.zeros(n)
        self._most, self._least = np.zeros(n), np.zeros(n)
        self._error, self._part = np.zeros(n), np.zeros(n)
        self._outside = np.zeros(n, bool)
        self._guarded = True

    def set_share(self, share: Floats, limit: Floats) -> None:
        """Take the share s of each joint and the most torque it gives (N.m), shape (n,)."""
        np.multiply(self._stiffness, share, out=self._k)
        np.multiply(self._damping, share, out=self._b)
        self._most[:] = limit
        np.negative(limit, out=self._least)

    def guard(self, q: Floats, qd: Floats) -> None:
        """See whether a joint may pass a limit within the next 10 ms; only then each step looks.

        Parameters
        ----------
        q, qd : ndarray of shape (n,)
            Positions (rad) and rates (rad/s); a rate may change by `_CHANGE_RAD_S2`.
        """
        reach = np.abs(qd) * _AHEAD_S + _CHANGE_RAD_S2 * _AHEAD_S * _AHEAD_S
        self._guarded = bool(((q + reach > self._high) | (q - reach < self._low)).any())

    def torque(
        self, wanted: Floats, wanted_rate: Floats, q: Floats, qd: Floats, out: Floats
    ) -> None:
        """Write the torques at positions `q` (rad) and rates `qd` (rad/s) into `out`, N.m."""
        error, part = self._error, self._part
        np.subtract(wanted, q, out=error)
        np.maximum(error, self._minus_band, out=part)
        np.minimum(part, self._band, out=part)
        np.subtract(error, part, out=error)
        np.multiply(error, self._k, out=error)
        np.subtract(wanted_rate, qd, out=part)
        np.multiply(part, self._b, out=part)
        np.add(error, part, out=error)
        np.minimum(error, self._most, out=error)
        np.maximum(error, self._least, out=out)
        if self._guarded:
            np.greater(q, self._high, out=self._outside)
            out[self._outside] = np.minimum(out[self._outside], 0.0)
            np.less(q, self._low, out=self._outside)
            out[self._outside] = np.maximum(out[self._outside], 0.0)
