"""What was done to a record, at every event of a small one, is found and located."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kept_record import Line, lines_of, opened, replace, rewritten, write_record

from trialkit.errors import UsageError
from trialkit.record.heads import head_text, heads_of
from trialkit.record.verification import Kept, RecordReport, read_kept, verify_record

N = 17  # 2 events, then 3 rounds of 4 visits and a head
EVERY = range(1, N + 1)
HEADS = (7, 12, 17)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record, its export and its heads, as they were kept elsewhere."""
    folder = tmp_path_factory.mktemp("kept")
    path = write_record(folder)
    with opened(path) as record:
        record.export(folder / "export.jsonl")
        for seq, head in heads_of(record):
            (folder / f"head-{seq}.json").write_text(head_text(head), encoding="utf-8")
    return folder


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(kept / "study.db", tmp_path / "study.db"))


def checked(path: Path, *against: Path | str) -> RecordReport:
    with opened(path) as record:
        return verify_record(record, against=[read_kept(str(one)) for one in against])


def found(report: RecordReport) -> list[tuple[int, str]]:
    return [(f.seq, f.what) for f in report.findings]


def test_an_intact_record(kept: Path) -> None:
    every = [kept / "export.jsonl", *(kept / f"head-{seq}.json" for seq in HEADS)]
    report = checked(kept / "study.db", *every)
    assert report.ok
    assert (report.n, report.heads, report.signed) == (N, 3, 3)
    assert report.newest is not None
    assert report.newest["size"] == N - 1
    assert len(report.compared) == 4
    assert "3 heads, 3 of them signed" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


@pytest.mark.parametrize("at", EVERY)
def test_a_flipped_bit(copy: Path, kept: Path, at: int) -> None:
    lines = lines_of(copy)
    body = bytearray(lines[at - 1][0].encode())
    body[body.index(b'"day"' if b'"day"' in body else b'"kind"') + 2] ^= 1
    lines[at - 1] = (body.decode(), lines[at - 1][1])
    replace(copy, lines)
    assert (at, "altered") in found(checked(copy))
    assert {seq for seq, what in found(checked(copy, kept / "export.jsonl"))} == {at}


@pytest.mark.parametrize("at", EVERY)
def test_a_removed_event(copy: Path, kept: Path, at: int) -> None:
    lines = lines_of(copy)
    del lines[at - 1]
    replace(copy, lines, gaps=True, hide=False)
    assert found(checked(copy)) == [(at, "removed")]
    assert (at, "removed") in found(checked(copy, kept / "head-17.json"))


@pytest.mark.parametrize("at", range(1, N))
def test_reordered_events(copy: Path, at: int) -> None:
    lines = lines_of(copy)
    lines[at - 1], lines[at] = lines[at], lines[at - 1]
    replace(copy, lines)
    assert {(at, "reordered"), (at + 1, "reordered")} <= set(found(checked(copy)))


@pytest.mark.parametrize("left", range(N))
def test_a_cut_that_leaves_its_trace(copy: Path, left: int) -> None:
    replace(copy, lines_of(copy)[:left], hide=False)
    assert found(checked(copy)) == [(seq, "removed") for seq in range(left + 1, N + 1)]


@pytest.mark.parametrize("left", range(1, N))
def test_a_cut_without_trace_is_shown_by_a_head_kept_elsewhere(
    copy: Path, kept: Path, left: int
) -> None:
    replace(copy, lines_of(copy)[:left])
    assert checked(copy).ok  # nothing inside shows it
    report = checked(copy, kept / "head-17.json")
    if left < N - 1:
        assert found(report) == [(left + 1, "removed")]
        assert f"counts {N - 1} events" in report.findings[0].detail
    else:
        assert report.ok  # the head itself was cut off, and what it counts is there
    assert found(checked(copy, kept / "export.jsonl")) == [(left + 1, "removed")]


