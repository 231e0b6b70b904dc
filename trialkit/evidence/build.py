"""`build_evidence`: everything that a reviewer needs to check and reproduce the numbers, signed."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trialkit import __version__
from trialkit._canonical import (
    canonical_json,
    sha256_bytes,
    sha256_file,
    sync_folder,
    write_durably,
)
from trialkit.errors import Duplicate, OutOfOrder
from trialkit.evidence import verify as shipped
from trialkit.record.chain import Event
from trialkit.record.kinds import EvidenceBuilt, ReportRendered, TelemetrySealed
from trialkit.record.storage import storage_guard
from trialkit.report.render import find_run, locked_plan
from trialkit.study import Study
from trialkit.study.commands import command

LEVEL = 3  # of compression in the zip
MEANING = "evidence package: complete and as recorded"
README = """Evidence package of study {study}

record/events.jsonl   every event: its text and its hash, each chained to the one before
protocols/            the protocols, as pinned by the first event
design.yaml           visits, diaries and instruments, as pinned by the first event
plan/                 the analysis plan, and its lock with two signatures
snapshot/             the tables that were analysed (Parquet)
results/              one row a statistic, each with an id
reports/              what people read, and the facts that it was rendered with
{telemetry}environment.json      interpreter, platform and every installed package
manifest.json         SHA-256 of every file, and the head of the record
manifest.sig.json     the Ed25519 signature over the manifest

To verify, offline, with Python 3.8 or later and nothing else:

    python verify.py

It names every file and event that was altered, added, removed or reordered, and leaves with
status 4 if there is one. Compare the key's fingerprint with the one that the signer told you on
another way, or give it with --key. A package can bring a changed verify.py with it: use a copy of
your own, from an installation of trialkit {version} (`trialkit evidence verify PACKAGE`).

