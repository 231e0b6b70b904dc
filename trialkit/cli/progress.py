"""The verbs ``progress`` and ``next-settings``: where a participant stands, and what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit
from trialkit.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from trialkit.session.progress import ParticipantProgress
    from trialkit.session.settings import Checked, NextSettings

UsubjidArgument = Annotated[str, typer.Argument(help="USUBJID.")]
_PICTURES = (".png", ".svg", ".pdf")


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("progress")(progress_verb)
    app.command("next-settings")(next_settings_verb)


def progress_verb(
    usubjid: UsubjidArgument,
    study: StudyOption,
    measure: Annotated[
        str | None,
        typer.Option(help="A PARAMCD, or what sessions deliver, such as mean_speed_m_s."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the curve into this file (.png, .svg, .pdf).")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a participant's growth curve with prediction intervals; never to outcome assessors."""
    from trialkit.session.progress import export_progress, participant_progress
    from trialkit.study import Study

    if figure is not None and figure.suffix.lower() not in _PICTURES:
        raise UsageError(f"--figure {figure}.", remedy=f"End it in {', '.join(_PICTURES)}.")
    with Study.open(study, actor=user, write=figure is not None) as opened:
        found = participant_progress(opened, usubjid, measure=measure)
        if figure is not None:
            export_progress(opened, usubjid, found.measure, figure, _draw(found, figure.suffix))
    drawn = str(figure) if figure is not None else None
    emit(found.to_dict() | {"figure": drawn}, _progress_text(found, drawn), as_json=as_json)


def next_settings_verb(
    usubjid: UsubjidArgument,
    study: StudyOption,
    accept: Annotated[
        bool, typer.Option("--accept", help="Let the next session begin as proposed.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE: decide otherwise; may be repeated; needs --reason."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded with the decision.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Make every stored decision again; exit 4 where one differs."),
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the daily state and the proposal for the next session, and record what is decided."""
    from trialkit.cli._pairs import pairs
    from trialkit.session.settings import check_decisions, decide_settings, propose_settings
    from trialkit.study import Study

    values = pairs("--override", override or [])
    if accept + bool(values) + check > 1:
        raise UsageError("more than one of --accept, --override, --check.", remedy="Give one.")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"--override {name}={value}: no number.", remedy="Write guidance=0.8.")
    decide = accept or bool(values)
    with Study.open(study, actor=user, write=decide) as opened:
        if check:
            _show_checks(check_decisions(opened, usubjid), as_json=as_json)
            return
        if decide:
            decide_settings(opened, usubjid, override=values, reason=reason)
        found = propose_settings(opened, usubjid)
    emit(_settings_data(found), _settings_text(found), as_json=as_json)


def _show_checks(checks: list[Checked], *, as_json: bool) -> None:
    same = sum(one.same for one in checks)
    lines = [f"event {c.seq}, after {c.session}: {d}" for c in checks for d in c.differences]
    lines.append(f"{same} of {len(checks)} decisions are obtained again from the record.")
    data = [vars(c) | {"same": c.same} for c in checks]
    emit({"decisions": data}, "\n".join(lines), as_json=as_json)
    if same < len(checks):
        raise typer.Exit(IntegrityError.exit_status)


def _settings_data(found: NextSettings) -> dict[str, Any]:
    return {
        "usubjid": found.usubjid,
        "after": found.after,
        "settings": found.old,
        "proposed": found.proposed,
        "proposals": [vars(p) for p in found.proposals],
        "bounds": {name: vars(one) for name, one in found.bounds.items()},
        "inputs": found.inputs,
        "daily_state": found.daily._asdict() if found.daily is not None else None,
        "model": found.model,
        "decided": found.decided,
    }


def _settings_text(found: NextSettings) -> str:
    lines = [f"{found.usubjid} after {found.after}", ""]
    state = found.daily
    if state is None:
        lines.append("daily state: not to be had (no tracking error or belt speed)")
    else:
        lines += [
            f"daily state after {found.inputs['bouts']:.0f} bouts (tracking error, mrad)",
            f"  strength  {1e3 * state.level:+.1f} (SD {1e3 * state.p_ll**0.5:.1f}), "
            f"a bout {1e3 * state.slope:+.2f} (SD {1e3 * state.p_ss**0.5:.2f})",
            f"  fatigue   {1e3 * state.fatigue:+.1f} (SD {1e3 * state.p_ff**0.5:.1f})",
        ]
    lines += ["", "proposal, for a person to accept or override"]
    for p in found.proposals:
        own = found.bounds[p.setting]
        lines.append(
            f"  {p.setting:<17} {p.old:.4g} -> {p.proposed:.4g}  "
            f"({own.minimum:.4g} to {own.maximum:.4g})  {p.reason}"
        )
    shown = [(k, v) for k, v in found.inputs.items() if not k.startswith("daily.")]
    lines += ["", "it rests on " + ", ".join(f"{k} {v:g}" for k, v in shown)]
    if found.decided is not None:
        told = ", ".join(f"{k} {v:.4g}" for k, v in found.decided["settings"].items())
        why = f" ({found.decided['reason']})" if found.decided["reason"] else ""
        lines += ["", f"{found.decided['outcome']} by {found.decided['by']}{why}: {told}"]
    return "\n".join(lines)


def _progress_text(found: ParticipantProgress, figure: str | None) -> str:
    unit = f", {found.unit}" if found.unit else ""
    lines = [f"{found.usubjid}: {found.label} ({found.measure}{unit})", ""]
    lines += [f"  {r.label:<6} day {r.day:>4}  {r.value:.4g}" for r in found.observed.itertuples()]
    if not len(found.observed):
        lines.append("  nothing was observed yet")
    if len(found.ahead):
        lines += ["", f"to come{'':14} expected    80 %              95 %"]
    for row in found.ahead.to_dict("records"):
        near, far = (f"{row[f'lower_{n}']:.3g} to {row[f'upper_{n}']:.3g}" for n in (80, 95))
        lines.append(
            f"  {row['label']:<6} day {row['day']:>4}   {row['expected']:>8.3g}    "
            f"{near:<16}  {far}"
        )
    lines += ["", found.advice]
    lines += [f"figure: {figure}"] if figure else []
    return "\n".join(lines)


def _draw(found: ParticipantProgress, suffix: str) -> bytes:
    """Draw what was observed, the expected course, and the intervals."""
    from io import BytesIO

    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from trialkit._figures import COLOURS, style

    with style():
        figure, ax = plt.subplots(figsize=(5.0, 3.2), layout="constrained")
        day = found.curve["day"]
        for level, alpha in ((95, 0.15), (80, 0.25)):
            low, high = found.curve[f"lower_{level}"], found.curve[f"upper_{level}"]
            ax.fill_between(
                day, low, high, color=COLOURS[0], alpha=alpha, linewidth=0, label=f"{level} %"
            )
        ax.plot(day, found.curve["expected"], color=COLOURS[0], label="expected")
        ax.plot(
            *(found.observed["day"], found.observed["value"]),
            "o",
            color=COLOURS[1],
            label="observed",
        )
        ax.set_xlabel("Study day")
        ax.set_ylabel(f"{found.label} ({found.unit})" if found.unit else found.label)
        ax.set_title(f"{found.usubjid}: advisory, not for outcome assessors")
        ax.legend(loc="best", fontsize=7)
        drawn = BytesIO()
        try:
            figure.savefig(drawn, dpi=150, format=suffix[1:].lower())
        finally:
            plt.close(figure)
    return drawn.getvalue()
