"""The documents are run: each ``console`` and ``python`` block of a page, in order, in one folder.

In a console block a line that starts with ``$ `` is a command; ``# exit N`` at its end says which
exit status it must have (0 without it). Other lines are output and are not compared.

A demonstration that several pages begin with is made once in a run, by their own command; each
page goes on with a copy of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
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


def demonstration(command: str, folder: Path, environment: dict[str, str]) -> Path:
    """Run a `trialkit demo` in `folder` unless a worker of this run did; return what it left."""
    made = folder / hashlib.sha256(command.encode()).hexdigest()[:16]
    with (folder / "demonstrations.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            part = made.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            words = [*shlex.split(command), "--out", "demo"]
            kept = environment | {n: str(part / n) for n in ("TRIALKIT_KEYS", "XDG_STATE_HOME")}
            done = subprocess.run(
                words, cwd=part, env=kept, capture_output=True, text=True, timeout=1800
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            part.rename(made)
    return made / "demo"


RUNNABLE = [page for page in PAGES if steps(page)]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: p.stem)
def test_page_runs(page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = tmp_path_factory.getbasetemp()
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run  # one for all workers
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
        if language == "console" and text.startswith("trialkit demo "):
            demo, _, out = text.partition(" --out ")
            assert re.fullmatch(r"[\w-]+", out), f"{page.name}: {text} does not end with --out NAME"
            shutil.copytree(demonstration(demo, run, environment), tmp_path / out)
            continue
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
