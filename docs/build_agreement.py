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
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE / "reference" / "agreement.md"
KEY = ("method", "variant", "oracle")
HEAD = """# Agreement

Each method beside somebody else's program: what was compared, how many numbers, and the largest
difference that the tests found, with the one that they allow. Where several quantities have
tolerances of their own, the one closest to its tolerance is shown. The tests made this table; the
programs and data stand in `tests/oracles`, or are named in the README of the tests that use them.

| method | variant | oracle | compared | numbers | relative (allowed) | absolute (allowed) |
|---|---|---|---|---|---|---|
"""


#: Methods without a program to compare with, and what holds them.
IDENTITIES = {
    "closed_test": "equals the graph tested step by step",
    "fallback": "worked by hand",
    "fixed_sequence": "worked by hand, and serial gates of one hypothesis each",
    "gatekeeping": "Holm behind Holm, and Bonferroni before Holm, on random p-values",
    "hedges_g": "Hedges' formula",
    "mmrm_batch": "each trial equals `mmrm` to 1e-9",
    "sequential_graph": "the published algorithm step by step, and `graph` where there is one look",
}


def noted(folder: Path) -> list[dict[str, Any]]:
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


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page with one line a method, variant and oracle."""
    merged: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        merged.setdefault(tuple(plain(str(row[name])) for name in KEY), []).append(row)
    lines = []
    for key, found in sorted(merged.items()):
        compared = ", ".join(sorted({plain(str(row["quantity"])) for row in found}))
        cells = [f"`{key[0]}`", *key[1:], compared, str(sum(int(row["n"]) for row in found))]
        cells += [largest(found, kind) for kind in ("relative", "absolute")]
        lines.append(f"| {' | '.join(cells)} |")
    held = [f"| `{name}` | {how} |" for name, how in sorted(IDENTITIES.items())]
    tail = ["", "No other program was at hand for these:", "", "| method | held by |", "|---|---|"]
    return HEAD + "\n".join([*lines, *tail, *held]) + "\n"


def plain(text: str) -> str:
    """Return text that fits into a cell."""
    return " ".join(text.replace("|", "/").split())


def largest(rows: list[dict[str, Any]], kind: str) -> str:
    """Return the difference closest to its tolerance, with the tolerance."""
    own = [row for row in rows if row["kind"] == kind]
    if not own:
        return ""
    worst = max(own, key=lambda row: float(row["worst"]) / max(float(row["tolerance"]), 1e-300))
    allowed = f"{float(worst['tolerance']):.2g}".replace("e-0", "e-")
    return f"{rounded(float(worst['worst']))} ({allowed})"


def keys_of(text: str) -> set[tuple[str, ...]]:
    """Return the comparisons that a page holds."""
    found = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 7:
            found.add((cells[0].strip("`"), *cells[1:3]))
    return found


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(noted(Path(folder))), encoding="utf-8")
    sys.stderr.write("agreement.md\n")


if __name__ == "__main__":
    main()
