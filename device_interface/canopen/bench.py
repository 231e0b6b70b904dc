"""The built-in bench: a hub and simulated drives that end with this process, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_interface.canopen import objects as o
from device_interface.canopen.bus import INTERFACE
from device_interface.canopen.site import SCHEMA, Site
from device_interface.errors import LinkLost

_START_S = 30.0


def bench_site() -> dict[str, Any]:
    """Return the site of the built-in bench, which the driver uses where none is given."""
    joints = {name: {"id": 11 + at, "serial": 1001 + at} for at, name in enumerate(o.JOINTS)}
    nodes = {**joints, "belt": {"id": 21, "serial": 1021}, "support": {"id": 22, "serial": 1022}}
    return {
        "schema": SCHEMA,
        "bus": {"interface": INTERFACE, "channel": "bench", "bitrate": 1_000_000},
        "device": {
            "vendor": "trialkit",
            "model": "simulated CAN gait trainer",
            "serial": "CAN-SIM-1",
            "calibrated_on": "2026-01-01",
            "simulated": True,
        },
        "nodes": nodes,
    }


class Bench:
    """A hub and a bank of simulated drives, each in a process of its own.

    The children hold one end of a pipe; when this process is gone, its end closes. The
    drives then stop by themselves, and both processes end.

    Parameters
    ----------
    settings : mapping
        For the drives, see `device_interface.canopen.drives`.
    """

    def __init__(self, site: Site, settings: Mapping[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="trialkit-can-"))
        self.channel = str(self._folder / "bus")
        theirs, self._alive = os.pipe()
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            self._start("hub", self.channel, theirs)
            self._wait_for_hub()
            nodes = {
                name: {"id": node.id, "serial": node.serial, "sign": node.sign}
                for name, node in site.nodes.items()
            }
            everything = {"channel": self.channel, "nodes": nodes, **settings}
            self._start("drives", json.dumps(everything), theirs)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(theirs)

    @property
    def drives_pid(self) -> int:
        """Process id of the drives."""
        return self._children[1].pid

    @property
    def hub_pid(self) -> int:
        """Process id of the hub."""
        return self._children[0].pid

    def _start(self, module: str, argument: str, pipe: int) -> None:
        self._children.append(
            subprocess.Popen(
                [
                    sys.executable, "-m", f"device_interface.canopen.{module}", argument,
                    "--parent", str(pipe),
                ],
                pass_fds=(pipe,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        )  # fmt: skip

    def _wait_for_hub(self) -> None:
        end = time.monotonic() + _START_S
        while not Path(self.channel).exists():
            if time.monotonic() > end or self._children[0].poll() is not None:
                raise LinkLost("the bus of the bench does not start.", remedy="Look at its log.")
            time.sleep(0.005)

    def check(self) -> str | None:
        """Return what is wrong with the children, or None."""
        gone = [child for child in self._children if child.poll() is not None]
        return "a process of the bench is gone" if gone else None

    def close(self, patience_s: float = 1.0) -> None:
        """Let the children end, and end those that do not."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        end = time.monotonic() + patience_s
        for child in reversed(self._children):
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        with contextlib.suppress(OSError):
            Path(self.channel).unlink(missing_ok=True)
            self._folder.rmdir()
