"""The path of the joints for a belt speed, from the path of the feet.

A foot in stance must go back with the belt, so the paths are made from feet and hip, and the
joint angles follow by the law of cosines of the two-link leg:

- Stance takes the first `STANCE` of the cycle: the sole goes back evenly by speed times
  stance time, centred under the hip; in the last third the heel rises about the toe.
- Swing: a cubic that leaves and meets the belt at the belt's speed, plus a lift
  ``16 t^2 (1 - t)^2``.
- The hip rises over the standing leg as an inverted pendulum of half step length
  ``S/2 |cos(2 pi p)|``.

Stride time follows from a constant walk ratio (`simulated.gait.stride_time_s`). Every number
here is a start value of the simulator and no reference data of healthy walking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_interface.mujoco.body import Body
from device_interface.simulated.gait import stride_time_s

STANCE = 0.62
POINTS = 1000
"""Rows of a cycle; one more row closes it."""
COLUMNS = ("hip", "knee", "ankle", "knee_swing")
"""The columns of a table; the same again are their derivatives by phase."""
_SPEED_STEP = 0.05
_LEAST_KNEE = np.radians(8.0)
_LIFT_M = 0.085
_FULL_LIFT_M_S = 0.25
_HEEL_RISE = np.radians(20.0)
_LATE_STANCE = 0.72
_BEHIND = 0.12
"""How far the middle of stance lies behind the hip, as a share of the way in stance."""


def _smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 3x^2 - 2x^3 of `x` limited to 0..1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _foot(
    body: Body, speed: float, phase: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return forward and upward place of the ankle (m) and pitch of the foot (rad, toes up).

    Forward is from under the hip, upward from the belt; all of shape (POINTS,).
    """
    stride_s = stride_time_s(speed) if speed > 0 else 1.0
    travel = speed * stride_s * STANCE
    share = min(1.0, speed / _FULL_LIFT_M_S)
    toe = 0.7 * body.foot.length_m
    x = travel * (0.5 - _BEHIND - phase / STANCE)
    rise = -_HEEL_RISE * share * _smooth((phase / STANCE - _LATE_STANCE) / (1.0 - _LATE_STANCE))
    sx = x + toe * (1.0 - np.cos(rise)) + body.ankle_m * np.sin(-rise)
    sz = toe * np.sin(-rise) + body.ankle_m * np.cos(rise)
    t = np.clip((phase - STANCE) / (1.0 - STANCE), 0.0, 1.0)
    last = -_HEEL_RISE * share
    x0 = -(0.5 + _BEHIND) * travel + toe * (1.0 - np.cos(last)) + body.ankle_m * np.sin(-last)
    z0 = toe * np.sin(-last) + body.ankle_m * np.cos(last)
    slope = -speed * stride_s * (1.0 - STANCE)
    wx = (
        x0 * (1 - 3 * t**2 + 2 * t**3) + (0.5 - _BEHIND) * travel * (3 * t**2 - 2 * t**3)
        + slope * (t - 3 * t**2 + 2 * t**3)
    )  # fmt: skip
    wz = z0 + (body.ankle_m - z0) * _smooth(t) + _LIFT_M * share * 16 * t**2 * (1 - t) ** 2
    swing = phase >= STANCE
    pitch = np.where(swing, last * (1.0 - _smooth(t / 0.7)), rise)
    return np.where(swing, wx, sx), np.where(swing, wz, sz), pitch


