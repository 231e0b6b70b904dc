"""The full-rate plant: joint angles, torques, loads and settings at 100 Hz, a block at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Stream
from device_interface.controller import Rows
from device_interface.simulated import stumble as st
from device_interface.simulated.beside import Beside, Stretch
from device_interface.simulated.channels import ROW_S
from device_interface.simulated.gait import POINTS, TABLE, stride_time_s
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.plant import WalkingPlant

ROW_NS = round(ROW_S * 1e9)
_STIFFNESS_NM_RAD = 200.0
_RAMP_ROWS = 10
_NOISE = {
    "angle": 0.002,
    "velocity": 0.02,
    "torque": 0.3,
    "grf": 4.0,
    "belt_speed_m_s": 0.002,
    "support_fraction": 0.002,
    "support_load_n": 3.0,
    "heart_rate_bpm": 0.4,
}
"""Standard deviations of the sensors, in the channels' units."""
_LEG = 11
"""Channels of one leg: 3 angles, 3 velocities, 2 motor and 2 interaction torques, 1 load."""


def _noise_of(stream: Stream) -> NDArray[np.float64]:
    scale = []
    for channel in stream.channels:
        name = channel.name
        group = next((key for key in ("angle", "velocity", "torque", "grf") if key in name), name)
        scale.append(_NOISE.get(group, 0.0) if not channel.name.endswith("_set_n") else 0.0)
    return np.array(scale)


