"""The reference gait that the joint drives are given, from the phase of the stride."""

from __future__ import annotations

from device_interface.contract import MOVING_M_S
from device_interface.simulated.gait import POINTS, TABLE, stride_time_s

_COLUMNS = {"hip": 0, "knee": 1, "ankle": 2}
_BLEND_PER_S = 1.0


class ReferenceGait:
    """Joint angles against phase; the shapes are start values, see `simulated.gait`.

    The amplitude grows and goes within a second, so that no target jumps where walking
    begins or ends.
    """

    def __init__(self) -> None:
        self.phase = 0.0
        self._amplitude = 0.0
        self._table = {name: TABLE[:, at].tolist() for name, at in _COLUMNS.items()}

    def step(self, dt_s: float, belt_m_s: float) -> None:
        """Let `dt_s` pass at the belt's speed in m/s."""
        walking = belt_m_s > MOVING_M_S
        reach = _BLEND_PER_S * dt_s
        goal = 1.0 if walking else 0.0
        self._amplitude += min(max(goal - self._amplitude, -reach), reach)
        if walking:
            self.phase = (self.phase + dt_s / stride_time_s(belt_m_s)) % 1.0

    def angle_rad(self, joint: str, side: str) -> float:
        """Return the reference of ``hip``, ``knee`` or ``ankle``, left (``l``) or right."""
        phase = self.phase if side == "l" else (self.phase + 0.5) % 1.0
        value: float = self._table[joint][int(phase * POINTS) % POINTS]
        return self._amplitude * value
