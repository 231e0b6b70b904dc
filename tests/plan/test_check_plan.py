"""Every kind of fault of a plan: where, line, message and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from trialkit import methods
from trialkit._content import content_folder
from trialkit.errors import Finding, PlanFindings
from trialkit.plan import check_plan, load_plan
from trialkit.plan.lock import PARTS
from trialkit.plan.model import Analysis
from trialkit.plan.words import ADSL_COLUMNS, BASIC_COLUMNS, OPTIONS, OUTCOMES
from trialkit.study.design import Design

Change = Callable[..., Path]
ANALYSES = content_folder("analyses")
PLAN = ANALYSES / "stroke-robotic-vs-conventional.sap.yaml"

SPEED = "AVAL ~ BASE*AVISIT + SITEID + SPEED_BAND + TRT01P*AVISIT"
FALLS = "NEVENTS ~ TRT01P + SITEID + SPEED_BAND"
COX = "formula: TRT01P + SITEID + SPEED_BAND"

# what is replaced, by what, text that marks the line, where, message, remedy
FAULTS = {
    "unknown_key": (
        "    role: primary",
        "    roles: primary\n    role: primary",
        "roles: primary",
        "analyses[0].roles",
        "unknown key",
        "Did you mean role?",
    ),
    "unknown_method": (
        "method: mmrm",
        "method: mmmr",
        "method: mmmr",
        "analyses[0].method",
        "not one of the possible values (given: 'mmmr')",
        "Did you mean mmrm?",
    ),
    "event_without_strategy": (
        "        strategy: treatment_policy\n",
        "",
        "- event: Allocated training",
        "estimands[0].intercurrent_events[0].strategy",
        "has no strategy",
        "Add one of treatment_policy, hypothetical",
    ),
    "event_without_handling": (
        "handling: Values after it are used as observed.",
        'handling: " "',
        'handling: " "',
        "estimands[0].intercurrent_events[0].handling",
        "is not said",
        "what happens to the values",
    ),
    "unknown_estimand": (
        "    estimand: walking-speed",
        "    estimand: walking_speed",
        "estimand: walking_speed",
        "analyses[0].estimand",
        "there is no estimand walking_speed",
        "Did you mean walking-speed?",
    ),
    "unknown_population": (
        "    population: FAS",
        "    population: ITT",
        "population: ITT",
        "estimands[0].population",
        "there is no population ITT",
        "Use FAS or SAF or PP",
    ),
    "unknown_flag": (
        "flag: FASFL",
        "flag: FASFLG",
        "flag: FASFLG",
        "populations[0].flag",
        "no population flag FASFLG",
        "Did you mean FASFL?",
    ),
    "analysis_id_twice": (
        "  - id: speed_ancova",
        "  - id: speed",
        "- id: speed\n",
        "analyses[6].id",
        "speed is given twice",
        "own id",
    ),
    "no_primary": (
        "role: primary",
        "role: secondary",
        "analyses:",
        "analyses",
        "no analysis is primary",
        "role: primary",
    ),
    "formula_unreadable": (
        SPEED,
        "AVAL ~ BASE + (SITEID",
        "AVAL ~ BASE + (SITEID",
        "analyses[0].formula",
        "cannot be read",
        "OUTCOME ~ TERM",
    ),
    "formula_without_treatment": (
        FALLS,
        "NEVENTS ~ SITEID + SPEED_BAND",
        "NEVENTS ~ SITEID",
        "analyses[1].formula",
        "lacks the treatment variable TRT01P",
        "Add + TRT01P",
    ),
    "formula_without_stratum": (
        FALLS,
        "NEVENTS ~ TRT01P + SITEID",
        "NEVENTS ~ TRT01P",
        "analyses[1].formula",
        "stratified by SPEED_BAND",
        "Add + SPEED_BAND",
    ),
    "formula_without_site": (
        COX,
        "formula: TRT01P + SPEED_BAND",
        "formula: TRT01P + SPEED_BAND",
        "analyses[2].formula",
        "stratified by SITEID",
        "Add + SITEID",
    ),
    "formula_without_visit": (
        SPEED,
        "AVAL ~ BASE + SITEID + SPEED_BAND + TRT01P",
        "AVAL ~ BASE + SITEID",
        "analyses[0].formula",
        "lacks the visit",
        "TRT01P*AVISIT",
    ),
    "formula_wrong_outcome": (
        FALLS,
        "EVENT ~ TRT01P + SITEID + SPEED_BAND",
        "EVENT ~ TRT01P",
        "analyses[1].formula",
        "the outcome of negative_binomial is EVENT",
        "Begin with NEVENTS ~",
    ),
    "formula_with_outcome": (
        COX,
        "formula: AVAL ~ TRT01P + SITEID + SPEED_BAND",
        "AVAL ~ TRT01P + SITEID",
        "analyses[2].formula",
        "not from a left side",
        "Remove AVAL ~",
    ),
    "formula_misspelt_column": (
        FALLS,
        "NEVENTS ~ TRT01P + SITEID + SPEED_BAND + SPEEDBAND",
        "SPEEDBAND",
        "analyses[1].formula",
        "no column SPEEDBAND",
        "Did you mean SPEED_BAND?",
    ),
    "km_with_factors": (
        "formula: TRT01P\n",
        "formula: TRT01P + SITEID\n",
        "formula: TRT01P + SITEID\n",
        "analyses[5].formula",
        "one grouping variable",
        "options.strata",
    ),
    "unknown_visit": (
        "    visit: W12",
        "    visit: W13",
        "visit: W13",
        "analyses[0].visit",
        "no visit W13",
        "Did you mean W12?",
    ),
    "baseline_visit": (
        "    visit: W12",
        "    visit: BL",
        "visit: BL",
        "analyses[0].visit",
        "BL is the baseline",
        "after randomisation",
    ),
    "no_visit": (
        "    visit: W12\n",
        "",
        "- id: speed\n",
        "analyses[0]",
        "the visit of the comparison is not given",
        "Add visit",
    ),
    "visit_without_use": (
        "    dataset: ADFALL",
        "    visit: W12\n    dataset: ADFALL",
        "visit: W12",
        "analyses[1].visit",
        "negative_binomial has no visit",
        "Remove it",
    ),
    "unknown_frame": (
        "dataset: ADFALL",
        "dataset: ADFAL",
        "dataset: ADFAL\n",
        "analyses[1].dataset",
        "no frame ADFAL for negative_binomial",
        "Did you mean ADFALL?",
    ),
    "frame_of_other_method": (
        "    dataset: ADTTE",
        "    dataset: ADFALL",
        "dataset: ADFALL",
        "analyses[2].dataset",
        "cox needs ADTTE",
        "Use ADTTE",
    ),
    "unknown_paramcd": (
        "PARAMCD: WS10C",
        "PARAMCD: WS1OC",
        "WS1OC",
        "analyses[0].where.PARAMCD",
        "ADFT has no WS1OC",
        "Did you mean WS10C?",
    ),
    "no_paramcd": (
        "    where: {PARAMCD: FALL}\n",
        "",
        "- id: falls\n",
        "analyses[1].where",
        "the PARAMCD is not given",
        "Add where: {PARAMCD",
    ),
    "no_response": (
        "    response: {at_least: 81.1}\n",
        "",
        "- id: confident\n    label",
        "analyses[4]",
        "a binary analysis needs a response",
        "Add response: {at_least",
    ),
    "two_bounds": (
        "response: {at_least: 81.1}",
        "response: {at_least: 81.1, at_most: 90}",
        "at_most: 90",
        "analyses[4].response",
        "one bound is needed",
        "one of at_least and at_most",
    ),
    "response_without_use": (
        "    options: {ties: efron}",
        "    options: {ties: efron}\n    response: {at_least: 1}",
        "response: {at_least: 1}",
        "analyses[2].response",
        "cox has no response",
        "Remove it",
    ),
    "unknown_option": (
        "{ties: efron}",
        "{tie: efron}",
        "{tie: efron}",
        "analyses[2].options.tie",
        "cox has no option tie",
        "Did you mean ties?",
    ),
    "impossible_option": (
        "df: kenward_roger_linear",
        "df: kenward_rogers",
        "df: kenward_rogers}",
        "analyses[0].options.df",
        "'kenward_rogers' is not possible for df",
        "Did you mean kenward_roger?",
    ),
    "impossible_structure": (
        "covariance: us",
        "covariance: [us, toe]",
        "covariance: [us, toe]",
        "analyses[0].options.covariance",
        "['us', 'toe'] is not possible for covariance",
        "in the order in which they are tried",
    ),
    "fallback_of_one": (
        "{covariance: us, df: kenward_roger_linear}",
        "{covariance: us, fallback_se: cr2}",
        "fallback_se: cr2",
        "analyses[0].options",
        "only one is given",
        "Give covariance as a list",
    ),
    "kenward_roger_with_sandwich": (
        "{covariance: us, df: kenward_roger_linear}",
        "{se: cr2, df: kenward_roger_linear}",
        "se: cr2",
        "analyses[0].options",
        "Kenward-Roger adjusts the model-based covariance",
        "satterthwaite",
    ),
    "restricted_mean_with_factors": (
        "method: cox",
        "method: rmst",
        "formula: TRT01P + SITEID + SPEED_BAND",
        "analyses[2].formula",
        "rmst has one grouping variable",
        "options.strata",
    ),
    "order_without_order": (
        "{model: lwyy}",
        "{model: lwyy, max_order: 3}",
        "{model: lwyy, max_order: 3}",
        "analyses[8].options.max_order",
        "lwyy does not tell events by order",
        "pwp_total",
    ),
    "recurrent_on_times": (
        "    method: recurrent\n    dataset: ADFALL",
        "    method: recurrent\n    dataset: ADTTE",
        "dataset: ADTTE",
        "analyses[8].dataset",
        "recurrent needs another frame than ADTTE",
        "another frame",
    ),
    "inference_of_the_other_kind": (
        "inference: jackknife",
        "inference: rubin",
        "inference: rubin",
        "analyses[7].options.inference",
        "rubin does not fit conditional_mean",
        "Use jackknife",
    ),
    "random_without_seed": (
        "imputing: conditional_mean\n      inference: jackknife",
        "imputing: bayes\n      inference: rubin",
        "options:",
        "analyses[7].options",
        "bayes draws random numbers and has no seed",
        "Add seed",
    ),
    "seed_without_use": (
        "inference: jackknife",
        "inference: jackknife\n      seed: 4",
        "seed: 4",
        "analyses[7].options.seed",
        "seed is of no use with conditional_mean",
        "Remove it",
    ),
    "strategy_without_events": (
        "      ice: dropout\n",
        "",
        "strategy: jump",
        "analyses[7].options.strategy",
        "jump_to_reference needs the intercurrent events",
        "ice: dropout",
    ),
    "tipping_of_no_arm": (
        "tipping: {Robotic:",
        "tipping: {Robot:",
        "tipping: {Robot:",
        "analyses[7].options.tipping.Robot",
        "no arm is labelled Robot",
        "Did you mean Robotic?",
    ),
    "tipping_without_a_list": (
        "tipping: {Robotic: [0, -0.05, -0.1, -0.2, -0.3]}",
        "tipping: {Robotic: -0.1}",
        "tipping: {Robotic: -0.1}",
        "analyses[7].options.tipping",
        "is not possible for tipping",
        "amounts by arm",
    ),
    "imputation_model_lacks": (
        "covariates: [BASE*AVISIT, SITEID, SPEED_BAND]",
        "covariates: [BASE*AVISIT, SITEID]",
        "covariates: [BASE*AVISIT, SITEID]",
        "analyses[7].options.covariates",
        "the analysis has SPEED_BAND and the imputation model lacks it",
        "Add SPEED_BAND",
    ),
    "weights_without_use": (
        "procedure: fixed_sequence",
        "procedure: holm\n  weights: {speed: 1}",
        "weights: {speed: 1}",
        "multiplicity.weights",
        "holm has no weights",
        "Remove them",
    ),
    "fallback_without_weights": (
        "procedure: fixed_sequence",
        "procedure: fallback",
        "multiplicity:",
        "multiplicity",
        "fallback needs weights",
        "share of alpha",
    ),
    "weight_of_no_analysis": (
        "procedure: fixed_sequence",
        "procedure: fallback\n  weights: {speed: 0.5, fall: 0.5}",
        "weights: {speed: 0.5, fall: 0.5}",
        "multiplicity.weights.fall",
        "fall is not in the order",
        "Did you mean falls?",
    ),
    "weights_above_one": (
        "procedure: fixed_sequence",
        "procedure: fallback\n"
        "  weights: {speed: 0.5, falls: 0.5, first_fall: 0.5, abc: 0, confident: 0}",
        "weights: {speed: 0.5",
        "multiplicity.weights",
        "the weights sum to 1.5, more than 1",
        "at most all",
    ),
    "graph_without_transitions": (
        "procedure: fixed_sequence",
        "procedure: graph\n  weights: {speed: 1, falls: 0, first_fall: 0, abc: 0, confident: 0}",
        "multiplicity:",
        "multiplicity",
        "graph needs transitions",
        "to whom its share goes",
    ),
    "transition_to_itself": (
        "procedure: fixed_sequence",
        "procedure: graph\n  weights: {speed: 1, falls: 0, first_fall: 0, abc: 0, confident: 0}\n"
        "  transitions: {speed: {speed: 1}}",
        "transitions: {speed: {speed: 1}}",
        "multiplicity.transitions.speed.speed",
        "speed hands its share to itself",
        "Remove it",
    ),
    "transitions_above_one": (
        "procedure: fixed_sequence",
        "procedure: graph\n  weights: {speed: 1, falls: 0, first_fall: 0, abc: 0, confident: 0}\n"
        "  transitions: {speed: {falls: 0.7, abc: 0.7}}",
        "transitions: {speed: {falls: 0.7",
        "multiplicity.transitions.speed",
        "the transitions of speed sum to 1.4",
        "at most all",
    ),
    "alpha_disagrees": (
        "  alpha: 0.05\n  order",
        "  alpha: 0.025\n  order",
        "alpha: 0.025",
        "multiplicity.alpha",
        "alpha is 0.025 here and 0.05 in the plan",
        "the same in both places",
    ),
    "order_unknown": (
        "order: [speed, falls",
        "order: [speed, fall",
        "order: [speed",
        "multiplicity.order[1]",
        "there is no analysis fall",
        "Did you mean falls?",
    ),
    "order_of_a_curve": (
        "abc, confident]",
        "abc, confident, first_fall_km]",
        "order: [speed",
        "multiplicity.order[5]",
        "first_fall_km is not tested: kaplan_meier describes",
        "Remove it here",
    ),
    "order_of_a_sensitivity": (
        "abc, confident]",
        "abc, confident, speed_ancova]",
        "order: [speed",
        "multiplicity.order[5]",
        "its role is sensitivity",
        "Remove it here",
    ),
    "order_twice": (
        "abc, confident]",
        "abc, confident, speed]",
        "order: [speed",
        "multiplicity.order[5]",
        "speed is listed twice",
        "List it once",
    ),
    "order_incomplete": (
        "abc, confident]",
        "abc]",
        "role: secondary\n    estimand: confident",
        "analyses[4].role",
        "confident is secondary and multiplicity.order does not test it",
        "make it exploratory",
    ),
    "order_secondary_first": (
        "order: [speed, falls",
        "order: [falls, speed",
        "order: [falls",
        "multiplicity.order",
        "a secondary analysis comes before a primary one",
        "primary analyses first",
    ),
    "no_procedure": (
        "procedure: fixed_sequence",
        "procedure: none",
        "procedure: none",
        "multiplicity.procedure",
        "nothing keeps the error over 5 analyses at 0.05",
        "fixed_sequence or holm",
    ),
    "treatment_unknown": (
        "treatment: Robotic,",
        "treatment: Robot,",
        "treatment: Robot,",
        "treatment.treatment",
        "no arm of the study is labelled Robot",
        "Did you mean Robotic?",
    ),
    "treatment_against_itself": (
        "reference: Conventional}",
        "reference: Robotic}",
        "reference: Robotic",
        "treatment.reference",
        "compared with itself",
        "the other arm",
    ),
    "table_named_as_analysis": (
        "{id: flow, kind: flow",
        "{id: falls, kind: flow",
        "{id: falls, kind: flow",
        "tables[0].id",
        "also the id of an analysis",
        "another id",
    ),
    "table_without_variables": (
        ", variables: [AGE, SEX, SPEED_BAND, WS10C, DIST6M, TUGTIME, BBSTOT, ABCMEAN]",
        "",
        "{id: baseline",
        "tables[1]",
        "names no variables",
        "Add variables",
    ),
    "table_misspelt_variable": (
        "DIST6M, TUGTIME",
        "DIST6, TUGTIME",
        "{id: baseline",
        "tables[1].variables[4]",
        "there is no DIST6",
        "Did you mean DIST6M?",
    ),
}


def at(findings: list[Finding], where: str) -> list[Finding]:
    found = [f for f in findings if f.where == where]
    assert found, [str(f) for f in findings]
    return found


def lines_with(path: Path, marker: str) -> list[int]:
    """Return the lines at which `marker`, which may hold line ends, begins."""
    text = path.read_text(encoding="utf-8")
    starts = [i for i in range(len(text)) if text.startswith(marker, i)]
    return [text[:start].count("\n") + 1 for start in starts]


@pytest.mark.parametrize("path", sorted(ANALYSES.glob("*.sap.yaml")), ids=lambda p: p.name)
def test_shipped_plans_are_sound(path: Path) -> None:
    assert check_plan(path) == []


def test_shipped_plan_fits_the_stroke_trial(design: Design) -> None:
    assert check_plan(PLAN, design) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str, changed_plan: Change, design: Design) -> None:
    old, new, marker, where, message, remedy = FAULTS[fault]
    path = changed_plan((old, new))
    findings = check_plan(path, design)
    found = [f for f in at(findings, where) if message in f.message]
    assert found, [str(f) for f in findings]
    assert remedy in found[0].remedy
    assert found[0].line in lines_with(path, marker)


def test_every_fault_at_once(changed_plan: Change, design: Design) -> None:
    path = changed_plan(
        ("    role: primary", "    roles: primary\n    role: primary"),
        (FALLS, "NEVENTS ~ SITEID"),
        ("{at_least: 81.1}", "{}"),
        ("    visit: W12", "    visit: W99"),
        ("flag: SAFFL", "flag: SAFETY"),
    )
    wheres = [f.where for f in check_plan(path, design)]
    for where in (
        "analyses[0].roles",
        "analyses[0].visit",
        "analyses[1].formula",
        "analyses[4].response",
        "populations[1].flag",
    ):
        assert where in wheres
    assert wheres.count("analyses[1].formula") == 2
    with pytest.raises(PlanFindings) as caught:
        load_plan(path)
    assert caught.value.exit_status == 3
    assert "roles" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("method: mmrm", "method: mixed", "analyses[0].method"),
        ("flag: FASFL", "flag: [FASFL]", "populations[0].flag"),
        ("strategy: composite", "strategy: zero", "estimands[0].intercurrent_events[2].strategy"),
        ("kind: baseline", "kind: base", "tables[1].kind"),
        ("alpha: 0.05\n  order", "alpha: 5\n  order", "multiplicity.alpha"),
        ("reference: Conventional", "reference: 2", "treatment.reference"),
    ],
)
def test_one_fault_of_form_is_one_finding(
    old: str, new: str, where: str, changed_plan: Change, design: Design
) -> None:
    findings = check_plan(changed_plan((old, new)), design)
    assert [f.where for f in findings] == [where]


def test_the_plan_says_that_falls_are_underpowered() -> None:
    notes = " ".join(load_plan(PLAN).notes)
    assert "Falls are underpowered" in notes
    assert "32 % power" in notes


def test_strata_may_stand_in_an_option(changed_plan: Change, design: Design) -> None:
    path = changed_plan(
        (COX, "formula: TRT01P"), ("{ties: efron}", "{strata: [SITEID, SPEED_BAND]}")
    )
    assert check_plan(path, design) == []


def test_without_a_study_only_the_plan_is_checked(changed_plan: Change) -> None:
    path = changed_plan(("    visit: W12", "    visit: W99"), ("PARAMCD: WS10C", "PARAMCD: ZZZ"))
    assert check_plan(path) == []


def test_tipping_is_against_no_difference(changed_plan: Change, design: Design) -> None:
    path = changed_plan(
        ("    options:\n      strategy", "    null_value: 0.02\n    options:\n      strategy")
    )
    found = at(check_plan(path, design), "analyses[7].null_value")
    assert "against no difference only" in found[0].message


def test_win_odds_above_one_favour_the_treatment(changed_plan: Change, design: Design) -> None:
    path = changed_plan(
        ("    method: ancova", "    method: win_odds"),
        ("formula: AVAL ~ BASE + SITEID + SPEED_BAND + TRT01P\n    visit: W12\n    better: higher"
         "\n    unit: m/s\n    options: {se: hc3}",
         "formula: AVAL ~ TRT01P\n    visit: W12\n    better: lower\n    unit: m/s\n"
         "    options: {strata: [SITEID, SPEED_BAND]}"),
    )  # fmt: skip
    found = check_plan(path, design)
    assert [f.where for f in found] == ["analyses[6].better"]
    assert "higher: worse" in found[0].remedy


def test_restricted_mean_needs_its_time(changed_plan: Change, design: Design) -> None:
    text = "    options: {times: [84, 182]}"
    km = "    method: kaplan_meier"
    path = changed_plan((km, "    method: rmst"), (text, "    options: {strata: [SITEID]}"))
    found = at(check_plan(path, design), "analyses[5]")
    assert "the time up to which the mean is taken" in found[0].message
    assert "tau" in found[0].remedy


def test_a_graph_that_is_sound(changed_plan: Change, design: Design) -> None:
    path = changed_plan(
        (
            "procedure: fixed_sequence",
            "procedure: graph\n"
            "  weights: {speed: 1, falls: 0, first_fall: 0, abc: 0, confident: 0}\n"
            "  transitions:\n"
            "    speed: {falls: 0.5, abc: 0.5}\n"
            "    falls: {first_fall: 1}\n"
            "    abc: {confident: 1}",
        )
    )
    assert check_plan(path, design) == []
    plan = load_plan(path)
    assert plan.multiplicity.weights == {
        "speed": 1, "falls": 0, "first_fall": 0, "abc": 0, "confident": 0
    }  # fmt: skip


def test_null_is_one_for_ratios() -> None:
    plan = load_plan(PLAN)
    nulls = {a.id: a.null for a in plan.analyses}
    assert nulls["speed"] == nulls["confident"] == 0.0
    assert nulls["falls"] == nulls["first_fall"] == 1.0
    other = plan.analyses[0].model_copy(update={"null_value": -0.05})
    assert other.null == -0.05


def test_words_cover_every_method() -> None:
    names = set(get_args(Analysis.model_fields["method"].annotation))
    assert names == set(OPTIONS) == set(OUTCOMES)
    assert {part for name in names for part in PARTS.get(name, (name,))} <= set(methods.VERSIONS)


def test_columns_are_those_of_the_schemas() -> None:
    from data_schemas import adam
    from data_schemas.terminology import StudyTerms

    assert set(ADSL_COLUMNS) == set(adam.adsl(StudyTerms()).columns)
    assert set(BASIC_COLUMNS) <= set(adam.basic("ADFT", StudyTerms()).columns)
