"""Progress of a participant: a growth curve with prediction intervals. Advisory.

Outcomes are fitted over both arms together, so that nobody can read a comparison of the arms
off a prediction while the trial runs. Nobody who assesses outcomes may see any of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialkit.errors import OutOfOrder, UnknownName
from trialkit.record.kinds import ProgressExported
from trialkit.record.state import ParticipantState
from trialkit.session.schedule import planned_day
from trialkit.study import Study
from trialkit.study.exports import give_file, require_export

if TYPE_CHECKING:
    import pandas as pd

SESSION_MEASURES = {
    "mean_speed_m_s": "m/s",
    "distance_m": "m",
    "steps": "",
    "moving_minutes": "min",
    "mean_support_fraction": "of body weight",
    "mean_guidance": "",
}
"""What sessions deliver, by the names of `Dose`, with their units."""
LEAST_PARTICIPANTS = 10
_LEAST_TIMES = 3
_WEEK = 7.0
_CURVE = 41


@dataclass(frozen=True)
class ParticipantProgress:
    """Where a participant's measure stands and may go.

    Attributes
    ----------
    usubjid, measure, label, unit : str
    per : str
        ``visit`` or ``session``.
    observed : DataFrame
        ``label, day, value``.
    ahead : DataFrame
        One row a planned visit or session to come: ``label, day, expected, lower_80, upper_80,
        lower_95, upper_95``. Intervals are for a measurement, its error included.
    curve : DataFrame
        The same by ``day``, from the start to the end of the plan.
    n_participants : int
        Others that the curve was fitted to.
    advice : str
        In words.
    """

    usubjid: str
    measure: str
    label: str
    unit: str
    per: str
    observed: pd.DataFrame
    ahead: pd.DataFrame
    curve: pd.DataFrame
    n_participants: int
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        tables = {n: getattr(self, n).to_dict("records") for n in ("observed", "ahead", "curve")}
        return {**vars(self), **tables, "advisory": True, "for_outcome_assessors": False}


def require_progress(study: Study) -> None:
    """Refuse whoever may not see progress.

    Before the arms are revealed the speed of training may tell the arm, so that those who
    analyse or monitor see progress only after that; who assesses outcomes never does.

    Raises
    ------
    NotPermitted
    """
    if not (study.state.revealed and study.may("build_snapshot")):
        study.require("see_progress")


def progress_measures(study: Study) -> list[str]:
    """Return the names of what progress can be shown of: scores at visits, then sessions."""
    scores = [s.paramcd for i in study.design.instruments.values() for s in i.scores]
    return [*scores, *SESSION_MEASURES]


def participant_progress(
    study: Study, usubjid: str, *, measure: str | None = None
) -> ParticipantProgress:
    """Return a participant's growth curve and what is to be expected at what is planned.

    Parameters
    ----------
    study : Study
        Open for reading is enough.
    measure : str, optional
        A PARAMCD that is assessed at visits, or one of `SESSION_MEASURES`; default: the first
        score of the study's first instrument.

    Raises
    ------
    NotPermitted
        If the role may not see progress; for what sessions deliver, or allocations.
    UnknownName
        If there is no such participant or measure.
    OutOfOrder
        If fewer than 10 others, or 3 times, are known.
    """
    require_progress(study)
    who = study.participant(usubjid)
    known = progress_measures(study)
    name = measure or known[0]
    if name not in known:
        raise UnknownName(f"no measure {name}.", remedy=f"Use one of {', '.join(known)}.")
    if name not in SESSION_MEASURES:
        return _predict(study, who, _Visits(study, name))
    study.require("see_allocation")
    return _predict(study, who, _Sessions(study, name, who))


class _Visits:
    """A score at visits."""

    per = "visit"

    def __init__(self, study: Study, name: str) -> None:
        self._study = study
        self.name = name
        scores = (s for i in study.design.instruments.values() for s in i.scores)
        own = next(s for s in scores if s.paramcd == name)
        self.label, self.unit = own.param, own.unit

    def values(self, who: ParticipantState) -> Iterator[tuple[str, int, float]]:
        """Yield visit, day and score, by day."""
        found = [
            (a.visit, a.day, float(value))
            for a in who.assessments.values()
            if (value := a.scores.get(self.name)) is not None
        ]
        yield from sorted(found, key=lambda one: one[1])

    def planned(self) -> list[tuple[str, int]]:
        """Return all visits at which the score is assessed, with their days."""
        instruments = self._study.design.instruments.values()
        code = next(i.code for i in instruments if self.name in {s.paramcd for s in i.scores})
        return [(v.code, v.day) for v in self._study.design.visits if code in v.assessments]


class _Sessions:
    """What sessions deliver; those on a device and those with a therapist stay apart."""

    per = "session"

    def __init__(self, study: Study, name: str, who: ParticipantState) -> None:
        arm = study.design.arm(study.arm_of(who.usubjid))
        self._protocol = study.protocols.get(arm.code)
        self._device = arm.delivery == "device"
        self.name = name
        self.label, self.unit = name.removesuffix("_m_s").replace("_", " "), SESSION_MEASURES[name]

    def values(self, who: ParticipantState) -> Iterator[tuple[str, int, float]]:
        """Yield session, day and what it delivered, by number."""
        for number, session in sorted(who.sessions.items()):
            if session.dose is None or (session.opened_seq is not None) is not self._device:
                continue
            value = session.dose.get(self.name)
            if value is not None:
                yield f"S{number:02d}", session.day, float(value)

    def planned(self) -> list[tuple[str, int]]:
        """Return all sessions with their days."""
        if self._protocol is None:
            return []
        schedule = self._protocol.schedule
        numbers = range(1, self._protocol.planned_sessions + 1)
        return [(f"S{n:02d}", planned_day(schedule, n)) for n in numbers]


def _predict(
    study: Study, who: ParticipantState, source: _Visits | _Sessions
) -> ParticipantProgress:
    import numpy as np
    import pandas as pd

    from trialkit.adaptation import fit_growth, predict_progress

    own = pd.DataFrame(list(source.values(who)), columns=["label", "day", "value"])
    rows = [
        (usubjid, max(0, day) / _WEEK, value)
        for usubjid, other in study.state.participants.items()
        if usubjid != who.usubjid
        for _, day, value in source.values(other)
    ]
    cohort = pd.DataFrame(rows, columns=["usubjid", "week", "value"])
    people, times = cohort["usubjid"].nunique(), cohort["week"].nunique()
    if people < LEAST_PARTICIPANTS or times < _LEAST_TIMES:
        raise OutOfOrder(
            f"{source.name} is known of {people} other participants at {times} times: too few "
            f"for a curve.",
            remedy=f"Wait until there are {LEAST_PARTICIPANTS} others and {_LEAST_TIMES} times.",
        )
    model = fit_growth(cohort, outcome="value", subject="usubjid", time="week")
    seen = own["day"].clip(lower=0) / _WEEK
    last = int(own["day"].max()) if len(own) else -1
    done = {*own["label"], *who.visits, *(f"S{n:02d}" for n in who.sessions)}
    planned = source.planned()
    ahead = [(label, day) for label, day in planned if label not in done and day > last]
    end = max([1, last, *(day for _, day in planned)])
    days = np.linspace(0.0, float(end), _CURVE)
    at = np.concatenate([days, [float(max(0, day)) for _, day in ahead]]) / _WEEK
    found = predict_progress(model, seen.to_numpy(), own["value"].to_numpy(), at)
    table = found.table.drop(columns="time")
    curve = table.iloc[: len(days)].assign(day=days)
    coming = table.iloc[len(days) :].reset_index(drop=True)
    coming.insert(0, "label", [label for label, _ in ahead])
    coming.insert(1, "day", [day for _, day in ahead])
    return ParticipantProgress(
        usubjid=who.usubjid,
        measure=source.name,
        label=source.label,
        unit=source.unit,
        per=source.per,
        observed=own,
        ahead=coming,
        curve=curve[["day", *table.columns]],
        n_participants=model.n_participants,
        advice=_advice(source, coming, len(own), model.n_participants),
    )


def _advice(source: _Visits | _Sessions, ahead: pd.DataFrame, seen: int, others: int) -> str:
    text = (
        "Advisory, not a decision, and not for outcome assessors. It rests on "
        f"{seen} {source.per}{'' if seen == 1 else 's'} and {others} other participants"
        f"{', both arms together' if source.per == 'visit' else ''}."
    )
    if len(ahead):
        last = ahead.iloc[-1]
        unit = f" {source.unit}" if source.unit else ""
        text += (
            f" At {last['label']} (day {last['day']}) {source.label} is expected at "
            f"{last['expected']:.3g}{unit}; 80 of 100 such measurements would lie from "
            f"{last['lower_80']:.3g} to {last['upper_80']:.3g}. Participants unlike the others "
            "may lie outside."
        )
    return text


def export_progress(study: Study, usubjid: str, measure: str, path: Path, data: bytes) -> None:
    """Write a drawn curve to a file, which appears after an event with its hash was recorded.

    Raises
    ------
    NotPermitted
        If the role may not see progress; where the study requires a login also unless the person
        may export.
    StorageRefused
        If the disk or the record refused; no part of the file was kept.
    """
    require_progress(study)
    require_export(study, "export_progress", usubjid)

    def made(digest: str) -> ProgressExported:
        return ProgressExported(usubjid=usubjid, measure=measure, files={path.name: digest})

    give_file(study, path, data, made, usubjid)
