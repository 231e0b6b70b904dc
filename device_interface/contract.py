"""What a gait trainer must be able to do, as data and as small runtime protocols.

Python supervises and the device controls: torque loops, hard limits, ramps and the watchdog
live in the device, which refuses by itself what is out of range, not finite, too fast, or
not legal in its state. ``stop`` is legal in every state and idempotent.

Angles are in rad and positive for flexion (dorsiflexion at the ankle), 0 is anatomical
standing; torques act toward the positive angle, interaction torque is robot on human;
forces are in N and positive upward on the patient; a belt that walks forward is positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

SCHEMA = "trialkit.device/1"
KEEPALIVE_S = 0.05
WATCHDOG_S = 0.25
MOVING_M_S = 0.05
UNKNOWN_FAULT_CODE = 32767
"""What a device reports for a fault that its descriptor does not name."""

Family = Literal["treadmill_orthosis", "overground_exoskeleton", "wearable_brace"]
StopCategory = Literal[0, 1, 2]


class DeviceState(IntEnum):
    """States of a device; the numbers are what the telemetry channel ``device_state`` holds."""

    DISCONNECTED = 0
    DISARMED = 1
    ARMED = 2
    RUNNING = 3
    HOLD = 4
    RAMP_DOWN = 5
    FAULT = 6
    ESTOP_PHYSICAL = 7
    ESTOP_LATCHED = 8
    LINK_LOST = 9


_S = DeviceState
_ABNORMAL = frozenset({_S.FAULT, _S.ESTOP_PHYSICAL, _S.LINK_LOST})

#: Every legal change of state. No edge leads from a fault to ARMED without DISARMED.
TRANSITIONS: dict[DeviceState, frozenset[DeviceState]] = {
    _S.DISCONNECTED: frozenset({_S.DISARMED}),
    _S.DISARMED: frozenset({_S.ARMED, _S.DISCONNECTED}) | _ABNORMAL,
    _S.ARMED: frozenset({_S.RUNNING, _S.DISARMED}) | _ABNORMAL,
    _S.RUNNING: frozenset({_S.HOLD, _S.RAMP_DOWN}) | _ABNORMAL,
    _S.HOLD: frozenset({_S.RUNNING, _S.RAMP_DOWN}) | _ABNORMAL,
    _S.RAMP_DOWN: frozenset({_S.DISARMED}) | _ABNORMAL,
    _S.FAULT: frozenset({_S.DISARMED, _S.ESTOP_PHYSICAL}),
    _S.ESTOP_PHYSICAL: frozenset({_S.ESTOP_LATCHED}),
    _S.ESTOP_LATCHED: frozenset({_S.DISARMED, _S.ESTOP_PHYSICAL}),
    _S.LINK_LOST: frozenset({_S.DISARMED, _S.DISCONNECTED, _S.ESTOP_PHYSICAL}),
}

#: States in which the device has failed and stays so until somebody acknowledges it.
FAILED = frozenset({_S.FAULT, _S.ESTOP_PHYSICAL, _S.ESTOP_LATCHED, _S.LINK_LOST})


@dataclass(frozen=True)
class Parameter:
    """A setting that the device takes: hard limits, and how fast it may move.

    Parameters
    ----------
    name, unit : str
        ``speed_m_s`` in m/s, ``support_fraction`` of body weight, ``guidance`` from 0 to 1.
    minimum, maximum : float
        Hard limits; the device refuses anything outside.
    rate_per_s : float
        Fastest change that the device makes.
    rest : float
        The value that arming starts from.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    rate_per_s: float
    rest: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Five tiers of limits of a channel, in its unit; None where a tier is not given.

    Parameters
    ----------
    control : tuple of float or None
        What may be asked for.
    display : tuple of float or None
        What a screen draws.
    warning : tuple of float or None
        Outside, a person is told.
    alarm : tuple of float or None
        Outside, the session acts.
    hysteresis : float
        How far inside the band a value must come back before warning or alarm ends.
    """

    control: tuple[float, float] | None = None
    display: tuple[float, float] | None = None
    warning: tuple[float, float] | None = None
    alarm: tuple[float, float] | None = None
    hysteresis: float = 0.0


@dataclass(frozen=True)
class Channel:
    """One column of telemetry.

    Parameters
    ----------
    name, unit : str
        The unit in SI; ``1`` for a ratio or an enumeration.
    positive : str
        What a positive value means.
    minimum, maximum : float
        Physical range; a value outside is a fault of the source.
    kind : {"float32", "int16"}
        How it is stored.
    limits : Limits
        Five tiers.
    follows : str or None
        The channel of the set value that this one reads back.
    allowed_gap, gap_after_s : float or None
        Largest allowed difference from the set value, and after how long it counts.
    """

    name: str
    unit: str
    positive: str
    minimum: float
    maximum: float
    kind: Literal["float32", "int16"] = "float32"
    limits: Limits = Limits()
    follows: str | None = None
    allowed_gap: float | None = None
    gap_after_s: float | None = None


@dataclass(frozen=True)
class Stream:
    """A group of channels at one rate; ``rate_hz`` is None for one row a stride.

    A session ends where a stream that is `required` falls silent.
    """

    name: str
    rate_hz: float | None
    channels: tuple[Channel, ...]
    required: bool = False

    def index(self, name: str) -> int:
        """Return the column of the channel `name`.

        Raises
        ------
        KeyError
            If the stream has no such channel.
        """
        for at, channel in enumerate(self.channels):
            if channel.name == name:
                return at
        raise KeyError(name)


#: What a device on a bench may take in `Injectable.inject` beside the faults that it declares.
BENCH_EVENTS: dict[str, str] = {
    "estop_release": "the pressed emergency stop is released, or its plug is put back",
    "position_limit": "a joint is pushed against the end of its range while the device drives it",
    "undeclared": "the device finds a fault that its descriptor does not name",
}

Reaction = Literal["fault", "estop", "hold", "telemetry"]


@dataclass(frozen=True)
class Fault:
    """Something that can go wrong in a device, and what the device does about it.

    Parameters
    ----------
    kind : str
        Name, such as ``motor_overtemperature``.
    code : int
        Stable number in the channel ``fault_code``; 0 where the device itself reports none.
    text : str
    reaction : {"fault", "estop", "hold", "telemetry"}
        ``fault`` and ``estop`` take the torque away and latch; ``hold`` brings the device to
        rest with power kept; ``telemetry`` hurts only what the device reports.
    """

    kind: str
    code: int
    text: str
    reaction: Reaction = "fault"


@dataclass(frozen=True)
class Capability:
    """Who a device is and what it can do.

    The first stream is the device's own: it holds ``device_state``, ``fault_code`` and
    ``watchdog_age_s``. `lockstep` says that its time can be what the host says. `notes` are
    further scalars that the record is to hold of this device.
    """

    vendor: str
    model: str
    serial: str
    firmware: str
    family: Family
    parameters: tuple[Parameter, ...]
    streams: tuple[Stream, ...]
    calibrated_on: str | None
    simulated: bool
    watchdog_s: float = WATCHDOG_S
    stop_within_s: Mapping[int, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    lockstep: bool = True
    schema: str = SCHEMA
    notes: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter `name`, or None where the device does not have it."""
        return next((p for p in self.parameters if p.name == name), None)

    def stream(self, name: str) -> Stream | None:
        """Return the stream `name`, or None where the device does not have it."""
        return next((s for s in self.streams if s.name == name), None)

    def fault(self, kind: str) -> Fault | None:
        """Return the declared fault `kind`, or None."""
        return next((f for f in self.faults if f.kind == kind), None)

    def identity(self) -> dict[str, str | int | float | bool | None]:
        """Return the scalars that name the device, for the record."""
        return {
            "vendor": self.vendor,
            "model": self.model,
            "serial": self.serial,
            "firmware": self.firmware,
            "family": self.family,
            "calibrated_on": self.calibrated_on,
            "simulated": self.simulated,
            "watchdog_s": self.watchdog_s,
            **self.notes,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the whole descriptor as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Setpoints:
    """Targets, how fast to go there, and the token of the arming that they belong to.

    A parameter that `values` does not name keeps its target. `rates` (per second) may only
    be slower than the device's own.
    """

    values: Mapping[str, float]
    rates: Mapping[str, float]
    token: int


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one stream.

    Attributes
    ----------
    seq : ndarray of uint32, shape (n,)
        Consecutive where nothing was lost.
    t_device_ns, t_host_ns : ndarray of int64, shape (n,)
        The device's clock, and the host's monotonic clock at arrival.
    values : ndarray of float32, shape (n, channels)
    """

    stream: str
    seq: NDArray[np.uint32]
    t_device_ns: NDArray[np.int64]
    t_host_ns: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.seq)


@runtime_checkable
class Describable(Protocol):
    """Says who it is and what it can do."""

    def describe(self) -> Capability:
        """Return the descriptor; legal at any time."""
        ...


@runtime_checkable
class Connectable(Protocol):
    """Has a connection that is opened, checked and closed."""

    def connect(self, *, lockstep: bool) -> None:
        """Open the connection: DISCONNECTED to DISARMED.

        With `lockstep` the device's time is what `advance` says, and the watchdog is served
        by it; else `keepalive` must come at least every ``watchdog_s``.
        """
        ...

    def preflight(self) -> Sequence[str]:
        """Return what keeps the device from being armed; empty when it is ready."""
        ...

    def close(self) -> None:
        """Close the connection; the device stops first."""
        ...


@runtime_checkable
class Armable(Protocol):
    """Takes power for motion only after it was armed."""

    def arm(self) -> int:
        """DISARMED to ARMED; return the token that setpoints must carry."""
        ...

    def disarm(self) -> None:
        """ARMED to DISARMED; no effect in DISARMED."""
        ...


@runtime_checkable
class Commandable(Protocol):
    """Takes setpoints."""

    def apply(self, setpoints: Setpoints) -> int:
        """Take targets: ARMED to RUNNING, or RUNNING; return the device time in ns.

        Raises
        ------
        LimitRefused, StateRefused, TokenRefused
            And the device is unchanged.
        """
        ...


@runtime_checkable
class Holdable(Protocol):
    """Comes to rest with power kept, and goes on from rest."""

    def hold(self) -> None:
        """RUNNING to HOLD; idempotent."""
        ...

    def resume(self) -> int:
        """HOLD to RUNNING with every target at rest; return a new token."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """Stops."""

    def ramp_down(self) -> None:
        """Come to rest as a session ends: RUNNING or HOLD to RAMP_DOWN to DISARMED."""
        ...

    def stop(self, category: StopCategory) -> None:
        """Stop now: 0 power off, 1 controlled then off, 2 controlled with power kept.

        Idempotent, legal in every state, never raises.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """Stops by itself when nobody serves it."""

    def keepalive(self, number: int) -> None:
        """Say that the host lives; a `number` that is not above the last one does not count."""
        ...


@runtime_checkable
class Faulting(Protocol):
    """Has latched faults."""

    @property
    def state(self) -> DeviceState:
        """The state now."""
        ...

    def faults(self) -> Sequence[tuple[int, str]]:
        """Return the latched faults as (code, text)."""
        ...

    def acknowledge(self) -> None:
        """Clear a latched fault whose cause is gone: to DISARMED, never further."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """Gives telemetry."""

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let up to `duration_ns` pass and return the time that passed and its rows.

        A device that fails on the way returns early, so that the host sees it at once.
        """
        ...


@runtime_checkable
class Respondent(Protocol):
    """A simulated device's virtual patient, who can be asked (RPE, pain, blood pressure)."""

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Return the answer as named numbers, or None where the patient has none."""
        ...


@runtime_checkable
class Injectable(Protocol):
    """A device on a bench, in which a declared fault can be made to happen."""

    def inject(self, kind: str) -> None:
        """Make a fault of the descriptor, or one of `BENCH_EVENTS`, happen now."""
        ...


@runtime_checkable
class Device(
    Describable,
    Connectable,
    Armable,
    Commandable,
    Holdable,
    Stoppable,
    Watched,
    Faulting,
    Streaming,
    Protocol,
):
    """All of it: what a driver for a session must be."""
