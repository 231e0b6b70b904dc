"""The studies of the conduct machine: one in permuted blocks and one minimised, with people."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import argon2

from trialkit._clock import SimulatedClock
from trialkit.record import KeyStore
from trialkit.record.accounts import AccountStore
from trialkit.study import Study
from trialkit.study.accounts import set_password

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
WORD = "four dry wooden spoons"
PEOPLE = {
    "cora": "coordinator",
    "sita": "coordinator",
    "theo": "therapist",
    "asta": "assessor",
    "bert": "assessor",
    "ivan": "investigator",
    "ines": "investigator",
    "stan": "statistician",
    "mona": "monitor",
    "dora": "data_manager",
    "adam": "administrator",
}
SITES = {"sita": ["01"]}
WITH_PASSWORD = ("olga", "cora", "asta", "bert", "ivan", "dora")

_STEP = """schema: trialkit.form/1
code: STEP
name: Steps
domain: FT
dataset: ADFT
text_policy: own-words
items:
  - {id: SPEED, label: Speed, type: integer, minimum: 0, maximum: 20, plausible: [2, 15],
     required: true}
  - {id: AID, label: Aid, type: yes_no, required: true}
  - {id: KIND, label: Kind of aid, type: choice, choices: [cane, frame], when: AID == 'Y'}
scores:
  - {paramcd: SPD, param: Speed, unit: m/s, rule: single, args: {item: SPEED}, better: higher,
     minimum: 0, maximum: 20, decimals: 0}
unable: {SPD: 0}
sources: ["A form of the tests."]
"""
_PAPER = """schema: trialkit.form/1
code: PAPR
name: On paper
domain: QS
dataset: ADQS
source: paper
text_policy: own-words
items:
  - {id: Q1, label: One, type: integer, minimum: 0, maximum: 10, required: true}
  - {id: Q2, label: Two, type: integer, minimum: 0, maximum: 10}
sources: ["A form of the tests."]
"""
_BLOCKS = "  randomisation:\n    ratio: [1, 1]\n    block_sizes: [2, 4]\n"
_MINIMISED = (
    "  randomisation:\n    method: minimisation\n    ratio: [1, 1]\n"
    "    minimisation: {probability: 0.8}\n"
)
_TRIAL = """
trial:
  id: CRASH
  title: A trial that is interrupted
  late_entry_days: 3
  arms:
    - {code: ROBOTIC, label: Robotic, delivery: device}
    - {code: CONVENTIONAL, label: Conventional, delivery: therapist}
  eligibility:
    version: "1.0"
    criteria:
      - {id: ADULT, kind: inclusion, text: 18 years or older}
      - {id: PACEMAKER, kind: exclusion, text: An implanted pacemaker}
RANDOMISATION    by_site: true
    strata:
      - {name: band, paramcd: SPD, cuts: [8], levels: [slow, fast]}
visits:
  - {code: BL, label: Baseline, day: 0, window_days: [-14, 0], baseline: true,
     assessments: [STEP, PAPR]}
  - {code: W4, label: Week 4, day: 28, window_days: [-7, 7], assessments: [STEP, PAPR]}
diaries:
  - {paramcd: FALL, label: Falls diary, dataset: ADFALL, to_day: 35, event_from_grade: 2}
"""
_HEAD = """schema: trialkit.protocol/1
id: crash-{id}
version: "1"
arm: {arm}
why: To test the software.
schedule: {{sessions_per_week: 2, weeks: 2}}
staffing: {{max_participants_per_therapist: 1}}
fidelity: {{min_sessions_fraction: 0.8, min_moving_minutes: 10}}
"""
_ROBOTIC = """
device: {family: treadmill_orthosis, parameters: [speed_m_s, support_fraction]}
session:
  blocks:
    - {id: walk, kind: walk, minutes: 10, speed_m_s: 0.4, support_fraction: 0.3}
limits:
  - {parameter: speed_m_s, minimum: 0.0, maximum: 0.8, rate_per_s: 0.1}
  - {parameter: support_fraction, minimum: 0.0, maximum: 0.5, rate_per_s: 0.1}
"""
_CONVENTIONAL = """
session:
  blocks:
    - {id: walk, kind: overground, minutes: 10}
"""


class SettableClock(SimulatedClock):
    """A clock whose wall time can be set, back too; the monotonic one goes on."""

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock by some seconds."""
        self._start += timedelta(seconds=by_s)


def write_study(folder: Path, *, minimised: bool, database: str | None = None) -> Path:
    """Make the study in ``folder/study``, people and passwords included."""
    (folder / "forms").mkdir(parents=True)
    (folder / "forms" / "STEP.yaml").write_text(_STEP, "utf-8")
    (folder / "forms" / "PAPR.yaml").write_text(_PAPER, "utf-8")
    trial = _TRIAL.replace("RANDOMISATION", _MINIMISED if minimised else _BLOCKS)
    files = []
    for arm, part in (("ROBOTIC", _ROBOTIC), ("CONVENTIONAL", _CONVENTIONAL)):
        files.append(folder / f"{arm.lower()}.yaml")
        files[-1].write_text(_HEAD.format(id=arm.lower(), arm=arm) + trial + part, "utf-8")
    with Study.create(
        folder / "study",
        protocols=files,
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=7,
        database=database,
    ) as study:
        for user, role in PEOPLE.items():
            study.add_user(user, role=role, sites=SITES.get(user, ()))
        quick = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(WORD)
        for user in WITH_PASSWORD:  # a hash of the same password that is checked in less time
            set_password(study.as_user(user), WORD)
            event = study.state.users[user].password_seq or 0
            AccountStore(study.folder).add_hash(user, quick, event)
    return folder / "study"


def copy_study(template: Path, to: Path) -> Path:
    """Copy a study and the keys beside it."""
    shutil.copytree(template.parent / "keys", to / "keys")
    shutil.copytree(template, to / "study")
    return to / "study"
