"""The streams beside ``motion``: physiology each second, a row a stride, EMG at 1 kHz.

Each draws its noise from a stream of random numbers of its own, so that the rows of
``motion`` are the same whatever comes beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Stream
from device_interface.controller import Rows
from device_interface.simulated import stumble as st
from device_interface.simulated.channels import EMG_HZ, MUSCLES, ROW_S
from device_interface.simulated.gait import POINTS, STANCE
from device_interface.simulated.patient import VirtualPatient

Matrix = NDArray[np.float64]
_SECOND_NS = 1_000_000_000
_PER_ROW = round(EMG_HZ * ROW_S)
_EMG_FLOOR_V, _EMG_FULL_V, _SPASM_V = 4e-6, 2.0e-4, 4.0e-4
_EMG_MOST_V = 0.005
_REST = 0.03
"""Activity of a muscle that does nothing."""
_BURSTS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "rectus_femoris": ((0.05, 0.10, 0.7), (0.62, 0.06, 0.4), (0.95, 0.06, 0.5)),
    "biceps_femoris": ((0.90, 0.10, 0.9), (0.05, 0.08, 0.5)),
    "tibialis_anterior": ((0.04, 0.06, 1.0), (0.68, 0.10, 0.6)),
    "gastrocnemius": ((0.42, 0.13, 1.0),),
}
"""Phase, width and size of a muscle's bursts: start values of the simulator."""
_STUMBLE_MUSCLES = ("rectus_femoris", "tibialis_anterior")
_SPASTIC = "biceps_femoris"


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows of ``motion`` and what the plant knows of them.

    Attributes
    ----------
    t_ns : ndarray of int64, shape (n,)
    phase : ndarray of float64, shape (n,)
        Of the left leg, going on over 1 within the block.
    rate : float
        Strides a second, 0 at rest.
    settings : ndarray of shape (n, 7)
        Belt speed set and read, support set and read, guidance, tracking error, heart rate.
    stumble : ndarray of shape (n,) or None
        Course of a stumble, 0 to 1.
    spasm : bool
    """

    t_ns: NDArray[np.int64]
    phase: Matrix
    rate: float
    settings: Matrix
    stumble: Matrix | None
    spasm: bool


class Beside(Protocol):
    """A stream beside ``motion``."""

    def see(self, stretch: Stretch) -> None:
        """Take in rows of ``motion``."""
        ...

    def take(self) -> Rows | None:
        """Return the rows since the last call, or None."""
        ...


class _Gathering:
    """Rows that wait until they are taken."""

    def __init__(self, patient: VirtualPatient, rng: np.random.Generator) -> None:
        self._patient = patient
        self._rng = rng
        self._t: list[NDArray[np.int64]] = []
        self._values: list[Matrix] = []

    def _add(self, t_ns: NDArray[np.int64], values: Matrix) -> None:
        self._t.append(t_ns)
        self._values.append(values)

    def take(self) -> Rows | None:
        """Return the rows since the last call, or None."""
        if not self._t:
            return None
        rows = Rows(np.concatenate(self._t), np.concatenate(self._values))
        self._t, self._values = [], []
        return rows


class PhysiologyRows(_Gathering):
    """Heart rate, oxygen saturation (in whole percents, as oximeters show it) and breath."""

    def see(self, stretch: Stretch) -> None:
        """Take in rows of ``motion``: one row at each whole second of device time."""
        t = stretch.t_ns[stretch.t_ns % _SECOND_NS == 0]
        n = len(t)
        if not n:
            return
        noise = self._rng.standard_normal((n, 3))
        patient = self._patient
        values = np.empty((n, 3))
        values[:, 0] = np.round(patient.heart_rate + 0.4 * noise[:, 0], 1)
        values[:, 1] = np.minimum(1.0, np.round(patient.oxygen_fraction() + 0.003 * noise[:, 1], 2))
        values[:, 2] = np.round(np.maximum(0.0, patient.breaths_per_min() + 0.7 * noise[:, 2]), 1)
        self._add(t, values)


class StrideRows(_Gathering):
    """One row a stride, from left contact to left contact, at the row of ``motion`` after it.

    A stride during which the belt came to rest has no row.
    """

    def __init__(self, stream: Stream, patient: VirtualPatient, rng: np.random.Generator) -> None:
        super().__init__(patient, rng)
        self._k = len(stream.channels)
        self._contact_s: float | None = None
        self._metres = 0.0
        self._stumbled = False

    def see(self, stretch: Stretch) -> None:
        """Take in rows of ``motion``."""
        if not stretch.rate:
            self._contact_s, self._metres, self._stumbled = None, 0.0, False
            return
        metres = self._metres + ROW_S * np.cumsum(stretch.settings[:, 1])
        if stretch.stumble is not None:
            self._stumbled = self._stumbled or bool(stretch.stumble.any())
        turns = np.floor(stretch.phase)
        before = np.concatenate([[0.0], turns[:-1]])
        begun = 0.0
        for at in np.flatnonzero(turns > before).tolist():
            late_s = float(stretch.phase[at] - turns[at]) / stretch.rate
            contact_s = int(stretch.t_ns[at]) / 1e9 - late_s
            length = float(metres[at]) - late_s * float(stretch.settings[at, 1]) - begun
            if self._contact_s is not None:
                self._row(stretch, at, contact_s - self._contact_s, length)
            self._contact_s, begun = contact_s, begun + length
        self._metres = float(metres[-1]) - begun

    def _row(self, stretch: Stretch, at: int, time_s: float, length_m: float) -> None:
        noise = self._rng.standard_normal(4)
        asymmetry = self._patient.asymmetry
        share = asymmetry / (1.0 + asymmetry) + 0.01 * noise[0]
        clearance = self._patient.toe_clearance_m() + 0.002 * noise[3]
        if self._stumbled:
            share, clearance, self._stumbled = share * st.STEP_SHARE, st.CLEARANCE_M, False
        weak = 0.03 * (1.0 - asymmetry)
        row = np.zeros((1, self._k))
        row[0, 0] = row[0, 1] = time_s
        row[0, 2], row[0, 3] = length_m * share, length_m * (1.0 - share)
        row[0, 4] = STANCE - weak + 0.01 * noise[1]
        row[0, 5] = STANCE + weak + 0.01 * noise[2]
        row[0, 6] = clearance
        row[0, 7:14] = stretch.settings[at]
        row[0, -1] = share / (1.0 - share)
        self._add(stretch.t_ns[at : at + 1], np.round(row, 4))


def _activity() -> Matrix:
    """Return how active each muscle is over the cycle, shape (POINTS, muscles), 0 to 1."""
    phase = np.arange(POINTS) / POINTS
    columns = []
    for muscle in MUSCLES:
        active = np.full(POINTS, _REST)
        for at, width, size in _BURSTS[muscle]:
            apart = np.abs(phase - at)
            away = np.minimum(apart, 1.0 - apart) / width
            hill = np.maximum(0.0, 1.0 - away * away)
            active += size * hill * hill
        columns.append(np.minimum(1.0, active))
    return np.round(np.stack(columns, axis=1), 6)


class EmgRows(_Gathering):
    """Raw EMG of four muscles a leg: noise whose size follows the muscle's activity.

    The difference of neighbouring normal numbers, so that it has no offset and most of its
    power is at high frequencies. A spasm adds a burst in the left knee flexor; in a stumble
    the left knee extensor and the dorsiflexor work.
    """

    def __init__(self, patient: VirtualPatient, rng: np.random.Generator) -> None:
        super().__init__(patient, rng)
        self._table = _activity()
        self._last = np.zeros((1, 2 * len(MUSCLES)))
        self._steps = np.arange(1 - _PER_ROW, 1, dtype=np.int64)

    def see(self, stretch: Stretch) -> None:
        """Take in rows of ``motion``: ten of EMG each."""
        n, per_leg = len(stretch.t_ns), len(MUSCLES)
        t = stretch.t_ns[:, None] + self._steps * (_SECOND_NS // EMG_HZ)
        size = np.full((n * _PER_ROW, 2 * per_leg), _REST)
        if stretch.rate:
            fine = stretch.phase[:, None] + self._steps * (stretch.rate / EMG_HZ)
            at = (fine.ravel() % 1.0 * POINTS).astype(np.int64) % POINTS
            size[:, :per_leg] = self._table[at]
            size[:, per_leg:] = self._table[(at + POINTS // 2) % POINTS]
            guided = 1.0 - 0.4 * stretch.settings[:, 4]
            size *= self._patient.drive * np.repeat(guided, _PER_ROW)[:, None]
            size[:, :per_leg] *= 0.5 + 0.5 * self._patient.asymmetry
        if stretch.stumble is not None:
            more = np.repeat(stretch.stumble, _PER_ROW)
            for muscle in _STUMBLE_MUSCLES:
                size[:, MUSCLES.index(muscle)] += more
        volts = _EMG_FLOOR_V + _EMG_FULL_V * size
        if stretch.spasm:
            volts[:, MUSCLES.index(_SPASTIC)] += _SPASM_V
        noise = self._rng.standard_normal(size.shape)
        both = np.concatenate([self._last, noise])
        self._last = noise[-1:]
        values = np.clip(volts * np.diff(both, axis=0), -_EMG_MOST_V, _EMG_MOST_V)
        self._add(t.ravel(), np.round(values, 8))


def beside_streams(
    streams: Sequence[Stream], patient: VirtualPatient, seed: int
) -> dict[str, Beside]:
    """Return what makes the rows of each of `streams`, by name."""
    made: dict[str, Beside] = {}
    for stream in streams:
        if stream.name == "physiology":
            made[stream.name] = PhysiologyRows(patient, _draws(seed, 4))
        elif stream.name == "stride":
            made[stream.name] = StrideRows(stream, patient, _draws(seed, 5))
        else:
            made[stream.name] = EmgRows(patient, _draws(seed, 6))
    return made


def _draws(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, number]))
