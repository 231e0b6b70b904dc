"""What is typed at the terminal is held against what a sign can be."""

from __future__ import annotations

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
    person = operator("")
    assert person.answer("walk-1", ("systolic_mmhg",), VIEW) is None  # asks
    person._keyboard.text = "17\n"  # type: ignore[attr-defined]
    person.commands(VIEW)
    assert person.answer("walk-1", ("systolic_mmhg",), VIEW) is None
    assert "It looks like kPa: 17 is 127.5 here." in person.message
    person._keyboard.text = "128\n"  # type: ignore[attr-defined]
    person.commands(VIEW)
    assert person.answer("walk-1", ("systolic_mmhg",), VIEW) == {"systolic_mmhg": 128.0}


def test_screening_asks_until_it_is_possible() -> None:
    person, said = operator("3\n1.2.3\n12\n\n"), []
    person.draw = lambda: said.append(person.message)
    assert person.screen(("rpe", "pain_0_10"), VIEW) == {"rpe": 12.0}
    assert any("It looks like Borg CR10" in text for text in said)
    assert any("'1.2.3' is no number." in text for text in said)
