"""Analysis frames of a virtual trial, made directly: no record, no sessions.

The operating characteristics of a plan take hundreds of trials; entering each through the
record would take days. These frames hold what the record of the same people would give (a
test compares them cell by cell), with the columns that registered analyses use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from trialkit.protocol.instruments import Instrument, score
from trialkit.protocol.model import Protocol, Stratum
from trialkit.record.allocation import draw_part
from trialkit.simulate.patients import Course, Person, VisitOutcome, course, person
from trialkit.simulate.training import attended
from trialkit.simulate.worlds import COHORT, Cohort, World


@dataclass(frozen=True)
class Design:
    """What frames need of a trial's protocols; make it with :meth:`of`."""

    study_id: str
    protocols: tuple[Protocol, ...]
    instruments: dict[str, Instrument]

    @classmethod
    def of(cls, protocols: Sequence[Protocol], instruments: dict[str, Instrument]) -> Design:
        """Return the design of a trial's protocols, one for each arm."""
        return cls(protocols[0].trial.id, tuple(protocols), instruments)

    @property
    def labels(self) -> dict[str, str]:
        """ARMCD to the label of the arm."""
        return {arm.code: arm.label for arm in self.protocols[0].trial.arms}

    @property
    def robot(self) -> str:
        """ARMCD of the arm that trains on the device."""
        return next(a.code for a in self.protocols[0].trial.arms if a.delivery == "device")


@dataclass(frozen=True)
class Subject:
    """A randomised person with strata, arm and course."""

    usubjid: str
    person: Person
    strata: dict[str, str]
    arm: str
    course: Course


def people(seed: int, randomised: int, *, trial: int = 0, cohort: Cohort = COHORT) -> list[Person]:
    """Return everybody who is assessed until `randomised` people were not excluded."""
    found: list[Person] = []
    left = randomised
    while left > 0:
        found.append(person(seed, len(found), trial=trial, cohort=cohort))
        left -= found[-1].excluded is None
    return found


def numbers_within_sites(everybody: Sequence[Person]) -> list[int]:
    """Return each person's running number within the site, from 1."""
    seen: dict[str, int] = {}
    numbers = []
    for someone in everybody:
        seen[someone.site] = seen.get(someone.site, 0) + 1
        numbers.append(seen[someone.site])
    return numbers


def scores_at(outcome: VisitOutcome, instruments: dict[str, Instrument]) -> dict[str, float | None]:
    """Return the scores of the instruments of one visit by PARAMCD."""
    found: dict[str, float | None] = {}
    for entry in outcome.assessments:
        if entry.instrument in instruments:
            found |= score(instruments[entry.instrument], entry.items, entry.status)  # type: ignore[arg-type]
    return found


def level(stratum: Stratum, someone: Person, scores: dict[str, float | None]) -> str:
    """Return the level of a stratification factor."""
    if stratum.paramcd is None:
        return str(someone.attributes[str(stratum.attribute)])
    value = scores[stratum.paramcd]
    return stratum.levels[sum(1 for cut in stratum.cuts if value is not None and value >= cut)]


def subjects(
    design: Design,
    world: World,
    seed: int,
    randomised: int,
    *,
    trial: int = 0,
    arms: dict[str, str] | None = None,
    cohort: Cohort = COHORT,
) -> list[Subject]:
    """Return the randomised people of a trial with their courses.

    Parameters
    ----------
    arms : dict or None
        USUBJID to ARMCD; None draws permuted blocks as a study would.
    """
    protocol = design.protocols[0]
    plan = protocol.trial.randomisation
    if plan is None:
        raise ValueError("the trial does not randomise")
    codes = [arm.code for arm in protocol.trial.arms]
    needed = {s.paramcd for s in plan.strata}
    lists: dict[str, list[str]] = {}
    found: list[Subject] = []
    everybody = people(seed, randomised, trial=trial, cohort=cohort)
    for someone, number in zip(everybody, numbers_within_sites(everybody), strict=True):
        if someone.excluded is not None:
            continue
        usubjid = f"{design.study_id}-{someone.site}-{number:03d}"
        wanted = {
            code: i
            for code, i in design.instruments.items()
            if any(s.paramcd in needed for s in i.scores)
        }
        scores = scores_at(someone.baseline, wanted)
        strata = {s.name: level(s, someone, scores) for s in plan.strata}
        if arms is None:
            key = "|".join([someone.site, *strata.values()])
            if not lists.get(key):
                places = draw_part(
                    f"{seed}-{trial}",
                    key,
                    len(found) + 1,
                    arms=codes,
                    ratio=plan.ratio,
                    block_sizes=plan.block_sizes,
                    length=1,
                )
                lists[key] = [p.arm for p in reversed(places)]
            arm = lists[key].pop()
        else:
            arm = arms[usubjid]
        robot = arm == design.robot
        found.append(
            Subject(
                usubjid,
                someone,
                strata,
                arm,
                course(someone, world if robot else None, cohort=cohort),
            )
        )
    return found


