"""What happens in the weeks of training: sessions kept and missed, and adverse events.

None of it touches the outcomes, so that frames can be made without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trialkit.simulate.patients import Course, Person, pick, stream
from trialkit.simulate.worlds import COHORT, Cohort, World

WEEKDAYS = (1, 3, 5)
_MISSED = ("illness", "transport", "staff", "device", "holiday", "declined")
_MISSED_WEIGHTS = (0.35, 0.2, 0.1, 0.08, 0.12, 0.15)


@dataclass(frozen=True)
class TrainingDay:
    """A planned session: kept, or missed for the reason `missed`.

    `effort` (0 to 1) spreads doses and perceived exertion between sessions; `stop_after` is
    the share of the session after which the participant asks to stop, or None.
    """

    number: int
    day: int
    missed: str | None
    effort: float
    stop_after: float | None


@dataclass(frozen=True)
class AdverseEvent:
    """An adverse event as it is reported; see ``AdverseEventReported`` for the fields."""

    term: str
    category: str
    day: int
    severity: str
    serious: bool
    related_device: bool
    related_training: bool
    device_deficiency: bool
    outcome: str


@dataclass(frozen=True)
class Hazard:
    """A kind of adverse event with its probability per participant.

    `source` says where the probability comes from.
    """

    term: str
    category: str
    probability: float
    days: tuple[int, int]
    severities: tuple[float, float]
    related: bool
    device: bool = False
    serious: bool = False
    deficiency: bool = False
    source: str = "invented"


# With the device only; the first three rates are the working figures of the trial anchors
# (invented there from Bessler 2020 and LEAPS), the deficiency rate is invented here.
DEVICE_HAZARDS = (
    Hazard("Skin redness at a cuff", "skin", 0.05, (3, 60), (0.85, 1.0), True, device=True),
    Hazard("Muscle pain", "musculoskeletal", 0.03, (3, 80), (0.7, 1.0), True, device=True),
    Hazard("Low blood pressure", "physiological", 0.02, (2, 80), (0.6, 1.0), True, device=True),
    Hazard(
        "Cuff fastener open",
        "device_deficiency",
        0.01,
        (2, 80),
        (1.0, 1.0),
        True,
        True,
        False,
        True,
    ),
)
COMMON_HAZARDS = (
    Hazard("Fatigue", "physiological", 0.06, (2, 80), (0.8, 1.0), True),
    Hazard("Knee pain", "pain", 0.05, (2, 150), (0.7, 1.0), True),
    Hazard("Increase of spasticity", "spasticity", 0.02, (5, 80), (0.6, 1.0), False),
    Hazard("Respiratory infection", "infection", 0.06, (2, 180), (0.5, 0.9), False),
    Hazard("Hospital admission", "other", 0.025, (5, 180), (0.0, 0.5), False, serious=True),
)


def attended(someone: Person, path: Course, planned: int) -> int:
    """Return how many sessions somebody attends."""
    return sum(day.missed is None for day in training_days(someone, path, planned))


def training_days(
    someone: Person, path: Course, planned: int, *, cohort: Cohort = COHORT
) -> list[TrainingDay]:
    """Return the planned sessions until training or study is left, three a week."""
    rng = stream(someone.key[0], someone.key[1], someone.number, 2)
    uniform = rng.random((planned, 5)).tolist()
    ends = [left[0] for left in (path.discontinued, path.withdrawn) if left is not None]
    end = min(ends, default=10_000)
    found = []
    for i, (missing, reason, shift, effort, stopping) in enumerate(uniform):
        day = 7 * (i // len(WEEKDAYS)) + WEEKDAYS[i % len(WEEKDAYS)] + int(2 * shift)
        if day >= end:
            break
        absent = missing < cohort.missed_session_probability
        found.append(
            TrainingDay(
                number=i + 1,
                day=day,
                missed=pick(_MISSED, _MISSED_WEIGHTS, reason) if absent else None,
                effort=round(effort, 3),
                stop_after=round(0.3 + 20 * stopping, 2) if stopping < 0.015 else None,
            )
        )
    return found


def adverse_events(
    someone: Person,
    path: Course,
    world: World | None,
    days: Sequence[TrainingDay],
) -> list[AdverseEvent]:
    """Return the adverse events of somebody who trains on the device (a world) or without."""
    rng = stream(someone.key[0], someone.key[1], someone.number, 3)
    uniform = rng.random((len(COMMON_HAZARDS) + len(DEVICE_HAZARDS), 4)).tolist()
    end = path.withdrawn[0] - 1 if path.withdrawn else 182
    kept = [day.day for day in days if day.missed is None]
    found = []
    for hazard, (u, when, grade, healing) in zip(
        (*COMMON_HAZARDS, *DEVICE_HAZARDS), uniform, strict=True
    ):
        factor = world.device_events if world and hazard.device else 1.0
        if u >= hazard.probability * factor or (hazard.device and (world is None or not kept)):
            continue
        first, last = hazard.days
        day = first + int((last - first + 1) * when)
        if hazard.device:
            day = kept[int(len(kept) * when)]
        if day > end:
            continue
        mild, moderate = hazard.severities
        found.append(
            AdverseEvent(
                term=hazard.term,
                category=hazard.category,
                day=day,
                severity="mild" if grade < mild else "moderate" if grade < moderate else "severe",
                serious=hazard.serious,
                related_device=hazard.device and not hazard.deficiency,
                related_training=hazard.related,
                device_deficiency=hazard.deficiency,
                outcome="recovered" if healing < 0.9 else "recovering",
            )
        )
    return sorted(found, key=lambda event: (event.day, event.term))
