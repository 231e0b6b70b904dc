from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trialkit.evidence import verify as shipped
from trialkit.evidence import verify_package
from trialkit.evidence.build import write_zip
from trialkit.record.chain import encode
from trialkit.record.kinds import KINDS
from trialkit.study import Study

RECORD = shipped.RECORD


def named(folder: Path) -> list[str]:
    return [f.where for f in verify_package(folder)]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(bytes(data))


def lines_of(folder: Path) -> list[str]:
    return (folder / RECORD).read_text(encoding="utf-8").splitlines()


# --- intact ---------------------------------------------------------------------------------


def test_a_package_as_built_is_intact(built: tuple[Study, Path]) -> None:
    _, folder = built
    assert verify_package(folder) == []
    assert verify_package(folder.with_name("package.zip")) == []


@pytest.mark.requirement("R17")
def test_it_runs_alone_with_the_standard_library(package: Path) -> None:
    """The oldest grammar that it promises, nothing but the standard library, and isolated."""
    source = (package / "verify.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    call = [sys.executable, "-I", "-S", "verify.py"]
    done = subprocess.run(call, cwd=package, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "INTACT" in done.stdout
    assert "14 revealed" in done.stdout


def test_the_key_can_be_pinned(built: tuple[Study, Path]) -> None:
    study, folder = built
    fingerprint = study.keys.fingerprint("stan")
    assert verify_package(folder, fingerprint) == []
    assert verify_package(folder, study.keys.public_key("stan")) == []
    other = study.keys.fingerprint("ivan")
    assert [f.where for f in verify_package(folder, other)] == [shipped.SIGNATURE]


@pytest.mark.parametrize(("change", "status"), [(False, 0), (True, 4)])
def test_exit_status_and_json(
    change: bool, status: int, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change:
        flip(package / "README.txt", 3)
    assert shipped.main([str(package), "--json"]) == status
    said = json.loads(capsys.readouterr().out)
    assert said["intact"] is not change
    assert [f["where"] for f in said["findings"]] == (["README.txt"] if change else [])


def test_no_package_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped.main([str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


# --- files ----------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
def test_a_byte_flipped_in_any_file_is_found_and_named(package: Path) -> None:
    files = sorted(p for p in package.rglob("*") if p.is_file())
    assert len(files) > 20
    for path in files:
        name = path.relative_to(package).as_posix()
        kept = path.read_bytes()
        for at in {0, len(kept) // 2, len(kept) - 1}:
            flip(path, at)
            assert name in named(package), (name, at)
            path.write_bytes(kept)
    assert named(package) == []


def test_files_added_removed_and_renamed_are_named(package: Path) -> None:
    (package / "results" / "more.json").write_text("{}", encoding="utf-8")
    assert named(package)[0] == "results/more.json"
    (package / "results" / "more.json").unlink()
    (package / "environment.json").rename(package / "environment.jsn")
    assert set(named(package)) == {"environment.json", "environment.jsn"}
    (package / "environment.jsn").rename(package / "environment.json")
    (package / "link").symlink_to(package / "README.txt")
    assert named(package) == ["link"]


def test_the_signature_and_the_manifest_cannot_be_left_out(package: Path) -> None:
    (package / shipped.SIGNATURE).unlink()
    assert shipped.SIGNATURE in named(package)
    (package / shipped.MANIFEST).unlink()
    assert shipped.MANIFEST in named(package)


def test_any_byte_of_the_zip(built: tuple[Study, Path], tmp_path: Path) -> None:
    source = built[1].with_name("package.zip")
    data = source.read_bytes()
    path = tmp_path / "package.zip"
    step = max(1, len(data) // 150)
    for at in [*range(0, len(data), step), *range(len(data) - 40, len(data))]:
        changed = bytearray(data)
        changed[at] ^= 0xFF
        path.write_bytes(bytes(changed))
        assert verify_package(path), at
    path.write_bytes(data + b"more")
    assert verify_package(path)


def test_the_zip_depends_on_the_files_alone(package: Path, tmp_path: Path) -> None:
    write_zip(package, tmp_path / "a.zip")
    other = shutil.copytree(package, tmp_path / "other", copy_function=shutil.copyfile)
    write_zip(Path(other), tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


# --- events ---------------------------------------------------------------------------------


def with_every_kind(lines: list[str]) -> list[str]:
    """Continue a record by one event of each kind that it does not hold."""
    last = json.loads(lines[-1])
    fields, prev = json.loads(last["body"]), last["hash"]
    held = {json.loads(json.loads(line)["body"])["kind"] for line in lines}
    added = []
    for kind in sorted(set(KINDS) - held):
        payload = {name: "x" for name in KINDS[kind].model_fields} or {"x": "x"}
        fields |= {"seq": fields["seq"] + 1, "kind": kind, "payload": payload, "prev": prev}
        body, prev = encode(fields)
        added.append(shipped.canonical({"body": body, "hash": prev}))
    return lines + added


def test_a_byte_in_the_payload_of_every_kind_of_event(package: Path) -> None:
    lines = with_every_kind(lines_of(package))
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        row = json.loads(line)
        kind = json.loads(row["body"])["kind"]
        if kind in seen:
            continue
        seen.add(kind)
        text = row["body"]
        at = text.index('"payload":{"') + len('"payload":{"')  # the first letter of its first key
        row["body"] = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        changed = [*lines]
        changed[number - 1] = shipped.canonical(row)
        (package / RECORD).write_text("\n".join(changed) + "\n", encoding="utf-8")
        found = named(package)
        assert RECORD in found
        assert any(w.startswith(f"event {number} ") and kind in w for w in found), (kind, found)
    assert seen == set(KINDS)


class Lines:
    """Stands for a package of which only the record is read."""

    def __init__(self, lines: list[str]) -> None:
        self.data = "".join(f"{line}\n" for line in lines).encode()

    def read(self, name: str) -> bytes:
        assert name == RECORD
        return self.data


def chain_faults(lines: list[str], manifest: dict[str, Any]) -> list[shipped.Fault]:
    report = shipped.Report()
    shipped.check_record(Lines(lines), manifest, report)  # type: ignore[arg-type]
    return report.faults


@pytest.fixture(scope="module")
def record(built: tuple[Study, Path]) -> tuple[list[str], dict[str, Any]]:
    manifest = json.loads((built[1] / shipped.MANIFEST).read_text(encoding="utf-8"))
    return lines_of(built[1]), manifest


def test_every_event_removed_is_named(record: tuple[list[str], dict[str, Any]]) -> None:
    lines, manifest = record
    assert chain_faults(lines, manifest) == []
    for n in range(1, len(lines) + 1):
        found = chain_faults(lines[: n - 1] + lines[n:], manifest)
        assert (f"event {n}", "removed") in found, n


def test_every_pair_swapped_is_named(record: tuple[list[str], dict[str, Any]]) -> None:
    lines, manifest = record
    for n in range(1, len(lines)):
        swapped = [*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]]
        found = [f.where for f in chain_faults(swapped, manifest) if "reordered" in f.message]
        assert {w.split(" (")[0] for w in found} == {f"event {n}", f"event {n + 1}"}


def test_every_event_doubled_is_named(record: tuple[list[str], dict[str, Any]]) -> None:
    lines, manifest = record
    for n in range(1, len(lines) + 1):
        found = chain_faults([*lines[:n], lines[n - 1], *lines[n:]], manifest)
        assert any(f.where.startswith(f"event {n} ") and "added" in f.message for f in found), n


def test_an_event_rewritten_with_its_hash_is_named(
    record: tuple[list[str], dict[str, Any]],
) -> None:
    """Its own hash fits, so the event after it tells; for the last one the signed head."""
    lines, manifest = record
    for n in range(1, len(lines) + 1):
        body = json.loads(json.loads(lines[n - 1])["body"])
        text = shipped.canonical({**body, "actor": "mallory"})
        line = shipped.canonical({"body": text, "hash": shipped.digest(text)})
        found = [f.where for f in chain_faults([*lines[: n - 1], line, *lines[n:]], manifest)]
        wanted = f"event {n} " if n < len(lines) else RECORD
        assert any(w.startswith(wanted) for w in found), (n, found)


def test_a_tail_cut_off_is_named(record: tuple[list[str], dict[str, Any]]) -> None:
    lines, manifest = record
    n = len(lines)
    assert (f"events {n - 4} to {n}", "removed") in chain_faults(lines[:-5], manifest)


# --- forgeries that are consistent in themselves ----------------------------------------------


def forge(package: Path, edit: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Rewrite the record from edited events, the manifest, and sign with another key."""
    prev, lines = shipped.ZEROS, []
    for line in lines_of(package):
        body = json.loads(json.loads(line)["body"])
        if edit is not None:
            edit(body)
        text = shipped.canonical({**body, "prev": prev})
        prev = shipped.digest(text)
        lines.append(shipped.canonical({"body": text, "hash": prev}))
    (package / RECORD).write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = package / shipped.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["record"]["head"] = prev
    for name, entry in manifest["files"].items():
        entry["sha256"] = shipped.digest((package / name).read_bytes())
    path.write_text(shipped.canonical(manifest) + "\n", encoding="utf-8")
    key = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
    public = key.public_key().public_bytes_raw().hex()
    over = shipped.digest(path.read_bytes())
    said = {"digest": over, "meaning": "m", "name": "Mallory", "signer": "mallory"}
    signature = key.sign(shipped.canonical(said).encode()).hex()
    signed = {**said, "public_key": public, "fingerprint": shipped.fingerprint(public),
              "signature": signature}  # fmt: skip
    (package / shipped.SIGNATURE).write_text(shipped.canonical(signed) + "\n", encoding="utf-8")


def test_a_whole_forgery_needs_another_key(built: tuple[Study, Path], package: Path) -> None:
    forge(package)
    assert verify_package(package) == []  # consistent: only the key tells
    pinned = built[0].keys.fingerprint("stan")
    assert [f.where for f in verify_package(package, pinned)] == [shipped.SIGNATURE]


def event_named(package: Path, kind: str) -> str:
    for line in lines_of(package):
        body = json.loads(json.loads(line)["body"])
        if body["kind"] == kind:
            return f"event {body['seq']} ({kind}"
    raise AssertionError(kind)


def test_an_arm_changed_after_randomisation_breaks_its_commitment(package: Path) -> None:
    who: list[str] = []

    def swap(body: dict[str, Any]) -> None:
        if body["kind"] == "allocation.revealed":
            who.append(next(iter(body["payload"]["arms"])))
            pair = body["payload"]["arms"][who[0]]
            pair[0] = "ROBOTIC" if pair[0] != "ROBOTIC" else "CONVENTIONAL"

    forge(package, swap)
    found = verify_package(package)
    assert any("participant.randomised" in f.where and who[0] in f.message for f in found), found


@pytest.mark.parametrize(
    ("kind", "key"),
    [("plan.locked", "methods"), ("plan.locked", "signatures"), ("analysis.run", "snapshot"),
     ("analysis.run", "results"), ("analysis.run", "plan_lock")],
)  # fmt: skip
def test_lock_and_analysis_must_fit_the_files(kind: str, key: str, package: Path) -> None:
    def edit(body: dict[str, Any]) -> None:
        if body["kind"] == kind:
            old = body["payload"][key]
            new = (
                {"x": "9"}
                if isinstance(old, dict)
                else old[:1]
                if key == "signatures"
                else "f" * 64
            )
            body["payload"][key] = new

    forge(package, edit)
    assert named(package)


@pytest.mark.parametrize(
    "name",
    ["plan/*.sap.yaml", "protocols/stroke-robotic.yaml", "snapshot/ADSL.parquet",
     "results/results.json", "reports/primary.html", "design.yaml"],
)  # fmt: skip
def test_a_file_changed_and_signed_anew_does_not_fit_the_record(name: str, package: Path) -> None:
    (path,) = package.glob(name)
    path.write_bytes(path.read_bytes() + b" ")
    forge(package)
    assert any(w.startswith(name.split("/")[0]) for w in named(package))
