"""Scoring rules of the shipped forms, raw entries that cannot be, and faulty files."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from trialkit.errors import ProtocolFindings, UnknownName
from trialkit.protocol import check_items, find_form, load_forms, score
from trialkit.protocol.forms import Form, Item, Score, item_number, read_entries, read_form

KNOWN = load_forms()


def bbs(value: int | None = 3, **others: int | None) -> dict[str, int | None]:
    return {f"BBS{i:02d}": value for i in range(1, 15)} | others


def abc(value: int | None = 80, **others: int | None) -> dict[str, int | None]:
    return {f"ABC{i:02d}": value for i in range(1, 17)} | others


def test_shipped_forms_and_their_scores() -> None:
    """Every instrument that the facts list, and the ranges of its scores."""
    scores = {
        code: [(s.paramcd, s.minimum, s.maximum) for s in found.scores]
        for code, found in KNOWN.items()
    }
    assert scores == {
        "10MWT": [("WS10C", 0, 5), ("WS10F", 0, 5)],
        "6MWT": [("DIST6M", 0, 1000)],
        "TUG": [("TUGTIME", 2, 600)],
        "5XSTS": [("STS5TIME", 3, 300)],
        "BBS": [("BBSTOT", 0, 56)],
        "FGA": [("FGATOT", 0, 30)],
        "DGI": [("DGITOT", 0, 24)],
        "MBT": [("MBTTOT", 0, 28)],
        "ABC": [("ABCMEAN", 0, 100)],
        "FES-I": [("FESITOT", 16, 64)],
        "SFES-I": [("SFESTOT", 7, 28)],
        "FAC": [("FACLVL", 0, 5), ("FACIND", 0, 1)],
        "FMA-LE": [("FMALE", 0, 34)],
        "MAS": [(f"MAS{m}{s}", 0, 5) for m in ("HAD", "KFL", "KEX", "APF") for s in "RL"],
        "mRS": [("MRS", 0, 6)],
        "SIS": [
            (f"SIS{d}", 0, 100)
            for d in ("STR", "MEM", "EMO", "COM", "ADL", "MOB", "HAN", "PAR", "REC")
        ],
        "WISCI": [("WISCI2", 0, 20)],
        "LEMS": [("LEMS", 0, 50)],
        "SCIM-MOB": [("SCIMMOB", 0, 40)],
        "AIS": [("AISRANK", 1, 5)],
        "CONF": [("CONFLVL", 1, 5), ("CONFYES", 0, 1)],
        "DEMOG": [],
        "MEDHX": [],
    }


def ends(item: Item) -> tuple[float | str, float | str]:
    """The entries of an item that count least and most."""
    if item.type != "choice":
        assert item.minimum is not None
        assert item.maximum is not None
        return item.minimum, item.maximum
    counted = [c for c in item.choices if item_number(item, c) is not None]
    by_points = sorted(counted, key=lambda c: item_number(item, c) or 0.0)
    return by_points[0], by_points[-1]


@pytest.mark.parametrize("code", [c for c, f in KNOWN.items() if f.scores])
def test_scores_reach_their_ends_and_no_further(code: str) -> None:
    """Lowest and highest entries of every item give the declared ends of every score."""
    form = KNOWN[code]
    if any(s.rule == "speed" for s in form.scores):
        return  # a quotient: the ends of speed are those of a person, not of the items
    turned = {name for s in form.scores for name in s.args.get("reversed", [])}
    low = {i.id: ends(i)[i.id in turned] for i in form.items}
    high = {i.id: ends(i)[i.id not in turned] for i in form.items}
    assert check_items(form, low) == check_items(form, high) == []
    assert score(form, low) == {s.paramcd: s.minimum for s in form.scores}
    assert score(form, high) == {s.paramcd: s.maximum for s in form.scores}


def test_no_licensed_text_is_shipped() -> None:
    licensed = {"BBS", "ABC", "FGA", "DGI", "MBT", "FES-I", "SFES-I", "SIS", "SCIM-MOB"}
    assert {code for code, form in KNOWN.items() if form.text_policy == "licensed"} == licensed
    for form in KNOWN.values():
        if form.text_policy != "own-words":
            assert not any(item.label or item.meanings for item in form.items), form.code


def test_what_is_from_memory_is_not_verified() -> None:
    for form in KNOWN.values():
        assert not form.verified
        assert form.sources
        for part in (*form.anchors, *form.scores):
            assert not (part.verified and "memory" in part.source), (form.code, part)
            assert not (part.verified and "not noted" in part.source), (form.code, part)
        assert all(anchor.source for anchor in form.anchors)


def test_speed_is_distance_over_mean_time() -> None:
    items = {"TIMED_M": 10, "C1_S": 20.0, "C2_S": 30.0, "F1_S": 12.5, "F2_S": 12.5}
    assert score(KNOWN["10MWT"], items) == {"WS10C": 0.4, "WS10F": 0.8}


def test_speed_of_one_trial_and_of_none() -> None:
    found = score(KNOWN["10MWT"], {"TIMED_M": 6, "C1_S": 12, "C2_S": None})
    assert found == {"WS10C": 0.5, "WS10F": None}


def test_speed_without_its_distance() -> None:
    assert score(KNOWN["10MWT"], {"C1_S": 12, "C2_S": 12})["WS10C"] is None


def test_sum_needs_every_item() -> None:
    assert score(KNOWN["BBS"], bbs())["BBSTOT"] == 42
    assert score(KNOWN["BBS"], bbs(BBS14=None))["BBSTOT"] is None


@pytest.mark.parametrize(("blank", "expected"), [(0, 80.0), (4, 80.0), (5, None)])
def test_mean_needs_twelve_answers(blank: int, expected: float | None) -> None:
    items = abc(**{f"ABC{i:02d}": None for i in range(1, blank + 1)})
    assert score(KNOWN["ABC"], items)["ABCMEAN"] == expected


def test_mean_is_of_the_answered_items() -> None:
    items = abc(90, ABC01=None, ABC02=10)
    assert score(KNOWN["ABC"], items)["ABCMEAN"] == round((14 * 90 + 10) / 15, 4)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("10MWT", {"WS10C": 0.0, "WS10F": 0.0}),
        ("6MWT", {"DIST6M": 0.0}),
        ("TUG", {"TUGTIME": None}),
        ("BBS", {"BBSTOT": 0.0}),
        ("ABC", {"ABCMEAN": None}),
    ],
)
def test_unable_is_an_observation(code: str, expected: dict[str, float | None]) -> None:
    assert score(KNOWN[code], {}, "unable") == expected
    assert score(KNOWN[code], {}, "not_done") == dict.fromkeys(expected)


def test_single_takes_the_only_item() -> None:
    instrument = Form(
        code="HAMD",
        name="HAMD-17",
        domain="QS",
        dataset="ADQS",
        items=[Item(id="VALUE", minimum=0, maximum=52, unit="points")],
        scores=[
            Score(
                paramcd="HAMD17",
                param="HAMD-17 total",
                unit="points",
                rule="single",
                better="lower",
                minimum=0,
                maximum=52,
            )
        ],
    )
    assert score(instrument, {"VALUE": 21}) == {"HAMD17": 21.0}
    assert score(instrument, {"VALUE": "21"}) == {"HAMD17": 21.0}


@pytest.mark.parametrize(
    ("code", "items", "where", "message", "remedy"),
    [
        ("TUG", {"TIME": 12}, "TUG.TIME", "no such item", "Did you mean TIME_S?"),
        ("TUG", {}, "TUG.TIME_S", "missing", "in s"),
        ("TUG", {"TIME_S": "slow"}, "TUG.TIME_S", "'slow' is not a number", "in s"),
        ("TUG", {"TIME_S": float("nan")}, "TUG.TIME_S", "not a number", "in s"),
        ("TUG", {"TIME_S": True}, "TUG.TIME_S", "not a number", "in s"),
        ("TUG", {"TIME_S": 12.345}, "TUG.TIME_S", "more than 2 decimals", "2 decimals"),
        ("TUG", {"TIME_S": 1200}, "TUG.TIME_S", "outside 2 to 600 s", "unit"),
        ("BBS", bbs(BBS03=5), "BBS.BBS03", "5 is outside 0 to 4 points", "Check the entry"),
        ("10MWT", {"TIMED_M": 8}, "10MWT.TIMED_M", "not one of the choices", "6 or 10 m"),
    ],
)
def test_entries_that_cannot_be(
    code: str, items: dict[str, float | str], where: str, message: str, remedy: str
) -> None:
    found = [f for f in check_items(KNOWN[code], items) if f.where == where]
    assert len(found) == 1
    assert message in found[0].message
    assert remedy in found[0].remedy


def test_integer_items_refuse_halves() -> None:
    halves: dict[str, float | int | str | None] = {**abc(), "ABC07": 50.5}
    found = check_items(KNOWN["ABC"], halves)
    assert [(f.where, f.remedy) for f in found] == [("ABC.ABC07", "Enter a whole number.")]


def test_every_faulty_entry_at_once() -> None:
    items: dict[str, float | int | str | None] = {**bbs(), "BBS01": 9, "BBS02": -1, "BBS15": 1}
    wheres = {f.where for f in check_items(KNOWN["BBS"], items)}
    assert wheres == {"BBS.BBS01", "BBS.BBS02", "BBS.BBS15"}


def test_missing_answers_are_no_fault_where_the_rule_allows_them() -> None:
    assert check_items(KNOWN["ABC"], abc(ABC01=None)) == []
    assert check_items(KNOWN["BBS"], {}) == []


def test_unknown_instrument() -> None:
    with pytest.raises(UnknownName, match="Did you mean TUG"):
        find_form(KNOWN, "TGU")


@pytest.mark.parametrize(
    ("blank", "total"), [(0, 32.0), (1, 32.0), (4, 32.0), (5, None), (16, None)]
)
def test_fes_i_allows_four_blanks(blank: int, total: float | None) -> None:
    items = {f"FESI{n:02d}": 2 if n > blank else None for n in range(1, 17)}
    assert score(KNOWN["FES-I"], items)["FESITOT"] == total


def test_fes_i_is_rounded_up() -> None:
    items = {f"FESI{n:02d}": 1 for n in range(2, 17)} | {"FESI02": 2}
    assert score(KNOWN["FES-I"], items)["FESITOT"] == 18  # 16 / 15 * 16 = 17.07


@pytest.mark.parametrize(("blank", "total"), [(0, 21.0), (2, 21.0), (3, None)])
def test_short_fes_i_allows_two_blanks(blank: int, total: float | None) -> None:
    items = {f"SFES{n:02d}": 3 if n > blank else None for n in range(1, 8)}
    assert score(KNOWN["SFES-I"], items)["SFESTOT"] == total


def mini_best(**others: int | None) -> dict[str, int | None]:
    return {i.id: 2 for i in KNOWN["MBT"].items} | others


def test_mini_best_takes_the_worse_side() -> None:
    assert score(KNOWN["MBT"], mini_best(MBT03L=0, MBT06R=1))["MBTTOT"] == 25
    assert score(KNOWN["MBT"], mini_best(MBT03L=None))["MBTTOT"] is None


def test_sis_mobility_imputes_the_mean_from_five_answers() -> None:
    answers = dict(zip([f"SIS6{c}" for c in "abcde"], [5, 5, 4, 4, 2], strict=True))
    assert score(KNOWN["SIS"], answers)["SISMOB"] == 75.0
    assert score(KNOWN["SIS"], answers | {"SIS6a": None})["SISMOB"] is None


def test_sis_emotion_turns_three_items() -> None:
    answers = {f"SIS3{c}": 5 for c in "abcdefghi"}
    assert score(KNOWN["SIS"], answers)["SISEMO"] == round(100 * 6 / 9, 4)


@pytest.mark.parametrize(
    ("code", "items", "expected"),
    [
        ("MAS", {"KEXR": "1+", "KEXL": "NT"}, {"MASKEXR": 2.0, "MASKEXL": None, "MASHADR": None}),
        ("MAS", {"KEXR": 1}, {"MASKEXR": 1.0}),
        ("mRS", {"MRS": 6}, {"MRS": 6.0}),
        ("FAC", {"FAC": 3}, {"FACLVL": 3.0, "FACIND": 0.0}),
        ("FAC", {"FAC": 4}, {"FACLVL": 4.0, "FACIND": 1.0}),
        ("AIS", {"AIS": "D"}, {"AISRANK": 4.0}),
        ("LEMS", {"L2R": 5}, {"LEMS": None}),
        ("CONF", {"CONF": 4}, {"CONFLVL": 4.0, "CONFYES": 1.0}),
        ("CONF", {}, {"CONFLVL": None, "CONFYES": None}),
    ],
)
def test_ordinal_scores(
    code: str, items: dict[str, float | str], expected: dict[str, float | None]
) -> None:
    found = score(KNOWN[code], items)
    assert {name: found[name] for name in expected} == expected


def test_an_untestable_muscle_gives_no_total() -> None:
    items: dict[str, float | int | str | None] = {i.id: 5 for i in KNOWN["LEMS"].items}
    assert score(KNOWN["LEMS"], items)["LEMS"] == 50
    assert check_items(KNOWN["LEMS"], items | {"S1L": "NT"}) == []
    assert score(KNOWN["LEMS"], items | {"S1L": "NT"})["LEMS"] is None


# --- real items against printed totals ----------------------------------------------------------


def bds(shared: Path) -> list[dict[str, str]]:
    path = shared / "data" / "balance_BDSinfo_fes_minibest.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_short_fes_i_equals_every_printed_total(shared: Path) -> None:
    """1,930 rows (trials) of 163 people; no exception. The printed bands agree as well."""
    rows = bds(shared)
    assert (len(rows), len({row["Subject"] for row in rows})) == (1930, 163)
    form = KNOWN["SFES-I"]
    moderate, high = (a.value for a in form.anchors)
    for row in rows:
        read = read_entries(form, {f"SFES{n:02d}": row[f"FES_{n}"] for n in range(1, 8)})
        assert not read.findings
        total = score(form, read.values)["SFESTOT"]
        assert total == float(row["FES_T"]), row["Trial"]
        band = "High" if total >= high else "Moderate" if total >= moderate else "Low"
        assert row["FES_S"] == f"{band} Concern"


def test_mini_best_equals_every_printed_total(shared: Path) -> None:
    """1,930 rows of 163 people; no exception."""
    form = KNOWN["MBT"]
    names = {i.id: f"Best_{int(i.id[3:5])}{i.id[5:].lower()}" for i in form.items}
    agreed = 0
    for row in bds(shared):
        read = read_entries(form, {ours: row[theirs] for ours, theirs in names.items()})
        assert not read.findings
        agreed += score(form, read.values)["MBTTOT"] == float(row["Best_T"])
    assert agreed == 1930


def test_fifty_two_falls_are_taken_and_flagged(shared: Path) -> None:
    """One of 163 people has 52 falls in 12 months: possible, and not plausible."""
    first = {row["Subject"]: row for row in bds(shared)}
    history = {"DIAGNOSIS": "other", "ONSET": "2015-01-01"} | dict.fromkeys(
        ("HEART", "BETA_BLOCKER", "FRACTURE"), "no"
    )
    flags = []
    for row in first.values():
        falls = {"FALLS12M": row["Falls12m"]}
        injurious = {"INJURIOUS": "no"} if float(row["Falls12m"]) else {}
        read = read_entries(KNOWN["MEDHX"], {**history, **falls, **injurious})
        assert not read.findings
        flags += [(row["Falls12m"], name) for name in read.flags]
    assert flags == [("52", "FALLS12M")]


# --- types, units, skip logic -------------------------------------------------------------------

HISTORY: dict[str, float | int | str | None] = {
    "DIAGNOSIS": "stroke",
    "ONSET": "2026-03-01",
    "STROKE_TYPE": "ischaemic",
    "SIDE": "left",
    "FALLS12M": 0,
    "HEART": "no",
    "BETA_BLOCKER": "N",
    "FRACTURE": "No",
}


def test_words_have_one_spelling() -> None:
    read = read_entries(KNOWN["MEDHX"], HISTORY)
    assert read.findings == []
    assert [read.values[n] for n in ("HEART", "BETA_BLOCKER", "FRACTURE")] == ["N", "N", "N"]


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"ONSET": "2026-02-30"}, "ONSET", "is no date"),
        ({"ONSET": "01.03.2026"}, "ONSET", "is no date"),
        ({"HEART": "perhaps"}, "HEART", "is no yes or no"),
        ({"SIDE": "up"}, "SIDE", "is no choice"),
        ({"REMARKS": "x" * 1001}, "REMARKS", "no text of a length"),
        ({"FALLS12M": 1}, "INJURIOUS", "missing"),
        ({"INJURIOUS": "no"}, "INJURIOUS", "asked only where FALLS12M > 0"),
        ({"DIAGNOSIS": "spinal_cord_injury"}, "SIDE", "asked only where DIAGNOSIS"),
        ({"DIAGNOSIS": "spinal_cord_injury"}, "SCI_LEVEL", "missing"),
        ({"SIDE": None}, "SIDE", "missing"),
    ],
)
def test_history_that_cannot_be(
    change: dict[str, float | str | None], where: str, message: str
) -> None:
    found = {f.where: f for f in check_items(KNOWN["MEDHX"], HISTORY | change)}
    assert message in found[f"MEDHX.{where}"].message
    assert found[f"MEDHX.{where}"].remedy


@pytest.mark.parametrize(
    ("given", "kept", "entered"),
    [
        ("412.5", 412.5, {}),
        ("412", 412, {}),
        (412, 412, {}),
        ("412 m", 412.0, {"DISTANCE_M": "412 m"}),
        ("41200cm", 412.0, {"DISTANCE_M": "41200cm"}),
        ("0.412 km", 412.0, {"DISTANCE_M": "0.412 km"}),
        ("1000 ft", 304.8, {"DISTANCE_M": "1000 ft"}),
    ],
)
def test_units_are_converted(given: str | int, kept: float, entered: dict[str, str]) -> None:
    read = read_entries(KNOWN["6MWT"], {"DISTANCE_M": given})
    assert (read.values, read.entered, read.findings) == ({"DISTANCE_M": kept}, entered, [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("450 yd", "yd is no unit of it; it is kept in m"),
        ("12 CM", "CM is no unit"),
        ("1_000", "_000 is no unit"),
        ("inf", "not a number"),
        ("nan", "not a number"),
        ("2 km", "2000 is outside 0 to 1000 m"),
    ],
)
def test_wrong_units_are_refused(given: str, message: str) -> None:
    (found,) = check_items(KNOWN["6MWT"], {"DISTANCE_M": given})
    assert message in found.message
    assert found.remedy


def test_possible_and_not_plausible_is_flagged() -> None:
    read = read_entries(KNOWN["6MWT"], {"DISTANCE_M": 800})
    assert (read.findings, read.flags) == ([], ["DISTANCE_M"])
    assert read_entries(KNOWN["6MWT"], {"DISTANCE_M": 750}).flags == []


def test_an_old_instrument_file_is_a_form(tmp_path: Path) -> None:
    """`trialkit.instrument/1` with `integer: true`, as studies pinned it."""
    path = tmp_path / "x.yaml"
    path.write_text(INSTRUMENT.replace("unit: points}", "unit: points, integer: true}", 1))
    form, findings = read_form(path)
    assert findings == []
    assert form is not None
    assert (form.schema_, form.items[0].type) == ("trialkit.form/1", "integer")
    path.write_text(path.read_text().replace("instrument/1", "form/1"))
    assert "unknown key" in read_form(path)[1][0].message


INSTRUMENT = """\
schema: trialkit.instrument/1
code: X
name: X
domain: FT
dataset: ADFT
items:
  - {id: A, minimum: 0, maximum: 4, unit: points}
