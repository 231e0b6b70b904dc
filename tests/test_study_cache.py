"""The state that is kept for a quick open: equal to the fold, and believed no further."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import analysed_study
import pytest
import small_study
from small_study import enrolled, randomised

from trialkit._canonical import canonical_json, sha256_bytes
from trialkit.data import build_snapshot
from trialkit.errors import ChainBroken
from trialkit.record import Record, StudyState, kinds
from trialkit.record.chain import Row
from trialkit.record.verification import verify_record
from trialkit.study import Study, cached, datalock
from trialkit.study.cached import cache_file, keep, kept
from trialkit.study.heads import sign_head
from trialkit.study.shared import follow


def more(who: str) -> list[kinds.Payload]:
    """What `analysed_study` leaves out and the fold knows of."""
    k = kinds
    return [
        k.QueryRaised(query="Q0001", rule="missing", key="a", place=k.Place(domain="FT"),
                      text="Why?", value="", restricted=False),
        k.QueryAnswered(query="Q0001", text="So."),
        k.QueryClosed(query="Q0001"),
        k.QueryReopened(query="Q0001"),
        k.DeviationAcknowledged(deviation="D0001", classification="minor"),
        k.UnblindingRequested(request="U1"),
        k.AccountsRequired(),
        k.UserLocked(user="asta", failures=5),
        k.DataFrozen(visit="W4"),
        k.DataLockSet(upto=3),
        k.DataUnlockRequested(request="L1"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """A trial with every kind of event, as it is stored."""
    with analysed_study.make_study(tmp_path_factory.mktemp("whole")) as study:
        sign_head(study)
        who = next(iter(study.state.participants))
        with study.record.batch():
            for payload in more(who):
                study.record.append(payload, actor="olga", role="owner", subject=who)
        return list(study.record.rows())


@pytest.fixture(params=["sqlite", "postgres"])
def record(request: pytest.FixtureRequest, rows: list[Row], tmp_path: Path) -> Iterator[Record]:
    """The same trial in a store of each kind."""
    where: Path | str = tmp_path / "study.db"
    if request.param == "postgres":
        where = request.getfixturevalue("postgres").database()
    names = ("kind", "at", "subject")
    with Record.create(where, small_study.SimulatedClock(small_study.START)) as made:
        made._store.begin()
        made._store.insert(
            [
                {"seq": r.seq, "body": r.body.decode(), "hash": r.hash,
                 **dict(zip(names, r.projection or (), strict=True))}
                for r in rows
            ]
        )  # fmt: skip
        made._store.commit()
        yield made


def in_order(state: StudyState) -> str:
    """All of a state as text, so that the order of everything counts; sets sorted."""

    def plain(value: Any) -> Any:
        if isinstance(value, set):
            return sorted(map(repr, value))
        if isinstance(value, dict):
            return [(key, plain(one)) for key, one in value.items()]
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return plain(vars(value)) if hasattr(value, "__dict__") else repr(value)

    return repr(plain(vars(state)))


@pytest.mark.slow(seconds=10)
def test_kept_and_folded_states_are_equal_at_every_event(record: Record) -> None:
    whole = StudyState(record.read())
    state = StudyState()
    study_id = whole.study_id
    for event in record.read():
        state.apply(event)
        keep(record, state)
        found = kept(record, study_id)
        assert found is not None, event.seq
        assert vars(found) == vars(state), event.seq
        if event.seq % 16 == 0 or event.seq == whole.seq:
            assert in_order(found) == in_order(state)
            follow(record, found)
            assert in_order(found) == in_order(whole)
    assert whole.lock is not None
    assert whole.accounts is not None
    assert whole.data_lock is not None
    assert whole.queries
    assert whole.deviations
    assert whole.last_head
    assert whole.unblindings


def file_of(study: Study) -> Path:
    path = cache_file(study.record, study.state.study_id)
    assert path is not None
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small study of which any state is kept."""
    monkeypatch.setattr("trialkit.study.shared.EVERY", 1)
    with small_study.make_study(tmp_path) as study:
        randomised(study)
    return tmp_path / "study"


