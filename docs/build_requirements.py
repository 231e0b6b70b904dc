"""Write ``docs/reference/requirements.md``: each requirement, its tests, and how they went last.

A test that would fail without what a requirement says carries ``@pytest.mark.requirement("R01")``.
``make requirements`` runs the marked tests and writes the page; with ``--fast`` only those that are
not slow, and with ``--no-run``, as in ``make docs``, none: the page keeps the results that it has.
``--results FILE`` takes them from the JUnit file of a run of the suite (pytest's ``--junitxml``).
A test fails while a requirement has no test, a mark names none, or the page lists other tests than
are marked.
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "requirements.md"


class Requirement(NamedTuple):
    """What is required, in our words; where it comes from; and what of it does not hold yet."""

    statement: str
    source: str
    gap: str = ""


REQUIREMENTS: dict[str, Requirement] = {
    "R01": Requirement(
        "Nothing that is stored is changed or removed by any command or verb, and the store "
        "refuses it; a correction is a new event with the old and the new value, the reason, the "
        "person and the time in UTC.",
        "21 CFR 11.10(e); ICH E6(R3) 4.2.2(a)(ii), 4.2.4",
    ),
    "R02": Requirement(
        "What stood before a correction stays readable: in the record, and in the exported trail.",
        "21 CFR 11.10(e)",
    ),
    "R03": Requirement(
        "No verb, setting or role stops the recording; what a person may not do is refused, and "
        "the refusal is recorded.",
        "ICH E6(R3) 4.2.2(b)",
        "Whoever writes to the database past the software is refused by its triggers (and, in "
        "PostgreSQL, by its grants), and this leaves no event. Triggers that its owner took away "
        "or switched off are put back when the study is next opened for writing, with an event; "
        "where they were put back by hand meanwhile there is none. What was changed is found by "
        "`trialkit record verify`.",
    ),
    "R04": Requirement(
        "New people, new roles, logins, logouts, failed logins and lockouts are events.",
        "ICH E6(R3) 4.2.2(a)(i)",
    ),
    "R05": Requirement(
        "Signing, locking, asking, exporting, unblinding and rendering are events.",
        "ICH E6(R3) 4.2.2(a)(iii)",
    ),
    "R06": Requirement(
        "Times are UTC and say so, beside a clock that never goes back; a wall clock that was "
        "set is an event, and so is where the machine has its time from, as far as its system "
        "tells.",
        "ICH E6(R3) 4.2.2(d)",
    ),
    "R07": Requirement(
        "The exported trail alone gives back exactly the state of the study.",
        "21 CFR 11.10(b); ICH E6(R3) 4.2.2(c)",
    ),
    "R08": Requirement(
        "A person without the permission is refused, with an event: each command, each role, the "
        "own site and another.",
        "21 CFR 11.10(d), (g)",
    ),
    "R09": Requirement(
        "Steps out of order are refused: nothing before consent, no arm before eligibility, no "
        "analysis and no unblinding before the plan is locked.",
        "21 CFR 11.10(f)",
    ),
    "R10": Requirement(
        "A session says on which device it was: model, serial number, firmware and date of "
        "calibration, and its newest conformance record; a study lists its devices and their "
        "sessions. Refused are a driver that is not installed, a device that does not say what it "
        "is, and one in which people walk on which the whole conformance kit has not passed.",
        "21 CFR 11.10(h)",
        "Of the calibration there is the date and no certificate.",
    ),
    "R11": Requirement(
        "A signature shows printed name, time in UTC and meaning: on the screen, in the report "
        "and in the export.",
        "21 CFR 11.50",
    ),
    "R12": Requirement(
        "A signature covers the hash of what was signed: it cannot be moved, and a later change "
        "breaks it visibly.",
        "21 CFR 11.70",
    ),
    "R13": Requirement(
        "The first signature of a sitting takes two components, each later one the password, and "
        "after a pause both.",
        "21 CFR 11.200(a)",
    ),
    "R14": Requirement(
        "The name of a signer is never used twice nor given to another person.",
        "21 CFR 11.100(a), 11.300(a)",
    ),
    "R15": Requirement(
        "Passwords age, accounts lock after failures, and only a slow hash of a password is "
        "stored.",
        "21 CFR 11.300",
    ),
    "R16": Requirement(
        "A changed bit in a stored event, in telemetry, a table, results or a report is found "
        "and its place named.",
        "21 CFR 11.10(a), (c)",
    ),
    "R17": Requirement(
        "A whole copy can be read by people, and checked and read by programs, offline and "
        "without this software.",
        "21 CFR 11.10(b), (c)",
    ),
    "R18": Requirement(
        "After a kill at any instant each acknowledged event is there, and nothing half-written "
        "shows.",
        "ALCOA+: enduring",
    ),
    "R19": Requirement(
        "What is entered late is taken with a reason only, and flagged with its delay: forms, "
        "visits, sessions without the device, diaries, deviations, adverse events, and who left.",
        "ALCOA+: contemporaneous",
        "Where the day of an act is not known nothing is late: before randomisation, unless a form "
        "says its date, and for a visit that was missed. Only late forms become queries.",
    ),
    "R20": Requirement(
        "Device data are kept as they were sealed, and what was derived from them leads back to "
        "them.",
        "ALCOA+: original, traceable",
    ),
    "R21": Requirement(
        "No blinded role gets an arm: by no verb, export, message, file name, order, size or time.",
        "ICH E6(R3) 4.1.3",
        "What the software shows; whoever may read the study's folder or database reads all of it. "
        "While a session on the device is open, somewhere in the study, all data cannot be locked.",
    ),
    "R22": Requirement(
        "Locked data are changed only after two people unlocked them with a reason; the report "
        "says how the data stood.",
        "ICH E6(R3) 4.2.6",
    ),
    "R23": Requirement(
        "Each requirement has a test, and this page is made from them; one without fails the "
        "tests.",
        "21 CFR 11.10(a)",
    ),
}
_RESULT = re.compile(r"^\| `(tests/[^`]+)` \| (.*?) \|$")
_RAN = re.compile(r"^Last run: .*$", re.MULTILINE)


@functools.cache
def marks() -> dict[str, list[str]]:
    """Return the tests of each id that some mark names, by reading them, without a run."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        shared = [
            name
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
            for name in _ids(node.value)
        ]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                own = [name for decorator in node.decorator_list for name in _ids(decorator)]
                for name in dict.fromkeys([*shared, *own]):
                    test = f"{path.relative_to(ROOT).as_posix()}::{node.name}"
                    found.setdefault(name, []).append(test)
    return dict(sorted(found.items()))


