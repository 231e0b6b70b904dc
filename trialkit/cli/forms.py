"""Verbs about forms: ``assess`` fills one in, ``form`` lists, shows and checks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, show_event
from trialkit.errors import UsageError

if TYPE_CHECKING:
    from trialkit.protocol import Form
    from trialkit.protocol.forms import Item
    from trialkit.record import Event
    from trialkit.study import Study

Who = Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")]
OfStudy = Annotated[
    Path | None,
    typer.Option("--study", "-s", help="Forms as this study pinned them; default: those shipped."),
]

forms = typer.Typer(no_args_is_help=True, help="Forms: instruments and case report forms as data.")


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("assess")(assess)
    app.add_typer(forms, name="form")


def assess(
    usubjid: Who,
    visit: Annotated[str, typer.Argument(help="Visit code, such as BL.")],
    instrument: Annotated[str, typer.Argument(help="Form code, such as 10MWT.")],
    study: StudyOption,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", help="An entry, ITEM=VALUE, with a unit where it is another."),
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="A JSON file of entries: {ITEM: VALUE}.")
    ] = None,
    unable: Annotated[bool, typer.Option("--unable", help="The participant could not.")] = False,
    not_done: Annotated[
        str | None, typer.Option("--not-done", help="It was not done: the reason code.")
    ] = None,
    done_on: Annotated[
        str | None, typer.Option("--on", help="Date of the act; default: the day of the visit.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="The second entry of a paper form, by another person.")
    ] = False,
    adjudicate: Annotated[
        bool, typer.Option("--adjudicate", help="Decide between two entries; needs --reason.")
    ] = False,
    take: Annotated[
        str | None, typer.Option("--take", help="With --adjudicate: first or second.")
    ] = None,
    correct: Annotated[
        bool, typer.Option("--correct", help="Correct what is recorded; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it is corrected, decided so, or late.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill in one form at a visit, enter it again, adjudicate or correct; prints the scores."""
    from trialkit.study import Study

    entries = _file_entries(items) | _entries(item)
    if unable and not_done:
        raise UsageError("--unable excludes --not-done.", remedy="Give one of them.")
    if again + adjudicate + correct > 1:
        raise UsageError(
            "--again, --adjudicate and --correct exclude each other.", remedy="Give one of them."
        )
    if take not in (None, "first", "second") or (take and not adjudicate):
        raise UsageError(f"--take {take}.", remedy="Give first or second, with --adjudicate.")
    if reason is not None and again:
        raise UsageError("a second entry has no --reason.", remedy="Leave it out.")
    status = "unable" if unable else "not_done" if not_done else "done"
    where = {"visit": visit, "instrument": instrument, "items": entries}
    with Study.open(study, actor=user) as opened:
        if adjudicate:
            more = {"take": take, "reason": reason or ""}
        elif correct:
            more = {"status": status, "reason": reason or ""}
        else:
            more = {"status": status, "code": not_done}
            if not again:
                more |= {"done_on": done_on, "reason": reason}
        verb = "adjudicate" if adjudicate else "correct" if correct else "again" if again else ""
        event = _enter(opened, verb, usubjid, where | more)
    show_event(event, f"{instrument} at {visit} of {usubjid}: {_told(event)}", as_json)


def _enter(study: Study, verb: str, usubjid: str, call: dict[str, Any]) -> Event:
    from trialkit import participants

    steps: dict[str, Any] = {
        "": participants.assess,
        "again": participants.assess_again,
        "correct": participants.correct,
        "adjudicate": participants.adjudicate,
    }
    event: Event = steps[verb](study, usubjid, **call)
    return event


def _told(event: Event) -> str:
    """Return what an entry led to, in words."""
    payload = event.payload
    parts = [
        ", ".join(
            f"{name} {'no score' if value is None else value}"
            for name, value in payload.get("scores", {}).items()
        )
    ]
    if "differences" in payload:
        differ = ", ".join(payload["differences"])
        parts.append(f"differs in {differ}; adjudicate" if differ else "the two entries agree")
    if payload.get("entry") == "first":
        parts.append("not verified before a second person enters it again")
    if payload.get("flags"):
        parts.append(f"not plausible: {', '.join(payload['flags'])}")
    if payload.get("late"):
        parts.append(f"late, {payload['delay_days']} days after it was done")
    return "; ".join(part for part in parts if part) or "entered"


