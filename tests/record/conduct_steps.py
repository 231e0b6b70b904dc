"""A short trial as steps of real commands, for tests that interrupt it; and what must hold then.

`make` writes the study; `run` takes the steps; `wrong_after` looks at what an interruption left,
goes on to the end of the trial and says everything that is not as it must be.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import argon2
from small_study import CONVENTIONAL, HEAD, ROBOTIC, SHARED, START, people

from trialkit._clock import SimulatedClock
from trialkit.errors import OutOfOrder, TrialkitError
from trialkit.participants import (
    approve_unblinding,
    assess,
    confirm_eligibility,
    consent,
    correct,
    enrol,
    hold_visit,
    randomise,
    report_ae,
    request_unblinding,
    return_diary,
    verify_allocation,
    withdraw,
)
from trialkit.record import KeyStore, Record, StudyState, read_export
from trialkit.record.accounts import AccountStore
from trialkit.study import Study
from trialkit.study.accounts import login, retire_user, set_password, set_role
from trialkit.study.datalock import approve_unlock, freeze, lock_data, release, request_unlock
from trialkit.study.signing import sign, signatures

WORD, NEXT_WORD = "four dry wooden spoons", "seven green lamps hum"
CRITERIA = """  eligibility:
    version: "1.0"
    criteria:
      - {id: ADULT, kind: inclusion, text: 18 years or older}
"""
MINIMISED = """  randomisation:
    method: minimisation
    ratio: [1, 1]
    by_site: true
    minimisation: {probability: 0.8}
    strata:
      - {name: speed_band, paramcd: WS10C, cuts: [0.4, 0.8], levels: [slow, medium, fast]}
