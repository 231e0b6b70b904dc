"""Scoring rules of the shipped instruments, raw entries that cannot be, and faulty files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialkit.errors import ProtocolFindings, UnknownName
from trialkit.protocol import check_items, find_instrument, load_instruments, score
from trialkit.protocol.instruments import Instrument, Item, Score, read_instrument

KNOWN = load_instruments()


def bbs(value: int | None = 3, **others: int | None) -> dict[str, int | None]:
    return {f"BBS{i:02d}": value for i in range(1, 15)} | others


def abc(value: int | None = 80, **others: int | None) -> dict[str, int | None]:
    return {f"ABC{i:02d}": value for i in range(1, 17)} | others


def test_shipped_instruments_and_their_scores() -> None:
    scores = {code: [s.paramcd for s in found.scores] for code, found in KNOWN.items()}
    assert scores == {
        "10MWT": ["WS10C", "WS10F"],
        "6MWT": ["DIST6M"],
        "TUG": ["TUGTIME"],
        "BBS": ["BBSTOT"],
        "ABC": ["ABCMEAN"],
    }


def test_no_licensed_text_is_shipped() -> None:
    for code in ("BBS", "ABC"):
        assert KNOWN[code].text_policy == "licensed"
        assert not any(item.label for item in KNOWN[code].items)


def test_what_is_from_memory_is_not_verified() -> None:
    assert not any(instrument.verified for instrument in KNOWN.values())
    assert all(anchor.source for found in KNOWN.values() for anchor in found.anchors)


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
    instrument = Instrument(
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
        find_instrument(KNOWN, "TGU")


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
        ("minimum: 0, maximum: 4, unit", "min: 0, maximum: 4, unit", "unknown key"),
    ],
)
def test_faulty_instrument_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(INSTRUMENT)
    assert read_instrument(path)[1] == []
    path.write_text(INSTRUMENT.replace(old, new, 1))
    instrument, findings = read_instrument(path)
    assert instrument is None
    assert any(message in f.message and f.remedy for f in findings), findings
    with pytest.raises(ProtocolFindings, match=r"x\.yaml"):
        load_instruments(tmp_path)
