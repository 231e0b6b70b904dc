"""REDCap: a study out and in again item by item, the dictionary, and what must not be told."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forms_study import ALL_FORMS, enter_people, fill, make, prepare, standing
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_study, randomised

from trialkit._canonical import sha256_file
from trialkit.errors import Duplicate, NotPermitted
from trialkit.exchange.foreign.contents import Filled, Group, Subject, Version, layout
from trialkit.exchange.foreign.mapping import ExchangeMapping
from trialkit.exchange.foreign.read import Reading
from trialkit.exchange.redcap import (
    COLUMNS,
    draft_redcap,
    export_redcap,
    import_redcap,
    read_dictionary,
    read_records,
)
from trialkit.exchange.redcap.branching import Words, branching
from trialkit.exchange.redcap.dictionary import write_csv
from trialkit.exchange.redcap.names import MISSING, redcap_names
from trialkit.exchange.redcap.records import record_columns, record_rows
from trialkit.participants import assess, miss_session
from trialkit.protocol.forms import Form, Item, load_forms, read_entries
from trialkit.protocol.forms.skip import Value, holds
from trialkit.protocol.model import Arm, Visit
from trialkit.record.chain import Event
from trialkit.study import Design


class Desk:
    """Two studies of one design: the first filled in and exported, the second as good as empty."""

    def __init__(self, folder: Path) -> None:
        self.out, self.mapping = folder / "out", folder / "mapping.yaml"
        self.first = make(folder / "a")
        fill(self.first, enter_people(self.first))
        self.given = export_redcap(self.first.as_user("dana"), self.out)
        export_redcap(self.first.as_user("ivan"), folder / "whole")
        self.second = make(folder / "b")
        prepare(self.second, self.first)
        text = draft_redcap(self.second, self.out / "dictionary.csv")
        self.mapping.write_text(text, encoding="utf-8")

    def load(self, user: str = "dana", **more: Any) -> Any:
        return import_redcap(
            self.second.as_user(user),
            self.mapping,
            self.out.parent / "whole" / "records.csv",
            dictionary=self.out / "dictionary.csv",
            **more,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.first.close()
    made.second.close()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_form_comes_back_item_by_item(desk: Desk) -> None:
    assert len(ALL_FORMS) == 23
    assert {form for _, _, form in (k for k in standing(desk.first) if len(k) == 3)} >= {*ALL_FORMS}
    head = desk.second.record.head
    checked = desk.load(check_only=True)
    assert desk.second.record.head == head
    assert checked.event is None
    done = desk.load()
    assert standing(desk.second) == standing(desk.first)
    assert [c.seq for c in done.changes] == list(range(head[0] + 1, done.event.seq))
    assert done.changes == checked.changes
    payload = done.event.payload
    assert payload["file_sha256"] == sha256_file(desk.out.parent / "whole" / "records.csv")
    assert payload["mapping_sha256"] == sha256_file(desk.mapping)
    assert (payload["format"], payload["participants"]) == ("redcap", 3)
    assert desk.second.record.verify().ok
    entered = [
        event
        for event in desk.second.record.read(kinds=["assessment.recorded"])
        if event.payload["imported_from"] is not None
    ]
    assert {e.payload["imported_from"] for e in entered} == {payload["file_sha256"]}
    assert {e.actor for e in entered} == {"dana"}


def test_a_second_import_changes_nothing(desk: Desk) -> None:
    first = desk.load()
    head = desk.second.record.head
    again = desk.load()
    assert (again.changes, again.conflicts, again.event) == ([], [], None)
    assert again.unchanged > first.unchanged
    assert desk.second.record.head == head


def test_an_export_is_an_event_and_overwrites_nothing(desk: Desk) -> None:
    event = next(iter(desk.first.record.read(kinds=["data.exported"])))
    assert event.payload["files"] == {p.name: sha256_file(p) for p in desk.out.iterdir()}
    assert event.payload["blinded"] is True
    with pytest.raises(Duplicate):
        export_redcap(desk.first.as_user("dana"), desk.out)


def test_the_dictionary_is_one_that_redcap_takes(desk: Desk) -> None:
    rows = rows_of(desk.out / "dictionary.csv")
    assert tuple(rows[0]) == COLUMNS
    assert len(COLUMNS) == 18
    names = [row[COLUMNS[0]] for row in rows]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) and "___" not in name for name in names)
    forms = [row[COLUMNS[1]] for row in rows]
    runs = [f for f, before in zip(forms, ["", *forms[:-1]], strict=True) if f != before]
    assert len(set(runs)) == len(runs)  # the fields of a form stand together
    known = set(names)
    for row in rows:
        assert set(re.findall(r"\[(\w+)\]", row[COLUMNS[11]])) <= known
        for code in re.findall(r"(?:^|\|)\s*([^,|]+),", row[COLUMNS[5]]):
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", code.strip())
    kinds = {row[COLUMNS[3]] for row in rows}
    assert kinds == {"text", "notes", "radio", "dropdown", "yesno", "checkbox"}
    assert read_dictionary(desk.out / "dictionary.csv").findings == []


def test_rows_are_one_a_record_and_event_and_one_a_repetition(desk: Desk) -> None:
    rows = rows_of(desk.out / "records.csv")
    keys = [tuple(list(row.values())[:4]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {k[1] for k in keys} == {"enrolment_arm_1", "baseline_arm_1", "week_4_arm_1"}
    assert {k[2] for k in keys} == {"", "diary_fall", "entry_fall"}
    cells = {cell for row in rows for cell in row.values()}
    assert set(MISSING) <= cells
    boxes = [name for name in rows[0] if re.fullmatch(r"f10mwt_implausible___\w+", name)]
    assert len(boxes) == 4
    assert {row[name] for row in rows for name in boxes} == {"", "0", "1"}


def test_nothing_tells_the_arm(desk: Desk) -> None:
    """The text of a blinded person's files does not depend on who got which arm."""
    text = "".join(p.read_text(encoding="utf-8") for p in desk.out.iterdir())
    assert "ROBOTIC" not in text
    assert "CONVENTIONAL" not in text
    assert "hidden while blinded" in text
    export_redcap(desk.first, desk.out.parent / "open")
    shown = (desk.out.parent / "open" / "records.csv").read_text(encoding="utf-8")
    assert "the ROBOTIC arm was told" in shown


