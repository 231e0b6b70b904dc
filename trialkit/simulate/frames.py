"""Analysis frames of a virtual trial, made directly: no record, no sessions.

The operating characteristics of a plan take hundreds of trials; entering each through the
record would take days. These frames hold what the record of the same people would give (a
test compares them cell by cell), with the columns that registered analyses use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trialkit.errors import UsageError
from trialkit.participants.minimisation import Minimiser, Rule, allocate
from trialkit.participants.randomisation import stratum_text
from trialkit.protocol.forms import Form, score
from trialkit.protocol.load import load_protocol
from trialkit.protocol.model import Randomisation, Stratum
from trialkit.record.blocks import draw_part
from trialkit.simulate.patients import Assessment, Course, Person, VisitOutcome, course, person
from trialkit.simulate.training import attended
from trialkit.simulate.worlds import COHORT, Cohort, World
from trialkit.study.design import Design


@dataclass(frozen=True)
class Setting:
    """What frames need of a trial: its id, its design, and how many sessions are planned."""

    study_id: str
    design: Design
    planned_sessions: int

    @classmethod
    def of(cls, protocols: Sequence[Path]) -> Setting:
        """Return the setting of a trial's protocol files, one for each arm."""
        loaded = {path: load_protocol(path) for path in protocols}
        first = next(iter(loaded.values()))
        return cls(first.trial.id, Design.from_protocols(loaded), first.planned_sessions)

    @property
    def labels(self) -> dict[str, str]:
        """ARMCD to the label of the arm."""
        return {arm.code: arm.label for arm in self.design.arms}

    @property
    def robot(self) -> str:
        """ARMCD of the arm that trains on the device."""
        return next(arm.code for arm in self.design.arms if arm.delivery == "device")

    @property
    def randomisation(self) -> Randomisation:
        """How the trial randomises.

        Raises
        ------
        UsageError
            If it does not.
        """
        if self.design.randomisation is None:
            raise UsageError(
                f"{self.study_id} does not randomise.", remedy="Use protocols of two arms."
            )
        return self.design.randomisation


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


def score_of(tool: Form, entry: Assessment) -> dict[str, float | None]:
    """Return the scores of one assessment by PARAMCD."""
    return score(tool, entry.items, entry.status)


def scores_at(outcome: VisitOutcome, instruments: dict[str, Form]) -> dict[str, float | None]:
    """Return the scores of the instruments of one visit by PARAMCD."""
    found: dict[str, float | None] = {}
    for entry in outcome.assessments:
        if entry.instrument in instruments:
            found |= score_of(instruments[entry.instrument], entry)
    return found


def level(stratum: Stratum, someone: Person, scores: dict[str, float | None]) -> str:
    """Return the level of a stratification factor."""
    if stratum.paramcd is None:
        return str(someone.attributes[str(stratum.attribute)])
    value = scores[stratum.paramcd]
    return stratum.levels[sum(1 for cut in stratum.cuts if value is not None and value >= cut)]


def subjects(
    setting: Setting,
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
        USUBJID to ARMCD; None draws permuted blocks, or minimises, as a study would.
    """
    plan = setting.randomisation
    codes = [arm.code for arm in setting.design.arms]
    needed = {s.paramcd for s in plan.strata}
    lists: dict[str, list[str]] = {}
    minimiser = Minimiser(Rule.of(codes, plan)) if plan.method == "minimisation" else None
    found: list[Subject] = []
    everybody = people(seed, randomised, trial=trial, cohort=cohort)
    for someone, number in zip(everybody, numbers_within_sites(everybody), strict=True):
        if someone.excluded is not None:
            continue
        usubjid = f"{setting.study_id}-{someone.site}-{number:03d}"
        wanted = {
            code: i
            for code, i in setting.design.instruments.items()
            if any(s.paramcd in needed for s in i.scores)
        }
        scores = scores_at(someone.baseline, wanted)
        strata = {"site": someone.site} if plan.by_site else {}
        strata |= {s.name: level(s, someone, scores) for s in plan.strata}
        if arms is not None:
            arm = arms[usubjid]
        elif minimiser is not None:
            arm = allocate(minimiser, f"{seed}-{trial}", len(found) + 1, strata).arm
            minimiser.add(strata, arm)
        else:
            key = stratum_text(strata)
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
        robot = arm == setting.robot
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
    setting: Setting, subjects: Sequence[Subject], *, instruments: Sequence[str] | None = None
) -> dict[str, pd.DataFrame]:
    """Return ADSL, ADFT, ADQS, the diary frames and ADTTE of a trial.

    Parameters
    ----------
    setting : Setting
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
        for code, instrument in setting.design.instruments.items()
        if instruments is None or code in instruments
    }
    ordered = sorted(subjects, key=lambda s: s.usubjid)
    measured = _findings(setting, ordered, wanted)
    return {
        "ADSL": _adsl(setting, ordered),
        "ADFT": measured["ADFT"],
        "ADQS": measured["ADQS"],
        setting.design.diaries[0].dataset: _recurrent(setting, ordered),
        "ADTTE": _first_event(setting, ordered),
    }


