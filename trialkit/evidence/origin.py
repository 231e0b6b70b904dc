"""`trace`: from a printed number to its analysis, plan, lock, snapshot, rows and events."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from trialkit.errors import OutOfOrder, PackageAltered
from trialkit.evidence import verify as shipped
from trialkit.plan import Plan, load_plan
from trialkit.record.chain import Event
from trialkit.record.events import read_export
from trialkit.record.kinds import Signature
from trialkit.record.received import expanded
from trialkit.record.sign import verify as verify_signature
from trialkit.results import Results
from trialkit.study import Study

FIRST = 5
_SOURCES: dict[str, tuple[str, ...]] = {
    "ADSL": ("participant.enrolled", "participant.consented", "participant.excluded",
             "participant.randomised", "participant.withdrawn",
             "participant.training_discontinued"),
    "ADEX": ("session.closed", "session.conventional", "session.missed"),
    "ADAE": ("ae.reported", "ae.updated"),
    "ADTTE": ("diary.returned", "diary.corrected", "participant.withdrawn"),
    "ADFT": ("assessment.recorded", "assessment.corrected"),
    "ADQS": ("assessment.recorded", "assessment.corrected"),
}  # fmt: skip
_TABLES = {"baseline": "ADSL", "flow": "ADSL", "disposition": "ADSL", "exposure": "ADEX",
           "adverse_events": "ADAE"}  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """Where a number comes from.

    Attributes
    ----------
    result : dict
        The row of the results table, and the hash of the results.
    analysis, estimand : dict
        What the plan says.
    plan : dict
        Id, version, hash of the file, lock, event and time of the lock, signatures.
    snapshot : dict
        Its hash, the frame, the rows and participants used, the first of them.
    events : list of dict
        Per kind: number, first and last seq, about those participants.
    head : dict
        Number and hash of the last event; the event of the analysis.
    """

    result: dict[str, Any]
    analysis: dict[str, Any]
    estimand: dict[str, Any]
    plan: dict[str, Any]
    snapshot: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    head: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the trace as text, from the number down to the record."""
        return "\n".join(_text(self))

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"


@dataclass(frozen=True)
class _Place:
    """Where the parts are, in a study or in an unpacked package."""

    results: Path
    plan: Path
    snapshot: Path
    events: list[Event]
    run: Event
    lock: Event


def trace(source: Study | Path | str, result_id: str) -> Trace:
    """Walk from a result to where it comes from.

    Parameters
    ----------
    source : Study or Path
        A study, or an evidence package (folder or zip).
    result_id : str
        Zero-width spaces, which a PDF has inside long ids, are dropped.

    Raises
    ------
    NotPermitted
        If the source is a study, and the person may not render its reports.
    UnknownName
        If there is no such result; the nearest ids are named.
    OutOfOrder
        If nothing was analysed yet.
    PackageAltered
        If the package is not intact.
    """
    wanted = result_id.replace("\u200b", "").strip()
    with _place(source) as place:
        results = Results.load(place.results, expected=str(place.run.payload["results"]))
        row = results.get(wanted)
        plan = load_plan(place.plan)
        analysis, estimand = _registered(plan, str(row["analysis"]))
        snapshot, subjects, kinds = _rows(place, plan, row)
        return Trace(
            result={**{str(k): _plain(v) for k, v in row.items()}, "results": results.hash},
            analysis=analysis,
            estimand=estimand,
            plan=_plan(plan, place.lock),
            snapshot=snapshot,
            events=_events(place.events, kinds, subjects, snapshot["where"].get("PARAMCD")),
            head={
                "seq": place.events[-1].seq,
                "hash": place.events[-1].hash,
                "analysis_seq": place.run.seq,
                "analysis_hash": place.run.hash,
                "analysed_at": place.run.at,
                "analysed_by": place.run.actor,
            },
        )


