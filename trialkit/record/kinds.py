"""Every kind of event that the record can hold, as one model each.

A payload is plain data with SI units in the names. ``subject`` (the USUBJID), ``actor``,
``role``, ``reason`` and the times stand beside the payload in the event itself. ``day`` is
the study day: 0 on the day of randomisation, negative before it; whole days.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool | None


class Payload(BaseModel):
    """Base of all payloads; ``kind`` is the stable name in the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: ClassVar[str]


# --- study -----------------------------------------------------------------------------


class StudyCreated(Payload):
    """A study began; protocols, design and plan by the hash of their files."""

    kind = "study.created"
    study_id: str
    title: str
    protocols: dict[str, str]
    design: str | None = None
    plan: str | None = None
    software: str
    source: Literal["trial", "import"] = "trial"


class UserAdded(Payload):
    """A person may act in the study, in one role; `sites` is empty where it holds for all."""

    kind = "user.added"
    user: str
    name: str
    user_role: str
    key_fingerprint: str | None = None
    sites: list[str] = Field(default_factory=list)


class CommandRefused(Payload):
    """Somebody tried what the role or the site does not allow; nothing else happened."""

    kind = "command.refused"
    command: str
    permission: str
    why: Literal["role", "site"]


class DataImported(Payload):
    """A foreign table entered the study through a mapping."""

    kind = "data.imported"
    file: str
    file_sha256: str
    mapping_sha256: str
    rows: int
    participants: int


# --- participants ------------------------------------------------------------------------


class ParticipantEnrolled(Payload):
    """A person was entered; `attributes` holds baseline facts (sex, age_years, weight_kg ...)."""

    kind = "participant.enrolled"
    site: str
    attributes: dict[str, Scalar] = Field(default_factory=dict)


class ParticipantConsented(Payload):
    """Consent was given to a version of the information sheet."""

    kind = "participant.consented"
    version: str


class ParticipantEligible(Payload):
    """Every criterion was answered (`answers`: id to yes or no) and none excludes the person.

    ``version`` is that of the criteria, ``criteria`` the SHA-256 of their text.
    """

    kind = "participant.eligible"
    version: str
    criteria: str
    answers: dict[str, bool]


class ParticipantExcluded(Payload):
    """A person was assessed for eligibility and not randomised; `code` is a reason code."""

    kind = "participant.excluded"
    code: str


class AllocationSchemeCommitted(Payload):
    """How the study allocates, and the hash of its secret seed, fixed before the first arm.

    `scheme` is the randomisation section of the protocol; `commitment` is the SHA-256 of the
    canonical JSON ``["allocation seed", study_id, arm codes in the order of the ratio, seed]``.
    """

    kind = "allocation.scheme_committed"
    scheme: dict[str, Any]
    commitment: str


class AllocationListCommitted(Payload):
    """The concealed list of a stratum was fixed before its first use."""

    kind = "allocation.list_committed"
    stratum: str
    length: int
    commitment: str


class ParticipantRandomised(Payload):
    """A participant took the next place of the stratum's list; the arm itself is stored apart.

    `commitment` is the SHA-256 of ``salt|usubjid|arm``; the salt is revealed at unblinding.
    """

    kind = "participant.randomised"
    stratum: str
    strata: dict[str, str]
    place: int
    commitment: str


class AllocationRevealed(Payload):
    """Unblinding: arm and salt of every randomised participant (usubjid -> [arm, salt]).

    `seed` is the secret that was committed, and `codes` are the arm codes in the order of the
    ratio: with them anyone draws every allocation again.
    """

    kind = "allocation.revealed"
    plan_lock: str
    arms: dict[str, tuple[str, str]]
    seed: str | None = None
    codes: list[str] = Field(default_factory=list)


class UnblindingRequested(Payload):
    """A person asks for the arm of one participant in an emergency; the reason is the event's."""

    kind = "unblinding.requested"
    request: str


