"""The protocol: what the arm of a trial must do, as data.

One YAML file describes one arm. The sections ``trial``, ``visits`` and ``diaries`` are shared:
the files of one trial must give them alike. Units are in the names: speed in m/s, support
as a fraction of body weight, guidance from 0 to 1, pressures in mmHg on prompts only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "trialkit.protocol/1"
Parameter = Literal["speed_m_s", "support_fraction", "guidance"]
PARAMETERS: tuple[Parameter, ...] = ("speed_m_s", "support_fraction", "guidance")
DEVICE_KINDS = frozenset({"warm_up", "walk", "rest", "cool_down"})
#: What a device itself delivers, so that rules may use it without a prompt.
MEASURES = frozenset(
    {
        "tracking_error_rad",
        "toe_clearance_m",
        "step_asymmetry",
        "heart_rate_bpm",
        "telemetry_gap_s",
    }
)
#: What is known of a block or of the time since a scheme's last decision, and not of an instant.
BLOCK_MEASURES = frozenset({"lesser_load_share"})
WALKING_KINDS = frozenset({"warm_up", "walk", "overground", "cool_down"})
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=40)]


class Part(BaseModel):
    """Base of every section: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Arm(Part):
    """An arm: `code` is ARMCD, `label` is TRT01P, `delivery` says who delivers the training."""

    code: Code
    label: str
    delivery: Literal["device", "therapist", "none"]


class Stratum(Part):
    """A stratification factor, from the site or from cut-offs of a baseline score.

    With `paramcd`, ``levels`` has one more entry than ``cuts``: level i holds the values below
    ``cuts[i]``, and a value on a cut belongs to the level above it. With `attribute`, the level
    is the enrolment attribute's text. In ADSL the column is the upper-case `name`.
    """

    name: Code
    paramcd: str | None = None
    attribute: str | None = None
    cuts: list[float] = Field(default_factory=list)
    levels: list[str] = Field(default_factory=list)

    def level(self, value: float) -> str:
        """Return the level that holds a baseline score `value`."""
        return self.levels[bisect_right(self.cuts, value)]


class Minimisation(Part):
    """How minimisation weighs: Pocock and Simon 1975, Han et al. 2009.

    `measure` is what is minimised: the range, or the variance, of the arms' counts divided by
    the ratio. The arm that balances best is given with `probability`; 1 would make it certain.
    `weights` go by factor name (``site`` is the site); a factor without one has 1.
    """

    measure: Literal["range", "variance"] = "range"
    probability: Annotated[float, Field(gt=0, le=1)] = 0.8
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class Randomisation(Part):
    """Stratified permuted blocks, or minimisation; `ratio` follows the order of the trial's arms.

    ``permuted_blocks`` draws a list for each combination of site and strata, in blocks of
    `block_sizes`. ``minimisation`` balances site and strata one by one, and has no blocks.
    """

    method: Literal["permuted_blocks", "minimisation"] = "permuted_blocks"
    ratio: list[Annotated[int, Field(ge=1, le=10)]]
    block_sizes: list[Annotated[int, Field(ge=1, le=24)]] = Field(default_factory=list)
    minimisation: Minimisation | None = None
    by_site: bool = True
    strata: list[Stratum] = Field(default_factory=list)

    @property
    def factors(self) -> list[str]:
        """Names of what is balanced: the site first, where it counts, then the strata."""
        return ["site"] * self.by_site + [stratum.name for stratum in self.strata]


class Criterion(Part):
    """A question about a person; an inclusion needs the answer yes, an exclusion no.

    With `minimum` or `maximum`, both included, the answer must be yes where the value is inside
    and no where it is not: the value of the enrolment attribute `attribute`, or the baseline
    score `paramcd`, in its unit. Where the record has no such value, a person's answer counts.
    ``verified: false`` until a clinician at the site has confirmed the criterion.
    """

    id: Code
    kind: Literal["inclusion", "exclusion"]
    text: str
    attribute: str | None = None
    paramcd: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    verified: bool = False
    source: str = ""

    def holds(self, value: float) -> bool:
        """Return whether `value` lies between `minimum` and `maximum`."""
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )


class Eligibility(Part):
    """Who may be randomised; every criterion is answered, and `version` is kept with it."""

    version: Code
    criteria: list[Criterion] = Field(min_length=1)


class DoseMatch(Part):
    """What the arms are matched on, and how far they may lie apart.

    ``minutes`` counts all of a session without donning, ``walking_minutes`` the session without
    rests and therapy. The course (sessions times minutes) is compared.
    """

    unit: Literal["minutes", "walking_minutes"]
    tolerance_fraction: Annotated[float, Field(ge=0, le=1)]


class SafetyReporting(Part):
    """How many hours after becoming aware of an event its report is due, by ISO 14155 class.

    ``DD_SADE`` is a device deficiency that could have led to a SADE. Where several classes of an
    event have hours, the shortest count. Nothing is due of a class without.
    """

    hours: dict[
        Literal["AE", "SAE", "ADE", "SADE", "USADE", "DD", "DD_SADE"],
        Annotated[float, Field(gt=0)],
    ]
    verified: bool = False
    source: str = ""


class Trial(Part):
    """What the arms of a trial share. Randomisation is absent in a single-arm study.

    Where `eligibility` is given, nobody is randomised before it was confirmed. A form that is
    entered more than `late_entry_days` days after the act needs a reason.
    """

    id: Code
    title: str
    arms: list[Arm] = Field(min_length=1)
    randomisation: Randomisation | None = None
    eligibility: Eligibility | None = None
    dose_match: DoseMatch | None = None
    late_entry_days: Annotated[int, Field(ge=0)] | None = None
    ae_reporting: SafetyReporting | None = None


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
    Entries of a grade below `event_from_grade` (a near-fall, say) are kept but are no event.
    """

    paramcd: Code
    label: str
    dataset: Code
    to_day: Annotated[int, Field(ge=1)]
    return_every_days: Annotated[int, Field(ge=1)] = 30
    event_from_grade: int | None = None


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
    """A stretch of a session.

    A setpoint that is given holds for the block. One that is absent is the level that the
    progression has reached in a ``walk`` block, and otherwise keeps the value of the block
    before (`Protocol.setpoints` resolves this). ``overground`` and ``therapy`` are not device
    time and have no setpoints. `prompts` are the signs that a person enters as the block ends.
    """

    id: Code
    kind: Literal["warm_up", "walk", "rest", "overground", "cool_down", "therapy"]
    minutes: Annotated[float, Field(gt=0, le=120)]
    speed_m_s: float | None = None
    support_fraction: float | None = None
    guidance: float | None = None
    prompts: list[str] = Field(default_factory=list)


class Session(Part):
    """The blocks of one session, and the minutes around them.

    `donning_minutes` and `doffing_minutes` are the planned ranges of putting the device on and
    taking it off: they are counted apart and are never dose. The actual minutes are entered
    where ``donning_minutes`` stands in `screening` and ``doffing_minutes`` in the prompts of
    the last block. `screening` are the signs that are entered before the start.
    """

    blocks: list[Block] = Field(min_length=1)
    screening: list[str] = Field(default_factory=list)
    donning_minutes: tuple[float, float] | None = None
    doffing_minutes: tuple[float, float] | None = None


class ParameterRule(Part):
    """Start, target and step of one parameter over the course.

    `step` carries the sign of the advance (negative where the parameter goes down);
    `per_session_max` bounds the size of the change within one session. `advance_if` (all must
    hold) and `regress_if` (any suffices) are conditions on the signs that are prompted for and
    on the stride measures of `MEASURES`, such as ``rpe <= 13``.
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
    """A bound on a sign: the rule fires for a value above `above` or below `below`.

    ``verified: false`` until a clinician at the site has confirmed it. `sign` is one that is
    entered at screening or prompted for, or a stride measure.
    """

    id: Code
    sign: Code
    when: Literal["before_start", "during"]
    above: float | None = None
    below: float | None = None
    action: Literal["do_not_start", "hold", "stop"]
    verified: bool = False
    source: str = ""


