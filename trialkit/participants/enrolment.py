"""The way into a study and out of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from trialkit.errors import Duplicate, OutOfOrder, UsageError
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    ParticipantConsented,
    ParticipantEnrolled,
    ParticipantExcluded,
    ParticipantWithdrawn,
    Scalar,
    TrainingDiscontinued,
)
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active, require_started, require_text

_SITE = re.compile(r"[A-Za-z0-9]{1,12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


@command("enrol")
def enrol(
    study: Study,
    usubjid: str | None = None,
    *,
    site: str,
    attributes: Mapping[str, Scalar] | None = None,
) -> Event:
    """Enter a person; the event's subject is the USUBJID.

    Parameters
    ----------
    usubjid : str or None
        ``{STUDYID}-{SITE}-{NNN}``; None gives the next number of the site. An imported study
        keeps the names it came with.
    site : str
        Letters and digits, at most 12.
    attributes : mapping
        Baseline facts, such as ``sex`` and ``age_years``.

    Raises
    ------
    Duplicate
        If the USUBJID is taken.
    UsageError
        If a name or an attribute cannot be.
    """
    if not _SITE.fullmatch(site):
        raise UsageError(f"{site!r} cannot name a site.", remedy="Use 1 to 12 letters and digits.")
    usubjid = usubjid or _next_name(study, site)
    _check_name(study, usubjid, site)
    if usubjid in study.state.participants:
        raise Duplicate(
            f"{usubjid} is enrolled already.",
            remedy=f"The next name is {_next_name(study, site)}.",
        )
    return study.append(
        ParticipantEnrolled(site=site, attributes=_checked(attributes or {})), subject=usubjid
    )


def _next_name(study: Study, site: str) -> str:
    stem = f"{study.state.study_id}-{site}-"
    taken = [
        int(name.removeprefix(stem))
        for name in study.state.participants
        if name.startswith(stem) and name.removeprefix(stem).isdecimal()
    ]
    return f"{stem}{max(taken, default=0) + 1:03d}"


def _check_name(study: Study, usubjid: str, site: str) -> None:
    stem = f"{study.state.study_id}-{site}-"
    if study.state.source == "import":
        good = _NAME.fullmatch(usubjid) is not None
        shape = "letters, digits and _ . -, at most 64"
    else:
        number = usubjid.removeprefix(stem)
        good = usubjid.startswith(stem) and number.isdecimal() and len(number) >= 3
        shape = f"{stem}NNN"
    if not good or not usubjid.isascii():
        raise UsageError(f"{usubjid!r} cannot be a USUBJID here.", remedy=f"Use {shape}.")


def _checked(attributes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name an attribute.", remedy="Use letters, digits and _."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"attribute {name} is {value}.", remedy="Leave it out if unknown.")
    return dict(attributes)


@command("consent")
def consent(study: Study, usubjid: str, *, version: str) -> Event:
    """Record consent to a version of the information sheet.

    Raises
    ------
    Duplicate
        If consent to this version is recorded; a later version may follow.
    OutOfOrder
        If the participant was excluded or withdrew.
    """
    version = require_text(version, "the version of the information sheet")
    who = study.participant(usubjid)
    if who.consent is not None:
        require_active(study, usubjid)
    if who.excluded is not None:
        raise OutOfOrder(f"{usubjid} was excluded ({who.excluded}).", remedy="Check the USUBJID.")
    if who.consent == version:
        raise Duplicate(
            f"{usubjid} consented to version {version} already.",
            remedy="Give the version of the new information sheet.",
        )
    return study.append(ParticipantConsented(version=version), subject=usubjid)


@command("exclude")
def exclude(study: Study, usubjid: str, *, code: str) -> Event:
    """Record that a person was assessed for eligibility and will not be randomised.

    Raises
    ------
    Duplicate
        If that is recorded.
    OutOfOrder
        If the participant is randomised.
    """
    code = require_text(code, "a reason code")
    who = study.participant(usubjid)
    if who.excluded is not None:
        raise Duplicate(f"{usubjid} is excluded already ({who.excluded}).", remedy="Nothing to do.")
    if who.randomised:
        raise OutOfOrder(
            f"{usubjid} is randomised and stays in the analysis.",
            remedy="Use `trialkit discontinue` or `trialkit withdraw`.",
        )
    return study.append(ParticipantExcluded(code=code), subject=usubjid)


@command("withdraw")
def discontinue_training(
    study: Study, usubjid: str, *, day: int, code: str, reason: str | None = None
) -> Event:
    """Record that a participant stopped the allocated training; visits go on.

    Parameters
    ----------
    reason : str or None
        Why the entry is late; needed when it comes later than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    Duplicate
        If that is recorded.
    OutOfOrder
        If the participant is not randomised, or withdrew.
    """
    code = require_text(code, "a reason code")
    who = require_started(study, usubjid)
    if who.discontinued is not None:
        raise Duplicate(
            f"{usubjid} discontinued on day {who.discontinued_day}.", remedy="Nothing to do."
        )
    delay = entry_delay(study, usubjid, day)
    late = is_late(f"the discontinuation of {usubjid}", delay, study.design.late_entry_days, reason)
    return study.append(
        TrainingDiscontinued(day=day, code=code, delay_days=delay, late=late),
        subject=usubjid,
        reason=reason,
    )


@command("withdraw")
def withdraw(
    study: Study, usubjid: str, *, day: int, code: str, reason: str | None = None
) -> Event:
    """Record that a participant left the study; no visit and no session follows.

    Parameters
    ----------
    reason : str or None
        Why the entry is late; needed when it comes later than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    OutOfOrder
        If consent is missing, or the participant was excluded or withdrew already.
    """
    code = require_text(code, "a reason code")
    require_active(study, usubjid)
    delay = entry_delay(study, usubjid, day)
    late = is_late(f"the withdrawal of {usubjid}", delay, study.design.late_entry_days, reason)
    return study.append(
        ParticipantWithdrawn(day=day, code=code, delay_days=delay, late=late),
        subject=usubjid,
        reason=reason,
    )
