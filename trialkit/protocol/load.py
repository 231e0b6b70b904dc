"""Reads a protocol file: parsed, checked, or every fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trialkit._canonical import sha256_file
from trialkit.errors import ProtocolFindings
from trialkit.protocol.check import read_protocol
from trialkit.protocol.forms import Form
from trialkit.protocol.model import Protocol


def protocol_hash(path: str | Path) -> str:
    """Return the SHA-256 of a protocol file, which is the protocol's identity in the record."""
    return sha256_file(Path(path))


def load_protocol(path: str | Path, instruments: Mapping[str, Form] | None = None) -> Protocol:
    """Return the protocol of a file.

    Parameters
    ----------
    path : str or Path
    instruments : mapping, optional
        Known instruments by code; default: those that ship and those beside the file.

    Raises
    ------
    ProtocolFindings
        If the file has faults; all of them are listed with line and remedy.
    """
    path = Path(path)
    protocol, findings = read_protocol(path, instruments=instruments)
    if protocol is None:
        raise ProtocolFindings(
            f"{path.name} has {len(findings)} fault{'s' if len(findings) > 1 else ''}.",
            findings,
            remedy=f"Mend the file; `trialkit check {path}` lists every fault again.",
        )
    return protocol