scores:
  - {paramcd: XTOT, param: X, unit: points, rule: single, args: {item: A}, better: higher, \
minimum: 0, maximum: 4}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("args: {item: A}", "args: {item: B}", "XTOT uses no item B"),
        ("code: X\n", "code: X\nunable: {YTOT: 0}\n", "YTOT is not a score"),
        ("scores:", "  - {id: A, minimum: 0, maximum: 4, unit: points}\nscores:", "given twice"),
        ("domain: FT", "domain: FX", "not one of the possible values"),
        ("minimum: 0, maximum: 4, unit", "minimum: 5, maximum: 4, unit", "above maximum"),
        ("minimum: 0, maximum: 4, unit", "unit", "has a range"),
        ("unit: points}", "unit: points, plausible: [0, 9]}", "not inside minimum to maximum"),
        ("unit: points}", "unit: points, type: choice}", "has no range"),
        ("unit: points}", "unit: points, units: {points: 2}}", "own unit"),
        ("args: {item: A}", "args: {itme: A}", "single has no itme"),
        ("rule: single", "rule: at_least", "at_least needs value"),
        ("rule: single, args: {item: A}", "rule: sum_prorated", "needs max_missing"),
        ("rule: single, args: {item: A}", "rule: sum_complete, args: {reversed: [A]}", "low and"),
        ("unit: points}", "unit: points, when: B > 1}", "there is no item B"),
        ("minimum: 0, maximum: 4, unit", "min: 0, maximum: 4, unit", "unknown key"),
    ],
)
def test_faulty_instrument_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(INSTRUMENT)
    assert read_form(path)[1] == []
    path.write_text(INSTRUMENT.replace(old, new, 1))
    instrument, findings = read_form(path)
    assert instrument is None
    assert any(message in f.message and f.remedy for f in findings), findings
    with pytest.raises(ProtocolFindings, match=r"x\.yaml"):
        load_forms(tmp_path)
