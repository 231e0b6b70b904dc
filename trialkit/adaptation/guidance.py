"""Forces of guidance: impedance with a dead band, and a tunnel about the path.

These laws run inside the device, in its torque loop. Here they serve simulated devices, the
preview of a protocol, and tests; the session never computes a torque.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.errors import UsageError

Floats = NDArray[np.float64]


def dead_band(error: ArrayLike, width: float) -> Floats:
    """Return `error` shrunk toward 0 by `width`; exactly 0 where ``|error| <= width``.

    Parameters
    ----------
    error : array
        Any shape and unit.
    width : float
        Half width of the band, in the unit of `error`, at least 0.
    """
    _not_negative(width=width)
    values = np.asarray(error, dtype=np.float64)
    size = np.maximum(np.abs(values) - width, 0.0)
    return np.where(size > 0.0, np.copysign(size, values), 0.0)


def impedance_torque(
    q: ArrayLike,
    q_ref: ArrayLike,
    velocity: ArrayLike,
    velocity_ref: ArrayLike,
    *,
    guidance: float,
    stiffness: float,
    damping: float,
    width: float,
) -> Floats:
    """Return the torque of an impedance controller with a dead band, in N.m.

    ``tau = s [K db(q_ref - q, w) + B (qd_ref - qd)]`` with s the guidance. Its sign is toward
    the reference. With a reference at rest it is passive: a spring that grows with distance,
    and a damper.

    Parameters
    ----------
    q, q_ref : array
        Joint angle and its reference, rad.
    velocity, velocity_ref : array
        rad/s.
    guidance : float
        0 (free) to 1 (stiff).
    stiffness, damping : float
        K in N.m/rad (50 to 300 are start values at hip and knee), B in N.m.s/rad, at least 0.
    width : float
        Half width of the dead band, rad (start values 3 to 8 degrees).

    Notes
    -----
    Riener et al. 2005; see ``SOURCES["impedance"]``.
    """
    if not 0 <= guidance <= 1:
        raise UsageError(f"guidance={guidance:g}.", remedy="Give a guidance from 0 to 1.")
    _not_negative(stiffness=stiffness, damping=damping)
    spring = stiffness * dead_band(np.subtract(q_ref, q), width)
    torque: Floats = guidance * (spring + damping * np.subtract(velocity_ref, velocity))
    return torque


def tunnel_force(
    position: ArrayLike,
    nearest: ArrayLike,
    tangent: ArrayLike,
    *,
    radius: float,
    stiffness: float,
    max_normal: float,
    push: float = 0.0,
    velocity: ArrayLike | None = None,
    damping: float = 0.0,
) -> Floats:
    """Return the force of a tunnel about a path, on the point of the leg at `position`, in N.

    Toward the path ``F_n = min(K (d - D)^2 / D, max_normal)`` past the radius D, and 0 inside;
    along it ``F_t = push (1 - d / D)`` inside, and 0 outside, so that nobody is driven on while
    off the path; ``-b v`` against motion.

    Parameters
    ----------
    position, nearest : (k,) arrays
        The point and the path's nearest point, m.
    tangent : (k,) array
        Direction of the path there; its length is not used.
    radius : float
        D, m (0.02 to 0.05 at the ankle are start values).
    stiffness : float
        K, N/m.
    max_normal, push : float
        N.
    velocity : (k,) array, optional
        m/s.
    damping : float
        b, N.s/m.

    Notes
    -----
    Banala et al. 2009; see ``SOURCES["tunnel"]``.
    """
    if radius <= 0:
        raise UsageError(f"radius={radius:g}.", remedy="Give a radius above 0, in m.")
    _not_negative(stiffness=stiffness, max_normal=max_normal, push=push, damping=damping)
    away = np.subtract(nearest, position, dtype=np.float64)
    distance = float(np.sqrt(away @ away))
    force = np.zeros(len(away))
    if distance > radius:
        past = distance - radius
        force += min(stiffness * past * past / radius, max_normal) * away / distance
    else:
        along = np.asarray(tangent, dtype=np.float64)
        length = float(np.sqrt(along @ along))
        if length > 0:
            force += push * (1.0 - distance / radius) * along / length
    if velocity is not None:
        force -= damping * np.asarray(velocity, dtype=np.float64)
    return force


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise UsageError(f"{name}={value:g}.", remedy=f"Give {name} of at least 0.")
