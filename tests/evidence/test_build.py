from __future__ import annotations

import json
from pathlib import Path

import pytest

from trialkit._canonical import sha256_file
from trialkit.errors import Duplicate, NotPermitted, OutOfOrder
from trialkit.evidence import build_evidence, environment, verify_package
from trialkit.study import Study


def test_the_package_holds_every_part(built: tuple[Study, Path]) -> None:
    _, folder = built
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {
        "README.txt", "design.yaml", "environment.json", "manifest.json", "manifest.sig.json",
        "plan/lock.json", "protocols/stroke-conventional.yaml",
        "protocols/stroke-robotic.yaml", "record/events.jsonl", "reports/primary.html",
        "results/results.json", "snapshot/ADSL.parquet", "snapshot/manifest.json", "verify.py",
    } <= names  # fmt: skip
    assert sum(n.startswith("plan/") for n in names) == 2
    assert not any(n.startswith("telemetry/") for n in names)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == names - {"manifest.json", "manifest.sig.json"}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == sha256_file(folder / name)


def test_no_secret_is_inside(built: tuple[Study, Path]) -> None:
    _, folder = built
    for path in folder.rglob("*"):
        assert path.name not in {"allocation.db", "study.db"}
        if path.is_file() and path.suffix in {".json", ".jsonl", ".txt"}:
            assert "PRIVATE KEY" not in path.read_text(encoding="utf-8")


def test_building_is_an_event_of_its_own(built: tuple[Study, Path]) -> None:
    study, folder = built
    events = list(study.record.read(kinds=["evidence.built"]))
    assert events[-1].payload["manifest"] == sha256_file(folder / "manifest.json")
    assert events[-1].payload["fingerprint"] == study.keys.fingerprint("stan")
    assert events[-1].actor == "stan"


def test_the_environment_names_every_package() -> None:
    found = environment()
    assert found["packages"]["pandas"]
    assert found["packages"]["cryptography"]
    assert list(found["packages"]) == sorted(found["packages"])


def test_what_is_there_is_not_overwritten(built: tuple[Study, Path]) -> None:
    study, folder = built
    before = study.record.head
    with pytest.raises(Duplicate):
        build_evidence(study.as_user("stan"), folder)
    assert study.record.head == before
    assert verify_package(folder) == []


def test_a_signer_without_rights_is_refused(built: tuple[Study, Path], tmp_path: Path) -> None:
    with pytest.raises(NotPermitted):
        build_evidence(built[0].as_user("asta"), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_was_changed_is_refused(built: tuple[Study, Path], tmp_path: Path) -> None:
    study, _ = built
    path = study.folder / "reports" / "primary.html"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b"x")
        with pytest.raises(OutOfOrder, match=r"primary\.html"):
            build_evidence(study.as_user("stan"), tmp_path / "p")
    finally:
        path.write_bytes(kept)
    assert list(tmp_path.iterdir()) == []
