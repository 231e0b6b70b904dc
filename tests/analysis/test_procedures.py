"""Procedures for multiplicity: decisions, failed analyses, the steps of a graph."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from frames_for_analysis import make_plan

from trialkit import methods
from trialkit.analysis import run_plan
from trialkit.results import Results

Frames = dict[str, pd.DataFrame]
ORDER = ["speed", "falls", "cox"]
WEIGHTS = {"speed": 0.5, "falls": 0.5, "cox": 0.0}
TRANSITIONS = {"speed": {"falls": 0.5, "cox": 0.5}, "falls": {"speed": 1.0}}
EXTRA: dict[str, dict[str, Any]] = {
    "fallback": {"weights": WEIGHTS},
    "graph": {"weights": WEIGHTS, "transitions": TRANSITIONS},
}


def run(procedure: str, frames: Frames) -> Results:
    rule = {"procedure": procedure, "alpha": 0.05, "order": ORDER, **EXTRA.get(procedure, {})}
    return run_plan(make_plan(multiplicity=rule), frames, descriptives=False)


@pytest.fixture(scope="module")
def p_values(frames: Frames) -> dict[str, float]:
    found = run("holm", frames)
    return {code: found[code].statistics()["p"] for code in ORDER}


@pytest.mark.parametrize("procedure", ["holm", "hochberg", "hommel", "fixed_sequence", "fallback"])
def test_a_procedure_is_the_method(
    procedure: str, frames: Frames, p_values: dict[str, float]
) -> None:
    options = {"weights": WEIGHTS} if procedure == "fallback" else {}
    table = getattr(methods, procedure)(p_values, alpha=0.05, **options).set_index("test")
    found = run(procedure, frames)
    for code in ORDER:
        said = found[code].statistics()
        assert said["p_adjusted"] == pytest.approx(table.loc[code, "p_adjusted"])
        assert bool(said["rejected"]) == bool(table.loc[code, "rejected"])
    assert found.meta["multiplicity"]["procedure"] == procedure


def test_a_graph_keeps_its_steps(frames: Frames, p_values: dict[str, float]) -> None:
    found = run("graph", frames)
    test = methods.graph(WEIGHTS, TRANSITIONS, alpha=0.05).test(p_values)
    table = test.table.set_index("test")
    for code in ORDER:
        said = found[code].statistics()
        assert said["p_adjusted"] == pytest.approx(table.loc[code, "p_adjusted"])
        assert bool(said["rejected"]) == bool(table.loc[code, "rejected"])
    steps = found.meta["multiplicity"]["steps"]
    assert len(steps) == 1 + sum(table["rejected"])
    assert steps[0]["weights"] == WEIGHTS
    assert steps[0]["transitions"]["speed"] == {"speed": 0.0, "falls": 0.5, "cox": 0.5}
    for step, state in zip(steps, test.steps, strict=True):
        assert step["rejected"] == list(state.rejected)
        assert step["weights"] == pytest.approx(state.weights.to_dict())
    again = Results.from_bytes(found.to_bytes())
    assert json.dumps(again.meta["multiplicity"], sort_keys=True) == json.dumps(
        found.meta["multiplicity"], sort_keys=True
    )
    first = steps[-1]["rejected"][0]
    row = found.get(f"{found.meta['analyses'][first]['registered']}.rejected")
    assert "at step 1 (graph at 0.05)" in row["text"]


@pytest.mark.parametrize("procedure", ["hochberg", "hommel", "fallback", "graph"])
def test_a_failed_analysis_is_never_rejected(procedure: str, frames: Frames) -> None:
    same = {**frames, "ADFT": frames["ADFT"].assign(AVAL=1.0)}
    found = run(procedure, same)
    said = found["speed"].statistics()
    assert found["speed"].failed is not None
    assert said["rejected"] == 0.0
    assert found["speed"].registered.query("statistic == 'p_adjusted'")["value"].isna().all()
    for code in ("falls", "cox"):  # and it makes the others no easier to reject
        assert found[code].statistics()["p_adjusted"] >= found[code].statistics()["p"]
    found.validate()


@pytest.mark.parametrize("procedure", ["fallback", "graph"])
def test_a_part_of_the_plan_keeps_its_shares(procedure: str, frames: Frames) -> None:
    rule = {"procedure": procedure, "alpha": 0.05, "order": ORDER, **EXTRA[procedure]}
    plan = make_plan(multiplicity=rule)
    part = plan.model_copy(update={"analyses": [a for a in plan.analyses if a.id == "speed"]})
    found = run_plan(part, frames, descriptives=False)["speed"].statistics()
    assert found["p_adjusted"] == pytest.approx(min(1.0, found["p"] / 0.5))
