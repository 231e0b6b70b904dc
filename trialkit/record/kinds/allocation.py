"""Payloads of randomisation and unblinding; none holds an arm before it is revealed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from trialkit.record.kinds._payload import Payload


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
