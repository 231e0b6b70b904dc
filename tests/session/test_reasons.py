from __future__ import annotations

import re
from pathlib import Path

import pytest

from trialkit.session import reasons
from trialkit.session.guards import GUARDS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "coordinator.md"


@pytest.mark.parametrize("table", [reasons.HOLD, reasons.STOP, reasons.RESUME, reasons.SOFTWARE])
def test_every_code_is_documented_with_its_meaning(table: dict[str, str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = [code for code, text in table.items() if f"| `{code}` | {text} |" not in page]
    assert not missing


def test_every_guard_is_documented_with_what_follows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for guard in GUARDS.values():
        row = re.search(rf"^\| `{guard.code}` \| {guard.action} \| (.*) \|$", page, re.M)
        assert row is not None, guard.code
        assert guard.text in row[1]
        assert guard.threshold is None or f"{guard.threshold:g}" in row[1]


def test_a_code_of_the_list_stays_and_any_other_becomes_text() -> None:
    assert reasons.coded(reasons.STOP, "tired", "  ") == ("tired", None)
    assert reasons.coded(reasons.STOP, "tired", " home ") == ("tired", "home")
    assert reasons.coded(reasons.HOLD, "interrupt", "") == ("other", "interrupt")
    assert reasons.coded(reasons.RESUME, "vendor", "text") == ("other", "vendor: text")
