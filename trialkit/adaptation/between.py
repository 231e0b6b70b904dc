"""Laws that move support between strides or bouts. Plain arithmetic: alike on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def forgetting_factor(value: float, error: float, *, forget: float, gain: float) -> float:
    """Return the next support ``R(n+1) = f R(n) + g e(n)``.

    With a steady error it settles at ``g e / (1 - f)`` (`steady_support`). The robot must forget
    faster than the person learns, or it takes over the work for good.

    Parameters
    ----------
    value : float
        R(n), in the unit of the setting.
    error : float
        e(n), mean error over the stride or bout, at least 0 to add support.
    forget : float
        f (0.80 to 0.97 a stride are start values).
    gain : float
        g, unit of the setting a unit of error.

    Notes
    -----
    Emken et al. 2007; see ``SOURCES["forgetting_factor"]``.
    """
    return forget * value + gain * error


def steady_support(error: float, *, forget: float, gain: float) -> float:
    """Return ``g e / (1 - f)``, where `forgetting_factor` settles with a steady error.

    Raises
    ------
    UsageError
        If `forget` is not from 0 to below 1: then nothing settles.
    """
    if not 0 <= forget < 1:
        raise UsageError(f"forget={forget:g}.", remedy="Give a factor from 0 to below 1.")
    return gain * error / (1.0 - forget)


def phase_stiffness(
    stiffness: ArrayLike, error: ArrayLike, *, forget: float, gain: float, maximum: float
) -> tuple[Floats, Floats]:
    """Return the next stiffness in each bin of the gait phase, and its direction.

    Per bin ``K(n+1) = clip(f K(n) + g |e|, 0, K_max)``; the direction is that of the mean error
    of the end point in the bin (zeros where there is none), so that ``K u u^T`` resists motion
    along the error only; `endpoint_to_joints` carries it to the joints.

    Parameters
    ----------
    stiffness : (bins,) array
        K(n), N/m.
    error : (bins, axes) array
        Mean error of the end point (reference - measured) over the stride in each bin, m.
    forget : float
        f, 0 to below 1.
    gain : float
        g, N/m per m.
    maximum : float
        K_max, N/m.

    Returns
    -------
    stiffness : (bins,) array
    direction : (bins, axes) array
        Unit vectors.

    Notes
    -----
    Maggioni et al. 2018; see ``SOURCES["phase_stiffness"]``.
    """
    import numpy as np

    now, gap = np.asarray(stiffness, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if gap.ndim != 2 or now.shape != gap.shape[:1] or not 0 <= forget < 1 or gain < 0:
        raise UsageError(
            f"stiffness {now.shape}, error {gap.shape}, forget={forget:g}, gain={gain:g}.",
            remedy="Give one error vector a bin, 0 <= forget < 1 and gain >= 0.",
        )
    size = np.sqrt((gap * gap).sum(axis=1))
    following = np.clip(forget * now + gain * size, 0.0, maximum)
    direction = np.divide(gap, size[:, None], out=np.zeros_like(gap), where=size[:, None] > 0)
    return following, direction


def endpoint_to_joints(stiffness: float, direction: ArrayLike, jacobian: ArrayLike) -> Floats:
    """Return the joint stiffness ``J^T (K u u^T) J`` in N.m/rad; never negative definite.

    Parameters
    ----------
    stiffness : float
        K, N/m.
    direction : (axes,) array
        u, of unit length or zero.
    jacobian : (axes, joints) array
        m/rad.
    """
    import numpy as np

    row = np.asarray(direction, dtype=np.float64) @ np.asarray(jacobian, dtype=np.float64)
    return stiffness * np.outer(row, row)


def adaptive_support(
    support: float, load_share: float, *, target_low: float, target_high: float, gain: float
) -> float:
    """Return the next body-weight support so that the paretic leg's load stays in a band.

    ``S(n+1) = S(n) + g (low - L)`` where the load share L is below the band, ``S(n) - g (L -
    high)`` where it is above, else unchanged: a leg that does not carry is unloaded, and one
    that does is asked for more.

    Parameters
    ----------
    support : float
        S(n), fraction of body weight.
    load_share : float
        L, load of the paretic leg over that of both, 0 to 1.
    target_low, target_high : float
        The band.
    gain : float
        g, fraction of body weight a unit of load share. At most 0.01 of body weight a stride is
        a start value; the envelope of the protocol holds the step.

    Notes
    -----
    Duschau-Wicke et al. 2009; see ``SOURCES["adaptive_support"]``.
    """
    if load_share < target_low:
        return support + gain * (target_low - load_share)
    if load_share > target_high:
        return support - gain * (load_share - target_high)
    return support
