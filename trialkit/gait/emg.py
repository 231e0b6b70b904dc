"""The envelope of surface EMG."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, samples, unbroken_runs


def emg_envelope(
    values: ArrayLike,
    rate_hz: float,
    *,
    band_hz: tuple[float, float] = (20.0, 450.0),
    low_pass_hz: float = 6.0,
    order: int = 4,
) -> Floats:
    """Return the linear envelope of an EMG channel, in the unit of the channel.

    Band-pass, full-wave rectification, low-pass; both filters are Butterworth, run forward and
    backward, so that nothing is shifted in time (the effective order is twice `order`). The
    result is cut at 0. Missing samples split the channel; a piece too short to be filtered is
    missing as a whole.

    Parameters
    ----------
    values : (n,) array
        Raw EMG at an even rate, NaN where missing.
    rate_hz : float
        Samples a second.
    band_hz : tuple of float
        Cut-offs of the band-pass, both below ``rate_hz / 2``.
    low_pass_hz : float
        Cut-off of the envelope.
    order : int
        Of each Butterworth filter, one way.

    Raises
    ------
    UsageError
        If the cut-offs do not fit the rate.

    Notes
    -----
    The defaults follow SENIAM's recommendations in kind (high-pass at 10 to 20 Hz, low-pass near
    500 Hz) and common practice in gait for the envelope; from memory, to be set by the study.
    """
    low, high = band_hz
    if not (0 < low < high < rate_hz / 2 and 0 < low_pass_hz < rate_hz / 2 and order >= 1):
        raise UsageError(
            f"cut-offs {low:g}, {high:g} and {low_pass_hz:g} Hz do not fit {rate_hz:g} Hz.",
            remedy="Give 0 < low < high < rate_hz / 2.",
        )
    channel = samples("values", values)
    band = signal.butter(order, (low, high), "bandpass", fs=rate_hz, output="sos")
    smooth = signal.butter(order, low_pass_hz, "lowpass", fs=rate_hz, output="sos")
    padding = int(np.ceil(rate_hz / low_pass_hz))
    envelope = np.full(len(channel), np.nan)
    if len(channel) < 2:
        return envelope
    for run in unbroken_runs(np.arange(len(channel)) / rate_hz, np.isfinite(channel)):
        piece = channel[run]
        if len(piece) <= padding:
            continue
        clean = signal.sosfiltfilt(band, piece - piece.mean(), padlen=padding)
        envelope[run] = signal.sosfiltfilt(smooth, np.abs(clean), padlen=padding)
    cut: Floats = np.maximum(envelope, 0.0)
    return cut
