"""Import: a statistician's tidy table becomes an ordinary study, event by event."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, time
from pathlib import Path

from trialkit import participants
from trialkit._canonical import sha256_file, write_durably
from trialkit._clock import SimulatedClock
from trialkit.errors import MappingFindings
from trialkit.exchange.mapping import MappedVisit, Mapping, load_mapping
from trialkit.exchange.table import ImportedPerson, Reader
from trialkit.record import KeyStore
from trialkit.record.kinds import DataImported
from trialkit.study import Study


def import_table(
    mapping_path: str | Path,
    data_path: str | Path,
    folder: str | Path,
    *,
    actor: str,
    plan: str | Path | None = None,
    keys: KeyStore | None = None,
) -> Study:
    """Make a study from a table in long format and open it for writing.

    Everything enters as events through the participants' calls: enrolment, assessments at
    baseline and at visits, diaries, and the known arm, which goes into the allocation store
    with a commitment in the record. So lock, snapshot, analysis and evidence work as for a
    trial of our own.

    Parameters
    ----------
    mapping_path : path
        The mapping (YAML), stored in the study as ``import/mapping.yaml``.
    data_path : path
        CSV in UTF-8 with a header, perhaps gzipped; only its hash is stored.
    folder : path
        New folder of the study.
    actor : str
        Who imports; becomes the owner.
    plan : path or None
        The statistical analysis plan.

    Raises
    ------
    MappingFindings
        With every fault of mapping and table, each with its line; nothing is created.
    PlanFindings
        If the plan has faults; nothing is created.
    Duplicate
        If the folder is not empty.
    StorageRefused
        If the disk is full or read-only; nothing is left behind.
    """
    mapping_path, data_path, folder = Path(mapping_path), Path(data_path), Path(folder)
    mapping, lines = load_mapping(mapping_path)
    table = Reader(mapping, lines, data_path)
    if table.findings:
        raise MappingFindings(
            f"{data_path.name} does not fit {mapping_path.name}; nothing was imported.",
            table.findings,
            remedy="Mend the table or the mapping and import again.",
        )
    if plan is not None:
        from trialkit.plan import load_plan

        load_plan(Path(plan))
    moment = datetime.combine(mapping.study.date, time(), tzinfo=UTC)
    study = Study.create(
        folder,
        actor=actor,
        plan=plan,
        design=mapping.design(table.last_day),
        study_id=mapping.study.id,
        title=mapping.study.title,
        clock=SimulatedClock(moment),
        keys=keys,
    )
    try:
        (folder / "import").mkdir()
        write_durably(folder / "import" / "mapping.yaml", mapping_path.read_bytes())
        with study.batch():
            study.append(
                DataImported(
                    file=data_path.name,
                    file_sha256=sha256_file(data_path),
                    mapping_sha256=sha256_file(mapping_path),
                    rows=table.rows,
                    participants=len(table.people),
                )
            )
            for person in table.people.values():
                _enter(study, mapping, person)
    except BaseException:
        study.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    study.close()
    return Study.open(folder, actor=actor, keys=keys)


def _enter(study: Study, mapping: Mapping, person: ImportedPerson) -> None:
    """Enter one participant: baseline, arm, visits in their order, intervals at risk."""
    usubjid = f"{mapping.study.id}-{person.subject}"
    known = {name: value for name, value in person.attributes.items() if value is not None}
    participants.enrol(study, usubjid, site=person.site, attributes=known)
    visits = mapping.assessments.visits if mapping.assessments else []
    for visit in (v for v in visits if v.baseline):
        _enter_visit(study, mapping, person, usubjid, visit.code)
    participants.allocate_known(study, usubjid, arm=person.arm, strata=person.strata)
    for visit in sorted((v for v in visits if not v.baseline), key=lambda v: v.day):
        _enter_visit(study, mapping, person, usubjid, visit.code)
    for period in person.periods:
        participants.return_diary(
            study,
            usubjid,
            diary=mapping.recurrent.paramcd if mapping.recurrent else "",
            from_day=period.from_day,
            to_day=period.to_day,
            entries=[{"day": period.to_day, "grade": None}] if period.event else [],
        )


def _enter_visit(
    study: Study, mapping: Mapping, person: ImportedPerson, usubjid: str, code: str
) -> None:
    held = person.visits.get(code)
    missed = mapping.assessments.missed_code if mapping.assessments else ""
    if held is None:
        participants.miss_visit(study, usubjid, code, code=missed)
        return
    participants.hold_visit(
        study, usubjid, code, day=held.day, reason=_out_of_window(held.day, held.visit)
    )
    for instrument, value in held.values.items():
        participants.assess(
            study, usubjid, visit=code, instrument=instrument, items={"VALUE": value}
        )


def _out_of_window(day: int, visit: MappedVisit) -> str | None:
    first, last = (visit.day + days for days in visit.window_days)
    return None if first <= day <= last else "as in the imported table"
