r"""What a missing outcome would have been after an intercurrent event.

For a participant with mean :math:`\mu` and covariance :math:`\Sigma` of the own arm, mean
:math:`\mu^r` and covariance :math:`\Sigma^r` of the reference arm, and ``first`` the first
visit that the event affects, the distribution from which missing outcomes are imputed given
the observed ones has (Carpenter, Roger and Kenward 2013, J Biopharm Stat 23:1352, section 4;
in the notation of the statistical specifications of R's rbmi):

============================= ================================================================
``mar``                       mean and covariance of the own arm
``jump_to_reference``         own mean before ``first``, reference mean from then on
``copy_reference``            reference mean and covariance throughout
``copy_increments_in_reference``  from ``first`` on the own mean at the visit before it, plus
                              the reference's increments since that visit
``last_mean_carried_forward`` from ``first`` on the own mean at the visit before it
============================= ================================================================

Jump to reference and copy increments keep :math:`\Sigma` before ``first`` and the reference's
regression of later on earlier visits; last mean carried forward keeps :math:`\Sigma`. With one
covariance for all arms every strategy uses it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]

#: ``strategy(mean, covariance, reference_mean, reference_covariance, first)`` returns the mean,
#: shape (m,), and the covariance, shape (m, m), from which to impute; ``first`` counts from 0.
Custom = Callable[[Floats, Floats, Floats, Floats, int], tuple[Floats, Floats]]
Strategy = str | Custom

MAR = "mar"
J2R = "jump_to_reference"
CR = "copy_reference"
CIR = "copy_increments_in_reference"
LMCF = "last_mean_carried_forward"
NAMES = (MAR, J2R, CR, CIR, LMCF)
ALIASES = {"j2r": J2R, "jr": J2R, "cr": CR, "cir": CIR, "lmcf": LMCF}


def resolve(value: Any) -> Strategy:
    """Return the full name of a strategy, or the callable.

    Raises
    ------
    UsageError
        For a name that is no strategy.
    """
    if callable(value):
        found: Custom = value
        return found
    name = str(value).strip().lower().replace(" ", "_").replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in NAMES:
        raise UsageError(
            f"The imputation strategy {value!r} is not known.",
            remedy=f"Use one of: {', '.join(NAMES)} (or {', '.join(sorted(ALIASES))}), "
            "or a function of mean, covariance, reference mean, reference covariance, first.",
        )
    return name


def label(strategy: Strategy) -> str:
    """Return the name of a strategy in words."""
    if isinstance(strategy, str):
        return "missing at random" if strategy == MAR else strategy.replace("_", " ")
    return f"custom strategy {getattr(strategy, '__name__', type(strategy).__name__)}"


def describe(chosen: Sequence[Strategy]) -> str:
    """Name the strategies of the participants, with how many have each."""
    used: dict[str, int] = {}
    for each in chosen:
        if each != MAR:
            used[label(each)] = used.get(label(each), 0) + 1
    parts = [f"{name} ({count} participants)" for name, count in used.items()]
    return ", ".join([*parts, "missing at random" + (" otherwise" if parts else "")])


def operators(name: str, first: int, m: int) -> tuple[Floats, Floats]:
    """Return the matrices that make the imputation mean of the own and the reference mean.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    first : int
        First visit affected, from 0; ``m`` for none.
    m : int
        Number of visits.

    Returns
    -------
    own, reference : ndarray, shape (m, m)
        The mean is ``own @ mean + reference @ reference_mean``.
    """
    own, ref = np.eye(m), np.zeros((m, m))
    if name == MAR or first >= m:
        return own, ref
    if name == CR or (first == 0 and name in (J2R, CIR)):
        return np.zeros((m, m)), np.eye(m)
    after = np.arange(first, m)
    own[after, after] = 0.0
    if name == J2R:
        ref[after, after] = 1.0
        return own, ref
    own[after, first - 1] = 1.0
    if name == CIR:
        ref[after, after] = 1.0
        ref[after, first - 1] -= 1.0
    return own, ref


def covariance(name: str, own: Floats, reference: Floats, first: int) -> Floats:
    """Return the covariance to impute from.

    Parameters
    ----------
    own, reference : ndarray, shape (..., m, m)
        Covariances of the own and of the reference arm.

    Returns
    -------
    ndarray, shape (..., m, m)
    """
    m = own.shape[-1]
    if name in (MAR, LMCF) or first >= m:
        return own
    if name == CR or first == 0:
        return reference
    before, after = slice(0, first), slice(first, m)
    upper = reference[..., before, before]
    slope = np.linalg.solve(upper, reference[..., before, after]).swapaxes(-1, -2)
    out = own.copy()
    across = slope @ own[..., before, before]
    out[..., after, before] = across
    out[..., before, after] = across.swapaxes(-1, -2)
    moved = slope @ (upper - own[..., before, before]) @ slope.swapaxes(-1, -2)
    out[..., after, after] = reference[..., after, after] - moved
    return out
