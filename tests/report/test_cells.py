from __future__ import annotations

from pathlib import Path

import pytest
from report_sample import sample

from trialkit._content import find_content
from trialkit.errors import UnknownName
from trialkit.plan import load_plan
from trialkit.report import tables
from trialkit.report.cells import Grid, Numbers, bare, escape
from trialkit.report.show import Show

PLAN = load_plan(find_content("analyses", "stroke-robotic-vs-conventional"))
ESTIMATE = "speed.difference.robotic.vs-conventional.W12.estimate"


def test_a_number_carries_its_id_and_is_remembered() -> None:
    numbers = Numbers(sample(PLAN), place="here")
    shown = numbers.show(ESTIMATE, digits=3)
    assert shown == f'[0.042]{{data-result-id="{ESTIMATE}" title="{ESTIMATE}"}}'
    assert [(p.place, p.text, p.id) for p in numbers.printed] == [("here", "0.042", ESTIMATE)]
    assert bare(shown) == "0.042"


def test_negative_numbers_have_a_minus_sign() -> None:
    numbers = Numbers(sample(PLAN))
    lower = ESTIMATE.replace("estimate", "lower")
    assert bare(numbers.show(lower, digits=3)) == "\u22120.018"


def test_a_failed_number_says_so() -> None:
    numbers = Numbers(sample(PLAN, failed="speed"))
    assert bare(numbers.show(ESTIMATE)) == "not estimated"
    prefix = ESTIMATE.rsplit(".", 1)[0]
    assert bare(numbers.interval(prefix)) == "not estimated"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"speed\.difference"):
        Numbers(sample(PLAN)).show("speed.diference.robotic.vs-conventional.W12.estimate")


def test_markdown_in_texts_is_not_markdown() -> None:
    assert escape("a|b *c* [d] <e> @f") == r"a\|b \*c\* \[d\] \<e\> \@f"


def test_a_grid_has_widths_heads_and_rows() -> None:
    grid = Grid("Cap", "tbl-x", ["A", "B"], [["x", "1"], ["group"], ["y", "2"]], frozenset({1}))
    lines = grid.markdown().splitlines()
    assert lines[0] == "| A | B |"
    assert len(lines[1]) > 80
    assert lines[1].endswith("-:|")
    assert lines[3] == "| **group** |   |"
    assert lines[-1] == ": Cap {#tbl-x}"
    assert Grid("Cap", "tbl-x", ["A"]).markdown() == ""


def test_the_baseline_table_has_no_test() -> None:
    results = sample(PLAN)
    rows = tables.rows_of(results, "baseline")
    assert not set(rows["statistic"]) & {"p", "statistic"}


def test_the_order_of_analyses_is_that_of_the_plan() -> None:
    grid = tables.overview(sample(PLAN), PLAN, Numbers(sample(PLAN)), label="tbl-o")
    assert [row[0] for row in grid.rows] == [escape(a.label) for a in PLAN.analyses]


def test_decisions_follow_the_results() -> None:
    results = sample(PLAN)
    grid = tables.multiplicity(results, PLAN, Numbers(results), label="tbl-m")
    assert [bare(str(row[-1])) for row in grid.rows] == ["rejected"] * 3 + ["not rejected"] * 2


def test_what_becomes_of_a_result_as_imputed_values_move() -> None:
    results = sample(PLAN)
    one, numbers = results["speed_j2r"], Numbers(results)
    grid = tables.tipping(one, numbers, label="tbl-t")
    assert grid.head[0] == "Added, Robotic (m/s)"
    assert [bare(str(cell)) for cell in grid.rows[0]] == [
        *("\u22120.100", "0.0310", "\u22120.0100 to 0.0700", "0.140")
    ]
    assert bare(str(grid.rows[-1][0])) == "Tipping point, added in Robotic: \u22120.0625"
    assert "speed_j2r.tipping_delta.robotic.delta" in {p.id for p in numbers.printed}
    assert not tables.tipping(results["speed"], numbers, label="tbl-t").rows


def test_imputed_values_and_notes_are_shown() -> None:
    results = sample(PLAN)
    one, numbers = results["speed_j2r"], Numbers(results)
    groups = [[bare(str(c)) for c in row] for row in tables.by_group(one, numbers, label="g").rows]
    assert ["Imputed values", "W12", "Robotic", "7", "100"] in groups
    assert not any("tipping" in row[0] for row in groups)
    rows = tables.comparison(one, numbers, PLAN, label="c").rows
    assert bare(str(rows[-1][1])) == "4 participants have no outcome at any visit"
    assert rows[-1][0] == "Note"


def test_a_graph_of_hypotheses_is_drawn_with_its_shares(tmp_path: Path) -> None:
    shares = {"speed": 0.6, "falls": 0.4, "first_fall": 0.0, "abc": 0.0, "confident": 0.0}
    rule = PLAN.multiplicity.model_copy(
        update={"procedure": "graph", "weights": shares, "transitions": {"speed": {"abc": 1.0}}}
    )
    plan = PLAN.model_copy(update={"multiplicity": rule})
    empty = {a: dict.fromkeys(shares, 0.0) for a in shares}
    start = {"rejected": [], "weights": shares, "transitions": {**empty, "speed": {"abc": 1.0}}}
    end = {"rejected": ["speed"], "weights": {**shares, "speed": 0.0, "abc": 0.6},
           "transitions": empty}  # fmt: skip
    results = sample(plan)
    results.meta["multiplicity"] = {"procedure": "graph", "steps": [start, end]}
    text = str(Show(results, plan, {}, tmp_path).multiplicity())
    assert "Share of alpha" in text
    assert "| 0.6 |" in text
    assert "Rejected: speed." in text
    assert (tmp_path / "figures" / "multiplicity.png").stat().st_size > 5000