class UnblindedOne(Payload):
    """A second person agreed, and both were told the arm of one participant.

    The arm is not here: `commitment` is the one of ``participant.randomised``. `told` are the
    names of the two persons, who asked and who agreed.
    """

    kind = "allocation.unblinded_one"
    request: str
    commitment: str
    told: tuple[str, str]


class VisitHeld(Payload):
    """A visit took place."""

    kind = "visit.held"
    visit: str
    day: int
    in_window: bool


class VisitMissed(Payload):
    """A visit did not take place; `code` is a reason code."""

    kind = "visit.missed"
    visit: str
    code: str


class AssessmentRecorded(Payload):
    """One form at one visit; `instrument` is its code.

    `items` are the raw entries; `scores` (PARAMCD -> value) are derived by the form's own rule
    at entry and derived again when data are collected. ``unable`` means that the participant
    could not do it, which is an observation and not a missing value. `entry` is ``first``
    where a second person has to enter it again; `entered` keeps what was given in another
    unit, `flags` the items that are possible and not plausible. `delay_days` are the days from
    the act (`done_on`, or the visit's day) to the entry, where they are known; a `late` entry
    has a reason.
    """

    kind = "assessment.recorded"
    visit: str
    day: int
    instrument: str
    status: Literal["done", "unable", "not_done"] = "done"
    items: dict[str, float | int | str | None] = Field(default_factory=dict)
    scores: dict[str, float | None] = Field(default_factory=dict)
    code: str | None = None
    entry: Literal["single", "first"] = "single"
    entered: dict[str, str] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)
    done_on: str | None = None
    delay_days: int | None = None
    late: bool = False


class AssessmentEnteredAgain(Payload):
    """The second entry of a paper form (`seq` is the first), by another person.

    `differences` are the items that the two entries do not have alike; ``status`` and ``code``
    stand for themselves.
    """

    kind = "assessment.entered_again"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None] = Field(default_factory=dict)
    code: str | None = None
    entered: dict[str, str] = Field(default_factory=dict)
    differences: list[str] = Field(default_factory=list)
    delay_days: int | None = None


class AssessmentAdjudicated(Payload):
    """A person decided between two entries that differ; `seq` is the second.

    `settled` says of each difference whose value was taken: first, second, or other.
    """

    kind = "assessment.adjudicated"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None]
    scores: dict[str, float | None]
    code: str | None = None
    flags: list[str] = Field(default_factory=list)
    settled: dict[str, Literal["first", "second", "other"]]


class AssessmentCorrected(Payload):
    """A correction of an earlier assessment event (`seq`); the old values stay readable.

    `entry` is ``first`` for a paper form: what one person changed is entered again by another.
    """

    kind = "assessment.corrected"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None]
    scores: dict[str, float | None]
    old_items: dict[str, float | int | str | None]
    entry: Literal["single", "first"] = "single"
    entered: dict[str, str] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)


