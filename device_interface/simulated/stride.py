"""The stride-level plant: one row a stride, and one for each stretch of standing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import MOVING_M_S, Stream
from device_interface.controller import Rows
from device_interface.simulated import stumble as st
from device_interface.simulated.gait import STANCE, stride_time_s
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.plant import WalkingPlant

_STILL_S = 0.5
_VARIATION = 0.025
"""Coefficient of variation of the stride time."""


class StridePlant(WalkingPlant):
    """Rows of the ``stride`` stream; see `WalkingPlant` for the parameters.

    The last stride of a call may end after it; that time is taken from the next call.
    """

    def __init__(
        self,
        stream: Stream,
        patient: VirtualPatient,
        rates: dict[str, float],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(patient, rates, rng, lag_s=0.0)
        self._k = len(stream.channels)
        self._ahead_s = 0.0
        self._stumbles = False

    def stumble(self) -> None:
        """Let the toe of the left leg catch in the next stride."""
        self._stumbles = True

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let time pass and return the strides that began in it."""
        length = duration_ns / 1e9
        now = self._ahead_s
        parts: list[NDArray[np.float64]] = []
        while now < length - 1e-9:
            if not self.settled:
                part = self._ramping(length - now)
            elif self.speed.actual > MOVING_M_S:
                part = self._strides(length - now)
            else:
                part = self._standing(length - now)
            parts.append(part)
            now += float(part[:, 0].sum())
        if not parts:
            self._ahead_s = now - length
            return {}
        values = np.concatenate(parts) if len(parts) > 1 else parts[0]
        ends = self._ahead_s + np.cumsum(values[:, 0])
        self._ahead_s = max(0.0, now - length)
        t = t_ns + np.round(ends * 1e3).astype(np.int64) * 1_000_000
        return {"stride": Rows(t, np.round(values, 4))}

    def _ramping(self, left_s: float) -> NDArray[np.float64]:
        speed = self.speed.actual
        if speed <= MOVING_M_S:
            span = min(_STILL_S, left_s)
            for ramp in self.ramps.values():
                ramp.step(span)
            return self._standing_row(span)
        span = stride_time_s(speed)
        for ramp in self.ramps.values():
            ramp.step(span)
        self.pass_patient(span)
        mean = 0.5 * (speed + self.speed.actual)
        return self._rows(np.full(1, round(span, 4)), np.full(1, mean), self.rng)

    def _standing(self, left_s: float) -> NDArray[np.float64]:
        return self._standing_row(left_s)

    def _standing_row(self, span: float) -> NDArray[np.float64]:
        self.pass_patient(span)
        row = np.zeros((1, self._k))
        row[0, 0] = span
        self._settings(row, np.full(1, self.speed.actual))
        return row

    def _strides(self, left_s: float) -> NDArray[np.float64]:
        speed = self.speed.actual
        usual = stride_time_s(speed)
        n = max(1, int(left_s / usual * 1.1) + 2)
        times = np.round(usual * (1.0 + _VARIATION * self.rng.standard_normal(n)), 4)
        times = np.maximum(times, 0.5 * usual)
        begins = np.cumsum(times) - times
        times = times[begins < left_s - 1e-9]
        self.pass_patient(float(times.sum()))
        return self._rows(times, np.full(len(times), speed), self.rng)

    def _rows(
        self, times: NDArray[np.float64], speeds: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        n = len(times)
        noise = rng.standard_normal((n, 5))
        row = np.zeros((n, self._k))
        length = speeds * times
        paretic = self.patient.asymmetry / (1.0 + self.patient.asymmetry)
        share = paretic + 0.01 * noise[:, 0]
        row[:, 0] = row[:, 1] = times
        row[:, 2] = length * share
        row[:, 3] = length - row[:, 2]
        weak = 0.03 * (1.0 - self.patient.asymmetry)
        row[:, 4] = STANCE - weak + 0.01 * noise[:, 1]
        row[:, 5] = STANCE + weak + 0.01 * noise[:, 2]
        row[:, 6] = self.patient.toe_clearance_m() + 0.002 * noise[:, 3]
        self._settings(row, speeds)
        error = self.patient.path_error_rad(self.guidance.actual)
        row[:, 12] = error * np.maximum(0.2, 1.0 + 0.15 * noise[:, 4])
        if self._stumbles:
            self._stumbles = False
            row[0, 2] *= st.STEP_SHARE
            row[0, 3] = length[0] - row[0, 2]
            row[0, 6] = st.CLEARANCE_M
            row[0, 12] += st.PATH_RAD * st.LASTS_S / times[0]
        return row

    def _settings(self, row: NDArray[np.float64], speeds: NDArray[np.float64]) -> None:
        row[:, 7] = self.speed.set_value
        row[:, 8] = speeds
        row[:, 9] = self.support.set_value
        row[:, 10] = self.support.actual
        row[:, 11] = self.guidance.actual
        row[:, 13] = self.patient.heart_rate
