"""The moving parts as a body in a physics engine: 1 ms steps, rows every 10 ms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Stream
from device_interface.controller import Rows
from device_interface.mujoco.body import Body
from device_interface.mujoco.engine import STEPS, Engine
from device_interface.mujoco.model import ANKLE, HIP, JOINTS, KNEE
from device_interface.mujoco.reference import Reference
from device_interface.mujoco.spasm import SpasmWatch
from device_interface.mujoco.strides import Stride, StrideCounter
from device_interface.mujoco.torque import TorqueLaw
from device_interface.simulated.channels import ROW_S
from device_interface.simulated.gait import stride_time_s
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.plant import WalkingPlant

Floats = NDArray[np.float64]
ROW_NS = round(ROW_S * 1e9)
DRIVE_LIMIT_NM = 120.0
FALL_M = 0.12
"""A hip that is so far below standing has fallen."""
SPASM_NM = 120.0
_SPASM_ROWS = 200
OVERLOAD_NM = 180.0
"""Interaction torque that no cuff may carry."""
_PUSH_NM = 200.0
_TAUT_M, _SLACK_M = 0.02, 0.16
_OUT_M_S, _IN_M_S = 0.02, 0.1
"""How far the rope lets the hip sink at rest and while walking; how fast that changes."""
_HEALTHY_NM_KG = (1.5, 1.8, 1.6)
"""Most torque of a healthy hip, knee and ankle per kg of body, start values."""
_BODY = (450.0, 450.0, 350.0), (15.0, 12.0, 8.0)
_DRIVE = (300.0, 300.0), (12.0, 10.0)
"""Stiffness (N.m/rad) and damping (N.m.s/rad) of the joints at full strength or guidance."""
_DEAD_BAND_RAD = float(np.radians(3.0))
_VARIATION = 0.03
"""Standard deviation of the size of a patient's swing, from stride to stride."""
_LOAD_TAU_S = 1.0
_KNEES = slice(1, 5, 3)
_SPASTIC = JOINTS.index("knee_l")
_STEP_SHARES = np.arange(1, STEPS + 1) / STEPS


def _law() -> TorqueLaw:
    def column(body: tuple[float, ...], drive: tuple[float, ...]) -> Floats:
        return np.array([*body, *body, *drive, *drive])

    low, high = zip(HIP, KNEE, ANKLE, strict=True)
    return TorqueLaw(
        column(_BODY[0], _DRIVE[0]),
        column(_BODY[1], _DRIVE[1]),
        column((0.0, 0.0, 0.0), (_DEAD_BAND_RAD, _DEAD_BAND_RAD)),
        column(low, low[:2]),
        column(high, high[:2]),
    )


