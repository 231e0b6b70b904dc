"""A small trial for tests: two arms, three visits, a diary; nothing of it is clinical advice."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from trialkit._clock import Clock, SimulatedClock
from trialkit.participants import assess, consent, enrol, hold_visit, randomise
from trialkit.record import KeyStore
from trialkit.study import Study

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SHARED = """
trial:
  id: SMALL
  title: A small trial
  arms:
    - {code: ROBOTIC, label: Robotic, delivery: device}
    - {code: CONVENTIONAL, label: Conventional, delivery: therapist}
  randomisation:
    ratio: [1, 1]
    block_sizes: [2, 4]
    by_site: true
    strata:
      - {name: speed_band, paramcd: WS10C, cuts: [0.4, 0.8], levels: [slow, medium, fast]}
visits:
  - {code: BL, label: Baseline, day: 0, window_days: [-14, 0], baseline: true,
     assessments: [10MWT, ABC, BBS]}
  - {code: W4, label: Week 4, day: 28, window_days: [-7, 7], assessments: [10MWT, BBS]}
  - {code: W8, label: Week 8, day: 56, window_days: [-7, 7], assessments: [10MWT]}
diaries:
  - {paramcd: FALL, label: Falls diary, dataset: ADFALL, to_day: 60}
"""
HEAD = """schema: trialkit.protocol/1
id: small-{id}
version: "1"
arm: {arm}
why: To test the software.
schedule: {{sessions_per_week: 2, weeks: 2}}
staffing: {{max_participants_per_therapist: 1}}
fidelity: {{min_sessions_fraction: 0.8, min_moving_minutes: 10}}
"""
ROBOTIC = """
device: {family: treadmill_orthosis, parameters: [speed_m_s, support_fraction]}
session:
  blocks:
    - {id: walk, kind: walk, minutes: 10, speed_m_s: 0.4, support_fraction: 0.3}
limits:
  - {parameter: speed_m_s, minimum: 0.0, maximum: 0.8, rate_per_s: 0.1}
  - {parameter: support_fraction, minimum: 0.0, maximum: 0.5, rate_per_s: 0.1}
"""
CONVENTIONAL = """
session:
  blocks:
    - {id: walk, kind: overground, minutes: 10}
"""
WALK = {"TIMED_M": 10, "C1_S": 20.0, "C2_S": 20.0}  # 0.5 m/s


def write_protocols(folder: Path) -> list[Path]:
    """Write the two protocols and return their paths."""
    files = []
    for arm, part in (("ROBOTIC", ROBOTIC), ("CONVENTIONAL", CONVENTIONAL)):
        path = folder / f"small-{arm.lower()}.yaml"
        path.write_text(HEAD.format(id=arm.lower(), arm=arm) + SHARED + part, encoding="utf-8")
        files.append(path)
    return files


def people(study: Study) -> None:
    """Add one person in each of six roles."""
    for user, role in (
        ("cora", "coordinator"),
        ("theo", "therapist"),
        ("asta", "assessor"),
        ("ivan", "investigator"),
        ("stan", "statistician"),
        ("mona", "monitor"),
    ):
        study.add_user(user, role=role)


def new_study(
    folder: Path, *, database: str | None = None, clock: Clock | None = None, seed: int | None = 1
) -> Study:
    """Create the study in ``folder/study``, its record in a file or in a database, with nobody."""
    return Study.create(
        folder / "study",
        protocols=write_protocols(folder),
        actor="olga",
        name="Olga Owner",
        clock=clock or SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=seed,
        database=database,
    )


@cache
def _template(seed: int | None) -> Path:
    """Create the study once in a process, with one person in each role."""
    folder = Path(tempfile.mkdtemp(prefix="small-study-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with new_study(folder, seed=seed) as study:
        people(study)
    return folder


def make_study(folder: Path, *, seed: int | None = 1) -> Study:
    """Open a fresh copy of the study in ``folder/study`` as its owner, on a simulated clock."""
    shutil.copytree(_template(seed), folder, dirs_exist_ok=True)
    return Study.open(
        folder / "study",
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
    )


def enrolled(study: Study, *, site: str = "01") -> str:
    """Enrol a person with consent and return the USUBJID."""
    usubjid = str(enrol(study, site=site, attributes={"sex": "F", "age_years": 61}).subject)
    consent(study, usubjid, version="1.0")
    return usubjid


def randomised(study: Study, *, site: str = "01", seconds: float = 20.0) -> str:
    """Take a person as far as randomisation; 10 m in `seconds` at baseline."""
    usubjid = enrolled(study, site=site)
    hold_visit(study, usubjid, "BL", day=-2)
    assess(
        study.as_user("asta"),
        usubjid,
        visit="BL",
        instrument="10MWT",
        items={"TIMED_M": 10, "C1_S": seconds},
    )
    randomise(study, usubjid)
    return usubjid
