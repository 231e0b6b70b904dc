"""Finds the nodes of a site on the bus, checks who they are, and sets them up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import can

from device_interface.canopen.bus import INTERFACE
from device_interface.canopen.cia402 import FAULTED
from device_interface.canopen.master import Master
from device_interface.canopen.objects import CALIBRATED, HOMED, MODE_DISPLAY
from device_interface.canopen.remote import RemoteDrive
from device_interface.canopen.site import HEARTBEAT_S, Site
from device_interface.canopen.wire import Nmt
from device_interface.errors import LinkLost

_FIND_S = 20.0
_ASK_S = 0.5


def open_bus(site: Site, channel: str) -> can.BusABC:
    """Return the site's bus, opened by python-can.

    Raises
    ------
    LinkLost
        If it cannot be opened.
    """
    own = {"name": "driver"} if site.interface == INTERFACE else {}
    try:
        return can.Bus(
            interface=site.interface,
            channel=channel,
            bitrate=site.bitrate,
            ignore_config=True,
            **{**own, **site.options},
        )
    except (can.CanError, OSError, NotImplementedError, TypeError, ValueError) as error:
        raise LinkLost(
            f"the bus {site.interface} {channel} cannot be opened: {error}.",
            remedy="Correct the bus of the site file, or bring the interface up.",
        ) from error


def find(master: Master, drives: Iterable[RemoteDrive], ended: Callable[[], str | None]) -> None:
    """Reset the nodes' communication until each one has been heard.

    Raises
    ------
    LinkLost
        If one is not heard, or `ended` says that none will be.
    """
    end = time.monotonic() + _FIND_S
    asked_s = 0.0
    while missing := [drive.name for drive in drives if drive.nmt is None]:
        now = time.monotonic()
        if now > end or ended():
            raise LinkLost(
                f"no answer from {', '.join(missing)}.",
                remedy="Look at the node ids of the site, the cabling, and the power.",
            )
        if now - asked_s > _ASK_S:
            asked_s = now
            master.manage(Nmt.RESET_COMMUNICATION)
        time.sleep(0.01)


def set_up(master: Master, site: Site, drive: RemoteDrive) -> tuple[str, list[str]]:
    """Check who a node is and configure it; return its revision, and what is wrong with it.

    Raises
    ------
    LinkLost
        If it does not answer, or does not take its configuration.
    """
    wrong = []
    expected = site.nodes[drive.name].serial
    master.manage(Nmt.PRE_OPERATIONAL, drive.node_id)
    found = master.identity(drive)
    if found["type"] & 0xFFFF != 402:
        wrong.append(f"{drive.name} (node {drive.node_id}) is no CiA-402 drive")
    if expected is not None and found["serial"] != expected:
        wrong.append(f"{drive.name} has serial number {found['serial']}, the site says {expected}")
    master.configure(drive, watch_ms=site.watch_ms, heartbeat_ms=round(HEARTBEAT_S * 1000))
    return str(found["revision"]), wrong


def not_ready(drives: Mapping[str, RemoteDrive]) -> list[str]:
    """Return what keeps the drives from being enabled."""
    problems = []
    for drive in drives.values():
        if not drive.believed:
            problems.append(f"{drive.name} is not heard, or repeats old values")
            continue
        if drive.booted:
            problems.append(f"{drive.name} has started anew")
        if drive.state in FAULTED:
            problems.append(f"{drive.name} has a fault")
        if drive.value(MODE_DISPLAY) != drive.profile.mode:
            problems.append(f"{drive.name} has not taken its mode of operation")
        if not drive.flag(HOMED):
            problems.append(f"{drive.name} is not homed")
        if not drive.flag(CALIBRATED):
            problems.append(f"{drive.name} is not calibrated")
    return problems