@contextmanager
def _place(source: Study | Path | str) -> Iterator[_Place]:
    if isinstance(source, Study):
        source.require("report", command="trace")
        yield _study_place(source)
        return
    report = shipped.verify(source)
    if report.faults:
        raise PackageAltered(
            f"{source} is not intact: {report.faults[0].where}: {report.faults[0].message}.",
            remedy="Run `trialkit evidence verify` on it, and ask the signer for it again.",
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(source)
        if not folder.is_dir():
            with zipfile.ZipFile(source) as archive:
                archive.extractall(temporary)
            folder = Path(temporary)
        events = list(expanded(read_export(folder / "record" / "events.jsonl")))
        run, lock = _run_and_lock(events)
        manifest = json.loads((folder / shipped.MANIFEST).read_text(encoding="utf-8"))
        yield _Place(
            folder / "results", folder / manifest["plan"]["file"], folder / "snapshot",
            events, run, lock,
        )  # fmt: skip


def _study_place(study: Study) -> _Place:
    from trialkit.report.render import locked_plan

    events = list(expanded(study.record.read()))
    run, _ = _run_and_lock(events)
    lock, plan = locked_plan(study, run)
    built = [
        e
        for e in events
        if e.kind == "snapshot.built" and e.payload["snapshot"] == run.payload["snapshot"]
    ]
    return _Place(
        study.folder / run.payload["folder"],
        plan,
        study.folder / built[-1].payload["folder"],
        events,
        run,
        lock,
    )


def _run_and_lock(events: list[Event]) -> tuple[Event, Event]:
    run = next((e for e in reversed(events) if e.kind == "analysis.run"), None)
    if run is None:
        raise OutOfOrder("nothing was analysed yet.", remedy="Run `trialkit analyse` first.")
    wanted = run.payload["plan_lock"]
    lock = next(
        e for e in reversed(events) if e.kind == "plan.locked" and e.payload["lock"] == wanted
    )
    return run, lock


def _registered(plan: Plan, code: str) -> tuple[dict[str, Any], dict[str, Any]]:
    analysis = plan.analysis(code)
    if analysis is not None:
        estimand = plan.estimand(analysis.estimand)
        said = estimand.model_dump(mode="json") if estimand is not None else {}
        return analysis.model_dump(mode="json"), said
    table = next((t for t in plan.tables if t.id == code), None)
    return (table.model_dump(mode="json") if table is not None else {}), {}


def _plan(plan: Plan, lock: Event) -> dict[str, Any]:
    payload = lock.payload
    signatures = []
    for one in payload["signatures"]:
        good = verify_signature(Signature.model_validate(one), payload["lock"])
        signatures.append(
            {k: one[k] for k in ("signer", "name", "meaning", "fingerprint")} | {"valid": good}
        )
    return {
        "id": plan.id,
        "version": plan.version,
        "sha256": payload["plan"],
        "lock": payload["lock"],
        "locked_seq": lock.seq,
        "locked_at": lock.at,
        "methods": payload["methods"],
        "schemas": payload["schemas"],
        "signatures": signatures,
    }


def _rows(place: _Place, plan: Plan, row: pd.Series[Any]) -> tuple[dict[str, Any], set[str], str]:
    """Return the snapshot's part of a trace, the participants used, and the frame's name."""
    from trialkit.analysis.prepare import prepare
    from trialkit.data.snapshot import Snapshot

    snapshot = Snapshot.open(place.snapshot)
    code = str(row["analysis"])
    analysis = plan.analysis(code)
    if analysis is not None:
        frame, filters = analysis.dataset, dict(analysis.where)
        prepared = prepare(plan, analysis, snapshot.frames)
        used = prepared.frame[prepared.used]
        arms = used[prepared.variable].astype(str)
    else:
        kind = next((t.kind for t in plan.tables if t.id == code), "baseline")
        frame, filters = _TABLES[kind], {}
        used = snapshot.frames[frame]
        adsl = snapshot.frames["ADSL"].set_index("USUBJID")
        arms = used["USUBJID"].map(adsl[plan.treatment.variable]).astype(str)
    if isinstance(row["group"], str) and not isinstance(row["reference"], str):
        used, filters = used[arms == row["group"]], {**filters, "group": row["group"]}
    subjects = sorted(set(used["USUBJID"]))
    about = {
        "hash": snapshot.hash,
        "upto_seq": snapshot.upto_seq,
        "frame": frame,
        "where": filters,
        "population": _plain(row["population"]),
        "rows": len(used),
        "participants": len(subjects),
        "first": subjects[:FIRST],
    }
    return about, set(subjects), frame


def _events(
    events: list[Event], frame: str, subjects: set[str], paramcd: str | None
) -> list[dict[str, Any]]:
    """Return the events that the rows come from, by kind; assessments only of that PARAMCD."""
    kinds = _SOURCES.get(frame, ("diary.returned", "diary.corrected"))
    out = []
    for kind in kinds:
        seqs = [
            e.seq
            for e in events
            if e.kind == kind
            and e.subject in subjects
            and (paramcd is None or paramcd in e.payload.get("scores", {paramcd: None}))
        ]
        if seqs:
            out.append({"kind": kind, "count": len(seqs), "first": seqs[0], "last": seqs[-1]})
    return out


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def _text(found: Trace) -> Iterator[str]:
    row, plan, snapshot, head = found.result, found.plan, found.snapshot, found.head
    said = row["value"] if row["value"] is not None else row["text"] or f"failed: {row['reason']}"
    unit = f" {row['unit']}" if row["unit"] else ""
    yield f"{row['id']} = {said}{unit}"
    yield f"results    {row['results']}"
    yield f"analysis   {row['analysis']}: {row['label']} ({row['role']})"
    yield f"method     {row['method']}{': ' + row['variant'] if row['variant'] else ''}"
    if found.analysis.get("formula"):
        yield f"formula    {found.analysis['formula']}"
    if found.estimand:
        yield f"estimand   {found.estimand['id']}: {found.estimand['summary']}"
    yield f"plan       {plan['id']} {plan['version']}, SHA-256 {plan['sha256']}"
    yield f"lock       {plan['lock']} (event {plan['locked_seq']}, {plan['locked_at']})"
    for one in plan["signatures"]:
        mark = "valid" if one["valid"] else "NOT VALID"
        yield f"  signed   {one['name']}, {one['meaning']}, key {one['fingerprint']}: {mark}"
    where = ", ".join(f"{k} = {v}" for k, v in snapshot["where"].items())
    yield f"snapshot   {snapshot['hash']} (record up to event {snapshot['upto_seq']})"
    filters = f" where {where}" if where else ""
    yield f"rows       {snapshot['rows']} of {snapshot['frame']}{filters}"
    shown = ", ".join(snapshot["first"])
    more = ", ..." if snapshot["participants"] > len(snapshot["first"]) else ""
    yield f"people     {snapshot['participants']}: {shown}{more}"
    for one in found.events:
        yield f"events     {one['count']} {one['kind']}, from {one['first']} to {one['last']}"
    yield (
        f"analysed   event {head['analysis_seq']} by {head['analysed_by']} at {head['analysed_at']}"
    )
    yield f"head       event {head['seq']}, {head['hash']}"
