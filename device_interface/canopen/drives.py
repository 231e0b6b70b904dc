"""Simulated drives on a bus: ``python -m device_interface.canopen.drives SETTINGS``.

SETTINGS is JSON: ``channel`` (and ``interface``), ``nodes`` (name to id, serial, sign) and,
where wanted, ``account`` (a file to which each drive writes what it does, one JSON line
each), ``weight_kg``, ``ability``, ``unhomed`` and ``mode_stuck`` (names), ``estop``
("pressed" or "unplugged" at power-up). With ``--parent FD`` the process ends after the other
end of that pipe is closed, once every drive is at rest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import time
from pathlib import Path
from typing import Any

import can

from device_interface.canopen import bus, wire
from device_interface.canopen.cia402 import POWERED, DriveState
from device_interface.canopen.motor import Drive, SafetyChain
from device_interface.canopen.moving import BeltDrive, JointDrive, SupportDrive, World

TICK_S = 0.005
_AFTER_PARENT_S = 8.0
GRAVITY = 9.81
_STALL_S = 0.05
_MOVING = POWERED | {DriveState.FAULT_REACTION_ACTIVE}


class Bank:
    """All drives of a device on one connection to the bus.

    Parameters
    ----------
    settings : mapping
        See the module.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._account_file = (
            Path(settings["account"]).open("ab", buffering=0)  # noqa: SIM115
            if settings.get("account")
            else None
        )
        self._bus = _open(settings)
        self._looked_s = time.monotonic()
        self._clock_s = self._looked_s
        self.chain = SafetyChain(closed=settings.get("estop") is None)
        self.world = World(float(settings.get("weight_kg", 75.0)) * GRAVITY)
        self.drives = {
            name: self._drive(name, node, float(settings.get("ability", 0.75)))
            for name, node in settings["nodes"].items()
        }
        for name in settings.get("unhomed", ()):
            self.drives[name].homed = False
        for name in settings.get("mode_stuck", ()):
            self.drives[name].mode_stuck = True
        for name, drive in self.drives.items():
            if isinstance(drive, JointDrive):
                self.world.hips[name] = drive

    def _drive(self, name: str, node: dict[str, int], ability: float) -> Drive:
        common = (name, node["id"], node.get("serial") or 0, self.chain, self._send, self._account)
        if name == "belt":
            return BeltDrive(*common, self.world)
        if name == "support":
            return SupportDrive(*common, self.world)
        return JointDrive(*common, sign=node.get("sign", 1), ability=ability)

    def _account(self, name: str, what: str, details: dict[str, object]) -> None:
        if self._account_file is not None:
            line = {"t_ns": time.monotonic_ns(), "node": name, "what": what, **details}
            self._account_file.write((json.dumps(line) + "\n").encode())

    def _send(self, number: int, data: bytes) -> None:
        message = can.Message(arbitration_id=number, data=data, is_extended_id=False)
        with contextlib.suppress(can.CanOperationError):  # a drive that cannot send goes on
            self._bus.send(message)

    def serve(self, parent: int | None) -> None:
        """Run until the parent is gone and everything stands, or the bus is gone."""
        for drive in self.drives.values():
            drive.boot(self._now())
        gone_s: float | None = None
        while True:
            alive = self._receive(TICK_S)
            now = self._now()
            self._tick(now)
            if parent is not None and gone_s is None and select.select([parent], [], [], 0)[0]:
                gone_s = now
            standing = all(drive.state not in _MOVING for drive in self.drives.values())
            if not alive and standing:
                return
            if gone_s is not None and (standing or now - gone_s > _AFTER_PARENT_S):
                self._account("bank", "end", {"standing": standing})
                return

    def _tick(self, now: float) -> None:
        for drive in self.drives.values():
            drive.tick(now)

    def _now(self) -> float:
        """Return the drives' clock, which stands still while this process is kept waiting.

        A drive's own processor is never kept waiting, and must not take its own delay for
        ours.
        """
        now = time.monotonic()
        self._clock_s += min(now - self._looked_s, _STALL_S)
        self._looked_s = now
        return self._clock_s

    def _receive(self, patience_s: float) -> bool:
        """Take what came within `patience_s`; return False where the bus is gone."""
        try:
            message = self._bus.recv(patience_s)
            while message is not None:
                if not message.is_error_frame:
                    self._take(message.arbitration_id, bytes(message.data))
                message = self._bus.recv(0)
        except can.CanOperationError:
            time.sleep(patience_s)
            return False
        return True

    def _take(self, number: int, data: bytes) -> None:
        now = self._now()
        if number == wire.SYNC:
            self._tick(now)
            for drive in self.drives.values():
                drive.sync(now)
        else:
            for drive in self.drives.values():
                drive.receive(number, data, now)

    def close(self) -> None:
        """Leave the bus."""
        self._bus.shutdown()
        if self._account_file is not None:
            self._account_file.close()


def _open(settings: dict[str, Any]) -> can.BusABC:
    interface = settings.get("interface", bus.INTERFACE)
    if interface == bus.INTERFACE:
        return bus.UnixBus(settings["channel"], name="drives")
    return can.Bus(interface=interface, channel=settings["channel"])


def main() -> None:
    """Run simulated drives."""
    parser = argparse.ArgumentParser(description="Simulated CiA-402 drives.")
    parser.add_argument("settings", help="JSON")
    parser.add_argument("--parent", type=int, help="descriptor that ends with the parent")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        os.set_inheritable(arguments.parent, False)
    bank = Bank(json.loads(arguments.settings))
    with contextlib.suppress(KeyboardInterrupt):
        bank.serve(arguments.parent)
    bank.close()


if __name__ == "__main__":
    main()
