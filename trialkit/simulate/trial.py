"""A whole virtual trial, entered by the calls that a site uses, in the order of its calendar.

Every action of every participant has a study day; they are taken in the order of the days on
a simulated clock, so that the record reads as that of a trial which recruited for a year.
Nothing is written to a table from the side.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trialkit._clock import SimulatedClock
from trialkit.participants import (
    assess,
    confirm_eligibility,
    consent,
    discontinue_training,
    enrol,
    exclude,
    hold_visit,
    log_conventional,
    miss_session,
    miss_visit,
    randomise,
    report_ae,
    return_diary,
    withdraw,
)
from trialkit.record.kinds import DiaryEntry, Dose
from trialkit.record.sign import KeyStore
from trialkit.session import Planned, ScriptedOperator, Stop, run_session
from trialkit.simulate.frames import numbers_within_sites, people
from trialkit.simulate.patients import Course, DiaryReturn, Person, VisitOutcome, course
from trialkit.simulate.training import AdverseEvent, TrainingDay, adverse_events, training_days
from trialkit.simulate.worlds import VISIT_DAYS, World, find_world
from trialkit.study import Study

START = datetime(2024, 1, 8, 8, 0, tzinfo=UTC)
"""A Monday; the calendar of a virtual trial is fixed, so that its record is reproducible."""
OWNER = "trial-office"
STAFF = (
    ("coordinator", "coordinator", "Study coordinator"),
    ("assessor", "assessor", "Blinded assessor"),
    ("therapist", "therapist", "Physiotherapist"),
    ("investigator", "investigator", "Principal investigator"),
    ("statistician", "statistician", "Trial statistician"),
)
CONSENT_VERSION = "1.0"
FULL_RATE_SESSIONS = 12
Progress = Callable[[float, str], None]

# hours of the day by what is done; sessions come last, each committed by itself
_MORNING, _VISIT, _REPORT, _LEAVE, _LOGGED, _ON_DEVICE = 0.5, 1.0, 4.0, 5.0, 6.0, 7.0


@dataclass(order=True)
class _Action:
    """Something to do at `when` (days since the start); `number` and `order` break ties."""

    when: float
    number: int
    order: int
    run: Callable[[], None]
    alone: bool = False


def run_trial(
    folder: Path,
    *,
    protocols: Sequence[Path],
    plan: Path | None = None,
    world: World | str = "benefit",
    seed: int = 2026,
    participants: int = 200,
    full_rate: int = FULL_RATE_SESSIONS,
    keys: KeyStore | None = None,
    progress: Progress | None = None,
) -> Study:
    """Run a virtual trial into a new study folder and return the study, open for writing.

    Parameters
    ----------
    folder : Path
        New or empty.
    protocols, plan : Path
        Copied into the study.
    world : World or str
        What is true.
    seed : int
        Of the people, the sessions and the allocation lists.
    participants : int
        How many are randomised.
    full_rate : int
        How many device sessions run at 100 Hz in a device process of their own; the others
        are recorded stride by stride.
    keys : KeyStore or None
        Where signing keys go.
    progress : callable or None
        Called with the share of the calendar that has passed (0 to 1) and what is being done.
    """
    clock = SimulatedClock(START)
    study = Study.create(
        folder,
        protocols=list(protocols),
        plan=plan,
        actor=OWNER,
        name="Trial office",
        clock=clock,
        keys=keys,
        seed=seed,
    )
    try:
        for user, role, name in STAFF:
            study.add_user(user, role=role, name=name)
        chosen = find_world(world) if isinstance(world, str) else world
        _Trial(study, clock, chosen, seed, participants, full_rate).run(progress)
    except BaseException:
        study.close()
        raise
    return study


class _Trial:
    """The agenda of a running trial."""

    def __init__(
        self,
        study: Study,
        clock: SimulatedClock,
        world: World,
        seed: int,
        participants: int,
        full_rate: int,
    ) -> None:
        self._clock = clock
        self._study = study
        self._world = world
        self._coordinator = study.as_user("coordinator")
        self._assessor = study.as_user("assessor")
        self._therapist = study.as_user("therapist")
        self._investigator = study.as_user("investigator")
        self._agenda: list[_Action] = []
        self._order = 0
        self._planned = max(p.planned_sessions for p in study.protocols.values())
        self._minutes = max(p.planned_minutes for p in study.protocols.values() if p.device)
        self._full_left = full_rate
        self._device_sessions = 0
        # about 33 of 36 sessions take place; full-rate ones are spread over the first half
        self._full_every = max(1, participants // 2 * 16 // max(1, full_rate))
        everybody = people(seed, participants)
        for someone, number in zip(everybody, numbers_within_sites(everybody), strict=True):
            usubjid = f"{study.state.study_id}-{someone.site}-{number:03d}"
            self._at(
                int(someone.arrival_days) + _MORNING / 24,
                someone.number,
                self._arrive,
                someone,
                usubjid,
            )
        self._end = everybody[-1].arrival_days + 190.0

    def _at(
        self,
        when: float,
        number: int,
        run: Callable[..., None],
        *arguments: object,
        alone: bool = False,
    ) -> None:
        self._order += 1
        action = _Action(when, number, self._order, lambda: run(*arguments), alone)
        heapq.heappush(self._agenda, action)

    def run(self, progress: Progress | None) -> None:
        """Take every action; those of a day are committed together, sessions one by one."""
        while self._agenda:
            day = int(self._agenda[0].when)
            if progress is not None:
                progress(min(1.0, day / self._end), f"day {day} of the trial")
            with self._study.batch():
                while self._agenda and int(self._agenda[0].when) == day:
                    if self._agenda[0].alone:
                        break
                    self._take(heapq.heappop(self._agenda))
            while self._agenda and int(self._agenda[0].when) == day and self._agenda[0].alone:
                self._take(heapq.heappop(self._agenda))
        if progress is not None:
            progress(1.0, "last visit held")

    def _take(self, action: _Action) -> None:
        hours = 24.0 * (action.when - int(action.when))
        self._clock.move_to(START + timedelta(days=int(action.when), hours=hours))
        action.run()

    # --- before randomisation ----------------------------------------------------------------

    def _arrive(self, someone: Person, usubjid: str) -> None:
        enrol(self._coordinator, usubjid, site=someone.site, attributes=someone.attributes)
        if someone.excluded is not None:
            exclude(self._coordinator, usubjid, code=someone.excluded)
            return
        consent(self._coordinator, usubjid, version=CONSENT_VERSION)
        self._visit(usubjid, someone.baseline)
        day = int(someone.arrival_days) - someone.baseline.day
        self._at(day + _MORNING / 24, someone.number, self._randomise, someone, usubjid, day)

    def _visit(self, usubjid: str, outcome: VisitOutcome) -> None:
        if outcome.missed is not None:
            miss_visit(self._coordinator, usubjid, outcome.visit, code=outcome.missed)
            return
        hold_visit(self._coordinator, usubjid, outcome.visit, day=outcome.day)
        for entry in outcome.assessments:
            assess(
                self._assessor,
                usubjid,
                visit=outcome.visit,
                instrument=entry.instrument,
                items=entry.items or None,
                status=entry.status,
                code=entry.code,
            )

    # --- after randomisation -----------------------------------------------------------------

    def _randomise(self, someone: Person, usubjid: str, zero: int) -> None:
        asked = self._study.design.eligibility
        if asked is not None:  # whoever is not eligible was excluded on arrival
            answers = {c.id: c.kind == "inclusion" for c in asked.criteria}
            confirm_eligibility(self._investigator, usubjid, answers)
        randomise(self._coordinator, usubjid)
        arm = self._study.design.arm(self._coordinator.arm_of(usubjid))
        effect = self._world if arm.delivery == "device" else None
        path = course(someone, effect)
        days = training_days(someone, path, self._planned)

        def at(
            day: int, hour: float, run: Callable[..., None], *rest: object, alone: bool = False
        ) -> None:
            self._at(zero + day + hour / 24, someone.number, run, usubjid, *rest, alone=alone)

        for outcome in path.visits:
            at(outcome.day, _VISIT, self._visit, outcome)
        for part in path.diaries:
            end = path.withdrawn[0] if path.withdrawn else VISIT_DAYS[-1] + 1
            at(min(part.last + 1, end), _REPORT, self._diary, part)
        for event in adverse_events(someone, path, effect, days):
            at(event.day, _REPORT, self._adverse, event)
        self._leave(path, at)
        for day in days:
            if arm.delivery == "device" and day.missed is None:
                at(day.day, _ON_DEVICE, self._on_device, day, someone, alone=True)
            else:
                at(day.day, _LOGGED, self._logged, day)

    def _leave(self, path: Course, at: Callable[..., None]) -> None:
        if path.discontinued is not None:
            at(path.discontinued[0], _LEAVE, self._discontinue, path.discontinued)
        if path.withdrawn is not None:
            at(path.withdrawn[0], _LEAVE, self._withdraw, path.withdrawn)

    def _diary(self, usubjid: str, part: DiaryReturn) -> None:
        return_diary(
            self._coordinator,
            usubjid,
            diary=self._study.design.diaries[0].paramcd,
            from_day=part.first,
            to_day=part.last,
            entries=[DiaryEntry(day=day, grade=grade) for day, grade in part.falls],
        )

    def _adverse(self, usubjid: str, event: AdverseEvent) -> None:
        report_ae(
            self._coordinator,
            usubjid,
            criterion="hospitalisation" if event.serious else None,  # the one serious hazard
            **vars(event),
        )

    def _discontinue(self, usubjid: str, left: tuple[int, str]) -> None:
        discontinue_training(self._coordinator, usubjid, day=left[0], code=left[1])

    def _withdraw(self, usubjid: str, left: tuple[int, str]) -> None:
        withdraw(self._coordinator, usubjid, day=left[0], code=left[1])

    # --- training ----------------------------------------------------------------------------

    def _logged(self, usubjid: str, day: TrainingDay) -> None:
        """A session that was missed, or one with a therapist alone."""
        if day.missed is not None:
            miss_session(self._therapist, usubjid, number=day.number, day=day.day, code=day.missed)
            return
        minutes = round(27.0 + 7.0 * day.effort, 1)
        dose = Dose(
            minutes=minutes,
            moving_minutes=round(minutes * (0.62 + 0.2 * day.effort), 1),
            steps=round(250 + 500 * day.effort),
        )
        log_conventional(self._therapist, usubjid, number=day.number, day=day.day, dose=dose)

    def _on_device(self, usubjid: str, day: TrainingDay, someone: Person) -> None:
        """A session on the device; the first ones at regular distances run at full rate."""
        due = self._device_sessions % self._full_every == 0 and self._full_left > 0
        self._device_sessions += 1
        self._full_left -= due
        script = []
        if day.stop_after is not None:
            after_s = 60.0 * day.stop_after * self._minutes
            script.append(Planned(after_s, Stop(who="participant", code="tired")))
        outcome = run_session(
            self._therapist,
            usubjid,
            number=day.number,
            day=day.day,
            device_options=patient_options(someone, day),
            rate="full" if due else "stride",
            operator=ScriptedOperator(script, name=self._therapist.actor),
        )
        if outcome.interrupted:
            raise KeyboardInterrupt


def patient_options(someone: Person, day: TrainingDay) -> dict[str, float | int]:
    """Return what the simulated device needs to know of the person who walks in it."""
    gain = 0.1 * day.number / 36
    return {
        "seed": 1000 * someone.number + day.number,
        "ability": round(someone.speed + gain, 3),
        "fatigue": round(0.1 + 0.4 * day.effort, 3),
        "asymmetry": round(0.7 + 0.2 * (someone.number % 10) / 10, 2),
        "weight_kg": float(someone.attributes["weight_kg"]),
        "age_years": float(someone.attributes["age_years"]),
    }
