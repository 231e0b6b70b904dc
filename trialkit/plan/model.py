"""The statistical analysis plan as data: estimands, analyses, multiplicity, tables.

Words are those of ICH E9(R1) and CDISC ADaM. The hash of a plan is the SHA-256 of its file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "trialkit.plan/1"
Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=40)]
Strategy = Literal[
    "treatment_policy", "hypothetical", "composite", "while_on_treatment", "principal_stratum"
]


RATIO_METHODS = frozenset(
    {"negative_binomial", "poisson", "recurrent", "cox", "ordinal", "win_odds"}
)
#: Procedures whose shares of alpha the plan gives.
WEIGHTED = frozenset({"fallback", "graph"})


class Part(BaseModel):
    """Base of every section: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Treatment(Part):
    """The comparison: `variable` of ADSL, and the labels that it holds."""

    variable: str = "TRT01P"
    treatment: str
    reference: str


class Population(Part):
    """An analysis population: a flag of ADSL that must be ``Y``."""

    code: Code
    label: str
    flag: str


class IntercurrentEvent(Part):
    """An event after randomisation that touches the outcome's meaning, and its strategy."""

    event: str
    strategy: Strategy
    handling: str


class Estimand(Part):
    """Treatment, population, variable, intercurrent events, population-level summary."""

    id: Code
    treatment: str
    population: Code
    variable: str
    intercurrent_events: list[IntercurrentEvent]
    summary: str


class Response(Part):
    """A yes/no outcome made from AVAL; the analysis frame gets RESPONSE as 0 or 1."""

    at_least: float | None = None
    at_most: float | None = None


class Analysis(Part):
    """One registered analysis.

    Parameters
    ----------
    dataset, where
        An ADaM frame and the values that its columns must have (``{PARAMCD: WS10C}``).
    formula
        In the words of formulaic. Columns that the frame lacks come from ADSL. ``NEVENTS`` and
        ``PYEARS`` are made from a start-stop frame for ``negative_binomial`` and ``poisson``;
        ``RESPONSE`` from `response`. ``kaplan_meier``, ``rmst`` and ``win_odds`` have the
        treatment alone; ``imputation`` has the formula of the ANCOVA of the completed values.
    visit
        AVISIT of the registered comparison. Other visits are kept for ``mmrm`` and
        ``imputation``; for the other methods the frame is cut to this visit.
    better
        Which estimates favour the treatment: ``higher`` or ``lower``.
    options
        Options of the method, as :data:`trialkit.plan.words.OPTIONS` lists them.
    null_value
        The effect under the null hypothesis; absent, 1 for a ratio and 0 otherwise (`null`).
    """

    id: Code
    label: str
    role: Literal["primary", "secondary", "exploratory", "sensitivity"]
    estimand: Code
    method: Literal[
        "mmrm",
        "ancova",
        "imputation",
        "binary",
        "ordinal",
        "win_odds",
        "negative_binomial",
        "poisson",
        "recurrent",
        "cox",
        "kaplan_meier",
        "rmst",
    ]
    dataset: str
    where: dict[str, str] = Field(default_factory=dict)
    formula: str
    visit: str | None = None
    response: Response | None = None
    better: Literal["higher", "lower"]
    unit: str | None = None
    null_value: float | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def null(self) -> float:
        """Effect under the null hypothesis, on the scale of the estimate."""
        if self.null_value is not None:
            return self.null_value
        ratio = self.method in RATIO_METHODS or self.options.get("measure") in {
            "ratio",
            "odds_ratio",
        }
        return 1.0 if ratio else 0.0


class Multiplicity(Part):
    """How the family-wise error is kept over `order`, the ids of the tested analyses.

    Parameters
    ----------
    procedure
        ``hochberg`` and ``hommel`` keep the error where the tests are independent or
        positively dependent (Simes), the others always.
    weights
        For ``fallback`` and ``graph``: the share of alpha of each analysis, at most 1 in all.
    transitions
        For ``graph``: for each analysis, to whom its share goes once it is rejected, at most 1
        in all; one that is left out hands on nothing.
    """

    procedure: Literal["fixed_sequence", "holm", "hochberg", "hommel", "fallback", "graph", "none"]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    order: list[Code]
    weights: dict[Code, float] | None = None
    transitions: dict[Code, dict[Code, float]] | None = None


class Table(Part):
    """A descriptive table; `variables` are ADSL columns or PARAMCDs where the kind needs them."""

    id: Code
    kind: Literal["flow", "baseline", "exposure", "adverse_events", "disposition"]
    label: str
    variables: list[str] = Field(default_factory=list)


class Plan(Part):
    """A statistical analysis plan (`trialkit.plan.load_plan`)."""

    schema_: Literal["trialkit.plan/1"] = Field(alias="schema")
    id: Code
    version: str
    title: str
    registration: str | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    treatment: Treatment
    populations: list[Population] = Field(min_length=1)
    estimands: list[Estimand] = Field(min_length=1)
    analyses: list[Analysis] = Field(min_length=1)
    multiplicity: Multiplicity
    missing_data: str
    tables: list[Table] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def analysis(self, code: str) -> Analysis | None:
        """Return the analysis of that id, or None."""
        return next((a for a in self.analyses if a.id == code), None)

    def estimand(self, code: str) -> Estimand | None:
        """Return the estimand of that id, or None."""
        return next((e for e in self.estimands if e.id == code), None)