def test_who_may(desk: Desk) -> None:
    for user in ("theo", "cora", "olga", "ivan", "mona"):
        with pytest.raises(NotPermitted, match="import forms"):
            desk.load(user)
    with pytest.raises(NotPermitted, match="export forms"):
        export_redcap(desk.first.as_user("theo"), desk.out.parent / "no")
    assert not (desk.out.parent / "no").exists()
    desk.load("asta")
    with pytest.raises(NotPermitted, match="assess"):  # what was lent is given back
        assess(
            desk.second.as_user("dana"),
            next(iter(desk.second.state.participants)),
            visit="BL",
            instrument="ABC",
        )


def test_a_person_of_one_site_gives_and_takes_that_site(desk: Desk) -> None:
    for study in (desk.first, desk.second):
        study.add_user("sita", role="data_manager", sites=["01"])
    given = export_redcap(desk.first.as_user("sita"), desk.out.parent / "own")
    assert given.participants == 1
    head = desk.second.record.head[0]
    with pytest.raises(NotPermitted, match="site 01 and not for site 02"):
        desk.load("sita")
    (refused,) = desk.second.record.read(after=head)
    assert refused.kind == "command.refused"


# --- values, whatever they are ---------------------------------------------------------------

FORM = Form(
    code="ANY",
    name="Anything",
    items=[
        Item(id="N", minimum=-1000, maximum=1000, decimals=3, unit="s", units={"ms": 0.001}),
        Item(id="I", type="integer", minimum=-5, maximum=9999),
        Item(id="T", type="text", max_length=2000),
        Item(id="D", type="date"),
        Item(id="H", type="time"),
        Item(id="Y", type="yes_no"),
        Item(id="C", type="choice", choices=[0, 1, "1+", "NI", 2.5, "a|b", "ä, ö"]),
    ],
)
DESIGN = Design(
    arms=[Arm(code="A", label="A", delivery="none")],
    visits=[Visit(code="V", label="Visit 1", day=0, window_days=(0, 0), assessments=["ANY"])],
    instruments={"ANY": FORM},
)
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "N": st.integers(-1_000_000, 1_000_000).map(lambda n: n / 1000),
        "I": st.integers(-5, 9999),
        "T": st.one_of(TEXT, st.sampled_from(["007", "1,5", "NI", '"', "a\r\nb", "=A1", "1e5"])),
        "D": st.dates().map(str),
        "H": st.times().map(lambda t: t.strftime("%H:%M")),
        "Y": st.sampled_from(["Y", "N"]),
        "C": st.sampled_from(FORM.items[-1].choices),
    },
)


def form_group() -> Group:
    return Group("ANY", "Anything", "form", tuple(FORM.items), ("V",), FORM)


def filled(values: dict[str, Any]) -> Subject:
    event = Event(1, "assessment.recorded", "", 0, "", "", None, None, {}, "", "")
    version = Version(event, values, None)
    return Subject("S-01-001", "01", [Filled("ANY", "V", None, [version])])


