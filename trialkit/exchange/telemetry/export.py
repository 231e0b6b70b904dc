"""Export of a session: all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trialkit._canonical import sha256_bytes
from trialkit.errors import DataFindings, Duplicate, Finding, StorageRefused, UnknownName
from trialkit.exchange.telemetry.bids import write_bids
from trialkit.exchange.telemetry.c3d import write_c3d
from trialkit.exchange.telemetry.mcap_file import write_mcap
from trialkit.exchange.telemetry.sealed import SealedSession, read_session
from trialkit.record.kinds import SessionExported
from trialkit.study import Study
from trialkit.study.commands import command

Format = Literal["bids", "c3d", "mcap"]
FORMATS: Mapping[str, Callable[[SealedSession, Path], None]] = {
    "bids": write_bids,
    "c3d": write_c3d,
    "mcap": write_mcap,
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    session, format : str
    folder : Path
    files : dict of str to str
        Path in the folder to SHA-256.
    left_out : tuple of str
        Rate groups that the format cannot hold.
    """

    session: str
    format: str
    folder: Path
    files: Mapping[str, str]
    left_out: tuple[str, ...]


@command("see_allocation", atomic=False)
def export_session(study: Study, session: str, *, format: str, out: Path) -> Exported:
    """Write the sealed telemetry of `session` into the new folder `out`; this is an event.

    Parameters
    ----------
    study : Study
    session : str
        Such as ``SITE-001-S07``.
    format : {"bids", "c3d", "mcap"}
        BIDS-motion data set (joint angles in degrees, all else as recorded), C3D (one file a
        rate group of constant rate), MCAP (one file, messages of 50 samples).
    out : Path
        Must not exist; it appears when it is whole.

    Raises
    ------
    NotPermitted, UnknownName, OutOfOrder, TelemetryDamaged
        See `trialkit.exchange.telemetry.sealed.read_session`.
    Duplicate
        If `out` exists.
    DataFindings
        If the format can hold no rate group of the session.
    MissingTool
        If the package of the format is not installed.
    StorageRefused
        If the disk refuses; nothing is left behind.
    """
    write = FORMATS.get(format)
    if write is None:
        raise UnknownName(f"no format {format!r}.", remedy=f"Use one of {', '.join(FORMATS)}.")
    if out.exists():
        raise Duplicate(f"{out} exists.", remedy="Give a folder that does not exist yet.")
    sealed = read_session(study, session)
    left_out = tuple(g.name for g in sealed.groups if format == "c3d" and g.rate_hz is None)
    if len(left_out) == len(sealed.groups):
        finding = Finding(session, f"no rate group fits {format}.", "Use bids or mcap.")
        raise DataFindings(f"{session} cannot be written as {format}.", [finding])
    begun = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        write(sealed, begun)
        files = {
            path.relative_to(begun).as_posix(): sha256_bytes(path.read_bytes())
            for path in sorted(begun.rglob("*"))
            if path.is_file()
        }
        begun.chmod(0o755)
        study.append(
            SessionExported(session=session, format=format, files=files), subject=sealed.usubjid
        )
        begun.rename(out)
    except OSError as error:
        raise StorageRefused(
            f"{out} cannot be written: {os.strerror(error.errno or 0)}.",
            remedy="Free the disk, or write elsewhere.",
        ) from error
    finally:
        if begun is not None and begun.exists():
            shutil.rmtree(begun, ignore_errors=True)
    return Exported(session, format, out, files, left_out)
