"""Import from another system: everything is found before anything is entered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import START, WALK, enrolled, make_study, randomised, write_protocols

from trialkit._clock import SimulatedClock
from trialkit.errors import DataLocked, MappingFindings
from trialkit.exchange.redcap import draft_redcap, import_redcap
from trialkit.exchange.redcap.dictionary import COLUMNS
from trialkit.participants import assess, enrol, hold_visit, withdraw
from trialkit.record import KeyStore
from trialkit.study import Study

HEADER = ",".join(f'"{c}"' for c in COLUMNS)
DICTIONARY = f"""{HEADER}
subject,screening,,text,Subject,,,,,,,,,,,,,
visit_note,screening,,descriptive,Please read,,,,,,,,,,,,,
walk_dist,walk,,radio,Timed distance,"1, 6 | 2, 10",Unit: m,,,,,,,,,,,
walk_1,walk,,text,"Comfortable pace, trial 1",,Unit: s,number,0,999,,,,,,,,
walk_2,walk,,text,Second walk,,,number,0,999,,,,,,,,
aids,walk,,checkbox,Aids,"0, none | 1, cane",,,,,,,,,,,,
bbs01,berg,,dropdown,Sitting to standing,"0, 0 | 1, 1 | 2, 2 | 3, 3 | 4, 4 | 9, unknown",,,,,,,,,,,,
"""
MAPPING = """\
schema: trialkit.exchange/1
format: redcap
participant: subject
participants: {"1": SMALL-01-001, "2": SMALL-01-002}
missing: [UNK]
late_reason: entered in REDCap at the visit
ignore: [aids___0, aids___1, walk_complete]
forms:
  - form: 10MWT
    visits: {screening_arm_1: BL}
    items:
      TIMED_M: {column: walk_dist, unit: m, codes: {1: 6, 2: 10}}
      C1_S: {column: walk_1, unit: s}
      C2_S: {column: walk_2, unit: s, decimal: comma}
