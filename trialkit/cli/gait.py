"""The verb ``gait``: strides and gait measures of a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit
from trialkit.errors import UsageError

if TYPE_CHECKING:
    from trialkit.gait import GaitReport, Segments

LENGTHS = ("thigh_m", "shank_m", "ankle_height_m", "toe_m", "heel_m")


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("gait")(gait_verb)


def gait_verb(
    session: Annotated[str, typer.Argument(help="Id of a session on a device.")],
    study: StudyOption,
    paretic: Annotated[
        str | None,
        typer.Option(help="left or right; default: the participant's paretic_side."),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME=METRES of the leg ({', '.join(LENGTHS)}), for toe clearance."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the strides to this CSV file, one row each.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show strides and gait measures of a session, and which its channels do not allow."""
    from trialkit.session.gait import export_gait, session_gait
    from trialkit.study import Study

    if paretic not in (None, "left", "right"):
        raise UsageError(f"--paretic {paretic}.", remedy="Give left or right.")
    side: Any = paretic
    legs = _segments(segment or [])
    with Study.open(study, actor=user, write=out is not None) as opened:
        if out is not None:
            found = export_gait(opened, session, out, paretic=side, segments=legs)
        else:
            found = session_gait(opened, session, paretic=side, segments=legs)
    emit({"session": session, **found.to_dict()}, _text(session, found, out), as_json=as_json)


def _segments(entries: list[str]) -> Segments | None:
    from trialkit.cli._pairs import pairs
    from trialkit.gait import Segments

    if not entries:
        return None
    given = pairs("--segment", entries)
    if set(given) != set(LENGTHS) or not all(isinstance(v, int | float) for v in given.values()):
        raise UsageError(
            f"--segment gives {', '.join(sorted(given))}.",
            remedy=f"Give {', '.join(LENGTHS)}, each in m.",
        )
    return Segments(**given)


def _text(session: str, found: GaitReport, out: Path | None) -> str:
    how = "found in the forces of" if found.computed else "as the device reports them in"
    steps = "no steps" if found.steps is None else f"{found.steps} steps"
    lines = [f"{session}: {steps}, {len(found.table)} whole strides"]
    if found.source:
        lines[0] += f" {how} {found.source}, {found.gaps} gaps, {found.irregular} irregular"
    if found.paretic:
        lines.append(f"paretic side: {found.paretic}")
    if len(found.summary):
        lines += ["", f"{'measure':<26}{'n':>6}{'mean':>10}{'sd':>10}{'min':>10}{'max':>10}"]
    for row in found.summary.to_dict("records"):
        numbers = "".join(f"{row[k]:>10.4g}" for k in ("mean", "sd", "min", "max"))
        lines.append(f"{row['measure']:<26}{row['n']:>6}{numbers}")
    lines += ["", "definitions"] if len(found.summary) else []
    lines += [f"  {r['measure']}: {r['definition']}" for r in found.summary.to_dict("records")]
    lines += ["", "not to be had"] if found.missing else []
    lines += [f"  {what}: {why}" for what, why in found.missing.items()]
    lines += ["", f"strides written to {out}"] if out is not None else []
    return "\n".join(lines)
