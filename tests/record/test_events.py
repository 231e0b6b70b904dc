# ruff: noqa: PT012  (a batch that fails is a block of statements by nature)
"""The record: what is appended is there, chained; what is not committed is not."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgserver import Server
from raw_store import raw_store, tampered

from trialkit._canonical import canonical_json, sha256_text
from trialkit._clock import SimulatedClock
from trialkit.errors import (
    ChainBroken,
    IntegrityError,
    StorageRefused,
    TrialkitError,
    UnknownName,
    UsageError,
)
from trialkit.record import Event, Record, read_export
from trialkit.record.chain import GENESIS
from trialkit.record.kinds import KINDS, ParticipantEnrolled, VisitHeld, VisitMissed

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
REFUSALS = (
    sqlite3.IntegrityError,
    psycopg.errors.RaiseException,
    psycopg.errors.UniqueViolation,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Record]:
    """An empty record, in a file and in a database."""
    where: Path | str = tmp_path / "study.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgres").database()
    with Record.create(where, SimulatedClock(START)) as opened:
        yield opened


@pytest.fixture
def sqlite_record(tmp_path: Path) -> Iterator[Record]:
    """An empty record in a file, for what is SQLite's own."""
    with Record.create(tmp_path / "study.db", SimulatedClock(START)) as opened:
        yield opened


def add(record: Record, day: int = 0, subject: str | None = "S-01-001") -> Event:
    payload = VisitHeld(visit="BL", day=day, in_window=True)
    return record.append(payload, actor="cora", role="coordinator", subject=subject)


def reopened(record: Record, *, write: bool = True) -> Record:
    record.close()
    return Record.open(record.where, write=write, clock=record.clock)


# --- append and read ------------------------------------------------------------------------


def test_first_event(record: Record) -> None:
    assert record.head == (0, GENESIS)
    event = add(record, day=-3)
    assert (event.seq, event.prev, event.kind) == (1, GENESIS, "visit.held")
    assert event.at == "2026-01-05T08:00:00.000000Z"
    late = {"late": False, "delay_days": None}
    assert event.payload == {"visit": "BL", "day": -3, "in_window": True} | late
    assert event.model() == VisitHeld(visit="BL", day=-3, in_window=True)
    assert record.head == (1, event.hash)


def test_hash_is_of_the_stored_text_and_chains(record: Record) -> None:
    events = [add(record, day) for day in range(3)]
    with raw_store(record) as run:
        rows = run("SELECT body, hash FROM events ORDER BY seq").fetchall()
    for (body, digest), event, prev in zip(
        rows, events, [GENESIS, events[0].hash, events[1].hash], strict=True
    ):
        assert sha256_text(body) == digest == event.hash
        assert canonical_json(json.loads(body)) == body
        assert json.loads(body)["prev"] == prev


def test_read_gives_back_what_append_gave(record: Record) -> None:
    events = [add(record, day, f"S-{day % 2}") for day in range(6)]
    events.append(
        record.append(VisitMissed(visit="W4", code="ILL"), actor="å", role="owner", reason="“é” 漢")
    )
    assert list(record.read()) == events
    assert list(record.read(kinds=["visit.missed"])) == events[6:]
    assert list(record.read(subject="S-1")) == events[1:6:2]
    assert list(record.read(kinds=["visit.held"], subject="S-0", after=1)) == [events[2], events[4]]
    assert list(record.read(after=7)) == []
    assert list(reopened(record).read()) == events


