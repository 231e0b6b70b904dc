"""`render_report`: from results to HTML, PDF and DOCX, by Quarto or the embedded renderer.

The time in the files is that of the analysis (or ``SOURCE_DATE_EPOCH``), and the record head
that is printed is the event of the analysis, with the newest Merkle head before it, so the same
results give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trialkit import __version__
from trialkit._canonical import canonical_json, sha256_file, write_durably
from trialkit._content import find_content
from trialkit.errors import (
    Finding,
    IntegrityError,
    MissingTool,
    NotLocked,
    OutOfOrder,
    ReportFindings,
    UnknownName,
    UsageError,
)
from trialkit.record.chain import Event
from trialkit.record.heads import heads_of
from trialkit.record.kinds import (
    AllocationRevealed,
    AnalysisRun,
    PlanLocked,
    ReportRendered,
    SignatureApplied,
    UnblindedOne,
    UnblindingRequested,
)
from trialkit.record.state import StudyState
from trialkit.record.verification import head_facts
from trialkit.results import Results
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.holds import lock_text

FORMATS = ("html", "pdf", "docx")
Engine = Literal["auto", "quarto", "embedded"]


@command("report", atomic=False)
def render_report(
    study: Study,
    template: str | Path = "primary",
    *,
    results: Results | str | Path | None = None,
    formats: Iterable[str] = FORMATS,
    out: Path | str | None = None,
    engine: Engine = "auto",
) -> dict[str, Path]:
    """Render a report of a study and note it in the record.

    Parameters
    ----------
    study : Study
        Open for writing.
    template : str or Path
        Name of a shipped template or a ``.qmd`` file.
    results : Results or str or None
        Results or the beginning of their hash; None takes the last analysis.
    formats : iterable of {"html", "pdf", "docx"}
    out : Path or None
        Folder for a copy of the files; they are kept in ``<study>/reports/`` in any case.
    engine : {"auto", "quarto", "embedded"}
        ``auto`` takes Quarto where it is on PATH.

    Returns
    -------
    dict of str to Path
        Format to file.

    Raises
    ------
    OutOfOrder
        If nothing was analysed yet.
    ReportFindings
        If the template, a cell, a figure or a count is not as it must be.
    MissingTool
        If Quarto was asked for and is not there.
    """
    wanted = _formats(formats)
    study.check_whole()
    run = find_run(study, results)
    source = find_content("reports", template)
    chosen = _engine(engine)
    with tempfile.TemporaryDirectory(prefix="trialkit-report-") as temporary:
        work = Path(temporary)
        parameters = _inputs(study, run, work)
        made = _render(chosen, source, parameters, work, wanted, _epoch(run))
        kept = _keep(study, made, work, Path(source).stem)
    study.append(
        ReportRendered(
            template=Path(source).name,
            template_sha256=sha256_file(source),
            results=run.payload["results"],
            renderer=f"{chosen} (trialkit {__version__})",
            files={path.name: sha256_file(path) for path in sorted(kept.values())},
        )
    )
    del kept["context"]
    if out is None:
        return kept
    Path(out).mkdir(parents=True, exist_ok=True)
    return {k: Path(shutil.copyfile(p, Path(out) / p.name)) for k, p in kept.items()}


def _formats(formats: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(formats))
    unknown = [f for f in wanted if f not in FORMATS]
    if unknown or not wanted:
        raise UsageError(
            f"no format {', '.join(unknown) or 'was given'}.", remedy=f"Use {', '.join(FORMATS)}."
        )
    return wanted


def find_run(study: Study, results: Results | str | Path | None = None) -> Event:
    """Return the event of the analysis whose results are meant; the last one by default.

    Raises
    ------
    OutOfOrder
        If nothing was analysed yet.
    UnknownName
        If no analysis gave such results.
    """
    runs = list(study.record.read(kinds=[AnalysisRun.kind]))
    if not runs:
        raise OutOfOrder(
            "nothing was analysed yet.", remedy="Run `trialkit analyse --study FOLDER` first."
        )
    if results is None:
        return runs[-1]
    digest = results.hash if isinstance(results, Results) else Path(results).name
    for run in reversed(runs):
        if digest and str(run.payload["results"]).startswith(digest):
            return run
    known = ", ".join(str(r.payload["results"])[:12] for r in runs)
    raise UnknownName(f"no analysis gave the results {digest}.", remedy=f"Known: {known}.")


def locked_plan(study: Study, run: Event) -> tuple[Event, Path]:
    """Return the lock of an analysis and the file of the plan that it pins.

    Raises
    ------
    NotLocked
        If the record holds no such lock.
    IntegrityError
        If no file in the study has the locked hash.
    """
    locks = [
        e
        for e in study.record.read(kinds=[PlanLocked.kind])
        if e.payload["lock"] == run.payload["plan_lock"]
    ]
    if not locks:
        raise NotLocked("the analysis names no lock of this record.", remedy="Analyse again.")
    wanted = locks[-1].payload["plan"]
    for path in sorted((study.folder / "plans").rglob("*")):
        if path.is_file() and sha256_file(path) == wanted:
            return locks[-1], path
    raise IntegrityError(
        f"no file in {study.folder / 'plans'} has the hash of the locked plan.",
        remedy="Restore the plan from a copy.",
    )


def _inputs(study: Study, run: Event, work: Path) -> dict[str, str]:
    """Copy what the cells read into the working folder and return the parameters."""
    results = Results.load(
        study.folder / run.payload["folder"], expected=str(run.payload["results"])
    )
    results.save(work / "results")
    lock, plan = locked_plan(study, run)
    shutil.copyfile(plan, work / "plan.sap.yaml")
    context = {
        "study_id": study.state.study_id,
        "title": study.state.title,
        "plan": lock.payload["plan"],
        "lock": {
            "lock": lock.payload["lock"],
            "at": lock.at,
            "seq": lock.seq,
            "signatures": lock.payload["signatures"],
        },
        "snapshot": run.payload["snapshot"],
        "results": run.payload["results"],
        "record": {"seq": run.seq, "hash": run.hash, "at": run.at},
        "head": _head(study, run),
        "data": _data_lock(study, run),
        "blinding": _blinding(study, run),
        "signatures": _signatures(study, run),
        "software": _software(results.meta.get("software")),
    }
    (work / "context.json").write_text(canonical_json(context) + "\n", encoding="utf-8")
    return {"results": "results", "plan": "plan.sap.yaml", "context": "context.json"}


def _blinding(study: Study, run: Event) -> dict[str, Any]:
    """Return when the allocation was revealed, and whose arm was told before in an emergency."""
    kinds = [AllocationRevealed.kind, UnblindingRequested.kind, UnblindedOne.kind]
    events = [event for event in study.record.read(kinds) if event.seq < run.seq]
    asked = {e.payload["request"]: e for e in events if e.kind == UnblindingRequested.kind}
    told = [(e, asked[e.payload["request"]]) for e in events if e.kind == UnblindedOne.kind]
    return {
        "revealed": next((e.at for e in events if e.kind == AllocationRevealed.kind), None),
        "told": [
            {
                "usubjid": event.subject,
                "at": event.at,
                "asked": request.actor,
                "agreed": event.actor,
                "reason": request.reason,
            }
            for event, request in told
        ],
    }


def _signatures(study: Study, run: Event) -> list[dict[str, str]]:
    """Return the electronic signatures of the plan and of snapshots before the analysis."""
    return [
        {name: str(event.payload[name]) for name in ("what", "name", "at", "meaning")}
        for event in study.record.read([SignatureApplied.kind])
        if event.seq < run.seq and str(event.payload["what"]).startswith(("plan", "snapshot:"))
    ]


def _head(study: Study, run: Event) -> dict[str, Any] | None:
    """Return the newest Merkle head before the analysis, as it is printed."""
    before = [head for seq, head in heads_of(study.record) if seq < run.seq]
    return head_facts(before[-1]) if before else None


def _data_lock(study: Study, run: Event) -> str:
    """Return in words whether the data were locked at the analysis."""
    kinds = ("data.frozen", "data.released", "data.locked", "data.unlocked")
    events = study.record.read(kinds=kinds)
    return lock_text(StudyState(event for event in events if event.seq < run.seq))


def _software(made_by: Any) -> str:
    """Return what made the results, in words."""
    if isinstance(made_by, Mapping):
        return ", ".join(f"{name} {version}" for name, version in made_by.items())
    return str(made_by or f"trialkit {__version__}")


def _epoch(run: Event) -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(given) if given.isdigit() else int(datetime.fromisoformat(run.at).timestamp())


def _engine(engine: str) -> str:
    there = shutil.which("quarto") is not None
    if engine == "quarto" and not there:
        raise MissingTool(
            "quarto is not on PATH.", remedy="Install Quarto, or use --engine embedded."
        )
    if engine not in {"auto", "quarto", "embedded"}:
        raise UsageError(f"no engine {engine!r}.", remedy="Use auto, quarto or embedded.")
    return "quarto" if engine == "quarto" or (engine == "auto" and there) else "embedded"


def _render(
    engine: str,
    source: Path,
    parameters: Mapping[str, str],
    work: Path,
    formats: list[str],
    epoch: int,
) -> dict[str, Path]:
    if engine == "quarto":
        from trialkit.report.quarto import render_quarto

        made = render_quarto(source, parameters, work, formats, epoch)
    else:
        made = render_embedded(source, parameters, work, formats, epoch)
    _check_outputs(made)
    return made


def render_embedded(
    source: Path, parameters: Mapping[str, str], work: Path, formats: Iterable[str], epoch: int
) -> dict[str, Path]:
    """Render a ``.qmd`` with the embedded renderer.

    Parameters
    ----------
    source : Path
    parameters : mapping
        Values for the cell tagged ``parameters``.
    work : Path
        The folder in which cells run; files are written there.
    formats : iterable of {"html", "pdf", "docx"}
    epoch : int
        Seconds since 1970 that the files carry as their time.

    Raises
    ------
    ReportFindings
        For whatever is unsupported, unresolved, failed or empty.
    """
    from trialkit.report.embedded.document import check_images, read_markdown, resolve
    from trialkit.report.embedded.execute import execute
    from trialkit.report.embedded.qmd import read_qmd
    from trialkit.report.embedded.writers import WRITERS, Job

    document = read_qmd(source)
    text = execute(document, parameters, work)
    tree = read_markdown(text, folder=work, epoch=epoch)
    numbered = bool(document.meta.get("number-sections", False))
    tree = resolve(tree, number_sections=numbered)
    check_images(tree, work)
    job = Job(document, tree, work, epoch)
    made = {}
    for name in formats:
        made[name] = work / f"{source.stem}.{name}"
        WRITERS[name](job, made[name])
    return made


_MAGIC = {"html": b"<!", "pdf": b"%PDF-", "docx": b"PK\x03\x04"}


def _check_outputs(made: Mapping[str, Path]) -> None:
    """Refuse a file that is absent or not of its kind, or a page that shows a failed cell."""
    findings = []
    for name, path in made.items():
        data = path.read_bytes() if path.is_file() else b""
        if not data.lstrip().startswith(_MAGIC[name]):
            findings.append(Finding(path.name, f"is no {name} file.", "Report this defect."))
        if name == "html" and b"cell-output-error" in data:
            findings.append(Finding(path.name, "shows a failed cell.", "Mend the template."))
    if findings:
        raise ReportFindings("the renderer did not write what it should.", findings)


def _keep(study: Study, made: Mapping[str, Path], work: Path, stem: str) -> dict[str, Path]:
    folder = study.folder / "reports"
    folder.mkdir(exist_ok=True)
    kept = {}
    for name, path in {**made, "context": work / "context.json"}.items():
        kept[name] = folder / (f"{stem}.context.json" if name == "context" else path.name)
        write_durably(kept[name], path.read_bytes())
    return kept
