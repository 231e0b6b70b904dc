"""Payloads about participants: the way in and out, diaries, adverse events, deviations."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trialkit.record.kinds._payload import Payload, Scalar


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
