"""What is typed at the terminal is held against what a sign can be."""

from __future__ import annotations

import pytest

from trialkit.cli._live import TerminalOperator
from trialkit.session import View


class Typed:
    """A keyboard on which lines were typed, one at a time."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> str:
        line, end, self.text = self.text.partition("\n")
        return line + end


def operator(text: str) -> TerminalOperator:
    return TerminalOperator("theo", Typed(text))  # type: ignore[arg-type]


VIEW = View(0.0, "running", "walk-1", lambda _: None)


def test_a_value_in_another_unit_is_asked_again_with_a_hint() -> None:
    person = operator("17\n")
    person.commands(VIEW)
    assert person.answer("walk-1", ("systolic_mmhg",), VIEW) is None
    assert "It looks like kPa: 17 is 127.5 here." in person.message
    person._keyboard.text = "128\n"  # type: ignore[attr-defined]
    person.commands(VIEW)
    assert person.answer("walk-1", ("systolic_mmhg",), VIEW) == {"systolic_mmhg": 128.0}


def test_screening_asks_until_it_is_possible(capsys: pytest.CaptureFixture[str]) -> None:
    values = operator("3\nmuch\n12\n\n").screen(("rpe", "pain_0_10"), VIEW)
    assert values == {"rpe": 12.0}
    said = capsys.readouterr().err
    assert "It looks like Borg CR10" in said
    assert "'much' is no number." in said