def _ids(node: ast.expr) -> Iterator[str]:
    """Yield what ``pytest.mark.requirement(...)`` names, anywhere in an expression."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.requirement":
            yield from (str(ast.literal_eval(argument)) for argument in call.args)


def run(which: str = "requirement") -> dict[str, str]:
    """Run the marked tests that `which` selects; return the result of each, over its parameters."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            which,
            f"--junitxml={report}",
        ]
        subprocess.run(command, cwd=ROOT, check=False)
        return results_of(report)


def results_of(report: Path) -> dict[str, str]:
    """Return the result of each test in a JUnit file, over its parameters."""
    cases = list(ET.parse(report).getroot().iter("testcase"))
    counts: dict[str, dict[str, int]] = {}
    for case in cases:
        file = case.get("classname", "").replace(".", "/")
        test = f"{file}.py::{case.get('name', '').split('[')[0]}"
        tags = {child.tag for child in case}
        result = (
            "failed"
            if tags & {"failure", "error"}
            else "skipped"
            if "skipped" in tags
            else "passed"
        )
        own = counts.setdefault(test, {})
        own[result] = own.get(result, 0) + 1
    return {
        test: ", ".join(f"{n} {r}" for r, n in sorted(own.items())) for test, own in counts.items()
    }


def kept() -> tuple[str, dict[str, str]]:
    """Return the line about the last run and the results that the page has."""
    if not PAGE.exists():
        return "Last run: none.", {}
    text = PAGE.read_text(encoding="utf-8")
    ran = _RAN.search(text)
    found = (match for line in text.splitlines() if (match := _RESULT.match(line)))
    return ran[0] if ran else "Last run: none.", {match[1]: match[2] for match in found}


def page(ran: str, results: dict[str, str]) -> str:
    """Return the text of the page."""
    tests = marks()
    lines = [
        "# Requirements and their tests",
        "",
        "What an electronic record of a trial must do, in our words, after 21 CFR Part 11, ALCOA+",
        "and ICH E6(R3). A test under a requirement fails without it. This page is made by",
        "`make requirements`, which runs them. It is no certificate: whether a trial meets the",
        "rules is for the sponsor's own validation.",
        "",
        ran,
    ]
    for name, wanted in REQUIREMENTS.items():
        lines += ["", f"## {name}", "", f"{wanted.statement} ({wanted.source})", ""]
        if wanted.gap:
            lines += [f"*Not so, or not wholly:* {wanted.gap}", ""]
        lines += ["| test | last result |", "|---|---|"]
        lines += [f"| `{test}` | {results.get(test, 'not run')} |" for test in tests.get(name, [])]
    return "\n".join(lines) + "\n"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    import trialkit

    parser = argparse.ArgumentParser(description="Write the page of requirements.")
    parser.add_argument("--no-run", action="store_true", help="keep the results of the page")
    parser.add_argument("--fast", action="store_true", help="slow tests keep their last result")
    parser.add_argument(
        "--results", action="append", type=Path, metavar="FILE", help="JUnit file of a run"
    )
    given = parser.parse_args()
    ran, results = kept()
    if not given.no_run:
        if given.results:
            for file in given.results:
                results = results | results_of(file)
        else:
            results = results | run("requirement and not slow") if given.fast else run()
        ran = f"Last run: {datetime.now(UTC):%Y-%m-%d} UTC, trialkit {trialkit.__version__}."
    PAGE.write_text(page(ran, results), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}\n")


if __name__ == "__main__":
    main()
