"""What leaves the record: by permission, for all sites, and each time an event."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_study import enrolled, make_study

from trialkit.errors import NotPermitted, StorageRefused, UsageError
from trialkit.record.heads import head_text
from trialkit.record.proofs import check_proof
from trialkit.record.roles import PERMISSIONS
from trialkit.record.verification import export_rows, verify_rows
from trialkit.study import Study
from trialkit.study.exports import export_head, export_proof, export_record
from trialkit.study.heads import sign_head


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """A study with one participant and a signed head."""
    with make_study(tmp_path) as study:
        enrolled(study)
        sign_head(study)
        yield study


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.requirement("R05")
@pytest.mark.parametrize("suffix", ["html", "csv"])
def test_the_whole_record_with_the_hashes_of_both_files(
    study: Study, tmp_path: Path, suffix: str
) -> None:
    size = study.state.seq
    path, shown = tmp_path / "out.jsonl", tmp_path / f"out.{suffix}"
    event = export_record(study, path, readable_path=shown)
    assert (event.seq, event.kind, event.actor) == (size + 1, "record.exported", "olga")
    assert event.payload["files"] == {"jsonl": sha256(path), suffix: sha256(shown)}
    report = verify_rows(export_rows(path))
    assert (report.ok, report.n, report.root) == (True, size, event.payload["root"])
    study.record.export(tmp_path / "plain.jsonl")
    assert (tmp_path / "plain.jsonl").read_bytes().startswith(path.read_bytes())


@pytest.mark.requirement("R05")
def test_a_proof_and_a_head(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    made = export_proof(study, path, seq=2)
    assert check_proof(made).ok
    assert path.read_text() == made.text()
    head = export_head(study, path, sign=True)
    assert path.read_text() == head_text(head)
    events = list(study.record.read(kinds=["record.exported"]))
    assert [(e.payload["what"], e.payload["size"]) for e in events] == [
        ("proof", made.head.size), ("head", head.size)
    ]  # fmt: skip
    assert events[1].payload == {
        "what": "head", "size": head.size, "root": head.root, "files": {"json": sha256(path)}
    }  # fmt: skip
    assert check_proof(export_proof(study, since=made.head)).ok


@pytest.mark.requirement("R08", "R21")
@pytest.mark.parametrize("way", [export_record, export_proof, export_head])
def test_who_may_and_that_a_refusal_is_an_event(
    study: Study, tmp_path: Path, way: Callable[..., object]
) -> None:
    study.add_user("ines", role="investigator", sites=["01"])
    for user in ("asta", "mona", "stan", "theo", "cora", "ines"):
        with pytest.raises(NotPermitted) as caught:
            way(study.as_user(user), tmp_path / "out.json")
        assert ("all sites" in str(caught.value)) == (user == "ines")
        last = list(study.record.read())[-1]
        assert (last.kind, last.actor) == ("command.refused", user)
        assert last.payload["command"] == way.__name__
        assert not (tmp_path / "out.json").exists()


def test_whoever_may_export_may_see_allocations() -> None:
    for held in PERMISSIONS.values():
        assert "export" not in held or "see_allocation" in held


def test_nothing_is_written_that_is_not_recorded(study: Study, tmp_path: Path) -> None:
    with Study.open(study.folder, actor="olga", write=False) as reading:
        with pytest.raises(StorageRefused):
            export_record(reading, tmp_path / "out.jsonl", readable_path=tmp_path / "out.html")
        with pytest.raises(StorageRefused):
            export_head(reading, tmp_path / "out.json")
    assert not list(tmp_path.glob("out.*"))
    assert not list(tmp_path.glob(".out.*"))
    size = study.state.seq
    with pytest.raises(StorageRefused):
        export_record(study, tmp_path / "none" / "out.jsonl")
    with pytest.raises(UsageError, match=r"not [.]html"):
        export_record(study, tmp_path / "out.jsonl", readable_path=tmp_path / "out.docx")
    with pytest.raises(UsageError, match="what is to be proved"):
        export_proof(study)
    assert study.state.seq == size
