from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import analysed_study
import pytest
from analysed_study import WORD, make_study

from trialkit._canonical import sha256_file
from trialkit.errors import (
    IntegrityError,
    MissingTool,
    NotPermitted,
    TrialkitError,
    UnknownName,
    UsageError,
)
from trialkit.report import render_report
from trialkit.report.render import find_run, locked_plan
from trialkit.study import Study
from trialkit.study.datalock import approve_unlock, request_unlock
from trialkit.study.signing import sign

SHORT = """---
title: Short
---

```{python}
#| tags: [parameters]
#| echo: false
results = ""
plan = ""
context = ""
```

```{python}
#| include: false
from trialkit.report import open_report
show = open_report(results, plan, context)
```

The difference is `{python} show.value("speed.difference.robotic.vs-conventional.W4.estimate")`.

```{python}
#| echo: false
#| output: asis
print(show.about())
```

```{python}
#| echo: false
#| output: asis
print(show.blinding())
```
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    with make_study(tmp_path_factory.mktemp("rendered"), emergency=True) as made:
        yield made.as_user("stan")


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.qmd"
    path.write_text(SHORT, encoding="utf-8")
    return path


@pytest.mark.requirement("R05", "R22")
def test_a_report_is_kept_copied_and_noted_in_the_record(
    study: Study, short: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = render_report(study, short, formats=("html",), out=out, engine="embedded")
    assert made == {"html": out / "short.html"}
    event = list(study.record.read(kinds=["report.rendered"]))[-1]
    assert event.payload["template_sha256"] == sha256_file(short)
    assert event.payload["renderer"].startswith("embedded")
    assert set(event.payload["files"]) == {"short.html", "short.context.json"}
    for name, digest in event.payload["files"].items():
        assert sha256_file(study.folder / "reports" / name) == digest
    assert (out / "short.html").read_bytes() == (study.folder / "reports/short.html").read_bytes()

    run = find_run(study)
    assert event.payload["results"] == run.payload["results"]
    text = (out / "short.html").read_text(encoding="utf-8")
    assert run.hash in text
    assert str(run.payload["plan_lock"]) in text
    assert 'data-result-id="speed.difference.robotic.vs-conventional.W4.estimate"' in text
    context = json.loads((study.folder / "reports/short.context.json").read_text("utf-8"))
    assert context["record"] == {"seq": run.seq, "hash": run.hash, "at": run.at}
    assert context["data"] == "not locked"
    assert "not locked" in text


@pytest.mark.requirement("R22", "R11")
def test_a_report_says_that_data_were_locked_and_who_signed(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As both stood at the analysis: what comes after it changes nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with analysed_study.make_study(tmp_path, locked=True) as made:
        stan = made.as_user("stan")
        sign(stan, "plan", "seen again", password=WORD, signer="stan")
        request = request_unlock(made.as_user("ivan"), reason="one value is wrong")
        approve_unlock(made, request.payload["request"])
        shown = render_report(stan, short, formats=("html",), out=tmp_path, engine="embedded")
        (lock,) = made.record.read(["data.locked"])
        signed, _ = made.record.read(["signature.applied"])
        (plan,) = made.record.read(["plan.locked"])
    text = html.unescape(re.sub(r"<[^>]+>", " ", shown["html"].read_text(encoding="utf-8")))
    text = " ".join(text.split())
    assert f"locked at event {lock.seq}, {lock.at}, by ivan: all queries are closed" in text
    assert "not locked" not in text
    at = signed.payload["at"]
    assert f"plan: Stan (approved), {at[:10]} {at[11:16]}" in text
    assert "seen again" not in text
    for one in plan.payload["signatures"]:
        assert f"{one['name']} ({one['meaning']}), {plan.at[:10]} {plan.at[11:16]}" in text


def test_emergency_unblinding_is_reported(study: Study, short: Path, tmp_path: Path) -> None:
    made = render_report(study, short, formats=("html",), out=tmp_path, engine="embedded")
    (event,) = study.record.read(["allocation.unblinded_one"])
    (revealed,) = study.record.read(["allocation.revealed"])
    context = json.loads((study.folder / "reports/short.context.json").read_text("utf-8"))
    assert context["blinding"] == {
        "revealed": revealed.at,
        "told": [
            {
                "usubjid": event.subject,
                "at": event.at,
                "asked": "cora",
                "agreed": "ivan",
                "reason": "seizure | at night",
            }
        ],
    }
    text = made["html"].read_text(encoding="utf-8")
    assert "The arm of 1 participant was told before in an emergency" in text
    assert "seizure | at night" in text
    assert str(event.subject) in text


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"formats": ("html", "rtf")}, UsageError),
        ({"formats": ()}, UsageError),
        ({"engine": "latex"}, UsageError),
        ({"results": "f" * 12}, UnknownName),
        ({"template": "no-such-template"}, UnknownName),
    ],
)
def test_what_cannot_be_rendered_leaves_no_trace(
    study: Study, short: Path, given: dict[str, Any], error: type[TrialkitError]
) -> None:
    before = study.record.head
    with pytest.raises(error):
        render_report(study, given.pop("template", short), **given)
    assert study.record.head == before


def test_the_assessor_may_not_report(study: Study, short: Path) -> None:
    with pytest.raises(NotPermitted):
        render_report(study.as_user("asta"), short)


@pytest.mark.skipif(shutil.which("quarto") is not None, reason="quarto is on PATH")
def test_quarto_that_is_not_there_is_named(study: Study, short: Path) -> None:
    with pytest.raises(MissingTool, match="quarto") as caught:
        render_report(study, short, engine="quarto")
    assert caught.value.exit_status == 7


def test_a_plan_that_was_changed_is_not_reported(study: Study) -> None:
    run = find_run(study)
    _, plan = locked_plan(study, run)
    kept = {p: p.read_bytes() for p in (study.folder / "plans").iterdir()}
    try:
        for path, data in kept.items():
            path.write_bytes(data + b"\n")
        with pytest.raises(IntegrityError):
            locked_plan(study, run)
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
    assert locked_plan(study, run)[1] == plan
