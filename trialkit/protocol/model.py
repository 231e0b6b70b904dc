"""The protocol: what the arm of a trial must do, as data.

One YAML file describes one arm. The sections ``trial``, ``visits`` and ``diaries`` are shared:
the files of one trial must give them alike. Units are in the names: speed in m/s, support
as a fraction of body weight, guidance from 0 to 1, pressures in mmHg on prompts only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "trialkit.protocol/1"
PARAMETERS = ("speed_m_s", "support_fraction", "guidance")
Parameter = Literal["speed_m_s", "support_fraction", "guidance"]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=40)]


class Part(BaseModel):
    """Base of every section: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Arm(Part):
    """An arm: `code` is ARMCD, `label` is TRT01P, `delivery` says who delivers the training."""

    code: Code
    label: str
    delivery: Literal["device", "therapist", "none"]


class Stratum(Part):
    """A stratification factor, from the site or from cut-offs of a baseline score.

    With `paramcd`, ``levels`` has one more entry than ``cuts``: level i holds the values below
    ``cuts[i]``. With `attribute`, the level is the enrolment attribute's text.
    """

    name: Code
    paramcd: str | None = None
    attribute: str | None = None
    cuts: list[float] = Field(default_factory=list)
    levels: list[str] = Field(default_factory=list)


class Randomisation(Part):
    """Stratified permuted blocks; `ratio` follows the order of the trial's arms."""

    ratio: list[Annotated[int, Field(ge=1, le=10)]]
    block_sizes: list[Annotated[int, Field(ge=1, le=24)]]
    by_site: bool = True
    strata: list[Stratum] = Field(default_factory=list)


class Trial(Part):
    """What the arms of a trial share. Randomisation is absent in a single-arm study."""

    id: Code
    title: str
    arms: list[Arm] = Field(min_length=1)
    randomisation: Randomisation | None = None


class Visit(Part):
    """A visit on study day `day`; `window_days` are the days allowed before (-) and after it."""

    code: Code
    label: str
    day: int
    window_days: tuple[int, int]
    assessments: list[str] = Field(default_factory=list)
    baseline: bool = False


class Diary(Part):
    """A diary of recurrent events from randomisation (day 0) to `to_day`.

    `paramcd` names the event and `dataset` the analysis frame it goes to, such as ADFALL.
    """

    paramcd: Code
    label: str
    dataset: Code
    to_day: Annotated[int, Field(ge=1)]
    return_every_days: Annotated[int, Field(ge=1)] = 30


class DeviceNeed(Part):
    """What a device must be able to do before it may run this protocol."""

    family: Literal["treadmill_orthosis", "overground_exoskeleton", "wearable_brace"]
    parameters: list[Parameter]


class Schedule(Part):
    """How many sessions, when; windows in days around the planned day."""

    sessions_per_week: Annotated[int, Field(ge=1, le=14)]
    weeks: Annotated[int, Field(ge=1, le=104)]
    window_days: tuple[int, int] = (-2, 2)
    makeup_per_week: Annotated[int, Field(ge=0)] = 0


class Block(Part):
    """A stretch of a session. Setpoints that are absent keep the value of the block before."""

    id: Code
    kind: Literal["warm_up", "walk", "rest", "overground", "cool_down", "therapy"]
    minutes: Annotated[float, Field(gt=0, le=120)]
    speed_m_s: float | None = None
    support_fraction: float | None = None
    guidance: float | None = None
    prompts: list[str] = Field(default_factory=list)


class Session(Part):
    """The blocks of one session; `donning_minutes` are counted apart from the training."""

    blocks: list[Block] = Field(min_length=1)
    screening: list[str] = Field(default_factory=list)
    donning_minutes: tuple[float, float] | None = None


class ParameterRule(Part):
    """Start, target and step of one parameter over the course.

    `per_session_max` bounds the change within one session. `advance_if` and `regress_if` name
    conditions on prompts and stride measures, such as ``rpe <= 13``.
    """

    parameter: Parameter
    start: float
    target: float
    step: float
    per_session_max: float
    advance_if: list[str] = Field(default_factory=list)
    regress_if: list[str] = Field(default_factory=list)


class Progression(Part):
    """Rules in the order in which parameters may move; at most `changes_per_block` at once."""

    order: list[ParameterRule]
    changes_per_block: Annotated[int, Field(ge=1, le=3)] = 1


class Limit(Part):
    """Soft limits of a parameter; the device's own hard limits must enclose them."""

    parameter: Parameter
    minimum: float
    maximum: float
    rate_per_s: Annotated[float, Field(gt=0)]


class StopRule(Part):
    """A bound on a sign; ``verified: false`` until a clinician at the site has confirmed it."""

    id: Code
    sign: Code
    when: Literal["before_start", "during"]
    above: float | None = None
    below: float | None = None
    action: Literal["do_not_start", "hold", "stop"]
    verified: bool = False
    source: str = ""


class Envelope(Part):
    """Inside which the adaptive software may move one parameter, and who confirms."""

    parameter: Parameter
    minimum: float
    maximum: float
    max_step: Annotated[float, Field(gt=0)]
    min_interval_s: Annotated[float, Field(gt=0)]
    confirm: Literal["none", "therapist"]


class Staffing(Part):
    """Therapists per active participant; a second session is refused where it is not allowed."""

    max_participants_per_therapist: Annotated[int, Field(ge=1, le=3)]
    donning_staff: Annotated[int, Field(ge=1)] = 1
    qualification: str = ""


class Fidelity(Part):
    """What counts as delivered as planned."""

    min_sessions_fraction: Annotated[float, Field(ge=0, le=1)]
    min_moving_minutes: Annotated[float, Field(ge=0)]


class Protocol(Part):
    """One arm of a trial, from screening to follow-up.

    The hash of a protocol is the SHA-256 of its file (`trialkit.protocol.load_protocol`).
    """

    schema_: Literal["trialkit.protocol/1"] = Field(alias="schema")
    id: Code
    version: str
    arm: Code
    why: str
    trial: Trial
    visits: list[Visit] = Field(min_length=1)
    diaries: list[Diary] = Field(default_factory=list)
    device: DeviceNeed | None = None
    schedule: Schedule
    session: Session
    progression: Progression | None = None
    limits: list[Limit] = Field(default_factory=list)
    stop_rules: list[StopRule] = Field(default_factory=list)
    adaptation: list[Envelope] = Field(default_factory=list)
    staffing: Staffing
    fidelity: Fidelity
    sources: list[str] = Field(default_factory=list)

    @property
    def planned_sessions(self) -> int:
        """Number of sessions in the course."""
        return self.schedule.sessions_per_week * self.schedule.weeks

    @property
    def planned_minutes(self) -> float:
        """Planned minutes of one session without donning."""
        return sum(block.minutes for block in self.session.blocks)

    def visit(self, code: str) -> Visit | None:
        """Return the visit of that code, or None."""
        return next((v for v in self.visits if v.code == code), None)
