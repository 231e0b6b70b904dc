"""Renders with Quarto, where it is on PATH; the same file, the same parameters, no project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from trialkit.errors import Finding, MissingTool, ReportFindings

TARGETS = {"html": "html", "pdf": "typst", "docx": "docx"}


def command(program: str, document: Path, target: str, parameters: Mapping[str, str]) -> list[str]:
    """Return the call of Quarto for one format."""
    call = [program, "render", document.name, "--to", target]
    for name, value in sorted(parameters.items()):
        call += ["-P", f"{name}:{value}"]
    return call


def render_quarto(
    source: Path, parameters: Mapping[str, str], work: Path, formats: Iterable[str], epoch: int
) -> dict[str, Path]:
    """Render a ``.qmd`` with Quarto in the working folder.

    Raises
    ------
    MissingTool
        If Quarto is not on PATH.
    ReportFindings
        If Quarto leaves with another status than 0, or does not write the file.
    """
    program = shutil.which("quarto")
    if program is None:
        raise MissingTool(
            "quarto is not on PATH.", remedy="Install Quarto, or use --engine embedded."
        )
    document = Path(shutil.copyfile(source, work / source.name))
    style = source.parent / "_style"
    if style.is_dir():
        shutil.copytree(style, work / "_style", dirs_exist_ok=True)
    made = {}
    for name in formats:
        call = command(program, document, TARGETS[name], parameters)
        done = subprocess.run(
            call,
            cwd=work,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "QUARTO_PYTHON": sys.executable,
                "SOURCE_DATE_EPOCH": str(epoch),
                "MPLBACKEND": "Agg",
                "PYTHONHASHSEED": "0",
            },
        )
        if done.returncode:
            tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise ReportFindings(
                f"quarto left with status {done.returncode}.",
                [Finding(f"quarto --to {TARGETS[name]}", tail, "See what Quarto says.")],
            )
        made[name] = work / f"{source.stem}.{name}"
    return made