@given(VALUES)
def test_any_value_survives_the_files(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, Any]
) -> None:
    values = read_entries(FORM, raw).values
    assert read_entries(FORM, raw).findings == [] or "T" in raw  # a text may be blank
    values = {name: value for name, value in values.items() if value is not None}
    group, names = form_group(), redcap_names([form_group()], DESIGN)
    rows = list(record_rows(filled(values), {"ANY": group}, names))
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(write_csv(record_columns([group], names), rows))
    table = read_records(path)
    assert table.findings == []
    mapping = ExchangeMapping.model_validate(
        {
            "schema": "trialkit.exchange/1",
            "format": "redcap",
            "missing": list(MISSING),
            "forms": [
                {
                    "form": "ANY",
                    "visits": {"visit_1_arm_1": "V"},
                    "items": {
                        item.id: {"column": names.variables["ANY", item.id]}
                        | ({"unit": "s"} if item.unit else {})
                        | ({"codes": {"1": "Y", "0": "N"}} if item.type == "yes_no" else {})
                        | ({"codes": CODES} if item.type == "choice" else {})
                        for item in FORM.items
                    },
                }
            ],
        }
    )
    reading = Reading(mapping, DESIGN, table)
    assert reading.findings == []
    got = read_entries(FORM, reading.forms[0].items).values if reading.forms else {}
    assert got == values


CODES = {"0": "0", "1": "1", "1_": "1+", "NI": "NI", "2.5": "2.5", "a_b": "a|b", "____": "ä, ö"}


# --- branching -------------------------------------------------------------------------------

OPERANDS = st.one_of(
    st.builds("N {} {}".format, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
              st.integers(-2, 2)),
    st.builds("C {} '{}'".format, st.sampled_from(["==", "!="]), st.sampled_from("ab")),
    st.builds("C {} ['a', 'c']".format, st.sampled_from(["in", "not in"])),
    st.builds("Y {} {}".format, st.sampled_from(["==", "!="]), st.sampled_from(["yes", "no"])),
    st.just("-1 < N <= M"),
)  # fmt: skip
CONDITIONS = st.recursive(
    OPERANDS,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


def redcap_holds(logic: str, values: dict[str, Value]) -> bool:
    """Evaluate branching logic as REDCap does: an empty field is an empty text."""
    cells = {k: {"Y": "1", "N": "0"}.get(v, v) if k == "Y" else v for k, v in values.items()}

    def cell(match: re.Match[str]) -> str:
        value = cells.get(match[1].upper())
        return "''" if value is None else repr(str(value))

    def compare(match: re.Match[str]) -> str:
        left, sign, right = (part.strip("'") for part in match.groups())
        pair = [left, right]
        numbers = [float(part) if re.fullmatch(r"-?\d+(\.\d+)?", part) else part for part in pair]
        if "" in pair and sign in ("<", "<=", ">", ">="):
            numbers = [float(part or 0) for part in pair]
        if sign in ("=", "<>"):
            same = numbers[0] == numbers[1]
            return str(same if sign == "=" else not same)
        return str(eval(f"a {sign} b", {}, {"a": numbers[0], "b": numbers[1]}))

    text = re.sub(r"\[(\w+)\]", cell, logic)
    text = re.sub(r"('[^']*'|-?\d+) (=|<>|<=|>=|<|>) ('[^']*'|-?\d+)", compare, text)
    return bool(eval(text))


@given(
    CONDITIONS,
    st.fixed_dictionaries(
        {
            "N": st.one_of(st.none(), st.integers(-2, 2)),
            "M": st.one_of(st.none(), st.integers(-2, 2)),
            "C": st.sampled_from([None, "a", "b", "c"]),
            "Y": st.sampled_from([None, "Y", "N"]),
        }
    ),
)
def test_branching_holds_just_where_the_condition_is_known_to(
    condition: str, values: dict[str, Value]
) -> None:
    def code(name: str, value: str | float | int) -> str:
        return {"Y": "1", "N": "0"}[str(value)] if name == "Y" else str(value)

    logic = branching(condition, Words(str.lower, code))
    assert redcap_holds(logic, values) == (holds(condition, values) is True), logic


def test_branching_of_the_forms_that_ship(tmp_path: Path) -> None:
    with make(tmp_path) as study:
        groups = layout(study)
    names = redcap_names(groups, study.design)
    medhx = load_forms()["MEDHX"]
    words = Words(lambda n: names.variables["MEDHX", n], lambda _, v: str(v))
    assert branching(str(medhx.item("INJURIOUS").when), words) == (  # type: ignore[union-attr]
        "([medhx_falls12m] <> '' and [medhx_falls12m] > 0)"
    )
    assert branching(str(medhx.item("SIDE").when), words) == "[medhx_diagnosis] = 'stroke'"  # type: ignore[union-attr]


def test_a_session_leaves_no_trace(tmp_path: Path) -> None:
    """Two people whose course differs only in missed sessions are exported alike."""
    texts = []
    for sessions in (0, 2):
        with make_study(tmp_path / str(sessions)) as study:
            study.add_user("dana", role="data_manager")
            usubjid = randomised(study)
            for number in range(1, sessions + 1):
                miss_session(study, usubjid, number=number, day=0, code="ill")
            out = tmp_path / f"out{sessions}"
            export_redcap(study.as_user("dana"), out)
            texts.append([p.read_bytes() for p in sorted(out.iterdir())])
    assert texts[0] == texts[1]
