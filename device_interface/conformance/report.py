"""The record of a run of the kit: plain data with a hash, which a person may sign."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from device_interface.conformance.run import GROUPS, KIT_VERSION, KitResult
from device_interface.contract import SCHEMA
from device_interface.registry import driver_entry
from trialkit._canonical import sha256_json
from trialkit._clock import utc_text
from trialkit.errors import IntegrityError

RECORD_SCHEMA = "trialkit.device-check/1"


def package_of(name: str) -> tuple[str, str]:
    """Return the distribution that a driver comes from, and its version; empty where unknown."""
    entry = driver_entry(name)
    if entry is not None and entry.dist is not None:
        return entry.dist.name, entry.dist.version
    top = name.partition(":")[0].partition(".")[0]
    found = packages_distributions().get(top, [])
    return (found[0], version(found[0])) if found else ("", "")


def record_of(result: KitResult) -> dict[str, Any]:
    """Return the record of a run: device, driver, verdicts, times, versions."""
    package, package_version = package_of(result.name)
    capability = result.capability
    try:
        software = version("trialkit")
    except PackageNotFoundError:
        software = ""
    return {
        "schema": RECORD_SCHEMA,
        "kit": {"version": KIT_VERSION, "contract": SCHEMA, "trialkit": software},
        "driver": {
            "name": result.name,
            "options": result.options,
            "package": package,
            "package_version": package_version,
        },
        "device": None if capability is None else capability.identity(),
        "descriptor_sha256": None if capability is None else sha256_json(capability.to_dict()),
        "lockstep": None if capability is None else capability.lockstep,
        "started": utc_text(result.started),
        "ended": utc_text(result.ended),
        "machine": {"python": platform.python_version(), "platform": platform.platform()},
        "quick": result.quick,
        "soak_s": result.soak_s,
        "at_once": result.at_once,
        "summary": {
            verdict: result.count(verdict) for verdict in ("passed", "failed", "not_applicable")
        },
        "checks": [
            {
                "id": o.check.id,
                "requirement": o.check.requirement,
                "verdict": o.verdict,
                "observed": o.observed,
                "begun_s": o.begun_s,
                "seconds": o.seconds,
                "tries": o.tries,
                "late_s": o.late_s,
            }
            for o in result.outcomes
        ],
    }


def read_record(path: Path) -> dict[str, Any]:
    """Return what a file of the kit holds: ``record``, ``digest`` and ``signature``.

    Raises
    ------
    IntegrityError
        If it is not there, is no such file, or its digest does not fit.
    """
    try:
        whole = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{path}: cannot be read: {error}.", remedy="Restore it from a copy."
        ) from error
    check_record(whole, str(path))
    read: dict[str, Any] = whole
    return read


def check_record(whole: Any, where: str) -> None:
    """Check that `whole` is a record of the kit and that its digest fits.

    Raises
    ------
    IntegrityError
        If not.
    """
    record = whole.get("record") if isinstance(whole, dict) else None
    if not isinstance(record, dict) or record.get("schema") != RECORD_SCHEMA:
        raise IntegrityError(
            f"{where}: no record of `trialkit device check`.", remedy="Give the file it wrote."
        )
    if sha256_json(record) != whole.get("digest"):
        raise IntegrityError(
            f"{where}: altered since it was written.",
            remedy="Restore it from a copy.",
        )


def check_page() -> str:
    """Return every check with its requirement as a page of Markdown."""
    lines = [
        "# Checks of the conformance kit",
        "",
        f"Version {KIT_VERSION} of the kit; `trialkit device check NAME` runs them. Those marked",
        "slow take real seconds or minutes and are left out by `--quick`.",
        "",
    ]
    for group in GROUPS:
        lines += [f"## {group.title} (`{group.name}`)", "", "| check | requirement |", "|---|---|"]
        for check in group.checks:
            slow = " (slow)" if check.slow else ""
            lines.append(f"| `{check.id}`{slow} | {check.requirement} |")
        lines.append("")
    return "\n".join(lines)
