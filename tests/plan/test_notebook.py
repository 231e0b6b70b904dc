"""The worked notebook: stored without output, and every cell runs on a study with results."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from eligible import find_eligible

from trialkit import analyse, build_snapshot
from trialkit._clock import SimulatedClock
from trialkit._content import content_folder
from trialkit.participants import assess, consent, enrol, hold_visit, randomise, return_diary
from trialkit.plan import lock_plan
from trialkit.study import Study

NOTEBOOK = content_folder("analyses") / "stroke-robotic-vs-conventional.ipynb"
PEOPLE = 28


def fill(study: Study) -> None:
    """Take people through all visits: speed, balance confidence and a falls diary."""
    rng = np.random.default_rng(7)
    assessor = study.as_user("ada")
    visits = study.design.visits
    assert isinstance(study.clock, SimulatedClock)
    everybody = []

    def measure(usubjid: str, visit: str, seconds: float, confident: int) -> None:
        speed = {"TIMED_M": 10, "C1_S": round(seconds, 2)}
        answers = {f"ABC{i:02d}": confident for i in range(1, 17)}
        assess(assessor, usubjid, visit=visit, instrument="10MWT", items=speed)
        assess(assessor, usubjid, visit=visit, instrument="ABC", items=answers)

    with study.batch():
        for number in range(PEOPLE):
            who = str(enrol(study, site=f"0{1 + number % 2}", attributes={"sex": "F"}).subject)
            consent(study, who, version="1.0")
            hold_visit(study, who, "BL", day=0)
            measure(who, "BL", rng.uniform(18, 32), int(rng.integers(40, 80)))
            find_eligible(study, who)
            randomise(study, who)
            everybody.append((who, rng.uniform(14, 28)))
        start = study.clock.now()
        for visit in visits[1:]:
            study.clock.move_to(start + timedelta(days=visit.day))
            for who, seconds in everybody:
                hold_visit(study, who, visit.code, day=visit.day)
                measure(who, visit.code, seconds + rng.normal(0, 2), int(rng.integers(50, 100)))
        for who, _ in everybody:
            days = sorted({int(d) for d in rng.integers(1, 180, rng.poisson(0.9))})
            falls = [{"day": day, "grade": 2} for day in days]
            return_diary(study, who, diary="FALL", from_day=0, to_day=182, entries=falls)


def test_no_output_is_stored() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_every_cell_runs(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(study)
    lock_plan(study, signer="stan", second_signer="iris")
    snapshot = build_snapshot(study.as_user("stan"), unblind=True)
    results = analyse(study.as_user("stan"), snapshot=snapshot)
    study.close()
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "study"))
    monkeypatch.setenv("TRIALKIT_USER", "stan")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=900).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(str(output) for cell in outputs for output in cell)
    assert "Stan Abel" in text
    assert "Falls are underpowered" in text
    assert text.count("image/png") == 2
    identifier = "speed.difference.robotic.vs-conventional.W12.estimate"
    assert f"{identifier} = {results.value(identifier)!r} m/s" in text
    # the registered model, fitted again by the last cell of code, has the same estimate
    assert f"{results.value(identifier):.6f}" in str(outputs[-2])
