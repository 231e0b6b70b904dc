"""C3D: every channel of a rate group as an analogue channel in its own unit, float32.

A C3D file counts its frames in 16 bits. A frame therefore holds as many samples as keep
the frames below that; the last frame is filled up with NaN and ``TRIALKIT:SAMPLES`` says
how many samples there are.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from trialkit.errors import MissingTool
from trialkit.exchange.telemetry.sealed import Group, SealedSession

MAX_FRAMES = 32_767
MAX_CHANNELS = 255


def write_c3d(session: SealedSession, folder: Path) -> None:
    """Write one file for each group of a constant rate into `folder`."""
    try:
        import ezc3d
    except ImportError as error:
        raise MissingTool(
            "C3D files need the package ezc3d.", remedy="Install trialkit[formats]."
        ) from error
    for group in session.groups:
        if group.rate_hz is None or not len(group.seq) or len(group.names) > MAX_CHANNELS:
            continue
        n = len(group.seq)
        a_frame = math.ceil(n / MAX_FRAMES)
        frames = math.ceil(n / a_frame)
        samples = np.full((len(group.names), frames * a_frame), np.nan)
        samples[:, :n] = group.values.T
        file = ezc3d.c3d()
        parameters = file["parameters"]
        parameters["POINT"]["RATE"]["value"] = [group.rate_hz / a_frame]
        parameters["ANALOG"]["RATE"]["value"] = [group.rate_hz]
        parameters["ANALOG"]["LABELS"]["value"] = group.names
        parameters["ANALOG"]["UNITS"]["value"] = group.units
        file["data"]["points"] = np.zeros((4, 0, frames))
        file["data"]["analogs"] = samples[None]
        _describe(file, session, group)
        file.write(str(folder / f"{session.session}_{group.name}.c3d"))


def _describe(file: object, session: SealedSession, group: Group) -> None:
    add = file.add_parameter  # type: ignore[attr-defined]
    add("TRIALKIT", "SESSION", [session.session])
    add("TRIALKIT", "SAMPLES", [len(group.seq)])
    add("TRIALKIT", "GAPS", [group.gaps])
    add("TRIALKIT", "SOURCE", [session.manifest_sha256])
