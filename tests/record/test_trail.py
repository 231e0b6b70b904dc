"""The audit trail for people: every event, and the value before each correction."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_record import START

from trialkit._clock import SimulatedClock
from trialkit.record import Record
from trialkit.record.kinds import (
    AssessmentCorrected,
    AssessmentRecorded,
    ParticipantConsented,
    StudyCreated,
)
from trialkit.record.trail import COLUMNS, readable, trail


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    """A study of one assessment, corrected twice, and a consent that was given again."""
    with Record.create(tmp_path / "study.db", SimulatedClock(START)) as record:
        first = StudyCreated(study_id="S", title="<b>T</b>", protocols={"A": "0"}, software="0")
        record.append(first, actor="olga", role="owner")
        done = AssessmentRecorded(
            visit="BL", day=-1, instrument="X", items={"A": 1, "B": 2.5}, scores={"P": 3.5}
        )
        record.append(done, actor="asta", role="assessor", subject="S-01")
        for seq, a, old in ((2, 4, 1), (3, 5, 4)):
            corrected = AssessmentCorrected(
                seq=seq, visit="BL", instrument="X", status="done", items={"A": a, "B": 2.5},
                scores={"P": a + 2.5}, old_items={"A": old, "B": 2.5},
            )  # fmt: skip
            record.append(
                corrected, actor="asta", role="assessor", subject="S-01", reason="=misread"
            )
        for subject, version in (("S-01", "1"), ("S-02", "1"), ("S-01", "2")):
            consent = ParticipantConsented(version=version)
            record.append(consent, actor="cora", role="coordinator", subject=subject)
        yield record


def rows(record: Record) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in trail(record)]


@pytest.mark.requirement("R01", "R17")
def test_every_event_with_who_when_and_why(record: Record) -> None:
    found = rows(record)
    assert [row["event"] for row in found] == [str(n) for n in range(1, 8)]
    third = found[2]
    assert (third["UTC time"], third["user"], third["role"], third["reason"]) == (
        "2026-01-05T08:00:00.000000Z", "asta", "assessor", "=misread"
    )  # fmt: skip
    assert (third["kind"], third["participant"]) == ("assessment.corrected", "S-01")
    assert "items.A=4; items.B=2.5" in third["content"]


@pytest.mark.requirement("R02")
def test_the_value_before_is_shown_with_its_event(record: Record) -> None:
    found = [row["replaced"] for row in rows(record)]
    assert found[:2] == ["", ""]
    assert found[2] == "event 2: items.A=1; scores.P=3.5"
    assert found[3] == "event 3: items.A=4; scores.P=6.5"
    assert found[4:] == ["", "", "event 5: version=1"]


def written(record: Record, path: Path) -> Path:
    path.write_bytes(b"".join(readable(record, path, *record.head)))
    return path


def test_the_page_shows_text_as_text(record: Record, tmp_path: Path) -> None:
    page = written(record, tmp_path / "t.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;T&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "src=" not in page
    assert f"7 events; hash of the last one {record.head[1]}" in page


def test_the_table_runs_no_formula(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path / "t.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert len(read) == 7
    assert read[2]["reason"] == "'=misread"
    assert read[2]["replaced"] == "event 2: items.A=1; scores.P=3.5"


def test_an_earlier_moment(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"".join(readable(record, path, 3, "")))
    assert path.read_text().count("\n") == 4
