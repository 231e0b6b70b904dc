from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from trialkit.cli.whole import app

MAPPING = """
schema: trialkit.recording/1
format: csv
title: a test
vendor: v
model: m
family: wearable_brace
streams: [{name: leg, clock: {column: t}}]
"""


def test_a_recording_is_shown_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING)
    (tmp_path / "good.csv").write_text("t,a\n0.0,1\n0.1,2\n0.2,3\n")
    (tmp_path / "bad.csv").write_text("t,a\n0.0,1\n0.1,x\n0.1,3\n")
    words = ["device", "recording", "--mapping", str(tmp_path / "m.yaml")]
    good = CliRunner().invoke(app, [*words, str(tmp_path / "good.csv")])
    assert good.exit_code == 0, good.output
    assert "stream leg: 3 rows" in good.output
    bad = CliRunner().invoke(app, [*words, str(tmp_path / "bad.csv"), "--json"])
    assert bad.exit_code == 3
    told = json.loads(bad.output)
    assert told["counted"] == {"not_finite": 1, "repeated_device_times": 1}
    plain = CliRunner().invoke(app, [*words, str(tmp_path / "bad.csv")])
    assert "counted not_finite: a 1" in plain.output
