from __future__ import annotations

import numpy as np
import pytest
from report_sample import sample

from trialkit._content import find_content
from trialkit.errors import ReportFindings
from trialkit.plan import load_plan
from trialkit.report.flow import Flow, check_flow, describe_flow, draw_flow, read_flow

PLAN = load_plan(find_content("analyses", "stroke-robotic-vs-conventional"))


def flow(**changed: int) -> Flow:
    results = sample(PLAN, flow=changed)
    return read_flow(results.table[results.table["analysis"] == "flow"])


def test_counts_are_read_with_their_reasons() -> None:
    read = flow()
    assert read.whole["excluded"].value == 60
    assert [(r.label, r.value) for r in read.whole["excluded"].reasons] == [
        ("Criteria", 40),
        ("Declined", 20),
    ]
    assert read.arms["Robotic"]["lost"].id == "flow.lost.robotic.count"
    check_flow(read)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"assessed": 261}, "flow: assessed: 261 is not 60 excluded + 200 randomised"),
        ({"randomised": 199}, "flow: randomised: 199 is not 100 Robotic + 100 Conventional"),
        ({"excluded_declined": 19}, "flow: all: excluded: 60 is not 40 Criteria + 19 Declined"),
        ({"received": 97}, "allocated: 100 is not 97 received + 2 not received"),
        ({"analysed": 98}, "allocated: 100 is not 98 analysed + 3 not analysed"),
        ({"lost_moved_away": 4}, "lost: 5 is not 4 Moved away"),
        ({"discontinued": 101, "discontinued_transport": 97}, "more than the 100 allocated"),
        ({"analysed": -1}, "is no count"),
    ],
)
def test_an_imbalance_is_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ReportFindings) as caught:
        draw_flow(flow(**changed))
    assert said in str(caught.value)


def test_no_randomised_is_refused() -> None:
    with pytest.raises(ReportFindings, match="missing"):
        check_flow(Flow())


def test_the_drawing_holds_every_count_inside_its_page() -> None:
    import matplotlib.pyplot as plt

    figure = draw_flow(flow())
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    page = figure.bbox
    texts = [t for t in figure.axes[0].texts if t.get_text()]
    for text in texts:
        box = text.get_window_extent(renderer)
        assert page.x0 <= box.x0, text.get_text()
        assert box.x1 <= page.x1 + 1, text.get_text()
        assert box.y0 >= page.y0 - 1, text.get_text()
    words = " ".join(t.get_text() for t in texts).replace("\u00a0", " ")
    for number in ("260", "60", "200", "100", "98", "97"):
        assert f"(n = {number})" in words
    assert np.isclose(figure.get_size_inches()[0], 7.2)
    plt.close(figure)
    assert "Robotic: 100 allocated" in describe_flow(flow())
