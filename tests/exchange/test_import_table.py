"""Import of tidy tables: every fault with its line, and nothing created; else a study."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from trialkit.data import build_snapshot, collect, derive, queries
from trialkit.errors import Duplicate, MappingFindings, PlanFindings, StorageRefused
from trialkit.exchange import import_table
from trialkit.record import KeyStore
from trialkit.study import Study

MAPPING = """\
schema: trialkit.mapping/1
study: {id: MINI, title: A small table, date: 2020-05-04}
arms:
  - {code: A, label: Active, value: act}
  - {code: P, label: Placebo, value: pla}
columns:
  subject: id
  arm: grp
  site: centre
  attributes:
    - {name: age_years, column: age, type: number}
    - {name: sex, column: sex}
  strata:
    - {name: band, column: band}
assessments:
  visit: visit
  day: day
  visits:
    - {code: BL, label: Baseline, day: 0, window_days: [0, 0], baseline: true}
    - {code: W4, label: Week 4, day: 28, window_days: [-7, 7], value: "1"}
    - {code: W8, label: Week 8, day: 56, window_days: [-7, 7], value: "2"}
  measures:
    - instrument: SCALE
      name: A scale
      paramcd: SCL
      param: Scale total
      unit: points
      column: score
      baseline: base
      minimum: 0
      maximum: 52
      better: lower
"""
TABLE = """\
id,grp,centre,age,sex,band,visit,day,base,score
1,act,North,60,f,low,1,27,20,18
1,act,North,60,f,low,2,58,20,15
2,pla,South,71,m,high,1,30,25,25
3,pla,North,NA,f,low,1,28,22,
3,pla,North,NA,f,low,2,90,22,19
"""
TIMES = """\
schema: trialkit.mapping/1
study: {id: TIMES, title: Intervals, date: 2020-05-04}
arms: [{code: A, label: Active, value: a}, {code: P, label: Placebo, value: p}]
columns: {subject: id, arm: arm}
recurrent:
  {start: t0, stop: t1, event: ev, time_unit: days, paramcd: FALL, label: Fall, dataset: ADFALL}
"""


class Desk:
    """Writes the two files and imports them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "study"

    def run(self, mapping: str = MAPPING, table: str = TABLE, plan: Path | None = None) -> Study:
        (self.folder / "m.yaml").write_text(mapping)
        (self.folder / "t.csv").write_text(table)
        return import_table(
            self.folder / "m.yaml", self.folder / "t.csv", self.target, actor="imp",
            keys=KeyStore(self.folder / "keys"), plan=plan,
        )  # fmt: skip

    def faults(self, mapping: str = MAPPING, table: str = TABLE) -> list[str]:
        with pytest.raises(MappingFindings) as caught:
            self.run(mapping, table)
        assert not self.target.exists()
        assert all(f.remedy for f in caught.value.findings)
        return [str(f) for f in caught.value.findings]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_table_becomes_an_ordinary_study(desk: Desk) -> None:
    with desk.run() as study:
        assert study.status().chain_ok
        assert (desk.target / "import" / "mapping.yaml").read_text() == MAPPING
        frames = derive(collect(study), study.design)
        assert len(queries(study)) == 0
        people = frames["ADSL"].set_index("USUBJID")
        assert people["SITEID"].tolist() == ["North", "South", "North"]
        assert people["BAND"].tolist() == ["low", "high", "low"]
        assert people["AGE"].fillna(-1).tolist() == [60, 71, -1]
        assert people["EOSSTT"].tolist() == ["COMPLETED", "DISCONTINUED", "COMPLETED"]
        assert people.at["MINI-2", "DCSREAS"] == "hidden while blinded"
        plain = derive(collect(study, mask=False), study.design)["ADSL"].set_index("USUBJID")
        assert plain.at["MINI-2", "DCSREAS"] == "not_in_table"
        rows = frames["ADQS"][["USUBJID", "AVISIT", "ADY", "AVAL", "BASE", "CHG"]]
        assert rows.fillna(-99).to_numpy().tolist() == [
            ["MINI-1", "BL", 0, 20, 20, -99],
            ["MINI-1", "W4", 27, 18, 20, -2],
            ["MINI-1", "W8", 58, 15, 20, -5],
            ["MINI-2", "BL", 0, 25, 25, -99],
            ["MINI-2", "W4", 30, 25, 25, 0],
            ["MINI-3", "BL", 0, 22, 22, -99],
            ["MINI-3", "W8", 90, 19, 22, -3],
        ]
        deviations = collect(study)["DV"]
        assert deviations["DVCAT"].tolist() == ["visit_window"]  # day 90 is outside week 8


