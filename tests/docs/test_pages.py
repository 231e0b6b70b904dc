"""The documents are run: each ``console`` and ``python`` block of a page, in order, in one folder.

In a console block a line that starts with ``$ `` is a command; ``# exit N`` at its end says which
exit status it must have (0 without it). Other lines are output and are not compared.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*?)(?:\s+# exit (\d))?$")


def steps(page: Path) -> list[tuple[str, str, int]]:
    found = []
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            found.append(("python", text, 0))
            continue
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            if match := COMMAND.match(line):
                found.append(("console", match[1], int(match[2] or 0)))
    return found


RUNNABLE = [page for page in PAGES if steps(page)]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: p.stem)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TRIALKIT_KEYS": str(tmp_path / "keys"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "MPLBACKEND": "Agg",
        "COLUMNS": "100",
    }
    (tmp_path / "data").symlink_to(ROOT / "docs" / "data")
    for language, text, status in steps(page):
        if language == "console" and text.startswith(("make ", "git ", "pip ")):
            continue  # these are run by make itself, and by the test of the wheel
        command = [sys.executable, "-c", text] if language == "python" else ["bash", "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800
        )
        shown = text if language == "python" else shlex.join(command[2:])
        assert done.returncode == status, f"{shown}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_links_lead_somewhere() -> None:
    missing = []
    for page in [*PAGES, *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("mailto:") and not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing, missing
