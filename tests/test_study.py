"""Study: created whole or not at all, one writer, read by many, seen by each in a role."""

# ruff: noqa: PT012  (a batch that fails is a block of statements by nature)
from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small_study import enrolled, make_study, randomised, write_protocols

from trialkit._canonical import sha256_file
from trialkit._clock import SimulatedClock
from trialkit.errors import (
    ChainBroken,
    Duplicate,
    IntegrityError,
    NotPermitted,
    ProtocolFindings,
    StorageRefused,
    StudyBusy,
    UnknownName,
    UsageError,
)
from trialkit.participants import consent, enrol, exclude, hold_visit
from trialkit.record import KeyStore, StudyState
from trialkit.record.kinds import DeviationRaised, ParticipantEnrolled, PlanLocked
from trialkit.record.roles import ALL, PERMISSIONS
from trialkit.study import Design, Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def reopened(study: Study, **options: object) -> Study:
    study.close()
    return Study.open(study.folder, **{"actor": "olga", "clock": study.clock, **options})  # type: ignore[arg-type]


# --- create -----------------------------------------------------------------------------------


def test_created_folder(study: Study) -> None:
    names = {entry.name for entry in study.folder.iterdir()}
    assert names >= {"study.toml", "study.db", "allocation.db", "design.yaml"}
    assert names >= {"protocols", "plans", "telemetry", "snapshots", "results", "reports"}
    created, owner, *_ = study.record.read()
    assert created.payload["protocols"] == {
        "ROBOTIC": sha256_file(study.folder / "protocols" / "small-robotic.yaml"),
        "CONVENTIONAL": sha256_file(study.folder / "protocols" / "small-conventional.yaml"),
    }
    assert created.payload["design"] == sha256_file(study.folder / "design.yaml")
    assert owner.payload["user_role"] == "owner"
    assert owner.payload["key_fingerprint"] == study.keys.fingerprint("olga")
    assert list(study.protocols) == ["ROBOTIC", "CONVENTIONAL"]
    assert set(study.design.instruments) == {"10MWT", "ABC", "BBS"}


def test_seed_is_in_the_allocation_file_only(tmp_path: Path) -> None:
    seed = 918273645
    with make_study(tmp_path, seed=seed) as study:
        randomised(study)
        study.record.export(study.folder / "record.jsonl")
    holding = [
        path.name
        for path in study.folder.rglob("*")
        if path.is_file() and str(seed).encode() in path.read_bytes()
    ]
    assert holding == ["allocation.db"]


def test_plan_is_copied_and_pinned(tmp_path: Path) -> None:
    plan = tmp_path / "a.sap.yaml"
    plan.write_text("id: a\n", encoding="utf-8")
    with Study.create(
        tmp_path / "s",
        protocols=write_protocols(tmp_path),
        plan=plan,
        actor="olga",
        keys=KeyStore(tmp_path / "keys"),
    ) as study:
        assert study.plan_file == tmp_path / "s/plans/a.sap.yaml"
        assert study.state.plan_hash == sha256_file(plan)


def test_protocols_of_one_name(tmp_path: Path) -> None:
    files = []
    for path in write_protocols(tmp_path):
        folder = tmp_path / path.stem
        folder.mkdir()
        files.append(path.rename(folder / "protocol.yaml"))
    keys = KeyStore(tmp_path / "keys")
    with Study.create(tmp_path / "s", protocols=files, actor="olga", keys=keys):
        pass
    with Study.open(tmp_path / "s", actor="olga", keys=keys) as again:
        assert {arm: p.arm for arm, p in again.protocols.items()} == {
            "ROBOTIC": "ROBOTIC",
            "CONVENTIONAL": "CONVENTIONAL",
        }


def test_study_from_a_design(tmp_path: Path, study: Study) -> None:
    """An imported study has no protocol; whoever may import may enter assessments."""
    design = Design.model_validate({**study.design.model_dump(by_alias=True), "diaries": []})
    with Study.create(
        tmp_path / "imported",
        design=design,
        study_id="OTHER",
        title='A "quoted" \\ title\x7f, naïve',
        actor="olga",
        keys=study.keys,
    ) as imported:
        assert imported.state.source == "import"
        assert imported.protocols == {}
        assert imported.may("assess")
        assert not study.may("assess")
    with Study.open(tmp_path / "imported", actor="olga", keys=study.keys) as again:
        assert again.design == design
        assert again.state.title == 'A "quoted" \\ title\x7f, naïve'