def test_read_by_pages_while_more_is_appended(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialkit.record.events._PAGE", 3)
    with record.batch():
        for day in range(10):
            add(record, day)
    seen = []
    for event in record.read():
        seen.append(event.seq)
        add(record)
    assert seen == list(range(1, 11))
    assert record.head[0] == 20


def test_unserialisable_text_is_refused_before_anything_is_kept(record: Record) -> None:
    with pytest.raises(ValueError):
        record.append(VisitMissed(visit="W4", code="X"), actor="a", role="b", reason="\ud800")
    assert record.head == (0, GENESIS)
    assert add(record).seq == 1
    assert record.verify().ok


@pytest.mark.requirement("R06")
def test_times_come_from_the_clock(tmp_path: Path) -> None:
    clock = SimulatedClock(START)
    with Record.create(tmp_path / "study.db", clock) as record:
        add(record)
        clock.advance(1.5)
        later = add(record)
    assert later.at == "2026-01-05T08:00:01.500000Z"
    assert later.mono_ns == 1_500_000_000


# --- batches ----------------------------------------------------------------------------------


def test_batch_is_seen_by_itself_and_by_others_after_it(record: Record) -> None:
    other = Record.open(record.where, write=False, clock=record.clock)
    with record.batch():
        events = [add(record, day) for day in range(3)]
        assert list(record.read()) == events
        assert list(record.read(subject="nobody")) == []
        assert list(other.read()) == []
    assert list(other.read()) == events
    assert other.head == record.head
    other.close()


@pytest.mark.requirement("R18")
def test_failed_batch_leaves_nothing(record: Record) -> None:
    first = add(record)
    with pytest.raises(ZeroDivisionError), record.batch():
        add(record)
        with record.batch():
            add(record)
        raise ZeroDivisionError
    assert record.head == (1, first.hash)
    assert list(record.read()) == [first]
    assert add(record).prev == first.hash
    assert record.verify().ok


def test_inner_batch_fails_alone(record: Record) -> None:
    with record.batch():
        first = add(record)
        with pytest.raises(ZeroDivisionError), record.batch():
            add(record)
            with record.batch():
                add(record)
            raise ZeroDivisionError
        assert record.head == (1, first.hash)
        second = add(record)
    assert [e.seq for e in record.read()] == [1, 2]
    assert second.prev == first.hash
    assert reopened(record).verify().ok


def test_long_batch_is_flushed_and_can_still_fail(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialkit.record.events._FLUSH", 4)
    add(record)
    with pytest.raises(ZeroDivisionError), record.batch():
        for day in range(11):
            add(record, day)
        assert [e.seq for e in record.read()] == list(range(1, 13))
        raise ZeroDivisionError
    assert record.head[0] == 1
    with record.batch():
        for day in range(6):
            add(record, day)
        with pytest.raises(ZeroDivisionError), record.batch():
            for day in range(6):
                add(record, day)
            raise ZeroDivisionError
        for day in range(3):
            add(record, day)
    assert [e.seq for e in record.read()] == list(range(1, 11))
    assert reopened(record).verify().ok


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.recursive(
        st.lists(st.just("append"), max_size=4),
        lambda inner: st.lists(
            st.one_of(st.just("append"), st.tuples(st.booleans(), inner)), max_size=4
        ),
        max_leaves=12,
    )
)
def test_any_nesting_of_batches_keeps_what_succeeded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object]
) -> None:
    """Against a model: a list of days, copied at each batch and put back where it fails."""
    record = Record.create(tmp_path_factory.mktemp("r") / "study.db", SimulatedClock(START))
    model: list[int] = []
    counter = iter(range(10_000))

    def run(parts: list[object]) -> None:
        for part in parts:
            if part == "append":
                day = next(counter)
                add(record, day)
                model.append(day)
                continue
            assert isinstance(part, tuple)
            before = list(model)
            try:
                with record.batch():
                    run(part[1])
                    if part[0]:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                model[:] = before
            assert [e.payload["day"] for e in record.read()] == model

    run(steps)
    with reopened(record) as again:
        assert [e.payload["day"] for e in again.read()] == model
        assert again.verify().ok


