"""An adaptive oscillator: gait phase and frequency as they happen, from one periodic signal."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.errors import UsageError

Floats = NDArray[np.float64]


class Oscillator(NamedTuple):
    """State of the oscillator.

    Attributes
    ----------
    omega : float
        Frequency of the gait cycle, rad/s.
    offset : float
        Mean of the signal.
    phases, amplitudes : tuple of float
        Of the harmonics 1, 2, ...; rad, and the unit of the signal.
    """

    omega: float
    offset: float
    phases: tuple[float, ...]
    amplitudes: tuple[float, ...]

    @property
    def output(self) -> float:
        """The signal as the oscillator has it."""
        pairs = zip(self.phases, self.amplitudes, strict=True)
        return self.offset + math.fsum(a * math.sin(p) for p, a in pairs)

    @property
    def cycle(self) -> float:
        """Phase of the first harmonic as a share of the cycle, 0 to 1."""
        share = (self.phases[0] / (2.0 * math.pi)) % 1.0
        return 0.0 if share >= 1.0 else share


def start_oscillator(
    stride_time_s: float, *, harmonics: int = 3, amplitude: float = 0.1, offset: float = 0.0
) -> Oscillator:
    """Return an oscillator at a first guess.

    Parameters
    ----------
    stride_time_s : float
        Guess, s; the belt speed gives one.
    harmonics : int
        Sines that make up the signal.
    amplitude, offset : float
        Of the first harmonic and the mean, in the unit of the signal.
    """
    if stride_time_s <= 0 or harmonics < 1 or amplitude <= 0:
        raise UsageError(
            f"stride_time_s={stride_time_s:g}, harmonics={harmonics}, amplitude={amplitude:g}.",
            remedy="Give each above 0.",
        )
    rest = (0.0,) * (harmonics - 1)
    return Oscillator(2.0 * math.pi / stride_time_s, offset, (0.0, *rest), (amplitude, *rest))


def oscillator_step(
    state: Oscillator, q: float, dt_s: float, *, nu: float = 4.0, eta: float = 2.0
) -> Oscillator:
    """Return the state after one sample.

    With F = q - output and A the sum of amplitudes::

        phi_i' = i w + nu F cos(phi_i) / A      w' = nu^2 / 4 F cos(phi_1) / A
        a_i' = eta F sin(phi_i)                 a_0' = eta F / 2

    by one Euler step. A is never taken below a fiftieth of |F|, so that a signal far off cannot
    throw the phase about. Phase is 0 where the first harmonic rises through the mean: to turn it
    into gait phase, subtract its value at a foot strike. Scaling the signal scales offset and
    amplitudes and leaves phase and frequency.

    Parameters
    ----------
    state : Oscillator
    q : float
        The signal, such as a hip angle in rad.
    dt_s : float
        Time since the last sample, s.
    nu : float
        Gain of phase, 1/s; that of frequency follows for critical damping.
    eta : float
        Gain of amplitudes, 1/s.

    Notes
    -----
    Ronsse et al. 2011; see ``SOURCES["oscillator"]``.
    """
    gap = q - state.output
    size = max(math.fsum(abs(a) for a in state.amplitudes), abs(gap) / 50.0)
    pull = gap / size if size > 0 else 0.0
    phases = tuple(
        (p + dt_s * (i * state.omega + nu * pull * math.cos(p))) % (2.0 * math.pi)
        for i, p in enumerate(state.phases, 1)
    )
    amplitudes = tuple(
        a + dt_s * eta * gap * math.sin(p)
        for p, a in zip(state.phases, state.amplitudes, strict=True)
    )
    omega = state.omega + dt_s * 0.25 * nu * nu * pull * math.cos(state.phases[0])
    least, most = 2.0 * math.pi / 10.0, 2.0 * math.pi / 0.3
    return Oscillator(
        omega=min(max(omega, least), most),
        offset=state.offset + dt_s * 0.5 * eta * gap,
        phases=phases,
        amplitudes=amplitudes,
    )


def follow(
    state: Oscillator, q: ArrayLike, dt_s: float, *, nu: float = 4.0, eta: float = 2.0
) -> tuple[Oscillator, Floats, Floats]:
    """Return the state after a signal, with stride time and cycle after each sample.

    Parameters
    ----------
    state : Oscillator
    q : (n,) array
        The signal at an even rate; a missing sample moves the phase on and teaches nothing.
    dt_s : float
        Sample period, s.
    nu, eta : float
        As in `oscillator_step`.

    Returns
    -------
    state : Oscillator
    stride_time_s : (n,) array
    cycle : (n,) array
        0 to 1.
    """
    values = np.asarray(q, dtype=np.float64)
    times, cycle = np.empty(len(values)), np.empty(len(values))
    for i, value in enumerate(values.tolist()):
        known = value if math.isfinite(value) else state.output
        state = oscillator_step(state, known, dt_s, nu=nu, eta=eta)
        times[i] = 2.0 * math.pi / state.omega
        cycle[i] = state.cycle
    return state, times, cycle
