"""A sealed session as plain arrays, with what its record says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialkit.errors import OutOfOrder, UnknownName
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.study import Study

TIMES = ("seq", "t_device_ns", "t_host_ns")


@dataclass(frozen=True)
class Group:
    """One rate group.

    Attributes
    ----------
    name : str
    rate_hz : float or None
        From the device's clock; None where rows come as they come.
    names, units : tuple of str
        Of the channels, in the order of the columns.
    seq, t_device_ns, t_host_ns : ndarray of int64, shape (n,)
    values : ndarray of float32, shape (n, channels)
    """

    name: str
    rate_hz: float | None
    names: tuple[str, ...]
    units: tuple[str, ...]
    seq: NDArray[np.int64]
    t_device_ns: NDArray[np.int64]
    t_host_ns: NDArray[np.int64]
    values: NDArray[np.float32]

    @property
    def gaps(self) -> int:
        """Places at which rows are missing by the sequence number."""
        return int(np.count_nonzero(np.diff(self.seq) != 1))


@dataclass(frozen=True)
class SealedSession:
    """The groups of a session, and who, when and on what."""

    session: str
    usubjid: str
    number: int
    device: dict[str, Any]
    manifest_sha256: str
    groups: tuple[Group, ...]


def read_session(study: Study, session: str) -> SealedSession:
    """Return the sealed telemetry of `session`.

    Raises
    ------
    NotPermitted
        If the role may not see allocations: who has telemetry is in the robotic arm.
    UnknownName
        If the study has no such session on a device.
    OutOfOrder
        If it is still open, or nothing was sealed.
    TelemetryDamaged
        If the files are not what was sealed.
    """
    study.require("see_allocation")
    known = study.state.sessions.get(session)
    if known is None:
        raise UnknownName(
            f"there is no session {session!r}.", remedy="Name it as in `trialkit status`."
        )
    opened: dict[str, Any] = {}
    sealed: dict[str, Any] | None = None
    kinds = ["session.opened", "session.telemetry_sealed"]
    for event in study.record.read(kinds=kinds, subject=known.usubjid):
        if event.payload["session"] != session:
            continue
        if event.kind == "session.opened":
            opened = dict(event.payload)
        else:
            sealed = dict(event.payload)
    if sealed is None:
        raise OutOfOrder(
            f"session {session} has no sealed telemetry.",
            remedy="Run `trialkit recover` if it was interrupted; else it had no device.",
        )
    folder = study.folder / str(sealed["folder"])
    digest = str(sealed["manifest_sha256"])
    manifest = read_manifest(folder, sha256=digest).manifest
    tables = [f for f in manifest["files"] if str(f["name"]).endswith(".parquet")]
    groups = tuple(_group(folder, entry, digest) for entry in tables)
    device = dict(opened.get("device", {}))
    return SealedSession(session, known.usubjid, known.number, device, digest, groups)


def _group(folder: Any, entry: dict[str, Any], digest: str) -> Group:
    name = str(entry["name"]).removesuffix(".parquet")
    table = open_sealed(folder, name, sha256=digest)
    names = tuple(c for c in table.column_names if c not in TIMES)
    units = dict(entry.get("units", {}))
    seq, device, host = (table.column(c).to_numpy().astype(np.int64) for c in TIMES)
    values = np.empty((table.num_rows, len(names)), np.float32)
    for at, column in enumerate(names):
        values[:, at] = table.column(column).to_numpy()
    return Group(
        name,
        _rate(device, seq),
        names,
        tuple(str(units.get(c, "n/a")) for c in names),
        seq,
        device,
        host,
        values,
    )


def _rate(t_ns: NDArray[np.int64], seq: NDArray[np.int64]) -> float | None:
    """Return the rate where all rows with consecutive numbers are equally far apart."""
    step = np.diff(t_ns)[np.diff(seq) == 1]
    if not len(step) or int(step.min()) <= 0 or np.ptp(step) > 0.01 * float(np.median(step)):
        return None
    return round(1e9 / float(np.median(step)), 6)