def frames(
    design: Design, subjects: Sequence[Subject], *, instruments: Sequence[str] | None = None
) -> dict[str, pd.DataFrame]:
    """Return ADSL, ADFT, ADQS, the diary frames and ADTTE of a trial.

    Parameters
    ----------
    design : Design
        The trial.
    subjects : sequence of Subject
        From :func:`subjects`.
    instruments : sequence of str or None
        Only these instruments (scoring is what takes time); None takes all.

    Returns
    -------
    dict of DataFrame
        One row a participant in ADSL; in the others one a participant, parameter and visit,
        one an interval at risk, one a participant and event time.
    """
    wanted = {
        code: instrument
        for code, instrument in design.instruments.items()
        if instruments is None or code in instruments
    }
    diary = design.protocols[0].diaries[0]
    measured = _findings(design, subjects, wanted)
    return {
        "ADSL": _adsl(design, subjects),
        "ADFT": measured["ADFT"],
        "ADQS": measured["ADQS"],
        diary.dataset: _recurrent(design, subjects),
        "ADTTE": _first_event(design, subjects),
    }


def _adsl(design: Design, subjects: Sequence[Subject]) -> pd.DataFrame:
    rows = []
    planned = design.protocols[0].planned_sessions
    for s in subjects:
        sessions = attended(s.person, s.course, planned)
        rows.append(
            {
                "STUDYID": design.study_id,
                "USUBJID": s.usubjid,
                "SITEID": s.person.site,
                "ARMCD": s.arm,
                "TRT01P": design.labels[s.arm],
                "STRATUM": "|".join([s.person.site, *s.strata.values()]),
                **{name.upper(): text for name, text in s.strata.items()},
                "RANDFL": "Y",
                "FASFL": "Y",
                "SAFFL": "Y" if sessions else "N",
                "AGE": float(s.person.attributes["age_years"]),
                "SEX": s.person.attributes["sex"],
                "TRTDISDY": s.course.discontinued[0] if s.course.discontinued else None,
                "EOSDY": s.course.withdrawn[0] if s.course.withdrawn else None,
                "NSESS": sessions,
            }
        )
    return pd.DataFrame(rows)


def _findings(
    design: Design, subjects: Sequence[Subject], instruments: dict[str, Instrument]
) -> dict[str, pd.DataFrame]:
    """ADFT and ADQS: one row a score that has a value."""
    homes = {s.paramcd: i.dataset for i in instruments.values() for s in i.scores}
    days = {visit.code: visit.day for visit in design.protocols[0].visits}
    rows: dict[str, list[tuple[object, ...]]] = {"ADFT": [], "ADQS": []}
    for s in subjects:
        base: dict[str, float | None] = {}
        for outcome in (s.person.baseline, *s.course.visits):
            found = scores_at(outcome, instruments)
            if outcome is s.person.baseline:
                base = found
            for paramcd, value in found.items():
                if value is None:
                    continue
                start = base.get(paramcd)
                rows[homes[paramcd]].append(
                    (
                        design.study_id,
                        s.usubjid,
                        s.person.site,
                        paramcd,
                        outcome.visit,
                        days[outcome.visit],
                        outcome.day,
                        value,
                        start,
                        None if outcome is s.person.baseline or start is None else value - start,
                        "Y" if outcome is s.person.baseline else None,
                        "Y",
                    )
                )
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "AVISIT", "AVISITN", "ADY"]
    columns += ["AVAL", "BASE", "CHG", "ABLFL", "ANL01FL"]
    return {name: pd.DataFrame(found, columns=columns) for name, found in rows.items()}


def _covered(subject: Subject) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Stretches of days covered by the diary without a gap, with the falls inside."""
    stretches: list[tuple[int, int, list[tuple[int, int]]]] = []
    for part in subject.course.diaries:
        if stretches and stretches[-1][1] + 1 == part.first:
            first, _, falls = stretches.pop()
            stretches.append((first, part.last, [*falls, *part.falls]))
        else:
            stretches.append((part.first, part.last, list(part.falls)))
    return stretches


def _recurrent(design: Design, subjects: Sequence[Subject]) -> pd.DataFrame:
    """Start-stop intervals at risk; each event closes one on the day after it."""
    paramcd = design.protocols[0].diaries[0].paramcd
    rows: list[tuple[object, ...]] = []
    for s in subjects:
        number = 0
        for first, last, falls in _covered(s):
            start = first
            for day, grade in falls:
                number += 1
                head = (design.study_id, s.usubjid, s.person.site, paramcd, number)
                rows.append((*head, float(start), float(day + 1), 1, float(grade)))
                start = day + 1
            if start <= last:
                number += 1
                head = (design.study_id, s.usubjid, s.person.site, paramcd, number)
                rows.append((*head, float(start), float(last + 1), 0, None))
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "EVSEQ", "TSTART", "TSTOP", "EVENT"]
    return pd.DataFrame(rows, columns=[*columns, "GRADE"])


def _first_event(design: Design, subjects: Sequence[Subject]) -> pd.DataFrame:
    """Days to the first event, censored at the first day that the diary does not cover."""
    paramcd = "TT" + design.protocols[0].diaries[0].paramcd
    rows: list[tuple[object, ...]] = []
    for s in subjects:
        stretches = _covered(s)
        if not stretches or stretches[0][0] > 0:
            continue
        _, last, falls = stretches[0]
        days = falls[0][0] + 1 if falls else last + 1
        head = (design.study_id, s.usubjid, s.person.site, paramcd)
        rows.append((*head, float(days), 0 if falls else 1))
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "AVAL", "CNSR"]
    return pd.DataFrame(rows, columns=columns)
