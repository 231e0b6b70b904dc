"""`verify_package`: the shipped verifier's findings as findings of trialkit."""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import Finding, UnknownName
from trialkit.evidence import verify as shipped

REMEDY = "Ask the signer for the package again, and compare the key's fingerprint."


def verify_package(path: Path | str, key: str | None = None) -> list[Finding]:
    """Return every fault of an evidence package; an empty list means that it is intact.

    Parameters
    ----------
    path : path
        The unpacked folder or the zip.
    key : str or None
        Fingerprint or public key (hex) that must have signed it.

    Raises
    ------
    UnknownName
        If there is no such path.
    """
    return [Finding(f.where, f.message + ".", REMEDY) for f in verify_report(path, key).faults]


def verify_report(path: Path | str, key: str | None = None) -> shipped.Report:
    """Return facts and faults of a package, as the shipped verifier gives them."""
    if not Path(path).exists():
        raise UnknownName(f"{path}: no such folder or zip.", remedy="Give an evidence package.")
    return shipped.verify(path, key)