def _angles(body: Body, speed: float) -> NDArray[np.float64]:
    """Return the columns of `COLUMNS` over a cycle at `speed`, of shape (POINTS, 4)."""
    phase = np.arange(POINTS) / POINTS
    x, z, pitch = _foot(body, speed, phase)
    thigh, shank = body.thigh.length_m, body.shank.length_m
    longest = np.sqrt(thigh**2 + shank**2 + 2.0 * thigh * shank * np.cos(_LEAST_KNEE))
    half = (0.5 - _BEHIND) * (speed * stride_time_s(speed) * STANCE if speed > 0 else 0.0)
    lean = half * np.cos(2.0 * np.pi * phase)
    hip_m = body.ankle_m + np.sqrt(longest**2 - lean**2)
    reach = np.minimum(np.hypot(x, hip_m - z), longest)
    cosine = (reach**2 - thigh**2 - shank**2) / (2.0 * thigh * shank)
    knee = np.arccos(np.clip(cosine, -1.0, 1.0))
    hip = np.arctan2(x, hip_m - z) + np.arcsin(shank * np.sin(knee) / reach)
    swing = _smooth((phase - STANCE + 0.08) / 0.16) * _smooth((1.0 - phase) / 0.12)
    return np.stack([hip, knee, pitch - hip + knee, (knee - _LEAST_KNEE) * swing], axis=1)


def table(body: Body, speed: float) -> NDArray[np.float64]:
    """Return angles (rad) and derivatives (rad a cycle) over a cycle at a belt speed in m/s.

    Parameters
    ----------
    body : Body
    speed : float
        Not below 0; at 0 the feet stand under the hip.

    Returns
    -------
    ndarray of shape (POINTS + 1, 8)
        Columns as `COLUMNS`, then their derivatives; phase 0 is the contact of this foot.
    """
    angles = _angles(body, speed)
    for _ in range(3):  # corners of the path are no corners of a motor: 3 passes of 1-2-1
        angles = _blurred(angles)
    rate = (np.roll(angles, -1, axis=0) - np.roll(angles, 1, axis=0)) * (0.5 * POINTS)
    both = np.concatenate([angles, rate], axis=1)
    return np.round(np.concatenate([both, both[:1]]), 7)


def _blurred(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    width = 12
    around = [np.roll(angles, k, axis=0) for k in (-width, 0, width)]
    return 0.25 * around[0] + 0.5 * around[1] + 0.25 * around[2]


def _both_legs(one: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the columns of `Reference.at` from the table of one leg, shape (POINTS + 1, 24)."""
    left = one
    right = np.concatenate([one[POINTS // 2 : -1], one[: POINTS // 2 + 1]])
    parts = []
    for begin in (0, 4):  # angles, then their derivatives
        legs = [leg[:, begin : begin + 3] for leg in (left, right)]
        drives = [leg[:, begin : begin + 2] for leg in (left, right)]
        parts += [*legs, *drives]
    swings = [leg[:, column : column + 1] for column in (3, 7) for leg in (left, right)]
    return np.concatenate([*parts, *swings], axis=1)


class Reference:
    """The path of all joints at any phase and speed, by linear interpolation.

    Parameters
    ----------
    body : Body
    fastest : float
        Highest belt speed, m/s.
    """

    def __init__(self, body: Body, fastest: float) -> None:
        n = int(np.ceil(fastest / _SPEED_STEP)) + 1
        self._tables = np.stack([_both_legs(table(body, k * _SPEED_STEP)) for k in range(n + 1)])
        self._now = self._tables[0]
        self._speed = 0.0

    def at(self, phase: NDArray[np.float64], speed: float) -> NDArray[np.float64]:
        """Return the path at phases of the left leg; the right one is half a cycle ahead.

        Parameters
        ----------
        phase : ndarray of shape (n,)
            From 0 up to 1.
        speed : float
            Of the belt, m/s.

        Returns
        -------
        ndarray of shape (n, 24)
            Ten angles in the order of ``model.JOINTS`` (rad), their ten derivatives (rad a
            cycle), what the swing flexes left and right knee (rad), and its two derivatives.
        """
        if speed != self._speed:
            place = min(max(speed, 0.0) / _SPEED_STEP, len(self._tables) - 1.001)
            k = int(place)
            part = place - k
            self._now = (1.0 - part) * self._tables[k] + part * self._tables[k + 1]
            self._speed = speed
        row = phase * POINTS
        first = row.astype(np.intp)
        share = (row - first)[:, None]
        low: NDArray[np.float64] = self._now[first]
        low += share * (self._now[first + 1] - low)
        return low