class MotionPlant(WalkingPlant):
    """Rows of the ``motion`` stream; see `WalkingPlant` for the other parameters.

    Parameters
    ----------
    beside : mapping
        What makes the rows of the streams beside it, by name.
    """

    def __init__(
        self,
        stream: Stream,
        patient: VirtualPatient,
        rates: dict[str, float],
        rng: np.random.Generator,
        beside: Mapping[str, Beside] | None = None,
    ) -> None:
        super().__init__(patient, rates, rng, lag_s=0.2)
        self._beside = dict(beside or {})
        self._stumble: st.Stumble | None = None
        self._k = len(stream.channels)
        self._noise = _noise_of(stream)
        self._noisy = np.flatnonzero(self._noise)
        self._scale = self._noise[self._noisy]
        self._phase = 0.0
        self._left_ns = 0
        joints = stream.channels[:2]  # hip and knee of the left leg; the right one is its mirror
        self._lowest = np.array([c.minimum for c in joints])
        self._highest = np.array([c.maximum for c in joints])

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let time pass; rows come on the 10 ms grid, shorter times are kept for later."""
        self._left_ns += duration_ns
        n = self._left_ns // ROW_NS
        self._left_ns -= n * ROW_NS
        ends = (
            t_ns + duration_ns - self._left_ns - ROW_NS * np.arange(n - 1, -1, -1, dtype=np.int64)
        )
        parts = []
        left = n
        while left:
            m = left if self.settled else min(_RAMP_ROWS, left)
            parts.append(self._block(ends[n - left : n - left + m]))
            left -= m
        values = (
            parts[0] if len(parts) == 1 else np.concatenate(parts) if parts
            else np.empty((0, self._k))
        )  # fmt: skip
        made = {"motion": Rows(ends, values)}
        for name, stream in self._beside.items():
            rows = stream.take()
            if rows is not None:
                made[name] = rows
        return made

    def stumble(self) -> None:
        """Let the toe of the left leg catch in its next swing."""
        self._stumble = st.Stumble()

    def _block(self, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        n = len(t_ns)
        speed_set, speed = self.speed.rows(n, ROW_S)
        support_set, support = self.support.rows(n, ROW_S)
        _, guidance = self.guidance.rows(n, ROW_S)
        self.pass_patient(n * ROW_S)
        patient = self.patient
        walking = self.moving
        rate = 1.0 / stride_time_s(self.speed.actual) if walking else 0.0
        phase = self._phase + (ROW_S * rate) * np.arange(1, n + 1, dtype=np.float64)
        self._phase = float(phase[-1]) % 1.0
        error = patient.path_error_rad(self.guidance.actual) if walking else 0.0
        out = np.zeros((n, self._k))
        at = (phase % 1.0 * POINTS).astype(np.int64) % POINTS
        load = patient.weight_n * (1.0 - support)
        paretic = patient.asymmetry
        self._leg(out[:, :_LEG], TABLE[at], rate, error, 0.6 + 0.4 * paretic, load, guidance)
        other = TABLE[(at + POINTS // 2) % POINTS]
        self._leg(out[:, _LEG : 2 * _LEG], other, rate, error * paretic, 1.0, load, guidance)
        if not walking:
            out[:, _LEG - 1] = out[:, 2 * _LEG - 1] = 0.5 * load
        s = 2 * _LEG
        out[:, s], out[:, s + 1] = speed_set, speed
        out[:, s + 2], out[:, s + 3], out[:, s + 4] = support_set, support, guidance
        out[:, s + 5], out[:, s + 6] = error, patient.heart_rate
        out[:, s + 7], out[:, s + 8] = support_set * patient.weight_n, support * patient.weight_n
        out[:, s + 9] = phase % 1.0
        course = self._stumbling(out, phase, walking=walking)
        if self._beside:
            told = Stretch(t_ns, phase, rate, out[:, s : s + 7], course, self.spasm_nm > 0)
            for stream in self._beside.values():
                stream.see(told)
        if self.disturbed:
            self._disturb(out)
        self._turn_inward(out)
        noise = self.rng.standard_normal((n, len(self._noisy)))
        out[:, self._noisy] += noise * self._scale
        if self.spasm_nm:
            out[:, 8:10] += self.spasm_nm
        return np.round(out, 4)

    def _stumbling(
        self, out: NDArray[np.float64], phase: NDArray[np.float64], *, walking: bool
    ) -> NDArray[np.float64] | None:
        """Let a stumble that is under way show in the rows; return its course, 0 to 1."""
        if self._stumble is None or not walking:
            self._stumble = None
            return None
        course = self._stumble.pass_rows(np.mod(phase, 1.0), ROW_S)
        if self._stumble.over:
            self._stumble = None
        if course is None:
            return None
        guidance = out[:, 2 * _LEG + 4]
        for at, size in enumerate((st.HIP_RAD, st.KNEE_RAD)):
            out[:, at] += size * course.bump
            out[:, 3 + at] += size * course.slope
            help_nm = (-_STIFFNESS_NM_RAD * size) * course.bump * guidance
            out[:, 6 + at] += help_nm
            out[:, 8 + at] += help_nm
        out[:, 2 * _LEG - 1] *= 1.0 + st.OTHER_LOAD * course.bump
        out[:, 2 * _LEG + 5] += st.PATH_RAD * course.bump
        return course.bump

    def _disturb(self, out: NDArray[np.float64]) -> None:
        """Let the left leg do what it is made to do on a bench."""
        if self.disturbed == "position_limit":
            out[:, 1], out[:, 4] = self._highest[1], 0.0
        elif self.disturbed == "velocity_reversal":
            out[:, 3:6] *= -1.0
        elif self.disturbed == "tracking_error":
            out[:, 2 * _LEG + 5] += 0.5

    def _turn_inward(self, out: NDArray[np.float64]) -> None:
        """At the end of a joint's range allow only motor torque that leads back into it."""
        for leg in (0, _LEG):
            angle, torque = out[:, leg : leg + 2], out[:, leg + 6 : leg + 8]
            if (angle >= self._highest).any():
                torque[(angle >= self._highest) & (torque > 0)] = 0.0
            if (angle <= self._lowest).any():
                torque[(angle <= self._lowest) & (torque < 0)] = 0.0

    @staticmethod
    def _leg(
        out: NDArray[np.float64],
        shape: NDArray[np.float64],
        rate: float,
        error: float,
        size: float,
        load: NDArray[np.float64],
        guidance: NDArray[np.float64],
    ) -> None:
        """Fill the eleven channels of a leg from the rows of the table."""
        out[:, :3] = shape[:, :3] * size if rate else 0.0
        out[:, 3:6] = shape[:, 3:6] * (size * rate)
        deviation = shape[:, 7:9] * error
        out[:, :2] += deviation
        help_nm = (-_STIFFNESS_NM_RAD) * deviation * guidance[:, None]
        out[:, 8:10] = help_nm
        out[:, 6:8] = help_nm + 12.0 * shape[:, 3:5] * (rate * guidance[:, None] * 0.1)
        out[:, 10] = shape[:, 6] * load
