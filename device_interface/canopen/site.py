"""The site file: which bus, which nodes, which serial numbers; nothing of the protocol.

::

    schema: trialkit.canopen-site/1
    bus: {interface: socketcan, channel: can0, bitrate: 1000000}
    device: {vendor: ..., model: ..., serial: ..., calibrated_on: 2026-01-31}
    nodes:
      hip_l: {id: 11, serial: 4711, positive: flexion}
      ...
      belt: {id: 21}
      support: {id: 22}
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_interface.canopen.load import BusLoad, bus_load, refuse_overload
from device_interface.canopen.objects import JOINTS, KINDS
from trialkit.errors import UsageError

SCHEMA = "trialkit.canopen-site/1"
HEARTBEAT_S = 0.1
"""Between two heartbeats of a node."""
_SENSES = {"flexion": 1, "extension": -1}


@dataclass(frozen=True)
class NodeSite:
    """One node: its id, the serial number that it must report, and its positive sense."""

    id: int
    serial: int | None = None
    sign: int = 1


@dataclass(frozen=True)
class Site:
    """A site, checked.

    Attributes
    ----------
    interface, channel : str
        Of python-can.
    bitrate : int
        Bits a second.
    options : mapping
        More settings of the interface.
    nodes : mapping of str to NodeSite
        All eight, by name.
    host_id : int
        Node id of our heartbeat.
    sync_hz : float
    stale_periods : int
        A signal that has not come for so many SYNCs is not believed.
    watch_ms : int
        After how long without our heartbeat a drive stops by itself (object 0x1016).
    """

    interface: str
    channel: str
    bitrate: int
    options: Mapping[str, Any]
    vendor: str
    model: str
    serial: str
    calibrated_on: str | None
    simulated: bool
    nodes: Mapping[str, NodeSite]
    host_id: int = 127
    sync_hz: float = 100.0
    stale_periods: int = 15
    watch_ms: int = 240
    load: BusLoad = field(init=False)

    def __post_init__(self) -> None:
        load = bus_load(
            (KINDS[name] for name in self.nodes),
            sync_hz=self.sync_hz,
            bitrate=self.bitrate,
            node_heartbeat_s=HEARTBEAT_S,
            host_heartbeat_s=0.02,
        )
        object.__setattr__(self, "load", load)


class _Reader:
    """Takes values out of nested mappings and keeps every complaint."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def section(self, data: Any, where: str, known: set[str]) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            self.faults.append(f"{where} must be a mapping")
            return {}
        for name in sorted(set(map(str, data)) - known):
            self.faults.append(f"{where} does not know {name!r}")
        return data

    def number(
        self, data: Mapping[str, Any], where: str, name: str, low: float, high: float, default: Any
    ) -> Any:
        value = data.get(name, default)
        whole = not isinstance(default, float)
        right = isinstance(value, int) if whole else isinstance(value, int | float)
        if not right or isinstance(value, bool) or not low <= value <= high:
            self.faults.append(
                f"{where}.{name} is {value!r}; it must be "
                f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
            )
            return default if default is not None else low
        return value

    def text(self, data: Mapping[str, Any], where: str, name: str, default: str | None) -> str:
        value = data.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            self.faults.append(f"{where}.{name} must be a text")
            return ""
        return value


def _date(reader: _Reader, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        reader.faults.append(f"device.calibrated_on is {value!r}; it must be a date, as 2026-01-31")
        return None


def _nodes(reader: _Reader, data: Any) -> dict[str, NodeSite]:
    section = reader.section(data, "nodes", set(KINDS))
    nodes: dict[str, NodeSite] = {}
    for name in KINDS:
        where = f"nodes.{name}"
        if name not in section:
            reader.faults.append(f"{where} is missing")
            continue
        allowed = {"id", "serial"} | ({"positive"} if name in JOINTS else set())
        entry = reader.section(section[name], where, allowed)
        number = reader.number(entry, where, "id", 1, 126, None)
        serial = None
        if entry.get("serial") is not None:
            serial = reader.number(entry, where, "serial", 0, 0xFFFFFFFF, None)
        sense = entry.get("positive", "flexion")
        if sense not in _SENSES:
            reader.faults.append(f"{where}.positive is {sense!r}; use flexion or extension")
        twin = next((other for other, node in nodes.items() if node.id == number), None)
        if twin is not None:
            reader.faults.append(f"{where}.id {number} is also that of nodes.{twin}")
        nodes[name] = NodeSite(number, serial, _SENSES.get(sense, 1))
    return nodes


def read_site(source: str | Path | Mapping[str, Any]) -> Site:
    """Return the site of a YAML file, or of a mapping of the same shape.

    Raises
    ------
    UsageError
        With every fault of the site, or with the bus load where that is above the limit.
    """
    data: Any = source
    where = "the site"
    if not isinstance(source, Mapping):
        import yaml

        where = f"the site file {source}"
        try:
            data = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(
                f"{where} cannot be read: {error}.", remedy="Name a YAML file, see docs/canopen.md."
            ) from error
    reader = _Reader()
    site = _site(reader, data)
    if reader.faults:
        raise UsageError(
            f"{where} has faults: {'; '.join(reader.faults)}.",
            remedy="Correct them; docs/canopen.md has an example.",
        )
    refuse_overload(site.load)
    return site


def _site(reader: _Reader, data: Any) -> Site:
    own = {"host_id", "sync_hz", "stale_periods", "watch_ms"}
    top = reader.section(data, "the site", {"schema", "bus", "device", "nodes"} | own)
    if top.get("schema") != SCHEMA:
        reader.faults.append(f"schema is {top.get('schema')!r}; this version reads {SCHEMA!r}")
    bus = reader.section(top.get("bus"), "bus", {"interface", "channel", "bitrate", "options"})
    options = reader.section(bus.get("options", {}), "bus.options", set(bus.get("options") or ()))
    device = reader.section(
        top.get("device"), "device", {"vendor", "model", "serial", "calibrated_on", "simulated"}
    )
    nodes = _nodes(reader, top.get("nodes"))
    host = reader.number(top, "the site", "host_id", 1, 127, 127)
    if any(node.id == host for node in nodes.values()):
        reader.faults.append(f"host_id {host} is also that of a node")
    return Site(
        interface=reader.text(bus, "bus", "interface", None),
        channel=reader.text(bus, "bus", "channel", None),
        bitrate=reader.number(bus, "bus", "bitrate", 10_000, 1_000_000, None),
        options=dict(options),
        vendor=reader.text(device, "device", "vendor", None),
        model=reader.text(device, "device", "model", None),
        serial=reader.text(device, "device", "serial", None),
        calibrated_on=_date(reader, device.get("calibrated_on")),
        simulated=device.get("simulated") is True,
        nodes=nodes,
        host_id=host,
        sync_hz=reader.number(top, "the site", "sync_hz", 20, 500, 100.0),
        stale_periods=reader.number(top, "the site", "stale_periods", 3, 50, 15),
        watch_ms=reader.number(top, "the site", "watch_ms", 200, 250, 240),
    )
