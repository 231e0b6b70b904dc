"""BIDS-motion: a data set folder with one tracking system a rate group.

Source: Brain Imaging Data Structure, modality-specific files, Motion: no header row in
``_motion.tsv``; the columns ``name, component, type, tracked_point, units`` of
``_channels.tsv`` are required; joint angles should be in degrees; the specification has no
type for torques and forces, which are ``MISC``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from trialkit.exchange.telemetry.sealed import Group, SealedSession

BIDS_VERSION = "1.10.0"
_BODY = {"hip": "hip", "knee": "knee", "ankle": "ankle"}
_SIDE = {"l": "left", "r": "right"}


def write_bids(session: SealedSession, folder: Path) -> None:
    """Write the data set into the empty folder `folder`."""
    subject = "sub-" + re.sub(r"[^A-Za-z0-9]", "", session.usubjid)
    visit = f"ses-{session.number:02d}"
    motion = folder / subject / visit / "motion"
    motion.mkdir(parents=True)
    _json(
        folder / "dataset_description.json",
        {
            "Name": f"Gait training session {session.session}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "trialkit"}],
            "SourceDatasets": [{"URL": f"urn:sha256:{session.manifest_sha256}"}],
        },
    )
    _lines(folder / "README", [f"Exported from the sealed telemetry of {session.session}."])
    _lines(folder / "participants.tsv", ["participant_id", subject])
    scans = ["filename\tacq_time"]
    for group in session.groups:
        stem = f"{subject}_{visit}_task-gaittraining_tracksys-{group.name}"
        _channels(motion / f"{stem}_channels.tsv", group)
        _json(motion / f"{stem}_motion.json", _sidecar(session, group))
        _samples(motion / f"{stem}_motion.tsv", group)
        scans.append(f"motion/{stem}_motion.tsv\tn/a")
    _lines(folder / subject / visit / f"{subject}_{visit}_scans.tsv", scans)


def kind_of(name: str, unit: str) -> tuple[str, str, str]:
    """Return type, tracked point and unit of a channel in BIDS."""
    joint, side = name.partition("_")[0], name.rpartition("_")[2]
    point = f"{_SIDE[side]} {_BODY[joint]}" if joint in _BODY and side in _SIDE else "n/a"
    if "_angle_" in name and unit == "rad":
        return "JNTANG", point, "deg"
    return "MISC", point, unit if unit not in ("", "1") else "n/a"


def _scale(group: Group) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    pairs = zip(group.names, group.units, strict=True)
    return np.array([180.0 / np.pi if kind_of(n, u)[0] == "JNTANG" else 1.0 for n, u in pairs])


def _channels(path: Path, group: Group) -> None:
    rows = ["name\tcomponent\ttype\ttracked_point\tunits"]
    rows.append("latency\tn/a\tLATENCY\tn/a\ts")
    for name, unit in zip(group.names, group.units, strict=True):
        kind, point, shown = kind_of(name, unit)
        rows.append(f"{name}\tn/a\t{kind}\t{point}\t{shown}")
    _lines(path, rows)


def _sidecar(session: SealedSession, group: Group) -> dict[str, Any]:
    begin, end = (int(group.t_device_ns[at]) for at in (0, -1)) if len(group.seq) else (0, 0)
    kinds = [kind_of(n, u)[0] for n, u in zip(group.names, group.units, strict=True)]
    seconds = (end - begin) / 1e9
    effective = round((len(group.seq) - 1) / seconds, 6) if seconds else None
    known = {
        "TaskName": "gaittraining",
        "TaskDescription": "Robot-assisted gait training",
        "SamplingFrequency": group.rate_hz if group.rate_hz is not None else "n/a",
        "SamplingFrequencyEffective": effective if effective is not None else "n/a",
        "TrackingSystemName": group.name,
        "RecordingDuration": seconds,
        "MotionChannelCount": len(kinds) + 1,
        "TrackedPointsCount": len({kind_of(n, "")[1] for n in group.names} - {"n/a"}),
        "MissingValues": "n/a",
        "RecordingType": "continuous" if not group.gaps else "discontinuous",
    }
    counts = {f"{kind}ChannelCount": kinds.count(kind) for kind in ("JNTANG", "MISC")}
    hardware = {
        "Manufacturer": session.device.get("vendor"),
        "ManufacturersModelName": session.device.get("model"),
        "DeviceSerialNumber": session.device.get("serial"),
        "SoftwareVersions": session.device.get("firmware"),
    }
    return known | counts | {"LATENCYChannelCount": 1} | {k: v for k, v in hardware.items() if v}


def _samples(path: Path, group: Group) -> None:
    """Write one row a sample: seconds from the first, then the channels, nine digits each."""
    latency = (group.t_device_ns - group.t_device_ns[:1]) / 1e9
    values = np.column_stack([latency, group.values.astype(np.float64) * _scale(group)])
    with path.open("w", encoding="utf-8", newline="") as stream:
        np.savetxt(stream, values, fmt=["%.6f"] + ["%.9g"] * len(group.names), delimiter="\t")


def _json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _lines(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
