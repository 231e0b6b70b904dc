"""Two studies that are the same but for the arms of their two participants, which are swapped.

The first participant has trained, with a home device for a time where the arm has one, and the
second has not, so that whatever tells how somebody was trained differs between the two: sessions on
the device, what was found about them, how many events there are, and the words of people who saw
the arm. Each such word holds `TELLTALE`.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from small_study import START, WALK, randomised, write_protocols

from trialkit._clock import SimulatedClock
from trialkit.data import query_findings
from trialkit.participants import (
    approve_unblinding,
    assess,
    correct,
    discontinue_training,
    hold_visit,
    list_queries,
    log_conventional,
    miss_session,
    miss_visit,
    raise_deviation,
    raise_query,
    report_ae,
    request_unblinding,
    return_diary,
    run_queries,
)
from trialkit.record import KeyStore
from trialkit.record.kinds import SessionOpened
from trialkit.session import ScriptedOperator, run_session
from trialkit.study import Study
from trialkit.study.accounts import set_password
from trialkit.study.signing import sign
from trialkit.study.sync.device import end_device, hand_over_device, take_back_device
from trialkit.study.sync.push import FolderSource, Here, push

#: In every word that somebody wrote who saw the arm.
TELLTALE = "zqx"
#: Seeds of which the first gives A the device and B none, and the second the other way round.
SEEDS = (2, 9)
A, B = "SMALL-01-001", "SMALL-01-002"
WORD = "four dry wooden spoons"
PEOPLE = {
    "cora": "coordinator",
    "theo": "therapist",
    "asta": "assessor",
    "ivan": "investigator",
    "stan": "statistician",
    "mona": "monitor",
    "dana": "data_manager",
    "adam": "administrator",
}
LAST_DAY = 40
NOW = START + timedelta(days=LAST_DAY)


def make_pair(folder: Path) -> tuple[Path, Path]:
    """Make both studies, in ``first/study`` and ``second/study``, with the same keys."""
    for name, seed in zip(("first", "second"), SEEDS, strict=True):
        own = folder / name
        own.mkdir()
        if name == "second":
            shutil.copytree(folder / "first" / "keys", own / "keys")
        _tell(own, seed)
    return folder / "first", folder / "second"


def slower_protocols(folder: Path) -> list[Path]:
    """Write the protocols, the support as slow as the simulated trainer moves it."""
    paths = write_protocols(folder)
    text = paths[0].read_text(encoding="utf-8")
    fast, slow = ("maximum: 0.5, rate_per_s: 0.1", "maximum: 0.5, rate_per_s: 0.05")
    paths[0].write_text(text.replace(fast, slow), encoding="utf-8")
    return paths


def _tell(folder: Path, seed: int) -> None:
    """Let the same things happen to A and B, each in the way of their arm."""
    clock = SimulatedClock(START)
    with Study.create(
        folder / "study",
        protocols=slower_protocols(folder),
        actor="olga",
        clock=clock,
        keys=KeyStore(folder / "keys"),
        seed=seed,
    ) as study:
        for user, role in PEOPLE.items():
            study.add_user(user, role=role)
        for user in ("theo", "asta"):
            set_password(study.as_user(user), WORD)
        for _ in (A, B):
            randomised(study)
        _train(study, clock)
        _write(study, clock)
        _ask(study, clock)


def on_device(study: Study) -> bool:
    """Return True where A is in the arm with the device."""
    return study.arm_of(A) == "ROBOTIC"


def _train(study: Study, clock: SimulatedClock) -> None:
    """Let A hold a session, miss one, and be in the third: each as the arm has it."""
    theo = study.as_user("theo")
    clock.move_to(START + timedelta(days=1))
    if on_device(study):
        run_session(theo, A, number=1, day=1, rate="stride", operator=ScriptedOperator())
    else:
        dose = {"minutes": 10, "moving_minutes": 9, "steps": 400}
        log_conventional(theo, A, number=1, day=1, dose=dose)
    clock.move_to(START + timedelta(days=4))
    code = f"{TELLTALE}-{study.arm_of(A)}"
    if on_device(study):
        _miss_at_home(study, clock, code)
    else:
        miss_session(theo, A, number=2, day=4, code=code)
    clock.move_to(START + timedelta(days=8))
    if on_device(study):
        opened = SessionOpened(
            session=f"{A}-S03", number=3, day=8, protocol="small-robotic",
            device={"model": TELLTALE, "serial": "1"}, planned_minutes=10.0, therapist="theo",
        )  # fmt: skip
        theo.append(opened, subject=A)


def _miss_at_home(study: Study, clock: SimulatedClock, code: str) -> None:
    """Let A have a home device, miss a session on it, and bring it back."""
    folder = study.folder.parent / "home"
    hand_over_device(study.as_user("theo"), A, folder)
    with Study.open(folder, actor="theo", clock=clock, keys=study.keys) as home:
        miss_session(home, A, number=2, day=4, code=code)
        end_device(home)
    with FolderSource(folder) as source:
        push(source, Here(study))
    take_back_device(study.as_user("theo"), A)


def _write(study: Study, clock: SimulatedClock) -> None:
    """Let people who see the arm write about A, and those who do not about both."""
    clock.move_to(START + timedelta(days=9))
    cora, asta, word = study.as_user("cora"), study.as_user("asta"), f"{TELLTALE} {study.arm_of(A)}"
    device = {"related_device": "probable", "session": f"{A}-S01"} if on_device(study) else {}
    report_ae(
        cora, A, term=word, category=word, day=2, severity="mild", outcome=word, **device
    )  # fmt: skip
    report_ae(asta, A, term="sore", category="pain", day=3, severity="mild")
    if on_device(study):
        report_ae(
            cora, A, term=word, category=word, day=2, severity="mild", harm=False,
            device_deficiency=True,
        )  # fmt: skip
        raise_deviation(
            study.as_user("theo"), A, category="device_use", detail=word, session=f"{A}-S01"
        )
        raise_query(study.as_user("ivan"), A, text=word, session=f"{A}-S01")
    raise_deviation(cora, A, category="visit", detail="came late")
    miss_visit(cora, B, "W4", code=word)
    return_diary(asta, A, diary="FALL", from_day=0, to_day=7, entries=[{"day": 3, "grade": 1}])
    sign(study.as_user("theo"), f"session:{A}-S01", word, password=WORD, signer="theo")
    sign(asta, f"form:{A}/BL/10MWT", "entered", password=WORD, signer="asta")


def _ask(study: Study, clock: SimulatedClock) -> None:
    """Let rules and people ask, the assessor correct, and A be unblinded and leave the training."""
    clock.move_to(START + timedelta(days=28))
    asta, mona, cora = study.as_user("asta"), study.as_user("mona"), study.as_user("cora")
    hold_visit(asta, A, "W4", day=28)
    assess(asta, A, visit="W4", instrument="10MWT", items=WALK)
    raise_query(mona, A, text="Right?", visit="BL", instrument="10MWT")
    correct(
        asta, A, visit="BL", instrument="10MWT", items={"TIMED_M": 10, "C1_S": 21.0}, reason="slip"
    )
    run_queries(cora, query_findings(cora))
    assert list_queries(mona)
    asked = request_unblinding(cora, A, reason="a fall")
    approve_unblinding(study.as_user("ivan"), asked.payload["request"])
    discontinue_training(cora, A, day=29, code=f"{TELLTALE}-{study.arm_of(A)}")
    clock.move_to(NOW)
