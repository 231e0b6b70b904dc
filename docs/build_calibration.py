"""Write ``docs/reference/calibration.md``: type I error and coverage over simulated trials.

``make calibration`` calls it (about 40 minutes on two idle cores). A run that was stopped goes on
where it stood, as long as the methods and their trials are the same files. The slow tier runs the
same trials, fewer of the costly ones, and holds their rates to bands.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TRIALS = ROOT / "tests" / "methods" / "calibration"
PAGE = HERE / "reference" / "calibration.md"
HEAD = """# Calibration

Rates over simulated trials with 55 % of the participants in one arm: how often a two-sided test
at 5 % rejects where there is no effect, and how often a 95 % interval covers the truth where there
is one. Monte Carlo error is about {mc:.1%} at {trials:,} trials. *Failed* fits give no number and
say why, or an arm has no event to compare; they are left out of the rates.

With 20 participants the normal quantiles of the usual estimators are too short: their type I error
lies above 5 %. Choose a method with a small-sample variant there, or read the rate in this table
before you trust the interval. The worlds are described in `tests/methods/calibration/worlds.py`:
MMRM and imputation are compared at the last of three visits with dropout that depends on the
visit before; survival and incidence at time 1, mean counts at 0.75 of a year; therapists see four
to seven participants of one arm.

| method | variant | n | trials | type I error | coverage | failed |
|---|---|---|---|---|---|---|
"""


def rows_file() -> Path:
    """Return where rows are kept; another name for each state of the methods and the trials."""
    code = hashlib.sha256()
    for file in sorted([*(ROOT / "trialkit" / "methods").rglob("*.py"), *TRIALS.glob("*.py")]):
        code.update(file.read_bytes())
    return ROOT / "build" / f"calibration-{code.hexdigest()[:12]}.jsonl"


def run() -> list[dict[str, Any]]:
    """Run the calibration, or what a stopped run has left of it, and return its rows."""
    file = rows_file()
    file.parent.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "TRIALKIT_CALIBRATION": str(file),
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "slow"]
    command += ["-p", "no:cacheprovider", str(TRIALS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit("a rate lies outside its band; the page is not written")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page."""
    rows = sorted(rows, key=lambda row: (row["method"], row["variant"], row["n"]))
    head = HEAD.format(mc=rows[0]["mc"], trials=max(row["trials"] for row in rows))
    lines = []
    for row in rows:
        coverage = "" if math.isnan(row["coverage"]) else f"{100 * row['coverage']:.1f} %"
        lines.append(
            f"| `{row['method']}` | {row['variant']} | {row['n']} | {row['trials']:,} "
            f"| {100 * row['error']:.1f} % | {coverage} | {100 * row['failed']:.1f} % |"
        )
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(run()), encoding="utf-8")
    sys.stderr.write("calibration.md\n")


if __name__ == "__main__":
    main()
