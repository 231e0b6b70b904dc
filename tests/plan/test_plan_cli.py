"""The verbs ``check`` and ``plan``: output, JSON, exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trialkit._content import content_folder
from trialkit.cli import main
from trialkit.cli.whole import app
from trialkit.errors import UnknownName
from trialkit.study import Study

Change = Callable[..., Path]
RUN = CliRunner()
PROTOCOLS = content_folder("protocols")
ANALYSES = content_folder("analyses")


def test_check_every_shipped_file() -> None:
    files = [*PROTOCOLS.rglob("*.yaml"), *ANALYSES.glob("*.yaml")]
    kinds = {"stroke-robotic": "protocol", "BBS": "form", "cgd.sap": "plan",
             "cgd.mapping": "mapping"}  # fmt: skip
    for file in files:
        done = RUN.invoke(app, ["check", str(file), "--json"])
        assert done.exit_code == 0, done.output
        row = json.loads(done.stdout)["files"][0]
        assert row["findings"] == []
        assert row["kind"] == kinds.get(file.stem, row["kind"]) != "unknown"


def test_check_by_shipped_name_and_against_each_other(changed_plan: Change) -> None:
    plan = changed_plan(("    visit: W12", "    visit: W99"))
    alone = RUN.invoke(app, ["check", str(plan)])
    assert (alone.exit_code, "no faults" in alone.stdout) == (0, True)
    done = RUN.invoke(app, ["check", "stroke-robotic", "stroke-conventional", str(plan)])
    assert done.exit_code == 3
    assert "analyses[0].visit: the study has no visit W99. Use W4 or W8" in done.stdout
    assert done.stdout.count("no faults") == 2


def test_check_lists_the_faults_of_all_files(tmp_path: Path, changed_plan: Change) -> None:
    text = (PROTOCOLS / "stroke-conventional.yaml").read_text()
    one = tmp_path / "one.yaml"
    one.write_text(text.replace("day: 84,", "day: 85,"))
    two = changed_plan(("    method: mmrm", "    method: mixed"))
    three = tmp_path / "three.yaml"
    three.write_text("title: what is it\n")
    names = ["stroke-robotic", str(one), str(two), str(three)]
    done = RUN.invoke(app, ["check", *names, "--json"])
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    by_file = {Path(row["file"]).name: row for row in found["files"]}
    assert [f["where"] for f in by_file["one.yaml"]["findings"]] == ["visits[3].day"]
    assert (
        by_file["one.yaml"]["findings"][0]["line"] == text[: text.index("day: 84")].count("\n") + 1
    )
    assert by_file[two.name]["findings"][0]["where"] == "analyses[0].method"
    assert by_file["three.yaml"]["kind"] == "unknown"
    assert "does not say what it is" in by_file["three.yaml"]["findings"][0]["message"]
    assert found["count"] == sum(len(row["findings"]) for row in found["files"])


def test_check_of_a_mapping_with_faults(tmp_path: Path) -> None:
    text = (ANALYSES / "cgd.mapping.yaml").read_text()
    path = tmp_path / "x.mapping.yaml"
    path.write_text(text.replace("arms:", "armz: 1\narms:", 1))
    done = RUN.invoke(app, ["check", str(path)])
    assert done.exit_code == 3
    assert "armz: unknown key" in done.stdout
    beside = RUN.invoke(app, ["check", str(path), "cgd.sap.yaml"])
    assert beside.exit_code == 3


def test_check_of_a_plan_with_its_mapping(tmp_path: Path) -> None:
    plan = tmp_path / "cgd.sap.yaml"
    text = (ANALYSES / "cgd.sap.yaml").read_text()
    plan.write_text(text.replace("reference: Placebo", "reference: Placebos"))
    done = RUN.invoke(app, ["check", str(plan), "cgd.mapping.yaml"])
    assert done.exit_code == 3
    assert "no arm of the study is labelled Placebos. Did you mean Placebo?" in done.stdout


def test_check_of_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(RUN.invoke(app, ["check", "nowhere"]).exception, UnknownName)
    monkeypatch.setattr("sys.argv", ["trialkit", "check", "nowhere"])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 2
    assert "neither a file nor one of the shipped" in capsys.readouterr().err


@pytest.fixture
def folder(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed study whose keys the verbs find."""
    study.close()
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    return tmp_path / "study"


def test_plan_verbs(folder: Path) -> None:
    where = ["--study", str(folder)]
    checked = RUN.invoke(app, ["plan", "check", *where])
    assert (checked.exit_code, "no faults" in checked.stdout) == (0, True), checked.output
    shown = RUN.invoke(app, ["plan", "show", *where])
    assert "not locked" in shown.stdout
    assert "1.  speed" in shown.stdout
    assert "Falls are underpowered" in shown.stdout
    signers = ["--signer", "stan", "--second-signer", "iris"]
    done = RUN.invoke(app, ["plan", "lock", *where, *signers, "--json"])
    assert done.exit_code == 0, done.output
    lock = json.loads(done.stdout)
    assert [s["signer"] for s in lock["signatures"]] == ["stan", "iris"]
    again = RUN.invoke(app, ["plan", "show", *where, "--json"])
    assert json.loads(again.stdout)["lock"]["lock"] == lock["lock"]
    text = RUN.invoke(app, ["plan", "show", *where]).stdout
    assert f"lock {lock['lock']}" in text
    assert "signed by Stan Abel (stan)" in text


def test_plan_check_with_faults(folder: Path, changed_plan: Change) -> None:
    path = changed_plan(("    visit: W12", "    visit: W99"))
    done = RUN.invoke(app, ["plan", "check", "--study", str(folder), "--plan", str(path), "--json"])
    assert done.exit_code == 3
    assert json.loads(done.stdout)["findings"][0]["where"] == "analyses[0].visit"


def test_plan_lock_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--study", str(folder), "--signer", "stan", "--second-signer", "cora"]
    monkeypatch.setattr("sys.argv", ["trialkit", "plan", "lock", *arguments, "--json"])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 5
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "TK-ROLE"
    assert "cora (coordinator) may not sign plans" in captured.err


def test_plan_lock_of_another_plan(folder: Path, changed_plan: Change) -> None:
    path = changed_plan(('version: "1.1"', 'version: "2.0"'))
    where = ["--study", str(folder), "--signer", "iris", "--second-signer", "stan"]
    done = RUN.invoke(app, ["plan", "lock", *where, "--plan", str(path)])
    assert done.exit_code == 0, done.output
    assert "signed by Iris Bell" in done.stdout
    assert "2.0" in RUN.invoke(app, ["plan", "show", "--study", str(folder)]).stdout
