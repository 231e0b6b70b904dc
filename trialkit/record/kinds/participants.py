"""Payloads about participants: the way in and out."""

from __future__ import annotations

from pydantic import Field

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


class TrainingDiscontinued(Payload):
    """The participant stopped the allocated training and stays in the study (intercurrent)."""

    kind = "participant.training_discontinued"
    day: int
    code: str
    delay_days: int | None = None
    late: bool = False


class ParticipantWithdrawn(Payload):
    """The participant left the study; no visit follows."""

    kind = "participant.withdrawn"
    day: int
    code: str
    delay_days: int | None = None
    late: bool = False
