"""What a fold knows of participants, visits, forms, sessions and users."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trialkit.record.kinds import Scalar
from trialkit.record.state.conduct import AdverseEventState, DiaryState

Items = dict[str, float | int | str | None]
Scores = dict[str, float | None]


@dataclass
class VisitState:
    """A visit that was held (`day` is given) or missed (`code` is given)."""

    visit: str
    day: int | None
    in_window: bool = True
    code: str | None = None

    @property
    def held(self) -> bool:
        """True where the visit took place."""
        return self.day is not None


@dataclass
class AssessmentState:
    """One form at one visit as it stands after corrections; `seq` is the last event.

    `entry` is ``single``; for a paper form ``first`` until another person than `entered_by`
    entered it again, then ``agreed``, or ``differs`` (see `second`) until it is ``adjudicated``.
    """

    seq: int
    visit: str
    day: int
    instrument: str
    status: str
    items: Items
    scores: Scores
    code: str | None = None
    corrections: int = 0
    entry: str = "single"
    entered_by: str = ""
    flags: list[str] = field(default_factory=list)
    done_on: str | None = None
    delay_days: int | None = None
    late: bool = False
    second: dict[str, Any] | None = None

    @property
    def verified(self) -> bool:
        """False while a second entry or an adjudication is due."""
        return self.entry not in ("first", "differs")


@dataclass
class SessionState:
    """One session; `status` is ``open`` until it is closed, then as in `SessionClosed`.

    ``conventional`` and ``missed`` are the statuses of sessions without the device. `device` is
    what the device said of itself, `conformance` the newest record of its check, `dose` what was
    delivered, with the fields of `trialkit.record.kinds.Dose`.
    """

    session: str
    usubjid: str
    number: int
    day: int
    status: str
    protocol: str | None = None
    therapist: str | None = None
    opened_seq: int | None = None
    closed_seq: int | None = None
    sealed: bool = False
    dose: dict[str, float | None] | None = None
    code: str | None = None
    opened_at: str = ""
    device: dict[str, Scalar] | None = None
    conformance: str | None = None


@dataclass
class Unblinding:
    """A request for the arm of one participant; `approved_by` is None until somebody agreed."""

    request: str
    usubjid: str
    requested_by: str
    requested_role: str
    approved_by: str | None = None


@dataclass
class UserState:
    """A person who may act in the study."""

    user: str
    name: str
    role: str
    fingerprint: str | None
    sites: tuple[str, ...] = ()
    password_at: str | None = None
    password_seq: int | None = None  # the event that set the password in force
    temporary: bool = False
    failures: int = 0  # in a row
    locked_at: str | None = None
    retired: bool = False


@dataclass
class ParticipantState:
    """Everything the guards need to know of one participant; days are study days."""

    usubjid: str
    site: str
    attributes: dict[str, Scalar]
    consent: str | None = None
    eligible: str | None = None
    excluded: str | None = None
    stratum: str | None = None
    strata: dict[str, str] = field(default_factory=dict)
    place: int | None = None
    commitment: str | None = None
    randomised_at: str | None = None
    visits: dict[str, VisitState] = field(default_factory=dict)
    assessments: dict[tuple[str, str], AssessmentState] = field(default_factory=dict)
    diaries: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    returns: dict[int, DiaryState] = field(default_factory=dict)  # by event of the return
    reports: dict[str, AdverseEventState] = field(default_factory=dict)
    discontinued_day: int | None = None
    discontinued: str | None = None
    withdrawn_day: int | None = None
    withdrawn: str | None = None
    sessions: dict[int, SessionState] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)  # last accepted, by parameter

    @property
    def randomised(self) -> bool:
        """True after randomisation."""
        return self.place is not None

    @property
    def diary_entries(self) -> int:
        """Number of entries in all diaries."""
        return sum(len(r.entries) for r in self.returns.values())

    @property
    def adverse_events(self) -> int:
        """Number of adverse events; deficiencies without harm are none."""
        return sum(a.facts.harm for a in self.reports.values())

    @property
    def serious_events(self) -> int:
        """Number of those that are serious."""
        return sum(a.facts.harm and a.facts.serious for a in self.reports.values())

    @property
    def status(self) -> str:
        """One of excluded, withdrawn, discontinued, randomised, consented, enrolled."""
        for name, reached in (
            ("excluded", self.excluded),
            ("withdrawn", self.withdrawn),
            ("discontinued", self.discontinued),
            ("randomised", self.place),
            ("consented", self.consent),
        ):
            if reached is not None:
                return name
        return "enrolled"

    def score(self, paramcd: str, visits: Iterable[str]) -> float | None:
        """Return the last score of `paramcd` at the given visits, or None."""
        wanted = set(visits)
        found: float | None = None
        for assessment in self.assessments.values():
            value = assessment.scores.get(paramcd)
            if assessment.visit in wanted and value is not None:
                found = value
        return found