"""
Step = Callable[[Study], object]


def create(folder: Path, *, minimised: bool = False, database: str | None = None) -> Study:
    """Create the study in ``folder/study``, with nobody but its owner."""
    shared = SHARED.replace("visits:\n", CRITERIA + "visits:\n", 1)
    if minimised:
        before, _, rest = shared.partition("  randomisation:\n")
        shared = before + MINIMISED + rest[rest.index("  eligibility:") :]
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for arm, part in (("ROBOTIC", ROBOTIC), ("CONVENTIONAL", CONVENTIONAL)):
        files.append(folder / f"{arm.lower()}.yaml")
        files[-1].write_text(HEAD.format(id=arm.lower(), arm=arm) + shared + part, "utf-8")
    return Study.create(
        folder / "study",
        protocols=files,
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=1,
        database=database,
    )


def make(folder: Path, *, minimised: bool = False, database: str | None = None) -> Path:
    """Make the study with its people and one password, and return its folder."""
    with create(folder, minimised=minimised, database=database) as study:
        people(study)
        study.add_user("dora", role="data_manager")
        for user in ("ivan", "mona"):
            set_password(study.as_user(user), WORD)
        quick = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        for user in ("ivan", "mona"):  # the same password, checked in less time
            event = study.state.users[user].password_seq or 0
            AccountStore(study.folder).add_hash(user, quick.hash(WORD), event)
        study.keys.create("vera")  # of her key there is one draw only
    return folder / "study"


@contextmanager
def opened(folder: Path, at: int = 0) -> Iterator[Study]:
    """Open the study for writing, at the time of a step."""
    clock = SimulatedClock(START)
    clock.move_to(time_of(at))
    keys = KeyStore(folder.parent / "keys")
    with Study.open(folder, actor="olga", clock=clock, keys=keys) as study:
        yield study


def time_of(step: int):  # type: ignore[no-untyped-def]
    """Return when a step is taken: one a minute."""
    return START + timedelta(minutes=step)


def name(site: str, number: int) -> str:
    """Return a USUBJID of the trial."""
    return f"SMALL-{site}-{number:03d}"


def _person(site: str, number: int, seconds: float) -> list[Step]:
    """Return the steps from enrolment to an arm."""
    who = name(site, number)
    walk = {"TIMED_M": 10, "C1_S": seconds}

    def assessed(study: Study) -> object:
        return assess(study.as_user("asta"), who, visit="BL", instrument="10MWT", items=walk)

    return [
        lambda s: enrol(s.as_user("cora"), site=site),
        lambda s: consent(s.as_user("cora"), who, version="1.0"),
        lambda s: confirm_eligibility(s, who, {"ADULT": True}),
        lambda s: hold_visit(s, who, "BL", day=-20, reason="travelled"),  # a deviation as well
        assessed,
        lambda s: randomise(s.as_user("cora"), who),
    ]


def steps() -> list[Step]:
    """Return the whole trial."""
    one, two = name("01", 1), name("01", 2)
    walk = {"C1_S": 21.0}
    return [
        *_person("01", 1, 20.0),
        lambda s: sign(
            s.as_user("ivan"), f"form:{one}/BL/10MWT", "read", password=WORD, signer="ivan"
        ),
        *_person("01", 2, 20.0),
        lambda s: set_password(s.as_user("mona"), NEXT_WORD, old=WORD),
        lambda s: login(s, "mona", NEXT_WORD, keep=False),
        lambda s: correct(
            s.as_user("asta"), one, visit="BL", instrument="10MWT", items=walk, reason="misread"
        ),
        lambda s: request_unblinding(s.as_user("cora"), one, reason="seizure"),
        lambda s: approve_unblinding(s.as_user("ivan"), "U001"),
        lambda s: freeze(s.as_user("dora"), two),
        lambda s: release(s.as_user("dora"), two, reason="a late diary"),
        lambda s: return_diary(s, two, diary="FALL", from_day=0, to_day=9, entries=[{"day": 3}]),
        lambda s: report_ae(s, two, term="fall", category="fall", day=3, severity="mild"),
        lambda s: s.add_user("vera", role="therapist"),
        lambda s: set_role(s, "theo", "monitor"),
        lambda s: retire_user(s, "stan"),
        *_person("02", 1, 40.0),
        lambda s: withdraw(s, two, day=9, code="MOVED"),
        lambda s: lock_data(s.as_user("dora"), reason="complete"),
        lambda s: request_unlock(s.as_user("dora"), reason="one more"),
        lambda s: approve_unlock(s.as_user("ivan"), "D001"),
        *_person("02", 2, 10.0),
    ]


@dataclass
class Run:
    """What an undisturbed run came to."""

    hashes: list[str] = field(default_factory=list)
    commits: set[int] = field(default_factory=set)  # the last event of each transaction
    ends: list[int] = field(default_factory=list)  # the last event of each step
    arms: dict[str, str] = field(default_factory=dict)
    before: int = 0  # the last event before the first step

    def kept_by(self, at: int) -> set[int]:
        """Return how many events a step may leave that was interrupted: its commits, or none."""
        start = self.ends[at - 1] if at else self.before
        return {seq - start for seq in self.commits if start <= seq <= self.ends[at]}


def run(study: Study, tell: Callable[[str], None], first: int = 0, end: int | None = None) -> None:
    """Take the steps from number `first` up to `end`, and tell what is acknowledged at once."""
    committed = Record._commit

    def commit(record: Record) -> None:
        committed(record)
        tell(f"event {record._seq} {record._hash}\n")

    Record._commit = commit  # type: ignore[method-assign]
    try:
        for at, step in enumerate(steps()[first:end], start=first):
            study.clock.move_to(time_of(at))  # type: ignore[attr-defined]
            step(study)
            tell(f"step {study.state.seq}\n")
    finally:
        Record._commit = committed  # type: ignore[method-assign]


def undisturbed(folder: Path) -> Run:
    """Run the trial to its end and return what came of it."""
    told: list[list[str]] = []
    with opened(folder) as study:
        before = study.state.seq
        run(study, lambda text: told.append(text.split()))
        found = Run([event.hash for event in study.record.read()])
        found.before = before
        found.commits = {before} | {int(words[1]) for words in told if words[0] == "event"}
        found.ends = [int(words[1]) for words in told if words[0] == "step"]
        found.arms = arms_of(study)
    return found


def arms_of(study: Study) -> dict[str, str]:
    """Return the arms of everybody who has one."""
    return {p: study.arm_of(p) for p, s in study.state.participants.items() if s.randomised}


def acknowledged(text: str) -> tuple[int, str]:
    """Return number and hash of the last event that was acknowledged in what a child told."""
    lines = [line.split() for line in text.splitlines() if line.startswith("event ")]
    return (int(lines[-1][1]), lines[-1][2]) if lines else (0, "")


def wrong_after(folder: Path, plain: Run, told: str, *, minimised: bool = False) -> list[str]:
    """Open an interrupted study, look, go on to the end, and return what is wrong."""
    wrong: list[str] = []
    try:
        with opened(folder) as study:
            with study.batch():  # a server may be at the last words of a client that is gone
                pass
            wrong += _prefix(study, plain, *acknowledged(told))
            at = sum(end <= study.state.seq for end in plain.ends)
            began = list(arms_of(study).items())
        with opened(folder, at) as study:
            run(study, lambda _: None, at)
            arms = arms_of(study)
            wrong += _whole(study)
            if not set(began) <= set(arms.items()):
                wrong.append("an arm changed")
            if (set(arms) if minimised else arms) != (set(plain.arms) if minimised else plain.arms):
                wrong.append(f"arms {arms}, not {plain.arms}")
    except TrialkitError as error:
        wrong.append(f"refused: {error}")
    return wrong


def wrong_now(folder: Path, told: str) -> tuple[list[str], int]:
    """Return what is wrong with a study that was just interrupted, and its last event."""
    try:
        with opened(folder) as study:
            with study.batch():
                pass
            last, digest = acknowledged(told)
            wrong = _sound(study)
            if last and [e.hash for e in study.record.read(after=last - 1)][:1] != [digest]:
                wrong.append(f"acknowledged event {last} is lost")
            return wrong, study.state.seq
    except TrialkitError as error:
        return [f"refused: {error}"], 0


def wrong_at_end_of(study: Study) -> list[str]:
    """Return what is wrong with an open study at the end of the trial."""
    return _whole(study)


def wrong_at_end(folder: Path, plain: Run, *, minimised: bool = False) -> list[str]:
    """Return what is wrong with a study at the end of the trial, beside the undisturbed one."""
    with opened(folder, len(steps())) as study:
        arms = arms_of(study)
        same = set(arms) == set(plain.arms) if minimised else arms == plain.arms
        return _whole(study) + ([] if same else [f"arms {arms}, not {plain.arms}"])


def _prefix(study: Study, plain: Run, last: int, digest: str) -> list[str]:
    """Return how what is stored is not a beginning of the undisturbed run, in whole commits."""
    wrong = []
    hashes = [event.hash for event in study.record.read()]
    if hashes != plain.hashes[: len(hashes)]:
        wrong.append("the events are not those of the undisturbed run")
    if last and (len(hashes) < last or hashes[last - 1] != digest):
        wrong.append(f"acknowledged event {last} is lost")
    if len(hashes) not in plain.commits:
        wrong.append(f"event {len(hashes)} is the middle of a command")
    if sum(commit > last for commit in plain.commits if commit <= len(hashes)) > 1 and last:
        wrong.append("more than one commit was not acknowledged")
    return wrong + _sound(study)


def _sound(study: Study) -> list[str]:
    """Return what is wrong with chain, numbers, export and allocation."""
    wrong = []
    report = study.record.verify()
    if not report.ok or report.n != study.record.last_given:
        wrong.append(f"the chain: {report.findings[:3]}")
    if [event.seq for event in study.record.read()] != list(range(1, report.n + 1)):
        wrong.append("a number is missing or doubled")
    path = study.folder.parent / "export.jsonl"
    study.record.export(path)
    if vars(StudyState(read_export(path))) != vars(study.state):
        wrong.append("the export gives another state")
    try:
        wrong += verify_allocation(study).differences
    except OutOfOrder:
        if arms_of(study):
            wrong.append("there is an arm and nothing to verify")
    return wrong


def _whole(study: Study) -> list[str]:
    """Return what is wrong at the end of the trial."""
    wrong = _sound(study)
    kinds = [event.kind for event in study.record.read()]
    once = {"participant.enrolled": 4, "participant.randomised": 4, "data.locked": 1,
            "head.signed": 1, "data.unlocked": 1, "user.password_set": 3, "user.retired": 1,
            "signature.applied": 1, "assessment.corrected": 1, "allocation.unblinded_one": 1,
            "deviation.raised": 4, "allocation.scheme_committed": 1}  # fmt: skip
    wrong += [f"{kinds.count(k)} of {k}" for k, n in once.items() if kinds.count(k) != n]
    (signed,) = signatures(study)
    if not (signed.keyed and str(signed.broken).startswith("changed by")):
        wrong.append(f"the signature: {signed}")
    return wrong


def copied(folder: Path, to: Path) -> Path:
    """Copy a study with its keys and return the copy's folder."""
    shutil.copytree(folder.parent, to)
    return to / folder.name
