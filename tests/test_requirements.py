"""The matrix of requirements is whole and current; and what no other test shows of them."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import START, make_study, randomised
from swapped_study import slower_protocols

from trialkit._clock import SimulatedClock
from trialkit.errors import UnknownName
from trialkit.participants import correct
from trialkit.record import KeyStore, Record
from trialkit.record.trail import COLUMNS
from trialkit.session import ScriptedOperator, run_session
from trialkit.study import Study
from trialkit.study.accounts import set_password
from trialkit.study.exports import export_record
from trialkit.study.signing import sign

DOCS = Path(__file__).resolve().parent.parent / "docs"
SPEC = importlib.util.spec_from_file_location("build_requirements", DOCS / "build_requirements.py")
assert SPEC is not None
assert SPEC.loader is not None
matrix = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(matrix)


@pytest.mark.requirement("R23")
def test_every_requirement_has_a_test_and_every_mark_a_requirement() -> None:
    assert set(matrix.marks()) == set(matrix.REQUIREMENTS)
    assert list(matrix.REQUIREMENTS) == [f"R{n:02d}" for n in range(1, 24)]


@pytest.mark.requirement("R23")
def test_the_page_lists_the_tests_that_are_marked() -> None:
    written = matrix.PAGE.read_text(encoding="utf-8")
    assert written == matrix.page(*matrix.kept()), (
        "run `python docs/build_requirements.py --no-run`"
    )


@pytest.mark.requirement("R23")
def test_no_test_of_the_last_run_failed() -> None:
    _, results = matrix.kept()
    assert [test for test, result in results.items() if "failed" in result] == []


WORD = "four dry wooden spoons"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A study with a form that was signed and then corrected; the owner is the one who signs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with make_study(tmp_path) as made:
        who = randomised(made)
        set_password(made, WORD)
        sign(made, f"form:{who}/BL/10MWT", "reviewed", password=WORD, signer="olga")
        correct(
            made.as_user("asta"), who, visit="BL", instrument="10MWT",
            items={"TIMED_M": 10, "C1_S": 21.5}, reason="misread the watch",
        )  # fmt: skip
        yield made


#: Reads an export with the standard library alone and says what it found.
READER = """
import csv, hashlib, html.parser, json, sys
jsonl, page, table = sys.argv[1:]
previous, last, n = "0" * 64, None, 0
for line in open(jsonl, encoding="utf-8"):
    stored = json.loads(line)
    event = json.loads(stored["body"])
    assert hashlib.sha256(stored["body"].encode()).hexdigest() == stored["hash"], event["seq"]
    assert event["seq"] == n + 1, event["seq"]
    assert n == 0 or event["prev"] == previous, event["seq"]
    previous, n = stored["hash"], event["seq"]
    if event["kind"] == "assessment.corrected":
        last = event

class Rows(html.parser.HTMLParser):
    rows = []
    inside = False
    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True
    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")
    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data

parser = Rows()
parser.feed(open(page, encoding="utf-8").read())
assert not any(name.startswith("trialkit") for name in sys.modules)
rows = list(csv.reader(open(table, newline="", encoding="utf-8")))
print(json.dumps({"events": n, "last": last, "page": parser.rows, "table": rows}))
"""


@pytest.mark.requirement("R17", "R02", "R01")
def test_the_copy_is_read_without_this_software(study: Study, tmp_path: Path) -> None:
    """A person reads it as a page or a table, a program checks its chain; neither needs us."""
    paths = [tmp_path / name for name in ("trail.jsonl", "trail.html", "trail.csv")]
    export_record(study, paths[0], readable_path=paths[2])
    first = export_record(study, paths[0], readable_path=paths[1])
    command = [sys.executable, "-I", "-S", "-c", READER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] == first.payload["size"] == len(found["page"]) - 1
    assert found["page"][0] == found["table"][0] == list(COLUMNS)
    changed = found["last"]
    assert (changed["actor"], changed["reason"]) == ("asta", "misread the watch")
    assert changed["payload"]["old_items"]["C1_S"] == 20.0
    for rows in (found["page"], found["table"]):
        row = dict(zip(rows[0], rows[changed["seq"]], strict=True))
        assert (row["user"], row["role"]) == ("asta", "assessor")
        assert row["UTC time"].endswith("Z")
        assert row["reason"] == "misread the watch"
        assert "items.C1_S=21.5" in row["content"]
        assert "items.C1_S=20" in row["replaced"]


@pytest.mark.requirement("R11")
def test_a_signature_in_the_export_has_name_time_and_meaning(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "trail.csv"
    export_record(study, tmp_path / "trail.jsonl", readable_path=path)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "signature.applied"]
    (signed,) = study.record.read(kinds=["signature.applied"])
    (row,) = rows
    for shown in ("name=Olga Owner", f"at={signed.payload['at']}", "meaning=reviewed"):
        assert shown in row["content"]


@pytest.mark.requirement("R01")
def test_a_record_has_no_way_to_change_an_event() -> None:
    """What a record can do by its public methods, each looked at by a person."""
    public = {name for name in vars(Record) if not name.startswith("_")}
    reading = {"head", "read", "rows", "verify", "last_given", "durability", "export", "address"}
    reading |= {"unguarded"}
    assert public - reading <= {
        "create",
        "open",
        "append",
        "batch",
        "close",
        "where",
        "write",
        "clock",
    }


@pytest.mark.requirement("R10", "R06")
def test_a_session_says_on_which_device_it_was(tmp_path: Path) -> None:
    clock = SimulatedClock(START)
    with Study.create(
        tmp_path / "study", protocols=slower_protocols(tmp_path), actor="olga", clock=clock,
        keys=KeyStore(tmp_path / "keys"), seed=2,
    ) as made:  # fmt: skip
        made.add_user("asta", role="assessor")
        who = randomised(made)
        assert made.arm_of(who) == "ROBOTIC"
        clock.advance(86400)
        with pytest.raises(UnknownName):
            run_session(made, who, number=1, day=1, device="nobody-knows-it")
        assert not made.state.sessions
        run_session(made, who, number=1, day=1, rate="stride", operator=ScriptedOperator())
        (opened,) = made.record.read(kinds=["session.opened"])
        told = opened.payload["device"]
        assert {"vendor", "model", "serial", "firmware", "calibrated_on"} <= set(told)
        assert told["serial"]
        assert told["firmware"]
        assert opened.payload["clock"]["told_by"] == "simulated"  # and no machine's
