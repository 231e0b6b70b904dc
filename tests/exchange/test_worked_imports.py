"""The two worked imports reproduce the known answers of other people's programs.

The figures are in ``data/PROVENANCE.md`` beside the data: computed with R (survival, MASS), and
the complete-case MMRM in SAS by PSI CAMIS (``oracles/rbmi_published.json``).
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from trialkit._content import find_content
from trialkit.analysis import analyse
from trialkit.data import Snapshot, build_snapshot, collect, derive
from trialkit.exchange import import_table
from trialkit.plan import lock_plan
from trialkit.record import KeyStore
from trialkit.results import Results

FILES = {
    "antidepressant": "longitudinal_antidepressant_hamd17.csv",
    "cgd": "recurrent_cgd_gamma_interferon.csv",
}
Worked = tuple[pd.DataFrame, Snapshot, Results]


def work(name: str, shared: Path, folder: Path) -> Worked:
    """Import, lock by two people, unblind, analyse."""
    data = shared / "data" / FILES[name]
    with import_table(
        find_content("analyses", f"{name}.mapping.yaml"), data, folder / name, actor="owner",
        plan=find_content("analyses", f"{name}.sap.yaml"), keys=KeyStore(folder / "keys"),
    ) as study:  # fmt: skip
        study.add_user("stat", role="statistician")
        study.add_user("iris", role="investigator")
        stat = study.as_user("stat")
        lock_plan(stat, signer="stat", second_signer="iris")
        snapshot = build_snapshot(stat, unblind=True)
        assert snapshot.manifest["queries"] == 0
        return pd.read_csv(data), snapshot, analyse(stat, snapshot=snapshot)


@pytest.fixture(scope="module")
def hamd(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Worked:
    return work("antidepressant", shared, tmp_path_factory.mktemp("hamd"))


@pytest.fixture(scope="module")
def cgd(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Worked:
    return work("cgd", shared, tmp_path_factory.mktemp("cgd"))


def test_hamd_counts(hamd: Worked) -> None:
    _, snapshot, _ = hamd
    assert snapshot.frames["ADSL"]["TRT01P"].value_counts().to_dict() == {"Placebo": 88, "Drug": 84}
    last = snapshot.frames["ADQS"].query("AVISIT == 'V7'")
    arms = snapshot.frames["ADSL"].set_index("USUBJID")["TRT01P"]
    present = last["USUBJID"].map(arms).value_counts().to_dict()
    assert present == {"Placebo": 65, "Drug": 64}


def test_hamd_frame_is_the_table(hamd: Worked) -> None:
    table, snapshot, _ = hamd
    rows = snapshot.frames["ADQS"].query("ABLFL != 'Y'")
    mine = rows.assign(
        PATIENT=rows["USUBJID"].str.rpartition("-")[2].astype(int),
        VISIT=rows["AVISIT"].str[1:].astype(int),
    ).sort_values(["PATIENT", "VISIT"])
    theirs = table.sort_values(["PATIENT", "VISIT"])
    for column, other in (
        ("AVAL", "HAMDTL17"), ("BASE", "BASVAL"), ("CHG", "CHANGE"), ("ADY", "RELDAYS"),
    ):  # fmt: skip
        assert mine[column].to_numpy(dtype=float).tolist() == theirs[other].tolist()


def test_hamd_mmrm_is_the_published_estimate(hamd: Worked, shared: Path) -> None:
    published = json.loads((shared / "oracles" / "rbmi_published.json").read_text())
    known = published["sas_five_macros"]["rows"]["complete_case_mmrm"]
    results = hamd[2]
    stem = "hamd.difference.drug.vs-placebo.V7"
    assert (known["estimate"], known["se"]) == (-2.829, 1.117)  # as in PROVENANCE.md
    for statistic, digits in (("estimate", 3), ("se", 3), ("lower", 3), ("upper", 3), ("p", 4)):
        assert round(results.value(f"{stem}.{statistic}"), digits) == known[statistic], statistic


def test_hamd_first_visit_equals_rbmi(hamd: Worked, shared: Path) -> None:
    """Visit 4 is complete, so that imputation under MAR and the model without sex agree there."""
    name = "rbmi_antidepressant_condmean_jackknife.json"
    oracle = json.loads((shared / "oracles" / name).read_text())["results"][
        "condmean_jackknife|MAR"
    ]
    known = {row["parameter"]: row["est"] for row in oracle["pooled"]}
    stem = "hamd_without_sex.difference.drug.vs-placebo"
    assert hamd[2].value(f"{stem}.V4.estimate") == pytest.approx(-known["trt_4"], rel=1e-6)
    # at visit 7 the two estimators differ a little (ANCOVA of conditional means against REML)
    assert hamd[2].value(f"{stem}.V7.estimate") == pytest.approx(-known["trt_7"], abs=2e-4)


def test_cgd_counts(cgd: Worked) -> None:
    _, snapshot, _ = cgd
    people = snapshot.frames["ADSL"].set_index("USUBJID")["TRT01P"]
    assert people.value_counts().to_dict() == {"Placebo": 65, "Gamma interferon": 63}
    rows = snapshot.frames["ADINF"]
    arms = rows["USUBJID"].map(people)
    assert rows.groupby(arms)["EVENT"].sum().to_dict() == {"Gamma interferon": 20, "Placebo": 56}
    ever = rows.groupby("USUBJID")["EVENT"].max().groupby(people).sum().to_dict()
    assert ever == {"Gamma interferon": 14, "Placebo": 30}


def test_cgd_intervals_are_the_table(cgd: Worked) -> None:
    table, snapshot, _ = cgd
    rows = snapshot.frames["ADINF"]
    mine = rows.assign(id=rows["USUBJID"].str.rpartition("-")[2].astype(int))
    mine = mine.sort_values(["id", "TSTART"])[["id", "TSTART", "TSTOP", "EVENT"]]
    theirs = table.sort_values(["id", "tstart"])[["id", "tstart", "tstop", "status"]]
    assert mine.to_numpy(dtype=float).tolist() == theirs.to_numpy(dtype=float).tolist()


def test_cgd_rate_ratio(cgd: Worked) -> None:
    """.357 (.193 to .657): the interval is that of the joint information (.6575)."""
    stem = "infections.rate_ratio.gamma-interferon.vs-placebo"
    value = {s: cgd[2].value(f"{stem}.{s}") for s in ("estimate", "lower", "upper", "p")}
    assert value["estimate"] == pytest.approx(0.357, abs=5e-4)
    assert value["lower"] == pytest.approx(0.193, abs=5e-4)
    assert value["upper"] == pytest.approx(0.657, abs=6e-4)
    assert 5e-4 < value["p"] < 2e-3


def test_cgd_overdispersion(cgd: Worked) -> None:
    from trialkit.methods import negative_binomial

    rows = cgd[1].frames["ADINF"]
    people = cgd[1].frames["ADSL"].set_index("USUBJID")["TRT01P"]
    lengths = (rows["TSTOP"] - rows["TSTART"]) / 365.25
    data = pd.DataFrame(
        {
            "N": rows.groupby("USUBJID")["EVENT"].sum(),
            "YEARS": lengths.groupby(rows["USUBJID"]).sum(),
            "TRT01P": people,
        }
    )
    fit = negative_binomial("N ~ TRT01P", data, exposure="YEARS")
    assert fit.dispersion == pytest.approx(0.91, abs=5e-3)


def test_cgd_first_event(cgd: Worked) -> None:
    assert cgd[2].value("first_infection_km.logrank.p") == pytest.approx(0.00061, abs=5e-6)


def test_the_snapshot_is_rebuilt_from_the_record_export(
    shared: Path, tmp_path: Path, cgd: Worked
) -> None:
    """Events alone, without the study's folder, give the frames that were analysed."""
    from trialkit.record import read_export
    from trialkit.study import Study

    study = Study.open(cgd[1].folder.parent.parent, actor="stat", write=False)
    study.record.export(tmp_path / "record.jsonl")
    design = study.design
    study.close()
    sdtm = collect(list(read_export(tmp_path / "record.jsonl")), design, unblind=True)
    for name, frame in {**sdtm, **derive(sdtm, design)}.items():
        pd.testing.assert_frame_equal(frame, cgd[1].frames[name])