def _adsl(setting: Setting, subjects: Sequence[Subject]) -> pd.DataFrame:
    rows = []
    planned = setting.planned_sessions
    for s in subjects:
        sessions = attended(s.person, s.course, planned)
        rows.append(
            {
                "STUDYID": setting.study_id,
                "USUBJID": s.usubjid,
                "SITEID": s.person.site,
                "ARMCD": s.arm,
                "TRT01P": setting.labels[s.arm],
                "STRATUM": stratum_text(s.strata),
                **{name.upper(): text for name, text in s.strata.items()},
                "RANDFL": "Y",
                "FASFL": "Y",
                "SAFFL": "Y" if sessions else "N",
                "AGE": float(s.person.attributes["age_years"]),
                "SEX": s.person.attributes["sex"],
                "TRTDISDY": s.course.discontinued[0] if s.course.discontinued else None,
                "TRTDISRS": s.course.discontinued[1] if s.course.discontinued else None,
                "NSESS": sessions,
            }
        )
    return pd.DataFrame(rows)


def _findings(
    setting: Setting, subjects: Sequence[Subject], instruments: dict[str, Form]
) -> dict[str, pd.DataFrame]:
    """ADFT and ADQS: one row a score; being unable has a row, with a value or without."""
    days = {visit.code: visit.day for visit in setting.design.visits}
    rows: dict[str, list[tuple[object, ...]]] = {"ADFT": [], "ADQS": []}
    for s in subjects:
        base: dict[str, float | None] = {}
        head = (setting.study_id, s.usubjid, s.person.site)
        for outcome in (s.person.baseline, *s.course.visits):
            first = outcome is s.person.baseline
            when = (outcome.visit, days[outcome.visit], outcome.day)
            for entry in outcome.assessments:
                if entry.instrument not in instruments or entry.status == "not_done":
                    continue
                tool = instruments[entry.instrument]
                for paramcd, value in score_of(tool, entry).items():
                    if first:
                        base[paramcd] = value
                    start = base.get(paramcd)
                    change = (
                        None if first or value is None or start is None else round(value - start, 9)
                    )
                    flags = ("Y" if first else None, "Y")
                    rows[tool.dataset].append((*head, paramcd, *when, value, start, change, *flags))
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "AVISIT", "AVISITN", "ADY"]
    columns += ["AVAL", "BASE", "CHG", "ABLFL", "ANL01FL"]
    return {
        name: pd.DataFrame(found, columns=columns)
        .astype(dict.fromkeys(("AVAL", "BASE", "CHG"), "float64"))
        .sort_values(["USUBJID", "PARAMCD", "AVISITN"], kind="stable", ignore_index=True)
        for name, found in rows.items()
    }


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


def _recurrent(setting: Setting, subjects: Sequence[Subject]) -> pd.DataFrame:
    """Start-stop intervals at risk; each event closes one on the day after it."""
    paramcd = setting.design.diaries[0].paramcd
    rows: list[tuple[object, ...]] = []
    for s in subjects:
        number = 0
        for first, last, falls in _covered(s):
            start = first
            for day, grade in falls:
                number += 1
                head = (setting.study_id, s.usubjid, s.person.site, paramcd, number)
                rows.append((*head, float(start), float(day + 1), 1, float(grade)))
                start = day + 1
            if start <= last:
                number += 1
                head = (setting.study_id, s.usubjid, s.person.site, paramcd, number)
                rows.append((*head, float(start), float(last + 1), 0, None))
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "EVSEQ", "TSTART", "TSTOP", "EVENT"]
    return pd.DataFrame(rows, columns=[*columns, "GRADE"]).astype({"GRADE": "float64"})


def _first_event(setting: Setting, subjects: Sequence[Subject]) -> pd.DataFrame:
    """Days to the first event, censored at the first day that the diary does not cover."""
    paramcd = "TT" + setting.design.diaries[0].paramcd
    rows: list[tuple[object, ...]] = []
    for s in subjects:
        stretches = _covered(s)
        days, falls = 0, list[tuple[int, int]]()
        if stretches and stretches[0][0] == 0:
            _, last, falls = stretches[0]
            days = falls[0][0] + 1 if falls else last + 1
        head = (setting.study_id, s.usubjid, s.person.site, paramcd)
        rows.append((*head, float(days), 0 if falls else 1))
    columns = ["STUDYID", "USUBJID", "SITEID", "PARAMCD", "AVAL", "CNSR"]
    return pd.DataFrame(rows, columns=columns)
