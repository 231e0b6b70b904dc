"""Reads a protocol file: parsed, checked, or every fault at once."""

from __future__ import annotations

from pathlib import Path

from trialkit._canonical import sha256_file
from trialkit._yaml import load_yaml, parse_model
from trialkit.errors import ProtocolFindings
from trialkit.protocol.model import Protocol


def protocol_hash(path: str | Path) -> str:
    """Return the SHA-256 of a protocol file, which is the protocol's identity in the record."""
    return sha256_file(Path(path))


def load_protocol(path: str | Path) -> Protocol:
    """Return the protocol of a file.

    Raises
    ------
    ProtocolFindings
        If the file has faults; all of them are listed with line and remedy.
    """
    path = Path(path)
    data, lines, findings = load_yaml(path)
    protocol, faults = parse_model(Protocol, data, lines) if data is not None else (None, [])
    if protocol is None or findings:
        raise ProtocolFindings(
            f"{path.name} has {len(findings + faults)} faults.",
            findings + faults,
            remedy=f"Mend them; `trialkit check {path}` lists them again.",
        )
    return protocol