@pytest.mark.parametrize("change", ["days", "arm"])
def test_protocols_that_do_not_agree(tmp_path: Path, change: str) -> None:
    files = write_protocols(tmp_path)
    text = files[1].read_text("utf-8")
    old, new = ("day: 28", "day: 29") if change == "days" else ("arm: CONV", "arm: ROBOTIC # ")
    files[1].write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ProtocolFindings):
        Study.create(tmp_path / "s", protocols=files, actor="olga", keys=KeyStore(tmp_path / "k"))
    assert not (tmp_path / "s").exists()


def test_create_refuses(tmp_path: Path, study: Study) -> None:
    files = write_protocols(tmp_path)
    with pytest.raises(Duplicate, match="not empty"):
        Study.create(study.folder, protocols=files, actor="olga")
    with pytest.raises(UsageError, match="no protocol"):
        Study.create(tmp_path / "s", actor="olga")
    with pytest.raises(UnknownName, match="no such file"):
        Study.create(tmp_path / "s", protocols=files, plan=tmp_path / "no.yaml", actor="olga")
    with pytest.raises(UsageError, match="name a user"):
        Study.create(tmp_path / "s", protocols=files, actor="a b")
    with pytest.raises(UsageError, match="STUDYID"):
        Study.create(tmp_path / "s", protocols=files, actor="olga", study_id="a/b")
    assert not (tmp_path / "s").exists()


