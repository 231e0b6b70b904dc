"""The verb ``supervise``: one therapist, several participants."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note

if TYPE_CHECKING:
    from trialkit.session.supervisor import Supervised
    from trialkit.session.worker import Job
    from trialkit.study import Study

_ENTRY = re.compile(r"(?P<id>[^:]+):[Ss]?0*(?P<number>[1-9]\d{0,3})(:(?P<day>\d{1,4}))?")


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("supervise")(supervise_verb)


def supervise_verb(
    study: StudyOption,
    participant: Annotated[
        list[str],
        typer.Option(
            "--participant", "-p", help="USUBJID:NUMBER or USUBJID:NUMBER:DAY; may be repeated."
        ),
    ],
    user: UserOption = None,
    device: Annotated[str, typer.Option(help="Driver, by name.")] = "simulated",
    device_option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for every driver, USUBJID:NAME=VALUE for one; repeatable."),
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
        str | None, typer.Option(help="Why a day is outside its session's window.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run sessions of one therapist side by side; Ctrl-C stops every device.

    Keys: a, b or c chooses the session; then h holds, r resumes, s stops, and what is typed
    answers what that session asks. S stops all. The exit status is that of the session that
    ended worst.
    """
    from trialkit.errors import UsageError
    from trialkit.session.supervisor import supervise, worst
    from trialkit.study import Study

    if speed is not None and speed < 0:
        raise UsageError("--speed is negative.", remedy="Give 0 or more.")
    with ExitStack() as stack:
        opened = stack.enter_context(Study.open(study, actor=user))
        jobs = _jobs(opened, participant, device, device_option or [], sign or [], speed, reason)
        show = None
        if not headless and sys.stdin.isatty() and sys.stderr.isatty():
            from trialkit.cli._live import Keyboard
            from trialkit.cli._panel import Panel

            show = stack.enter_context(Panel(stack.enter_context(Keyboard()))).show
            jobs = [replace(job, attended=True) for job in jobs]
        sessions = supervise(opened, jobs, show=show)
    emit({"sessions": [_data(s) for s in sessions]}, _text(sessions), as_json=as_json)
    status = worst(sessions)
    if any(s.status == "killed" for s in sessions):
        note("A session's process was killed: run `trialkit recover`.")
    if status:
        raise typer.Exit(status)


def _jobs(
    study: Study,
    participants: list[str],
    device: str,
    options: list[str],
    signs: list[str],
    speed: float | None,
    reason: str | None,
) -> list[Job]:
    from trialkit.cli._pairs import numbers, pairs
    from trialkit.errors import UsageError
    from trialkit.session.worker import Job

    entries = []
    for text in participants:
        entry = _ENTRY.fullmatch(text)
        if entry is None:
            raise UsageError(
                f"--participant {text}: not USUBJID:NUMBER.",
                remedy="Write S01-001:7 or S01-001:7:15.",
            )
        entries.append(entry)
    ids = [entry["id"] for entry in entries]
    common = [o for o in options if not _own(o, ids)]
    jobs = []
    for entry in entries:
        own = [o[len(entry["id"]) + 1 :] for o in options if _own(o, [entry["id"]])]
        number = int(entry["number"])
        day = int(entry["day"]) if entry["day"] else _due(study, entry["id"], number)
        jobs.append(
            Job(
                study.folder.resolve(),
                study.actor,
                entry["id"],
                number,
                day,
                device,
                pairs("--device-option", [*common, *own]),
                numbers("--sign", signs),
                speed,
                reason,
            )
        )
    return jobs


def _own(option: str, ids: list[str]) -> bool:
    return any(option.startswith(f"{usubjid}:") for usubjid in ids)


def _due(study: Study, usubjid: str, number: int) -> int:
    """Return the day on which the session is due."""
    from trialkit.errors import WrongArm
    from trialkit.session import planned_day

    protocol = study.protocols.get(study.arm_of(usubjid))
    if protocol is None:
        raise WrongArm(f"the arm of {usubjid} has no protocol.", remedy="Give the day.")
    return planned_day(protocol.schedule, number)


def _data(session: Supervised) -> dict[str, Any]:
    outcome, failed = session.outcome, session.failed
    return {
        "usubjid": session.job.usubjid,
        "number": session.job.number,
        "status": session.status,
        "exit_status": session.exit_status,
        "code": outcome.code if outcome else None,
        "dose": outcome.dose.model_dump(mode="json") if outcome else None,
        "error": asdict(failed) if failed else None,
    }


def _text(sessions: Sequence[Supervised]) -> str:
    lines = []
    for session in sessions:
        line = f"{session.job.usubjid} session {session.job.number}: {session.status}"
        if session.outcome is not None:
            dose = session.outcome.dose
            line += f"; {dose.minutes:.1f} min, {dose.moving_minutes:.1f} min moving"
            line += f", {dose.steps} steps"
        elif session.failed is not None:
            line += f": {session.failed.message}"
        lines.append(line)
    return "\n".join(lines)
