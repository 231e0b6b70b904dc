"""Ten steps of 1 ms at a time in the physics engine, with the torque law at each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_interface.mujoco.body import Body
from device_interface.mujoco.model import (
    CUFF_NM_RAD,
    CUFF_NMS_RAD,
    JOINTS,
    ROOT,
    ROPE_TOP_M,
    STEP_S,
    compiled,
)
from device_interface.mujoco.torque import TorqueLaw

Floats = NDArray[np.float64]
STEPS = 10
"""Steps of a call to `Engine.advance`."""
_ROPE_N_M, _ROPE_NS_M = 1500.0, 250.0
"""Stiffness and damping of the harness about the mean height of the hip."""
_HEIGHT_TAU_S = 2.0
_DRIVES = slice(6, 10)
_UP = 2
_CUFFS = [
    (ROOT + JOINTS.index(f"{joint}_drive_{side}"), ROOT + JOINTS.index(f"{joint}_{side}"))
    for side in "lr"
    for joint in ("hip", "knee")
]


class Engine:
    """The model of a body, its state, and what the last ten steps were like.

    Parameters
    ----------
    body : Body
    law : TorqueLaw
        For the joints of `JOINTS`, in that order.

    Attributes
    ----------
    positions, velocities : ndarray of shape (14,)
        Belt, forward, up, pitch, then `JOINTS`, at the end; rad or m, and a second.
    drive_nm : ndarray of shape (4,)
        Torques of the drives at the end: left hip, left knee, right hip, right knee.
    sensed : ndarray of shape (STEPS, 9)
        Force of the belt on left and right foot (N), place of left and right toe (m each),
        force of the taut rope (N).
    rope_n : float
        Mean force of the rope.
    """

    def __init__(self, body: Body, law: TorqueLaw) -> None:
        import mujoco

        self._step: Any = mujoco.mj_step
        self._model, self._data = compiled(body)
        self._law = law
        self._rope = int(self._model.tendon("rope").id)
        self._mean_up = 0.0
        self.positions, self.velocities = self._data.qpos, self._data.qvel
        self.drive_nm = self._data.ctrl[_DRIVES]
        self.sensed = np.zeros((STEPS, 9))
        self.rope_n = 0.0

    def place(self, angles: Floats) -> None:
        """Put the joints at `angles` (rad, shape (10,), as `JOINTS`), at rest."""
        self._data.qpos[ROOT:] = angles

    def pay_out(self, slack_m: float) -> None:
        """Let the rope be taut where the hip is `slack_m` below standing."""
        self._model.tendon_range[self._rope, 1] = ROPE_TOP_M + slack_m

    def push(self, joint: str, torque_nm: float) -> None:
        """Apply a torque from outside to a joint of `JOINTS` until told otherwise."""
        self._data.qfrc_applied[ROOT + JOINTS.index(joint)] = torque_nm

    @property
    def sunk_m(self) -> float:
        """How far the hip is below that of the standing body with straight legs."""
        return -float(self.positions[_UP])

    @property
    def sound(self) -> bool:
        """False where the numbers have left the range in which the model means something."""
        return bool(np.vdot(self.velocities, self.velocities) < 1e6)

    def advance(self, wanted: Floats, rates: Floats, belt: list[float], load_n: float) -> None:
        """Take ten steps.

        Parameters
        ----------
        wanted, rates : ndarray of shape (STEPS, 10)
            Angles (rad) and their rates that each joint of `JOINTS` should have.
        belt : list of float
            Speed of the belt at each step, m/s, walking forward.
        load_n : float
            Mean force that the rope should carry; 0 is a slack rope.
        """
        data, model, step, torque = self._data, self._model, self._step, self._law.torque
        qpos, qvel, ctrl, sensors = data.qpos, data.qvel, data.ctrl, data.sensordata
        q, qd, joints = qpos[ROOT:], qvel[ROOT:], ctrl[: len(JOINTS)]
        self._law.guard(q, qd)
        base = load_n + _ROPE_N_M * self._mean_up
        total = 0.0
        rows = zip(wanted, rates, belt, self.sensed, strict=True)
        for angle, rate, speed, sensed in rows:
            torque(angle, rate, q, qd, joints)
            if load_n > 0:
                pull = max(0.0, base - _ROPE_N_M * qpos[_UP] - _ROPE_NS_M * qvel[_UP])
                ctrl[-1] = -pull
                total += pull
            qpos[0] = 0.0
            qvel[0] = -speed
            step(model, data)
            sensed[:] = sensors
        if not load_n:
            ctrl[-1] = 0.0
        self._mean_up += (float(qpos[_UP]) - self._mean_up) * (STEPS * STEP_S / _HEIGHT_TAU_S)
        self.rope_n = (total + abs(float(self.sensed[:, -1].sum()))) / STEPS

    def interaction_nm(self) -> list[float]:
        """Return the torque of the orthosis on the leg, toward flexion, as `drive_nm`.

        The force of each cuff: stiffness times the angle and damping times the rate by which
        the drive is ahead of the leg.
        """
        q, qd = self.positions.tolist(), self.velocities.tolist()
        return [
            CUFF_NM_RAD * (q[drive] - q[leg]) + CUFF_NMS_RAD * (qd[drive] - qd[leg])
            for drive, leg in _CUFFS
        ]