def _entries(texts: list[str] | None) -> dict[str, str | None]:
    """Return ITEM=VALUE texts as a mapping; an empty value is None."""
    found: dict[str, str | None] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--item {text}: not NAME=VALUE.", remedy="Write NAME=VALUE.")
        if name in found:
            raise UsageError(f"--item {name} is given twice.", remedy="Give it once.")
        found[name] = value or None
    return found


def _file_entries(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}.", remedy='Give a JSON file {"ITEM": value}.') from error
    plain = isinstance(data, dict) and not any(
        isinstance(value, list | dict | bool) for value in data.values()
    )
    if not plain:
        raise UsageError(f"{path}: not a table of items.", remedy='Write {"ITEM": value}.')
    return dict(data)


@forms.command("list")
def list_forms(study: OfStudy = None, as_json: JsonOption = False) -> None:
    """List forms: code, name, items, scores, where the texts are."""
    known = list(_forms(study).values())
    rows = [
        {
            "code": form.code,
            "name": form.name,
            "items": len(form.items),
            "scores": [score.paramcd for score in form.scores],
            "text_policy": form.text_policy,
            "source": form.source,
            "verified": form.verified,
        }
        for form in known
    ]
    text = "\n".join(
        f"{form.code:<12}{form.name} ({len(form.items)} item{'s'[len(form.items) == 1 :]}; "
        f"{', '.join(score.paramcd for score in form.scores) or 'no scores'})"
        for form in known
    )
    emit({"forms": rows}, text, as_json=as_json)


@forms.command("show")
def show(
    code: Annotated[str, typer.Argument(help="Form code, such as 10MWT.")],
    study: OfStudy = None,
    as_json: JsonOption = False,
) -> None:
    """Show a form: its items with types, units and ranges, its scores and their rules."""
    from trialkit.protocol import find_form

    form = find_form(_forms(study), code)
    lines = [f"{form.code}: {form.name}", *filter(None, [form.procedure.strip(), form.licence])]
    lines += ["", *(f"  {_item_line(item)}" for item in form.items)]
    for score in form.scores:
        known = f"{score.minimum:g} to {score.maximum:g} {score.unit}, better {score.better}"
        lines.append(f"  = {score.paramcd}: {score.param}, {score.rule}; {known}")
    for anchor in form.anchors:
        sure = "" if anchor.verified else " (not verified)"
        lines.append(
            f"  {anchor.kind} {anchor.paramcd} {anchor.value:g}: "
            f"{anchor.population}; {anchor.source}{sure}"
        )
    emit(form.model_dump(mode="json", by_alias=True), "\n".join(lines), as_json=as_json)


def _item_line(item: Item) -> str:
    from trialkit.protocol.forms.model import choice_text

    parts = [item.id, item.label or "", item.type]
    if item.choices:
        parts.append("/".join(choice_text(choice) for choice in item.choices))
    elif item.minimum is not None:
        parts.append(f"{item.minimum:g} to {item.maximum:g}")
    parts.append(" or ".join(filter(None, [item.unit, *item.units])))
    if item.plausible:
        parts.append(f"plausible {item.plausible[0]:g} to {item.plausible[1]:g}")
    parts.append("required" if item.required else "")
    parts.append(f"when {item.when}" if item.when else "")
    return ", ".join(part for part in parts if part)


@forms.command("check")
def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Form files, or codes of shipped forms.")
    ],
    as_json: JsonOption = False,
) -> None:
    """List every fault of form files: items, skip logic, scoring rules; exit 3 if any."""
    from trialkit._content import content_folder
    from trialkit.cli.protocol import check as check_all

    shipped = content_folder("protocols") / "forms"
    found = []
    for name in files:
        path = shipped / f"{name}.yaml"
        found.append(str(path) if path.exists() and not Path(name).exists() else name)
    check_all(found, as_json)


@forms.command("pending")
def pending(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """List paper forms that wait for a second entry, or for a decision between two."""
    from trialkit.participants import pending_entries
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        rows = pending_entries(opened)
    lines = []
    for row in rows:
        what = "second entry" if row["entry"] == "first" else "adjudication"
        lines.append(f"{row['usubjid']} {row['visit']} {row['instrument']}: {what}")
        lines += [
            f"  {name}: first {first}, second {second}"
            for name, (first, second) in row.get("differences", {}).items()
        ]
    emit({"pending": rows}, "\n".join(lines) or "nothing waits", as_json=as_json)


def _forms(study: Path | None) -> dict[str, Form]:
    if study is None:
        from trialkit.protocol import load_forms

        return load_forms()
    from trialkit.study import Study

    with Study.open(study, write=False) as opened:
        return dict(opened.design.instruments)
