"""What a person should know of a protocol that has no fault: shown, and never an obstacle."""

from __future__ import annotations

from trialkit.adaptation import SCHEMES
from trialkit.errors import Finding
from trialkit.protocol.model import Protocol
from trialkit.protocol.signs import AROUND


def notices(protocol: Protocol) -> list[Finding]:
    """Return the notices of a sound protocol.

    Stop rules and criteria that no clinician of the site has confirmed, arms that are drawn
    without any criteria, reporting hours that no sponsor has confirmed,
    numbers of a scheme outside their usual range, and planned minutes of donning or doffing, or
    people for it, whose actual number nobody enters.
    """
    return [
        *unverified(protocol),
        *_criteria(protocol),
        *_clocks(protocol),
        *_unusual(protocol),
        *_unentered(protocol),
    ]


def unverified(protocol: Protocol) -> list[Finding]:
    """Return one notice that names the stop rules that are not verified, or none."""
    ids = [rule.id for rule in protocol.stop_rules if not rule.verified]
    if not ids:
        return []
    shown = f"{', '.join(ids[:6])}{' ...' if len(ids) > 6 else ''}"
    return [
        Finding(
            "stop_rules",
            f"{len(ids)} of {len(protocol.stop_rules)} stop rules are not verified: {shown}.",
            "A clinician of the site confirms each: verified: true, with its source.",
        )
    ]


def _criteria(protocol: Protocol) -> list[Finding]:
    asked = protocol.trial.eligibility
    if asked is None:
        if protocol.trial.randomisation is None:
            return []
        return [
            Finding(
                "trial.eligibility",
                "arms are drawn, and who may have one is not said.",
                "List inclusion and exclusion criteria in trial.eligibility.",
            )
        ]
    ids = [criterion.id for criterion in asked.criteria if not criterion.verified]
    if not ids:
        return []
    shown = f"{', '.join(ids[:6])}{' ...' if len(ids) > 6 else ''}"
    return [
        Finding(
            "trial.eligibility",
            f"{len(ids)} of {len(asked.criteria)} criteria are not verified: {shown}.",
            "A clinician of the site confirms each: verified: true, with its source.",
        )
    ]


def _clocks(protocol: Protocol) -> list[Finding]:
    rules = protocol.trial.ae_reporting
    if rules is None or rules.verified:
        return []
    return [
        Finding(
            "trial.ae_reporting",
            "the hours in which adverse events are reported are not verified.",
            "The sponsor confirms them: verified: true, with its source.",
        )
    ]


def _unusual(protocol: Protocol) -> list[Finding]:
    found = []
    for index, envelope in enumerate(protocol.adaptation):
        scheme = SCHEMES.get(envelope.scheme or "")
        for name, option in (scheme.options if scheme is not None else {}).items():
            value, usual = envelope.options.get(name), option.usual
            if usual is not None and value is not None and not usual[0] <= value <= usual[1]:
                found.append(
                    Finding(
                        f"adaptation[{index}].options.{name}",
                        f"{value:g} is outside the usual range {usual[0]:g} to {usual[1]:g}.",
                        "Make sure that it is meant.",
                    )
                )
    return found


def _unentered(protocol: Protocol) -> list[Finding]:
    session = protocol.session
    entered = {*session.screening, *(s for block in session.blocks for s in block.prompts)}
    where = {"donning_minutes": "session.screening", "doffing_minutes": "the last block's prompts"}
    found = [
        Finding(
            f"session.{name}",
            "a range is planned and nobody enters the actual minutes.",
            f"Add {name} to {where[name]}.",
        )
        for name in AROUND
        if getattr(session, name) is not None and name not in entered
    ]
    staff = protocol.staffing.donning_staff
    if staff > 1 and "donning_staff" not in entered:
        found.append(
            Finding(
                "staffing.donning_staff",
                f"{staff} people are asked for and nobody enters how many there were.",
                "Add donning_staff to session.screening.",
            )
        )
    return found
