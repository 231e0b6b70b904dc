"""Verbs about participants: from ``enrol`` to ``withdraw``. Each appends to the record."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, show_event
from trialkit.errors import UsageError

Who = Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")]
DayOption = Annotated[
    int | None,
    typer.Option("--day", help="Study day; default: today, counted from randomisation."),
]
LateOption = Annotated[str | None, typer.Option("--reason", help="Why it is entered late.")]
CodeOption = Annotated[str, typer.Option("--code", help="Reason code, such as ILLNESS.")]
NumberOption = Annotated[int, typer.Option("--number", help="Number of the session, from 1.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("enrol")(enrol)
    app.command("consent")(consent)
    app.command("exclude")(exclude)
    app.command("randomise")(randomise)
    app.command("visit")(visit)
    app.command("discontinue")(discontinue)
    app.command("withdraw")(withdraw)
    app.command("miss-session")(miss_session)
    app.command("log-session")(log_session)


def _pairs(texts: list[str] | None, option: str) -> dict[str, Any]:
    """Return NAME=VALUE texts as a mapping; numbers become numbers, an empty value None."""
    found: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text}: not NAME=VALUE.", remedy="Write NAME=VALUE.")
        if name in found:
            raise UsageError(f"{option} {name} is given twice.", remedy="Give it once.")
        found[name] = _value(value)
    return found


def _value(text: str) -> int | float | str | None:
    if not text:
        return None
    for kind in (int, float) if "_" not in text else ():
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def enrol(
    study: StudyOption,
    site: Annotated[str, typer.Option("--site", help="Site: letters and digits.")],
    usubjid: Annotated[
        str | None,
        typer.Argument(metavar="USUBJID", help="Default: the next number of the site."),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--attribute", help="A baseline fact, NAME=VALUE; repeatable."),
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter a person and print the USUBJID."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = participants.enrol(
            opened, usubjid, site=site, attributes=_pairs(attributes, "--attribute")
        )
    show_event(event, str(event.subject), as_json)


def consent(
    usubjid: Who,
    study: StudyOption,
    version: Annotated[str, typer.Option("--version", help="Version of the information sheet.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record consent."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = participants.consent(opened, usubjid, version=version)
    show_event(event, f"{usubjid} consented to version {version}", as_json)


def exclude(
    usubjid: Who,
    study: StudyOption,
    code: CodeOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a person was assessed for eligibility and will not be randomised."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = participants.exclude(opened, usubjid, code=code)
    show_event(event, f"{usubjid} excluded: {code}", as_json)


def randomise(
    usubjid: Who, study: StudyOption, user: UserOption = None, as_json: JsonOption = False
) -> None:
    """Take the next place of the concealed list; the arm is shown to whoever may see it."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        done = participants.randomise(opened, usubjid)
        arm = opened.arm_of(usubjid) if opened.may("see_allocation") else None
    text = f"{usubjid} randomised: place {done.place} of {done.stratum}"
    shown = {"stratum": done.stratum, "place": done.place, "arm": arm}
    show_event(done.event, f"{text}, arm {arm}" if arm else text, as_json, **shown)


def visit(
    usubjid: Who,
    visit: Annotated[str, typer.Argument(help="Visit code, such as W4.")],
    study: StudyOption,
    day: DayOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Needed out of the window, or when late.")
    ] = None,
    missed: Annotated[
        str | None, typer.Option("--missed", help="It did not take place: the reason code.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a visit took place, or with --missed that it did not."""
    from trialkit import participants
    from trialkit.study import Study

    if missed is not None and (day is not None or reason is not None):
        raise UsageError("--missed excludes --day and --reason.", remedy="Give --missed alone.")
    with Study.open(study, actor=user) as opened:
        if missed is not None:
            event = participants.miss_visit(opened, usubjid, visit, code=missed)
            text = f"{visit} of {usubjid} missed: {missed}"
        else:
            when = participants.study_day(opened, usubjid) if day is None else day
            event = participants.hold_visit(opened, usubjid, visit, day=when, reason=reason)
            text = f"{visit} of {usubjid} held on day {when}"
    show_event(event, text, as_json)


def discontinue(
    usubjid: Who,
    study: StudyOption,
    code: CodeOption,
    day: DayOption = None,
    reason: LateOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a participant stopped the training; visits go on."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        when = participants.study_day(opened, usubjid) if day is None else day
        event = participants.discontinue_training(
            opened, usubjid, day=when, code=code, reason=reason
        )
    show_event(event, f"{usubjid} discontinued the training on day {when}: {code}", as_json)


def withdraw(
    usubjid: Who,
    study: StudyOption,
    code: CodeOption,
    day: DayOption = None,
    reason: LateOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a participant left the study."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        when = participants.study_day(opened, usubjid) if day is None else day
        event = participants.withdraw(opened, usubjid, day=when, code=code, reason=reason)
    show_event(event, f"{usubjid} withdrew on day {when}: {code}", as_json)


def miss_session(
    usubjid: Who,
    study: StudyOption,
    number: NumberOption,
    code: CodeOption,
    day: DayOption = None,
    reason: LateOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a planned session did not take place."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        when = participants.study_day(opened, usubjid) if day is None else day
        event = participants.miss_session(
            opened, usubjid, number=number, day=when, code=code, reason=reason
        )
    show_event(event, f"session {number} of {usubjid} missed: {code}", as_json)


def log_session(
    usubjid: Who,
    study: StudyOption,
    number: NumberOption,
    minutes: Annotated[float, typer.Option("--minutes", help="Minutes of training.")],
    moving: Annotated[float, typer.Option("--moving", help="Minutes of them moving.")],
    steps: Annotated[int, typer.Option("--steps", help="Steps.")],
    distance: Annotated[
        float | None, typer.Option("--distance", help="Distance in metres, if measured.")
    ] = None,
    therapist: Annotated[
        str | None, typer.Option("--therapist", help="Default: whoever acts.")
    ] = None,
    day: DayOption = None,
    reason: LateOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log a session without the device, as its therapist reports it."""
    from trialkit import participants
    from trialkit.study import Study

    dose = {
        "minutes": minutes,
        "moving_minutes": moving,
        "steps": steps,
        "distance_m": distance,
    }
    with Study.open(study, actor=user) as opened:
        event = participants.log_conventional(
            opened,
            usubjid,
            number=number,
            day=participants.study_day(opened, usubjid) if day is None else day,
            dose=dose,
            therapist=therapist,
            reason=reason,
        )
    show_event(event, f"session {number} of {usubjid}: {minutes:g} min, {steps} steps", as_json)
