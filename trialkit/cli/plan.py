"""The verbs ``plan check``, ``plan lock`` and ``plan show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, counts_events, emit

if TYPE_CHECKING:
    from trialkit.plan.model import Plan
    from trialkit.record.kinds import PlanLocked


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    plan = typer.Typer(help="The statistical analysis plan of a study.", no_args_is_help=True)
    plan.command("check")(check)
    plan.command("lock")(lock)
    plan.command("show")(show)
    app.add_typer(plan, name="plan")


PlanOption = Annotated[
    str | None,
    typer.Option("--plan", help="Another plan: a file, or the name of a shipped one."),
]


def check(
    study: StudyOption,
    plan: PlanOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every fault of the plan, held against the study; exit 3 if there are some."""
    from trialkit.errors import PlanFindings, UnknownName
    from trialkit.plan import check_plan, current_plan
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        path = _file(plan) if plan else current_plan(opened)
        if path is None:
            raise UnknownName("the study has no plan.", remedy="Name one with --plan.")
        findings = check_plan(path, opened.design)
    text = [f"{path}: {len(findings) or 'no'} fault{'s'[len(findings) == 1 :]}"]
    data = {"plan": str(path), "findings": [f.to_dict() for f in findings], "count": len(findings)}
    emit(data, "\n".join([*text, *(f"  {f}" for f in findings)]), as_json=as_json)
    if findings:
        raise typer.Exit(PlanFindings.exit_status)


def lock(
    study: StudyOption,
    signer: Annotated[str, typer.Option("--signer", help="The first person who signs.")],
    second: Annotated[str, typer.Option("--second-signer", help="The second person who signs.")],
    plan: PlanOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why an earlier lock is replaced.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock the plan, method versions and schema versions with two people's signatures."""
    from trialkit.plan import lock_plan, require_lock
    from trialkit.study import Study

    with Study.open(study, actor=user or signer, whole=True) as opened:
        event = lock_plan(
            opened,
            signer=signer,
            second_signer=second,
            plan=_file(plan) if plan else None,
            reason=reason,
        )
        locked = require_lock(opened)
    data = {"at": event.at, **locked.model_dump(mode="json")}
    if counts_events(event.role):
        data["seq"] = event.seq
    emit(data, "\n".join([f"locked at {event.at}", *_lock_lines(locked)]), as_json=as_json)


def show(
    study: StudyOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the plan registers, and whether it is locked."""
    from trialkit.errors import UnknownName
    from trialkit.plan import current_plan, load_plan
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        path = current_plan(opened)
        if path is None:
            raise UnknownName("the study has no plan.", remedy="Lock one: `trialkit plan lock`.")
        plan = load_plan(path, opened.design)
        locked = opened.state.lock
    data = {
        "file": str(path),
        "plan": plan.model_dump(mode="json", by_alias=True),
        "lock": locked.model_dump(mode="json") if locked else None,
    }
    state = _lock_lines(locked) if locked else ["not locked"]
    emit(data, "\n".join([*_plan_lines(plan), *state]), as_json=as_json)


def _file(name: str) -> Path:
    from trialkit._content import find_content

    return find_content("analyses", name)


def _plan_lines(plan: Plan) -> list[str]:
    order = plan.multiplicity.order
    lines = [
        f"{plan.id} {plan.version}: {plan.title}",
        f"{plan.treatment.treatment} against {plan.treatment.reference}, "
        f"alpha {plan.multiplicity.alpha:g} ({plan.multiplicity.procedure})",
    ]
    for analysis in plan.analyses:
        place = f"{order.index(analysis.id) + 1}." if analysis.id in order else "- "
        visit = f" at {analysis.visit}" if analysis.visit else ""
        lines.append(
            f"  {place:<3} {analysis.id:<16} {analysis.role:<12} {analysis.method:<18} "
            f"{analysis.dataset} {analysis.where.get('PARAMCD', '')}{visit}"
        )
    return [*lines, *(f"note: {text.strip()}" for text in plan.notes)]


def _lock_lines(locked: PlanLocked) -> list[str]:
    return [
        f"lock {locked.lock}",
        f"plan {locked.plan} ({locked.file})",
        "methods " + ", ".join(f"{name} {v}" for name, v in sorted(locked.methods.items())),
        "schemas " + ", ".join(f"{name} {v}" for name, v in sorted(locked.schemas.items())),
        *(f"signed by {s.name} ({s.signer}), key {s.fingerprint}" for s in locked.signatures),
    ]