def opened(folder: Path, **given: Any) -> Study:
    keys = small_study.KeyStore(folder.parent / "keys")
    clock = small_study.SimulatedClock(small_study.START)
    return Study.open(folder, actor="olga", keys=keys, clock=clock, **given)


def trusted(folder: Path, **given: Any) -> int:
    """Up to which event an open believed what was kept."""
    with opened(folder, **given) as study:
        assert vars(study.state) == vars(StudyState(study.record.read()))
        return study._shared.trusted[0]


def test_an_open_continues_what_was_kept(folder: Path) -> None:
    with opened(folder) as study:
        first = study.state.seq
        path = file_of(study)
        enrolled(study, site="02")
    assert path.is_file()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert trusted(folder) == first
    assert trusted(folder) == first + 2
    assert trusted(folder, whole=True) == 0


def test_a_small_study_keeps_nothing(tmp_path: Path) -> None:
    with small_study.make_study(tmp_path) as study:
        assert not file_of(study).exists()


def rewritten(path: Path, change: Callable[[dict[str, Any]], object], **head: Any) -> None:
    """Put another state in the file, with a hash that fits: what a person with the file can."""
    line, _, blob = path.read_bytes().partition(b"\n")
    state = pickle.loads(blob)
    change(state)
    blob = pickle.dumps(state, 5)
    found = {**json.loads(line), "sha256": sha256_bytes(blob), **head}
    path.write_bytes(canonical_json(found).encode() + b"\n" + blob)


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/should-not-be-there",)


def damage(how: str, path: Path) -> None:
    data = path.read_bytes()
    line, _, blob = data.partition(b"\n")
    head = json.loads(line)
    if how == "a flipped bit":
        path.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no pickle":
        rewritten(path, lambda _: None, sha256=sha256_bytes(b"x"))
        path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\nx")
    elif how == "code":
        blob = pickle.dumps(Evil())
        path.write_bytes(
            canonical_json({**head, "sha256": sha256_bytes(blob)}).encode() + b"\n" + blob
        )
    elif how == "another class":
        rewritten(path, lambda s: s.update(counts=small_study.SimulatedClock(small_study.START)))
    elif how == "another version":
        rewritten(path, lambda _: None, code="0" * 64)
    elif how == "another event":
        rewritten(path, lambda s: s.update(hash="0" * 64), hash="0" * 64)
    elif how == "a later event":
        rewritten(path, lambda s: s.update(seq=s["seq"] + 1), seq=head["seq"] + 1)
    elif how == "its number inside":
        rewritten(path, lambda s: s.update(seq=s["seq"] - 1))
    elif how == "another study":
        rewritten(path, lambda s: s.update(study_id="OTHER"))
    elif how == "open to others":
        path.chmod(0o644)
    elif how == "a folder open to others":
        path.parent.chmod(0o755)
    elif how == "a link":
        there = path.rename(path.with_suffix(".there"))
        path.symlink_to(there)
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "a flipped bit", "cut", "empty", "no pickle", "code", "another class", "another version",
        "another event", "a later event", "its number inside", "another study", "open to others",
        "a folder open to others", "a link",
    ],
)  # fmt: skip
def test_what_is_not_to_be_trusted_is_folded_anew(folder: Path, how: str) -> None:
    with opened(folder) as study:
        path, seq = file_of(study), study.state.seq
    assert trusted(folder) == seq
    damage(how, path)
    try:
        assert trusted(folder) == 0
        assert not Path("/tmp/should-not-be-there").exists()
    finally:
        path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    assert trusted(folder) == 0
    assert trusted(folder) == seq


def test_where_no_cache_can_be_nothing_else_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for place in ("", str(tmp_path / "file"), "/proc/nothing/here"):
        monkeypatch.setenv("TRIALKIT_CACHE", place)
        assert trusted(folder) == 0
        assert trusted(folder) == 0


