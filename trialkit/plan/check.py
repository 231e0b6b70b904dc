"""Finds every fault of a statistical analysis plan before it is locked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from trialkit._yaml import Document
from trialkit.errors import Finding
from trialkit.plan.check_analysis import AnalysisCheck
from trialkit.plan.check_multiplicity import check_multiplicity, given
from trialkit.plan.model import (
    Analysis,
    Estimand,
    IntercurrentEvent,
    Plan,
    Population,
    Strategy,
    Table,
    Treatment,
)
from trialkit.plan.words import ADSL_COLUMNS, POPULATION_FLAGS, did_you_mean
from trialkit.study.design import Design


def read_plan(path: Path, design: Design | None = None) -> tuple[Plan | None, list[Finding]]:
    """Return the plan of a file, or None and every fault, in the order of their lines.

    Parameters
    ----------
    path : Path
    design : Design, optional
        The study's arms, visits, scores and diaries; with it, the plan is held against them.
    """
    document = Document(path)
    plan = document.parse(Plan)
    document.findings = [_with_strategies(finding) for finding in document.findings]
    if isinstance(document.data, dict):
        _check_parts(document)
        check_multiplicity(document)
        _check_tables(document, design)
        if design is not None:
            _check_treatment(document, design)
        check = AnalysisCheck(document, design)
        for index, analysis in document.parts(Analysis, "analyses"):
            check(index, analysis)
    findings = sorted(document.findings, key=lambda f: (f.line or 0, f.where))
    return (None if findings else plan), findings


def check_plan(path: str | Path, design: Design | None = None) -> list[Finding]:
    """Return every fault of a plan file; parameters as in `read_plan`."""
    return read_plan(Path(path), design)[1]


def _with_strategies(finding: Finding) -> Finding:
    if finding.where.endswith(".strategy") and "missing" in finding.message:
        words = ", ".join(get_args(Strategy))
        return replace(
            finding,
            message="the intercurrent event has no strategy.",
            remedy=f"Add one of {words}.",
        )
    return finding


def _unique(document: Document, section: str, rows: Sequence[tuple[int, str]], key: str) -> None:
    seen: set[str] = set()
    for index, name in rows:
        if name in seen:
            document.add(
                (section, index, key), f"{name} is given twice.", f"Give each its own {key}."
            )
        seen.add(name)


def _check_parts(document: Document) -> None:
    """Ids are unique, and what names another part finds it."""
    populations = document.parts(Population, "populations")
    estimands = document.parts(Estimand, "estimands")
    analyses = document.parts(Analysis, "analyses")
    _unique(document, "populations", [(i, p.code) for i, p in populations], "code")
    _unique(document, "estimands", [(i, e.id) for i, e in estimands], "id")
    _unique(document, "analyses", [(i, a.id) for i, a in analyses], "id")
    for index, population in populations:
        if population.flag not in POPULATION_FLAGS:
            document.add(
                ("populations", index, "flag"),
                f"ADSL has no population flag {population.flag}.",
                did_you_mean(population.flag, POPULATION_FLAGS),
            )
    codes = given(document, "populations", "code")
    for index, estimand in estimands:
        if estimand.population not in codes:
            document.add(
                ("estimands", index, "population"),
                f"there is no population {estimand.population}.",
                did_you_mean(estimand.population, codes),
            )
        _check_events(document, index, estimand)
    ids = given(document, "estimands", "id")
    for index, analysis in analyses:
        if analysis.estimand not in ids:
            document.add(
                ("analyses", index, "estimand"),
                f"there is no estimand {analysis.estimand}.",
                did_you_mean(analysis.estimand, ids),
            )
    if "primary" not in given(document, "analyses", "role"):
        document.add(("analyses",), "no analysis is primary.", "Give one role: primary.")


def _check_events(document: Document, index: int, estimand: Estimand) -> None:
    at = ("estimands", index, "intercurrent_events")
    if not estimand.intercurrent_events:
        document.add(
            at,
            "the estimand names no intercurrent event.",
            "Say for each event that can happen (training discontinued, death) how it is handled.",
        )
    for position, event in document.parts(IntercurrentEvent, *at):
        if not event.handling.strip():
            document.add(
                (*at, position, "handling"),
                f"how {event.event!r} is handled is not said.",
                "Say what happens to the values after it.",
            )


def _check_tables(document: Document, design: Design | None) -> None:
    tables = document.parts(Table, "tables")
    _unique(document, "tables", [(i, t.id) for i, t in tables], "id")
    analyses = set(given(document, "analyses", "id"))
    known: Iterable[str] = ADSL_COLUMNS
    if design is not None:
        scores = {s.paramcd for i in design.instruments.values() for s in i.scores}
        strata = design.randomisation.strata if design.randomisation else []
        known = {*ADSL_COLUMNS, *scores, *(s.name.upper() for s in strata)}
    for index, table in tables:
        if table.id in analyses:
            document.add(
                ("tables", index, "id"),
                f"{table.id} is also the id of an analysis.",
                "Give the table another id: results are named after it.",
            )
        if table.kind == "baseline" and not table.variables:
            document.add(
                ("tables", index), "the baseline table names no variables.", "Add variables."
            )
        for position, name in enumerate(table.variables):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if design is not None and name not in known and close:
                document.add(
                    ("tables", index, "variables", position),
                    f"there is no {name}.",
                    f"Did you mean {close[0]}?",
                )


def _check_treatment(document: Document, design: Design) -> None:
    treatment = document.part(Treatment, "treatment")
    labels = [arm.label for arm in design.arms]
    if treatment is None:
        return
    for key in ("treatment", "reference"):
        label = getattr(treatment, key)
        if label not in labels:
            document.add(
                ("treatment", key),
                f"no arm of the study is labelled {label}.",
                did_you_mean(label, labels),
            )
    if treatment.treatment == treatment.reference:
        document.add(
            ("treatment", "reference"), "the arm is compared with itself.", "Name the other arm."
        )
