"""docs/write-a-driver.md, done: its blocks make a package, which the kit passes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "write-a-driver.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder that a vendor has after typing the page."""
    folder = tmp_path / "acme"
    (folder / "acme_walker").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(*blocks("toml"))
    (folder / "acme_walker" / "__init__.py").write_text(*blocks("py"))
    return folder


def run(command: str, folder: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TRIALKIT_KEYS": str(folder / "keys"),
    }
    environment.pop("PYTHONPATH", None)
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def install(source: Path, site: Path) -> None:
    """Build the wheel and unpack it: what installing a pure package is."""
    done = run(f"{sys.executable} -m hatchling build -t wheel -d dist", source)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)


def test_the_driver_grows(source: Path) -> None:
    grown = [c for c in commands() if "--quick" in c]
    assert len(grown) == 2
    for command in grown:
        done = run(f"{command} --json", source)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout)["record"]
    assert found["summary"]["failed"] == 0
    assert found["summary"]["passed"] >= 85
    reasons = {c["id"]: c["observed"] for c in found["checks"] if c["verdict"] == "not_applicable"}
    assert "the descriptor has no fault tracking_error" in reasons["spasm.tracking-error-yields"]
    assert "By hand:" in reasons["spasm.tracking-error-yields"]


@pytest.mark.slow(seconds=90)
def test_a_mistake_in_it_is_found(source: Path) -> None:
    driver = source / "acme_walker" / "__init__.py"
    text = driver.read_text()
    wrong = text.replace("STOP_RATE, HOLD_RATE = 1.2, 0.4", "STOP_RATE, HOLD_RATE = 0.3, 0.4")
    assert wrong != text
    driver.write_text(wrong)
    command = "PYTHONPATH=. trialkit device check acme_walker:AcmeWalker --quick -g stop --json"
    done = run(command, source)
    assert done.returncode == 3
    failed = [
        c["id"] for c in json.loads(done.stdout)["record"]["checks"] if c["verdict"] == "failed"
    ]
    assert "stop.cat1-from-running" in failed


@pytest.mark.slow(seconds=90)
def test_the_installed_driver_passes_the_whole_kit(source: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(source, site)
    for command in (c for c in commands() if "--quick" not in c):
        done = run(command, source, site)
        assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    record = json.loads((source / "acme.json").read_text())["record"]
    assert record["driver"]["package"] == "acme-walker"
    assert record["driver"]["package_version"] == "1.2.0"
    assert record["summary"]["failed"] == 0


def test_an_entry_point_is_all_that_installing_needs(source: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(source, site)
    done = run("trialkit device list --json", source, site)
    assert {"name": "acme", "package": "acme-walker", "package_version": "1.2.0"} in json.loads(
        done.stdout
    )["drivers"]
    shown = run("trialkit device describe acme", source, site)
    assert "Acme" in shown.stdout
    assert "knee_motor_torque_l" in shown.stdout
    checked = run("trialkit device check acme -g ordering --quick --json", source, site)
    assert checked.returncode == 0, checked.stdout[-4000:]
