"""MCAP: one channel a rate group, JSON messages of 50 samples, times of the host's clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trialkit.errors import MissingTool
from trialkit.exchange.telemetry.sealed import Group, SealedSession

SAMPLES = 50


def write_mcap(session: SealedSession, folder: Path) -> None:
    """Write one file with every group into `folder`."""
    try:
        from mcap.writer import Writer
    except ImportError as error:
        raise MissingTool(
            "MCAP files need the package mcap.", remedy="Install trialkit[formats]."
        ) from error
    path = folder / f"{session.session}.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(library="trialkit")
        about = {"session": session.session, "source_sha256": session.manifest_sha256}
        device = {key: str(value) for key, value in session.device.items()}
        writer.add_metadata("trialkit", about | device)
        for group in session.groups:
            schema = writer.register_schema(
                f"trialkit.{group.name}", "jsonschema", json.dumps(_schema(group)).encode()
            )
            channel = writer.register_channel(
                f"/{group.name}", "json", schema, {"units": json.dumps(_units(group))}
            )
            for number, begin in enumerate(range(0, len(group.seq), SAMPLES)):
                part = slice(begin, begin + SAMPLES)
                writer.add_message(
                    channel,
                    log_time=int(group.t_host_ns[part][-1]),
                    publish_time=int(group.t_device_ns[part][-1]),
                    sequence=number,
                    data=json.dumps(_message(group, part)).encode(),
                )
        writer.finish()  # type: ignore[no-untyped-call]


def _units(group: Group) -> dict[str, str]:
    return dict(zip(group.names, group.units, strict=True))


def _schema(group: Group) -> dict[str, Any]:
    whole = {"type": "array", "items": {"type": "integer"}}
    real = {"type": "array", "items": {"type": ["number", "null"]}}
    times: dict[str, Any] = dict.fromkeys(("seq", "t_device_ns", "t_host_ns"), whole)
    return {"type": "object", "properties": times | dict.fromkeys(group.names, real)}


def _message(group: Group, part: slice) -> dict[str, list[Any]]:
    times = {
        "seq": group.seq[part].tolist(),
        "t_device_ns": group.t_device_ns[part].tolist(),
        "t_host_ns": group.t_host_ns[part].tolist(),
    }
    columns = group.values[part].T.tolist()
    rows = [[None if v != v else v for v in column] for column in columns]
    return times | dict(zip(group.names, rows, strict=True))
