"""Belt, support and guidance on the bus, as a plant of `device_interface.controller`.

Set values move here, at the rates that were asked for; torque loops, limits, and what
happens when nobody speaks are in the drives. `cycle` and `trouble` run in the thread that
owns the bus, everything else in that of the device.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_interface.canopen import objects as o
from device_interface.canopen.cia402 import FAULTED, Goal
from device_interface.canopen.faults import EMERGENCIES
from device_interface.canopen.moving import RATED_NM
from device_interface.canopen.reference import ReferenceGait
from device_interface.canopen.remote import RemoteDrive
from device_interface.canopen.wire import Entry
from device_interface.contract import MOVING_M_S
from device_interface.controller import Rows
from device_interface.simulated.ramp import Ramp

HOLD_RATE = 0.4
STOP_RATE = 1.2
"""Belt deceleration in m/s2 for a hold or the end, and for a stop."""
SPASM_NM = 45.0
SPASM_PERIODS = 4
"""A spasm is so much interaction torque for so many SYNCs."""
FAR_RAD = 0.7
FAR_PERIODS = 8
"""A joint that is so far from its path for so many SYNCs does not follow it."""
_MAX_ROWS = 3000
_QUIET = (o.NO_ERROR, o.HEARTBEAT_LOST, o.BUS_OFF_RECOVERED)


@dataclass(frozen=True)
class Trouble:
    """A fault of a kind of `faults.FAULTS`, where it was seen, and what was seen."""

    kind: str
    node: str
    text: str


class BusPlant:
    """The moving parts, seen through the bus.

    Parameters
    ----------
    drives : mapping of str to RemoteDrive
    columns : int
        Of a row.
    rates : mapping of str to float
        Fastest change of each parameter, per second.
    weight_n : float
        Of the patient.
    period_s : float
        Between two SYNCs.
    """

    def __init__(
        self,
        drives: Mapping[str, RemoteDrive],
        columns: int,
        rates: Mapping[str, float],
        weight_n: float,
        period_s: float,
    ) -> None:
        self.drives = drives
        self._begin_ns = time.monotonic_ns()
        self.troubles: deque[Trouble] = deque(maxlen=256)
        self.lock = threading.RLock()
        self.row_tail: tuple[float, float] = (0.0, 0.0)
        self._joints: list[tuple[str, str, RemoteDrive]] = []
        for name in o.JOINTS:
            joint, side = name.split("_")
            self._joints.append((joint, side, drives[name]))
        self._belt, self._support = drives["belt"], drives["support"]
        self._columns = columns
        self._weight_n = weight_n
        self._period_s = period_s
        self.speed = Ramp(0.0, rates["speed_m_s"], 0.0)
        self.support = Ramp(0.0, rates["support_fraction"], 0.0)
        self.guidance = Ramp(0.0, rates["guidance"], 0.0)
        self._ramps = {
            "speed_m_s": self.speed, "support_fraction": self.support, "guidance": self.guidance,
        }  # fmt: skip
        self._gait = ReferenceGait()
        self._rows: deque[tuple[int, list[float]]] = deque(maxlen=_MAX_ROWS)
        self._spasm = self._far = 0
        self._cycled_ns = 0
        self._faulty: set[str] = set()

    # --- what the controller asks --------------------------------------------------------------

    @property
    def belt_speed_m_s(self) -> float:
        """Speed of the belt; infinite where the belt is not believed, as it may move."""
        speed = self._belt.value(o.VELOCITY)
        return speed * o.VELOCITY_UNIT if speed is not None else math.inf

    @property
    def moving(self) -> bool:
        """True while the belt moves, or may move."""
        return self.belt_speed_m_s > MOVING_M_S

    @property
    def settled(self) -> bool:
        """True where no set value moves and the belt does not."""
        with self.lock:
            return all(ramp.settled for ramp in self._ramps.values()) and not self.moving

    @property
    def standing(self) -> bool:
        """True where the belt stands and is not asked for more."""
        return not self.moving and self.speed.set_value == 0.0 == self.speed.target

    def go(self, name: str, value: float, rate_per_s: float | None) -> None:
        """Move a setting."""
        with self.lock:
            self._ramps[name].go(value, rate_per_s)

    def slow_to_rest(self, *, urgent: bool) -> None:
        """Bring the belt to rest."""
        with self.lock:
            self.speed.go(0.0, STOP_RATE if urgent else HOLD_RATE)

    def remove_torque(self) -> None:
        """Take power from the joints, quick stop the belt, let the brake hold the harness."""
        with self.lock:
            self.guidance.drop(0.0)
            self.speed.drop(0.0)
            for drive in self.drives.values():
                if drive.goal is not Goal.RESET:  # which makes no torque, and must end
                    drive.want(Goal.STOPPED if drive is self._belt else Goal.OFF)

    def release(self) -> None:
        """Take power from joints and belt, and let the harness down."""
        with self.lock:
            self.guidance.drop(0.0)
            self.speed.drop(0.0)
            self.support.drop(0.0)
            for drive in self.drives.values():
                drive.want(Goal.LOWERED if drive is self._support else Goal.OFF)

    def to_rest_targets(self) -> None:
        """Take every setting as it is for its target, belt at zero."""
        with self.lock:
            self.speed.drop(0.0)
            self.support.drop(min(max(self.support_fraction, 0.0), 1.0))
            self.guidance.go(self.guidance.set_value)

    def disturb(self, kind: str) -> None:
        """Do nothing: what happens, happens in the drives."""

    def calm(self) -> None:
        """Forget what led to a hold."""
        self._spasm = self._far = 0

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Return the rows up to `t_ns` + `duration_ns`."""
        times, values = [], []
        while self._rows and self._rows[0][0] <= t_ns + duration_ns:
            at, row = self._rows.popleft()
            times.append(at)
            values.append(row)
        if not times:
            return {}
        return {"motion": Rows(np.array(times, np.int64), np.array(values, np.float64))}

    # --- what the driver asks --------------------------------------------------------------------

    @property
    def support_fraction(self) -> float:
        """Load that the harness takes, of the body weight; 0 where it is not believed."""
        return (self._support.value(o.LOAD) or 0) * o.LOAD_UNIT / self._weight_n

    def now_ns(self) -> int:
        """Return the device time."""
        return time.monotonic_ns() - self._begin_ns

    def want(self, goal: Goal) -> None:
        """Set the goal of every drive."""
        with self.lock:
            for drive in self.drives.values():
                drive.want(goal)

    def start_from_here(self) -> None:
        """Begin an arming: belt and guidance at zero, the harness as it is."""
        with self.lock:
            self.to_rest_targets()
            self.guidance.drop(0.0)

    def forget_troubles(self) -> None:
        """Begin to judge anew."""
        with self.lock:
            self.troubles.clear()
            self._faulty.clear()
            self._spasm = self._far = 0
            for drive in self.drives.values():
                drive.emergency = None

    def begin(self) -> None:
        """Let the device time begin now, with no row and no fault."""
        with self.lock:
            self.forget_troubles()
            self.want(Goal.OFF)
            self._rows.clear()
            self._begin_ns = time.monotonic_ns()
            self._cycled_ns = 0

    def estop(self) -> Literal["pressed", "latched"] | None:
        """Return how the emergency stop stands; an open contact is pressed, whatever opened it.

        None where it is released, or where the node that reads it is not believed, which is
        a fault of its own.
        """
        inputs = self._belt.value(o.DIGITAL_INPUTS)
        if inputs is None:
            return None
        if not inputs & o.CONTACT_CLOSED:
            return "pressed"
        return None if inputs & o.CHAIN_RELEASED else "latched"

    # --- in the bus's thread ---------------------------------------------------------------------

    def cycle(self) -> None:
        """Judge the drives, move the set values, write the targets, keep a row.

        Set values move by the time between the rows' own stamps, so that no row shows a
        faster change than was asked for; after a stall they wait rather than jump.
        """
        with self.lock:
            now_ns = self.now_ns()
            dt_s = (now_ns - self._cycled_ns) / 1e9
            self._cycled_ns = now_ns
            for drive in self.drives.values():
                self._judge(drive)
            step = min(max(dt_s, 1e-4), 0.02)
            for ramp in self._ramps.values():
                if not ramp.settled:
                    ramp.step(step)
            speed = self._belt.value(o.VELOCITY)
            self._gait.step(step, (speed or 0) * o.VELOCITY_UNIT)
            self._targets()
            self._keep_row(now_ns)

    def _judge(self, drive: RemoteDrive) -> None:
        enabled = drive.goal is Goal.ENABLED
        kind = drive.trouble()
        state = drive.state
        if state in FAULTED and enabled:
            self.remove_torque()  # at once; its name may still be on the way
        stopped = drive.emergency == o.TORQUE_OFF and self.estop() is not None
        if kind is not None and not (kind == "drive_fault" and stopped):
            self.trouble(kind, drive.name, f"seen as {state.name}")
        elif drive.booted:
            self.trouble("node_silent", drive.name, "it has started anew")

    def trouble(self, kind: str, node: str, text: str) -> None:
        """Take note of a fault once a node, and take the torque away."""
        if kind == "emergency":
            code = int(text, 16)
            kind = EMERGENCIES.get(code, "drive_fault")
            idle = self.drives[node].goal in (Goal.RESET, Goal.OFF, Goal.LOWERED)
            if code == o.TORQUE_OFF or (code in _QUIET and idle):
                return  # the input says more; or it is our own reset, or nobody walks
        with self.lock:
            if kind + node in self._faulty:
                return
            self._faulty.add(kind + node)
            self.troubles.append(Trouble(kind, node, text))
            self.remove_torque()

    def _targets(self) -> None:
        share = round(self.guidance.set_value / o.SHARE_UNIT)
        for joint, side, drive in self._joints:
            angle = drive.sign * self._gait.angle_rad(joint, side)
            drive.targets = (round(angle / o.POSITION_UNIT), share)
        self._belt.targets = (round(self.speed.set_value / o.VELOCITY_UNIT),)
        load = self.support.set_value * self._weight_n
        self._support.targets = (round(load / o.LOAD_UNIT),)

    def _keep_row(self, now_ns: int) -> None:
        row: list[float] = []
        squares, spasm, far = 0.0, False, False
        for joint, side, drive in self._joints:
            angle = _scaled(drive, o.POSITION, drive.sign * o.POSITION_UNIT)
            felt = _scaled(drive, o.INTERACTION, drive.sign * o.INTERACTION_UNIT)
            speed = _scaled(drive, o.VELOCITY, drive.sign * o.VELOCITY_UNIT)
            torque = _scaled(drive, o.TORQUE, drive.sign * o.TORQUE_UNIT * RATED_NM)
            row += [angle, speed, torque, felt]
            reference = self._gait.angle_rad(joint, side)
            squares += (angle - reference) ** 2
            fresh = drive.age_periods < 2
            spasm = spasm or (fresh and abs(felt) > SPASM_NM)
            far = far or (fresh and abs(angle - reference) > FAR_RAD)
        self._spasm = self._spasm + 1 if spasm else 0
        self._far = self._far + 1 if far else 0
        if self._spasm == SPASM_PERIODS:
            self.troubles.append(Trouble("spasm", "joints", "sudden interaction torque"))
        elif self._far == FAR_PERIODS:
            self.troubles.append(Trouble("tracking_error", "joints", "far from the path"))
        load = _scaled(self._support, o.LOAD, o.LOAD_UNIT)
        late, bus = self.row_tail
        age = max(drive.age_periods for drive in self.drives.values())
        row += [
            _scaled(self._belt, o.GROUND_L, 1.0),
            _scaled(self._belt, o.GROUND_R, 1.0),
            self.speed.set_value,
            _scaled(self._belt, o.VELOCITY, o.VELOCITY_UNIT),
            self.support.set_value,
            load / self._weight_n,
            self.guidance.set_value,
            math.sqrt(squares / len(self._joints)),
            self.support.set_value * self._weight_n,
            load,
            self._gait.phase,
            age * self._period_s,
            late,
            bus,
        ]
        row += [0.0] * (self._columns - len(row))
        self._rows.append((now_ns, row))


def _scaled(drive: RemoteDrive, entry: Entry, unit: float) -> float:
    value = drive.value(entry)
    return value * unit if value is not None else math.nan
