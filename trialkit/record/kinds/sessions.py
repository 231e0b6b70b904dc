"""Payloads of sessions, their telemetry and the devices."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trialkit.record.kinds._payload import Payload, Scalar
from trialkit.record.kinds.study import TimeSource


class Dose(BaseModel):
    """Delivered dose of a session, from telemetry or, without a device, from the therapist.

    Durations in minutes, distance in metres, means over moving time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    minutes: float
    moving_minutes: float
    steps: int
    distance_m: float | None = None
    mean_speed_m_s: float | None = None
    mean_support_fraction: float | None = None
    mean_guidance: float | None = None


class SessionOpened(Payload):
    """A session was opened: who, which protocol, on which device.

    `conformance` is the hash of the newest ``device.checked`` event of the device; `clock` says
    where the machine had its time from.
    """

    kind = "session.opened"
    session: str
    number: int
    day: int
    protocol: str
    device: dict[str, Scalar]
    planned_minutes: float
    therapist: str
    conformance: str | None = None
    clock: TimeSource | None = None


class SessionTransition(Payload):
    """The session machine changed state; `cause` is a command, a rule or a device fault."""

    kind = "session.transition"
    session: str
    t_s: float
    old: str
    new: str
    cause: str
    code: str | None = None


class SessionCommand(Payload):
    """A setpoint command, committed before it is sent; `phase` says how far it got."""

    kind = "session.command"
    session: str
    t_s: float
    number: int
    phase: Literal["requested", "accepted", "refused"]
    block: str
    setpoints: dict[str, float]
    detail: str | None = None


class SessionAdapted(Payload):
    """One decision of the adaptive software, or of a person about it; nothing is rounded."""

    kind = "session.adapted"
    session: str
    t_s: float
    parameter: str
    inputs: dict[str, float]
    old: float
    proposed: float
    accepted: bool
    by: str
    rule: str
    model: str | None = None


class SessionPrompt(Payload):
    """A value that a person entered during a session (RPE, pain, blood pressure ...)."""

    kind = "session.prompt"
    session: str
    t_s: float
    prompt: str
    values: dict[str, float]


class SettingsDecided(Payload):
    """A person decided with which settings the next session begins; nothing is rounded.

    `after` is the session that the proposal rests on; `inputs` are its measures and the daily
    state, `old` the settings at its end, `reasons` the proposal in words; `model` is the hash of
    rules and envelopes. Actor and reason stand in the event.
    """

    kind = "settings.decided"
    after: str
    inputs: dict[str, float]
    old: dict[str, float]
    proposed: dict[str, float]
    reasons: dict[str, str]
    settings: dict[str, float]
    outcome: Literal["accepted", "overridden"]
    model: str


class SealedFile(BaseModel):
    """One sealed telemetry file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    sha256: str
    rows: int
    first_seq: int | None
    last_seq: int | None
    gaps: int


class TelemetrySealed(Payload):
    """A session's telemetry was sealed; paths are relative to the study folder."""

    kind = "session.telemetry_sealed"
    session: str
    folder: str
    manifest_sha256: str
    files: list[SealedFile]


class Timing(BaseModel):
    """How late the ticks of a real-time session came, in seconds.

    `bins` are counts: below 0.1 ms, then five a decade up to 10 s, then above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ticks: int
    p50_s: float
    p99_s: float
    max_s: float
    bins: list[int]


class SessionClosed(Payload):
    """A session ended, with its delivered dose and, in real time, the lateness of its loop."""

    kind = "session.closed"
    session: str
    number: int
    day: int
    status: Literal[
        "completed",
        "stopped_operator",
        "stopped_participant",
        "stopped_safety",
        "device_fault",
        "recovered",
    ]
    dose: Dose
    dose_source: Literal["telemetry", "therapist"]
    code: str | None = None
    timing: Timing | None = None


class SessionConventional(Payload):
    """A session without the device, as its therapist logged it."""

    kind = "session.conventional"
    session: str
    number: int
    day: int
    protocol: str
    therapist: str
    dose: Dose
    delay_days: int | None = None
    late: bool = False


class SessionMissed(Payload):
    """A planned session did not take place; `code` is a reason code."""

    kind = "session.missed"
    number: int
    day: int
    code: str
    delay_days: int | None = None
    late: bool = False


class SessionExported(Payload):
    """The telemetry of a session was written for other programs; `files` are paths to SHA-256."""

    kind = "session.exported"
    session: str
    format: str
    files: dict[str, str]


class ProgressExported(Payload):
    """A participant's growth curve was drawn into a file; `files` are names to SHA-256."""

    kind = "progress.exported"
    usubjid: str
    measure: str
    files: dict[str, str]


class DeviceChecked(Payload):
    """The conformance kit was run on a device; the file it wrote is named by its hash.

    `device` is the identity of the descriptor; `digest` is what the signature covers.
    """

    kind = "device.checked"
    driver: str
    package: str
    package_version: str
    device: dict[str, Scalar]
    descriptor_sha256: str
    kit: str
    groups: list[str]
    quick: bool
    passed: int
    failed: int
    not_applicable: int
    failures: list[str]
    file: str
    digest: str
    fingerprint: str | None = None
