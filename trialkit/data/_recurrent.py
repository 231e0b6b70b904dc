"""Diaries: start-stop intervals at risk (ADFALL and its like), and time to the first event."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data_schemas import adam
from data_schemas._columns import typed
from data_schemas.terminology import StudyTerms
from trialkit.data.terms import Frames
from trialkit.protocol.model import Diary
from trialkit.study.design import Design

Row = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """Days at risk from `start` to `stop`; `event` closes it, with its grade."""

    start: float
    stop: float
    event: int
    grade: float = math.nan


@dataclass(frozen=True)
class _Observed:
    """What one participant's diary says: covered days, in order, and (day, grade) of events."""

    usubjid: str
    diary: Diary
    days: list[int]
    events: list[tuple[int, float]]

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield first and last day of each stretch without a gap."""
        first = before = None
        for day in self.days:
            if before is None or first is None:
                first = day
            elif day > before + 1:
                yield first, before
                first = day
            before = day
        if first is not None and before is not None:
            yield first, before

    def intervals(self) -> Iterator[Interval]:
        """Yield the start-stop intervals: day d is the time from d to d + 1.

        An event closes an interval at the end of its day; m events on one day close m
        intervals that end at d + 1/m, d + 2/m, ..., d + 1, so that none is without length.
        """
        by_day: dict[int, list[float]] = {}
        for day, grade in self.events:
            by_day.setdefault(day, []).append(grade)
        for first, last in self.stretches():
            start = float(first)
            for day in sorted(d for d in by_day if first <= d <= last):
                grades = by_day[day]
                for number, grade in enumerate(grades, start=1):
                    stop = day + number / len(grades)
                    yield Interval(start, stop, 1, grade)
                    start = stop
            if start < last + 1:
                yield Interval(start, float(last + 1), 0)


def _observed(sdtm: Frames, diary: Diary) -> Iterator[_Observed]:
    """Yield what every randomised participant's diary says, in the order of DM.

    Days after `to_day`, before day 0 and after a withdrawal are not at risk. Where two returns
    cover a day, the later one counts for it. Events outside the days of their own return,
    and those below the diary's grade, do not count.
    """
    rows = sdtm["CE"][sdtm["CE"]["CECAT"] == diary.paramcd]
    left = sdtm["DS"][sdtm["DS"]["DSDECOD"] == "WITHDRAWAL"]
    last_day = dict(zip(left["USUBJID"], left["DSSTDY"], strict=True))
    people = {str(who): part for who, part in rows.groupby("USUBJID", sort=False)}
    randomised = sdtm["DM"][sdtm["DM"]["RFSTDTC"].notna()]
    for usubjid in randomised["USUBJID"]:
        part = people.get(usubjid, rows.iloc[:0])
        end = int(min(diary.to_day, last_day.get(usubjid, diary.to_day)))
        owner: dict[int, int] = {}
        entries = []
        for kind, first, last, refid, grade in zip(
            *(part[c] for c in ("CESCAT", "CESTDY", "CEENDY", "CEREFID", "CETOXGR")), strict=True
        ):
            if kind == "PERIOD":
                owner |= dict.fromkeys(range(max(0, first), min(end, last) + 1), refid)
            else:
                entries.append((first, grade, refid))
        counted = [(d, g) for d, g, refid in entries if owner.get(d) == refid and _counts(g, diary)]
        yield _Observed(usubjid, diary, sorted(owner), counted)


def _counts(grade: float, diary: Diary) -> bool:
    least = diary.event_from_grade
    return least is None or math.isnan(grade) or grade >= least


def recurrent(name: str, sdtm: Frames, design: Design, terms: StudyTerms) -> pd.DataFrame:
    """Return the start-stop frame `name` of the diaries that go to it."""
    rows: list[Row] = []
    sites = dict(zip(sdtm["DM"]["USUBJID"], sdtm["DM"]["SITEID"], strict=True))
    for diary in (d for d in design.diaries if d.dataset == name):
        for observed in _observed(sdtm, diary):
            rows += [
                {
                    "USUBJID": observed.usubjid,
                    "SITEID": sites[observed.usubjid],
                    "PARAMCD": diary.paramcd,
                    "EVSEQ": number,
                    "TSTART": round(interval.start, 6),
                    "TSTOP": round(interval.stop, 6),
                    "EVENT": interval.event,
                    "GRADE": interval.grade,
                }
                for number, interval in enumerate(observed.intervals(), start=1)
            ]
    return _sorted(adam.recurrent(name, terms), rows, sdtm, ["USUBJID", "PARAMCD", "EVSEQ"])


def time_to_first(sdtm: Frames, design: Design, terms: StudyTerms) -> pd.DataFrame:
    """Return ADTTE: the end of the day of the first event, or the first day not covered.

    Everybody randomised has a row; without a diary for day 0, censored at 0.
    """
    rows: list[Row] = []
    sites = dict(zip(sdtm["DM"]["USUBJID"], sdtm["DM"]["SITEID"], strict=True))
    for diary in design.diaries:
        for observed in _observed(sdtm, diary):
            covered = next(observed.stretches(), None)
            first = next(observed.intervals(), None)
            if covered is None or covered[0] > 0 or first is None:
                days, censored, why = 0.0, 1, "NO DIARY FROM DAY 0"
            elif first.event:
                days, censored, why = float(math.ceil(first.stop)), 0, diary.label.upper()
            else:
                days, censored, why = first.stop, 1, "END OF OBSERVATION"
            rows.append(
                {
                    "USUBJID": observed.usubjid,
                    "SITEID": sites[observed.usubjid],
                    "PARAMCD": f"TT{diary.paramcd}",
                    "PARAM": f"Time to first event: {diary.label}",
                    "AVAL": days,
                    "CNSR": censored,
                    "EVNTDESC": why,
                }
            )
    return _sorted(adam.adtte(terms), rows, sdtm, ["PARAMCD", "USUBJID"])


def _sorted(model: Any, rows: list[Row], sdtm: Frames, by: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if rows:
        study = sdtm["DM"]["STUDYID"].iloc[0]
        frame = frame.assign(STUDYID=study).sort_values(by, kind="stable")
    return typed(model, frame)