def test_create_that_fails_leaves_nothing(tmp_path: Path) -> None:
    files = write_protocols(tmp_path)
    blocked = KeyStore(tmp_path / "small-robotic.yaml")  # a file: no key can be made in it
    with pytest.raises(StorageRefused):
        Study.create(tmp_path / "s", protocols=files, actor="olga", keys=blocked)
    assert not (tmp_path / "s").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageRefused):
        Study.create(tmp_path / "empty", protocols=files, actor="olga", keys=blocked)
    assert list((tmp_path / "empty").iterdir()) == []
    keys = KeyStore(tmp_path / "keys")
    with Study.create(tmp_path / "empty", protocols=files, actor="olga", keys=keys) as study:
        assert study.status().chain_ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here; the record's own tests cover a full one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_and_read_only_disk(tmp_path: Path, small_disk: Path) -> None:
    files, keys = write_protocols(tmp_path), KeyStore(tmp_path / "keys")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(small_disk)], check=True)

    with Study.create(small_disk / "s", protocols=files, actor="olga", keys=keys) as study:
        usubjid = enrolled(study)
        (small_disk / "filler").write_bytes(b"x")
        with pytest.raises(OSError), (small_disk / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        before = len(study.state.participants)
        with pytest.raises(StorageRefused), study.batch():
            for _ in range(50):
                enrol(study, site="02")
        assert len(study.state.participants) == before
        with pytest.raises(StorageRefused):
            Study.create(small_disk / "t", protocols=files, actor="olga", keys=keys)
        assert not (small_disk / "t").exists()
        (small_disk / "filler").unlink()
        enrol(study, site="02")
    remount("ro")
    try:
        with pytest.raises(StorageRefused) as caught:
            Study.open(small_disk / "s", actor="olga")
        assert "write=False" in caught.value.remedy
        with Study.open(small_disk / "s", actor="olga", write=False) as reader:
            assert usubjid in reader.state.participants
            assert reader.status().chain_ok
            with pytest.raises(StorageRefused):
                enrol(reader, site="02")
        with pytest.raises(StorageRefused):
            Study.create(small_disk / "u", protocols=files, actor="olga", keys=keys)
    finally:
        remount("rw")


# --- open -------------------------------------------------------------------------------------


def test_reopened_study_is_the_same(study: Study) -> None:
    randomised(study)
    exclude(study, enrolled(study, site="02"), code="SPEED")
    before = study.state
    with reopened(study) as again:
        assert vars(again.state) == vars(before)
        assert again.design == study.design
        assert again.protocols == study.protocols


def test_open_faults(tmp_path: Path, study: Study) -> None:
    with pytest.raises(UnknownName, match="no study"):
        Study.open(tmp_path)
    with pytest.raises(UnknownName, match="Did you mean olga"):
        reopened(study, actor="olg")
    (study.folder / "study.toml").write_text("schema = 3")
    with pytest.raises(IntegrityError, match=r"study\.toml"):
        Study.open(study.folder)


@pytest.mark.parametrize("name", ["protocols/small-robotic.yaml", "design.yaml"])
def test_altered_file_is_named(study: Study, name: str) -> None:
    path = study.folder / name
    path.write_text(path.read_text("utf-8") + "# later\n", "utf-8")
    with pytest.raises(IntegrityError, match=re.escape(name)) as caught:
        reopened(study)
    assert caught.value.exit_status == 4
    path.unlink()
    with pytest.raises(IntegrityError):
        Study.open(study.folder)


def test_altered_title_is_found(study: Study) -> None:
    path = study.folder / "study.toml"
    path.write_text(path.read_text("utf-8").replace("A small", "A great"), "utf-8")
    with pytest.raises(IntegrityError, match="not the one of this record"):
        reopened(study)


@pytest.mark.parametrize("change", ["byte", "tail"])
def test_altered_record_is_located(study: Study, change: str) -> None:
    enrolled(study)
    last = study.state.seq
    study.close()
    with closing(sqlite3.connect(study.folder / "study.db")) as raw, raw:
        raw.execute("DROP TRIGGER events_no_update")
        raw.execute("DROP TRIGGER events_no_delete")
        if change == "byte":
            raw.execute("UPDATE events SET body = replace(body, 'Olga', 'Ilga') WHERE seq = 2")
        else:
            raw.execute("DELETE FROM events WHERE seq = ?", (last,))
    with pytest.raises(ChainBroken) as caught:
        Study.open(study.folder)
    expected = "event 2: altered" if change == "byte" else f"event {last}: removed"
    assert expected in caught.value.message
    assert len(caught.value.details["findings"]) == 1


def test_two_writers_in_one_process(study: Study) -> None:
    """Each sees what the other wrote before its guards look."""
    with (
        Study.open(study.folder, actor="olga") as second,
        Study.open(study.folder, actor="olga", write=False) as reader,
    ):
        one, two = enrolled(study), enrolled(second)
        assert one != two
        with pytest.raises(Duplicate, match="enrolled already"):
            enrol(study, two, site="01")
        assert reader.state.seq < second.state.seq
        reader.refresh()
        assert {one, two} <= set(reader.state.participants)
        assert "enrolled" not in reader.status().participants
        consent(study, enrolled(second), version="2")
    assert study.status().chain_ok


WRITER = """
import sys
from trialkit.participants import enrol
from trialkit.record import sqlite
sqlite.BUSY_MS = 300_000  # three processes on a busy machine wait long
from trialkit.study import Study
with Study.open(sys.argv[1], actor="olga") as study:
    for _ in range(25):
        print(enrol(study, site="01").subject, flush=True)
"""


def test_two_processes_write_at_once(study: Study) -> None:
    """No number is given twice, no event is lost, and the chain is one."""
    before = study.state.seq
    study.close()
    command = [sys.executable, "-c", WRITER, str(study.folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    names = [name for child in children for name in child.communicate()[0].split()]
    assert all(child.returncode == 0 for child in children)
    assert len(names) == len(set(names)) == 75
    with Study.open(study.folder, actor="olga") as again:
        assert set(names) <= set(again.state.participants)
        assert again.state.seq == before + 75 + 1  # the first says where the machine has its time
        assert again.state.counts["clock.source"] == 1
        assert again.status().chain_ok


def test_a_writer_waits_for_a_batch_and_gives_up(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialkit.record.sqlite.BUSY_MS", 50)
    with Study.open(study.folder, actor="olga") as second:
        with study.batch(), pytest.raises(StudyBusy, match="another process is writing"):
            enrolled(second)
        assert enrolled(second) in second.state.participants


def test_a_running_session_is_locked(study: Study) -> None:
    with study.running("S-01-001-S01"), pytest.raises(StudyBusy, match=r"process \d+ of .+ on "):
        study.running("S-01-001-S01")
    study.running("S-01-001-S01").release()


KILLED = """
import sys
from trialkit.participants import consent, enrol
from trialkit.record import KeyStore
from trialkit.study import Study
study = Study.open(sys.argv[1], actor="olga")
while True:
    usubjid = enrol(study, site="01").subject
    consent(study, usubjid, version="1")
    print(usubjid, flush=True)
"""


@pytest.mark.requirement("R18")
def test_killed_writer_loses_no_participant(study: Study) -> None:
    study.close()
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(study.folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(20)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.wait()
    with Study.open(study.folder, actor="olga") as again:
        assert again.status().chain_ok
        assert all(again.participant(usubjid).consent == "1" for usubjid in acknowledged)
        assert len(again.state.participants) - len(acknowledged) in {0, 1}
        enrolled(again)


# --- batches and state --------------------------------------------------------------------------


def test_failed_batch_leaves_record_and_state(study: Study) -> None:
    usubjid = enrolled(study)
    before = StudyState(study.record.read())
    with pytest.raises(ZeroDivisionError), study.batch():
        enrolled(study)
        hold_visit(study, usubjid, "BL", day=0)
        raise ZeroDivisionError
    assert vars(study.state) == vars(before)
    assert vars(StudyState(study.record.read())) == vars(before)
    assert "BL" not in study.participant(usubjid).visits


def test_inner_failure_keeps_the_outer_batch(study: Study) -> None:
    with study.batch():
        first = enrolled(study)
        with pytest.raises(ZeroDivisionError), study.as_user("cora").batch():
            enrolled(study, site="02")
            raise ZeroDivisionError
        assert list(study.state.participants) == [first]
        second = enrolled(study)
    assert list(study.state.participants) == [first, second]
    with reopened(study) as again:
        assert vars(again.state) == vars(study.state)


def test_refused_step_in_a_batch_rebuilds_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudyState, "rebuild", lambda *_: pytest.fail("rebuilt"))
    with study.batch():
        enrolled(study)
        with pytest.raises(UnknownName), study.batch():
            hold_visit(study, "nobody", "BL", day=0)
    assert len(study.state.participants) == 1


def test_views_share_the_study(study: Study) -> None:
    cora = study.as_user("cora")
    usubjid = enrolled(cora)
    assert usubjid in study.state.participants
    event = next(study.record.read(subject=usubjid))
    assert (event.actor, event.role) == ("cora", "coordinator")
    assert study.as_user("asta").role == "assessor"
    with pytest.raises(UnknownName, match="no user"):
        study.as_user("nobody")


# --- people -------------------------------------------------------------------------------------


@pytest.mark.requirement("R14")
def test_user_names_are_never_used_twice(study: Study) -> None:
    with pytest.raises(Duplicate, match="therapist"):
        study.add_user("theo", role="assessor")
    with pytest.raises(UnknownName, match="wizard"):
        study.add_user("merlin", role="wizard")
    with pytest.raises(UnknownName):
        study.add_user("merlin", role="none")
    with pytest.raises(NotPermitted):
        study.as_user("cora").add_user("merlin", role="owner")
    assert "merlin" not in study.state.users


def test_signers_get_a_key(study: Study) -> None:
    users = study.state.users
    assert users["ivan"].fingerprint == study.keys.fingerprint("ivan")
    assert users["theo"].fingerprint == study.keys.fingerprint("theo")
    study.add_user("adam", role="administrator")
    assert study.state.users["adam"].fingerprint is None
    assert not study.keys.has("adam")


def test_person_who_was_not_added_may_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.close()
    monkeypatch.setattr("trialkit.study.study.login_name", lambda: "stranger")
    with Study.open(study.folder) as opened:
        assert opened.role == "none"
        before = opened.record.head
        for payload in (ParticipantEnrolled(site="01"), DeviationRaised(category="x", detail="y")):
            with pytest.raises(NotPermitted, match="stranger is not a user"):
                opened.append(payload, subject="S")
        refused = list(opened.record.read(after=before[0]))
        assert [(event.kind, event.role) for event in refused] == 2 * [("command.refused", "none")]


def test_require_follows_the_table(study: Study) -> None:
    """Signing, locking, unblinding and the rest: for every person and every permission."""
    for user, person in study.state.users.items():
        view = study.as_user(user)
        for permission in ALL:
            if permission in PERMISSIONS[person.role]:
                view.require(permission)
            else:
                with pytest.raises(NotPermitted, match="Roles that may: ") as caught:
                    view.require(permission)
                assert caught.value.details == {"permission": permission}


@pytest.mark.requirement("R08")
def test_append_itself_guards(study: Study) -> None:
    """A room that forgets to ask is refused by the one way in."""
    theo, before = study.as_user("theo"), study.record.head
    lock = PlanLocked(
        plan_id="p", plan="0", file="p", methods={}, schemas={}, lock="1", signatures=[]
    )
    with pytest.raises(NotPermitted, match="may not lock plan"):
        theo.append(lock)
    created = next(study.record.read()).model()
    with pytest.raises(Duplicate, match="created once"):
        study.append(created)
    refused = list(study.record.read(after=before[0]))
    assert [event.actor for event in refused] == ["theo"]
    assert refused[0].payload == {"command": "lock_plan", "permission": "lock_plan", "why": "role"}


def test_only_those_who_may_see_an_arm(study: Study) -> None:
    usubjid = randomised(study)
    arms = set()
    for user, person in study.state.users.items():
        view = study.as_user(user)
        if person.role in {"owner", "coordinator", "therapist", "investigator"}:
            arms.add(view.arm_of(usubjid))
        else:
            with pytest.raises(NotPermitted, match="may not see allocation"):
                view.arm_of(usubjid)
    assert len(arms) == 1
    assert study.as_user("stan").allocations()[usubjid][0] in arms
    with pytest.raises(NotPermitted):
        study.as_user("asta").allocations()


def test_no_arm_is_in_the_record(study: Study, tmp_path: Path) -> None:
    """Nothing after the creation names an arm, in any field of any event."""
    people = [randomised(study, seconds=s) for s in (8, 15, 20, 40)]
    assert {study.arm_of(p) for p in people} <= {"ROBOTIC", "CONVENTIONAL"}
    study.record.export(tmp_path / "record.jsonl")
    later = (tmp_path / "record.jsonl").read_text("utf-8").splitlines()[1:]
    assert not [line for line in later if re.search("robotic|conventional", line, re.IGNORECASE)]


# --- at a glance --------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def test_status_and_html(study: Study) -> None:
    randomised(study)
    enrolled(study, site="02")
    status = study.status()
    assert status.participants == {"randomised": 1, "consented": 1}
    assert (status.visits, status.sites) == ({"BL": 1}, {"01": 1, "02": 1})
    assert (status.chain_ok, status.events) == (True, study.state.seq)
    assert status.lock is None
    tags = Tags()
    tags.feed(study._repr_html_())
    assert tags.seen == {"table", "tr", "th", "td"}
    for text in ("SMALL: A small trial", "not locked", "chain whole", "concealed"):
        assert text in tags.text
        assert text in str(status)
    assert repr(study) == "<Study SMALL: 2 participants>"


def test_html_is_escaped(tmp_path: Path, study: Study) -> None:
    with Study.create(
        tmp_path / "x",
        design=study.design,
        study_id="X",
        title="<script>alert(1)</script>",
        actor="olga",
        clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
        keys=study.keys,
    ) as other:
        assert "<script>" not in other._repr_html_()
        assert "&lt;script&gt;" in other._repr_html_()


def test_status_shows_a_broken_chain(study: Study) -> None:
    enrolled(study)
    with closing(sqlite3.connect(study.folder / "study.db")) as raw, raw:
        raw.execute("DROP TRIGGER events_no_update")
        raw.execute("UPDATE events SET kind = 'x' WHERE seq = 3")
    assert "BROKEN: event 3: projection" in study._repr_html_()


@pytest.mark.requirement("R06")
def test_a_clock_that_was_set_is_an_event(study: Study) -> None:
    """Wall clock and monotonic clock part: said before the next event, and only once."""
    clock = study.clock
    assert isinstance(clock, SimulatedClock)
    enrolled(study)
    for by_s in (-3600.0, 90.0, 1.5):
        clock._start += timedelta(seconds=by_s)
        enrolled(study)
    steps = [e.payload["by_s"] for e in study.record.read(kinds=["clock.stepped"])]
    assert steps == [-3600.0, 90.0]
    assert study.status().chain_ok