"""
RECORDS = """\
subject,redcap_event_name,walk_dist,walk_1,walk_2,aids___0,aids___1,walk_complete
1,screening_arm_1,2,20.5,"21,25",1,0,2
"""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = make_study(folder / "s")
        self.study.add_user("dana", role="data_manager")
        self.usubjid = enrolled(self.study)
        hold_visit(self.study, self.usubjid, "BL", day=-2)

    def load(
        self,
        records: str = RECORDS,
        mapping: str = MAPPING,
        dictionary: str | None = None,
        **more: Any,
    ) -> Any:
        (self.folder / "m.yaml").write_text(mapping, encoding="utf-8")
        (self.folder / "r.csv").write_text(records, encoding="utf-8")
        if dictionary is not None:
            (self.folder / "d.csv").write_text(dictionary, encoding="utf-8")
            more["dictionary"] = self.folder / "d.csv"
        return import_redcap(
            self.study.as_user("dana"), self.folder / "m.yaml", self.folder / "r.csv", **more
        )

    def found(self, *args: Any, **more: Any) -> str:
        """Return what an import finds, after checking that it left the record as it was."""
        head = self.study.record.head
        with pytest.raises(MappingFindings) as caught:
            self.load(*args, **more)
        assert self.study.record.head == head
        assert self.study.state.hash == head[1]
        assert caught.value.exit_status == 3
        return "\n".join(map(str, caught.value.findings))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.study.close()


def test_what_is_sound_enters(desk: Desk) -> None:
    done = desk.load()
    state = desk.study.participant(desk.usubjid).assessments["BL", "10MWT"]
    assert state.items == {"TIMED_M": 10, "C1_S": 20.5, "C2_S": 21.25}
    assert state.scores["WS10C"] == pytest.approx(10 / 20.875, abs=1e-4)
    assert [c.what for c in done.changes] == ["10MWT at BL"]


def test_every_fault_of_the_mapping_is_told_at_once(desk: Desk) -> None:
    mapping = MAPPING.replace("codes: {1: 6, 2: 10}", "codes: {1: 7, 2: 10}")
    mapping = mapping.replace("{column: walk_1, unit: s}", "{column: walk_l, unit: min}")
    mapping = mapping.replace("unit: s, decimal", "decimal").replace("walk_complete", "other")
    mapping += "  - {form: BBS, visits: {x: W8}, items: {BBS99: {column: walk_dist, unit: m}}}\n"
    mapping += "  - {form: XYZ, visits: {x: W9}, items: {A: {column: aids___0}}}\n"
    mapping += "diaries: [{diary: FALLS, from_day: {column: a}, to_day: {column: b}}]\n"
    mapping += "undecided: [aids___2]\n"
    found = desk.found(mapping=mapping)
    for text in (
        "has no column walk_l. Did you mean walk_2?",
        "walk_dist is mapped to forms[0].items.TIMED_M too",
        "aids___0 is mapped and ignored",
        "aids___2 is not decided",
        "column walk_1 of r.csv is neither mapped nor ignored",
        "column walk_complete of r.csv is neither mapped nor ignored",
        "'7' is no entry of TIMED_M. Use 6 or 10.",
        "C1_S is in s, and cannot be entered in min",
        "the unit of walk_2 is not given. Give s",
        "W8 does not plan BBS. It is planned at BL, W4.",
        "there is no item BBS99",
        "there is no form XYZ",
        "there is no diary FALLS. Did you mean FALL?",
    ):
        assert text in found, text
    assert "line 13: forms[0].items.C1_S: r.csv has no column" in found


def test_every_fault_of_the_cells_is_told_at_once(desk: Desk) -> None:
    records = RECORDS + (
        "1,screening_arm_1,2,20,,,,\n"
        "2,screening_arm_1,3,x,,,,\n"
        "SMALL-01-009,screening_arm_1,2,20,,,,\n"
        "2,week_4_arm_1,2,20,,,,\n"
    )
    found = desk.found(records)
    for text in (
        "line 3: r.csv: the row 1, screening_arm_1 is at line 2 already",
        "form 10MWT SMALL-01-001, BL is at line 2 already",
        "line 4: r.csv:walk_dist: '3' is none of its codes",
        "line 6: r.csv: event 'week_4_arm_1' of 10MWT has no visit",
        "line 5: r.csv: no participant SMALL-01-009",
    ):
        assert text in found, text


def test_every_refusal_of_the_commands_is_told_at_once(desk: Desk) -> None:
    study = desk.study
    unknown, without = "SMALL-01-009", str(enrol(study, site="01").subject)
    gone = enrolled(study)
    hold_visit(study, gone, "BL", day=-1)
    withdraw(study, gone, day=0, code="moved")
    no_visit = enrolled(study)
    head = "subject,redcap_event_name,walk_dist,walk_1,walk_2,aids___0,aids___1,walk_complete\n"
    rows = "".join(
        f"{name},screening_arm_1,2,20,,,,\n" for name in (unknown, without, gone, no_visit)
    )
    found = desk.found(head + rows + f"{desk.usubjid},screening_arm_1,2,1.5,twelve,,,\n")
    for text in (
        f"no participant {unknown}",
        f"{without} has not given consent",
        f"{gone} withdrew on day 0",
        f"{no_visit}: visit BL is not recorded as held",
        "10MWT.C1_S: 1.5 is outside 2 to 600 s",
        "10MWT.C2_S: 'twelve' is not a number",
    ):
        assert text in found, text


def test_dates_that_cannot_be_read(desk: Desk) -> None:
    mapping = MAPPING + "    done_on: {column: day, format: '%d.%m.%Y'}\n"
    records = RECORDS.replace("subject,", "subject,day,").replace("1,scr", "1,{},scr")
    assert "'2026-01-02' is no date as %d.%m.%Y" in desk.found(
        records.format("2026-01-02"), mapping
    )
    assert "lies ahead" in desk.found(records.format("02.01.2027"), mapping)
    desk.load(records.format("02.01.2026"), mapping)
    assert desk.study.participant(desk.usubjid).assessments["BL", "10MWT"].done_on == "2026-01-02"


def test_the_dictionary_is_held_against_the_mapping(desk: Desk) -> None:
    wrong = DICTIONARY.replace('"1, 6 | 2, 10"', '"1, 6 | 2, 10 | 3, 20"').replace(
        '1",,Unit: s,number', '1",,Unit: min,number'
    )
    wrong = wrong.replace("Second walk,,,number", "Second walk,,,date_ymd")
    found = desk.found(dictionary=wrong)
    assert "code '3' of walk_dist (20) has no entry" in found
    assert "says that walk_1 is in min, not s" in found
    assert "walk_2 is a column of type date, C2_S is number" in found
    desk.load(dictionary=DICTIONARY)
    assert "field type 'rado'" in desk.found(dictionary=DICTIONARY.replace("radio", "rado"))
    assert "is there twice" in desk.found(dictionary=DICTIONARY.replace("walk_2,", "walk_1,"))


def test_what_is_recorded_otherwise_is_refused(desk: Desk) -> None:
    assess(desk.study.as_user("asta"), desk.usubjid, visit="BL", instrument="10MWT", items=WALK)
    found = desk.found()
    assert "10MWT at BL: C1_S is recorded as 20.0, the file has 20.5" in found
    assert "10MWT at BL: C2_S is recorded as 20.0, the file has 21.25" in found
    same = RECORDS.replace("20.5", "20").replace('"21,25"', "")  # a blank takes nothing away
    done = desk.load(same)
    assert (done.unchanged, done.event) == (1, None)


def test_or_a_query_asks_and_the_rest_enters(desk: Desk) -> None:
    assess(desk.study.as_user("asta"), desk.usubjid, visit="BL", instrument="10MWT", items=WALK)
    other = enrolled(desk.study)
    hold_visit(desk.study, other, "BL", day=-2)
    records = RECORDS + "2,screening_arm_1,1,30,,,,\n"
    mapping = MAPPING + "conflicts: query\n"
    done = desk.load(records, mapping)
    assert done.queries == ["Q0001", "Q0002"]
    assert {c.kind for c in done.changes} == {"assessment.recorded", "query.raised"}
    queries = desk.study.state.queries
    assert queries["Q0001"].place.item == "C1_S"
    assert queries["Q0001"].rule == "import.conflict"
    kept = desk.study.participant(desk.usubjid).assessments["BL", "10MWT"].items
    assert kept == WALK
    assert (other, "BL", "10MWT") == (done.changes[0].usubjid, "BL", "10MWT")
    head = desk.study.record.head
    again = desk.load(records, mapping)
    assert (again.queries, again.event, desk.study.record.head) == ([], None, head)


def test_a_late_form_needs_a_reason(tmp_path: Path) -> None:
    made = Desk(tmp_path)
    with made.study as study:
        late = study.design.model_copy(update={"late_entry_days": 1})
        study.design = late
        view: Study = study.as_user("dana")
        view.design = late
        mapping = MAPPING + "    done_on: {column: day}\n"
        records = RECORDS.replace("subject,", "subject,day,").replace("1,scr", "1,2026-01-01,scr")
        (tmp_path / "m.yaml").write_text(mapping.replace("late_reason: entered", "#"))
        (tmp_path / "r.csv").write_text(records)
        with pytest.raises(MappingFindings) as caught:
            import_redcap(view, tmp_path / "m.yaml", tmp_path / "r.csv")
        assert "4 days after it was done" in str(caught.value.findings[0])
        (tmp_path / "m.yaml").write_text(mapping)
        import_redcap(view, tmp_path / "m.yaml", tmp_path / "r.csv")
        (event,) = study.record.read(kinds=["assessment.recorded"])
        assert (event.payload["late"], event.reason) == (True, "entered in REDCap at the visit")


def test_frozen_data_take_nothing(desk: Desk) -> None:
    from trialkit.study.datalock import freeze

    freeze(desk.study.as_user("dana"), reason="interim")
    head = desk.study.record.head[0]
    with pytest.raises(DataLocked):
        desk.load()
    assert [e.kind for e in desk.study.record.read(after=head)] == ["command.refused"]


def test_repetitions_can_be_visits(desk: Desk) -> None:
    usubjid = randomised(desk.study)
    for visit, day in (("W4", 28), ("W8", 56)):
        hold_visit(desk.study, usubjid, visit, day=day)
    records = (
        "record_id,redcap_repeat_instrument,redcap_repeat_instance,dist,t\n"
        f"{usubjid},walk,1,10,20\n{usubjid},walk,2,10,18\n"
    )
    mapping = """\
