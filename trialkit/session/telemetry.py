"""The sealed telemetry of a session as frames, read through its hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trialkit.errors import OutOfOrder, UnknownName
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.study import Study

if TYPE_CHECKING:
    import pandas as pd

TIMES = ("seq", "t_device_ns", "t_host_ns")


@dataclass(frozen=True)
class SealedRows:
    """One sealed rate group; nothing is read before `frame`.

    Attributes
    ----------
    folder : Path
    name : str
    manifest_sha256 : str
        From the record.
    units : dict of str to str
        Of the channels.
    """

    folder: Path
    name: str
    manifest_sha256: str
    units: dict[str, str]

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows, the three times first; `columns` are the channels wanted.

        Raises
        ------
        TelemetryDamaged
            If the file is not what was sealed.
        """
        wanted = None if columns is None else [*TIMES, *columns]
        table: pd.DataFrame = open_sealed(
            self.folder, self.name, columns=wanted, sha256=self.manifest_sha256
        ).to_pandas()
        return table if wanted is None else table[wanted]


def sealed_rows(study: Study, session: str) -> list[SealedRows]:
    """Return the rate groups of a session.

    Raises
    ------
    NotPermitted
        If the role may not see allocations: who has telemetry is in the arm with the device.
    UnknownName
        If the study has no such session.
    OutOfOrder
        If nothing was sealed.
    TelemetryDamaged
        If the manifest is not the one in the record.
    """
    known = study.state.sessions.get(session)
    study.require("see_allocation", subject=known.usubjid if known else None)
    if known is None:
        raise UnknownName(
            f"there is no session {session!r}.", remedy="Name it as in `trialkit status`."
        )
    events = study.record.read(kinds=["session.telemetry_sealed"], subject=known.usubjid)
    sealed = next((e.payload for e in events if e.payload["session"] == session), None)
    if sealed is None:
        raise OutOfOrder(
            f"session {session} has no sealed telemetry.",
            remedy="Run `trialkit recover` if it was interrupted; else it had no device.",
        )
    return list(_groups(study.folder / str(sealed["folder"]), str(sealed["manifest_sha256"])))


def _groups(folder: Path, digest: str) -> Iterator[SealedRows]:
    manifest = read_manifest(folder, sha256=digest).manifest
    for entry in manifest["files"]:
        name, dot, kind = str(entry["name"]).rpartition(".")
        if dot and kind == "parquet":
            units = {k: v for k, v in dict(entry.get("units", {})).items() if k not in TIMES}
            yield SealedRows(folder, name, digest, units)