def test_arms_stay_concealed_and_are_committed(desk: Desk) -> None:
    with desk.run() as study:
        built = build_snapshot(study)
        assert built.frames["ADSL"]["TRT01P"].isna().all()
        study.add_user("cora", role="coordinator")
        study.add_user("stat", role="statistician")
        arms = {who: arm for who, (arm, _) in study.as_user("stat").allocations().items()}
        assert arms == {"MINI-1": "A", "MINI-2": "P", "MINI-3": "P"}


def test_the_same_import_gives_the_same_events_and_snapshot(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with Desk(tmp_path / name).run() as study:
            payloads = [
                {key: value for key, value in event.payload.items() if key != "commitment"}
                for event in study.record.read()
                if event.kind != "user.added"
            ]
            times = {event.at for event in study.record.read()}
            seen.append((payloads, times, build_snapshot(study).hash))
    assert seen[0] == seen[1]
    assert seen[0][1] == {"2020-05-04T00:00:00.000000Z"}


def test_gzip_is_read(desk: Desk) -> None:
    (desk.folder / "m.yaml").write_text(MAPPING)
    (desk.folder / "t.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    keys = KeyStore(desk.folder / "keys")
    with import_table(
        desk.folder / "m.yaml", desk.folder / "t.csv.gz", desk.target, actor="imp", keys=keys
    ) as study:
        assert len(study.state.participants) == 3


def test_every_fault_of_the_table_is_listed_with_its_line(desk: Desk) -> None:
    table = TABLE + (
        "4,placebo,North,60,f,low,1,28,20,18\n"  # line 7: unknown arm
        "5,act,North,old,f,low,1,28,20,18\n"  # line 8: age is no number
        "6,act,North,60,f,low,9,28,20,18\n"  # line 9: unknown visit
        "1,act,North,60,f,low,1,27,20,18\n"  # line 10: visit twice
        "2,act,South,71,m,high,2,56,26,25\n"  # line 11: arm and baseline changed
        "7,act,North,60,f,low,1,28.5,20,99\n"  # line 12: half a day; out of range
        "8,act,North,60,f,low\n"  # line 13: short row
        ",act,North,60,f,low,1,28,20,18\n"  # line 14: nobody
        "9,act,North,60,f,low,1,28,20,18.25\n"  # line 15: decimals
    )
    found = desk.faults(table=table)
    expected = [
        "line 7: t.csv:grp: unknown arm 'placebo'.",
        "line 8: t.csv:age: 'old' is not a number.",
        "line 9: t.csv:visit: unknown visit '9'.",
        "line 10: t.csv:visit: 1 has visit 1 twice.",
        "line 11: t.csv:grp: 2 has 'act' here and 'pla' on line 4.",
        "line 11: t.csv:base: 2 has baseline 26 here and 25 on line 4.",
        "line 12: t.csv:day: 28.5 is not a whole day.",
        "line 12: t.csv:score: 99 is outside 0 to 52 points.",
        "line 13: t.csv: 6 cells under 10 columns.",
        "line 14: t.csv:id: the participant is missing.",
        "line 15: t.csv:score: 18.25 has more than 0 decimals.",
    ]
    assert [text[: len(e)] for text, e in zip(found, expected, strict=True)] == expected


def test_unknown_columns_name_the_line_of_the_mapping_and_the_nearest(desk: Desk) -> None:
    wrong = MAPPING.replace("column: score", "column: scores").replace("site: centre", "site: ctr")
    found = desk.faults(mapping=wrong)
    assert len(found) == 2
    line = wrong.splitlines().index("      column: scores") + 1
    assert found[1].startswith(f"line {line}: ")
    assert "Did you mean score?" in found[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit: points", "units: points", "unknown key"),
        ("paramcd: SCL", "paramcd: WS10C", "WS10C is in m/s everywhere, not in points"),
        ('value: "2"', 'value: "1"', "visit value 1 is given twice"),
        (', value: "2"', "", "visit W8 has no value"),
        (", baseline: true", ', value: "0"', "no baseline visit for the baseline column"),
        ("code: P", "code: A", "arm code A is given twice"),
        ("better: lower", "better: less", "better"),
    ],
)
def test_faults_of_the_mapping(desk: Desk, old: str, new: str, message: str) -> None:
    assert any(message in text for text in desk.faults(MAPPING.replace(old, new)))


def test_wrong_unit_of_time_is_refused(desk: Desk) -> None:
    (text,) = desk.faults(TIMES.replace("time_unit: days", "time_unit: weeks"), "id\n")
    assert "times in 'weeks' cannot be used" in text


def test_intervals_are_taken_as_they_are(desk: Desk) -> None:
    table = "id,arm,t0,t1,ev\n1,a,0,5,1\n1,a,5,9,0\n1,a,12,20,1\n2,p,0,7,0\n"
    with desk.run(TIMES, table) as study:
        frames = derive(collect(study), study.design)
        rows = frames["ADFALL"][["USUBJID", "TSTART", "TSTOP", "EVENT"]].to_numpy().tolist()
        assert rows == [
            ["TIMES-1", 0, 5, 1],
            ["TIMES-1", 5, 9, 0],
            ["TIMES-1", 12, 20, 1],
            ["TIMES-2", 0, 7, 0],
        ]
        assert frames["ADTTE"][["AVAL", "CNSR"]].to_numpy().tolist() == [[5, 0], [7, 1]]


def test_faults_of_intervals(desk: Desk) -> None:
    table = "id,arm,t0,t1,ev\n1,a,0,5,1\n1,a,4,9,0\n2,p,3,3,0\n3,p,0,7,2\n4,p,,7,0\n"
    found = desk.faults(TIMES, table)
    expected = [
        "line 3: t.csv:t0: 1 is at risk twice between 4 and 9.",
        "line 4: t.csv:t1: an interval from 3 to 3 has no length",
        "line 5: t.csv:ev: '2' is neither 1 (event) nor 0.",
        "line 6: t.csv:t0: the day is missing.",
    ]
    assert [text[: len(e)] for text, e in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("table", ["", "id,grp\n", TABLE.splitlines()[0] + "\n"])
def test_an_empty_table_is_a_finding(desk: Desk, table: str) -> None:
    assert desk.faults(table=table)


def test_a_missing_file_is_a_finding(desk: Desk) -> None:
    (desk.folder / "m.yaml").write_text(MAPPING)
    with pytest.raises(MappingFindings, match="cannot be read"):
        import_table(desk.folder / "m.yaml", desk.folder / "no.csv", desk.target, actor="imp")
    assert not desk.target.exists()


def test_a_faulty_plan_creates_nothing(desk: Desk) -> None:
    plan = desk.folder / "p.sap.yaml"
    plan.write_text("schema: trialkit.plan/1\nid: p\n")
    with pytest.raises(PlanFindings):
        desk.run(plan=plan)
    assert not desk.target.exists()


def test_a_study_in_the_way_stays_as_it_is(desk: Desk) -> None:
    desk.run().close()
    before = sorted(p.name for p in desk.target.rglob("*"))
    with pytest.raises(Duplicate):
        desk.run()
    assert sorted(p.name for p in desk.target.rglob("*")) == before


def test_a_refused_disk_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from trialkit import participants

    def full(*_: object, **__: object) -> None:
        raise StorageRefused("the disk is full.", remedy="Free space.")

    monkeypatch.setattr(participants, "allocate_known", full)
    with pytest.raises(StorageRefused):
        desk.run()
    assert not desk.target.exists()
