"""What goes into the session machine and what comes out of it: plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trialkit.record.kinds import Payload

Who = Literal["operator", "participant", "safety"]
StopCategory = Literal[0, 1, 2]

# --- inputs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """Telemetry of one tick in a few numbers.

    `device_state` is that of the last row; `fault_code` is the last one of the tick that is
    not 0; `gap_s` is the time without rows up to now, of the required stream that has waited
    longest; `late_s` is how late this tick came; `measures` holds the signs that the device
    itself delivers; `guards` holds what the watch over the rows saw, by code (see
    `trialkit.session.guards`), with the value that it saw; `silent` names the streams that
    are not required and have fallen silent.
    """

    rows: int
    device_state: int | None = None
    fault_code: int = 0
    speed_m_s: float = 0.0
    gap_s: float = 0.0
    late_s: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, float] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ready:
    """The guards and the device's preflight are satisfied."""


@dataclass(frozen=True)
class Begin:
    """Start, after screening; `values` are the signs that were entered."""

    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tick:
    """`dt_s` seconds passed."""

    dt_s: float
    summary: Summary


@dataclass(frozen=True)
class Hold:
    """A person wants the device to come to rest; `code` is one of `reasons.HOLD`."""

    code: str = "operator"
    text: str = ""


@dataclass(frozen=True)
class Resume:
    """A person wants to go on; `code` is one of `reasons.RESUME`, ``other`` needs a `reason`."""

    reason: str = ""
    code: str = "other"


@dataclass(frozen=True)
class Stop:
    """Stop now, for good; `code` is one of `reasons.STOP`. A stop is never refused."""

    who: Who = "operator"
    code: str = "operator"
    text: str = ""


@dataclass(frozen=True)
class Answered:
    """The prompts of `block` were answered; no values where they were declined."""

    block: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decide:
    """A person's word on a proposal: accepted, refused, or another `value`."""

    number: int
    accepted: bool
    by: str
    value: float | None = None


@dataclass(frozen=True)
class BlockLogged:
    """A block without the device was done; `minutes` as the therapist logs them."""

    block: str
    minutes: float


@dataclass(frozen=True)
class Acknowledged:
    """The device accepted or refused a command."""

    number: int
    accepted: bool
    values: Mapping[str, float] = field(default_factory=dict)
    detail: str | None = None


@dataclass(frozen=True)
class DeviceFailed:
    """The device, or the link to it, failed."""

    code: str
    detail: str = ""


Input = (
    Ready
    | Begin
    | Tick
    | Hold
    | Resume
    | Stop
    | Answered
    | Decide
    | BlockLogged
    | Acknowledged
    | DeviceFailed
)

# --- effects -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Append:
    """Append an event to the record."""

    payload: Payload
    reason: str | None = None


@dataclass(frozen=True)
class Arm:
    """Arm the device."""


@dataclass(frozen=True)
class Send:
    """Send setpoints, and say how the device took them."""

    number: int
    values: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class HoldDevice:
    """Bring the device to rest, power kept."""


@dataclass(frozen=True)
class ResumeDevice:
    """Let the device go on from rest."""


@dataclass(frozen=True)
class RampDown:
    """Bring the device to rest and disarm it."""


@dataclass(frozen=True)
class StopDevice:
    """Stop the device now."""

    category: StopCategory = 1


@dataclass(frozen=True)
class Ask:
    """Ask the operator for values."""

    block: str
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Propose:
    """Ask the therapist to accept a change of a setting."""

    number: int
    parameter: str
    old: float
    proposed: float
    rule: str


@dataclass(frozen=True)
class LogBlock:
    """Ask the therapist to do a block without the device and to log its minutes."""

    block: str
    minutes: float


@dataclass(frozen=True)
class Notice:
    """Tell the operator something."""

    text: str


Effect = (
    Append
    | Arm
    | Send
    | HoldDevice
    | ResumeDevice
    | RampDown
    | StopDevice
    | Ask
    | Propose
    | LogBlock
    | Notice
)