class BipedPlant(WalkingPlant):
    """Belt, support, orthosis and a body that walks in them; see `WalkingPlant`.

    Parameters
    ----------
    body : Body
    streams : sequence of Stream
        ``motion`` and ``stride``.
    patient : VirtualPatient
        The left leg is the paretic one.
    strength : float
        Share of a healthy person's torque, 0 to 1.
    rates : dict
        Fastest change of each parameter, per second.
    rng : numpy Generator
        Philox.
    fastest : float
        Highest belt speed in m/s.
    """

    def __init__(
        self,
        body: Body,
        streams: Sequence[Stream],
        patient: VirtualPatient,
        strength: float,
        rates: dict[str, float],
        rng: np.random.Generator,
        fastest: float,
    ) -> None:
        super().__init__(patient, rates, rng, lag_s=0.2)
        self._body = body
        self._law = _law()
        self.engine = Engine(body, self._law)
        self._reference = Reference(body, fastest)
        self._strength = strength
        self._side = np.array([patient.asymmetry] * 3 + [1.0] * 3)
        self._healthy_nm = np.tile(_HEALTHY_NM_KG, 2) * body.mass_kg * self._side
        self._widths = tuple(len(stream.channels) for stream in streams)
        self._counter = StrideCounter()
        self._left_ns = 0
        self._phase = 0.0
        self._slack = _TAUT_M
        self._load_n = 0.0
        self._size = np.ones(2)
        self._means = np.zeros(7)
        self._n_means = 0
        self.trouble: str | None = None
        self._watch = SpasmWatch()
        self._spasm_rows = 0
        self.engine.place(self._wanted(np.zeros(1), 0.0)[0][0])

    # --- the settings ----------------------------------------------------------------------

    def disturb(self, kind: str) -> None:
        """Let something happen to the left knee (or, in a fall, let both legs give way).

        A spasm is a flexing torque for at most 2 s, and no control over the knee meanwhile;
        at ``position_limit`` the knee and its drive are pushed to the end of their range
        until `calm`.
        """
        super().disturb(kind)
        if kind == "spasm":
            self.spasm_nm = SPASM_NM
            self._spasm_rows = _SPASM_ROWS

    def release(self) -> None:
        """Let the harness down slowly, with the drives off."""
        super().release()
        self.cut()

    def cut(self) -> None:
        """Take the torque of the drives away."""
        self.guidance.drop(0.0)

    def take_trouble(self) -> str | None:
        """Return the kind of fault that was noticed since the last call."""
        trouble, self.trouble = self.trouble, None
        return trouble

    # --- time ------------------------------------------------------------------------------

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let time pass; rows come on the 10 ms grid, shorter times are kept for later."""
        self._left_ns += duration_ns
        n = self._left_ns // ROW_NS
        self._left_ns -= n * ROW_NS
        first = t_ns + duration_ns - self._left_ns - ROW_NS * (n - 1)
        ends = first + ROW_NS * np.arange(n, dtype=np.int64)
        motion = np.zeros((n, self._widths[0]))
        strides: list[Stride] = []
        rows: list[Floats] = []
        for row, end_ns in zip(motion, ends.tolist(), strict=True):
            self._pass_row(row)
            for stride in self._strides(end_ns):
                strides.append(stride)
                rows.append(self._stride_row(stride))
        found = {"motion": Rows(ends, np.round(motion, 5))}
        if strides:
            times = np.array([stride.end_ms for stride in strides], np.int64) * 1_000_000
            found["stride"] = Rows(times, np.round(rows, 5))
        return found

    def _pass_row(self, row: Floats) -> None:
        """Let 10 ms pass and fill a row of the motion stream."""
        before = self.speed.actual
        for ramp in self.ramps.values():
            ramp.step(ROW_S)
        self.pass_patient(ROW_S)
        now = self.speed.actual
        rate = 1.0 / stride_time_s(now) if now > 0 else 0.0
        phases = self._phase + (rate * ROW_S) * _STEP_SHARES
        wanted, rates = self._wanted(phases % 1.0, rate)
        self._turn(float(phases[-1]))
        self._set_shares()
        self._pay_rope()
        belt = (before + (now - before) * _STEP_SHARES).tolist()
        self.engine.advance(wanted, rates, belt, self.support.actual * self._body.weight_n)
        cuff_nm = self.engine.interaction_nm()
        self._judge(cuff_nm)
        self._fill(row, wanted[-1, 6:], cuff_nm)

    def _turn(self, phase: float) -> None:
        """Go on in the cycle; no stride of the patient is quite like the last."""
        self._phase = phase
        if phase >= 1.0:
            self._phase = phase - 1.0
            self._size = 1.0 + _VARIATION * self.rng.standard_normal(2)
            self._size[0] *= 0.6 + 0.4 * self.patient.asymmetry

    def _wanted(self, phase: Floats, rate: float) -> tuple[Floats, Floats]:
        """Return angles and their rates for `JOINTS`, each of shape (n, 10)."""
        rows = self._reference.at(phase, self.speed.actual)
        wanted, rates = rows[:, :10], rows[:, 10:20]
        more = self._size - 1.0
        wanted[:, _KNEES] += more * rows[:, 20:22]
        rates[:, _KNEES] += more * rows[:, 22:24]
        rates *= rate
        return wanted, rates

    def _set_shares(self) -> None:
        fresh = self._strength * (1.0 - 0.5 * min(1.0, self.patient.tired))
        if self.disturbed == "fall":
            fresh = 0.0
        share, limit = np.empty(len(JOINTS)), np.empty(len(JOINTS))
        np.multiply(self._side, fresh, out=share[:6])
        np.multiply(self._healthy_nm, fresh, out=limit[:6])
        share[6:] = self.guidance.actual
        limit[6:] = DRIVE_LIMIT_NM
        self._spasm_rows -= 1
        if self._spasm_rows < 0:
            self.spasm_nm = 0.0
        if self.spasm_nm:
            share[_SPASTIC] = 0.0
        self._law.set_share(share, limit)
        pushed = self.disturbed == "position_limit"
        self.engine.push("knee_l", _PUSH_NM if pushed else self.spasm_nm)
        self.engine.push("knee_drive_l", _PUSH_NM if pushed else 0.0)

    def _pay_rope(self) -> None:
        if self.speed.target > 0 and self.moving:
            self._slack = min(_SLACK_M, self._slack + _OUT_M_S * ROW_S)
        elif not self.speed.target:
            self._slack = max(_TAUT_M, self._slack - _IN_M_S * ROW_S)
        self.engine.pay_out(self._slack)

    def _judge(self, cuff_nm: list[float]) -> None:
        """Notice by itself what no host could see in time."""
        steady = self.speed.settled and self.guidance.settled
        spasm = self._watch.feed(
            self._phase, cuff_nm[1], cuff_nm[3], moving=self.moving, steady=steady
        )
        if not self.engine.sound:
            self.trouble = "divergence"
        elif self.engine.sunk_m > FALL_M:
            self.trouble = "fall"
        elif max(map(abs, cuff_nm)) > OVERLOAD_NM:
            self.trouble = "overload"
        elif spasm:
            self.trouble = "spasm"

    # --- rows ------------------------------------------------------------------------------

    def _fill(self, row: Floats, wanted: Floats, cuff: list[float]) -> None:
        """Fill a row of ``motion``: the end of its 10 ms, and means of what hits and pulls."""
        engine = self.engine
        q, qd = engine.positions.tolist(), engine.velocities.tolist()
        motor = engine.drive_nm.tolist()
        ground = (engine.sensed[:, :2].sum(axis=0) / STEPS).tolist()
        gap = wanted - engine.positions[10:]
        error = math.sqrt(float(np.vdot(gap, gap)) / len(gap))
        weight = self._body.weight_n
        self._load_n += (engine.rope_n - self._load_n) * (ROW_S / _LOAD_TAU_S)
        shared = [
            self.speed.set_value, self.speed.actual, self.support.set_value,
            self._load_n / weight, self.guidance.actual, error, self.patient.heart_rate,
        ]  # fmt: skip
        row[:-3] = [
            q[10], q[11], q[6], qd[10], qd[11], qd[6], *motor[:2], *cuff[:2], ground[0],
            q[12], q[13], q[9], qd[12], qd[13], qd[9], *motor[2:], *cuff[2:], ground[1],
            *shared, self.support.set_value * weight, engine.rope_n, self._phase,
        ]  # fmt: skip
        self._means += shared
        self._n_means += 1

    def _strides(self, end_ns: int) -> list[Stride]:
        sensed = self.engine.sensed
        begin_ms = end_ns // 1_000_000 - STEPS + 1
        return self._counter.feed(begin_ms, sensed[:, :2], sensed[:, 2:8:3], sensed[:, 4:8:3])

    def _stride_row(self, stride: Stride) -> Floats:
        row = np.zeros(self._widths[1])
        row[:7] = [
            stride.time_s, stride.time_s, stride.step_l_m, stride.step_r_m,
            stride.stance_l, stride.stance_r, stride.clearance_m,
        ]  # fmt: skip
        row[7:14] = self._means / self._n_means
        self._means[:] = 0.0
        self._n_means = 0
        return row