To walk from a printed number to its origin: `trialkit trace RESULT_ID --package PACKAGE`.
"""


def environment() -> dict[str, Any]:
    """Return interpreter, platform and every installed package with its version."""
    packages = {
        str(dist.metadata["Name"]).lower().replace("_", "-"): dist.version
        for dist in importlib.metadata.distributions()
        if dist.metadata["Name"]
    }
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "byteorder": sys.byteorder,
        "trialkit": __version__,
        "packages": dict(sorted(packages.items())),
    }


@command("build_evidence", atomic=False)
def build_evidence(study: Study, out: Path | str, *, telemetry: bool = False) -> Path:
    """Write an evidence package: the folder `out` and a zip of it beside it.

    The key of the person who acts signs the manifest.

    Parameters
    ----------
    study : Study
        Open for writing, with a locked plan, an analysis and a rendered report of it.
    out : Path
        A folder that is not there yet; the zip is ``<out>.zip``.
    telemetry : bool
        Put the sealed telemetry inside; otherwise only its hashes are (in the record).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    Duplicate
        If the folder or the zip is there.
    OutOfOrder
        If nothing was analysed, or no report of the last analysis was rendered.
    NotPermitted
        If the person who acts may not build evidence.
    StorageRefused
        If the disk is full or read-only; nothing half-written is left.
    """
    folder = Path(out)
    archive = folder.with_name(f"{folder.name}.zip")
    study.check_whole()
    for there in (folder, archive):
        if there.exists():
            raise Duplicate(f"{there} is there.", remedy="Give another name, or move it away.")
    staged = folder.with_name(f".{folder.name}.tmp")
    with storage_guard(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        try:
            staged.mkdir()
            manifest = _fill(study, staged, telemetry=telemetry)
            digest, fingerprint = _sign(study, staged, manifest)
            write_zip(staged, archive)
            staged.rename(folder)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            archive.unlink(missing_ok=True)
            raise
        sync_folder(folder.parent)
    study.append(EvidenceBuilt(manifest=digest, fingerprint=fingerprint))
    return folder


def _fill(study: Study, staged: Path, *, telemetry: bool) -> dict[str, Any]:
    """Copy every part into the folder and return the manifest."""
    run = find_run(study)
    reports = _reports(study, run)
    (staged / "record").mkdir()
    with study.batch():  # nobody writes between the export and its head
        study.record.export(staged / "record" / "events.jsonl")
        seq, head = study.record.head
    lock, plan = locked_plan(study, run)
    parts = [
        (study.folder / "design.yaml", "design.yaml"),
        *((p, f"protocols/{p.name}") for p in _files(study.folder / "protocols")),
        (plan, f"plan/{plan.name}"),
        *_under(_snapshot(study, run), "snapshot"),
        *_under(study.folder / run.payload["folder"], "results"),
        *((path, f"reports/{path.name}") for path in reports),
        *(_under(study.folder / "import", "import") if (study.folder / "import").is_dir() else []),
        *(_telemetry(study) if telemetry else []),
    ]
    for source, name in parts:
        target = staged / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    locked = {"seq": lock.seq, "at": lock.at, "hash": lock.hash, "payload": lock.payload}
    _write(staged / "plan" / "lock.json", canonical_json(locked) + "\n")
    _write(staged / "environment.json", canonical_json(environment()) + "\n")
    text = README.format(
        study=study.state.study_id,
        version=__version__,
        telemetry="telemetry/            the sealed telemetry of the sessions\n"
        if telemetry
        else "",
    )
    _write(staged / "README.txt", text)
    shutil.copyfile(Path(str(shipped.__file__)), staged / "verify.py")
    last = next(iter(study.record.read(after=seq - 1)))
    return {
        "format": shipped.FORMAT,
        "study": {"id": study.state.study_id, "title": study.state.title},
        "at": last.at,
        "software": f"trialkit {__version__}",
        "record": {"events": seq, "head": head},
        "plan": {"file": f"plan/{plan.name}", "lock": lock.payload["lock"], "seq": lock.seq},
        "snapshot": run.payload["snapshot"],
        "results": run.payload["results"],
        "telemetry": telemetry,
        "files": {
            path.relative_to(staged).as_posix(): {
                "sha256": sha256_file(path),
                "bytes": path.stat().st_size,
                "deflated": sha256_bytes(_deflated(path)),
            }
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        },
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, text.encode())


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def _under(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, f"{name}/{path.relative_to(folder).as_posix()}"


def _snapshot(study: Study, run: Event) -> Path:
    """Return the folder of the snapshot that was analysed, with every hash checked."""
    from trialkit.data.snapshot import Snapshot

    for event in study.record.read(kinds=["snapshot.built"]):
        if event.payload["snapshot"] == run.payload["snapshot"]:
            return Snapshot.open(study.folder / event.payload["folder"]).folder
    raise OutOfOrder(
        "the record names no snapshot of the analysis.", remedy="Build it and analyse again."
    )


def _reports(study: Study, run: Event) -> list[Path]:
    """Return the files of the reports that were rendered last from these results."""
    last: dict[str, tuple[str, str]] = {}
    for event in study.record.read(kinds=[ReportRendered.kind]):
        for name, digest in event.payload["files"].items():
            last[name] = (digest, event.payload["results"])
    names = [n for n, (_, results) in last.items() if results == run.payload["results"]]
    if not names:
        raise OutOfOrder(
            "no report of the last analysis was rendered.",
            remedy="Run `trialkit report --study FOLDER` first.",
        )
    paths = [study.folder / "reports" / name for name in sorted(names)]
    for path in paths:
        if not path.is_file() or sha256_file(path) != last[path.name][0]:
            raise OutOfOrder(
                f"{path} is not the file that was rendered.", remedy="Render the report again."
            )
    return paths


def _telemetry(study: Study) -> Iterator[tuple[Path, str]]:
    for event in study.record.read(kinds=[TelemetrySealed.kind]):
        folder = str(event.payload["folder"])
        names = ["manifest.json", *(one["name"] for one in event.payload["files"])]
        for name in names:
            yield study.folder / folder / name, f"{folder.rstrip('/')}/{name}"


def _sign(study: Study, staged: Path, manifest: dict[str, Any]) -> tuple[str, str]:
    data = (canonical_json(manifest) + "\n").encode()
    digest = sha256_bytes(data)
    name = study.state.users[study.actor].name
    signature = study.keys.sign(study.actor, name, MEANING, digest)
    write_durably(staged / shipped.MANIFEST, data)
    text = canonical_json({**signature.model_dump(), "digest": digest}) + "\n"
    write_durably(staged / shipped.SIGNATURE, text.encode())
    return digest, signature.fingerprint


def _deflated(path: Path) -> bytes:
    """Return a file as it is compressed in the zip: the manifest covers those bytes too."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -15)
    return packer.compress(path.read_bytes()) + packer.flush()


def write_zip(folder: Path, archive: Path) -> None:
    """Write a folder as a zip whose bytes depend on nothing but its files.

    Manifest and signature are stored as they are; every other file is deflated, and the
    manifest holds the SHA-256 of the deflated bytes: different ones can give the same file.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                apart = info.filename in shipped.APART
                info.create_system = 3
                info.external_attr = 0o100644 << 16
                kind = zipfile.ZIP_STORED if apart else zipfile.ZIP_DEFLATED
                target.writestr(info, path.read_bytes(), kind, LEVEL)
