"""From a study to stored results: what is refused, what is stored, what the verbs print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import trialkit
from trialkit.analysis import analyse, check_flow
from trialkit.cli.whole import app
from trialkit.data import build_snapshot
from trialkit.errors import (
    IntegrityError,
    LockMismatch,
    NotLocked,
    NotPermitted,
    SnapshotAltered,
    TrialkitError,
    UnknownName,
)
from trialkit.exchange import import_table
from trialkit.plan import lock_plan
from trialkit.record import KeyStore
from trialkit.record.kinds import AnalysisRun
from trialkit.results import Results
from trialkit.study import Study

MAPPING = """schema: trialkit.mapping/1
study: {id: PAIN, title: An invented trial, date: 2024-01-08}
arms:
  - {code: P, label: Placebo, value: p}
  - {code: A, label: Active, value: a}
columns: {subject: who, arm: arm, site: site}
assessments:
  visit: visit
  day: day
  visits:
    - {code: BL, label: Baseline, day: 0, window_days: [0, 0], baseline: true}
    - {code: V1, label: Week 2, day: 14, window_days: [-7, 7], value: "1"}
    - {code: V2, label: Week 4, day: 28, window_days: [-6, 7], value: "2"}
  measures:
    - {instrument: VAS, name: Pain, paramcd: PAIN, param: Pain, unit: mm, column: pain,
       baseline: base, minimum: 0, maximum: 100, better: lower, domain: QS}
sources: [invented]
"""
PLAN = """schema: trialkit.plan/1
id: pain
version: "1"
title: Pain, analysis
treatment: {variable: TRT01P, treatment: Active, reference: Placebo}
populations:
  - {code: FAS, label: all randomised, flag: FASFL}
estimands:
  - id: pain
    treatment: active against placebo
    population: FAS
    variable: pain at week 4
    intercurrent_events:
      - {event: stopping, strategy: treatment_policy, handling: as observed}
    summary: difference in means
analyses:
  - id: pain
    label: Pain at week 4
    role: primary
    estimand: pain
    method: mmrm
    dataset: ADQS
    where: {PARAMCD: PAIN}
    formula: AVAL ~ BASE + TRT01P*AVISIT
    visit: V2
    better: lower
    unit: mm
multiplicity: {procedure: none, alpha: 0.05, order: [pain]}
missing_data: missing at random
tables:
  - {id: flow, kind: flow, label: Flow}
