"""One drive as the driver sees it: what it last said, how old that is, and what we want of it."""

from __future__ import annotations

import struct

from device_interface.canopen import cia402 as c
from device_interface.canopen import objects as o
from device_interface.canopen.cia402 import DriveState, Goal
from device_interface.canopen.objects import PROFILES, Kind
from device_interface.canopen.wire import Entry, NmtState

_S = DriveState
OBEY_PERIODS = 30
"""A drive that is still enabled so many SYNCs after it was told otherwise does not obey."""
NAME_PERIODS = 3
"""So long a fault in the statusword may wait for the emergency message that names it."""
_RESET_PERIODS = 4


class RemoteDrive:
    """A drive on the bus.

    Nothing that it said is believed longer than `stale_periods` SYNCs, and its statusword
    only while the life count of its application moves: a drive that stands still, or whose
    last TPDO goes out again and again, is told from one that works.

    Parameters
    ----------
    name : str
    kind : {"joint", "belt", "support"}
    node_id, sign, stale_periods : int
    """

    def __init__(self, name: str, kind: Kind, node_id: int, sign: int, stale_periods: int) -> None:
        self.name = name
        self.kind = kind
        self.node_id = node_id
        self.sign = sign
        self.profile = PROFILES[kind]
        self.nmt: NmtState | None = None
        self.booted = False
        self.goal = Goal.OFF
        self.targets: tuple[int, ...] = (0,) * (len(self.profile.rpdo.entries) - 1)
        self.emergency: int | None = None
        self._stale = stale_periods
        self._values: dict[Entry, int] = {}
        self._sync = 0
        self._seen = [0] * len(self.profile.tpdos)
        self._life: int | None = None
        self._life_seen = 0
        self._goal_since = 0
        self._was_enabled = False
        self._left_enabled = True
        self._fault_since: int | None = None
        self._was_faulted = False

    # --- what it says ------------------------------------------------------------------------

    def begin(self) -> None:
        """Forget everything that was said before now."""
        self._values.clear()
        self._sync = 0
        self._seen = [-self._stale] * len(self._seen)
        self._life, self._life_seen = None, -self._stale
        self._goal_since = 0
        self._fault_since = None
        self._was_faulted = False
        self.emergency = None

    def take(self, at: int, data: bytes) -> None:
        """Take its TPDO number `at`; data of another length count as nothing said."""
        if at >= len(self._seen):
            return
        pdo = self.profile.tpdos[at]
        try:
            values = pdo.unpack(data)
        except struct.error:
            return
        self._seen[at] = self._sync
        self._values.update(zip(pdo.entries, values, strict=True))
        if at == 0:
            life = self._values[o.LIFE] & o.LIFE_COUNT
            if life != self._life:
                self._life, self._life_seen = life, self._sync

    @property
    def silent(self) -> bool:
        """True where a TPDO has not come for too long."""
        return self._sync - min(self._seen) >= self._stale

    @property
    def stuck(self) -> bool:
        """True where it speaks, but its application does not move."""
        return not self.silent and self._sync - self._life_seen >= self._stale

    @property
    def believed(self) -> bool:
        """True where what it says counts."""
        return not self.silent and not self.stuck

    @property
    def age_periods(self) -> int:
        """SYNCs since its oldest signal was new."""
        return self._sync - min(*self._seen, self._life_seen)

    def value(self, entry: Entry) -> int | None:
        """Return what it last said of `entry`; None where that is not believed."""
        return self._values.get(entry) if self.believed else None

    def flag(self, bit: int) -> bool:
        """Return a flag of the status byte; False where it is not believed."""
        return bool((self.value(o.LIFE) or 0) & bit)

    @property
    def state(self) -> DriveState:
        """The state that it reports; UNKNOWN where that is not believed."""
        word = self.value(o.STATUSWORD)
        return c.decode(word) if word is not None else _S.UNKNOWN

    # --- what we want ------------------------------------------------------------------------

    def want(self, goal: Goal) -> None:
        """Set the goal; a goal that is set already keeps its age."""
        if goal is not self.goal:
            self._left_enabled = self._left_enabled and self.goal is not Goal.ENABLED
            self.goal = goal
            self._goal_since = self._sync
            self._was_enabled = False
            self._was_faulted = self._was_faulted and goal is not Goal.RESET

    @property
    def enabled(self) -> bool:
        """True where it was brought to operation enabled and says so now."""
        return self.goal is Goal.ENABLED and self.state is _S.OPERATION_ENABLED

    def controlword(self) -> int:
        """Return the controlword of the next cycle.

        Once it was enabled, a drive that drops out is not led back: that takes a new goal.
        A reset is an edge of bit 7, again and again while a cause lasts, and leads no further.
        """
        goal, state = self.goal, self.state  # another thread may set the goal meanwhile
        if goal is Goal.RESET:
            edges = (self._sync - self._goal_since) // _RESET_PERIODS
            return c.FAULT_RESET if edges % 2 else c.DISABLE_VOLTAGE
        if goal is Goal.ENABLED and self._was_enabled and state is not _S.OPERATION_ENABLED:
            return c.DISABLE_VOLTAGE
        return c.toward(state, goal)

    def rpdo(self) -> bytes:
        """Return the data of its RPDO."""
        return self.profile.rpdo.pack((self.controlword(), *self.targets))

    def passed_sync(self) -> None:
        """Count a SYNC that was due."""
        self._sync += 1

    def trouble(self) -> str | None:
        """Return the kind of fault that it shows now, or None; called once a cycle."""
        if self.silent:
            return "node_silent"
        if self.stuck:
            return "node_lies"
        state = self.state
        if state in c.FAULTED:
            self._left_enabled = True
            self._was_faulted = self.goal is not Goal.RESET
            since = self._fault_since if self._fault_since is not None else self._sync
            self._fault_since = since
            unnamed = self.emergency in (None, o.TORQUE_OFF)
            return "drive_fault" if unnamed and self._sync - since >= NAME_PERIODS else None
        self._fault_since = None
        age = self._sync - self._goal_since
        if self._was_faulted:
            self._was_faulted = False
            if age > _RESET_PERIODS and not self.booted:
                return "self_restart"
        if self.goal is Goal.ENABLED:
            if self._was_enabled and state is not _S.OPERATION_ENABLED:
                return "drive_fault"
            self._was_enabled = self._was_enabled or state is _S.OPERATION_ENABLED
        elif state is _S.OPERATION_ENABLED:
            if self._left_enabled:
                return "self_restart"
            return "node_lies" if age > OBEY_PERIODS else None
        self._left_enabled = state is not _S.OPERATION_ENABLED
        return None
