"""Cadence, regularity and a model-based speed from one accelerometer at the lower back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, samples

_BAND_HZ = (0.5, 3.0)
"""Holds the step rate of walking, 30 to 180 steps a minute."""


@dataclass(frozen=True)
class Rhythm:
    """Rhythm of a walking bout.

    Attributes
    ----------
    cadence_steps_min, stride_time_s : float
        NaN where the signal has no clear rhythm.
    step_regularity, stride_regularity : float
        Autocorrelation at the lag of a step and of a stride, at most 1.
    """

    cadence_steps_min: float
    stride_time_s: float
    step_regularity: float
    stride_regularity: float


def walking_rhythm(
    vertical: ArrayLike,
    rate_hz: float,
    *,
    bout_s: tuple[float, float] | None = None,
    least_regularity: float = 0.3,
) -> Rhythm:
    """Return cadence and stride time of a bout of steady walking.

    The stride time is the lag of the second peak of the autocorrelation of the vertical
    acceleration (each lag over its own samples, 0.5 to 3 Hz), between samples by a parabola;
    cadence is 120 over it. The sensor tells left from right by nothing, so there are no sides.

    Parameters
    ----------
    vertical : (n,) array
        Vertical acceleration of the lower back, any unit, whole (no NaN).
    rate_hz : float
        Samples a second.
    bout_s : tuple of float, optional
        Begin and end of the bout in s from the first sample; default: all. The filters see the
        whole recording, so that the bout has no edges.
    least_regularity : float
        Below this autocorrelation at the stride there is no rhythm and the result is NaN.

    Raises
    ------
    UsageError
        If samples are missing, or the bout is shorter than 2.5 s or not inside the recording.

    Notes
    -----
    After Moe-Nilssen and Helbostad, J Biomech 37:121 (2004), from memory.
    """
    whole, bout = _bout(vertical, rate_hz, bout_s)
    clean = _band(whole, rate_hz)[bout]
    n = len(clean)
    lags = np.arange(int(0.25 * rate_hz), min(n // 2 + n // 4, int(4.0 * rate_hz)))
    likeness = np.array([_correlation(clean[: n - k], clean[k:]) for k in lags])
    peaks, _ = signal.find_peaks(likeness, prominence=0.1)
    nan = float("nan")
    if len(peaks) < 2 or likeness[peaks[1]] < least_regularity:
        return Rhythm(nan, nan, nan, nan)
    step, stride = peaks[:2]
    stride_s = (lags[stride] + _vertex(likeness[stride - 1 : stride + 2])) / rate_hz
    return Rhythm(
        cadence_steps_min=float(120.0 / stride_s),
        stride_time_s=float(stride_s),
        step_regularity=float(likeness[step]),
        stride_regularity=float(likeness[stride]),
    )


def pendulum_speed_m_s(
    vertical_m_s2: ArrayLike,
    rate_hz: float,
    *,
    sensor_height_m: float,
    bout_s: tuple[float, float] | None = None,
    correction: float = 1.25,
) -> float:
    """Return walking speed by the inverted pendulum: a model, no measurement of distance.

    Each step is ``correction * 2 * sqrt(2 l h - h^2)`` long, with l the height of the sensor and
    h its rise and fall within the step by double integration (high-pass at 0.5 Hz). An
    accelerometer by itself has no speed: drift, turns, aids and asymmetric gait break the model,
    and `correction` was found in healthy walkers. NaN where there are fewer than three steps.

    Parameters
    ----------
    vertical_m_s2 : (n,) array
        Vertical acceleration in m/s^2, gravity included or not, whole.
    rate_hz : float
        Samples a second.
    sensor_height_m : float
        Height of the sensor over the ground in standing.
    bout_s : tuple of float, optional
        As in `walking_rhythm`.
    correction : float
        1 leaves the pendulum as it is.

    Notes
    -----
    Zijlstra and Hof, Gait Posture 18:1 (2003), from memory.
    """
    whole, bout = _bout(vertical_m_s2, rate_hz, bout_s)
    if not 0.3 <= sensor_height_m <= 1.8:
        raise UsageError(
            f"sensor_height_m={sensor_height_m:g} is no height of a lower back.",
            remedy="Give it in m.",
        )
    centred = whole - whole.mean()
    drift = signal.butter(4, 0.5, "highpass", fs=rate_hz, output="sos")
    velocity = signal.sosfiltfilt(drift, np.cumsum(signal.sosfiltfilt(drift, centred)) / rate_hz)
    height = signal.sosfiltfilt(drift, np.cumsum(velocity) / rate_hz)[bout]
    clean = _band(whole, rate_hz)[bout]
    peaks, _ = signal.find_peaks(clean, distance=max(1, int(0.3 * rate_hz)), height=0.0)
    if len(peaks) < 4:
        return float("nan")
    falls = np.array([np.ptp(height[a : b + 1]) for a, b in pairwise(peaks)])
    falls = np.minimum(falls, sensor_height_m)
    lengths = 2.0 * correction * np.sqrt(2.0 * sensor_height_m * falls - falls**2)
    return float(lengths.sum() / ((peaks[-1] - peaks[0]) / rate_hz))


def _bout(
    values: ArrayLike, rate_hz: float, bout_s: tuple[float, float] | None
) -> tuple[Floats, slice]:
    whole = samples("acceleration", values)
    begin, end = (0.0, len(whole) / rate_hz) if bout_s is None else bout_s
    bout = slice(round(begin * rate_hz), round(end * rate_hz))
    inside = bout.start >= 0 and bout.stop <= len(whole)
    if rate_hz < 20 or not inside or end - begin < 2.5 or not np.all(np.isfinite(whole)):
        raise UsageError(
            f"{begin:g} to {end:g} s at {rate_hz:g} Hz is no whole bout of walking.",
            remedy="Give at least 2.5 s at 20 Hz or more, without missing samples.",
        )
    return whole, bout


def _band(values: Floats, rate_hz: float) -> Floats:
    band = signal.butter(4, _BAND_HZ, "bandpass", fs=rate_hz, output="sos")
    clean: Floats = signal.sosfiltfilt(band, values - values.mean())
    return clean


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _vertex(three: Floats) -> float:
    """Return where a parabola through three even points is greatest, from the middle one."""
    bend = three[0] - 2.0 * three[1] + three[2]
    return float(0.5 * (three[0] - three[2]) / bend) if bend < 0 else 0.0
