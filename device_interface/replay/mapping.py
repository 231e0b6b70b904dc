"""The mapping file: what the columns of a foreign recording mean."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device_interface.contract import Family
from trialkit.errors import Finding, MappingFindings, UnknownName

SCHEMA = "trialkit.recording/1"
_FOLDER = files("device_interface.replay") / "mappings"
_NAME = r"^[a-z][a-z0-9_]*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelMapping(_Strict):
    """A column and the channel that it becomes: ``sign * (value - zero)``, in the SI unit.

    Parameters
    ----------
    column : str
        Label in the source; `occurrence` counts from 1 where it is repeated.
    name : str
        Channel.
    unit : str or None
        Unit in the source; None takes what the source declares.
    positive : str or None
        What a positive value means.
    full_scale : float or None
        Largest value that the source can write, in its unit, either way.
    optional : bool
        The column may be missing.
    """

    column: str
    occurrence: int = Field(1, ge=1)
    name: str = Field(pattern=_NAME)
    unit: str | None = None
    sign: Literal[-1, 1] = 1
    zero: float = Field(0.0, allow_inf_nan=False)
    positive: str | None = None
    full_scale: float | None = Field(None, gt=0)
    optional: bool = False


class ClockMapping(_Strict):
    """A column that holds times; `wrap` is what the clock loses when it overflows."""

    column: str
    unit: Literal["s", "ms", "us", "ns"] = "s"
    wrap: float | None = Field(None, gt=0)


class StreamMapping(_Strict):
    """A stream: its clocks and channels.

    Parameters
    ----------
    name : str
        Of the stream.
    source : str or None
        Name of the stream in an XDF file, ``points`` or ``analog`` in a C3D file; None for
        a CSV file, which is one stream.
    clock, host : ClockMapping or None
        For a CSV file only.
    rate_hz : float or None
        None is measured.
    gap_s : float or None
        Longer steps of the clock are gaps; None is five periods, at least 20 ms.
    channels : list of ChannelMapping
        Empty takes every column under its own name.
    """

    name: str = Field(pattern=_NAME)
    source: str | None = None
    clock: ClockMapping | None = None
    host: ClockMapping | None = None
    rate_hz: float | None = Field(None, gt=0)
    gap_s: float | None = Field(None, gt=0)
    channels: tuple[ChannelMapping, ...] = ()


class ParameterMapping(_Strict):
    """A setting of the device, and the channel that holds what it was set to, in SI units.

    A host that follows the recording may be `gap` away from it.
    """

    name: str
    unit: str
    minimum: float = Field(allow_inf_nan=False)
    maximum: float = Field(allow_inf_nan=False)
    rate_per_s: float = Field(gt=0)
    channel: str | None = None
    gap: float = Field(0.02, ge=0)


class Mapping(_Strict):
    """A mapping file; see ``docs/recordings.md``."""

    schema_: Literal["trialkit.recording/1"] = Field(alias="schema")
    format: Literal["csv", "c3d", "xdf", "sealed"]
    title: str
    vendor: str
    model: str
    family: Family
    streams: tuple[StreamMapping, ...] = ()
    parameters: tuple[ParameterMapping, ...] = ()


def mapping_names() -> list[str]:
    """Return the names of the mappings that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir())


def load_mapping(name: str) -> Mapping:
    """Return a mapping by name, or from a file whose path ends in ``.yaml`` or ``.yml``.

    Raises
    ------
    UnknownName
        If there is none.
    MappingFindings
        If it is not a mapping; every fault is listed.
    """
    is_file = name.endswith((".yaml", ".yml"))
    place = Path(name) if is_file else _FOLDER / f"{name}.yaml"
    if not place.is_file():
        raise UnknownName(
            f"no mapping {name!r}.",
            remedy=f"Give a YAML file, or one of: {', '.join(mapping_names())}.",
        )
    try:
        data: Any = yaml.safe_load(place.read_text(encoding="utf-8"))
        return Mapping.model_validate(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        findings = [Finding(name, f"not YAML: {error}.", "Mend the syntax.")]
    except ValidationError as error:
        findings = [
            Finding(
                ".".join(map(str, fault["loc"])) or name,
                f"{fault['msg']}.",
                "See docs/recordings.md.",
            )
            for fault in error.errors()
        ]
    raise MappingFindings(f"{name} is not a mapping of recordings.", findings)


def missing(source: str, labels: Sequence[str], absent: Sequence[str]) -> MappingFindings:
    """Return the error for columns that `source` does not have."""
    shown = ", ".join(repr(label) for label in labels)
    findings = [
        Finding(label, "the recording has no such column.", f"It has {shown}.") for label in absent
    ]
    return MappingFindings(f"{source} does not fit the mapping.", findings)