def test_the_folder_of_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRIALKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cached.cache_folder() == tmp_path / "xdg/trialkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cached.cache_folder() == tmp_path / ".cache/trialkit"


def altered(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as raw, raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)


def test_a_record_that_was_cut_is_reported(folder: Path) -> None:
    with opened(folder) as study:
        seq = study.state.seq
    altered(folder, f"DELETE FROM events WHERE seq > {seq - 2}")
    with pytest.raises(ChainBroken, match=f"event {seq - 1}: removed"):
        opened(folder)


def test_an_event_after_what_was_kept_is_checked(folder: Path) -> None:
    with opened(folder) as study:
        seq = study.state.seq
        enrolled(study, site="02")
    altered(folder, f"UPDATE events SET body = replace(body, '02', '03') WHERE seq = {seq + 1}")
    with pytest.raises(ChainBroken, match=f"event {seq + 1}: altered"):
        opened(folder)


def test_what_decides_looks_at_every_event(folder: Path) -> None:
    """A quick open does not see an altered event that was folded before; these do."""
    trusted(folder)
    altered(folder, "UPDATE events SET body = replace(body, 'Olga', 'Ilga') WHERE seq = 2")
    with opened(folder) as study:
        assert not study.status(whole=False).chain_whole
        assert "whole since the state that was kept" in str(study.status(whole=False))
        assert not study.status().chain_ok
        for act in (
            lambda: build_snapshot(study),
            lambda: datalock.lock_data(study, reason="the last visit was held"),
            study.check_whole,
        ):
            with pytest.raises(ChainBroken, match="event 2: altered"):
                act()
    with pytest.raises(ChainBroken, match="event 2: altered"):
        opened(folder, whole=True)


def test_a_false_state_is_corrected_before_anything_is_decided(folder: Path) -> None:
    with opened(folder) as study:
        path = file_of(study)
    rewritten(path, lambda s: s["participants"].clear())
    with opened(folder) as study:
        assert not study.state.participants  # who can write the file can write the program
        state = study.state
        study.check_whole()
        assert len(state.participants) == 1
    assert trusted(folder) == study.state.seq


def test_a_head_continues_only_what_the_record_has(folder: Path) -> None:
    with opened(folder) as study:
        sign_head(study)
        enrolled(study, site="02")
    with opened(folder) as study:
        path = file_of(study)
    rewritten(
        path, lambda s: s["last_head"].update(peaks=["0" * 64] * len(s["last_head"]["peaks"]))
    )
    with opened(folder) as study:
        sign_head(study)
    with opened(folder) as study:
        assert verify_record(study.record).ok


def test_it_holds_nothing_that_the_record_does_not(folder: Path) -> None:
    """No arm: that is in the allocation store alone."""
    with opened(folder) as study:
        (who,) = study.state.participants
        place = study._place_of(who)
        path = file_of(study)
    data = path.read_bytes()
    assert place.salt.encode() not in data
    blob = data.partition(b"\n")[2]
    with opened(folder) as study:
        record = b"".join(row.body + row.hash.encode() for row in study.record.rows()).decode()
    for text in texts_of(list(pickle.loads(blob).values())):
        assert text in record or text in NAMES, text


# words of the fold itself: an assessment's own, and the answer to "how was it entered"
NAMES = {"trial", "single", "done"}


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a state, but not the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from texts_of(pair)
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from texts_of(one)
    elif hasattr(value, "__dict__"):
        yield from texts_of(list(vars(value).values()))


def test_another_study_at_the_same_place(folder: Path, tmp_path: Path) -> None:
    """The same id and address, and another history: the event is not that of the record."""
    trusted(folder)
    shutil.rmtree(folder)
    (tmp_path / "again").mkdir()
    with small_study.make_study(tmp_path / "again") as study:
        randomised(study, seconds=11.0)
    shutil.move(tmp_path / "again/study", folder)
    assert trusted(folder) == 0