schema: trialkit.exchange/1
format: redcap
forms:
  - form: 10MWT
    visits: {"#1": W4, "#2": W8}
    items: {TIMED_M: {column: dist, unit: m}, C1_S: {column: t, unit: s}}
"""
    desk.load(records, mapping)
    found = desk.study.participant(usubjid).assessments
    assert [found[v, "10MWT"].items["C1_S"] for v in ("W4", "W8")] == [20, 18]


def test_a_draft_of_a_foreign_dictionary_leaves_open_what_a_person_decides(desk: Desk) -> None:
    (desk.folder / "d.csv").write_text(DICTIONARY, encoding="utf-8")
    text = draft_redcap(desk.study, desk.folder / "d.csv")
    assert "participant: subject" in text
    assert "- aids___1" in text.split("undecided:")[1].split("forms:")[0]
    assert "- walk_2" in text.split("undecided:")[1].split("forms:")[0]
    assert "column: walk_dist" in text
    assert "'2': '10'" in text
    assert "unit: '?'" in text  # of bbs01, whose dictionary does not say
    assert "cannot be entered in ?" in desk.found(mapping=text)


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ("", "there is no column subject"),
        ("subject;a\n1;2\n", "Export it with commas"),
        ("subject,a,a\n1,2,3\n", "is there twice"),
        ("subject,a\n1\n", "1 cells under 2 columns"),
        ("subject,a\n", "has no records"),
        ("subject,a\n,2\n", "the participant is missing"),
    ],
)
def test_files_that_are_no_records(desk: Desk, records: str, text: str) -> None:
    assert text in desk.found(records)


def test_in_postgresql_too_nothing_is_kept_or_everything(postgres: Any, tmp_path: Path) -> None:
    with Study.create(
        tmp_path / "study",
        protocols=write_protocols(tmp_path),
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(tmp_path / "keys"),
        seed=1,
        database=postgres.database(),
    ) as study:
        study.add_user("dana", role="data_manager")
        hold_visit(study, enrolled(study), "BL", day=-2)
        (tmp_path / "m.yaml").write_text(MAPPING)
        (tmp_path / "r.csv").write_text(RECORDS + "2,screening_arm_1,2,20,,,,\n")
        head, dana = study.record.head, study.as_user("dana")
        with pytest.raises(MappingFindings):
            import_redcap(dana, tmp_path / "m.yaml", tmp_path / "r.csv")
        assert (study.record.head, study.record.last_given) == (head, head[0])
        (tmp_path / "r.csv").write_text(RECORDS)
        done = import_redcap(dana, tmp_path / "m.yaml", tmp_path / "r.csv")
        assert [c.what for c in done.changes] == ["10MWT at BL"]
        assert study.record.verify().ok
