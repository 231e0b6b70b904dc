"""Write ``docs/reference/agreement.md``: each method beside somebody else's program.

The tests of ``tests/methods`` note every comparison with an oracle; this runs them and makes
the table. ``make docs`` calls it. A comparison that is not in the table fails its test.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "reference" / "agreement.md"
KEY = ("method", "variant", "oracle", "quantity")
HEAD = """# Agreement

Each method beside somebody else's program: what was compared, how many numbers, the difference
that the tests allow and the largest one that they found. Differences are relative unless marked
*abs*. The tests made this table; the programs and data stand in `tests/oracles`, and for the
numbers of packages that are not in Debian in the README beside the tests that name them.

| method | variant | oracle | compared | numbers | allowed | largest |
|---|---|---|---|---|---|---|
"""


def noted(folder: Path) -> list[dict[str, object]]:
    """Run the methods' tests and return the comparisons that they noted."""
    file = folder / "agreement.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    command += ["tests/methods", "--ignore=tests/methods/calibration"]
    environment = {**os.environ, "TRIALKIT_AGREEMENT": str(file)}
    done = subprocess.run(command, cwd=HERE.parent, env=environment, check=False)
    if done.returncode:
        sys.exit("the methods' tests do not pass; the table is not written")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def rounded(value: float) -> str:
    """Return a difference rounded up to one digit."""
    if value == 0.0:
        return "0"
    power = math.floor(math.log10(value))
    digit = math.ceil(value / 10.0**power - 1e-9)
    return f"{digit}e{power:d}" if digit < 10 else f"1e{power + 1:d}"


def page(rows: list[dict[str, object]]) -> str:
    """Return the page with one line a method, variant, oracle and quantity."""
    merged: dict[tuple[str, ...], dict[str, object]] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in KEY)
        old = merged.setdefault(key, {**row, "worst": 0.0, "n": 0, "tolerance": 0.0})
        old["worst"] = max(float(str(old["worst"])), float(str(row["worst"])))
        old["tolerance"] = max(float(str(old["tolerance"])), float(str(row["tolerance"])))
        old["n"] = int(str(old["n"])) + int(str(row["n"]))
    lines = []
    for key in sorted(merged):
        row = merged[key]
        unit = "" if row["kind"] == "relative" else " abs"
        allowed, worst = float(str(row["tolerance"])), float(str(row["worst"]))
        cells = [f"`{key[0]}`", *(cell.replace("|", "/") for cell in key[1:]), str(row["n"])]
        cells += [f"{allowed:.0e}{unit}".replace("e-0", "e-"), rounded(worst)]
        lines.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def keys_of(text: str) -> set[tuple[str, ...]]:
    """Return the comparisons that a page holds."""
    found = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 7:
            found.add((cells[0].strip("`"), *cells[1:4]))
    return found


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(noted(Path(folder))), encoding="utf-8")
    sys.stderr.write("agreement.md\n")


if __name__ == "__main__":
    main()
