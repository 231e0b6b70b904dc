"""Verbs about allocation: eligibility, unblinding of one, verification, and its simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit
from trialkit.errors import IntegrityError, UsageError

Who = Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")]
Request = Annotated[str, typer.Argument(metavar="REQUEST", help="Its number, such as U001.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("eligible")(eligible)
    app.command("randomise-verify")(verify)
    app.command("randomise-simulate")(simulate)
    unblind = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Emergency unblinding of one participant by two persons.",
    )
    unblind.command("request")(request)
    unblind.command("approve")(approve)
    unblind.command("show")(show)
    app.add_typer(unblind, name="unblind")


def eligible(
    usubjid: Who,
    study: StudyOption,
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", help="CRITERION=yes or CRITERION=no; several with commas, each once."
        ),
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm that a person is eligible, with the answer to each criterion of the protocol.

    Without an answer the criteria are listed, with what the record knows.
    """
    from trialkit import participants
    from trialkit.study import Study

    given: dict[str, bool] = {}
    for text in (part for answer in answers or () for part in answer.split(",")):
        name, equals, value = text.strip().partition("=")
        if not equals or value not in ("yes", "no") or name in given:
            raise UsageError(f"--answer {text}.", remedy="Write CRITERION=yes or no, each once.")
        given[name] = value == "yes"
    if not given:
        _show_criteria(study, user, usubjid, as_json)
        return
    with Study.open(study, actor=user) as opened:
        event = participants.confirm_eligibility(opened, usubjid, given)
    data = {"seq": event.seq, "subject": usubjid, "payload": event.payload}
    emit(data, f"{usubjid} is eligible (event {event.seq})", as_json=as_json)


def _show_criteria(study: Path, user: str | None, usubjid: str, as_json: bool) -> None:
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        questions = participants.criteria_for(opened, usubjid)
    rows = [
        {
            **q.criterion.model_dump(include={"id", "kind", "text", "minimum", "maximum"}),
            "from": q.criterion.attribute or q.criterion.paramcd,
            "value": q.value,
            "answer": q.answer,
        }
        for q in questions
    ]
    width = max((len(q.criterion.id) for q in questions), default=0)
    lines = [
        f"{q.criterion.id:<{width}}  {q.criterion.kind}  {q.criterion.text}"
        + ("" if q.value is None else f"  [{q.value:g}: {'yes' if q.answer else 'no'}]")
        for q in questions
    ]
    emit({"criteria": rows}, "\n".join(lines) or "the protocol lists no criteria", as_json=as_json)


def request(
    usubjid: Who,
    study: StudyOption,
    reason: Annotated[str, typer.Option("--reason", help="Why the arm must be known.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for the arm of one participant in an emergency; another person approves."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = participants.request_unblinding(opened, usubjid, reason=reason)
    number = event.payload["request"]
    text = (
        f"request {number} for {usubjid} (event {event.seq}); "
        f"another person runs `trialkit unblind approve {number}`"
    )
    emit({"seq": event.seq, "subject": usubjid, "request": number}, text, as_json=as_json)


def approve(
    request: Request, study: StudyOption, user: UserOption = None, as_json: JsonOption = False
) -> None:
    """Approve a request of another person; prints the arm, which the record does not hold."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        told = participants.approve_unblinding(opened, request)
    _tell(told, as_json)


def show(
    request: Request, study: StudyOption, user: UserOption = None, as_json: JsonOption = False
) -> None:
    """Print the arm of an approved request to whoever asked or approved, and to nobody else."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        told = participants.show_unblinded(opened, request)
    _tell(told, as_json)


def _tell(told: Any, as_json: bool) -> None:
    data = {"request": told.request, "subject": told.usubjid, "arm": told.arm}
    text = f"{told.usubjid} is in arm {told.arm}; tell nobody who need not know"
    emit(data, text, as_json=as_json)


def verify(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Draw the whole allocation again from the committed seed; exit 4 at any difference."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        check = participants.verify_allocation(opened)
    if not check.ok:
        raise IntegrityError(
            "the allocation is not the one of the seed: " + "; ".join(check.differences) + ".",
            remedy="Keep the study as evidence, and tell the trial's statistician.",
            **check.to_dict(),
        )
    lists = f"{check.parts} parts of lists, " if check.parts else ""
    text = (
        f"{check.method.replace('_', ' ')}: {lists}{check.places} places and "
        f"{check.participants} participants drawn again from the seed, and nothing differs"
    )
    emit(check.to_dict(), text, as_json=as_json)


def simulate(
    protocol: Annotated[str, typer.Argument(help="A protocol: a file, or one that ships.")],
    participants: Annotated[
        int, typer.Option("--participants", "-n", min=2, help="Randomised in each trial.")
    ] = 200,
    sites: Annotated[int, typer.Option("--sites", min=1, help="Number of sites.")] = 4,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials to simulate.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Simulate how well a protocol's randomisation balances and how often it is guessed."""
    from trialkit._content import find_content
    from trialkit.protocol import load_protocol
    from trialkit.simulate.balance import simulate_balance

    read = load_protocol(find_content("protocols", protocol))
    if read.trial.randomisation is None:
        raise UsageError(f"{protocol}: it does not randomise.", remedy="Give another protocol.")
    result = simulate_balance(
        [arm.code for arm in read.trial.arms],
        read.trial.randomisation,
        participants=participants,
        sites=sites,
        trials=trials,
        seed=seed,
    )
    emit(result.to_dict(), str(result), as_json=as_json)
