"""From a study to stored results: refuses unless plan, lock, snapshot and versions fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trialkit
from data_schemas import VERSIONS
from trialkit._canonical import sha256_file
from trialkit.analysis.run import run_plan
from trialkit.data import Snapshot, build_snapshot
from trialkit.errors import LockMismatch, NotPermitted, UnknownName
from trialkit.plan import load_plan, require_lock
from trialkit.record.kinds import AnalysisRun, PlanLocked, SnapshotBuilt
from trialkit.results import Results
from trialkit.study import Study
from trialkit.study.commands import command

FOLDER = "results"


@command("analyse", atomic=False)
def analyse(
    study: Study,
    *,
    snapshot: Snapshot | str | Path | None = None,
    plan: str | Path | None = None,
) -> Results:
    """Run the locked plan of a study and store the results.

    Parameters
    ----------
    study : Study
        Open for writing.
    snapshot : Snapshot, path, hash or None
        An unblinded snapshot of this study; None builds it from the record as it is.
    plan : path or None
        A plan file that must be the locked one; None takes the study's own.

    Returns
    -------
    Results
        Also in ``results/<first 12 digits of their hash>/``, with an ``analysis.run`` event.

    Raises
    ------
    NotPermitted
        If the role may not analyse (or, where a snapshot is built, not unblind).
    NotLocked, LockMismatch
        If no plan is locked, or plan, methods, schemas or snapshot moved since.
    SnapshotAltered
        If a file of the snapshot was changed.
    """
    study.check_whole()
    lock = require_lock(study, plan)
    file = Path(plan) if plan is not None else _locked_file(study, lock)
    taken = _snapshot(study, snapshot)
    _fits(study, taken, lock)
    results = run_plan(load_plan(file), taken.frames, meta=_meta(study, lock, taken))
    folder = study.folder / FOLDER / results.hash[:12]
    results.save(folder)
    run = AnalysisRun(
        results=results.hash,
        folder=folder.relative_to(study.folder).as_posix(),
        plan_lock=lock.lock,
        snapshot=taken.hash,
    )
    done = (event.payload for event in study.record.read(kinds=[AnalysisRun.kind]))
    if run.model_dump() not in list(done):
        study.append(run)
    return results


def _locked_file(study: Study, lock: PlanLocked) -> Path:
    """Return the study's file that has the locked hash."""
    for path in (study.folder / lock.file, study.plan_file):
        if path is not None and path.is_file() and sha256_file(path) == lock.plan:
            return path
    raise LockMismatch(
        f"the locked plan {lock.file} is not in the study, or was changed.",
        remedy="Restore the file with the locked hash, or lock the new plan.",
    )


def _snapshot(study: Study, given: Snapshot | str | Path | None) -> Snapshot:
    if given is None:
        return build_snapshot(study, unblind=True)
    if isinstance(given, Snapshot):
        return Snapshot.open(given.folder)  # its hashes are checked now, not when it was opened
    path = Path(given)
    if path.is_dir():
        return Snapshot.open(path)
    folder = study.folder / "snapshots" / str(given)[:12]
    if not folder.is_dir():
        raise UnknownName(
            f"no snapshot {given}.", remedy="Give a folder, or a hash under snapshots/."
        )
    return Snapshot.open(folder)


def _fits(study: Study, snapshot: Snapshot, lock: PlanLocked) -> None:
    if not snapshot.unblinded:
        raise NotPermitted(
            "the snapshot is blinded, so no comparison can be made.",
            remedy="Build it unblinded: `trialkit snapshot --unblind`.",
        )
    built = {event.payload["snapshot"] for event in study.record.read(kinds=[SnapshotBuilt.kind])}
    if snapshot.hash not in built:
        raise LockMismatch(
            f"snapshot {snapshot.hash[:12]} is not one of this study's.",
            remedy="Use a snapshot that the record names, or build one.",
        )
    made = snapshot.manifest.get("schemas", {})
    moved = sorted(n for n in made if n in lock.schemas and made[n] != lock.schemas[n])
    if moved:
        raise LockMismatch(
            f"the snapshot was made with other schemas than were locked: {', '.join(moved)}.",
            remedy="Build the snapshot again with the locked version of trialkit.",
        )


def _meta(study: Study, lock: PlanLocked, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "study": study.state.study_id,
        "plan": {"hash": lock.plan, "file": lock.file},
        "lock": lock.lock,
        "snapshot": snapshot.hash,
        "methods": dict(lock.methods),
        "schemas": dict(VERSIONS),
        "software": f"trialkit {trialkit.__version__}",
    }