def test_threads_do_not_mix(record: Record) -> None:
    def work(name: str) -> None:
        for _ in range(15):
            with record.batch():
                add(record, subject=name)
                add(record, subject=name)

    threads = [threading.Thread(target=work, args=(f"S{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    subjects = [e.subject for e in record.read()]
    assert len(subjects) == 90
    assert subjects[::2] == subjects[1::2]
    assert record.verify().ok


# --- the file ---------------------------------------------------------------------------------


def test_store_is_durable(record: Record) -> None:
    if isinstance(record.where, str):
        expected = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    else:
        expected = {"journal_mode": "wal", "synchronous": "full"}
    assert record.durability() == expected


@pytest.mark.requirement("R01", "R03")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = '' WHERE seq = 1",
        "DELETE FROM events WHERE seq = 2",
        "INSERT INTO events VALUES (1, 'k', 'a', NULL, '{}', 'h')",
        "INSERT INTO events VALUES (0, 'k', 'a', NULL, '{}', 'h')",
    ],
)
def test_append_only(record: Record, statement: str) -> None:
    add(record)
    add(record)
    with (
        pytest.raises(REFUSALS, match=r"append-only|events_pkey"),
        raw_store(record) as run,
    ):
        run(statement)
    assert record.verify().ok


@pytest.mark.requirement("R01", "R03")
@pytest.mark.parametrize("fault", ["gap", "link", "hash", "order", "twice", "none"])
def test_each_event_of_a_statement_continues_the_chain(
    record: Record, tmp_path: Path, fault: str
) -> None:
    """Seven events more in one statement, one of which is not as it must be."""
    source = Record.create(tmp_path / "other.db", SimulatedClock(START))
    for day in range(10):
        add(source, day)
    rows = [
        [event.seq, event.kind, event.at, event.subject, row.body.decode(), event.hash]
        for event, row in zip(source.read(), source.rows(), strict=True)
    ]
    source.close()
    for day in range(3):
        add(record, day)
    assert record.head == (3, rows[2][5])
    rows = rows[3:]
    if fault == "gap":
        del rows[4]
    elif fault == "link":
        fields = json.loads(str(rows[4][4])) | {"prev": rows[2][5]}
        rows[4][4] = canonical_json(fields)
        rows[4][5] = sha256_text(str(rows[4][4]))
    elif fault == "hash":
        rows[4][5] = rows[3][5]
    elif fault == "order":
        rows[4][0], rows[5][0] = rows[5][0], rows[4][0]
    elif fault == "twice":
        rows[4] = rows[3]
    text = "INSERT INTO events VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(rows))
    values = [value for row in rows for value in row]
    if fault == "none":
        with raw_store(record) as run:
            run(text, values)
        assert record.verify().ok
        assert record.head[0] == record.last_given == 10
        assert add(record).seq == 11
        return
    if isinstance(record.where, Path) and fault in {"gap", "link", "hash"}:
        pytest.skip("SQLite's trigger keeps numbers in order; `verify` finds the rest")
    with pytest.raises(REFUSALS, match=r"append-only|events_pkey"), raw_store(record) as run:
        run(text, values)
    assert record.head[0] == record.last_given == 3
    assert record.verify().ok


EARLIER = """
DROP TRIGGER events_in_sequence ON events;
CREATE OR REPLACE FUNCTION trialkit.continue_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = trialkit, pg_temp AS $$
DECLARE last given%ROWTYPE;
BEGIN
    SELECT * INTO last FROM given FOR UPDATE;
    IF NEW.seq <> last.seq + 1 OR (NEW.body::json ->> 'prev') IS DISTINCT FROM last.hash
       OR NEW.hash <> encode(sha256(convert_to(NEW.body, 'UTF8')), 'hex') THEN
        RAISE EXCEPTION 'the record is append-only: event % does not follow event %',
            NEW.seq, last.seq;
    END IF;
    UPDATE given SET seq = NEW.seq, hash = NEW.hash;
    RETURN NEW;
END $$;
CREATE TRIGGER events_in_sequence BEFORE INSERT ON trialkit.events
    FOR EACH ROW EXECUTE FUNCTION trialkit.continue_chain();
"""


def test_a_database_of_before_takes_batches_too(postgres: Server) -> None:
    """It was made with a trigger that runs for each event."""
    with Record.create(postgres.database(), SimulatedClock(START)) as record:
        with raw_store(record) as run:
            run(EARLIER)
        add(record)
        with record.batch():
            for day in range(30):
                add(record, day)
        assert record.verify().ok
        assert record.last_given == record.head[0] == 31


def test_events_of_a_batch_are_added_at_once(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write of ``given`` for each event would make a long batch quadratic."""
    monkeypatch.setattr("trialkit.record.events._FLUSH", 50)
    monkeypatch.setattr("trialkit.record.postgres._AT_ONCE", 25)
    with Record.create(postgres.database(), SimulatedClock(START)) as record:
        with record.batch():
            for day in range(100):
                add(record, day)
            counted = record._store.connection.exec_driver_sql(
                "SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'given'"
            ).scalar_one()
        assert counted == 4
        assert record.verify().ok
        assert record.last_given == record.head[0] == 100


@pytest.mark.requirement("R01")
def test_replacing_is_refused_too(sqlite_record: Record) -> None:
    add(sqlite_record)
    with (
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
        raw_store(sqlite_record) as run,
    ):
        run("INSERT OR REPLACE INTO events VALUES (1, 'k', 'a', NULL, 'b', 'h')")


@pytest.mark.requirement("R03")
def test_triggers_come_back_at_open(sqlite_record: Record) -> None:
    add(sqlite_record)
    tampered(sqlite_record)
    again = reopened(sqlite_record)
    assert len(again.unguarded) == 3
    add(again)
    assert again.unguarded == []
    with (
        closing(sqlite3.connect(sqlite_record.where)) as raw,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        raw.execute("DELETE FROM events")
    again.close()


def test_open_faults(tmp_path: Path, sqlite_record: Record) -> None:
    clock = SimulatedClock(START)
    with pytest.raises(UnknownName):
        Record.open(tmp_path / "no.db", write=True, clock=clock)
    with pytest.raises(UsageError, match="exists"):
        Record.create(sqlite_record.where, clock)
    (tmp_path / "text.db").write_text("not a database at all " * 100)
    with pytest.raises(IntegrityError, match="not a database"):
        Record.open(tmp_path / "text.db", write=True, clock=clock)
    with closing(sqlite3.connect(tmp_path / "other.db")) as raw, raw:
        raw.execute("CREATE TABLE events (seq INTEGER)")
    with pytest.raises(IntegrityError, match="not a record"):
        Record.open(tmp_path / "other.db", write=False, clock=clock)
    sqlite_record.close()
    with closing(sqlite3.connect(sqlite_record.where)) as raw, raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(IntegrityError, match="schema 99"):
        Record.open(sqlite_record.where, write=True, clock=clock)


def test_reader_cannot_append(record: Record) -> None:
    reader = reopened(record, write=False)
    with pytest.raises(StorageRefused, match="reading only"):
        add(reader)
    reader.close()


# --- full and read-only disks -----------------------------------------------------------------


def test_full_store_keeps_nothing_of_the_step(sqlite_record: Record) -> None:
    add(sqlite_record)
    pages = sqlite_record._store.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    sqlite_record._store.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    before = sqlite_record.head
    with pytest.raises(StorageRefused, match="full") as caught, sqlite_record.batch():
        for day in range(400):
            add(sqlite_record, day)
    assert "Free space" in caught.value.remedy
    assert sqlite_record.head == before
    assert [e.seq for e in sqlite_record.read()] == [1]
    sqlite_record._store.connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    assert add(sqlite_record).seq == 2
    assert reopened(sqlite_record).verify().ok


def test_full_store_within_a_caught_flush(
    sqlite_record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialkit.record.events._FLUSH", 50)
    pages = sqlite_record._store.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    sqlite_record._store.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageRefused), sqlite_record.batch():
        for day in range(400):
            try:
                add(sqlite_record, day)
            except StorageRefused:
                break  # whoever swallows it cannot commit half of the batch
    assert sqlite_record.head == (0, GENESIS)
    assert list(sqlite_record.read()) == []
    sqlite_record._store.connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    add(sqlite_record)
    assert reopened(sqlite_record).verify().ok


LIMITED = """
import resource, sys
from pathlib import Path
from trialkit._clock import RealClock
from trialkit.errors import StorageRefused
from trialkit.record import Record
from trialkit.record.kinds import VisitHeld
record = Record.create(Path(sys.argv[1]), RealClock())
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
n = 0
try:
    while n < 5000:
        record.append(VisitHeld(visit="BL", day=n, in_window=True), actor="a", role="b")
        n += 1
except StorageRefused as error:
    assert record.head[0] == n, (record.head, n)
    assert sum(1 for _ in record.read()) == n
    print(n, flush=True)
"""


def test_disk_ends_under_a_writer(tmp_path: Path) -> None:
    """A file that may not grow: the write itself fails, and every acknowledged event is there."""
    path = tmp_path / "study.db"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    assert acknowledged > 20
    with Record.open(path, write=True, clock=SimulatedClock(START)) as record:
        assert record.head[0] == acknowledged
        assert record.verify().ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a real, small file system; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here; max_page_count and rlimit tests remain")

    def remount(options: str) -> Path:
        subprocess.run([mount, "-o", f"remount,{options}", str(folder)], check=True)
        return folder

    yield remount
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("size=256k")
    with Record.create(folder / "study.db", SimulatedClock(START)) as record:
        n = 0
        with pytest.raises(StorageRefused) as caught:
            while n < 5000:
                add(record, n)
                n += 1
        assert "Free space" in caught.value.remedy
        assert record.head[0] == n
        with pytest.raises(StorageRefused):
            record.export(folder / "record.jsonl")
        assert not list(folder.glob("*record.jsonl*"))
        small_disk("size=2m")
        assert add(record, n).seq == n + 1
        assert record.verify().ok


def test_read_only_disk(small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("size=1m")
    clock = SimulatedClock(START)
    with Record.create(folder / "study.db", clock) as record:
        events = [add(record, day) for day in range(5)]
    small_disk("ro")
    try:
        with pytest.raises(StorageRefused) as caught:
            Record.open(folder / "study.db", write=True, clock=clock)
        assert "write=False" in caught.value.remedy
        with Record.open(folder / "study.db", write=False, clock=clock) as reader:
            assert list(reader.read()) == events
            assert reader.verify().ok
    finally:
        small_disk("rw")


KILLED = """
import sys
from pathlib import Path
from trialkit._clock import RealClock
from trialkit.record import Record
from trialkit.record.kinds import VisitHeld
where = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
record = Record.open(where, write=True, clock=RealClock())
day = 0
while True:
    size = day % 3 + 1
    with record.batch():
        for _ in range(size):
            event = record.append(
                VisitHeld(visit="BL", day=day, in_window=True), actor="a", role="b")
            day += 1
    print(event.seq, flush=True)
"""


@pytest.mark.requirement("R18")
def test_killed_writer_loses_nothing_acknowledged(tmp_path: Path, record: Record) -> None:
    record.close()
    acknowledged = 0
    for wait in (5, 23, 60):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(record.where)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(wait):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            if line.endswith("\n"):
                acknowledged = int(line)
        child.wait()
        with Record.open(record.where, write=True, clock=record.clock) as again:
            assert again.head[0] >= acknowledged
            report = again.verify()
            assert report.ok, report.findings
            assert report.n == again.head[0]
            days = [e.payload["day"] for e in again.read()]
        assert _ends_a_batch(days[-1] + 1), "half a batch is there"


def _ends_a_batch(count: int) -> bool:
    """Whether the child's batches, of sizes that follow from their first day, end at `count`."""
    day = 0
    while day < count:
        day += day % 3 + 1
    return day == count


# --- verification -----------------------------------------------------------------------------


def written(record: Record, n: int = 8) -> list[Event]:
    events = []
    for i in range(n):
        payload = ParticipantEnrolled(site=f"0{i % 3}", attributes={"note": "ä", "age": 50 + i})
        events.append(
            record.append(payload, actor="cora", role="coordinator", subject=f"S-{i}", reason="x")
        )
    return events


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "study.db"
    with Record.create(path, SimulatedClock(START)) as record:
        written(record)
    return path


@pytest.mark.requirement("R16")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_flipped_bit_is_found_and_located(
    original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "study.db"
    shutil.copy(original, path)
    seq = data.draw(st.integers(1, 8))
    column = data.draw(st.sampled_from(["body", "body", "hash", "kind", "at", "subject"]))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TRIGGER events_no_update")
        (stored,) = raw.execute(
            f"SELECT CAST({column} AS BLOB) FROM events WHERE seq = ?", (seq,)
        ).fetchone()
        changed = bytearray(stored)
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        raw.execute(
            f"UPDATE events SET {column} = CAST(? AS TEXT) WHERE seq = ?", (bytes(changed), seq)
        )
    with Record.open(path, write=False, clock=SimulatedClock(START)) as record:
        report = record.verify()
        expected = "altered" if column in {"body", "hash"} else "projection"
        assert [(f.seq, f.what) for f in report.findings] == [(seq, expected)]
        if expected == "altered":
            with pytest.raises(ChainBroken):
                list(record.read())


@pytest.mark.parametrize("seq", [1, 4, 8])
def test_removed_event_is_named(record: Record, seq: int) -> None:
    written(record)
    tampered(record, ("DELETE FROM events WHERE seq = ?", (seq,)))
    assert [(f.seq, f.what) for f in record.verify().findings] == [(seq, "removed")]


def test_cut_tail_is_named(record: Record) -> None:
    written(record)
    tampered(record, ("DELETE FROM events WHERE seq > 5", ()))
    assert [(f.seq, f.what) for f in record.verify().findings] == [
        (6, "removed"),
        (7, "removed"),
        (8, "removed"),
    ]


@pytest.mark.parametrize(("a", "b"), [(1, 2), (3, 7), (7, 8)])
def test_swapped_events_are_named(record: Record, a: int, b: int) -> None:
    written(record)
    tampered(
        record,
        ("UPDATE events SET seq = -1 WHERE seq = ?", (a,)),
        ("UPDATE events SET seq = ? WHERE seq = ?", (a, b)),
        ("UPDATE events SET seq = ? WHERE seq = -1", (b,)),
    )
    assert [(f.seq, f.what) for f in record.verify().findings] == [
        (a, "reordered"),
        (b, "reordered"),
    ]


def test_removed_and_renumbered_is_found(record: Record) -> None:
    written(record)
    tampered(
        record,
        ("DELETE FROM events WHERE seq = 4", ()),
        ("UPDATE events SET seq = -seq WHERE seq > 4", ()),
        ("UPDATE events SET seq = -seq - 1 WHERE seq < 0", ()),
    )
    report = record.verify()
    assert (4, "reordered") in [(f.seq, f.what) for f in report.findings]
    assert (8, "removed") in [(f.seq, f.what) for f in report.findings]


@pytest.mark.parametrize("seq", [1, 5])
def test_forged_event_with_its_own_hash_is_found(record: Record, seq: int) -> None:
    """Body and hash are replaced together: the next event was chained to the old hash."""
    events = written(record)
    body = _body_of(record, seq).replace("coordinator", "investigator")
    tampered(
        record,
        ("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (body, sha256_text(body), seq)),
    )
    assert [(f.seq, f.what) for f in record.verify().findings] == [(seq, "altered")]
    assert record.verify(anchors={seq: events[seq - 1].hash}).findings[0].seq == seq


def test_rewritten_end_is_found_by_an_anchor(record: Record) -> None:
    """The last event has no successor; a hash noted elsewhere (a report) still finds it."""
    events = written(record)
    body = _body_of(record, 8).replace("coordinator", "investigator")
    tampered(
        record,
        ("UPDATE events SET body = ?, hash = ? WHERE seq = 8", (body, sha256_text(body))),
    )
    assert record.verify().ok
    assert [(f.seq, f.what) for f in record.verify({8: events[7].hash}).findings] == [
        (8, "altered")
    ]


def _body_of(record: Record, seq: int) -> str:
    with raw_store(record) as run:
        body = run("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()[0]
    return str(body)


def test_reports_are_plain(record: Record) -> None:
    written(record, 2)
    report = record.verify()
    assert report.to_dict() == {"ok": True, "n": 2, "head": record.head[1], "findings": []}


# --- export -----------------------------------------------------------------------------------


def test_export_is_read_back_whole(record: Record, tmp_path: Path) -> None:
    events = written(record)
    record.export(tmp_path / "record.jsonl")
    assert list(read_export(tmp_path / "record.jsonl")) == events
    for line, event in zip(
        (tmp_path / "record.jsonl").read_text("utf-8").splitlines(), events, strict=True
    ):
        stored = json.loads(line)
        assert set(stored) == {"body", "hash"}
        assert sha256_text(stored["body"]) == stored["hash"] == event.hash


def test_altered_export_is_refused(record: Record, tmp_path: Path) -> None:
    written(record)
    path = tmp_path / "record.jsonl"
    record.export(path)
    lines = path.read_text("utf-8").splitlines(keepends=True)
    for changed in (
        lines[:3] + lines[4:],
        [lines[1], lines[0], *lines[2:]],
        [lines[0].replace("coordinator", "investigator"), *lines[1:]],
    ):
        path.write_text("".join(changed), "utf-8")
        with pytest.raises(ChainBroken):
            list(read_export(path))


# --- every kind -------------------------------------------------------------------------------


def test_every_kind_is_named_once() -> None:
    assert all(KINDS[name].kind == name for name in KINDS)
    assert len({model.__name__ for model in KINDS.values()}) == len(KINDS)


def test_storage_faults_name_a_remedy() -> None:
    from trialkit.record.storage import storage_refused

    texts = {
        storage_refused(Path("x"), what).remedy
        for what in ("database or disk is full", "attempt to write a readonly database", "other")
    }
    assert len(texts) == 3
    assert issubclass(StorageRefused, TrialkitError)


def test_random_appends_keep_the_projection(record: Record) -> None:
    rng = random.Random(3)
    for _ in range(30):
        add(record, rng.randrange(100), rng.choice([None, "A", "B|C"]))
    with raw_store(record) as run:
        for seq, kind, at, subject, body in run("SELECT seq, kind, at, subject, body FROM events"):
            fields = json.loads(body)
            shown = (fields["seq"], fields["kind"], fields["at"], fields["subject"])
            assert shown == (seq, kind, at, subject)
