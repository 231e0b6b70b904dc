"""Studies that earlier releases wrote open, verify, give the same data, and go on."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trialkit._canonical import sha256_file
from trialkit._clock import SimulatedClock
from trialkit.data import build_snapshot
from trialkit.participants import consent, enrol, verify_allocation
from trialkit.record import KeyStore
from trialkit.record.kinds import TelemetrySealed
from trialkit.record.state import StudyState
from trialkit.record.verification import verify_record
from trialkit.session.telemetry import sealed_rows
from trialkit.study import Study

HERE = Path(__file__).parent
LATER = datetime(2026, 6, 1, 8, tzinfo=UTC)
RELEASES = sorted(path.parent.name for path in HERE.glob("*/expected.json"))


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of an old study, unpacked, and what its release said of it."""
    with tarfile.open(HERE / request.param / "study.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = json.loads((HERE / request.param / "expected.json").read_text(encoding="utf-8"))
    return tmp_path / "study", expected


def test_it_verifies_and_reading_leaves_it_as_it_was(release: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = release
    before = {p: sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    with Study.open(folder) as study:
        report = verify_record(study.record)
        assert report.ok, str(report)
        assert (report.n, report.head) == (expected["seq"], expected["hash"])
        assert {event.kind for event in study.record.read()} == set(expected["kinds"])
        assert all(event.model() for event in study.record.read())
        assert sum(study.status().participants.values()) == len(expected["people"])
    assert {p: sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()} == before


def test_people_arms_and_lists_are_the_same(release: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = release
    with Study.open(folder, actor="stan") as study:
        found = {
            who.usubjid: {
                "site": who.site,
                "status": who.status,
                "arm": study.allocations().get(who.usubjid, (None, None))[0],
            }
            for who in study.state.participants.values()
        }
        assert found == expected["people"]
        check = verify_allocation(study)
        assert check.ok, str(check)


def test_tables_are_the_same_where_both_have_the_column(
    release: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, expected = release
    with Study.open(
        folder,
        write=True,
        actor="stan",
        clock=SimulatedClock(LATER),
        keys=KeyStore(tmp_path / "keys"),
    ) as study:
        made = build_snapshot(study, unblind=True)
        for name, old in expected["tables"].items():
            frame = pd.read_parquet(made.folder / f"{name}.parquet")
            new = json.loads(frame.to_json(orient="split", date_format="iso"))
            assert sorted(set(old["columns"]) - set(new["columns"])) == [], name
            for column in old["columns"]:
                was = [row[old["columns"].index(column)] for row in old["data"]]
                now = [row[new["columns"].index(column)] for row in new["data"]]
                assert now == was, f"{name}.{column}"


def test_sealed_sessions_are_read(release: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = release
    with Study.open(folder, actor="theo") as study:
        sealed = list(study.record.read(["session.telemetry_sealed"]))
        assert sealed
        for event in sealed:
            payload = event.model()
            assert isinstance(payload, TelemetrySealed)
            groups = sealed_rows(study, payload.session)
            assert sum(len(group.frame()) for group in groups) == sum(f.rows for f in payload.files)


def test_it_goes_on(release: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, expected = release
    with Study.open(
        folder,
        write=True,
        actor="cora",
        clock=SimulatedClock(LATER),
        keys=KeyStore(tmp_path / "keys"),
    ) as study:
        first = expected["seq"]
        event = enrol(study, site="01", attributes={"sex": "M", "age_years": 70})
        source = next(study.record.read(after=first))  # no release before said where time is from
        assert (source.kind, source.prev) == ("clock.source", expected["hash"])
        assert event.seq == first + 2
        consent(study, str(event.subject), version="1")
        assert verify_record(study.record).ok
        assert vars(study.state) == vars(StudyState(study.record.read()))