class Envelope(Part):
    """Inside which the adaptive software may move one parameter, and who confirms.

    A `scheme` of `trialkit.adaptation` names the law that moves it, between strides and not
    sooner than `min_interval_s` after its last decision, with its numbers in `options` (those
    that are left out have their default) and in `measure` what it follows instead of its usual
    measure; without a scheme the progression moves the parameter.
    """

    parameter: Parameter
    minimum: float
    maximum: float
    max_step: Annotated[float, Field(gt=0)]
    min_interval_s: Annotated[float, Field(gt=0)]
    confirm: Literal["none", "therapist"]
    scheme: Code | None = None
    measure: Code | None = None
    options: dict[str, float] = Field(default_factory=dict)


class Alongside(Part):
    """What every participant of the arm receives beside the sessions, such as physiotherapy."""

    what: str
    minutes_per_session: Annotated[float, Field(gt=0, le=480)]
    sessions_per_week: Annotated[int, Field(ge=1, le=14)]


class Staffing(Part):
    """Therapists per active participant; a second session is refused where it is not allowed."""

    max_participants_per_therapist: Annotated[int, Field(ge=1, le=3)]
    donning_staff: Annotated[int, Field(ge=1)] = 1
    qualification: str = ""


class Fidelity(Part):
    """What counts as delivered as planned; less is a deviation that the software raises.

    A block of which less than `min_block_fraction` was delivered counts as shortened.
    """

    min_sessions_fraction: Annotated[float, Field(ge=0, le=1)]
    min_moving_minutes: Annotated[float, Field(ge=0)]
    min_block_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9


class Protocol(Part):
    """One arm of a trial, from screening to follow-up.

    `why`, `where` and `tailoring` are the words of TIDieR items 2, 7 and 9.

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
    alongside: list[Alongside] = Field(default_factory=list)
    tailoring: str = ""
    where: str = ""
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

    @property
    def planned_device_minutes(self) -> float:
        """Planned minutes of one session on the device, rests included."""
        if self.device is None:
            return 0.0
        return sum(block.minutes for block in self.session.blocks if block.kind in DEVICE_KINDS)

    @property
    def planned_walking_minutes(self) -> float:
        """Planned minutes of one session in which the participant walks."""
        return sum(block.minutes for block in self.session.blocks if block.kind in WALKING_KINDS)

    def setpoints(
        self, levels: Mapping[Parameter, float] | None = None
    ) -> list[dict[Parameter, float]]:
        """Return the full setpoints of each block, in the order of ``session.blocks``.

        Parameters
        ----------
        levels : mapping, optional
            Parameter to the level that the progression has reached; where absent, its start.

        Returns
        -------
        list of dict
            One dict a block, with the parameters that have a value there. Speed is 0 in a
            ``rest``; blocks that are not device time have an empty dict.
        """
        rules = self.progression.order if self.progression else []
        reached = {rule.parameter: rule.start for rule in rules} | dict(levels or {})
        current: dict[Parameter, float] = {}
        resolved: list[dict[Parameter, float]] = []
        for block in self.session.blocks:
            if self.device is None or block.kind not in DEVICE_KINDS:
                resolved.append({})
                continue
            given: dict[Parameter, float] = {
                name: value for name in PARAMETERS if (value := getattr(block, name)) is not None
            }
            if block.kind == "rest":
                resolved.append(reached | current | given | {"speed_m_s": 0.0})
                continue
            current = current | (reached if block.kind == "walk" else {}) | given
            resolved.append(reached | current)
        return resolved

    def visit(self, code: str) -> Visit | None:
        """Return the visit of that code, or None."""
        return next((v for v in self.visits if v.code == code), None)