"""


def write_table(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = ["who,arm,site,visit,day,base,pain"]
    for i in range(40):
        arm, base = "pa"[i % 2], int(rng.integers(40, 80))
        for visit, day in ((1, 14), (2, 28)):
            if visit == 2 and i % 9 == 0:
                continue
            value = base - 5 * visit - 8 * (arm == "a") + rng.normal(0, 6)
            lines.append(f"{i},{arm},01,{visit},{day},{base},{min(max(value, 0), 100):.0f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make(folder: Path, *, lock: bool = True, seed: int = 11) -> Study:
    (folder / "pain.mapping.yaml").write_text(MAPPING, encoding="utf-8")
    (folder / "pain.sap.yaml").write_text(PLAN, encoding="utf-8")
    write_table(folder / "pain.csv", seed)
    study = import_table(
        folder / "pain.mapping.yaml",
        folder / "pain.csv",
        folder / "study",
        actor="olga",
        plan=folder / "pain.sap.yaml",
        keys=KeyStore(folder / "keys"),
    )
    study.add_user("stan", role="statistician")
    study.add_user("ivan", role="investigator")
    study.add_user("mona", role="monitor")
    if lock:
        lock_plan(study.as_user("stan"), signer="stan", second_signer="ivan")
    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make(tmp_path).as_user("stan")


def test_results_are_stored_and_in_the_record(study: Study) -> None:
    found = analyse(study)
    assert found["pain"].failed is None
    assert found.value("pain.difference.active.vs-placebo.V2.estimate") < 0
    assert check_flow(found) == []
    runs = [e.payload for e in study.record.read(kinds=[AnalysisRun.kind])]
    assert [run["results"] for run in runs] == [found.hash]
    assert runs[0]["plan_lock"] == found.meta["lock"]
    assert runs[0]["snapshot"] == found.meta["snapshot"]
    stored = Results.load(study.folder / runs[0]["folder"], expected=runs[0]["results"])
    assert stored.to_bytes() == found.to_bytes()
    assert study.record.verify().ok


def test_a_second_run_gives_the_same_bytes_and_no_second_event(study: Study) -> None:
    first = analyse(study)
    again = trialkit.analyse(study, snapshot=first.meta["snapshot"])
    assert again.hash == first.hash
    assert len(list(study.record.read(kinds=[AnalysisRun.kind]))) == 1


@pytest.mark.requirement("R09")
def test_without_a_lock_nothing_is_analysed(tmp_path: Path) -> None:
    opened = make(tmp_path, lock=False).as_user("stan")
    before = opened.record.head
    with pytest.raises(NotLocked) as raised:
        analyse(opened)
    assert raised.value.exit_status == 5
    assert raised.value.remedy
    assert opened.record.head == before
    assert not list((opened.folder / "results").iterdir())


def test_another_plan_than_the_locked_one_is_refused(study: Study, tmp_path: Path) -> None:
    other = tmp_path / "other.sap.yaml"
    other.write_text(PLAN.replace("visit: V2", "visit: V1"), encoding="utf-8")
    with pytest.raises(LockMismatch):
        analyse(study, plan=other)
    analyse(study, plan=tmp_path / "pain.sap.yaml")  # the locked one, elsewhere


def test_a_changed_plan_in_the_study_is_refused(study: Study) -> None:
    file = study.folder / study.state.lock.file  # type: ignore[union-attr]
    file.write_text(file.read_text().replace("role: primary", "role: secondary"))
    with pytest.raises(TrialkitError) as raised:
        analyse(study)
    assert raised.value.exit_status in {4, 5}


def test_a_moved_method_version_is_refused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from trialkit.methods import VERSIONS

    monkeypatch.setitem(VERSIONS, "mmrm", "999")
    with pytest.raises(LockMismatch, match="mmrm"):
        analyse(study)


def test_a_blinded_snapshot_is_refused(study: Study) -> None:
    blinded = build_snapshot(study)
    with pytest.raises(NotPermitted, match="blinded"):
        analyse(study, snapshot=blinded)


def test_an_altered_snapshot_is_refused(study: Study) -> None:
    built = build_snapshot(study, unblind=True)
    path = built.folder / "ADQS.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(SnapshotAltered, match="ADQS"):
        analyse(study, snapshot=built)


def test_a_snapshot_of_another_study_is_refused(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    other = make(folder, seed=12).as_user("stan")
    foreign = build_snapshot(other, unblind=True)
    with pytest.raises(LockMismatch, match="not one of this study"):
        analyse(study, snapshot=foreign.folder)


def test_an_unknown_snapshot_is_named(study: Study) -> None:
    with pytest.raises(UnknownName, match="abc"):
        analyse(study, snapshot="abc")


def test_roles_without_the_permission_are_refused(study: Study) -> None:
    for user in ("mona", "ivan"):
        with pytest.raises(NotPermitted):
            analyse(study.as_user(user))


def test_the_verbs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(study.folder.parent / "keys"))
    folder = str(study.folder)
    study.close()
    runner = CliRunner()
    done = runner.invoke(app, ["analyse", "--study", folder, "--as", "stan", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["analyses"][0]["analysis"] == "pain"
    shown = runner.invoke(app, ["results", "--study", folder])
    assert "Pain at week 4 (primary): difference" in shown.stdout
    one = "pain.difference.active.vs-placebo.V2.p"
    row = json.loads(runner.invoke(app, ["results", one, "-s", folder, "--json"]).stdout)
    assert row["results"][0]["id"] == one
    whole = runner.invoke(app, ["results", "pain", "-s", folder])
    assert one in whole.stdout
    path = Path(told["folder"]) / "results.json"
    path.write_bytes(path.read_bytes().replace(b'"p"', b'"q"', 1))
    broken = runner.invoke(app, ["results", "--study", folder])
    assert isinstance(broken.exception, IntegrityError)
