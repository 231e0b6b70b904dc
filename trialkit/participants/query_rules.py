"""The rules that raise queries from what a study's record says of its participants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trialkit.participants.diaries import is_event
from trialkit.participants.lateness import study_day
from trialkit.protocol.model import Diary
from trialkit.record.kinds import Place
from trialkit.record.state import ParticipantState
from trialkit.study import Study

#: A fall is looked for in diary and reports on the day, and this many days around it.
DAYS_AROUND = 1
_TREATED = 3  # the grade from which a fall had medical attention


@dataclass(frozen=True)
class Found:
    """What a rule found, at which place; `value` tells whether it is still the same."""

    rule: str
    usubjid: str | None
    place: Place
    text: str
    value: str = ""
    restricted: bool = False

    @property
    def key(self) -> str:
        """What one query at a time is raised for: the rule, and the place."""
        place = self.place.model_dump()
        return "|".join([self.rule, self.usubjid or "", *(v or "" for v in place.values())])


def found_by_rules(study: Study) -> Iterator[Found]:
    """Yield what every rule finds now, by participant."""
    for who in study.state.participants.values():
        for rule in RULES.values():
            yield from rule(study, who)


def _soft_ranges(_: Study, who: ParticipantState) -> Iterator[Found]:
    for (visit, instrument), form in who.assessments.items():
        for item in form.flags if form.verified else ():
            yield Found(
                "soft_range",
                who.usubjid,
                Place(visit=visit, instrument=instrument, item=item),
                f"{instrument} at {visit}: {item} is outside its usual range. Is it right?",
                str(form.items.get(item)),
            )


def _late(_: Study, who: ParticipantState) -> Iterator[Found]:
    for (visit, instrument), form in who.assessments.items():
        if form.late:
            yield Found(
                "late_entry",
                who.usubjid,
                Place(visit=visit, instrument=instrument),
                f"{instrument} at {visit} was entered {form.delay_days} days after the act. "
                "Where is the source?",
                str(form.delay_days),
            )


def _entries_differ(_: Study, who: ParticipantState) -> Iterator[Found]:
    for (visit, instrument), form in who.assessments.items():
        if form.entry == "differs" and form.second is not None:
            yield Found(
                "entries_differ",
                who.usubjid,
                Place(visit=visit, instrument=instrument),
                f"{instrument} at {visit}: the two entries differ. Which one is right?",
                ", ".join(form.second["differences"]),
            )


def _falls_not_in_diary(study: Study, who: ParticipantState) -> Iterator[Found]:
    for diary in study.design.diaries:
        covered = [(r.from_day, r.to_day) for r in who.returns.values() if r.diary == diary.paramcd]
        days = _event_days(who, diary)
        for report in who.reports.values():
            facts = report.facts
            if facts.category.strip().casefold() != diary.paramcd.casefold() or not facts.harm:
                continue
            inside = any(first <= facts.day <= last for first, last in covered)
            if inside and not any(abs(day - facts.day) <= DAYS_AROUND for day in days):
                yield Found(
                    "fall_not_in_diary",
                    who.usubjid,
                    Place(diary=diary.paramcd, ae=report.ae),
                    f"{report.ae} is a fall on day {facts.day}, and the diary has none. "
                    "Which one is right?",
                    str(facts.day),
                    restricted=facts.session is not None or facts.related_device,
                )


def _falls_not_reported(study: Study, who: ParticipantState) -> Iterator[Found]:
    for diary in study.design.diaries:
        if diary.event_from_grade is None:
            continue
        reported = [
            report.facts.day
            for report in who.reports.values()
            if report.facts.category.strip().casefold() == diary.paramcd.casefold()
        ]
        for given in (r for r in who.returns.values() if r.diary == diary.paramcd):
            for entry in given.entries:
                grade, day = entry["grade"], entry["day"]
                if grade is None or grade < _TREATED:
                    continue
                if not any(abs(day - other) <= DAYS_AROUND for other in reported):
                    yield Found(
                        "fall_not_reported",
                        who.usubjid,
                        Place(diary=diary.paramcd, row=f"day {day}"),
                        f"The diary has a fall of grade {grade} on day {day}, and no adverse "
                        "event. Was there harm?",
                        str(grade),
                    )


def _diaries_overdue(study: Study, who: ParticipantState) -> Iterator[Found]:
    if not who.randomised or who.withdrawn is not None or study.state.source == "import":
        return
    today = study_day(study, who.usubjid)
    for diary in study.design.diaries:
        last = max((b for _, b in who.diaries.get(diary.paramcd, [])), default=-1)
        due = last + diary.return_every_days + 1
        if today > due and last < diary.to_day:
            yield Found(
                "diary_overdue",
                who.usubjid,
                Place(diary=diary.paramcd),
                f"No {diary.paramcd} diary after day {last}: it was due on day {due}. "
                "Call the participant; days without a diary are no exposure."
                if last >= 0
                else f"No {diary.paramcd} diary yet: it was due on day {due}. "
                "Call the participant; days without a diary are no exposure.",
                str(last),
            )


def _event_days(who: ParticipantState, diary: Diary) -> list[int]:
    return [
        entry["day"]
        for given in who.returns.values()
        if given.diary == diary.paramcd
        for entry in given.entries
        if is_event(entry["grade"], diary)
    ]


RULES: dict[str, Callable[[Study, ParticipantState], Iterator[Found]]] = {
    "soft_range": _soft_ranges,
    "late_entry": _late,
    "entries_differ": _entries_differ,
    "fall_not_in_diary": _falls_not_in_diary,
    "fall_not_reported": _falls_not_reported,
    "diary_overdue": _diaries_overdue,
}
