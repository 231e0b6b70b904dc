"""``trialkit run``, ``trialkit recover`` and ``trialkit replay``."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note
from trialkit.cli._pairs import numbers
from trialkit.cli._pairs import pairs as _options
from trialkit.errors import IntegrityError, SessionEnded, TelemetryDamaged, UsageError

if TYPE_CHECKING:
    from trialkit.session import Replayed, SessionOutcome
    from trialkit.study import Study

_NUMBER = re.compile(r"[Ss]?0*([1-9]\d{0,3})")


def register(app: typer.Typer) -> None:
    """Add the verbs of sessions."""
    app.command("run")(run)
    app.command("recover")(recover_verb)
    app.command("replay")(replay_verb)


def run(
    study: StudyOption,
    participant: Annotated[str, typer.Option("--participant", "-p", help="USUBJID.")],
    day: Annotated[int, typer.Option(help="Study day of the session.")],
    number: Annotated[int | None, typer.Option("--number", "-n", help="Session number.")] = None,
    visit: Annotated[
        str | None, typer.Option(help="The session by name, such as S07; the same as --number 7.")
    ] = None,
    user: UserOption = None,
    device: Annotated[str, typer.Option(help="Driver, by name.")] = "simulated",
    device_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the driver; may be repeated.")
    ] = None,
    sign: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER: a sign's value wherever it is asked; may be repeated."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Simulated seconds a second, 0 as fast as possible; default real time."),
    ] = None,
    headless: Annotated[bool, typer.Option(help="Read no keys, draw no display.")] = False,
    reason: Annotated[
        str | None, typer.Option(help="Why the day is outside the session's window.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a session on a device: h holds, r resumes, s stops."""
    from datetime import UTC, datetime

    from trialkit._clock import RealClock, SimulatedClock
    from trialkit.cli._headless import HeadlessOperator
    from trialkit.session import Operator, run_session
    from trialkit.study import Study

    if speed is not None and speed < 0:
        raise UsageError("--speed is negative.", remedy="Give 0 or more.")
    wanted = _number(number, visit)
    options = _options("--device-option", device_option or [])
    signs = numbers("--sign", sign or [])
    clock = RealClock() if speed is None else SimulatedClock(datetime.now(UTC), speed or None)
    with ExitStack() as stack:
        opened = stack.enter_context(Study.open(study, actor=user, clock=clock))
        operator: Operator = HeadlessOperator(opened.actor, signs)
        show = None
        if not headless and sys.stdin.isatty() and sys.stderr.isatty():
            from trialkit.cli._live import Display, Keyboard, TerminalOperator

            terminal = TerminalOperator(opened.actor, stack.enter_context(Keyboard()), signs)
            operator, show = terminal, stack.enter_context(Display(terminal)).show
        outcome = run_session(
            opened,
            participant,
            number=wanted,
            day=day,
            device=device,
            device_options=options,
            operator=operator,
            progress=show,
            reason=reason,
        )
    emit(_data(outcome), _text(outcome), as_json=as_json)
    if not outcome.completed:
        note(f"The session ended as {outcome.status} ({outcome.code}).")
        raise typer.Exit(SessionEnded.exit_status)


def recover_verb(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Seal and close the sessions that a crash left open."""
    from trialkit.session import recover
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        outcomes = recover(opened)
    text = "\n".join(_text(outcome) for outcome in outcomes) or "No session is open."
    emit({"recovered": [_data(outcome) for outcome in outcomes]}, text, as_json=as_json)


def replay_verb(
    study: StudyOption,
    session: Annotated[str | None, typer.Argument(help="Id of a session.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every session on a device.")] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Obtain every decision of a session again from its inputs, and compare."""
    from trialkit.session.replay import device_sessions
    from trialkit.study import Study

    if (session is None) != every:
        raise UsageError(
            "which session?" if session is None else "a session and --all.",
            remedy="Give either the id of a session or --all.",
        )
    with Study.open(study, actor=user, write=False) as opened:
        names = device_sessions(opened) if session is None else [session]
        found = [_replayed(opened, name) for name in names]
    good = sum(bool(one.get("same")) for one, _ in found)
    lines = [text for one, text in found if not (every and one.get("same"))]
    if every:
        lines.append(f"{good} of {len(found)} sessions replay identically.")
    emit({"replayed": [one for one, _ in found]}, "\n".join(lines), as_json=as_json)
    if good < len(found):
        raise typer.Exit(IntegrityError.exit_status)


def _replayed(study: Study, session: str) -> tuple[dict[str, Any], str]:
    from trialkit.session import replay

    try:
        done = replay(study, session)
    except TelemetryDamaged as error:
        return {"session": session, "same": False, "error": error.to_dict()}, f"{session}: {error}"
    return done.to_dict(), f"{session}: {_found(done)}"


def _found(done: Replayed) -> str:
    if done.difference is None:
        cut = "" if done.complete else " up to where a crash cut its log"
        return (
            f"replays identically{cut}: {done.inputs} inputs, {done.events} events, "
            f"{done.setpoints} setpoints"
        )
    model = "" if done.same_model else "the rules or guards are not those of the session; "
    return f"{model}the first difference is {done.difference}"


def _number(number: int | None, visit: str | None) -> int:
    if number is not None and visit is None:
        return number
    found = _NUMBER.fullmatch(visit or "")
    if number is not None or found is None:
        raise UsageError(
            "which session?" if visit is None else f"--visit {visit} names no session.",
            remedy="Give either --number 7 or --visit S07.",
        )
    return int(found[1])


def _data(outcome: SessionOutcome) -> dict[str, Any]:
    return {
        "session": outcome.session,
        "status": outcome.status,
        "code": outcome.code,
        "events": outcome.n_events,
        "dose": outcome.dose.model_dump(mode="json"),
        "timing": outcome.timing.model_dump(mode="json") if outcome.timing else None,
    }


def _text(outcome: SessionOutcome) -> str:
    dose = outcome.dose
    rest = f", {dose.distance_m:g} m" if dose.distance_m is not None else ""
    late = outcome.timing
    loop = (
        f"; ticks late by {late.p50_s * 1e3:.1f} ms (median), {late.p99_s * 1e3:.1f} ms (99 %), "
        f"{late.max_s * 1e3:.1f} ms (at most)"
        if late is not None
        else ""
    )
    return (
        f"{outcome.session}: {outcome.status}; {dose.minutes:.1f} min, "
        f"{dose.moving_minutes:.1f} min moving, {dose.steps} steps{rest}{loop}"
    )
