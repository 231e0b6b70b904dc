"""Checks of one registered analysis: frame, formula, visit, response, options."""

from __future__ import annotations

import difflib

from trialkit._yaml import Document
from trialkit.errors import UsageError
from trialkit.plan.check_options import check_options
from trialkit.plan.formula import read_formula
from trialkit.plan.model import Analysis, Treatment
from trialkit.plan.words import (
    ADSL_COLUMNS,
    BASIC_COLUMNS,
    BASIC_METHODS,
    GROUP_METHODS,
    MADE_COLUMNS,
    OUTCOMES,
    TIME_METHODS,
    columns_of,
    did_you_mean,
)
from trialkit.study.design import Design

Path = tuple[str | int, ...]


class AnalysisCheck:
    """Adds the faults of each analysis of a plan to its document.

    Parameters
    ----------
    document : Document
    design : Design, optional
        The study that the plan is for.
    """

    def __init__(self, document: Document, design: Design | None) -> None:
        self.document = document
        self.design = design
        treatment = document.part(Treatment, "treatment")
        self.variable = treatment.variable if treatment else "TRT01P"
        self.arms = [treatment.reference, treatment.treatment] if treatment else []
        if design is not None:
            self.arms = [arm.label for arm in design.arms]
        self.frames = _frames(design) if design else None

    def __call__(self, index: int, analysis: Analysis) -> None:
        """Add every fault of the analysis at `index`."""
        at: Path = ("analyses", index)
        self._check_frame(at, analysis)
        self._check_visit(at, analysis)
        self._check_response(at, analysis)
        check_options(self.document, at, analysis, self.variable, self.arms)
        try:
            outcome, variables = read_formula(analysis.formula)
        except UsageError as error:
            self.document.add((*at, "formula"), error.message, error.remedy)
            return
        self._check_formula(at, analysis, outcome, variables)
        self._check_strata(at, analysis, variables)

    def _check_frame(self, at: Path, analysis: Analysis) -> None:
        """The frame fits the method, and holds the PARAMCD that is asked of it."""
        add, paramcd = self.document.add, analysis.where.get("PARAMCD")
        if paramcd is None:
            add((*at, "where"), "the PARAMCD is not given.", "Add where: {PARAMCD: ...}.")
        timed = analysis.method in TIME_METHODS
        if timed != (analysis.dataset == "ADTTE"):
            want = "ADTTE" if timed else "another frame than ADTTE"
            add((*at, "dataset"), f"{analysis.method} needs {want}.", f"Use {want}.")
            return
        if self.frames is None:
            return
        kind = "basic" if analysis.method in BASIC_METHODS else "time" if timed else "recurrent"
        known = {name: codes for (k, name), codes in self.frames.items() if k == kind}
        if analysis.dataset not in known:
            add(
                (*at, "dataset"),
                f"the study has no frame {analysis.dataset} for {analysis.method}.",
                did_you_mean(analysis.dataset, known),
            )
        elif paramcd is not None and paramcd not in known[analysis.dataset]:
            add(
                (*at, "where", "PARAMCD"),
                f"{analysis.dataset} has no {paramcd}.",
                did_you_mean(paramcd, known[analysis.dataset]),
            )

    def _check_visit(self, at: Path, analysis: Analysis) -> None:
        add, basic = self.document.add, analysis.method in BASIC_METHODS
        if analysis.visit is None:
            if basic:
                add(at, "the visit of the comparison is not given.", "Add visit.")
            return
        if not basic:
            add((*at, "visit"), f"{analysis.method} has no visit.", "Remove it.")
        elif self.design is not None:
            visits = {visit.code: visit for visit in self.design.visits}
            if analysis.visit not in visits:
                add(
                    (*at, "visit"),
                    f"the study has no visit {analysis.visit}.",
                    did_you_mean(analysis.visit, [c for c, v in visits.items() if not v.baseline]),
                )
            elif visits[analysis.visit].baseline:
                add(
                    (*at, "visit"),
                    f"{analysis.visit} is the baseline, before any training.",
                    "Name a visit after randomisation.",
                )

    def _check_response(self, at: Path, analysis: Analysis) -> None:
        add, response = self.document.add, analysis.response
        if analysis.method != "binary":
            if response is not None:
                add((*at, "response"), f"{analysis.method} has no response.", "Remove it.")
            return
        if response is None:
            add(
                at,
                "a binary analysis needs a response.",
                "Add response: {at_least: ...} or {at_most: ...}.",
            )
        elif (response.at_least is None) == (response.at_most is None):
            add((*at, "response"), "one bound is needed.", "Give one of at_least and at_most.")

    def _check_formula(
        self, at: Path, analysis: Analysis, outcome: str | None, variables: list[str]
    ) -> None:
        def add(message: str, remedy: str) -> None:
            self.document.add((*at, "formula"), message, remedy)

        wanted = OUTCOMES[analysis.method]
        if wanted and outcome not in wanted:
            add(
                f"the outcome of {analysis.method} is {outcome or 'not given'}.",
                f"Begin with {' or '.join(wanted)} ~.",
            )
        if not wanted and outcome is not None:
            add(
                f"{analysis.method} takes time and event from the frame, not from a left side.",
                f"Remove {outcome} ~.",
            )
        if self.variable not in variables:
            add(
                f"it lacks the treatment variable {self.variable}.",
                f"Add + {self.variable}.",
            )
        if analysis.method == "mmrm" and "AVISIT" not in variables:
            add("it lacks the visit.", f"Add AVISIT and {self.variable}*AVISIT.")
        if analysis.method in GROUP_METHODS and len(variables) > 1:
            add(
                f"{analysis.method} has one grouping variable.",
                f"Use {self.variable}; put factors into options.strata.",
            )
        if analysis.method == "imputation" and "AVISIT" in variables:
            add("it is the analysis at one visit.", "Put AVISIT into options.covariates.")
        known = {*ADSL_COLUMNS, *BASIC_COLUMNS, *MADE_COLUMNS, *self._strata()}
        for name in [*variables, *columns_of(analysis.method, analysis.options)]:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if name not in known and close:
                add(f"there is no column {name}.", f"Did you mean {close[0]}?")

    def _strata(self) -> list[str]:
        """Return the ADSL columns of the stratification factors."""
        rule = self.design.randomisation if self.design else None
        if rule is None:
            return []
        return [*(["SITEID"] if rule.by_site else []), *(s.name.upper() for s in rule.strata)]

    def _check_strata(self, at: Path, analysis: Analysis, variables: list[str]) -> None:
        """What the randomisation was stratified by is in the model."""
        if analysis.method == "kaplan_meier" or analysis.role == "exploratory":
            return
        have = {*variables, *columns_of(analysis.method, analysis.options)}
        for name in self._strata():
            if name not in have:
                self.document.add(
                    (*at, "formula"),
                    f"the randomisation was stratified by {name}, which it lacks.",
                    f"Put it into options.strata: [{name}]."
                    if analysis.method in GROUP_METHODS
                    else f"Add + {name}.",
                )


def _frames(design: Design) -> dict[tuple[str, str], list[str]]:
    """Return the PARAMCDs of each frame: kind (basic, recurrent, time) and name."""
    frames: dict[tuple[str, str], list[str]] = {}
    for instrument in design.instruments.values():
        codes = frames.setdefault(("basic", instrument.dataset), [])
        codes += [score.paramcd for score in instrument.scores]
    for diary in design.diaries:
        frames.setdefault(("recurrent", diary.dataset), []).append(diary.paramcd)
        frames.setdefault(("time", "ADTTE"), []).append(f"TT{diary.paramcd}")
    return frames
