"""Skip logic: what conditions mean, what they refuse, and faults that are found at load."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.protocol.forms import read_form
from trialkit.protocol.forms.skip import MAX_LENGTH, Value, holds, names, parse

VALUES: dict[str, Value] = {"A": 3, "B": 0.4, "C": "Y", "D": "left", "E": "2026-03-01", "M": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A == 3", True),
        ("A != 3", False),
        ("A > 2 and B <= 0.4", True),
        ("A > 5 or B < 1", True),
        ("not A > 5", True),
        ("C == yes", True),
        ("C == no", False),
        ("D in ['left', 'right']", True),
        ("D not in ['left', 'right']", False),
        ("1 < A <= 3", True),
        ("1 < A < 3", False),
        ("A > -1", True),
        ("A > B", True),
        ("E < '2026-04-01'", True),
        ("M == 1", None),
        ("not M == 1", None),
        ("N == 1", None),  # an item without an entry
        ("M == 1 or A == 3", True),
        ("M == 1 and A == 3", None),
        ("M == 1 and A == 4", False),
        ("M in [1, 2]", None),
        ("A in [1, M]", None),
        ("A in [3, M]", True),
        ("A < 'left'", None),
        ("A < B < M", False),
    ],
)
def test_meaning(text: str, expected: bool | None) -> None:
    assert holds(text, VALUES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "1",
        "A ==",
        "A = 1",
        "A == 1 if B else C",
        "f(A) == 1",
        "A.b == 1",
        "A[0] == 1",
        "A + 1 == 2",
        "A == (1, 2)",
        "A in B",
        "[A] == 1",
        "1 == 1",
        "yes == no",
        "A is 1",
        "A == None",
        "A == True",
        "A == b'x'",
        "lambda: A",
        "(x := A) == 1",
        "__import__('os').system('true') == 0",
        "A == 1 and 2",
        "-A == 1",
        "A == " + "1" * MAX_LENGTH,
        "(" * 300 + "A == 1" + ")" * 300,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(UsageError, match="condition") as caught:
        parse(text)
    assert caught.value.remedy


@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        found = holds(text, VALUES)
    except UsageError:
        return
    assert found in (True, False, None)
    assert all(name in text for name in names(text))


@given(st.sampled_from(["A == 3", "M == 1", "C == no", "B < 1"]), st.booleans())
def test_laws_of_three_valued_logic(text: str, conjunction: bool) -> None:
    """Double negation and De Morgan hold, unknown included."""
    word, other = ("and", "or") if conjunction else ("or", "and")
    left = holds(f"not ({text} {word} M == 2)", VALUES)
    right = holds(f"not {text} {other} not M == 2", VALUES)
    assert left is right
    assert holds(f"not not {text}", VALUES) is holds(text, VALUES)


def test_names_of_items() -> None:
    assert names("A == 1 and (B in [C, 2] or yes == D)") == ["A", "B", "C", "D"]


FORM = """\
schema: trialkit.form/1
code: X
name: X
items:
  - {{id: A, type: integer, minimum: 0, maximum: 4{a}}}
  - {{id: C, type: yes_no{c}}}
  - {{id: S, type: choice, choices: [left, right]{s}}}
  - {{id: D, type: date{d}}}
  - {{id: T, type: text{t}}}
"""


@pytest.mark.parametrize(
    ("at", "when", "message"),
    [
        ("a", "A == 1", "a cycle"),
        ("a", "C == yes", "C is used before it is asked"),
        ("c", "B == 1", "no item B"),
        ("c", "A == 5", "A can never be 5"),
        ("c", "A == 'left'", "A can never be 'left'"),
        ("s", "C == 1", "C can never be 1"),
        ("s", "C > no", "C (yes_no) has no order"),
        ("s", "A == C", "A (integer) and C (yes_no) cannot be compared"),
        ("d", "S == 'up'", "S can never be 'up'"),
        ("t", "D > '1 May'", "D can never be '1 May'"),
        ("t", "A +", "it cannot be read"),
        ("t", "T == 'x'", "a cycle"),
    ],
)
def test_faults_at_load(tmp_path: Path, at: str, when: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    slots = dict.fromkeys("acsdt", "")
    path.write_text(FORM.format(**slots))
    assert read_form(path)[1] == []
    path.write_text(FORM.format(**slots | {at: f', when: "{when}"'}))
    form, findings = read_form(path)
    assert form is None
    assert [message in f.message for f in findings] == [True], findings
    assert findings[0].where == f"items[{'acsdt'.index(at)}].when"
    assert findings[0].line == 5 + "acsdt".index(at)
    assert findings[0].remedy


def test_a_cycle_of_two_is_named_at_both(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    slots = dict.fromkeys("acsdt", "")
    path.write_text(FORM.format(**slots | {"a": ', when: "C == yes"', "c": ', when: "A == 1"'}))
    assert ["cycle" in f.message for f in read_form(path)[1]] == [True, True]
