from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trialkit.cli.whole import app
from trialkit.data import Snapshot
from trialkit.errors import PackageAltered, UnknownName
from trialkit.evidence.origin import Trace, trace
from trialkit.results import Results
from trialkit.study import Study

ESTIMATE = "speed.difference.robotic.vs-conventional.W4.estimate"


@pytest.fixture(scope="module")
def found(built: tuple[Study, Path]) -> Trace:
    return trace(built[0], ESTIMATE)


@pytest.mark.requirement("R20")
def test_from_a_number_to_everything_behind_it(built: tuple[Study, Path], found: Trace) -> None:
    study, folder = built
    results = Results.load(folder / "results")
    assert found.result["value"] == results.value(ESTIMATE)
    assert found.result["results"] == results.hash
    assert found.analysis["formula"].startswith("AVAL ~ BASE")
    assert found.estimand["id"] == "speed"
    assert study.state.lock is not None
    assert found.plan["lock"] == study.state.lock.lock
    assert [s["signer"] for s in found.plan["signatures"]] == ["stan", "ivan"]
    assert all(s["valid"] for s in found.plan["signatures"])
    assert found.snapshot["hash"] == Snapshot.open(folder / "snapshot").hash


def test_the_rows_and_their_events_are_counted(built: tuple[Study, Path], found: Trace) -> None:
    adft = Snapshot.open(built[1] / "snapshot").frames["ADFT"]
    week4 = adft[(adft["PARAMCD"] == "WS10C") & (adft["AVISIT"] == "W4")]
    assert found.snapshot["rows"] == len(week4) == 14
    assert found.snapshot["first"] == sorted(week4["USUBJID"])[:5]
    recorded = next(e for e in found.events if e["kind"] == "assessment.recorded")
    assert recorded["count"] == 28
    seqs = [e.seq for e in built[0].record.read(kinds=["assessment.recorded"])]
    assert (recorded["first"], recorded["last"]) == (seqs[0], seqs[-1])


def test_the_package_gives_the_same_answer(built: tuple[Study, Path], found: Trace) -> None:
    for source in (built[1], built[1].with_name("package.zip")):
        other = trace(source, ESTIMATE)
        assert {k: v for k, v in other.to_dict().items() if k != "head"} == {
            k: v for k, v in found.to_dict().items() if k != "head"
        }
        assert other.head["analysis_hash"] == found.head["analysis_hash"]


def test_zero_width_spaces_of_a_pdf_are_dropped(built: tuple[Study, Path], found: Trace) -> None:
    assert trace(built[0], ESTIMATE.replace(".", ".\u200b")).result == found.result


def test_a_count_of_the_flow(built: tuple[Study, Path]) -> None:
    one = trace(built[0], "flow.allocated.robotic.count")
    assert one.snapshot["frame"] == "ADSL"
    assert one.snapshot["participants"] == one.result["value"]


def test_an_unknown_id_names_the_nearest(built: tuple[Study, Path]) -> None:
    with pytest.raises(UnknownName, match=r"speed\.difference\.robotic"):
        trace(built[0], ESTIMATE.replace("difference", "diference"))


def test_a_package_that_is_not_intact_is_not_traced(package: Path) -> None:
    (package / "README.txt").write_text("other", encoding="utf-8")
    with pytest.raises(PackageAltered, match=r"README\.txt"):
        trace(package, ESTIMATE)


def test_the_verbs(built: tuple[Study, Path], package: Path) -> None:
    folder = str(built[1])
    run = CliRunner().invoke
    done = run(app, ["trace", ESTIMATE, "--package", folder, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["result"]["id"] == ESTIMATE
    assert "signed" in run(app, ["trace", ESTIMATE, "--package", folder]).stdout
    done = run(app, ["evidence", "verify", folder, "--json"])
    assert (done.exit_code, json.loads(done.stdout)["intact"]) == (0, True)
    (package / "README.txt").unlink()
    done = run(app, ["evidence", "verify", str(package)])
    assert done.exit_code == 4
    assert "README.txt: removed" in done.stdout