class DiaryEntry(BaseModel):
    """One event in a diary, with its study day and grade (near-fall 1 ... admission 4)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    day: int
    grade: int | None = None


class DiaryReturned(Payload):
    """Days `from_day` to `to_day` (both included) were observed; other days are not exposure."""

    kind = "diary.returned"
    diary: str
    from_day: int
    to_day: int
    entries: list[DiaryEntry] = Field(default_factory=list)


class AdverseEventReported(Payload):
    """An adverse event in ISO 14155 terms; relatedness, severity and seriousness kept apart."""

    kind = "ae.reported"
    term: str
    category: str
    day: int
    severity: Literal["mild", "moderate", "severe"]
    serious: bool = False
    related_device: bool = False
    related_training: bool = False
    device_deficiency: bool = False
    expected: bool = True
    outcome: str = "unknown"
    session: str | None = None


class TrainingDiscontinued(Payload):
    """The participant stopped the allocated training and stays in the study (intercurrent)."""

    kind = "participant.training_discontinued"
    day: int
    code: str


class ParticipantWithdrawn(Payload):
    """The participant left the study; no visit follows."""

    kind = "participant.withdrawn"
    day: int
    code: str


class DeviationRaised(Payload):
    """A departure from the protocol, raised by the software or by a person."""

    kind = "deviation.raised"
    category: str
    detail: str
    day: int | None = None
    session: str | None = None


# --- sessions ----------------------------------------------------------------------------


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

    `conformance` is the hash of the newest ``device.checked`` event of the device.
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


class SessionMissed(Payload):
    """A planned session did not take place; `code` is a reason code."""

    kind = "session.missed"
    number: int
    day: int
    code: str


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


# --- plan, analysis, evidence --------------------------------------------------------------


class Signature(BaseModel):
    """An Ed25519 signature with its signer, meaning and key."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    signer: str
    name: str
    meaning: str
    public_key: str
    fingerprint: str
    signature: str


class PlanLocked(Payload):
    """The plan was locked: its hash, the versions it pins, and the signatures over ``lock``.

    ``lock`` is the SHA-256 of the canonical JSON of plan, methods and schemas.
    """

    kind = "plan.locked"
    plan_id: str
    plan: str
    file: str
    methods: dict[str, str]
    schemas: dict[str, str]
    lock: str
    signatures: list[Signature]


class SnapshotBuilt(Payload):
    """Tables were derived from the record up to `upto_seq`."""

    kind = "snapshot.built"
    snapshot: str
    folder: str
    upto_seq: int
    unblinded: bool


class AnalysisRun(Payload):
    """A plan was run on a snapshot."""

    kind = "analysis.run"
    results: str
    folder: str
    plan_lock: str
    snapshot: str


class ReportRendered(Payload):
    """A report was rendered from results."""

    kind = "report.rendered"
    template: str
    template_sha256: str
    results: str
    renderer: str
    files: dict[str, str]


class EvidenceBuilt(Payload):
    """An evidence package was written."""

    kind = "evidence.built"
    manifest: str
    fingerprint: str


class HeadSigned(Payload):
    """A Merkle head of the record (RFC 6962) over its first `size` events.

    `chain` is the hash of the last of them and `at` the time of the head; `peaks` are the roots of
    the whole subtrees, the largest first. `signature` is over the SHA-256 of the canonical JSON of
    ``{schema, study, size, root, chain, at}``; None where whoever acted has no key at hand.
    """

    kind = "head.signed"
    study: str
    size: int
    root: str
    chain: str
    at: str
    peaks: list[str] = Field(default_factory=list)
    signature: Signature | None = None


KINDS: dict[str, type[Payload]] = {
    model.kind: model
    for model in (
        StudyCreated,
        UserAdded,
        CommandRefused,
        DataImported,
        ParticipantEnrolled,
        ParticipantConsented,
        ParticipantEligible,
        ParticipantExcluded,
        AllocationSchemeCommitted,
        AllocationListCommitted,
        ParticipantRandomised,
        AllocationRevealed,
        UnblindingRequested,
        UnblindedOne,
        VisitHeld,
        VisitMissed,
        AssessmentRecorded,
        AssessmentEnteredAgain,
        AssessmentAdjudicated,
        AssessmentCorrected,
        DiaryReturned,
        AdverseEventReported,
        TrainingDiscontinued,
        ParticipantWithdrawn,
        DeviationRaised,
        SessionOpened,
        SessionTransition,
        SessionCommand,
        SessionAdapted,
        SessionPrompt,
        SettingsDecided,
        TelemetrySealed,
        SessionClosed,
        SessionConventional,
        SessionMissed,
        DeviceChecked,
        PlanLocked,
        SnapshotBuilt,
        AnalysisRun,
        ReportRendered,
        EvidenceBuilt,
        HeadSigned,
    )
}