@pytest.mark.parametrize("at", EVERY)
def test_a_fork_without_trace(copy: Path, kept: Path, at: int) -> None:
    """The forger has the file and no key: the chain is whole and every head unsigned."""
    replace(copy, rewritten(lines_of(copy), at, heads="forged"))
    alone = checked(copy)
    assert alone.ok or at in HEADS
    exact = checked(copy, kept / "export.jsonl")
    assert (at, "fork") in found(exact)
    assert f"the same up to event {at - 1} and part after it" in str(exact)
    heads = [kept / f"head-{seq}.json" for seq in HEADS]
    report = checked(copy, *heads)
    if at == N:
        assert (at, "fork") not in found(report)  # no head covers the last event
        return
    kinds = [f for f in report.findings if f.what == "fork"]
    assert kinds
    assert max(f.seq for f in kinds) <= at
    together = verify_together(copy, kept)
    assert [f.what for f in together.findings if f.what == "fork"] == ["fork"]


def verify_together(path: Path, kept: Path) -> RecordReport:
    heads = [read_kept(str(kept / f"head-{seq}.json")).heads[0] for seq in HEADS]
    with opened(path) as record:
        return verify_record(record, against=[Kept("the heads", heads)])


@pytest.mark.parametrize("at", range(1, N - 1))
def test_a_fork_under_heads_that_were_left(copy: Path, at: int) -> None:
    """Nothing from elsewhere: the signed heads in the record contradict it."""
    replace(copy, rewritten(lines_of(copy), at))
    report = checked(copy)
    forks = [f for f in report.findings if f.what == "fork"]
    assert forks or at in HEADS
    assert all(f.seq <= at for f in forks)
    assert not report.ok


def test_peaks_narrow_the_place_of_a_fork(copy: Path, kept: Path) -> None:
    """A head over 16 events has one peak; over 11: of 8, 2 and 1 events."""
    replace(copy, rewritten(lines_of(copy), 10, heads="forged"))
    report = checked(copy, kept / "head-12.json")
    assert found(report) == [(9, "fork")]
    assert "up to event 8 at least, and differ at event 10 at the latest" in str(report)
    replace(copy, rewritten(lines_of(copy), 11, heads="forged"))
    lines = str(checked(copy, kept / "head-12.json"))
    assert "up to event 8 at least" in lines


def test_a_root_from_paper(copy: Path, kept: Path) -> None:
    head = read_kept(str(kept / "head-12.json")).heads[0]
    assert checked(copy, f"{head.size}={head.root.upper()}").ok
    assert found(checked(copy, f"{head.size - 1}={head.root}")) == [(1, "fork")]
    assert found(checked(copy, f"{N + 3}={head.root}")) == [(N + 1, "removed")]


def test_a_head_of_somebody_else(copy: Path, kept: Path, tmp_path: Path) -> None:
    head = json.loads((kept / "head-12.json").read_text())
    other = tmp_path / "head.json"
    other.write_text(json.dumps(head | {"at": "2026-01-05T10:00:00.000000Z"}))
    assert found(checked(copy, other)) == [(11, "head")]
    other.write_text(json.dumps(head | {"peaks": head["peaks"][::-1]}))
    assert "its peaks do not give its root" in str(checked(copy, other))
    other.write_text(json.dumps(head | {"peaks": head["peaks"][1:]}))
    assert "not those of its size" in str(checked(copy, other))
    (tmp_path / "two").mkdir()
    foreign = write_record(tmp_path / "two", rounds=2)
    with opened(foreign) as record:
        other.write_text(head_text(next(heads_of(record))[1]))
    report = checked(copy, other)
    assert "is not that of olga" in str(report)


def test_what_is_neither_head_nor_export(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("{}", "[1]", "no json", "", '{"schema": "trialkit.head/1"}'):
        path.write_text(text)
        with pytest.raises(UsageError):
            read_kept(str(path))
    with pytest.raises(UsageError, match="SIZE=ROOT"):
        read_kept("nothing-here.json")
    lines = (kept / "export.jsonl").read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(UsageError, match="does not hold by itself"):
        read_kept(str(path))


def test_damage_that_is_no_json(copy: Path) -> None:
    lines: list[Line] = lines_of(copy)
    lines[6] = ('"kind":"head.signed" {', lines[6][1])
    replace(copy, lines)
    assert (7, "altered") in found(checked(copy))


def test_a_record_without_heads_says_so(tmp_path: Path) -> None:
    path = write_record(tmp_path, rounds=0)
    report = checked(path)
    assert report.ok
    assert "no head is signed yet" in str(report)
    unsigned = tmp_path / "unsigned"
    unsigned.mkdir()
    assert (checked(write_record(unsigned, sign=False))).signed == 0
