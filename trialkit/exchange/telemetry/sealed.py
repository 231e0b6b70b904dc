"""A sealed session as plain arrays, with what its record says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialkit.errors import OutOfOrder
from trialkit.session.telemetry import TIMES, SealedRows, sealed_rows
from trialkit.study import Study


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
        If nothing was sealed.
    TelemetryDamaged
        If the files are not what was sealed.
    """
    rows = sealed_rows(study, session)
    if not rows:
        raise OutOfOrder(
            f"session {session} sealed no rows.", remedy="It was recovered before its first frame."
        )
    known = study.state.sessions[session]
    opened = study.record.read(kinds=["session.opened"], subject=known.usubjid)
    device = next(dict(e.payload["device"]) for e in opened if e.payload["session"] == session)
    groups = tuple(map(_group, rows))
    return SealedSession(
        session, known.usubjid, known.number, device, rows[0].manifest_sha256, groups
    )


def _group(rows: SealedRows) -> Group:
    frame = rows.frame()
    names = tuple(str(c) for c in frame.columns if c not in TIMES)
    seq, device, host = (frame[c].to_numpy().astype(np.int64) for c in TIMES)
    return Group(
        rows.name,
        _rate(device, seq),
        names,
        tuple(str(rows.units.get(c, "n/a")) for c in names),
        seq,
        device,
        host,
        frame[list(names)].to_numpy(dtype=np.float32),
    )


def _rate(t_ns: NDArray[np.int64], seq: NDArray[np.int64]) -> float | None:
    """Return the rate where all rows with consecutive numbers are equally far apart."""
    step = np.diff(t_ns)[np.diff(seq) == 1]
    if not len(step) or int(step.min()) <= 0 or np.ptp(step) > 0.01 * float(np.median(step)):
        return None
    return round(1e9 / float(np.median(step)), 6)
