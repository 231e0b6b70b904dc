"""Installed as a user would: from the wheel, in an empty environment, outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLEAN = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def run(*command: str | Path, cwd: Path, timeout: float = 1800) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**CLEAN, "TRIALKIT_KEYS": str(cwd / "keys")},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    return next(folder.glob("*.whl"))


def test_wheel_holds_packages_and_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "trialkit/_content/protocols/stroke-robotic.yaml",
        "trialkit/_content/analyses/stroke-robotic-vs-conventional.sap.yaml",
        "trialkit/_content/reports/primary.qmd",
        "trialkit/evidence/verify.py",
        "device_interface/contract.py",
        "data_schemas/adam.py",
        "trialkit/py.typed",
    ):
        assert needed in names, needed
    assert not [n for n in names if n.startswith(("tests/", "docs/", "benchmarks/"))]


@pytest.mark.slow(seconds=60)
def test_demo_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    uv = shutil.which("uv")
    python = environment / "bin" / "python"
    lock = ROOT / "requirements" / "run.txt"
    if uv:
        run(uv, "venv", "--python", sys.executable, environment, cwd=tmp_path)
        install = [uv, "pip", "install", "--python", python]
    else:
        run(sys.executable, "-m", "venv", environment, cwd=tmp_path)
        install = [python, "-m", "pip", "install"]
    run(*install, "--require-hashes", "-r", lock, cwd=tmp_path)
    run(*install, "--no-deps", wheel, cwd=tmp_path)
    trialkit = environment / "bin" / "trialkit"
    out = run(
        trialkit,
        "demo",
        "--participants",
        "16",
        "--full-rate",
        "1",
        "--out",
        "out",
        "--json",
        cwd=tmp_path,
    )
    assert json.loads(out)
    for name in ("report.html", "report.pdf", "evidence.zip"):
        assert (tmp_path / "out" / name).stat().st_size > 10_000, name
    run(trialkit, "evidence", "verify", "out/evidence.zip", cwd=tmp_path)
